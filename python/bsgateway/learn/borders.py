"""Choosing the borders between tiers from what each tier costs and is worth at each score.

Borders are the first scores of all tiers but the lowest, ascending; every tier keeps at least one score.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations, pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from ..config import Routing
from .survey import SCORES, Floats

Borders = tuple[int, ...]
Allowed = Callable[[Any, Any], Any]
"""Whether a cost and a worth will do; of arrays, of each."""

_HALVINGS = 60


def of_config(routing: Routing) -> Borders:
    """The borders of a configuration."""
    return tuple(first for first, _ in sorted(tier.score_range for tier in routing.tiers.values()))[1:]


def ranges(borders: Borders) -> list[tuple[int, int]]:
    """First and last score of each tier."""
    return [(first, after - 1) for first, after in pairwise((0, *borders, SCORES))]


def places(borders: Borders) -> npt.NDArray[np.int64]:
    """The place of the tier of each score, int64 [SCORES]."""
    return np.searchsorted(np.array(borders, np.int64), np.arange(SCORES), side="right").astype(np.int64)


def for_shares(counts: Floats, shares: Sequence[float], now: Borders) -> Borders:
    """Borders that give each tier the share of requests nearest to the one that is wanted. `counts`: float64 [SCORES].
    Between scores that nobody has, a border stays as near as it can to where it is `now`."""
    below = np.concatenate(([0.0], np.cumsum(counts))) / counts.sum()
    found: list[int] = []
    for place, wanted in enumerate(np.cumsum(shares)[:-1]):
        first = found[-1] + 1 if found else 1
        last = SCORES - (len(shares) - 1 - place)
        found.append(min(range(first, last + 1), key=lambda at: (abs(below[at] - wanted), abs(at - now[place]))))
    return tuple(found)


def best_within(costs: Floats, worth: Floats, budget: float, now: Borders) -> Borders | None:
    """The borders that are worth most and cost `budget` at most; None if nothing costs so little.

    `costs`, `worth`: float64 [SCORES, K], of all requests of a score at each tier.
    """
    return _along(costs, worth, now, lambda cost, _: cost <= budget * (1 + 1e-9) + 1e-12, dearest=True)


def cheapest_worth(costs: Floats, worth: Floats, least: float, now: Borders) -> Borders | None:
    """The cheapest borders that are worth `least` at least; None if none are."""
    return _along(costs, worth, now, lambda _, value: value >= least * (1 - 1e-9), dearest=False)


def _along(costs: Floats, worth: Floats, now: Borders, allowed: Allowed, dearest: bool) -> Borders | None:
    """Walk along the borders that no others beat in both cost and worth, by the price of a unit of worth, as far as is
    allowed; and from there in single steps."""
    low, high = 0.0, _steepest(costs, worth)
    ends = [_optimum(costs - price * worth) for price in (low, high)]
    good = [each for each in ends if allowed(*_value(costs, worth, each))]
    if not good:
        return None
    best = good[-1] if dearest else good[0]
    if len(good) < 2:  # somewhere between them lies the last one that is allowed
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            found = _optimum(costs - middle * worth)
            if allowed(*_value(costs, worth, found)):
                best = found
                low, high = (middle, high) if dearest else (low, middle)
            else:
                low, high = (low, middle) if dearest else (middle, high)
    return _refined(costs, worth, best, now, allowed, dearest)


def _steepest(costs: Floats, worth: Floats) -> float:
    """A price of worth at which cost no longer matters."""
    differences = np.abs(np.subtract.outer(worth.sum(axis=0), worth.sum(axis=0)))
    steps = np.abs(np.diff(worth, axis=1))
    smallest = min((float(each[each > 0].min()) for each in (differences, steps) if (each > 0).any()), default=1.0)
    return 10.0 * (float(np.abs(costs).sum()) + 1e-12) / smallest


def _optimum(loss: Floats) -> Borders:
    """The borders with the smallest sum of `loss`, float64 [SCORES, K]."""
    tiers = loss.shape[1]
    best = np.full((SCORES, tiers), np.inf)
    came_up = np.zeros((SCORES, tiers), bool)
    best[0, 0] = loss[0, 0]
    for score in range(1, SCORES):
        stay = best[score - 1]
        up = np.concatenate(([np.inf], stay[:-1]))
        came_up[score] = up < stay
        best[score] = np.minimum(stay, up) + loss[score]
    borders: list[int] = []
    place = tiers - 1
    for score in range(SCORES - 1, 0, -1):
        if came_up[score, place]:
            borders.append(score)
            place -= 1
    return tuple(reversed(borders))


def _value(costs: Floats, worth: Floats, borders: Borders) -> tuple[float, float]:
    score, place = np.arange(SCORES), places(borders)
    return float(costs[score, place].sum()), float(worth[score, place].sum())


def _refined(costs: Floats, worth: Floats, best: Borders, now: Borders, allowed: Allowed, dearest: bool) -> Borders:
    """Move two borders at a time as long as that is better: the walk above skips what lies between two of its corners.
    Of equals, the nearest to `now`. With two borders or one, nothing is better than what is found."""
    moves = _moves(costs), _moves(worth)
    pairs = list(combinations(range(len(best)), 2)) or [(at, at) for at in range(len(best))]
    while True:
        better = best
        for pair in pairs:
            better = _moved(moves, better, pair, now, allowed, dearest, _value(costs, worth, better))
        if better == best:
            return best
        best = better


def _moves(values: Floats) -> Floats:
    """What the sum changes by if a border lies at a score: float64 [K - 1, SCORES + 1], each border by itself, as the
    sum over all tiers is a sum over borders."""
    below = np.vstack((np.zeros(values.shape[1]), np.cumsum(values, axis=0)))
    moves: Floats = (below[:, :-1] - below[:, 1:]).T
    return moves


def _moved(
    moves: tuple[Floats, Floats],
    borders: Borders,
    pair: tuple[int, int],
    now: Borders,
    allowed: Allowed,
    dearest: bool,
    value: tuple[float, float],
) -> Borders:
    """The best that comes of moving the borders of `pair`; `value` is what `borders` cost and are worth."""
    first, second = np.meshgrid(np.arange(1, SCORES), np.arange(1, SCORES), indexing="ij")
    edges = (0, *borders, SCORES)
    possible = (first > edges[pair[0]]) & (second < edges[pair[1] + 2])
    if pair[0] == pair[1]:
        possible &= first == second
    else:
        possible &= first < second
        if pair[1] > pair[0] + 1:
            possible &= (first < edges[pair[0] + 2]) & (second > edges[pair[1]])
    first, second = first[possible], second[possible]
    sums = []
    for each, total in zip(moves, value, strict=True):
        changes = each[pair[0], first] - each[pair[0], borders[pair[0]]]
        if pair[0] != pair[1]:
            changes = changes + each[pair[1], second] - each[pair[1], borders[pair[1]]]
        sums.append(total + changes)
    cost, worth = sums
    good = np.flatnonzero(allowed(cost, worth))
    far = np.abs(first - now[pair[0]]) + np.abs(second - now[pair[1]])
    keys = (-_rounded(worth), _rounded(cost)) if dearest else (_rounded(cost), -_rounded(worth))
    best = good[np.lexsort((far[good], keys[1][good], keys[0][good]))[0]]
    found = list(borders)
    found[pair[0]], found[pair[1]] = int(first[best]), int(second[best])
    return tuple(found)


def _rounded(values: Floats) -> Floats:
    """To nine digits of the largest: what differs by rounding only is equal."""
    scale = float(np.abs(values).max()) or 1.0
    rounded: Floats = np.round(values / scale, 9)
    return rounded
