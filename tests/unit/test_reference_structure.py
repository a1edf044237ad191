"""Shape of a text as the twin sees it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bsgateway.reference.structure import measure

EMPTY = {
    "bytes": 0, "lines": 1, "words": 0, "digits": 0, "commas": 0, "non_ascii": 0, "questions": 0, "list_items": 0,
    "fences": 0, "code_lines": 0, "inline_code": 0, "stack_lines": 0, "prose": "",
}  # fmt: skip


def test_an_empty_text() -> None:
    assert asdict(measure("")) == EMPTY


def test_a_text_with_everything() -> None:
    text = "\n".join(
        [
            "Why, oh why? See `f(x)` and `g`:",  # 1
            "```python",
            "def f(x):",  # code
            "    return x - 1  # 1, 2?",  # code
            "```",
            "- first",
            "2) second",
            "x = 1;",  # code outside a fence
            "Traceback (most recent call last):",  # by its end, code too
            '  File "a.py", line 3, in f',
            "Ça va 中文？",
        ]
    )
    assert asdict(measure(text)) == {
        "bytes": len(text.encode()),
        "lines": 11,
        "words": 7 + 1 + 2 + 7 + 1 + 2 + 2 + 3 + 5 + 6 + 3,
        "digits": 3 + 1 + 1 + 1,
        "commas": 1 + 1 + 2,
        "non_ascii": 4,
        "questions": 1 + 1 + 1,
        "list_items": 2,
        "fences": 1,
        "code_lines": 4,
        "inline_code": 2,
        "stack_lines": 2,
        "prose": "\n".join([text.split("\n")[0], *text.split("\n")[5:]]),
    }


@pytest.mark.parametrize(
    ("text", "fences", "code_lines", "prose"),
    [
        ("```\na\n```\nb", 1, 1, "b"),
        ("~~~\na\n~~~\nb", 1, 1, "b"),
        ("  ```py\n a\n\t```  \nb", 1, 1, "b"),  # white space around a fence
        ("```\na", 1, 1, ""),  # closed by the end of the text
        ("````\n```\n````\nb", 1, 1, "b"),  # at least as many to close
        ("```\n`````\nb", 1, 0, "b"),
        ("```\n``` py\nb", 1, 2, ""),  # a closing fence has nothing else
        ("```\n~~~\nb", 1, 2, ""),  # of the same kind
        ("``\na\n``", 0, 0, "``\na\n``"),
        ("x ```\na", 0, 0, "x ```\na"),  # only at the beginning of a line
        ("```\n```\n```\n```\nb", 2, 0, "b"),
        ("```a```", 1, 0, ""),
    ],
)
def test_fences(text: str, fences: int, code_lines: int, prose: str) -> None:
    shape = measure(text)
    assert (shape.fences, shape.code_lines, shape.prose) == (fences, code_lines, prose)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("def f(x)", True),
        ("    return 5", True),
        ("import os", True),
        ("from x import y", True),
        ("from here to there", True),  # a prior, no parser
        ("#include <x>", True),
        ("SELECT a FROM b", True),
        ("select a from b", False),
        ("a = b;", True),
        ("if (x) {", True),
        ("}", True),
        ("else):", True),
        ("fn(x) ->", True),
        ("define this", False),
        ("returning home", False),
        ("I said: yes", False),
        ("classes are full.", False),
    ],
)
def test_lines_of_code_outside_a_fence(line: str, code: bool) -> None:
    assert measure(f"text\n{line}\ntext").code_lines == int(code)


@pytest.mark.parametrize(
    ("line", "item"),
    [
        ("- x", True), ("* x", True), ("+ x", True), ("  - x", True), ("1. x", True), ("12) x", True), ("123. x", True),
        ("1234. x", False), ("-x", False), ("-", False), ("- ", False), ("1.x", False), ("1.", False), ("a. x", False),
        ("1 . x", False), ("١. x", False), (". x", False), ("-- x", False),
    ],
)  # fmt: skip
def test_list_items(line: str, item: bool) -> None:
    assert measure(line).list_items == int(item)
    assert measure(f"```\n{line}\n```").list_items == 0


@pytest.mark.parametrize(
    ("line", "trace"),
    [
        ("Traceback (most recent call last):", True),
        ('  File "a.py", line 3, in f', True),
        ('File "a.py" line 3', False),
        ("at a.b.C(C.java:1)", True),
        ("    at f (x.js:1:2)", True),
        ("at home", False),
        ("at (x) y", False),
        ("Caused by: java.io.IOException", True),
        ("panic: runtime error", True),
        ("goroutine 1 [running]:", True),
        ("thread 'main' panicked", True),
        ("Exception in thread main", True),
        ("An Exception in thread", False),
        ("panic attack", False),
    ],
)
def test_stack_lines(line: str, trace: bool) -> None:
    assert measure(line).stack_lines == int(trace)
    assert measure(f"```\n{line}\n```").stack_lines == int(trace)  # a trace is mostly given in a fence


@pytest.mark.parametrize(
    ("text", "pairs"),
    [("`a`", 1), ("`a` `b`", 2), ("`a", 0), ("`a` `b", 1), ("`a\nb`", 0), ("``", 1), ("```\n`a`\n```", 0)],
)
def test_inline_code(text: str, pairs: int) -> None:
    assert measure(text).inline_code == pairs


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        (" a  b\tc\r\nd ", "words", 4),
        ("a\u00a0b\u2003c", "words", 1),
        ("\n\n", "words", 0),
        ("a\nb\n", "lines", 3),
        ("a\rb\u2028c", "lines", 1),
        ("1٢3½", "digits", 2),
        ("a,b，c、d;", "commas", 3),
        ("?？؟!¿", "questions", 3),
        ("aé中😀\ufffd", "non_ascii", 4),
        ("aé中😀", "bytes", 10),
    ],
)
def test_counts(text: str, field: str, value: Any) -> None:
    assert asdict(measure(text))[field] == value


@settings(deadline=None, derandomize=True, database=None)
@given(st.text(st.sampled_from("a1 \n`~-.?,;{}é中"), max_size=80))
def test_counts_are_within_their_bounds(text: str) -> None:
    shape = measure(text)
    assert shape.lines == text.count("\n") + 1
    assert shape.fences + shape.code_lines + shape.list_items <= 2 * shape.lines
    assert shape.words == len(text.split())
    assert shape.bytes == len(text.encode())
    assert len(shape.prose) <= len(text)
    if "```" not in text and "~~~" not in text:
        assert (shape.fences, shape.prose) == (0, text)
