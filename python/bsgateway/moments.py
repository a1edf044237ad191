"""Moments as people write them on a command line."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone, tzinfo

_AGE = re.compile(r"([0-9]{1,9})([smhdw])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_moment(text: str, now: datetime, zone: tzinfo = timezone.utc) -> datetime:
    """The moment, in UTC, that `text` says: 2026-03-01, 2026-03-01T12:30:00+01:00, or an age before `now` such as 7d.

    Ages are whole numbers of seconds, minutes, hours, days or weeks (s, m, h, d, w). A date is its first moment. What
    has no offset is the time of `zone`. Raises ValueError.
    """
    text = text.strip()
    try:
        if age := _AGE.fullmatch(text):
            return now - timedelta(**{_UNITS[age[2]]: int(age[1])})
        # Before 3.11, fromisoformat does not know Z.
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text))
        return (moment if moment.tzinfo else moment.replace(tzinfo=zone)).astimezone(timezone.utc)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is neither a date (2026-03-01), nor a time (2026-03-01T12:30:00Z), nor an age (7d, 12h)"
        ) from None
