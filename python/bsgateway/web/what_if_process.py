"""`python -m bsgateway.web.what_if_process`: sums up the log for the page that tries borders and biases.

That is seconds of work in Python, which would hold up the requests of the proxy: so it is done here, at a low priority.
An `Order` comes as a line of JSON on standard input, with the DSN, and what becomes of it goes to standard output as an
`Answer`. The end of the input is that of the proxy: this process ends with it. LiteLLM is not imported.
"""

from __future__ import annotations

import asyncio
import os
import sys
import traceback
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..catalog import Model
from ..config import Config, Routing
from ..errors import GatewayError
from ..upstreams.child import exit_with_parent
from .views import WhatIf

if TYPE_CHECKING:
    import numpy as np

    from ..learn.survey import Survey
    from ..log_scores import LogScorer

NICENESS = 10


class Order(msgspec.Struct, frozen=True):
    """What to sum up: the last `days` of the log at `dsn`, at most the newest `most` rows of it, for the gateway of
    `routing` and its models. `directory` is what relative paths are meant from, `state` the state directory."""

    path: str
    routing: Routing
    model_list: list[dict[str, Any]]
    known: Mapping[str, Model]
    directory: str
    state: str
    dsn: str
    days: float
    most: int

    def __repr__(self) -> str:
        # Without the DSN and the keys of models.
        return f"Order(days={self.days})"


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The sums; or the message of an error of ours, whose class is `kind`; or what failed unexpectedly, and where."""

    what_if: WhatIf | None = None
    kind: str = ""
    error: str = ""
    failed: str = ""


async def summed(order: Order) -> WhatIf:
    """Raises StoreError, ReplayError, ModelError, LearningError, ConfigError."""
    from ..decision import now
    from ..gateway import Gateway
    from ..learn.borders import of_config
    from ..learn.rescored import check_scored
    from ..learn.survey import LOWEST, Survey
    from ..learn.survey_log import days_of, fill
    from ..log_scores import scorer_of
    from ..store import Store
    from ..trials import with_strategy

    config = Config(Path(order.path), order.routing, {"model_list": order.model_list})
    scorer = scorer_of(config, config, Path(order.state))
    # Of the gateway only tiers and prices are needed: nobody is asked, and no model file is read again.
    gateway = Gateway(with_strategy(config, "static"), known=order.known)
    survey = Survey(gateway, scorer, borders_move=True)
    until = now()
    since = until - timedelta(days=order.days)
    async with await Store.connect(order.dsn) as store:
        newest = await store.since_newest(since, until, order.most)
        await fill(survey, store, newest or since, until, gateway, scorer)
    check_scored(scorer)
    first, last = _filled(survey.leaning[:, 0], -LOWEST)
    kept = survey.leaning[first : last + 1]
    return WhatIf(
        since=newest or since,
        until=until,
        days=days_of(survey, until, order.days),
        sampled=newest is not None,
        strategy=scorer.strategy.value,
        tiers=survey.tiers,
        borders=of_config(order.routing),
        bias=order.routing.bias,
        lowest=first + LOWEST,
        requests=tuple(int(count) for count in kept[:, 0]),
        costs=tuple(
            None if place in survey.unpriced_tiers else tuple(kept[:, 1 + place].tolist())
            for place in range(len(survey.tiers))
        ),
        fixed_requests=survey.beside.requests,
        fixed_cost=survey.beside.cost,
        left_out=scorer.counts.left_out,
        notes=tuple(_notes(survey, scorer)),
    )


def _filled(counts: np.ndarray[Any, np.dtype[np.float64]], zero: int) -> tuple[int, int]:
    """First and last place of what is worth telling: all scores from 0 to 100, and what there is beyond them."""
    found = [int(place) for place in counts.nonzero()[0]]
    return min([zero, *found[:1]]), max([zero + 100, *found[-1:]])


def _notes(survey: Survey, scorer: LogScorer) -> list[str]:
    from ..learn.rescored import about_scores

    notes = about_scores(scorer.counts)
    if survey.beside.verdicts:
        notes.append(
            f"the local LLM named the tier of {survey.beside.verdicts:,} requests: they stay in it wherever its "
            "borders are, and what another bias would make of them is not in these numbers; the others were scored by "
            "the fallback"
        )
    if survey.unpriced:
        notes.append(
            f"no price is known of {', '.join(sorted(survey.unpriced))}: give input_cost_per_token and "
            "output_cost_per_token in its model_info"
        )
    if survey.own_tokens:
        notes.append(
            f"requests without a known answer, counted at the gateway's estimate of their tokens: {survey.own_tokens:,}"
        )
    return notes


def _answer(line: bytes) -> Answer:
    try:
        order = msgspec.json.decode(line, type=Order)
        os.chdir(order.directory)
        return Answer(what_if=asyncio.run(summed(order)))
    except GatewayError as error:
        return Answer(kind=type(error).__name__, error=str(error))
    except Exception as error:  # its message may quote what it stumbled over
        last = traceback.extract_tb(error.__traceback__)[-1]
        return Answer(failed=f"{type(error).__name__} at {last.filename}:{last.lineno}")


def main() -> None:
    """Serve one order."""
    os.nice(NICENESS)
    line = sys.stdin.buffer.readline()
    exit_with_parent()
    sys.stdout.buffer.write(msgspec.json.encode(_answer(line)))


if __name__ == "__main__":
    main()
