"""The request bodies that everything here is measured on: shapes of real clients, words of our own.

`python benches/bodies.py DIR` writes each as DIR/<name>.json, `{"format": ..., "body": ...}`, for the benches of the
Rust core. Every body is the same in each run; sizes are those of the compact JSON, within a few percent.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

KB = 1_000

_WORDS = """the a of to in is that for on with as this by from or an at which be not have when if it all we can how
there one will would about into other some time only then than first service request cache server client error value
index table query user session token model retry timeout queue worker thread memory disk latency budget deploy branch
release customer invoice account report metric window region storage schema record batch stream packet header payload
signature certificate configuration environment dependency reproducible intermittent asynchronous""".split()  # noqa: SIM905
_NAMES = "load save merge split parse render fetch store update delete sort index encode decode retry flush".split()  # noqa: SIM905
_NOUNS = "rows items users events pages blocks nodes edges files lines words keys values parts frames jobs".split()  # noqa: SIM905


class Body(NamedTuple):
    """A request body and the format the core reads it in."""

    format: str
    body: dict[str, Any]


def prose(size: int, seed: int) -> str:
    """About `size` characters of sentences and paragraphs."""
    random, sentences, length = Random(f"prose {seed}"), [], 0
    while length < size:
        words = random.choices(_WORDS, k=random.randint(6, 18))
        sentence = " ".join(words).capitalize() + random.choice([".", ".", ".", "?", ", so far."])
        sentences.append(sentence + random.choice([" ", " ", " ", "\n\n"]))
        length += len(sentences[-1])
    return "".join(sentences)[:size]


def code(size: int, seed: int) -> str:
    """About `size` characters of Python."""
    random, functions, length = Random(f"code {seed}"), [], 0
    while length < size:
        name, noun, other = random.choice(_NAMES), random.choice(_NOUNS), random.choice(_NOUNS)
        functions.append(
            f"def {name}_{noun}(self, {other}: list[str], limit: int = {random.randint(1, 900)}) -> dict[str, int]:\n"
            f'    """{random.choice(_NAMES).capitalize()} the {noun} of each of the {other}."""\n'
            f"    found = {{}}\n    for index, item in enumerate({other}[:limit]):\n"
            f"        if item.startswith({random.choice(_WORDS)!r}) and index % {random.randint(2, 9)}:\n"
            f"            found[item] = self.{random.choice(_NAMES)}_{noun}(item, index=index)\n    return found\n\n"
        )
        length += len(functions[-1])
    return "".join(functions)[:size]


def log_lines(size: int, seed: int) -> str:
    """About `size` characters of a service's log."""
    random, lines, length = Random(f"log {seed}"), [], 0
    while length < size:
        day, hour, ms = random.randint(1, 28), random.randint(0, 23), random.randint(0, 999)
        stamp = f"2026-03-{day:02}T{hour:02}:{ms % 60:02}:07.{ms:03}Z"
        level = random.choice(["INFO", "INFO", "INFO", "WARN", "ERROR", "DEBUG"])
        what = " ".join(random.choices(_WORDS, k=6))
        lines.append(
            f"{stamp} {level:5} [worker-{random.randint(1, 32)}] {random.choice(_NAMES)}.{random.choice(_NOUNS)} "
            f"id={random.getrandbits(64):016x} took={random.randint(1, 9000)}ms {what}\n"
        )
        length += len(lines[-1])
    return "".join(lines)[:size]


def _tool(number: int, seed: int = 0) -> dict[str, Any]:
    """A tool as an agent declares it, some 3 KB."""
    names = [f"{_NOUNS[(number + place) % len(_NOUNS)]}_{place}" for place in range(6)]
    return {
        "name": f"{_NAMES[number % len(_NAMES)]}_{number}",
        "description": prose(2_000, 1000 + number + seed),
        "input_schema": {
            "type": "object",
            "properties": {name: {"type": "string", "description": prose(110, number * 10)} for name in names},
            "required": names[:2],
            "additionalProperties": False,
        },
    }


def _reminder(seed: int) -> dict[str, Any]:
    return {"type": "text", "text": f"<system-reminder>\n{prose(600, seed)}\n</system-reminder>"}


def _steps(size: int, first: int = 0) -> list[dict[str, Any]]:
    """Messages of an agent at work: a call, its result, and so on, about `size` characters."""
    random, length = Random(f"steps {first}"), 0
    messages: list[dict[str, Any]] = []
    while length < size:
        number = first + len(messages)
        text = random.choice([code, code, prose, log_lines])(random.randint(500, 5_000), number)
        call = {"type": "tool_use", "id": f"call_{number}", "name": "read_3", "input": {"path": f"src/{number}.py"}}
        result = {"type": "tool_result", "tool_use_id": f"call_{number}", "content": [{"type": "text", "text": text}]}
        messages.append({"role": "assistant", "content": [{"type": "text", "text": prose(150, number)}, call]})
        messages.append({"role": "user", "content": [result]})
        length += len(text) + 150
    return messages


def chat_500b(turn: int = 0) -> Body:
    """A question of half a kilobyte; each `turn` asks another one."""
    content = prose(400, turn) if turn == 0 else f"{turn}: {prose(400, turn)}"
    system = {"role": "system", "content": "You are a helpful assistant."}
    return Body("chat", {"model": "auto", "messages": [system, {"role": "user", "content": content}]})


def code_4k(turn: int = 0) -> Body:
    """A question about 4 KB of code."""
    ask = f"Why does this return too few rows?\n\n```python\n{code(3_700, turn)}\n```\nPlease fix it."
    return Body("chat", {"model": "auto", "messages": [{"role": "user", "content": ask}]})


def claude_code_100k(turn: int = 0) -> Body:
    """The first turn of a coding agent: 25 tools, a system prompt with cache marks, reminders before the ask."""
    mark = {"type": "ephemeral"}
    ask = {"type": "text", "text": f"Fix the flaky test of the parser, attempt {turn}.", "cache_control": mark}
    body = {
        "model": "claude-sonnet-4-5",
        "max_tokens": 32_000,
        "stream": True,
        "thinking": {"type": "adaptive"},
        "system": [
            {"type": "text", "text": prose(90, 1), "cache_control": mark},
            {"type": "text", "text": prose(22 * KB, 2), "cache_control": mark},
        ],
        "tools": [_tool(number) for number in range(25)],
        "messages": [{"role": "user", "content": [_reminder(3), _reminder(4), ask]}],
    }
    return Body("messages", body)


def history_200k(turn: int = 0) -> Body:
    """The same agent after many steps: 200 KB, of which only the last message is new with each `turn`."""
    first = claude_code_100k().body
    history = [*first["messages"], *_steps(92 * KB)]
    last = {"type": "tool_result", "tool_use_id": "call_x", "content": f"{turn} passed\n{log_lines(900, turn)}"}
    return Body("messages", {**first, "messages": [*history, {"role": "user", "content": [last]}]})


def log_1m(turn: int = 0) -> Body:
    """A megabyte of log pasted under a question."""
    ask = f"What went wrong here? {turn}\n\n{log_lines(1_000 * KB, turn)}"
    return Body("chat", {"model": "auto", "messages": [{"role": "user", "content": ask}]})


def _user(content: Any) -> Body:
    return Body("messages", {"model": "auto", "messages": [{"role": "user", "content": content}]})


def _nested(depth: int) -> Any:
    block: Any = {"type": "text", "text": "x"}
    for _ in range(depth):
        block = {"type": "tool_result", "content": [block]}
    return [block]


BODIES: dict[str, Callable[..., Body]] = {
    "chat_500b": chat_500b,
    "code_4k": code_4k,
    "claude_code_100k": claude_code_100k,
    "history_200k": history_200k,
    "log_1m": log_1m,
}
"""Name -> what makes the body; the argument `turn` gives another one of the same shape and size."""

HOSTILE: dict[str, Callable[[], Body]] = {
    "backticks_1m": lambda: _user("`" * 1_000 * KB),
    "fences_1m": lambda: _user("```\n" * 250 * KB),
    "one_letter_1m": lambda: _user("a" * 1_000 * KB),
    "no_space_1m": lambda: _user(prose(1_300 * KB, 9).replace(" ", "").replace("\n", "")[: 1_000 * KB]),
    "spaces_1m": lambda: _user(" " * 999 * KB + "x"),
    "newlines_1m": lambda: _user("x" + "\n" * 999 * KB + "x"),
    "han_1m": lambda: _user("我们需要一个更好的算法来解决这个问题" * 18_518),
    "emoji_1m": lambda: _user("😀" * 250 * KB),
    "reminders_1m": lambda: _user("<reminder>x</reminder>" * 45_000),
    "keywords_1m": lambda: _user("prove design " * 77_000),
    "list_items_1m": lambda: _user("- x\n" * 250 * KB),
    "nested_100k": lambda: _user(_nested(100_000)),
    "parts_50k": lambda: _user([{"type": "text", "text": f"part {number}"} for number in range(50_000)]),
    "tools_10k": lambda: Body("messages", {**_user("x").body, "tools": [{"name": f"f{n}"} for n in range(10_000)]}),
}
"""Bodies made to be slow; `nested_100k` cannot be written as JSON by recursion and is not written to files."""


def write(folder: Path) -> None:
    """Write the bodies for the Rust benches; `history_200k` with two turns, to measure the second."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {name: make() for name, make in {**BODIES, **HOSTILE}.items() if name != "nested_100k"}
    made["history_200k_next"] = history_200k(1)
    for name, body in made.items():
        text = json.dumps(body._asdict(), ensure_ascii=False, separators=(",", ":"))
        (folder / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
