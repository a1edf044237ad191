"""Log lines of BSGateway on stderr: one JSON object a line for machines, or text for whoever sits at the terminal.

Only what is below the logger `bsgateway`. LiteLLM's and uvicorn's lines stay as they are.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from enum import Enum
from typing import Any

import structlog
from structlog.typing import EventDict, Processor

from bsgateway.config import Telemetry
from bsgateway.terminal import printable

from .events import ATTRIBUTE

NAME = "bsgateway"
"""The logger that is set up: that of the package."""


class _OurHandler(logging.StreamHandler[Any]):
    """Marks the handler as one of `configure`."""


def configure(telemetry: Telemetry, *, unless_claimed: bool = False) -> None:
    """Have the log lines of this process come out on stderr as `telemetry` says. Called again, it changes that.

    `unless_claimed`: not where somebody else has given them a handler, their own or the root's.
    """
    told = logging.getLogger(NAME)
    ours = [handler for handler in told.handlers if isinstance(handler, _OurHandler)]
    if unless_claimed and not ours and told.hasHandlers():
        return
    handler = ours[0] if ours else _OurHandler(sys.stderr)
    handler.setFormatter(formatter(_as_text(telemetry.log_format)))
    told.setLevel(telemetry.log_level.upper())
    told.propagate = False  # a handler of the root would say it once more
    if not ours:
        told.addHandler(handler)


def formatter(text: bool) -> logging.Formatter:
    """What makes a line of a record: of the sentences of `logging` as well as of events."""
    last: list[Processor] = [_json]
    if text:
        last = [_readable, structlog.dev.ConsoleRenderer(colors=_at_terminal(), sort_keys=False)]
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[_fields], processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last]
    )


def _as_text(format: str) -> bool:
    return format == "text" or (format == "auto" and _at_terminal())


def _at_terminal() -> bool:
    # None: the process was started without a stderr, and its lines go nowhere.
    return sys.stderr is not None and sys.stderr.isatty()


def _fields(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """What a line says. Of an error only its class: its message and its traceback may quote a request."""
    record: logging.LogRecord = line["_record"]
    at = datetime.fromtimestamp(record.created, timezone.utc)
    told = dict(getattr(record, ATTRIBUTE, {}))
    word, sentence = told.pop("event", None), line["event"]
    said = {"event": sentence} if word in (None, sentence) else {"event": word, "message": sentence}
    raised = record.exc_info[0] if record.exc_info else None
    return {
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        **said,
        **told,
        **({"error": raised.__name__} if raised is not None else {}),
        "pid": record.process,
        **{name: value for name, value in line.items() if name.startswith("_")},  # structlog's own
    }


def _json(_logger: Any, _method: str, line: EventDict) -> str:
    # ASCII only, so that no control character of any encoding is left; json leaves DEL.
    return json.dumps(_plain(line), allow_nan=False).replace("\x7f", "\\u007f")


def _readable(_logger: Any, _method: str, line: EventDict) -> EventDict:
    """For people: a sentence says all that its fields do."""
    if "message" in line:
        line = {name: line[name] for name in ("timestamp", "level", "logger", "message", "pid")}
        line["event"] = line.pop("message")
    return {name: _one_line(value) for name, value in line.items()}


def _one_line(value: Any) -> Any:
    plain = _plain(value)
    if isinstance(plain, (list, dict)):
        plain = json.dumps(plain, ensure_ascii=False)
    return printable(plain) if isinstance(plain, str) else plain


def _plain(value: Any) -> Any:
    """`value` as JSON has it: no half of a character, no number that is none, nothing that only Python knows."""
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_text(str(name)): _plain(each) for name, each in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(each) for each in value]
    return _text(str(value))


def _text(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode("utf-8")
