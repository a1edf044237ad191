"""A session of aider: chat completions without tools and without a session id, the files of the chat before the
conversation and changing with it, commit messages and a summary of the history by its weak model."""

from __future__ import annotations

from collections.abc import Iterator

from .script import Ask, Json, Recorder, rules, source

FILES = ("total.py", "refund.py", "currency.py", "rounding.py")
ASKS = (
    Ask("hi", answer="Hello! What shall we change?"),
    Ask("Rename `part_2` to `net`.", answer="total.py\n```\n" + source("total.py", 3) + "\n```"),
    Ask(
        "Analyse why the sums drift by a cent, step by step: find the root cause, weigh integer cents against "
        "decimals, prove that the invariant holds for refunds, and refactor rounding into one module.",
        answer="rounding.py\n```\n" + source("rounding.py", 12) + "\n```",
    ),
    Ask("thanks", answer="You are welcome."),
    Ask("Add a docstring to `net`.", answer="total.py\n```\n" + source("total.py", 3) + "\n```"),
    Ask("Does the last test still pass?", answer="It should."),
    Ask(
        "Design a migration of all prices to value objects without downtime, with every race condition considered.",
        answer="models.py\n```\n" + source("models.py", 16) + "\n```",
    ),
    Ask("ok, go on", answer="api.py\n```\n" + source("api.py", 10) + "\n```"),
    Ask("Remove the unused import.", answer="api.py\n```\n" + source("api.py", 2) + "\n```"),
    Ask("yes", answer="Done."),
) * 2  # fmt: skip
SUMMARY_AT = 14


def requests() -> Iterator[Json]:
    """The lines of the session, in the order of their time."""
    recorder = Recorder("aider", "acompletion", {"user-agent": "OpenAI/Python 2.7.1"})
    done: list[Json] = []
    thread = "main"
    for number, ask in enumerate(ASKS):
        recorder.clock.after(ask.pause)
        said = [*_before(number), *done, _says("user", ask.text)]
        yield recorder.line(_body(said), len(ask.answer) // 4 + 20, thread=thread)
        done += [_says("user", ask.text), _says("assistant", ask.answer)]
        recorder.clock.after(10.0)
        if "```" in ask.answer:
            yield recorder.line(_commit(ask.answer), 15, side=True)
        if number == SUMMARY_AT:
            yield recorder.line(_summary(done), 300, side=True)
            done = [_says("user", "I spoke to you before about " + "the invoices. " * 80), _says("assistant", "Ok.")]
            thread = "after summary"


def _before(number: int) -> list[Json]:
    """What stands before the conversation: the map of the repository, and the files of the chat, more and more."""
    files = FILES[: 1 + number % len(FILES)]
    return [
        _says("system", "Act as an expert programmer. Answer with edit blocks.\n" + rules("edit", 20)),
        _says("user", f"Here are summaries of some files present in my git repository.\n{source('map', 30 + number)}"),
        _says("assistant", "Ok, I shall not edit those files without asking."),
        _says("user", "I have *added these files to the chat* so you can edit them.\n"
              + "\n".join(source(name, 20) for name in files)),
        _says("assistant", "Ok, what I propose will be for these files."),
    ]  # fmt: skip


def _commit(answer: str) -> Json:
    system = "You are an expert programmer. Review the changes and generate a commit message of one line for them."
    diff = "diff --git a/total.py b/total.py\n" + "\n".join(f"+{line}" for line in answer.splitlines())
    return _body([_says("system", system), _says("user", f"# Changes\n{diff}\n")])


def _summary(done: list[Json]) -> Json:
    told = "".join(f"# {message['role'].upper()}\n{message['content']}\n" for message in done)
    system = "Briefly summarize this part of a conversation about programming, in the words of the user."
    return _body([_says("system", system), _says("user", told)])


def _body(said: list[Json]) -> Json:
    return {"model": "auto", "messages": said, "temperature": 0, "stream": True}


def _says(role: str, text: str) -> Json:
    return {"role": role, "content": text}
