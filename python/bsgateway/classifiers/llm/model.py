"""The model as it is asked: one question about one request, with everything that Ollama is to be told."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping

from ...config import Llm, Tier
from ...decision import LlmStatus
from ...ollama_server import OllamaServer, ServerError
from . import Request, Verdict
from .answer import read_answer
from .prompt import Question
from .target import Target

log = logging.getLogger(__name__)

ANSWER_SECONDS = 60.0
"""Longest wait for the answer about a canary, which no request waits for: the first makes the server read all of the
question. A request has its own, and it is no longer than this."""
CANARY = Request("What is the capital of France?")
"""An ask that any model can judge."""
ALTERNATIVES = 20
"""Likeliest tokens to be told of: as many as Ollama tells at most, since few of them begin a tier's name."""
_BAD_REQUEST = 400
_NEWEST = 0.2
"""Weight of the newest latency in the usual one."""


class Model:
    """The model that `target` names, and how it is asked. Belongs to one event loop; `close` it there."""

    def __init__(self, settings: Llm, target: Target, tiers: Mapping[str, Tier]) -> None:
        self.target = target
        self.question = Question(tiers)
        self._settings = settings
        # A connection more than requests may take is for probes.
        self._server = OllamaServer(target.api_base, timeout=ANSWER_SECONDS, connections=settings.max_concurrent + 1)
        self._options = {
            "temperature": 0,
            "seed": 0,
            "repeat_penalty": 1.0,  # Ollama's 1.1 counts against the tiers that the examples have just named
            # At temperature 0 these choose nothing, but a server may tell probabilities of what they leave.
            "top_k": 0,
            "top_p": 1.0,
            "min_p": 0.0,
            "num_predict": _answer_tokens(self.question),
            "num_ctx": self.question.context_size(settings.ask_chars),
        }
        self._thinks = False
        self._tells_probabilities = True
        self.asked_at = 0.0
        """When it was last sent something, which it stays loaded after; `time.perf_counter`."""
        self.usual_seconds = 0.0
        """How long a verdict takes these days."""

    @property
    def scope(self) -> str:
        """What a verdict depends on beside the request: equal for configurations whose verdicts are the same."""
        name, api_base = self.target
        return json.dumps([name, api_base, self.question.version, self._settings.ask_chars])

    def follow(self, former: Model) -> None:
        """Take over what `former`, of the same scope, has learned of the server."""
        self._thinks, self._tells_probabilities = former._thinks, former._tells_probabilities
        self.asked_at, self.usual_seconds = former.asked_at, former.usual_seconds

    async def ask(self, request: Request) -> Verdict:
        """The model's verdict, or BAD_ANSWER. Raises ServerError."""
        self.asked_at = began = time.perf_counter()
        settings = self._settings
        answer = await self._server.chat(
            self.target.model,
            self.question.messages(request, settings.ask_chars),
            format=self.question.schema,
            options=self._options,
            keep_alive=settings.keep_alive,
            think=False if self._thinks else None,
            top_logprobs=ALTERNATIVES if self._tells_probabilities else None,
        )
        read = read_answer(answer, self.question.bands)
        if read is None:
            return Verdict(LlmStatus.BAD_ANSWER)
        self.usual_seconds += (time.perf_counter() - began - self.usual_seconds) * _NEWEST
        tier, confidence, scored = read
        return Verdict(LlmStatus.ASKED, scored, tier, confidence, self.target.model, self.question.version)

    async def load(self) -> None:
        """Have it loaded, or stay loaded, and learn whether it thinks. Raises ServerError."""
        self.asked_at = time.perf_counter()
        # A server that hangs is found out by this one, which takes no time.
        self._thinks = await self._server.thinks(self.target.model)
        # With the options of a question: others would have Ollama load it anew.
        await self._server.load(self.target.model, self._settings.keep_alive, options=self._options)

    async def wake(self) -> None:
        """Load it, learn how it wants to be asked, and ask it about a canary until that is answered as fast as requests
        need it. Raises ServerError."""
        self._tells_probabilities = True
        await self.load()
        # The first answer takes longer than later ones: from then on the server knows the beginning of the question.
        seconds = await self._canary()
        if seconds > self._settings.timeout:
            seconds = await self._canary()
        if seconds > self._settings.timeout:
            log.info("the local LLM %s is too slow: %.2f s for an answer", self.target.model, seconds)
            raise ServerError("timeout")
        self.usual_seconds = seconds

    async def _canary(self) -> float:
        """Seconds that a verdict took. Raises ServerError."""
        began = time.perf_counter()
        try:
            verdict = await self.ask(CANARY)
        except ServerError as error:
            if error.status != _BAD_REQUEST or not self._tells_probabilities:
                raise
            self._tells_probabilities = False  # it may be a server that does not know them
            began = time.perf_counter()
            verdict = await self.ask(CANARY)
        if verdict.status is not LlmStatus.ASKED:
            raise ServerError("bad_answer")
        return time.perf_counter() - began

    async def close(self) -> None:
        """Close the connections."""
        await self._server.close()


def _answer_tokens(question: Question) -> int:
    """Tokens that the longest answer may take: no token is shorter than a byte."""
    return max(len(json.dumps(band.name, ensure_ascii=False).encode()) for band in question.bands) + 2
