"""Whether a key may use the model that was chosen for it, and pay for it.

LiteLLM checks the name a client asks for, before any callback runs, and never what a callback makes of it. So a key
that may use `auto` could reach every model behind it, and a budget for one model would not count. Here LiteLLM's own
checks (`permits`) are made once more for the model itself. A check that cannot be made counts as a refusal.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Container, Iterable, Mapping
from functools import cache
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any, NoReturn

from .decision import Reason
from .stamps import KEPT, RoutingDecision

if TYPE_CHECKING:
    from litellm.proxy._types import UserAPIKeyAuth
    from litellm.router import Router


log = logging.getLogger(__name__)

TTL_SECONDS = 5.0
"""How long an answer about access is remembered: as long as LiteLLM keeps its own of team members, the shortest."""
CAPACITY = 4096
"""Answers remembered at most."""

EVERY_MODEL = frozenset(("all-proxy-models", "*"))
"""Entries of a key's `models` that allow all of them. An empty list does, too."""
MODEL_RATES = frozenset(("model_rpm_limit", "model_tpm_limit"))
"""Keys of LiteLLM's metadata that limit the rate of single models."""

_narrowed_by = attrgetter(
    "models", "user_id", "user_role", "metadata",
    "team_id", "project_id", "end_user_id", "org_id", "agent_id", "agent_caller", "managed_agent_policy",
    "model_max_budget", "user_model_max_budget", "team_model_max_budget", "end_user_model_max_budget",
)  # fmt: skip


@cache
def _permits() -> Any:
    # Not at import: it takes LiteLLM's whole proxy with it.
    from . import permits

    module: ModuleType = permits
    return module


class Access:
    """The checks of one process. `errors` counts those that could not be made and were taken for refusals."""

    def __init__(self, ttl_seconds: float = TTL_SECONDS, capacity: int = CAPACITY) -> None:
        self.errors = 0
        self._ttl, self._capacity = ttl_seconds, capacity
        self._known: dict[tuple[Any, ...], tuple[float, bool]] = {}

    async def refusal(self, key: UserAPIKeyAuth, model: str, data: Mapping[str, Any]) -> Reason | None:
        """Why `key` may not use `model` for the request `data`: NOT_ALLOWED, OVER_BUDGET (a budget or a rate limit for
        this model is used up), or None if it may. `data["model"]` must still be the name the client asked for.

        Raises nothing. Waits for nothing that LiteLLM has in memory; what it has not, it reads from its database, as at
        authentication.
        """
        if (permits := self._permits()) is None:
            return None if _is_unrestricted(key) else Reason.NOT_ALLOWED
        try:
            self._guard_fallbacks(permits.router())
            permits.check_destination(model, data)
            if (
                _is_unrestricted(key)
                and not permits.are_budgets_unchecked(data)
                and not permits.lacks_needed_price(model)
            ):
                return None
            if not await self._allows(key, model):
                return Reason.NOT_ALLOWED
            await permits.check_budgets(key, model, data)
            await permits.check_rates(key, model)
        except Exception as error:
            return self._reason(error)
        return None

    def misdirects(self, data: Mapping[str, Any]) -> bool:
        """Whether the client wants the key of a model that it names to fall back to sent where it may not go."""
        if (permits := self._permits()) is None:
            return False
        try:
            permits.check_destinations_of_fallbacks(data)
        except Exception as error:
            self._reason(error)
            return True
        return False

    async def refused_by_url(self, key: UserAPIKeyAuth, data: Mapping[str, Any]) -> str | None:
        """The model that a request names in its URL alone, if `key` may not use it; else None."""
        if (permits := self._permits()) is None:
            return None
        try:
            name: str | None = permits.named_by_url(key, data)
        except Exception as error:
            self._reason(error)
            return str(data.get("model"))
        return name if name is not None and await self.refusal(key, name, data) is not None else None

    async def over_budget(self, key: UserAPIKeyAuth, model: str, data: Mapping[str, Any]) -> bool:
        """Whether a budget for `model` is used up. For a name that stands for one model: LiteLLM lets a key use it that
        was granted the name, but looks for budgets under the name only."""
        if (permits := self._permits()) is None:
            return not _is_unrestricted(key)
        try:
            self._guard_fallbacks(permits.router())
            if _is_unrestricted(key) and not permits.are_budgets_unchecked(data):
                return False
            await permits.check_budgets(key, model, data)
        except Exception as error:
            self._reason(error)
            return True
        return False

    async def refuse(
        self,
        key: UserAPIKeyAuth,
        model: str,
        data: Mapping[str, Any],
        others: Iterable[str] = (),
        granted: bool = False,
    ) -> NoReturn:
        """Raise LiteLLM's own error: the one of a budget or rate limit if `model` or one of `others` is allowed but for
        that, else the 403 for `model`. `granted`: the key may use it, under the name that was asked for.

        These reach the client with their own status; any other exception raised from a callback becomes a 500.
        """
        permits = _permits()
        denied: Exception | None = None
        for name in (model, *others):
            try:
                permits.check_destination(name, data)
                permits.check_destinations_of_fallbacks(data)
                if not granted:
                    await permits.check_models(key, name)
                await permits.check_budgets(key, name, data)
                await permits.check_rates(key, name)
            except Exception as error:
                final = permits.client_error(error)
                if final is not None and permits.is_used_up(error):
                    raise final from None
                denied = denied or final
        raise denied or permits.denial(model)

    async def refused_as_it_is(
        self, key: UserAPIKeyAuth, data: Mapping[str, Any], routed: Container[str]
    ) -> str | None:
        """The model that a request gets which is left as it is, if `key` may not use it; else None.

        `routed` are the names that are routed by score. They are aliases of LiteLLM's router, too, for wherever no
        callback chooses; and by LiteLLM's rules a key that was granted an alias may use what it stands for.
        """
        name = data.get("model")
        if not isinstance(name, str) or name not in routed or (permits := self._permits()) is None:
            return None
        target = permits.alias_target(name)
        return None if target is None or await self.refusal(key, target, data) is None else str(target)

    def _permits(self) -> Any:
        """LiteLLM's checks; None if this LiteLLM has not got them all, which is logged at each attempt."""
        try:
            return _permits()
        except Exception as error:
            self.errors += 1
            log.error("LiteLLM's checks of access cannot be used: %s", type(error).__name__)
            return None

    def _guard_fallbacks(self, router: Router | None) -> None:
        """Have the router ask here, too, before it falls back to another model than the one chosen.

        LiteLLM's own check knows neither budgets for single models nor the models of a user, and is off by default.
        """
        if router is not None and type(router.fallback_access_check) is not FallbackGuard:
            # Typed as final, but a plain attribute: LiteLLM offers no other way to add to the check it has made.
            router.__dict__["fallback_access_check"] = FallbackGuard(self, router.fallback_access_check)

    async def _allows(self, key: UserAPIKeyAuth, model: str) -> bool:
        """Whether all lists of models that apply to `key` let it use `model`; remembered for a while."""
        permits = _permits()
        content = None if permits.is_agent(key) else _content(key, model)
        now = time.monotonic()
        if content is not None and (known := self._known.get(content)) is not None and known[0] > now:
            return known[1]
        try:
            await permits.check_models(key, model)
            allowed = True
        except Exception as error:
            if not permits.is_denial(error):
                raise
            allowed = False
        if content is not None:
            if len(self._known) >= self._capacity:
                self._known.clear()
            self._known[content] = (now + self._ttl, allowed)
        return allowed

    def _reason(self, error: Exception) -> Reason:
        permits = _permits()
        if permits.is_used_up(error):
            return Reason.OVER_BUDGET
        if not permits.is_denial(error):
            self.errors += 1  # and only the kind of it: the message may name the key
            log.error("access could not be checked, so it is refused: %s", type(error).__name__)
        return Reason.NOT_ALLOWED


class FallbackGuard:
    """The router's `fallback_access_check`: LiteLLM's own one and, for requests that were routed here, ours."""

    def __init__(self, access: Access, own: Any) -> None:
        self._access, self._own = access, own

    async def __call__(self, *, model: str, request_kwargs: Mapping[str, Any], llm_router: Router) -> bool:
        """Whether the request with these arguments may fall back to `model`."""
        own = self._own
        if own is not None and not await own(model=model, request_kwargs=request_kwargs, llm_router=llm_router):
            return False
        key, routing = _routed_by(request_kwargs)
        if key is None or routing is None:
            return True  # a health check, or a request that is not routed
        if model in routing.beyond:
            return False
        asked = {**request_kwargs, "model": routing.get("original_model")}
        return await self._access.refusal(key, model, asked) is None


def _routed_by(kwargs: Mapping[str, Any]) -> tuple[UserAPIKeyAuth | None, RoutingDecision | None]:
    """The key of a request and the stamp of its decision, out of LiteLLM's own metadata.

    One of the two is the client's in some formats, so only objects count that no JSON can make.
    """
    from litellm.proxy._types import UserAPIKeyAuth

    for name in _permits().METADATA:
        if isinstance(metadata := kwargs.get(name), Mapping):
            key, routing = metadata.get("user_api_key_auth"), metadata.get(KEPT)
            if isinstance(key, UserAPIKeyAuth) and isinstance(routing, RoutingDecision):
                return key, routing
    return None, None


def _is_unrestricted(key: UserAPIKeyAuth) -> bool:
    """Whether nothing that LiteLLM checks by model applies to `key`. The only step that most requests take."""
    models, user_id, user_role, metadata, *narrower = _narrowed_by(key)
    if any(narrower) or (user_id is not None and user_role != "proxy_admin"):
        return False
    if models and EVERY_MODEL.isdisjoint(models):
        return False
    return not metadata or MODEL_RATES.isdisjoint(metadata)


def _content(key: UserAPIKeyAuth, model: str) -> tuple[Any, ...]:
    """All of a key that decides about access to `model`."""
    return (
        model, key.token, tuple(key.models), key.team_id, tuple(key.team_models), key.user_id, key.user_role,
        key.project_id, key.end_user_id, tuple(key.access_group_ids or ()), bool(key.config),
    )  # fmt: skip
