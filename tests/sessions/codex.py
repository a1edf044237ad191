"""A session of Codex: the Responses API with encrypted reasoning, the whole history at every turn, a reviewing
sub-agent, and a compaction after which the conversation begins anew."""

from __future__ import annotations

from collections.abc import Iterator

from .script import REPAIR, Ask, Json, Recorder, Step, reads, rules, walk

SESSION = "019a300e-b587-7d81-9e96-9459a635a0cc"
REVIEWER = "019a3011-0d3a-7c52-8c1f-0b7d6f1c2a11"
_RULES = "You are a coding agent in a terminal.\n" + rules("file", 80)
REVIEW = Ask("Review the change: is any call site left?", reads("api.py", "job.py"), "None is left.")


def requests() -> Iterator[Json]:
    """The lines of the session, in the order of their time."""
    recorder = Recorder(
        "codex",
        "aresponses",
        {
            "user-agent": "codex_cli_rs/0.61.0 (Linux 6.1; x86_64)",
            "originator": "codex_cli_rs",
            "session-id": SESSION,
        },
    )
    thread, said = "main", _context()
    for ask, number, step in walk(REPAIR, recorder.clock):
        if step == 0:
            said.append(_user(ask.text))
        else:
            said += _did(ask.steps[step - 1], f"{number}_{step}")
        output = 80 if step < len(ask.steps) else len(ask.answer) // 4 + 60
        yield recorder.line(_body(said, SESSION), output, thread=thread, thread_id=SESSION)
        if step < len(ask.steps):
            continue
        said.append({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": ask.answer}]})
        if number == 5:
            recorder.clock.after(20.0)
            compact = [
                *said,
                _user("Context checkpoint: write a handoff summary for the one who goes on with this task."),
            ]
            yield recorder.line({**_body(compact, SESSION), "tools": []}, 700, side=True, thread_id=SESSION)
            thread = "after compaction"
            said = [
                *_context(),
                _user(REPAIR[1].text),
                _user("Summary of what was done so far: " + "the sums are right. " * 60),
            ]
        if number == 7:
            yield from _review(recorder)


def _review(recorder: Recorder) -> Iterator[Json]:
    said = [*_context(), _user(REVIEW.text)]
    for step in range(len(REVIEW.steps) + 1):
        if step:
            said += _did(REVIEW.steps[step - 1], f"review_{step}")
        recorder.clock.after(6.0)
        more = {"thread_id": REVIEWER, "x_openai_subagent": "review"}
        yield recorder.line(_body(said, REVIEWER), 80, thread="review", **more)


def _context() -> list[Json]:
    return [
        {
            "type": "message",
            "role": "developer",
            "content": [_input("<permissions>\nAsk before you push.\n</permissions>")],
        },
        _user(
            "# AGENTS.md instructions for /srv/billing\n\n<INSTRUCTIONS>\n" + rules("module", 12) + "\n</INSTRUCTIONS>"
        ),
        _user("<environment_context>\n  <cwd>/srv/billing</cwd>\n</environment_context>"),
    ]


def _body(said: list[Json], cache_key: str) -> Json:
    return {
        "model": "auto",
        "input": list(said),
        "tools": [
            {"type": "function", "name": name, "description": rules(name, 22), "strict": False,
             "parameters": {"type": "object", "properties": {"argument": {"type": "string"}}}}
            for name in ("read_file", "edit_file", "run", "update_plan")
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "medium", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": cache_key,
    }  # fmt: skip


def _input(text: str) -> Json:
    return {"type": "input_text", "text": text}


def _user(text: str) -> Json:
    return {"type": "message", "role": "user", "content": [_input(text)]}


def _did(step: Step, number: str) -> list[Json]:
    return [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": step.thought}], "content": None,
         "encrypted_content": "Z0FBQUFB" * 40},
        {"type": "function_call", "name": step.tool, "arguments": f'{{"argument": "{step.argument}"}}',
         "call_id": f"call_{number}"},
        {"type": "function_call_output", "call_id": f"call_{number}", "output": step.result},
    ]  # fmt: skip
