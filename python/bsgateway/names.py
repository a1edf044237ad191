"""Requested model name -> what to do with it: passthrough, alias, pattern or auto.

Precedence: a name of `model_list`, an alias, a pattern, a wildcard of `model_list` or a name LiteLLM knows from
elsewhere, and last what `unknown_models` says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache

from .config import AUTO_ROUTE, AutoAlias, Config
from .core import core
from .decision import Method, Reason

MAX_NAME = 256
"""Longest name, in characters, that patterns are tried on and the log keeps whole."""


@dataclass(frozen=True)
class Route:
    """`target` is the model to serve, or None: choose by score, with `bias` added, from `min_tier` to `max_tier`."""

    method: Method
    reason: Reason
    target: str | None = None
    bias: int = 0
    min_tier: str | None = None
    max_tier: str | None = None


class Names:
    """The names of one config, prepared once. Safe to share."""

    def __init__(self, config: Config) -> None:
        routing = config.routing
        self._patterns = core.GlobSet(routing.auto_route_patterns)
        self._wildcards = tuple(name for name in config.model_names if "*" in name)
        self._fixed = {name: Route(Method.PASSTHROUGH, Reason.MODEL_LIST, name) for name in config.model_names}
        for alias in routing.aliases:
            self._fixed.setdefault(alias, _follow(alias, routing.aliases))
        self._unknown_is_auto = routing.unknown_models == "auto"

    def resolve(self, name: str, host_knows: Callable[[str], bool]) -> Route:
        """The route of `name`. `host_knows` says whether LiteLLM serves a name that this config does not mention."""
        if route := self._fixed.get(name):
            return route
        if len(name) > MAX_NAME:  # no real name; and matching one of megabytes would hold up everybody else
            return self._unknown(name)
        if self._patterns.first_match(name) is not None:
            return Route(Method.PATTERN, Reason.PATTERN_SCORE)
        if wildcard_covers(self._wildcards, name):
            return Route(Method.PASSTHROUGH, Reason.WILDCARD, name)
        if host_knows(name):
            return Route(Method.PASSTHROUGH, Reason.HOST_MODEL, name)
        return self._unknown(name)

    def is_served(self, name: str, host_knows: Callable[[str], bool]) -> bool:
        """Whether LiteLLM serves `name` if nobody rewrites it."""
        return name in self._fixed or wildcard_covers(self._wildcards, name[:MAX_NAME]) or host_knows(name)

    def _unknown(self, name: str) -> Route:
        if self._unknown_is_auto:
            return Route(Method.AUTO, Reason.UNKNOWN_SCORE)
        return Route(Method.PASSTHROUGH, Reason.UNKNOWN_LEFT, name)


def _follow(alias: str, aliases: dict[str, AutoAlias | str]) -> Route:
    """Follow aliases of aliases to the end; a checked config has no cycle."""
    target = aliases[alias]
    while isinstance(target, str) and target in aliases:
        target = aliases[target]
    if isinstance(target, AutoAlias):
        return Route(Method.AUTO, Reason.SCORE, None, target.bias, target.min_tier, target.max_tier)
    if target == AUTO_ROUTE:
        return Route(Method.AUTO, Reason.SCORE)
    return Route(Method.ALIAS, Reason.ALIAS_MODEL, target)


def wildcard_covers(names: Iterable[str], name: str) -> bool:
    """Whether one of `names` is a LiteLLM wildcard (`openai/*`, `*`) that covers `name`; only `*` is special there."""
    return any("*" in wildcard and _wildcard_regex(wildcard).fullmatch(name) for wildcard in names)


@lru_cache(maxsize=1024)
def _wildcard_regex(wildcard: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, wildcard.split("*"))), re.DOTALL)
