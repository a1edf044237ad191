"""What operator and client ask of the routing beside the score: biases and limits of tiers.

The operator's word comes from `routing.bias`, from the alias, and from what LiteLLM keeps for the key and its team:
their metadata may hold `bsgateway: {bias: -10, min_tier: medium, max_tier: medium}`. The client's word comes with its
request, in headers or in the metadata of the body, and works only within what the operator says.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from .config import Routing
from .decision import Caller
from .names import Route
from .outcome import mapping
from .terminal import printable

log = logging.getLogger(__name__)

SECTION = "bsgateway"
"""Key of our part in the metadata of a key or a team."""
WORDS = ("tier", "min_tier", "max_tier", "bias", "dry_run")
"""What a client may ask, as far as `routing.client_overrides` lets it."""
HEADERS = {f"x-bsgateway-{word.replace('_', '-')}": word for word in WORDS}
"""Request header -> word."""
METADATA = {f"bsgateway_{word}": word for word in WORDS}
"""Key in the metadata of a request's body -> word."""

MAX_REPORTED = 1_000
"""Keys and teams whose mistakes are remembered as reported; after that all of them are reported once more."""

_YES = frozenset(("true", "1", "yes"))
_NO = frozenset(("false", "0", "no"))
_NUMBER = re.compile(r"[+-]?[0-9]{1,3}")


class Wishes(msgspec.Struct, frozen=True, gc=False):
    """All of it put together for one request.

    `bias` is added to the score. `tier` is the one asked for; `min_tier` and `max_tier` are limits, inclusive. Names
    are of tiers that exist. `dry_run`: decide and report, rewrite nothing. `ignored` are words of the client that it
    may not use, or that mean nothing here.
    """

    bias: int = 0
    tier: str | None = None
    min_tier: str | None = None
    max_tier: str | None = None
    dry_run: bool = False
    ignored: tuple[str, ...] = ()


class _Limits(msgspec.Struct, frozen=True, gc=False):
    """What the operator says: a bias, not yet bounded, and the lowest and the highest tier by their places."""

    bias: int
    low: int | None = None
    high: int | None = None

    def with_more(self, bias: int, low: int | None, high: int | None) -> _Limits:
        """The highest of all minimums, the lowest of all maximums."""
        lows = [place for place in (self.low, low) if place is not None]
        highs = [place for place in (self.high, high) if place is not None]
        return _Limits(self.bias + bias, max(lows, default=None), min(highs, default=None))


class Wisher:
    """The wishes of one config, prepared once. Safe to share."""

    def __init__(self, routing: Routing) -> None:
        self._bias = routing.bias
        self._allowed = frozenset(routing.client_overrides)
        ranges = {name: tier.score_range for name, tier in routing.tiers.items()}
        self._tiers = tuple(sorted(ranges, key=ranges.__getitem__))
        self._places = {name: place for place, name in enumerate(self._tiers)}
        self._plain: dict[tuple[int, str | None, str | None], Wishes] = {}
        self._reported: set[str] = set()

    def of(
        self,
        data: dict[str, Any],
        route: Route,
        key_metadata: Mapping[str, Any] | None = None,
        team_metadata: Mapping[str, Any] | None = None,
        caller: Caller | None = None,
    ) -> Wishes:
        """The wishes that hold for `data`, the request as LiteLLM hands it to a hook, which `route` has score it.

        The client's words are taken out of its metadata. `key_metadata` and `team_metadata` are those of LiteLLM's own
        record of the key (`UserAPIKeyAuth`), never anything out of `data`, which the client wrote; `caller` is named
        where they hold a mistake. Never raises for what a client sent, or an operator wrote into the metadata.
        """
        said = spoken(data)
        ours, theirs = mapping(key_metadata).get(SECTION), mapping(team_metadata).get(SECTION)
        if not said and ours is None and theirs is None:
            about = (route.bias, route.min_tier, route.max_tier)
            plain = self._plain.get(about)
            if plain is None:
                plain = self._plain[about] = self._together(self._of_route(route), {})
            return plain
        limits = self._of_route(route)
        for section, whose in ((ours, "key"), (theirs, "team")):
            if section is not None:
                limits = limits.with_more(*self._read(section, whose, caller or Caller()))
        return self._together(limits, said)

    def _of_route(self, route: Route) -> _Limits:
        low, high = (None if name is None else self._places[name] for name in (route.min_tier, route.max_tier))
        return _Limits(self._bias + route.bias, low, high)

    def _read(self, section: Any, whose: str, caller: Caller) -> tuple[int, int | None, int | None]:
        """Bias, lowest and highest tier out of the metadata of a key or team. What is wrong in it is left out."""
        found: dict[str, Any] = section if isinstance(section, dict) else {}
        bias = _bias(found.get("bias"))
        low, high = (self._places.get(_text(found.get(name))) for name in ("min_tier", "max_tier"))
        if isinstance(section, dict):
            read = {"bias": bias, "min_tier": low, "max_tier": high}
            wrong = [str(name) for name, value in found.items() if value is not None and read.get(name) is None]
        else:
            wrong = ["all of it, which is no object"]
        if high is None and found.get("max_tier") is not None:
            high = 0  # a limit of what may be spent that nobody can read: none is more than meant
            wrong[wrong.index("max_tier")] = "max_tier (the lowest tier holds)"
        if wrong:
            self._report(whose, caller, wrong)
        return bias or 0, low, high

    def _report(self, whose: str, caller: Caller, wrong: list[str]) -> None:
        """Say it once for each key or team: its next request would say the same."""
        known = (caller.team_id,) if whose == "team" else (caller.key_alias, caller.key_hash)
        about = " ".join((whose, *filter(None, known)))
        if about in self._reported:
            return
        if len(self._reported) >= MAX_REPORTED:
            self._reported.clear()
        self._reported.add(about)
        log.warning(
            "`%s` in the metadata of %s: ignored: %s; it takes bias (-100 to 100), min_tier and max_tier (%s)",
            SECTION, printable(about), printable(", ".join(wrong[:5])), ", ".join(self._tiers),
        )  # fmt: skip

    def _together(self, limits: _Limits, said: Mapping[str, tuple[str, Any]]) -> Wishes:
        """The operator's limits and, within them, the client's words."""
        low, high, bias = limits.low, limits.high, limits.bias
        tier, dry_run = None, False
        ignored = []
        wanted: dict[str, int] = {}
        for word, (name, value) in said.items():
            meant = self._meant(word, value) if word in self._allowed else None
            if word == "dry_run" and limits.high is not None:
                meant = None  # a request that is not rewritten would get past the operator's limit
            if meant is None:
                ignored.append(name)
            elif word == "tier":
                tier = self._tiers[meant]
            elif word == "bias":
                bias += meant
            elif word == "dry_run":
                dry_run = bool(meant)
            else:
                wanted[word] = _within(meant, low, high)
        high = wanted.get("max_tier", high)
        low = wanted.get("min_tier", low)
        if low is not None and high is not None:
            low = min(low, high)  # what may be spent counts more than what should be
        return Wishes(
            bias=min(max(bias, -100), 100),
            tier=tier,
            min_tier=None if low is None else self._tiers[low],
            max_tier=None if high is None else self._tiers[high],
            dry_run=dry_run,
            ignored=tuple(ignored),
        )

    def _meant(self, word: str, value: Any) -> int | None:
        """The value of a client's word as a number: a bias, a place of a tier, or a truth value. None: it has none."""
        if word == "bias":
            return _bias(value)
        if word == "dry_run":
            return _truth(value)
        return self._places.get(_text(value))


def spoken(data: dict[str, Any]) -> dict[str, tuple[str, Any]]:
    """The client's words: word -> (header or key of metadata that said it, its value). A header counts more.

    They are taken out of `metadata`, which is the client's own or holds what the client put there: some of it goes to
    the provider, who may refuse a key that it does not know. So this is for every request, whatever becomes of it.
    """
    said: dict[str, tuple[str, Any]] = {}
    metadata = data.get("metadata")
    if isinstance(metadata, dict) and not metadata.keys().isdisjoint(METADATA):
        said.update((word, (name, metadata.pop(name))) for name, word in METADATA.items() if name in metadata)
    headers = mapping(mapping(data.get("proxy_server_request")).get("headers"))  # names in lower case, as ASGI has them
    if not headers.keys().isdisjoint(HEADERS):
        said.update((word, (name, headers[name])) for name, word in HEADERS.items() if name in headers)
    return said


def _bias(value: Any) -> int | None:
    """A bias, -100 to 100, as a number or as text; None for anything else."""
    if isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        value = int(value)
    is_bias = isinstance(value, int) and not isinstance(value, bool) and -100 <= value <= 100
    return value if is_bias else None


def _truth(value: Any) -> int | None:
    if isinstance(value, str):
        word = value.strip().lower()
        return 1 if word in _YES else 0 if word in _NO else None
    return int(value) if isinstance(value, int) and value in (0, 1) else None


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _within(place: int, low: int | None, high: int | None) -> int:
    """`place` between `low` and `high`, of which `high` counts more where they cross."""
    place = place if low is None else max(place, low)
    return place if high is None else min(place, high)
