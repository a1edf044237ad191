"""A session of opencode: chat completions with tool calls, a title at the beginning and a compaction at the end, for
which it declares no tools."""

from __future__ import annotations

from collections.abc import Iterator

from .script import QUESTIONS, Json, Recorder, Step, rules, walk

SESSION = "ses_4f1c8b6a2ffeJ3kQmZ9xT7w"


def requests() -> Iterator[Json]:
    """The lines of the session, in the order of their time."""
    recorder = Recorder(
        "opencode",
        "acompletion",
        {"user-agent": "opencode/1.4.2", "x-session-id": SESSION, "x-session-affinity": SESSION},
    )
    said: list[Json] = [_says("system", "You are a coding agent.\n" + rules("file", 50))]
    for ask, number, step in walk(QUESTIONS, recorder.clock):
        if step == 0:
            if number == 0:
                yield recorder.line(_title(ask.text), 10, side=True)
            said.append(_says("user", ask.text))
        else:
            said += _did(ask.steps[step - 1], f"{number}_{step}")
        output = 70 if step < len(ask.steps) else len(ask.answer) // 4 + 50
        yield recorder.line(_body(said), output, thread="main")
        if step == len(ask.steps):
            said.append(_says("assistant", ask.answer))
    recorder.clock.after(15.0)
    compact = [_says("system", "You keep conversations short."), *said[1:]]
    compact.append(
        _says("user", "Write a detailed prompt for continuing our conversation above, with all that was done.")
    )
    yield recorder.line({**_body(compact), "tools": []}, 600, side=True)


def _title(ask: str) -> Json:
    said = [
        _says("system", "You are a title generator. Answer with one line of at most fifty characters."),
        _says("user", "Generate a title for this conversation:\n"),
        _says("user", ask),
    ]
    return {"model": "auto", "messages": said, "max_tokens": 32_000, "stream": True}


def _body(said: list[Json]) -> Json:
    return {
        "model": "auto",
        "max_tokens": 32_000,
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": list(said),
        "tools": [
            {"type": "function", "function": {"name": name, "description": rules(name, 9), "parameters":
             {"type": "object", "properties": {"argument": {"type": "string"}}}}}
            for name in ("read_file", "edit_file", "run", "grep", "glob", "todo")
        ],
        "tool_choice": "auto",
    }  # fmt: skip


def _says(role: str, text: str) -> Json:
    return {"role": role, "content": text}


def _did(step: Step, number: str) -> list[Json]:
    call = {"id": f"call_{number}", "type": "function",
            "function": {"name": step.tool, "arguments": f'{{"argument": "{step.argument}"}}'}}  # fmt: skip
    return [
        {"role": "assistant", "content": "", "reasoning_content": step.thought, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": f"call_{number}", "content": step.result},
    ]
