"""`Gateway`: one checked config, ready to decide. The whole flow from body to `Decision`, without a server.

body -> names -> core.analyze -> classifier -> policy -> Decision

The hook takes the steps one by one (`begin`, `choose`, `decision`), as it looks up the conversation and asks LiteLLM
for permission between them; `decide` takes them all, for a request by itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from .catalog import Model, models
from .check import load_config
from .classifiers import Classification, Classifier
from .classifiers.learned import LearnedClassifier
from .classifiers.llm import Request, Verdict
from .classifiers.llm.request import request_of
from .classifiers.llm.target import find_target
from .classifiers.static import StaticClassifier
from .config import Config, make_analyzer
from .conversations import conversation_id
from .core import core
from .decision import Caller, Decision, LlmStatus, Reason, Texts, new_id, now
from .errors import ConfigError
from .exploration import Explorer
from .host import marker, marker_names
from .models import ModelFile, model_path
from .names import MAX_NAME, Names, Route
from .policy import Choice, Demand, Policy
from .rows import clean
from .sessions import Session, as_scored_by
from .side_requests import is_side_request
from .wishes import Wisher, Wishes, spoken

if TYPE_CHECKING:
    from .classifiers.llm.classifier import LlmClassifier

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
FAMILIES = {"messages": "anthropic", "generate_content": "google"}
"""Body format -> the family whose API it is; the others are OpenAI's."""

_RESULTS_SINCE_ASK = core.FEATURE_NAMES.index("results_since_ask")
_NO_VERDICT = Verdict(LlmStatus.NOT_NEEDED)
_NOT_EXCLUDED: Mapping[str, Reason] = MappingProxyType({})


def load(path: str | Path, state: Path | None = None) -> Gateway:
    """Read and check a gateway.yaml; `state` as for `models.model_path`. Raises ConfigError whose `problems` are all
    its mistakes."""
    return Gateway(load_config(path), state)


def _unknown_to_host(_: str) -> bool:
    return False


class Asker(msgspec.Struct, frozen=True, gc=False):
    """Who asks, for what a decision depends on it: the caller, and the metadata that the operator gave key and team."""

    caller: Caller = Caller()
    key_metadata: Mapping[str, Any] | None = None
    team_metadata: Mapping[str, Any] | None = None


class Pending(msgspec.Struct, frozen=True, gc=False):
    """A request that was looked at and is yet to be decided.

    `began` is the time of its arrival in ns. `target` is the model to serve where the name alone settles it; else
    `analysis` and what follows from it is there, unless something `failed`: then the kind of the error is. `verdict`:
    what came of the strategy llm.
    """

    began: int
    call_type: str
    name: str
    stream: bool
    caller: Caller
    route: Route
    analysis: core.Analysis | None = None
    scored: Classification | None = None
    demand: Demand = Demand()
    wishes: Wishes = Wishes()
    conversation: str | None = None
    share: float = 0.0
    failed: str = ""
    verdict: Verdict | None = None

    @property
    def target(self) -> str | None:
        """The model of a name that is not routed by score."""
        return self.route.target


class Gateway:
    """A config, prepared once. Safe to share by all threads; `failed_open` counts decisions that had to be saved.

    `known` are the models of `config`, where somebody has looked them up already: LiteLLM is then not imported.
    `learned` is what the strategy ml scores with for good, instead of the model file, which is otherwise followed;
    `llm` is asked under the strategy llm, instead of one of its own.
    """

    def __init__(
        self,
        config: Config,
        state: Path | None = None,
        *,
        known: Mapping[str, Model] | None = None,
        learned: core.LearnedModel | None = None,
        llm: LlmClassifier | None = None,
    ) -> None:
        self.config = config
        self.models: dict[str, Model] = models(config.host["model_list"]) if known is None else dict(known)
        self.policy = Policy(config.routing, self.models)
        self.expected: Mapping[tuple[str, str], float] = {}
        """Output tokens to expect by tier and model, as the log knows them. Replaced as a whole."""
        self.candidates = frozenset(model.name for plan in self.policy.tiers for model in plan.candidates)
        self.marker = marker(config)
        """What LiteLLM takes names for that are routed by score."""
        self.markers: dict[str, str] = marker_names(config)
        """Alias -> the model that LiteLLM takes it for where nobody rewrites it."""
        self.failed_open = 0
        self._names = Names(config)
        self.routed = frozenset(
            alias for alias in config.routing.aliases if self._names.resolve(alias, _unknown_to_host).target is None
        )
        """The aliases that are routed by score."""
        self.aliases = {alias: target for alias, target in self.markers.items() if alias not in self.routed}
        """Alias -> the one model it stands for."""
        self._wisher = Wisher(config.routing)
        self._analyzer = make_analyzer(config.routing)
        self._encoding = config.routing.analysis.encoding
        self._classifier: Classifier = StaticClassifier()
        self.model_file: ModelFile | None = None
        """What the strategy ml scores with."""
        if config.routing.classifier.scorer == "ml":
            use = self._learned()
            if learned is None:
                self.model_file = ModelFile(model_path(config, state), use)
            else:
                use(learned)
        self.llm: LlmClassifier | None = None
        """What the strategy llm asks."""
        if config.routing.classifier.strategy == "llm":
            self.llm = llm or _llm_classifier(config)
        self._keeps_text = config.routing.collector.enabled and config.routing.collector.text != "none"
        self._text_chars = config.routing.collector.text_chars
        self._share = share(config.routing.canary) if config.routing.mode == "route" else 0.0
        self.explorer = Explorer(share(config.routing.learning.explore))
        self.dual_run_share = share(config.routing.learning.dual_run)

    def _learned(self) -> Callable[[core.LearnedModel], None]:
        """Score with a learned model from now on: what is returned takes one up."""
        self._classifier = classifier = LearnedClassifier()

        def use(model: core.LearnedModel) -> None:
            if model.kind == "prior":
                classifier.priors |= {model.id}  # before any request is scored by it
            self._analyzer.set_model(model)

        return use

    def succeed(self, former: Gateway) -> None:
        """Go on where `former`, another configuration of the same process, has stopped."""
        if self.llm is not None and former.llm is not None:
            self.llm.follow(former.llm)
        self.expected = former.expected
        self.failed_open += former.failed_open
        if self.model_file is not None and former.model_file is not None:
            self.model_file.follow(former.model_file)

    def decide(self, body: dict[str, Any], call_type: str = "acompletion", verdict: Verdict | None = None) -> Decision:
        """What the gateway would do with `body`, the JSON object of a request, arriving as LiteLLM's `call_type`: by
        itself, without the conversation it may belong to.

        Under the strategy llm the fallback scores: nobody is asked. `decide_asking` does. `verdict` is one without a
        score: why there is none.

        Raises ValueError for a call type that is not routed (see `FORMATS`) and for a body without a model name.
        """
        pending = self.begin(body, call_type, Asker(), _unknown_to_host)
        if verdict is not None:
            pending = msgspec.structs.replace(pending, verdict=verdict)
        return self.decision(pending, self.choose(pending), applied=self.is_applied(pending))

    async def decide_asking(self, body: dict[str, Any], call_type: str = "acompletion") -> Decision:
        """The same, where the strategy llm asks its model. Raises as `decide` does."""
        pending = self.begin(body, call_type, Asker(), _unknown_to_host)
        pending = await self.judged(pending, None, body)
        return self.decision(pending, self.choose(pending), applied=self.is_applied(pending))

    def begin(self, body: dict[str, Any], call_type: str, asker: Asker, host_knows: Callable[[str], bool]) -> Pending:
        """Look at a request: its name and, if it is routed by score, everything about it. Raises as `decide` does."""
        began = time.perf_counter_ns()
        if call_type not in FORMATS:
            raise ValueError(f"call type {call_type!r} is not routed; known: {', '.join(FORMATS)}")
        name = body.get("model")
        if not isinstance(name, str) or not name:
            raise ValueError("the body has no `model`")
        route = self._names.resolve(name, host_knows)
        stream = body.get("stream") is True or call_type.endswith("_stream")
        pending = Pending(began, call_type, clean(name, MAX_NAME), stream, asker.caller, route)
        if route.target is not None:
            # Such words mean nothing here, and must not reach the provider either.
            unused = tuple(word for word, _ in spoken(body).values())
            return msgspec.structs.replace(pending, wishes=Wishes(ignored=unused)) if unused else pending
        try:
            # Limits first: they hold even where the rest fails.
            wishes = self._wisher.of(body, route, asker.key_metadata, asker.team_metadata, asker.caller)
            pending = msgspec.structs.replace(pending, wishes=wishes)
            return self._looked_at(pending, body)
        except Exception as error:
            # Whatever went wrong is ours, and the client's request must not pay for it. The message may quote the
            # body, so only its kind is logged.
            self.failed_open += 1
            return msgspec.structs.replace(pending, failed=type(error).__name__)

    def _looked_at(self, pending: Pending, body: dict[str, Any]) -> Pending:
        format = FORMATS[pending.call_type]
        analysis = self._analyzer.analyze(body, format)
        scored = self._classifier.classify(analysis)
        caller = pending.caller
        conversation = conversation_id(body, pending.call_type, caller)
        return Pending(
            pending.began,
            pending.call_type,
            pending.name,
            pending.stream,
            caller,
            pending.route,
            analysis,
            scored,
            _demand(analysis, format, is_side_request(body, pending.call_type, analysis, caller)),
            pending.wishes,
            conversation,
            _share(conversation),
        )

    async def judged(self, pending: Pending, session: Session | None, body: Mapping[str, Any]) -> Pending:
        """A request with what the local LLM says of it, where that is asked and the score may matter. Returns at once
        unless it is; by the time-out at the latest."""
        if self.llm is None or pending.scored is None:
            return pending
        question = self.question(pending, session, body)
        if isinstance(question, LlmStatus):
            verdict = self.llm.unasked(question)
        else:
            verdict = await self.llm.verdict(question, self.deadline(pending))
        return with_verdict(pending, verdict)

    def question(self, pending: Pending, session: Session | None, body: Mapping[str, Any]) -> Request | LlmStatus:
        """What the local LLM is to be asked about a request that has a score, or why it is not."""
        analysis, scored = pending.analysis, pending.scored
        if analysis is None or scored is None:
            return LlmStatus.NOT_NEEDED
        try:
            status = self._unasked(pending, session, scored.raw_score)
            return status or request_of(analysis, body, pending.call_type)
        except Exception as error:  # ours, and the fallback's score is there
            log.error("the local LLM could not be asked: %s", type(error).__name__)
            return LlmStatus.FAILED

    def deadline(self, pending: Pending) -> float:
        """Until when a request waits for a verdict, at the time of `time.perf_counter`."""
        return pending.began / 1e9 + self.config.routing.classifier.llm.timeout

    def _unasked(self, pending: Pending, session: Session | None, score: float) -> LlmStatus | None:
        """Why the local LLM is not asked about a request; None if it is."""
        demand, wishes, settings = pending.demand, pending.wishes, self.config.routing.classifier.llm
        if demand.side or wishes.tier is not None or (session is not None and demand.tool_turn):
            return LlmStatus.NOT_NEEDED
        if self.policy.is_settled(wishes):
            return LlmStatus.NOT_NEEDED
        if settings.when == "uncertain":
            distance, confidence = self.policy.certainty(score, wishes.bias)
            if distance > settings.margin and confidence >= settings.min_confidence:
                return LlmStatus.CERTAIN
        return None

    def choose(
        self,
        pending: Pending,
        session: Session | None = None,
        excluded: Mapping[str, Reason] = _NOT_EXCLUDED,
        now: float = 0.0,
        drawn: str | None = None,
    ) -> Choice:
        """The model for a request; see `Policy.choose`. When all that is left out by it is cooling down, one of those
        is chosen: it may be back. `drawn` is a tier that chance picked: where it cannot serve the request, nothing is
        tried in its stead."""
        target = pending.target
        if target is not None:
            return Choice(None, target, None, None, pending.route.reason)
        choice = self._choose(pending, session, excluded, now, drawn)
        if drawn is not None:
            return choice
        if choice.model is None and Reason.COOLING_DOWN in excluded.values():
            hard = {model: reason for model, reason in excluded.items() if reason is not Reason.COOLING_DOWN}
            again = self._choose(pending, session, hard, now)
            if again.model is not None:
                return msgspec.structs.replace(again, reason=Reason.COOLING_DOWN, skipped=choice.skipped)
        if choice.model is None and pending.wishes.max_tier is not None and pending.scored is not None:
            # As it is, LiteLLM would take the name for a model that may lie above the limit.
            bounded = self.policy.fall_back(pending.wishes, excluded)
            choice = msgspec.structs.replace(choice, tier=bounded.tier, model=bounded.model)
        return choice

    def _choose(
        self,
        pending: Pending,
        session: Session | None,
        excluded: Mapping[str, Reason],
        now: float,
        drawn: str | None = None,
    ) -> Choice:
        scored, wishes = pending.scored, pending.wishes
        if scored is None:
            return self.policy.fall_back(wishes, excluded)
        session = as_scored_by(session, scored.strategy.value)
        return self.policy.choose(
            scored.raw_score, pending.demand, wishes, session, now, excluded, self.expected, drawn
        )

    def explorable(
        self, pending: Pending, session: Session | None, choice: Choice, excluded: Mapping[str, Reason]
    ) -> tuple[str, ...]:
        """The tiers that chance may choose among for a request whose score alone has settled it as `choice`; none where
        something else has, and where there is only one."""
        if not self.explorer.share or session is not None or choice.model is None or pending.scored is None:
            return ()
        by_score = choice.reason is None or choice.reason is Reason.CHEAPEST
        if not by_score or pending.demand.tool_turn or not self.is_applied(pending):
            return ()
        tiers = self.policy.able(pending.demand, pending.wishes, excluded, self.expected)
        return tiers if len(tiers) > 1 and choice.tier in tiers else ()

    def demand(self, body: dict[str, Any], call_type: str) -> Demand:
        """What a request asks of a model, whatever its name."""
        format = FORMATS[call_type]
        return _demand(self._analyzer.analyze(body, format), format, side=False)

    def suits(self, model: str, demand: Demand, wishes: Wishes, session: Session | None) -> bool:
        """Whether LiteLLM may fall back to `model` for a request. Of one that is not in gateway.yaml nothing is known:
        whoever named it as a fallback knows."""
        known = self.models.get(model)
        return known is None or self.policy.suits(known, demand, wishes, session)

    def stand_in(self, pending: Pending, host_knows: Callable[[str], bool]) -> str | None:
        """The model for a request that is not rewritten, where its name is one that nobody serves: a pattern caught it,
        or nothing knows it. The same that LiteLLM takes an alias such as `auto` for. None: LiteLLM serves the name."""
        if pending.route.reason not in (Reason.PATTERN_SCORE, Reason.UNKNOWN_SCORE):
            return None
        return None if self._names.is_served(pending.name, host_knows) else self.marker

    def is_applied(self, pending: Pending) -> bool:
        """Whether a request is rewritten: not in shadow mode, in the other share of a canary, or for a dry run.
        Names that stand for one model always are."""
        if pending.target is not None:
            return True
        return pending.share < self._share and not pending.wishes.dry_run

    def decision(
        self,
        pending: Pending,
        choice: Choice,
        session: Session | None = None,
        applied: bool = True,
        changes: tuple[str, ...] = (),
    ) -> Decision:
        """The record of what was decided. Without a model, the request goes on under the name it came with."""
        analysis, scored, route, wishes = pending.analysis, pending.scored, pending.route, pending.wishes
        model = pending.name if choice.model is None else choice.model
        if analysis is None or scored is None:
            decision = Decision(
                decision_id=new_id(),
                created_at=now(),
                call_type=pending.call_type,
                method=route.method,
                reason=choice.reason or route.reason,
                original_model=pending.name,
                resolved_model=model,
                tier=choice.tier,
                bias=route.bias,
                stream=pending.stream,
                caller=pending.caller,
                decision_us=(time.perf_counter_ns() - pending.began) / 1000,
                applied=applied and choice.model is not None,
                skipped=choice.skipped,
                ignored=wishes.ignored,
            )
            if pending.failed:
                log.error("decision %s failed open: %s", decision.decision_id, pending.failed)
            return decision
        verdict = pending.verdict or _NO_VERDICT
        # A decision is built once, with all it has: replacing fields of a record copies it.
        return Decision(
            decision_id=new_id(),
            created_at=now(),
            call_type=pending.call_type,
            method=route.method,
            reason=_reason(verdict.status.reason or route.reason, choice.reason),
            original_model=pending.name,
            resolved_model=model,
            tier=choice.tier,
            complexity_score=choice.score,
            strategy=scored.strategy,
            confidence=choice.confidence if verdict.confidence is None else verdict.confidence,
            raw_score=scored.raw_score,
            bias=wishes.bias,
            contributions=scored.contributions,
            needs=analysis.needs,
            features=analysis.features,
            feature_version=core.FEATURE_VERSION,
            ask_tokens=analysis.ask_tokens,
            system_tokens=analysis.system_tokens,
            context_tokens=analysis.context_tokens,
            tool_tokens=analysis.tool_tokens,
            tokens_exact=analysis.tokens_exact,
            token_encoding=self._encoding,
            max_output_tokens=analysis.max_output_tokens,
            stream=pending.stream,
            caller=pending.caller,
            decision_us=(time.perf_counter_ns() - pending.began) / 1000,
            applied=applied and choice.model is not None,
            conversation_id=pending.conversation,
            previous_model=None if session is None else session.model,
            skipped=choice.skipped,
            expected_cost=choice.expected_cost,
            changes=changes,
            ignored=wishes.ignored,
            scorer_id=scored.scorer_id,
            propensity=choice.propensity,
            explored=choice.explored,
            llm_status=None if pending.verdict is None else verdict.status,
            llm_tier=verdict.tier,
            llm_confidence=verdict.confidence,
            llm_model=verdict.model,
            llm_prompt=verdict.prompt,
        )

    def texts(self, pending: Pending, decision: Decision) -> Texts | None:
        """The words to keep of a request, if the config says so."""
        analysis = pending.analysis
        if analysis is None or not self._keeps_text:
            return None
        return Texts(
            decision_id=decision.decision_id,
            created_at=decision.created_at,
            ask=analysis.ask[: self._text_chars],  # the strategy llm may have more of it captured
            system=analysis.system[: self._text_chars],
        )

    def memo_stats(self) -> core.MemoStats:
        """What the core remembers of texts and how often that helped, in this process."""
        return self._analyzer.memo_stats()


def with_verdict(pending: Pending, verdict: Verdict) -> Pending:
    """A request with what came of the strategy llm."""
    return msgspec.structs.replace(pending, scored=verdict.scored or pending.scored, verdict=verdict)


def _llm_classifier(config: Config) -> LlmClassifier:
    from .classifiers.llm.classifier import LlmClassifier  # Ollama's client is worth its memory only where it is used

    settings = config.routing.classifier.llm
    found = find_target(settings, config.host["model_list"])
    if found is None:
        raise ConfigError(f"routing.classifier.llm.model: Ollama does not serve {settings.model!r}")
    return LlmClassifier(settings, found, config.routing.tiers)


def _demand(analysis: core.Analysis, format: str, side: bool) -> Demand:
    return Demand(
        needs=analysis.needs,
        context_tokens=analysis.context_tokens,
        max_output_tokens=analysis.max_output_tokens,
        family=FAMILIES.get(format, "openai"),
        # The user may have said something beside the result: the loop goes on all the same.
        tool_turn=analysis.features[_RESULTS_SINCE_ASK] > 0 or "open_tool_call" in analysis.bound,
        bound=analysis.bound,
        side=side,
    )


def share(percent: str) -> float:
    """A share of a hundred, as it is written in gateway.yaml, as a number from 0 to 1."""
    return float(percent.rstrip("%")) / 100


def _share(conversation: str | None) -> float:
    """Where in 0-1 a conversation stands among all: the same at each of its requests. A request that belongs to none
    stands anywhere."""
    source = conversation if conversation is not None else new_id().hex[-8:]
    return int(source[:8], 16) / 0x1_0000_0000


def _reason(named: Reason, chosen: Reason | None) -> Reason:
    if chosen is None or (chosen is Reason.CHEAPEST and named is not Reason.SCORE):
        return named
    return chosen
