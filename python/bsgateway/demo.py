"""`bsgateway demo`: the real gateway, 20 varied requests through the OpenAI and Anthropic SDKs, and what it saved."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import UUID

import click
import httpx
import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from .check import load_config
from .config import resolve_env
from .embedded import running_dsn
from .errors import GatewayError
from .logs import money
from .rows import LogRow
from .server import known_master_key
from .store import Store
from .terminal import wide_console

START_SECONDS = 240.0
OUTCOME_SECONDS = 20.0
MAX_TOKENS = 120
"""Output limit of each request: with real keys the demo costs money, and this keeps it to cents."""

_PYTHON = """\
def total(rows):
    result = 0
    for row in rows:
        if row["kind"] == "credit":
            result += row["amount"]
    return result
"""
_TRACE = """\
Traceback (most recent call last):
  File "/srv/app/billing.py", line 88, in close_month
    total = sum(row["amount"] for row in rows)
KeyError: 'amount'
"""
_WEATHER_TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Ask(msgspec.Struct, frozen=True):
    """One request of the demo: which API of which SDK, streamed or not, and what it says."""

    api: str
    model: str
    text: str
    stream: bool = False
    system: str = ""
    tools: bool = False


ASKS = (
    Ask("chat", "auto", "What is the capital of France?"),
    Ask("chat", "auto", "Hello! How are you?", stream=True),
    Ask("messages", "auto", "Translate to German: good morning, everyone."),
    Ask("messages", "claude-sonnet-4-5", "Thanks, that helped.", stream=True),
    Ask("responses", "auto", "Who was Ada Lovelace? One sentence, please."),
    Ask("chat", "gpt-4o", "Fix the typo: 'recieve the pakage'.", stream=True),
    Ask("completions", "auto", "What is 12 times 12?"),
    Ask("chat", "auto", f"Refactor this so that it reads better:\n```python\n{_PYTHON}```"),
    Ask("messages", "auto", f"Why does this fail?\n{_TRACE}"),
    Ask("chat", "auto", "Compare and contrast optimistic and pessimistic locking for a booking system.", stream=True),
    Ask("responses", "auto", "Implement an LRU cache in Rust with a bounded byte size.", stream=True),
    Ask("chat", "auto", "What is the weather in Oslo?", tools=True),
    Ask("messages", "claude-sonnet-4-5", "Debug this SQL: SELECT nmae FROM users GROUP id;", stream=True),
    Ask("chat", "auto", "Prove that there are infinitely many primes, then derive a lower bound for their density."),
    Ask(
        "messages",
        "auto",
        "Design a distributed rate limiter. Analyze consistency, race conditions and failure modes, and evaluate the "
        "trade-offs of three architectures.",
        system="You are a principal engineer. Answer with care.",
    ),
    Ask(
        "responses",
        "auto",
        "Diagnose the root cause of a memory leak in a concurrent server, step by step, and design a regression test.",
    ),
    Ask("chat", "auto-cheap", "Implement quicksort in Python."),
    Ask("chat", "auto-best", "Write a limerick about compilers.", stream=True),
    Ask("chat", "frontier", "Say hello."),
    Ask("chat", "gpt-5-mini", "Say hello."),
)


def run(config_path: Path, state: Path, port: int | None, as_json: bool) -> bool:
    """Run the demo; whether every request was answered. Raises GatewayError when the gateway does not start."""
    if find_spec("anthropic") is None:
        raise GatewayError("the demo speaks through Anthropic's SDK, which is missing: pip install 'bsgateway[demo]'")
    config = load_config(config_path)
    console = wide_console(stderr=as_json)
    port = port or _free_port()
    with _gateway(config_path, state, port, console) as key:
        answers = _send(f"http://127.0.0.1:{port}", key, console)
        url = resolve_env(config.routing.collector.database_url) or running_dsn(state)
        rows = asyncio.run(_rows(url, answers)) if url else {}
    if as_json:
        click.echo(msgspec.json.encode([rows[a.decision_id] for a in answers if a.decision_id in rows]).decode())
    else:
        _print(console, answers, rows)
    return all(not answer.error for answer in answers)


class Answer(msgspec.Struct, frozen=True):
    """What came back for one ask. `decision_id` is None when the answer lacked the header."""

    ask: Ask
    decision_id: UUID | None
    seconds: float
    error: str = ""


def _free_port() -> int:
    """One that the system gives to nobody by itself: the gateway takes it seconds later, and by then a connection of
    another program could have got it."""
    for port in random.SystemRandom().sample(range(20_000, 32_000), 100):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise GatewayError("no free port found between 20000 and 32000; choose one with --port")


@contextlib.contextmanager
def _gateway(config: Path, state: Path, port: int, console: Console) -> Iterator[str]:
    """`bsgateway serve` in a process of its own; yields the key clients use."""
    command = [
        sys.executable,
        "-m",
        "bsgateway",
        "serve",
        "-c",
        str(config),
        "--state",
        str(state),
        "--port",
        str(port),
    ]
    with tempfile.TemporaryFile("w+") as output:
        child = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)  # noqa: S603
        try:
            with console.status("starting the gateway"):
                _wait_until_ready(child, port, output)
            for line in _written(output).splitlines():
                if line.startswith("notice:"):
                    console.print(line, style="yellow", highlight=False)
            yield _client_key(config, state)
        finally:
            with console.status("stopping the gateway"):
                _stop(child)


def _client_key(config: Path, state: Path) -> str:
    key = known_master_key(load_config(config).host, state)
    if key is None:
        raise GatewayError(f"the gateway runs, but its key is not in {state}/master_key")
    return key


def _wait_until_ready(child: subprocess.Popen[bytes], port: int, output: Any) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until:
        if child.poll() is not None:
            raise GatewayError(f"the gateway ended with exit code {child.returncode}:\n{_written(output)[-2000:]}")
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"http://127.0.0.1:{port}/health/liveliness", timeout=5).status_code == 200:
                return
        time.sleep(0.2)
    raise GatewayError(f"the gateway did not answer within {START_SECONDS:.0f} s:\n{_written(output)[-2000:]}")


def _written(output: Any) -> str:
    output.seek(0)
    text: str = output.read()
    return text


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.send_signal(signal.SIGTERM)
    try:
        child.wait(60)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _send(url: str, key: str, console: Console) -> list[Answer]:
    """All asks, one after the other, with progress."""
    import anthropic
    import openai

    ai = openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0, timeout=180)
    claude = anthropic.Anthropic(base_url=url, api_key=key, max_retries=0, timeout=180)
    senders: dict[str, Callable[[Ask], Any]] = {
        "chat": lambda ask: _chat(ai, ask),
        "responses": lambda ask: _responses(ai, ask),
        "completions": lambda ask: _completions(ai, ask),
        "messages": lambda ask: _messages(claude, ask),
    }
    answers = []
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("sending requests", total=len(ASKS))
        for ask in ASKS:
            began = time.monotonic()
            try:
                decision_id, error = UUID(senders[ask.api](ask)), ""
            except (openai.OpenAIError, anthropic.AnthropicError, KeyError) as problem:
                decision_id, error = None, type(problem).__name__
            answers.append(Answer(ask, decision_id, time.monotonic() - began, error))
            progress.advance(task)
    return answers


def _chat(client: Any, ask: Ask) -> str:
    messages = [{"role": "system", "content": ask.system}] if ask.system else []
    messages.append({"role": "user", "content": ask.text})
    extra = {"tools": [_WEATHER_TOOL]} if ask.tools else {}
    return _consume(
        client.chat.completions.with_raw_response.create(
            model=ask.model, messages=messages, max_tokens=MAX_TOKENS, stream=ask.stream, **extra
        ),
        ask,
    )


def _responses(client: Any, ask: Ask) -> str:
    create = client.responses.with_raw_response.create
    return _consume(create(model=ask.model, input=ask.text, max_output_tokens=MAX_TOKENS, stream=ask.stream), ask)


def _completions(client: Any, ask: Ask) -> str:
    create = client.completions.with_raw_response.create
    return _consume(create(model=ask.model, prompt=ask.text, max_tokens=MAX_TOKENS, stream=ask.stream), ask)


def _messages(client: Any, ask: Ask) -> str:
    extra = {"system": ask.system} if ask.system else {}
    messages = [{"role": "user", "content": ask.text}]
    create = client.messages.with_raw_response.create
    return _consume(create(model=ask.model, messages=messages, max_tokens=MAX_TOKENS, stream=ask.stream, **extra), ask)


def _consume(raw: Any, ask: Ask) -> str:
    """Read the answer to its end; the decision id of its header."""
    answer = raw.parse()
    if ask.stream:
        for _ in answer:
            pass
    header: str = raw.headers["x-bsgateway-decision-id"]
    return header


async def _rows(url: str, answers: list[Answer]) -> dict[UUID, LogRow]:
    """The log rows of the answers, once all outcomes are there: they are written in batches, a moment later."""
    wanted = {answer.decision_id for answer in answers if answer.decision_id}
    until = time.monotonic() + OUTCOME_SECONDS
    async with await Store.connect(url) as store:
        while True:
            found = {row.decision.decision_id: row for row in await store.recent(10 * len(ASKS))}
            complete = all(found.get(key) and found[key].outcome for key in wanted)
            if complete or time.monotonic() > until:
                return {key: found[key] for key in wanted if key in found}
            await asyncio.sleep(0.25)


def _print(console: Console, answers: list[Answer], rows: dict[UUID, LogRow]) -> None:
    view = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("request", "api", "asked for", "method", "score", "tier", "model", "why"):
        # On a narrow terminal the words give way, never method, score, tier or numbers.
        fixed = name in ("method", "score", "tier")
        view.add_column(name, justify="right" if name == "score" else "left", no_wrap=fixed)
    for name in ("latency s", "cost $", "top tier $"):
        view.add_column(name, justify="right", no_wrap=True)
    for answer in answers:
        api = answer.ask.api + (" stream" if answer.ask.stream else "")
        row = rows.get(answer.decision_id) if answer.decision_id else None
        if row is None:
            view.add_row(_short(answer.ask.text), api, answer.ask.model, answer.error or "no row in the log")
            continue
        decision, outcome = row.decision, row.outcome
        view.add_row(
            _short(answer.ask.text),
            api,
            decision.original_model,
            decision.method.value,
            "" if decision.complexity_score is None else str(decision.complexity_score),
            decision.tier or "",
            (outcome.served_group if outcome else None) or decision.resolved_model,
            decision.reason.value,
            f"{answer.seconds:.2f}",
            money(outcome.cost if outcome else None),
            money(outcome.baseline_cost if outcome else None),
        )
    console.print(view)
    _print_savings(console, rows)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 30 else line[:29] + "…"


def _print_savings(console: Console, rows: dict[UUID, LogRow]) -> None:
    priced = [
        (row.outcome.cost, row.outcome.baseline_cost)
        for row in rows.values()
        if row.outcome and row.outcome.cost is not None and row.outcome.baseline_cost is not None
    ]
    spent, top = sum(cost for cost, _ in priced), sum(baseline for _, baseline in priced)
    share = f", {100 * (top - spent) / top:.0f} % less" if top else ""
    console.print(
        f"{len(priced)} priced requests cost ${spent:.6f}; the top tier alone would have cost ${top:.6f}{share}. "
        "List prices, same token counts; a stand-in counts at the price of what it stands in for, the local model at 0."
    )
