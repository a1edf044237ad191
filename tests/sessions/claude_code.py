"""A session of Claude Code: messages with thinking and cache marks, a sub-agent under the same session id, and what it
asks for beside its work: a probe, titles, a topic, a summary."""

from __future__ import annotations

import json
from collections.abc import Iterator

from .script import REPAIR, Ask, Json, Recorder, Step, reads, rules, walk

SESSION = "1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed"
AGENT = Ask(
    "Find every place that rounds a price, and report file and line for each.",
    (*reads("total.py", "refund.py", "currency.py", "tax.py"),),
    "There are four of them.",
)
_EPHEMERAL = {"type": "ephemeral"}
_TITLE = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}


def requests() -> Iterator[Json]:
    """The lines of the session, in the order of their time."""
    recorder = Recorder(
        "claude-code",
        "anthropic_messages",
        {
            "user-agent": "claude-cli/2.1.4 (external, cli)",
            "x-app": "cli",
            "anthropic-version": "2023-06-01",
            "x-claude-code-session-id": SESSION,
        },
    )
    yield recorder.line(_body("probe", [_user("quota")], tools=False, limit=1), 1, side=True)
    said: list[Json] = []
    for ask, number, step in walk(REPAIR, recorder.clock):
        if step == 0:
            if number % 4 == 0:
                yield recorder.line(_titled(ask.text), 12, side=True)
            said.append(
                _user(ask.text, reminder=f"Today is day {number // 6}; {number} tasks are open.", first=not said)
            )
        else:
            said += _did(ask.steps[step - 1], f"{number}_{step}")
        output = 60 if step < len(ask.steps) else len(ask.answer) // 4 + 40
        yield recorder.line(_body(str(number + step), said), output, thread="main")
        if number == 7 and step == 2:
            yield from _agent(recorder)
        if step == len(ask.steps):
            said.append({"role": "assistant", "content": [_thinking("All is said."), _text(ask.answer)]})
    told = "\n".join(f"User: {ask.text}\nAssistant: {ask.answer}" for ask in REPAIR)
    recorder.clock.after(30.0)
    summary = _body("end", [_user(f"Here it is:\n{told}")], tools=False, limit=512)
    summary["system"].append(_text("Summarize this conversation between a user and an assistant in one short line."))
    yield recorder.line(summary, 30, side=True)


def _agent(recorder: Recorder) -> Iterator[Json]:
    """A sub-agent at its work, in the middle of a step of the main thread."""
    said = [_user(AGENT.text)]
    for step in range(len(AGENT.steps) + 1):
        if step:
            said += _did(AGENT.steps[step - 1], f"agent_{step}")
        recorder.clock.after(5.0)
        yield recorder.line(_body(f"agent {step}", said), 60, thread="agent")


def _titled(ask: str) -> Json:
    body = _body(ask[:9], [{"role": "user", "content": ask}], tools=False)
    body["system"] = [_text("Name what this session is about in three to six words.")]
    return {**body, "output_config": {"format": {"type": "json_schema", "schema": _TITLE}}}


def _body(turn: str, said: list[Json], tools: bool = True, limit: int = 32_000) -> Json:
    messages = [{**message, "content": list(message["content"])} for message in said]
    _mark(messages[-1])
    body: Json = {
        "model": "auto",
        "max_tokens": limit,
        "stream": True,
        # The first text of the system prompt carries a checksum that changes at every request.
        "system": [_text(f"x-anthropic-billing-header: cc_version=2.1.4; cch={hash_of(turn)};")],
        "messages": messages,
        "tools": [],
        "metadata": {"user_id": json.dumps({"device_id": "d" * 64, "account_uuid": "", "session_id": SESSION})},
    }
    if tools:
        body["system"].append(
            {**_text("You are an agent in a terminal.\n" + rules("file", 130)), "cache_control": _EPHEMERAL}
        )
        body["tools"] = [
            {"name": name, "description": rules(name, 60), "input_schema": {"type": "object", "properties": {}}}
            for name in ("read_file", "edit_file", "run", "search", "task", "fetch")
        ]
        body["thinking"] = {"type": "adaptive"}
    return body


def hash_of(text: str) -> str:
    """Four digits that depend on a text."""
    return f"{sum(text.encode()) % 65_536:04x}"


def _mark(message: Json) -> None:
    if isinstance(message["content"][-1], dict):
        message["content"][-1] = {**message["content"][-1], "cache_control": _EPHEMERAL}


def _text(text: str) -> Json:
    return {"type": "text", "text": text}


def _thinking(text: str) -> Json:
    return {"type": "thinking", "thinking": text, "signature": "c2lnbmF0dXJl" * 12}


def _user(text: str, reminder: str | None = None, first: bool = False) -> Json:
    blocks = [_text(text)]
    if reminder is not None:
        blocks.insert(0, _text(f"<system-reminder>\n{reminder}\n</system-reminder>\n"))
    if first:
        blocks.insert(0, _text("<system-reminder>\n" + rules("module", 20) + "\n</system-reminder>\n"))
    return {"role": "user", "content": blocks}


def _did(step: Step, number: str) -> list[Json]:
    call = {"type": "tool_use", "id": f"toolu_{number}", "name": step.tool, "input": {"argument": step.argument}}
    result = {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": step.result}
    return [
        {"role": "assistant", "content": [_thinking(step.thought), call]},
        {"role": "user", "content": [result]},
    ]
