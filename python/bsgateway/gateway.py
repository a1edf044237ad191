"""`Gateway`: one checked config, ready to decide. The whole flow from body to `Decision`, without a server.

body -> names -> core.analyze -> classifier -> policy -> Decision
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from .check import load_config
from .classifiers import Classification
from .classifiers.static import StaticClassifier
from .config import Config, make_analyzer
from .core import core
from .decision import Caller, Decision, Reason, Texts, new_id, now
from .names import MAX_NAME, Names, Route
from .policy import Choice, Policy
from .pricing import Price, prices
from .rows import clean

log = logging.getLogger(__name__)

FORMATS = {
    "acompletion": "chat",
    "completion": "chat",
    "anthropic_messages": "messages",
    "aresponses": "responses",
    "responses": "responses",
    "atext_completion": "completions",
    "text_completion": "completions",
    "agenerate_content": "generate_content",
    "generate_content": "generate_content",
    "agenerate_content_stream": "generate_content",
    "generate_content_stream": "generate_content",
}
"""LiteLLM's call types that are routed, and the body format each carries."""


def load(path: str | Path) -> Gateway:
    """Read and check a gateway.yaml. Raises ConfigError whose `problems` are all its mistakes."""
    return Gateway(load_config(path))


def _unknown_to_host(_: str) -> bool:
    return False


class Gateway:
    """A config, prepared once. Safe to share by all threads; `failed_open` counts decisions that had to be saved."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.prices: dict[str, Price] = prices(config.host["model_list"])
        self.policy = Policy(config.routing, self.prices)
        self.failed_open = 0
        self._names = Names(config)
        self._analyzer = make_analyzer(config.routing)
        self._encoding = config.routing.analysis.encoding
        self._classifier = StaticClassifier()
        self._keeps_text = config.routing.collector.enabled and config.routing.collector.text != "none"

    def decide(self, body: dict[str, Any], call_type: str = "acompletion") -> Decision:
        """What the gateway would do with `body`, the JSON object of a request, arriving as LiteLLM's `call_type`.

        Raises ValueError for a call type that is not routed (see `FORMATS`) and for a body without a model name.
        """
        decision, _ = self.route(body, call_type, Caller(), _unknown_to_host)
        return decision

    def route(
        self, body: dict[str, Any], call_type: str, caller: Caller, host_knows: Callable[[str], bool]
    ) -> tuple[Decision, Texts | None]:
        """As `decide`, for the hook: with who asks, and with the words to keep if the config says so."""
        began = time.perf_counter_ns()
        if call_type not in FORMATS:
            raise ValueError(f"call type {call_type!r} is not routed; known: {', '.join(FORMATS)}")
        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise ValueError("the body has no `model`")
        route = self._names.resolve(name, host_knows)
        stream = body.get("stream") is True or call_type.endswith("_stream")
        request = _Request(began, call_type, clean(name, MAX_NAME), stream, caller)
        if route.target is not None:
            return _unscored(request, route, route.reason, route.target, None), None
        try:
            analysis = self._analyzer.analyze(body, FORMATS[call_type])
            scored = self._classifier.classify(analysis)
            choice = self.policy.choose(
                scored.raw_score, route.bias, analysis.context_tokens, analysis.max_output_tokens
            )
            decision = _scored(request, route, analysis, self._encoding, scored, choice)
            if not self._keeps_text:
                return decision, None
            return decision, Texts(
                decision_id=decision.decision_id,
                created_at=decision.created_at,
                ask=analysis.ask,
                system=analysis.system,
            )
        except Exception as error:
            # Whatever went wrong is ours, and the client's request must not pay for it. The message may quote the
            # body, so only its kind is logged.
            self.failed_open += 1
            tier, model = self.policy.fallback
            decision = _unscored(request, route, Reason.FAILED_OPEN, model, tier)
            log.error("decision %s failed open: %s", decision.decision_id, type(error).__name__)
            return decision, None

    def memo_stats(self) -> core.MemoStats:
        """What the core remembers of texts and how often that helped, in this process."""
        return self._analyzer.memo_stats()


class _Request(NamedTuple):
    """What every decision says of its request; `began` is the time of its arrival, in ns."""

    began: int
    call_type: str
    model: str
    stream: bool
    caller: Caller


# A decision is built once, with all it has: replacing fields of a record copies it.
def _unscored(request: _Request, route: Route, reason: Reason, model: str, tier: str | None) -> Decision:
    return Decision(
        decision_id=new_id(),
        created_at=now(),
        call_type=request.call_type,
        method=route.method,
        reason=reason,
        original_model=request.model,
        resolved_model=model,
        tier=tier,
        bias=route.bias,
        stream=request.stream,
        caller=request.caller,
        decision_us=(time.perf_counter_ns() - request.began) / 1000,
    )


def _scored(
    request: _Request,
    route: Route,
    analysis: core.Analysis,
    encoding: str,
    scored: Classification,
    choice: Choice,
) -> Decision:
    return Decision(
        decision_id=new_id(),
        created_at=now(),
        call_type=request.call_type,
        method=route.method,
        # A pattern or an unknown name says more about why this request was routed than the rule that picked the model,
        # unless that rule overruled the score.
        reason=_reason(route.reason, choice.reason),
        original_model=request.model,
        resolved_model=choice.model,
        tier=choice.tier,
        complexity_score=choice.score,
        strategy=scored.strategy,
        confidence=choice.confidence,
        raw_score=scored.raw_score,
        bias=route.bias,
        contributions=scored.contributions,
        needs=analysis.needs,
        features=analysis.features,
        feature_version=core.FEATURE_VERSION,
        ask_tokens=analysis.ask_tokens,
        system_tokens=analysis.system_tokens,
        context_tokens=analysis.context_tokens,
        tool_tokens=analysis.tool_tokens,
        tokens_exact=analysis.tokens_exact,
        token_encoding=encoding,
        max_output_tokens=analysis.max_output_tokens,
        stream=request.stream,
        caller=request.caller,
        decision_us=(time.perf_counter_ns() - request.began) / 1000,
    )


def _reason(named: Reason, chosen: Reason | None) -> Reason:
    if chosen is Reason.CONTEXT_WINDOW or (chosen is not None and named is Reason.SCORE):
        return chosen
    return named
