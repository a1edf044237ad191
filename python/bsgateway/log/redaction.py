"""`collector.text: redacted`: texts without secrets and personal data, before they are queued on disk."""

from __future__ import annotations

import msgspec

from bsgateway.core import core
from bsgateway.decision import Texts


def redacted(texts: Texts, cut_at: int) -> Texts:
    """`texts` with placeholders for what must not be stored, marked as redacted; those that are already, as they are.

    `cut_at`: characters that a text was cut to (`collector.text_chars`); one of that length may end with half a secret.
    Takes time in proportion to the texts, without the GIL: call it off the request path.
    """
    if texts.redacted:
        return texts
    return msgspec.structs.replace(
        texts,
        ask=core.redact(texts.ask, len(texts.ask) >= cut_at),
        system=core.redact(texts.system, len(texts.system) >= cut_at),
        redacted=True,
    )
