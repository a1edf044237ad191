"""The scores that the strategy in force, or another one, gives to rows of the log.

A row keeps the score it has where the same scorer made it. Any other is scored anew, through the core, from what the
log kept of the request: the feature vector is enough for the static score; the learned one reads words as well, so it
needs the text of the ask (`collector.text`), and sees a redacted one as it was kept. A local LLM is not asked again:
under the strategy llm a row keeps the verdict that it has, if the same model gave it to the same question, and the
fallback scores all others, also where the model would not be asked today (`llm.when`) or would be for the first time.
No numpy here: `replay` runs without the `train` extra.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from . import models
from .classifiers.learned import PriorFloors
from .classifiers.llm.target import find_target
from .config import Config, make_analyzer
from .core import core
from .decision import VERDICTS, Strategy
from .errors import ConfigError, ModelError
from .past import Past
from .reference.score import proportions, score

_KEYWORDS = tuple(core.FEATURE_NAMES.index(name) for name in ("complex_keywords", "simple_keywords"))
_STATIC_VERSIONS = range(1, core.FEATURE_VERSION + 1)
"""Each version has the features of those before, first and in their order."""

Features = tuple[float, ...]


class Learned(Protocol):
    """What is used of `core.LearnedModel`."""

    @property
    def id(self) -> str: ...

    @property
    def kind(self) -> str: ...

    def predict(self, inputs: bytes, indptr: bytes, indices: bytes) -> tuple[bytes, bytes]: ...


class Scored(msgspec.Struct):
    """How many rows have a score, and why others have none.

    `kept` have the one in the log, for `verdicts` of them that of the local LLM's verdict; `anew` were scored again.
    Left out: `no_features`, as the log has none of theirs or of another version; `no_words`, as the text of the ask was
    not kept. `outdated` rows of all these have a verdict of another local LLM, or on another question.
    """

    kept: int = 0
    verdicts: int = 0
    outdated: int = 0
    anew: int = 0
    no_features: int = 0
    no_words: int = 0

    @property
    def left_out(self) -> int:
        return self.no_features + self.no_words

    @property
    def by_fallback(self) -> int:
        """Under the strategy llm: the rows that its fallback has scored, then or now."""
        return self.kept - self.verdicts + self.anew


class Asked(NamedTuple):
    """What a local LLM is asked under a configuration: its name, and the version of the question."""

    model: str
    prompt: str

    @classmethod
    def of(cls, config: Config) -> Asked:
        """Raises ConfigError where the configuration names no model that Ollama serves."""
        from .classifiers.llm.prompt import Question

        settings = config.routing.classifier.llm
        target = find_target(settings, config.host["model_list"])
        if target is None:
            raise ConfigError(
                "the strategy llm needs routing.classifier.llm.model: a name of Ollama's, or of a model of model_list "
                "that Ollama serves"
            )
        return cls(target.model, Question(config.routing.tiers).version)


def without_asking(strategy: Strategy, config: Config) -> Strategy:
    """What scores where nobody is asked: for llm its fallback."""
    return Strategy(config.routing.classifier.llm.fallback) if strategy is Strategy.LLM else strategy


class LogScorer:
    """Scores rows of a log, which was written under `logged_by`, as a gateway with `config` and `model` would.

    Rows do not say which settings of the static score they were made with: those of `logged_by` are taken for granted.
    `model` is needed by the strategy ml, also as the fallback of llm, and not used by static. `counts` says what became
    of the rows. Raises ConfigError for the strategy llm where `config` names no model to ask.
    """

    def __init__(self, config: Config, logged_by: Config, strategy: Strategy, model: Learned | None = None) -> None:
        self._scorer = without_asking(strategy, config)
        if self._scorer is Strategy.ML and model is None:
            raise ValueError("the strategy ml needs a model")
        self.strategy = strategy
        self.scorer_id = None if model is None or self._scorer is not Strategy.ML else model.id
        self.counts = Scored()
        self._asked = Asked.of(config) if strategy is Strategy.LLM else None
        self._model = model
        self._floors = PriorFloors()
        now, then = config.routing, logged_by.routing
        static = now.classifier.static
        self._same_static = static == then.classifier.static
        self._same_words = (static.complex_keywords, static.simple_keywords) == (
            then.classifier.static.complex_keywords,
            then.classifier.static.simple_keywords,
        )
        self._analyzer = make_analyzer(now)
        self._static = static_scorer(msgspec.structs.asdict(static.weights), static.token_thresholds)

    @property
    def reads_words(self) -> bool:
        """Whether rows of another scorer can only be scored with the text of their ask."""
        return self._scorer is Strategy.ML or not self._same_words

    def strategy_of(self, row: Past) -> Strategy:
        """What scores a row: under llm the verdict that it has, or the fallback."""
        return self.strategy if self.is_verdict(row) else self._scorer

    def is_verdict(self, row: Past) -> bool:
        """Whether the row's score is that of a verdict which the local LLM of this strategy would give again."""
        return self._asked is not None and _verdict_on(row) == self._asked

    def scores(self, rows: Sequence[Past]) -> list[float | None]:
        """The raw score of each row, 0-100, before any bias; None for those that were not routed by score (which are
        not counted) and those that cannot be scored."""
        found: list[float | None] = [None] * len(rows)
        anew: list[int] = []
        for place, row in enumerate(rows):
            if not row.scored:
                continue
            verdict = self.is_verdict(row)
            self.counts.outdated += not verdict and self._asked is not None and _verdict_on(row) is not None
            if verdict or self._made(row):
                found[place] = row.raw_score
                self.counts.kept += 1
                self.counts.verdicts += verdict
            elif row.features is None or row.feature_version not in self._versions():
                self.counts.no_features += 1
            elif row.ask is None and self.reads_words:
                self.counts.no_words += 1
            else:
                anew.append(place)
        for place, each in zip(anew, self._score([rows[place] for place in anew]), strict=True):
            found[place] = each
        self.counts.anew += len(anew)
        return found

    def _made(self, row: Past) -> bool:
        """Whether this scorer, or the fallback, made the score that the log has."""
        if self._scorer is Strategy.STATIC:
            return row.strategy == Strategy.STATIC.value and self._same_static
        return row.strategy == Strategy.ML.value and row.scorer_id == self.scorer_id

    def _versions(self) -> range:
        now = core.FEATURE_VERSION
        return _STATIC_VERSIONS if self._scorer is Strategy.STATIC else range(now, now + 1)

    def _score(self, rows: Sequence[Past]) -> list[float]:
        if not rows:
            return []
        features = self._features(rows)
        if self._model is None or self._scorer is Strategy.STATIC:
            return [self._static(each) for each in features]
        vector = array("d")
        for each in features:
            vector.extend(each)
        inputs = core.model_inputs(vector.tobytes(), [row.needs or () for row in rows])
        indptr, indices = core.word_buckets([row.ask or "" for row in rows])
        _, probabilities = self._model.predict(inputs, indptr, indices)
        found = [100.0 * each for each in array("d", probabilities)]
        if self._model.kind == "prior":
            found = [max(each, self._floors.highest(row)[1]) for each, row in zip(found, features, strict=True)]
        return found

    def _features(self, rows: Sequence[Past]) -> list[Features]:
        """The vectors of the log; where other keywords hold now, with these counted in the text that was kept."""
        kept = [row.features or () for row in rows]
        if self._same_words:
            return kept
        width = len(core.FEATURE_NAMES)
        measured = array("d", self._analyzer.featurize([row.ask or "" for row in rows]).features)
        found = []
        for place, features in enumerate(kept):
            changed = list(features)
            for keyword in _KEYWORDS:
                changed[keyword] = measured[place * width + keyword]
            found.append(tuple(changed))
        return found


def _verdict_on(row: Past) -> Asked | None:
    """Who gave the verdict that made a row's score, and on which question; None where there was none."""
    if row.strategy != Strategy.LLM.value or row.llm_status not in VERDICTS:
        return None
    return Asked(row.llm_model or "", row.llm_prompt or "")


def static_scorer(weights: dict[str, float], token_thresholds: Sequence[int]) -> Callable[[Features], float]:
    """The static score of a feature vector, as the core computes it for a request. Weights are taken by proportion."""
    shares = proportions(weights)

    def score_of(features: Features) -> float:
        named = dict(zip(core.FEATURE_NAMES, features, strict=False))  # an older vector is shorter
        return score(named, shares, token_thresholds)[0]

    return score_of


def scorer_of(
    config: Config, logged_by: Config, state: Path, strategy: Strategy | None = None, model: Path | None = None
) -> LogScorer:
    """The scorer of a gateway with `config` and this state directory; `strategy` and `model`, the path of a model file,
    stand for its own if given. Raises ModelError, and ConfigError as `LogScorer` does."""
    if strategy is None:
        strategy = Strategy(config.routing.classifier.strategy) if model is None else Strategy.ML
    found = None
    if without_asking(strategy, config) is Strategy.ML:
        found = models.in_force(config, state)[0] if model is None else _read(model)
    return LogScorer(config, logged_by, strategy, found)


def _read(path: Path) -> core.LearnedModel:
    try:
        return models.read(path)
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}") from error
