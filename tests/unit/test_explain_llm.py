"""`bsgateway explain` with the strategy llm: a local LLM is woken and asked, and what is wrong with it is said."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result

from bsgateway.classifiers.llm.remedy import address, remedy
from bsgateway.classifiers.llm.target import Target
from bsgateway.cli import main
from bsgateway.config import Llm
from bsgateway.decision import Decision, LlmStatus, Reason, Strategy

EASY = "hello"
SECRET = "the words of the ask"


class Ollama(ThreadingHTTPServer):
    """As much of Ollama's API as a verdict takes, on another thread: the command has a loop of its own.

    `word` is what the model says, `status` the HTTP status of its answers; `asked` are the bodies of its questions."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.word = "complex"
        self.status = 200
        self.asked: list[dict[str, Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Ollama

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        answer: dict[str, Any] = {"capabilities": ["completion"], "model_info": {}}
        if self.path == "/api/chat":
            content = json.dumps(self.server.word) if body["messages"] else ""
            answer = {"model": body["model"], "message": {"role": "assistant", "content": content}, "done": True}
            if body["messages"]:
                self.server.asked.append(body)
        if self.server.status != 200:
            answer = {"error": f"no: {SECRET}"}
        data = json.dumps(answer).encode()
        self.send_response(self.server.status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def ollama() -> Iterator[Ollama]:
    with Ollama() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def configured(config_file: Callable[..., Path], ollama: Ollama) -> Callable[..., str]:
    """A gateway.yaml with a local LLM on the server, by its path."""

    def write(strategy: str = "static", routing: dict[str, Any] | None = None, **llm: Any) -> str:
        settings = {"model": "tiny", "api_base": ollama.url, "timeout": 30} | llm
        return str(config_file(classifier={"strategy": strategy, "llm": settings}, **(routing or {})))

    return write


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["explain", *arguments])
    if not isinstance(result.exception, (SystemExit, type(None))):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def decided(*arguments: str) -> Decision:
    return msgspec.json.decode(run(*arguments, "--json").stdout, type=Decision)


def test_the_local_llm_is_asked_when_it_is_named(configured: Callable[..., str], ollama: Ollama) -> None:
    given = configured()
    assert decided(EASY, "-c", given).strategy is Strategy.STATIC
    assert ollama.asked == []
    decision = decided(EASY, "-c", given, "--strategy", "llm")
    assert (decision.strategy, decision.llm_status) == (Strategy.LLM, LlmStatus.ASKED)
    assert (decision.tier, decision.llm_tier, decision.llm_model) == ("complex", "complex", "tiny")
    assert (decision.resolved_model, decision.reason) == ("large", Reason.SCORE)
    assert EASY in json.dumps(ollama.asked[-1]["messages"])


def test_a_verdict_for_people(configured: Callable[..., str], ollama: Ollama) -> None:
    result = run(EASY, "-c", configured(), "--strategy", "llm")
    lines = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert "tier complex" in lines
    assert "scored by llm" in lines
    assert f"local LLM asked: {LlmStatus.ASKED.doc}" in lines
    assert any(line.startswith("its verdict complex (confidence 1.00), by tiny, prompt 1-") for line in lines)
    assert any(line.startswith("decided in ") for line in lines)
    # Each tier with its middle, its probability and its points.
    assert any("llm:complex │ 83.0 │ 1.00 │ 83.0" in line for line in lines)
    assert "what to do" not in result.stdout
    # What one waits for is said, beside the answer.
    assert result.stderr.startswith(f"loading tiny at {ollama.url}: ")
    assert "loaded in " in result.stderr


def test_the_strategy_of_the_config_asks_too(configured: Callable[..., str], ollama: Ollama) -> None:
    ollama.word = "medium"
    given = configured("llm")
    decision = decided("Prove the theorem, derive the bound, analyze the algorithm.", "-c", given)
    assert (decision.tier, decision.strategy) == ("medium", Strategy.LLM)
    asked = len(ollama.asked)
    for strategy in ("static", "ml"):
        assert decided(EASY, "-c", given, "--strategy", strategy).strategy == Strategy(strategy)
    assert len(ollama.asked) == asked


def test_nobody_is_woken_for_nothing(configured: Callable[..., str], ollama: Ollama) -> None:
    given = configured("llm", when="uncertain", margin=0, min_confidence=0)
    result = run(EASY, "-c", given)
    assert f"certain: {LlmStatus.CERTAIN.doc}" in result.stdout
    assert result.stderr == ""
    assert decided(EASY, "-c", given, "--model", "frontier").llm_status is None
    assert ollama.asked == []
    # Who names the strategy wants its verdict.
    assert decided(EASY, "-c", given, "--strategy", "llm").llm_status is LlmStatus.ASKED
    asked = len(ollama.asked)
    one = {"tiers": {"only": {"score_range": [0, 100], "model": "small"}}, "fallback_tier": "only", "aliases": {}}
    given = configured("llm", routing=one)
    assert decided(EASY, "-c", given, "--strategy", "llm").llm_status is LlmStatus.NOT_NEEDED
    assert len(ollama.asked) == asked


def test_the_end_of_a_long_ask_is_shown(configured: Callable[..., str], ollama: Ollama) -> None:
    ask = "first words, " + "filler " * 20_000 + "last words"
    assert decided(ask, "-c", configured("llm")).llm_status is LlmStatus.ASKED
    shown = ollama.asked[-1]["messages"][-1]["content"]
    assert "first words" in shown
    assert "last words" in shown
    assert len(shown) < 10_000


def test_a_server_that_is_not_there(configured: Callable[..., str], closed_port: int) -> None:
    given = configured(api_base=f"http://127.0.0.1:{closed_port}")
    result = run(EASY, "-c", given, "--strategy", "llm")  # the request would go on: exit code 0
    assert f"unreachable: {LlmStatus.UNREACHABLE.doc}" in result.stdout
    assert "ollama serve" in result.stdout
    assert f"http://127.0.0.1:{closed_port}" in result.stdout
    assert "failed after " in result.stderr
    decision = decided(EASY, "-c", given, "--strategy", "llm")
    assert (decision.strategy, decision.llm_status) == (Strategy.STATIC, LlmStatus.UNREACHABLE)
    assert (decision.tier, decision.reason) == ("simple", Reason.LLM_UNREACHABLE)


@pytest.mark.parametrize(
    ("status", "word", "found", "advice"),
    [
        (404, "complex", LlmStatus.NO_MODEL, "ollama pull tiny"),
        (500, "complex", LlmStatus.ERROR, "see the log of the server"),
        (200, "purple", LlmStatus.BAD_ANSWER, "take another model"),
    ],
)
def test_trouble_is_named_with_what_to_do(
    configured: Callable[..., str], ollama: Ollama, status: int, word: str, found: LlmStatus, advice: str
) -> None:
    ollama.status, ollama.word = status, word
    result = run(EASY, "-c", configured(), "--strategy", "llm")
    assert f"{found.value}: {found.doc}" in result.stdout
    assert advice in result.stdout
    assert SECRET not in result.output


def test_a_local_llm_that_is_too_slow(configured: Callable[..., str]) -> None:
    result = run(EASY, "-c", configured(timeout=1e-6), "--strategy", "llm")
    assert f"timeout: {LlmStatus.TIMEOUT.doc}" in result.stdout
    assert "routing.classifier.llm.timeout is 1e-06 s" in result.stdout


def test_without_a_model_to_ask(config_file: Callable[..., Path]) -> None:
    given = str(config_file())
    result = run(EASY, "-c", given, "--strategy", "llm", code=2)
    assert f"--strategy llm needs routing.classifier.llm.model in {given}" in result.stderr
    assert "--strategy" in run(EASY, "-c", given, "--strategy", "guess", code=2).stderr


def test_what_cannot_be_decided_wakes_nobody(configured: Callable[..., str], ollama: Ollama) -> None:
    result = run(EASY, "-c", configured("llm"), "--call-type", "aembedding", code=2)
    assert "call type 'aembedding' is not routed" in result.stderr
    assert ollama.asked == []


def test_a_remedy_for_each_trouble() -> None:
    target = Target("tiny", "https://user:hunter2@[::1]:11434/base")
    for status in LlmStatus:
        said = remedy(status, Llm(), target)
        mends_itself = status in (LlmStatus.COLD, LlmStatus.FAILED)
        assert bool(said) == (status.reason is not None and not mends_itself), status
        assert "hunter2" not in said
    assert "without a path" in remedy(LlmStatus.NO_MODEL, Llm(), target)
    assert "TLS" in remedy(LlmStatus.UNREACHABLE, Llm(), target)
    plain = Target("tiny", "http://gpu:11434/")
    assert remedy(LlmStatus.NO_MODEL, Llm(), plain) == "run `ollama pull tiny` on the machine of http://gpu:11434"
    assert "TLS" not in remedy(LlmStatus.UNREACHABLE, Llm(), plain)
    assert address(target) == "https://[::1]:11434"
    assert "OLLAMA_HOST" in address(Target("tiny", None))
