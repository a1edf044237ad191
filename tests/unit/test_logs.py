"""Log lines: whatever data says, a line stays a line; events are a closed list; nothing of requests or keys in them."""

from __future__ import annotations

import ast
import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bsgateway
from bsgateway.config import Config, Telemetry
from bsgateway.decision import Caller
from bsgateway.gateway import Asker, Gateway
from bsgateway.telemetry import told
from bsgateway.telemetry.events import EVENTS, event
from bsgateway.telemetry.logs import configure, formatter
from builders import make_decision

PACKAGE = Path(bsgateway.__file__).parent
HEAD = {"timestamp", "level", "logger", "event", "message", "pid", "error"}
"""What every line has or may have: no field of an event may be called so."""
SECRET = "sk-never-to-be-seen-1c9d"

JSON, TEXT = formatter(text=False), formatter(text=True)

texts = st.text(st.characters(exclude_categories=()))
"""Any text, halves of characters included."""
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts | st.uuids() | st.datetimes() | st.binary(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


def record(message: str, *args: object, level: int = logging.INFO, **fields: Any) -> logging.LogRecord:
    made = logging.LogRecord("bsgateway.test", level, "/nowhere.py", 1, message, args, None)
    vars(made).update(fields)
    return made


def line_of(made: logging.LogRecord) -> dict[str, Any]:
    """The one object on the line of a record, as a strict reader finds it."""
    line = JSON.format(made)
    assert line.isascii()
    assert line.isprintable(), "no control character in any encoding"
    found: dict[str, Any] = msgspec.json.decode(line)
    return found


@settings(deadline=None)
@given(sentence=texts, word=st.sampled_from(sorted(EVENTS)), value=values)
def test_a_line_is_json_whatever_it_says(sentence: str, word: str, value: Any) -> None:
    line = line_of(record("%s", sentence, **event(word, value=value)))
    assert line["event"] == word
    assert set(line) <= HEAD | {"value"}
    if sentence.isascii():
        assert line.get("message", word) == sentence


@settings(deadline=None)
@given(sentence=texts, value=values)
def test_a_line_of_text_is_one_line_without_escape_sequences(sentence: str, value: Any) -> None:
    assert TEXT.format(record("%s", sentence)).isprintable()
    assert TEXT.format(record("decided", **event("decided", value=value))).isprintable()


def test_a_line_has_time_level_module_and_process() -> None:
    made = record("3 rows wait", level=logging.WARNING)
    line = line_of(made)
    assert datetime.fromisoformat(line.pop("timestamp").replace("Z", "+00:00")).timestamp() == pytest.approx(
        made.created, abs=0.001
    )
    assert line == {"level": "warning", "logger": "bsgateway.test", "event": "3 rows wait", "pid": made.process}


def test_an_event_has_its_word_its_sentence_and_its_fields() -> None:
    line = line_of(record("reloaded by %s", "SIGHUP", **event("reloaded", by="SIGHUP", changed=("a", "b"))))
    assert (line["event"], line["message"]) == ("reloaded", "reloaded by SIGHUP")
    assert (line["by"], line["changed"]) == ("SIGHUP", ["a", "b"])


def test_people_read_the_sentence_of_an_event_or_else_its_fields() -> None:
    said = TEXT.format(record("reloaded by SIGHUP", **event("reloaded", by="SIGHUP", changed=["routing.bias"])))
    assert "reloaded by SIGHUP" in said
    assert "routing.bias" not in said
    said = TEXT.format(record("decided", **event("decided", tier="simple", score=17)))
    assert "tier=simple score=17" in said


def test_of_an_error_only_its_class_is_said() -> None:
    try:
        raise ValueError(SECRET)
    except ValueError:
        made = record("it went wrong", exc_info=sys.exc_info())
    assert line_of(made)["error"] == "ValueError"
    for each in (JSON, TEXT):
        assert SECRET not in each.format(made)
        assert "Traceback" not in each.format(made)


# What is said


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every `event(...)` in the package, with where it is."""
    for path in sorted(PACKAGE.rglob("*.py")):
        if "node_modules" in path.parts:
            continue
        source = path.read_text(encoding="utf-8")
        if "telemetry.events import" not in source and path.parent.name != "telemetry":
            continue
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "event":
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node


def test_the_list_of_events_is_closed() -> None:
    found = {}
    for where, call in calls():
        (word,) = call.args
        assert isinstance(word, ast.Constant), f"{where}: the event is no literal"
        assert not HEAD & {str(keyword.arg) for keyword in call.keywords}, where
        found[word.value] = where
    assert found.keys() == EVENTS.keys()


async def test_a_start_names_no_secret(make_config: Callable[..., Config]) -> None:
    config = make_config(
        {
            "general_settings": {"master_key": SECRET},
            "model_list": [
                {"model_name": name, "litellm_params": {"model": f"openai/{name}", "api_key": SECRET}}
                for name in ("small", "middle", "large")
            ],
        },
        collector={"enabled": True, "database_url": f"postgresql://u:{SECRET}@127.0.0.1/log"},
    )
    line = line_of(record("started", **told.started(Gateway(config), logged=True)))
    assert line["event"] == "started"
    assert (line["strategy"], line["log"], line["model"]) == ("static", True, None)
    assert line["tiers"] == ["simple", "medium", "complex"]
    assert SECRET not in json.dumps(line)


def test_a_decision_names_neither_its_words_nor_who_asked(make_config: Callable[..., Config]) -> None:
    gateway = Gateway(make_config())
    caller = Caller(**dict.fromkeys(Caller.__struct_fields__, SECRET))
    body = {"model": "auto", "user": SECRET, "messages": [{"role": "user", "content": f"Say {SECRET}"}]}
    pending = gateway.begin(body, "acompletion", Asker(caller), lambda _: False)
    decision = gateway.decision(pending, gateway.choose(pending))
    assert decision.caller.key_hash == SECRET
    line = line_of(record("decided", **told.decided(decision)))
    assert (line["decision_id"], line["tier"], line["model"]) == (str(decision.decision_id), "simple", "small")
    assert (line["method"], line["strategy"], line["reason"]) == ("auto", "static", "score")
    assert isinstance(line["decision_us"], float)
    assert SECRET not in json.dumps(line)


def test_what_a_decision_says_are_fields_of_the_log() -> None:
    decision = make_decision()
    assert msgspec.to_builtins(decision)["complexity_score"] == line_of(record("x", **told.decided(decision)))["score"]


# Where it goes


@pytest.fixture
def logger() -> logging.Logger:
    """The logger of the package; afterwards it is as it was."""
    return logging.getLogger("bsgateway")


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """The lines on stderr since the last call."""
    return lambda: capsys.readouterr().err.splitlines()


def test_where_no_terminal_is_lines_are_json(said: Callable[[], list[str]]) -> None:
    configure(Telemetry())
    logging.getLogger("bsgateway.models").info("a %s", "b")
    logging.getLogger("bsgateway.models").debug("too low")
    logging.getLogger("litellm.ours").error("not ours")
    (line,) = said()
    assert json.loads(line)["event"] == "a b"


def test_on_a_terminal_lines_are_text(monkeypatch: pytest.MonkeyPatch, said: Callable[[], list[str]]) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure(Telemetry())
    logging.getLogger("bsgateway.models").info("a\x1b[2Jb")
    (line,) = said()
    assert "a\\x1b[2Jb" in line
    assert not line.startswith("{")


@pytest.mark.parametrize(("format", "first"), [("json", "{"), ("text", "2")])
def test_the_format_may_be_chosen(format: Any, first: str, said: Callable[[], list[str]]) -> None:
    configure(Telemetry(log_format=format))
    logging.getLogger("bsgateway").warning("hello")
    assert said()[0].startswith(first)


def test_a_second_call_changes_what_the_first_has_set(logger: logging.Logger, said: Callable[[], list[str]]) -> None:
    configure(Telemetry())
    configure(Telemetry(log_level="debug", log_format="text"), unless_claimed=True)
    assert len(logger.handlers) == 1
    logging.getLogger("bsgateway.hook").debug("now")
    (line,) = said()
    assert "now" in line


def test_who_has_set_up_the_lines_keeps_them(logger: logging.Logger, said: Callable[[], list[str]]) -> None:
    theirs = io.StringIO()
    logger.addHandler(logging.StreamHandler(theirs))
    configure(Telemetry(log_level="debug"), unless_claimed=True)
    assert len(logger.handlers) == 1
    logging.getLogger("bsgateway.models").warning("hello")
    assert (theirs.getvalue(), said()) == ("hello\n", [])


def test_half_of_a_line_is_never_followed_by_another_event(said: Callable[[], list[str]]) -> None:
    """As an attacker would: a name that ends the line and begins one of its own."""
    configure(Telemetry())
    forged = 'x"}\n{"event": "ready", "level": "info"}'
    logging.getLogger("bsgateway.names").warning("unknown model %s", forged)
    (line,) = said()
    assert json.loads(line)["event"] == f"unknown model {forged}"


@pytest.mark.parametrize("log_format", ["auto", "text", "json"])
def test_a_process_without_stderr_goes_on(monkeypatch: pytest.MonkeyPatch, log_format: str) -> None:
    monkeypatch.setattr(sys, "stderr", None)  # as Python has it where the process was started without one
    configure(msgspec.convert({"log_format": log_format}, Telemetry))
    logging.getLogger("bsgateway.test").warning("nobody hears this")
