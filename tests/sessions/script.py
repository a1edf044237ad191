"""What happens in the sessions: asks, steps with tools, answers. Each client's module tells it in its own shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Json: TypeAlias = "dict[str, Any]"

STEP_SECONDS = 12.0
"""From one step of a tool loop to the next."""
READ_SECONDS = 45.0
"""In which the user reads an answer and writes the next ask."""


@dataclass(frozen=True)
class Step:
    """A tool call and its result."""

    tool: str
    argument: str
    result: str
    thought: str = "The next thing to look at is clear."


@dataclass(frozen=True)
class Ask:
    """What the user asks, what the agent does, and what it answers. `pause` seconds pass before it."""

    text: str
    steps: tuple[Step, ...] = ()
    answer: str = "Done."
    pause: float = READ_SECONDS


@dataclass
class Clock:
    """Seconds since the session began."""

    now: float = 0.0

    def after(self, seconds: float) -> float:
        self.now += seconds
        return self.now


@dataclass
class Recorder:
    """Puts the requests of one session into lines."""

    session: str
    call_type: str
    headers: dict[str, str]
    clock: Clock = field(default_factory=Clock)

    def line(self, body: Json, output: int, side: bool = False, thread: str = "", **headers: str) -> Json:
        return {
            "session": self.session,
            "thread": thread,
            "call_type": self.call_type,
            "headers": {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}},
            "at": self.clock.now,
            "body": body,
            "output_tokens": output,
            "side": side,
        }


def rules(subject: str, count: int) -> str:
    """A long text of house rules, as system prompts and descriptions of tools hold them."""
    return "\n".join(
        f"{number}. When you work on {subject} number {number}, read before you write, change as little as you can, "
        f"keep the style that is there, and say in one sentence what you did and why."
        for number in range(1, count + 1)
    )


def source(name: str, functions: int) -> str:
    """A source file, with the numbers of its lines."""
    lines = [f'"""{name}: parts of the billing service."""', ""]
    for number in range(functions):
        lines += [
            f"def part_{number}(invoice, rate):",
            f"    total = sum(line.price * line.count for line in invoice.lines[{number}:])",
            "    return round(total * rate, 2)",
            "",
        ]
    return "\n".join(f"{number:5d}\t{line}" for number, line in enumerate(lines, 1))


def reads(*names: str, functions: int = 30) -> tuple[Step, ...]:
    return tuple(Step("read_file", f"/srv/billing/{name}", source(name, functions)) for name in names)


TESTS = Step("run", "pytest -q", "................F...\n1 failed, 19 passed in 0.61s\nE  assert 20.01 == 20.0\n")
PASSED = Step("run", "pytest -q", "....................\n20 passed in 0.58s\n")


def edit(name: str) -> Step:
    return Step("edit_file", f"/srv/billing/{name}", "The file has been changed.", "The sum must be rounded once.")


REPAIR = (
    Ask("hello, are you there?", answer="Yes. What shall we do?"),
    Ask(
        "The totals of the March invoice are off by one cent. Find the root cause, explain step by step why it "
        "happens, and design a fix that also holds for refunds and for currencies without decimals; consider the "
        "trade-offs of integer cents against decimal arithmetic, and prove that no rounding error can pile up.",
        (*reads("total.py", "refund.py", "currency.py"), TESTS, edit("total.py"), edit("refund.py"), TESTS,
         *reads("rounding.py"), edit("rounding.py"), PASSED),
        "Each line was rounded before the sum. " * 20,
    ),
    Ask("thanks", answer="You are welcome."),
    Ask("Rename `part_3` to `discount`.", (*reads("total.py"), edit("total.py"), PASSED), "Renamed."),
    Ask("Fix the typo in the docstring of currency.py.", (edit("currency.py"),), "Fixed."),
    Ask(
        "Now write a test that would have caught it, and a second one for refunds.",
        (*reads("test_total.py"), edit("test_total.py"), TESTS, edit("test_total.py"), PASSED),
        "Both tests are there, and fail without the fix. " * 4,
    ),
    Ask("What is the name of the file again?", answer="test_total.py", pause=20.0),
    Ask(
        "Refactor the whole billing service so that prices are immutable value objects: analyse the architecture "
        "first, find every race condition between the nightly job and the API, and migrate all call sites.",
        (*reads("job.py", "api.py", "models.py", functions=60), TESTS, edit("models.py"), edit("api.py"),
         edit("job.py"), TESTS, edit("api.py"), PASSED),
        "Prices are value objects now. " * 20,
        pause=400.0,
    ),
    Ask("ok", answer="Anything else?"),
    Ask(
        "Debug the failing test: find out why the total differs from the sum of the lines, and fix the function.",
        (TESTS, *reads("total.py"), edit("total.py")) * 5 + (PASSED,),
        "One line was counted twice. " * 3,
    ),
    Ask("Add a line to the changelog.", (*reads("CHANGELOG.md", functions=4), edit("CHANGELOG.md")), "Added."),
    Ask("And commit.", (Step("run", "git commit -am 'Prices are values'", "[main 1f2e3d4] Prices"),), "Done."),
)  # fmt: skip
"""A long day of repairs: hard asks and trivial ones in turn."""

QUESTIONS = (
    Ask("What does this service do?", reads("api.py", "README.md", functions=10), "It writes invoices. " * 6),
    Ask("Where are taxes computed?", (*reads("tax.py"), *reads("currency.py")), "In tax.py. " * 3),
    Ask("Show me the line.", reads("tax.py"), "Line 7."),
    Ask(
        "Explain in depth why `part_9` is quadratic, derive its complexity formally, and propose an algorithm that is "
        "linear, with a proof of correctness.",
        (*reads("tax.py", "tables.py"), TESTS),
        "It walks the list once per line. " * 30,
    ),
    Ask("Do it.", (edit("tax.py"), TESTS, edit("tax.py"), PASSED), "Done, and measured."),
    Ask("How many tests are there?", (PASSED,), "Twenty."),
    Ask("Thank you!", answer="With pleasure.", pause=900.0),
    Ask("List the files that changed today.", (Step("run", "git diff --stat", " tax.py | 9 +++++----\n"),), "tax.py"),
)
"""Mostly small questions about a code base."""


def walk(asks: tuple[Ask, ...], clock: Clock) -> Iterator[tuple[Ask, int, int]]:
    """(ask, its number, step) for every request: step 0 is the ask itself, each further one brings a result. The clock
    is moved on the way."""
    for number, ask in enumerate(asks):
        clock.after(ask.pause)
        for step in range(len(ask.steps) + 1):
            if step:
                clock.after(STEP_SECONDS)
            yield ask, number, step
