"""`Survey`: what `calibrate` knows of the log: how scores are distributed, what each tier costs, how good it is.

Everything is summed by score and by bucket of conversations: memory does not grow with the log, and a bootstrap that
draws whole conversations is a product of matrices.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping

import msgspec
import numpy as np
import numpy.typing as npt

from ..gateway import FAMILIES, FORMATS, Gateway
from ..log_scores import LogScorer
from ..past import BUCKETS, Past
from ..policy import EXPECTED_OUTPUT_TOKENS, Demand
from ..wishes import Wishes

Floats = npt.NDArray[np.float64]

SCORES = 101
"""0 to 100."""
LOWEST, HIGHEST = -100, 200
"""A score with its bias, before it is bounded."""
COMPARISON, RATING = "comparison", "rating"
REFUSED = frozenset(("content_filter", "refusal"))
"""Ends of answers that count as failures."""


class Beside(msgspec.Struct):
    """Requests that no border moves, and what they cost in US dollars, as far as the log knows: served by name or with
    a tier asked for, side requests, those that no model can serve, and `verdicts` whose tier the local LLM named."""

    requests: int = 0
    cost: float = 0.0
    verdicts: int = 0


class ExploredRow(msgspec.Struct, frozen=True, gc=False):
    """A request whose tier was chosen with a known probability. `lands`: for each tier that could be asked first, the
    place of the tier that then serves it, another one where it has no model that can. Rewards are None where unknown.
    """

    score: int
    lands: tuple[int, ...]
    tier: int
    propensity: float
    cluster: str
    cost: float | None
    failure: float | None
    rating: float | None
    comparison: float | None


class Survey:
    """Takes rows of the log; `K` tiers, the cheapest first.

    `counts`: float64 [BUCKETS, SCORES], requests. `costs`: float64 [BUCKETS, SCORES, K], US dollars if all of them went
    to that tier. `leaning`: float64 [HIGHEST - LOWEST + 1, 1 + K], requests and these costs by the score with its bias,
    before that is bounded: which tells what another bias would make of them. `labels`: kind -> float64 [BUCKETS, K, 5]:
    for each tier the sums of 1, x, x^2, y and x y over its labels, x the score and y the quality. `label_counts`:
    (kind, place of the tier) -> labels.

    `borders_move`: it is for other borders than those of the gateway. The score of a verdict of the local LLM lies
    where the tier does that it named, so it would move with them: such requests are then beside.
    """

    def __init__(self, gateway: Gateway, scorer: LogScorer, *, borders_move: bool = False) -> None:
        self._gateway, self._scorer, self._borders_move = gateway, scorer, borders_move
        self.tiers = tuple(plan.name for plan in gateway.policy.tiers)
        self._places = {name: place for place, name in enumerate(self.tiers)}
        self._only = [Wishes(tier=name) for name in self.tiers]
        self.counts: Floats = np.zeros((BUCKETS, SCORES))
        self.costs: Floats = np.zeros((BUCKETS, SCORES, len(self.tiers)))
        self.leaning: Floats = np.zeros((HIGHEST - LOWEST + 1, 1 + len(self.tiers)))
        self.labels: Mapping[str, Floats] = {
            kind: np.zeros((BUCKETS, len(self.tiers), 5)) for kind in (COMPARISON, RATING)
        }
        self.label_counts: Counter[tuple[str, int]] = Counter()
        self.unpriced: Counter[str] = Counter()
        self.unpriced_tiers: set[int] = set()
        self.beside = Beside()
        self.explored: list[ExploredRow] = []
        self.requests = self.own_tokens = 0
        self.first = self.last = 0.0

    @property
    def scored(self) -> int:
        """Requests in the distribution."""
        return int(self.counts.sum())

    def take(self, rows: list[Past]) -> None:
        """Take some more rows, in the order of their time."""
        for row, raw in zip(rows, self._scorer.scores(rows), strict=True):
            self.first = self.first or row.at
            self.last = row.at
            self.requests += 1
            if not row.by_score:
                self._note_beside(row)
            elif self._borders_move and self._scorer.is_verdict(row):
                self.beside.verdicts += 1
                self._note_beside(row)
            elif raw is not None:
                self._one(row, math.floor(raw + row.bias + 0.5))

    def _note_beside(self, row: Past) -> None:
        self.beside.requests += 1
        self.beside.cost += row.outcome_cost or 0.0

    def _one(self, row: Past, leaning: int) -> None:
        score = min(max(leaning, 0), 100)
        priced = self._price(row, score)
        if priced is None:
            self._note_beside(row)
            return
        costs, lands = priced
        bucket = row.cluster
        self.counts[bucket, score] += 1
        self.costs[bucket, score] += costs
        self.leaning[min(max(leaning, LOWEST), HIGHEST) - LOWEST] += (1.0, *costs)
        self.own_tokens += row.outcome_prompt_tokens is None or row.outcome_completion_tokens is None
        for kind, place, quality in self._labels(row):
            self.labels[kind][bucket, place] += (1.0, score, score * score, quality, score * quality)
            self.label_counts[kind, place] += 1
        if row.propensity is not None and row.tier in self._places and row.applied is not False:
            self.explored.append(self._explored(row, score, lands))

    def _price(self, row: Past, score: int) -> tuple[list[float], tuple[int, ...]] | None:
        """What the request would cost at each tier, by the model that would serve it there or, where the tier has none
        that can, in its place; and the places of the tiers of these models. None if nobody can serve it."""
        policy = self._gateway.policy
        demand = Demand(
            needs=row.needs or (),
            context_tokens=row.context_tokens or 0,
            max_output_tokens=row.max_output_tokens,
            family=FAMILIES.get(FORMATS.get(row.call_type, ""), "openai"),
        )
        costs, lands = [], []
        for place, wishes in enumerate(self._only):
            choice = policy.choose(float(score), demand, wishes, expected=self._gateway.expected)
            name = choice.model
            if name is None or choice.tier is None:
                return None
            lands.append(self._places[choice.tier])
            output = row.outcome_completion_tokens
            if output is None:
                output = round(self._gateway.expected.get((self.tiers[place], name), EXPECTED_OUTPUT_TOKENS))
            cache = row.outcome_cache_read_tokens or 0, row.outcome_cache_write_tokens or 0
            cost = self._gateway.models[name].price.of(row.input_tokens, output, *cache)
            if cost is None:
                self.unpriced[name] += 1
                self.unpriced_tiers.add(place)
            costs.append(cost or 0.0)
        return costs, tuple(lands)

    def _labels(self, row: Past) -> list[tuple[str, int, float]]:
        """(kind, place of the tier, quality) of what is known of the answers."""
        found = []
        for tier, quality in ((row.weak_tier, row.weak_score), (row.strong_tier, row.strong_score)):
            if tier in self._places and quality is not None:
                found.append((COMPARISON, self._places[tier], quality))
        served = self._served(row)
        if row.rating is not None and served is not None:
            found.append((RATING, served, row.rating))
        return found

    def _served(self, row: Past) -> int | None:
        """The place of the tier that answered: another than the chosen one after a fallback."""
        if row.applied is False:
            return None
        tier = row.tier
        if row.outcome_served_group is not None and row.outcome_served_group != row.resolved_model:
            tier = self._gateway.policy.tier_of(row.outcome_served_group)
        return None if tier is None else self._places.get(tier)

    def _explored(self, row: Past, score: int, lands: tuple[int, ...]) -> ExploredRow:
        failure = None
        if row.outcome_status is not None:
            failure = float(not row.answered or row.outcome_finish_reason in REFUSED)
        scores = {row.weak_tier: row.weak_score, row.strong_tier: row.strong_score}
        return ExploredRow(
            score,
            lands,
            self._places[row.tier or ""],
            row.propensity or 1.0,
            row.conversation_id or row.decision_id.hex,
            row.outcome_cost,
            failure,
            row.rating,
            scores.get(row.tier),
        )
