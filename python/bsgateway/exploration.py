"""Chance in the choice of tiers, with its probabilities known: what other tiers would have done can be estimated from
the log only if each of them had a chance, and the log says which (inverse propensity scoring).

A request that its score alone has settled goes, with probability `share`, to one of the tiers that can serve it, all of
them equally likely, that of the score included. Everything else is as it was: what the request needs, what its key may
use, limits of tiers, cooldowns, and the rules of its conversation from then on.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from random import SystemRandom

import msgspec

from .decision import Reason
from .policy import Choice

_SYSTEM = SystemRandom()


def propensity(share: float, tiers: int, is_own: bool) -> float:
    """The probability with which a tier is chosen, over both draws: `tiers` are those among which chance chooses,
    `is_own` says whether it is the tier of the score."""
    return share / tiers + (1.0 - share if is_own else 0.0)


class Explorer:
    """Draws for the share of the requests that one config says. `random` gives numbers from 0 up to, but not
    including, 1."""

    def __init__(self, share: float, random: Callable[[], float] = _SYSTEM.random) -> None:
        self.share = share
        self._random = random

    async def settle(
        self, choice: Choice, tiers: Sequence[str], permitted: Callable[[str], Awaitable[Choice]]
    ) -> Choice:
        """`choice`, which the score alone has settled, or another one that chance picked, with its propensity.

        `tiers` are those that can serve the request, the one of `choice` among them. `permitted` makes the choice for
        one of them that the key may use; where it is of another tier, or of none, that one is left out. It is asked
        only for requests that chance has taken: for the others the propensity counts on all of `tiers`, and is too
        small by at most `share`/2 if the key may not use one of them.
        """
        if self._random() >= self.share:
            return msgspec.structs.replace(choice, propensity=propensity(self.share, len(tiers), is_own=True))
        found = [choice if tier == choice.tier else await permitted(tier) for tier in tiers]
        options = [
            each for each, tier in zip(found, tiers, strict=True) if each.model is not None and each.tier == tier
        ]
        if len(options) < 2:
            return choice  # no chance, no propensity
        drawn = options[int(self._random() * len(options))]
        is_own = drawn is choice
        return msgspec.structs.replace(
            drawn,
            reason=choice.reason if is_own else Reason.EXPLORED,
            propensity=propensity(self.share, len(options), is_own),
            explored=True,
        )
