"""What the model said -> a tier, how sure it is, and a score."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...decision import Contribution, Strategy
from ...ollama_server import ChatAnswer, TokenProbs
from .. import Classification
from . import Band

WITHIN_TIER = "llm:within_tier"
"""Signal of the points that keep a score within the range of the tier that was named."""

_MAX_CHARS = 1_000
_OVER_ONE = 1.01
"""Rounded log-probabilities may add up to a little more than 1."""


def read_answer(answer: ChatAnswer, bands: Sequence[Band]) -> tuple[str, float, Classification] | None:
    """The tier that is named, its probability among the tiers, and a score in its range; None if none is named.

    An answer is a tier's name as JSON, or bare, alone or as the only value of an object; case and white space around it
    do not count. Without probabilities the tier counts as certain: 1.0, and the middle of its range. With them the
    score is the mean of the tiers' middles, kept within that range.
    """
    named = _named(answer.text, bands)
    if named is None:
        return None
    shares = _shares(answer, named, bands)
    points = [
        Contribution(f"llm:{band.name}", band.middle, share, band.middle * share)
        for band, share in zip(bands, shares, strict=True)
        if share > 0
    ]
    mean = math.fsum(each.points for each in points)
    score = min(max(mean, float(named.first)), float(named.last))
    if score != mean:
        points.append(Contribution(WITHIN_TIER, score, 0.0, score - mean))
    return named.name, shares[bands.index(named)], Classification(Strategy.LLM, score, tuple(points))


def _named(text: str, bands: Sequence[Band]) -> Band | None:
    if len(text) > _MAX_CHARS:
        return None
    said: Any = text
    try:
        said = json.loads(text)
    except ValueError:
        pass  # a word without quotes; a tier may also be named "1" or "null", which is read below
    except RecursionError:
        return None
    if isinstance(said, dict):
        said = next(iter(said.values())) if len(said) == 1 else None
        if not isinstance(said, str):
            return None
    elif not isinstance(said, str):
        said = text
    word = said.strip()
    exact = [band for band in bands if band.name.strip() == word]
    found = exact or [band for band in bands if _plain(band.name) == _plain(word)]
    return found[0] if len(found) == 1 else None


def _plain(name: str) -> str:
    return name.strip().casefold()


def _shares(answer: ChatAnswer, named: Band, bands: Sequence[Band]) -> list[float]:
    """The probability of each tier, adding up to 1; all of it the named one's where the server tells none, or none that
    make sense."""
    masses = _masses(answer.tokens, *_spellings(answer.text, named, bands)) if answer.tokens else None
    total = math.fsum(masses) if masses is not None else 0.0
    if masses is None or total <= 0.0 or masses[bands.index(named)] <= 0.0:
        return [1.0 if band is named else 0.0 for band in bands]
    return [mass / total for mass in masses]


def _spellings(text: str, named: Band, bands: Sequence[Band]) -> tuple[list[str], int]:
    """How the answer would read with each tier in the place of the named one, and the place of that one."""
    plain = text.casefold()
    own = _plain(named.name)
    quoted = json.dumps(own, ensure_ascii=False)[1:-1]
    if quoted not in plain:
        quoted = json.dumps(own)[1:-1]
    at = plain.rfind(quoted)
    if at < 0:
        return [], 0
    before, after = plain[:at], plain[at + len(quoted) :]
    ascii_only = quoted.isascii() and not own.isascii()
    spelt = [json.dumps(_plain(band.name), ensure_ascii=ascii_only)[1:-1] for band in bands]
    # What ends the name tells it from one that begins like it.
    return [before + each + (after or "\n") for each in spelt], bands.index(named)


def _masses(tokens: Sequence[TokenProbs], spellings: Sequence[str], named: int) -> list[float] | None:
    """The probability mass of each spelling: that of the tokens which only it can go on with, at each place up to that
    where the named one parts from the last of the others. None for probabilities that are none."""
    masses = [0.0] * len(spellings)
    said, path = "", 1.0
    alike = list(range(len(spellings)))
    for token in tokens:
        odds = {**token.alternatives, token.text: token.logprob}
        if not _make_sense(odds):
            return None
        taken = _continuing(said + token.text.casefold(), spellings, alike)
        if named not in taken:
            return None  # not the tokens of this answer
        if token.text:
            for text, logprob in odds.items():
                goes_on = _continuing(said + text.casefold(), spellings, alike) if text else []
                if len(goes_on) == 1:
                    masses[goes_on[0]] += path * math.exp(logprob)
            path *= math.exp(token.logprob)
        if len(taken) == 1:
            return masses
        said, alike = said + token.text.casefold(), taken
    return None


def _continuing(said: str, spellings: Sequence[str], among: Sequence[int]) -> list[int]:
    return [each for each in among if spellings[each].startswith(said) or said.startswith(spellings[each])]


def _make_sense(odds: Mapping[str, float]) -> bool:
    return all(each <= 1e-6 for each in odds.values()) and math.fsum(map(math.exp, odds.values())) <= _OVER_ONE
