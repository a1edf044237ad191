"""Parts of a log: the same functions go over them in this process, and on the workers of `bsgateway.learn.scale`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from .parquet import Plan, split

Result = TypeVar("Result")


class Shards(Protocol):
    """Parts, in an order that does not change. Whoever holds one may lose it and make it anew, as the plan says: what a
    function leaves in it for later, it must be able to leave there again."""

    def __len__(self) -> int:
        """How many parts there are."""

    def map(self, function: Callable[..., Result], *common: Any, each: Sequence[Sequence[Any]] = ()) -> list[Result]:
        """What `function(part, *common, *each[i])` gives for each part. What it raises is raised here.

        `function` is at the top level of a module. Arguments may be what `put` gave.
        """

    def put(self, value: Any) -> Any:
        """`value`, to be passed to `map` several times: it goes to each worker only once."""


class LocalShards:
    """Parts in the memory of this process."""

    def __init__(self, parts: Sequence[Any]) -> None:
        self._parts = parts

    @classmethod
    def of(cls, plan: Plan, parts: int) -> LocalShards:
        """Read exports. Raises LearningError."""
        tables = zip(*(split(plan, place, parts) for place in range(len(plan.groups))), strict=True)
        return cls([plan.made_of(part) for part in tables])

    def __len__(self) -> int:
        return len(self._parts)

    def map(self, function: Callable[..., Result], *common: Any, each: Sequence[Sequence[Any]] = ()) -> list[Result]:
        """See `Shards.map`."""
        return [function(part, *common, *(each[place] if each else ())) for place, part in enumerate(self._parts)]

    def put(self, value: Any) -> Any:
        """See `Shards.put`."""
        return value
