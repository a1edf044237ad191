"""What the pages are told of the gateway before they show anything: who looks, its tiers, its closed lists."""

from __future__ import annotations

from ..config import Config
from ..decision import Method, Reason, Strategy
from ..gateway import Gateway
from ..log.metrics import Metrics
from .database import Database
from .viewer import Viewer
from .views import Backlog, Filters, Me, Option, TierView

_STRATEGIES = {
    Strategy.STATIC: "weighted signals",
    Strategy.ML: "a learned model",
    Strategy.LLM: "one word from a local model",
}


async def me(viewer: Viewer, gateway: Gateway, database: Database, log: Metrics | None) -> Me:
    """GET api/me. `log`: what this worker's log says of itself. Waits a second at most for a database that does not
    answer."""
    from .. import __version__

    config = gateway.config
    routing = config.routing
    return Me(
        admin=viewer.admin,
        key=None if viewer.admin and viewer.key_alias is None else viewer.name,
        version=__version__,
        log=await database.state(),
        mode=routing.mode,
        canary=routing.canary,
        bias=routing.bias,
        strategy=routing.classifier.strategy,
        strategies=strategies(config),
        tiers=tiers(gateway),
        baseline_model=gateway.policy.baseline.name,
        text=routing.collector.text,
        models=tuple(gateway.models),
        backlog=backlog(log) if viewer.admin and log is not None else None,
    )


def backlog(log: Metrics) -> Backlog:
    """What of `log` a page shows."""
    return Backlog(
        queued=log.queued,
        spooled_rows=log.spooled_rows,
        spooled_bytes=log.spooled_bytes,
        oldest_seconds=log.oldest_seconds,
        written=log.written,
        dropped=sum(log.dropped.values()),
        circuit=log.circuit,
        last_error=log.last_error,
    )


def tiers(gateway: Gateway) -> tuple[TierView, ...]:
    """The tiers in force, the cheapest first."""
    described = gateway.config.routing.tiers
    return tuple(
        TierView(
            name=plan.name,
            first=plan.first,
            last=plan.last,
            models=tuple(model.name for model in plan.candidates),
            description=described[plan.name].description,
        )
        for plan in gateway.policy.tiers
    )


def strategies(config: Config) -> tuple[str, ...]:
    """Those that a request can be scored with here: for ml there is a model in the package, llm needs an own one."""
    return ("static", "ml", *(("llm",) if config.routing.classifier.llm.model is not None else ()))


def filters(gateway: Gateway) -> Filters:
    """GET api/filters."""
    return Filters(
        tiers=tuple(
            Option(tier.name, tier.description or f"scores {tier.first}-{tier.last}") for tier in tiers(gateway)
        ),
        methods=tuple(Option(method.value, method.doc) for method in Method),
        strategies=tuple(Option(strategy.value, doc) for strategy, doc in _STRATEGIES.items()),
        reasons=tuple(Option(reason.value, reason.doc) for reason in Reason),
        models=tuple(Option(name) for name in gateway.models),
    )
