"""Writes `what_if_cases.json`: rows of a made-up log, summed up, and what other borders and biases make of them.

The sums are what the API answers with; what is expected of them is counted row by row, without them. The tests of
`what_if.applied` and of the page's own arithmetic both read the file. Run it after a change of the shapes:
`python tests/data/make_what_if_cases.py`.
"""

from __future__ import annotations

import json
import math
import random
from pathlib import Path
from typing import Any, NamedTuple

FILE = Path(__file__).with_name("what_if_cases.json")
DECIMALS = 12


class Row(NamedTuple):
    """A request: its score before any bias, its bias, and its cost at each tier in US dollars."""

    raw: float
    bias: int
    costs: tuple[float, ...]


class Log(NamedTuple):
    """Rows under a setting; a price that is None is not known."""

    tiers: tuple[str, ...]
    borders: tuple[int, ...]
    bias: int
    prices: tuple[float | None, ...]
    rows: list[Row]


def made(seed: int, rows: int, borders: tuple[int, ...], bias: int, prices: tuple[float | None, ...], own: int) -> Log:
    """Rows with the bias of the configuration and up to `own` of their request."""
    draw = random.Random(seed)
    found = []
    for _ in range(rows):
        raw = min(max(draw.gauss(40, 30), 0.0), 100.0)
        tokens = draw.randrange(100, 20_000)
        costs = tuple(tokens * (price or 0.0) for price in prices)
        found.append(Row(round(raw, 4), min(max(bias + draw.randint(-own, own), -100), 100), costs))
    names = ("simple", "medium", "complex", "expert")[: len(prices)]
    return Log(names, borders, bias, prices, found)


def tier_of(row: Row, borders: tuple[int, ...], shift: int) -> int:
    """As the policy: the score with its bias, rounded, from 0 to 100."""
    leaning = row.raw + row.bias + shift
    score = 0 if leaning < 0.5 else 100 if leaning >= 99.5 else int(leaning + 0.5)
    return sum(score >= border for border in borders)


def summed(log: Log) -> dict[str, Any]:
    """The answer of the API."""
    leanings = [math.floor(row.raw + row.bias + 0.5) for row in log.rows]
    lowest, highest = min([0, *leanings]), max([100, *leanings])
    places = range(lowest, highest + 1)
    costs = [
        None
        if price is None
        else [
            round(sum(row.costs[at] for row, leaning in zip(log.rows, leanings, strict=True) if leaning == place), 12)
            for place in places
        ]
        for at, price in enumerate(log.prices)
    ]
    return {
        "since": "2026-03-01T00:00:00Z",
        "until": "2026-03-08T00:00:00Z",
        "days": 7.0,
        "sampled": False,
        "strategy": "static",
        "tiers": log.tiers,
        "borders": log.borders,
        "bias": log.bias,
        "lowest": lowest,
        "requests": [leanings.count(place) for place in places],
        "costs": costs,
        "fixed_requests": 3,
        "fixed_cost": 0.5,
        "left_out": 0,
        "notes": [],
    }


def expected(log: Log, borders: tuple[int, ...], bias: int) -> dict[str, Any]:
    """What `applied` is to answer."""
    tiers: list[dict[str, Any]] = []
    for at, name in enumerate(log.tiers):
        mine = [row for row in log.rows if tier_of(row, borders, bias - log.bias) == at]
        known = log.prices[at] is not None or not mine
        tiers.append(
            {
                "tier": name,
                "requests": len(mine),
                "share": len(mine) / len(log.rows) if log.rows else 0.0,
                "cost": round(sum(row.costs[at] for row in mine), DECIMALS) if known else None,
            }
        )
    costs = [tier["cost"] for tier in tiers]
    return {
        "tiers": tiers,
        "cost": None if None in costs else round(sum(costs), DECIMALS),
        "moved": sum(tier_of(row, borders, bias - log.bias) != tier_of(row, log.borders, 0) for row in log.rows),
    }


def main() -> None:
    """Write the file."""
    prices = (1e-7, 1e-6, 1e-5)
    logs = {
        "plain": made(1, 400, (31, 66), 0, prices, 0),
        "leaning": made(2, 400, (31, 66), 25, prices, 60),
        "four": made(3, 300, (10, 40, 80), -5, (0.0, 1e-7, 2e-6, 3e-5), 5),
        "unpriced": made(4, 100, (31, 66), 0, (1e-7, None, 1e-5), 0),
        "one tier": made(5, 50, (), 0, (1e-6,), 10),
        "empty": made(6, 0, (31, 66), 0, prices, 0),
    }
    settings: dict[str, list[tuple[tuple[int, ...], int]]] = {
        "plain": [
            ((31, 66), 0), ((1, 2), 0), ((99, 100), 0), ((45, 70), 0), ((31, 66), 12), ((31, 66), -12), ((31, 66), 100),
            ((31, 66), -100), ((20, 90), 33),
        ],
        "leaning": [((31, 66), 25), ((31, 66), 0), ((31, 66), -100), ((31, 66), 100), ((50, 51), 24), ((1, 100), 26)],
        "four": [((10, 40, 80), -5), ((11, 41, 79), -4), ((1, 50, 100), 10)],
        "unpriced": [((31, 66), 0), ((31, 32), -40)],
        "one tier": [((), 0), ((), 50)],
        "empty": [((31, 66), 0), ((10, 20), 5)],
    }  # fmt: skip
    cases = [
        {"log": name, "borders": borders, "bias": bias, "applied": expected(logs[name], borders, bias)}
        for name, each in settings.items()
        for borders, bias in each
    ]
    whole = {"logs": {name: summed(log) for name, log in logs.items()}, "cases": cases}
    FILE.write_text(json.dumps(whole, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
