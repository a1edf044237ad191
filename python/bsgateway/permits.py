"""What LiteLLM lets a key do with one model: its lists of models, its budgets, its rate limits.

Only LiteLLM's own functions are asked. The proxy calls them for the name a client sends, once, before any callback
runs; here they are called for the model that a callback puts in its place. Imported by a running proxy only: it takes
all of LiteLLM's proxy with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, unquote_plus

import litellm
from fastapi import HTTPException
from litellm.exceptions import BudgetExceededError, RateLimitError
from litellm.litellm_core_utils.internal_call_metadata import MODEL_ACCESS_GROUP_METADATA_KEY as GROUPS
from litellm.proxy import proxy_server as proxy  # its globals are the proxy's state, and change: never copy them
from litellm.proxy._types import LiteLLM_TeamTableCachedObj, ProxyErrorTypes, ProxyException, UserAPIKeyAuth
from litellm.proxy.auth import auth_checks, auth_utils
from litellm.proxy.auth.fallback_budget import is_token_within_budget_for_model
from litellm.proxy.auth.model_access_denied import model_access_denied_client_message
from litellm.proxy.common_utils.proxy_rate_limit_error import ProxyRateLimitError
from litellm.router_utils.common_utils import resolve_model_group_alias
from litellm.types.utils import CustomPricingLiteLLMParams

ADMIN = "proxy_admin"
"""LiteLLM's role of the master key: no user's models apply to it."""
METADATA = ("litellm_metadata", "metadata")
MODEL_RATES = frozenset(("model_rpm_limit", "model_tpm_limit"))
"""Keys of LiteLLM's metadata that limit the rate of single models."""
_PER_MODEL = frozenset(("model_per_key", "model_per_team"))
_CLIENTS_OWN = (
    frozenset(auth_utils._BANNED_REQUEST_BODY_PARAMS)
    - auth_utils._build_banned_observability_params()  # LiteLLM puts those of a team into the body itself
    - frozenset(CustomPricingLiteLLMParams.model_fields)
)
"""Parts of a body that say where a call goes, or in whose name, such as `api_base`. LiteLLM takes them only with the
operator's leave."""
_PROVIDER = frozenset(("custom_llm_provider", "account_id"))
"""These LiteLLM takes from everybody. It puts the first one there itself, so that only what was sent counts."""
_FALLBACKS = frozenset((*auth_utils._FALLBACK_FIELDS, "router_settings_override"))
"""Parts of a body that name models to fall back to."""


def router() -> Any:
    """The proxy's router, or None while it has none."""
    return proxy.llm_router


def alias_target(name: str) -> str | None:
    """The model that the router takes `name` for; None if it is no alias of the router's."""
    known = proxy.llm_router
    return None if known is None else resolve_model_group_alias(known.model_group_alias, name)


async def check_models(key: UserAPIKeyAuth, model: str) -> None:
    """Raise LiteLLM's 403 if a list of models forbids `model`: of the key, its team, team member, project, user, end
    user or agent. Any other error means that LiteLLM could not tell."""
    if model in litellm.model_alias_map or lacks_needed_price(model):
        # An alias is allowed if its target is. But aliases are looked up before callbacks run, so that the target of
        # this one would never be reached.
        raise denial(model)
    if key.aliases or key.team_model_aliases:  # the same holds for the aliases of key and team
        key = key.model_copy(update={"aliases": {}, "team_model_aliases": None})
    await auth_checks.can_key_call_resolved_model(
        model=model, llm_model_list=None, valid_token=key, llm_router=proxy.llm_router
    )
    if key.team_id is None and key.user_id is not None and key.user_role != ADMIN and proxy.prisma_client is not None:
        user = await auth_checks._user_object_or_none(
            valid_token=key,
            prisma_client=proxy.prisma_client,
            user_api_key_cache=proxy.user_api_key_cache,
            proxy_logging_obj=proxy.proxy_logging_obj,
        )
        await auth_checks.can_user_call_model(model=model, llm_router=proxy.llm_router, user_object=user)
    if is_agent(key):
        await _check_agent(key, model)


def is_agent(key: UserAPIKeyAuth) -> bool:
    """Whether what `key` may use depends on an agent, and on whom that acts for in this request."""
    return key.agent_id is not None or key.agent_caller is not None or key.managed_agent_policy is not None


async def _check_agent(key: UserAPIKeyAuth, model: str) -> None:
    if key.managed_agent_policy is not None:
        granted = (key.managed_agent_policy.object_permission or {}).get("models")
        if not isinstance(granted, (list, tuple)) or not granted:
            raise denial(model)
        auth_checks.can_object_call_model(
            model=model, llm_router=proxy.llm_router, models=list(granted), team_id=key.team_id, object_type="agent"
        )
    await auth_checks._check_agent_access_group_model_access(model, key, proxy.llm_router)
    await auth_checks._check_agent_caller_model_access(
        model=model,
        valid_token=key,
        llm_router=proxy.llm_router,
        prisma_client=proxy.prisma_client,
        user_api_key_cache=proxy.user_api_key_cache,
        proxy_logging_obj=proxy.proxy_logging_obj,
    )


async def check_budgets(key: UserAPIKeyAuth, model: str, data: Mapping[str, Any]) -> None:
    """Raise LiteLLM's BudgetExceededError if a budget for `model` is used up: of the key, its user, team or end user.

    Their budgets for everything were checked at authentication, except for names that cost nothing; `data` is the
    request, with the name asked for.
    """
    if auth_checks.is_model_cost_zero(model, proxy.llm_router):
        return
    if are_budgets_unchecked(data):
        await _check_whole_budgets(key, model, data)
    limiter = proxy.model_max_budget_limiter
    if key.model_max_budget and key.token is not None:
        await limiter.is_key_within_model_budget(user_api_key_dict=key, model=model)
    if key.user_model_max_budget and key.user_id is not None:
        await limiter.is_user_within_model_budget(key.user_id, key.user_model_max_budget, model)
    if key.team_model_max_budget and key.team_id is not None:
        await limiter.is_team_within_model_budget(
            team_id=key.team_id,
            team_model_max_budget=key.team_model_max_budget,
            key_model_max_budget=key.model_max_budget,
            model=model,
        )
    if key.end_user_model_max_budget and key.end_user_id is not None:
        await limiter.is_end_user_within_model_budget(key.end_user_id, key.end_user_model_max_budget, model)
    if proxy.prisma_client is not None:
        await _check_groups(key, model, data)


async def _check_groups(key: UserAPIKeyAuth, model: str, data: Mapping[str, Any]) -> None:
    """Raise BudgetExceededError if a budget of a group of models is used up that lets `key` use `model`; else have
    LiteLLM charge these groups, and no longer those of the name asked for."""
    shared: dict[str, Any] = {
        "prisma_client": proxy.prisma_client,
        "user_api_key_cache": proxy.user_api_key_cache,
        "proxy_logging_obj": proxy.proxy_logging_obj,
    }
    team = project = None
    if key.team_id is not None:
        try:
            team = await auth_checks.get_team_object(team_id=key.team_id, **shared)
        except HTTPException:  # not a team of the database: what the key says of it holds
            team = LiteLLM_TeamTableCachedObj(team_id=key.team_id, models=key.team_models)
    if key.project_id is not None:
        project = await auth_checks.get_project_object(project_id=key.project_id, **shared)
    groups = await auth_checks.collect_matched_model_access_groups(
        model=model, valid_token=key, team_object=team, project_object=project, llm_router=proxy.llm_router, **shared
    )
    await auth_checks._model_access_group_max_budget_check(groups, proxy.prisma_client, proxy.user_api_key_cache)
    for name in METADATA:
        metadata = data.get(name)
        if isinstance(metadata, dict) and isinstance(auth := metadata.get("user_api_key_auth"), UserAPIKeyAuth):
            auth.matched_model_access_groups = metadata[GROUPS] = list(groups)


def are_budgets_unchecked(data: Mapping[str, Any]) -> bool:
    """Whether LiteLLM left out every budget of this request, because the name asked for costs nothing."""
    asked = data.get("model")
    if isinstance(asked, str) and auth_checks.is_model_cost_zero(asked, proxy.llm_router):
        return True
    sent = _sent(data).get("model")  # before an alias of key or team replaced it
    return isinstance(sent, str) and sent != asked and auth_checks.is_model_cost_zero(sent, proxy.llm_router)


def _sent(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """The body of the request `data` as it came; empty if LiteLLM does not say."""
    request = data.get("proxy_server_request")
    body = request.get("body") if isinstance(request, Mapping) else None
    return body if isinstance(body, Mapping) else {}


async def _check_whole_budgets(key: UserAPIKeyAuth, model: str, data: Mapping[str, Any]) -> None:
    """The budgets that were left out. LiteLLM can say afterwards whether a key and its user have money left; of teams,
    organisations, projects, end users, tags and the whole proxy it cannot, so that these get what they asked for: a
    model that costs nothing."""
    shared = key.team_id or key.org_id or key.project_id or key.end_user_id or key.budget_limits or litellm.max_budget
    tagged = any(isinstance(place := data.get(name), Mapping) and place.get("tags") for name in METADATA)
    known = proxy.llm_router
    if (
        shared
        or tagged
        or known is None
        or not await is_token_within_budget_for_model(model=model, valid_token=key, llm_router=known)
    ):
        message = f"ExceededBudget: {model} costs money, and the request asked for a model that costs nothing."
        raise BudgetExceededError(current_cost=0.0, max_budget=0.0, message=message)


async def check_rates(key: UserAPIKeyAuth, model: str) -> None:
    """Raise LiteLLM's 429 if a rate limit of key, team or organisation for `model` alone is reached.

    Counts nothing: LiteLLM's limiter does so later, and has the last word.
    """
    said = (key.metadata, key.team_metadata, key.organization_metadata)
    if not key.model_max_budget and all(not words or MODEL_RATES.isdisjoint(words) for words in said):
        return
    limiter: Any = proxy.proxy_logging_obj.get_proxy_hook("parallel_request_limiter")
    if not hasattr(limiter, "create_rate_limit_descriptors"):
        return  # LiteLLM's older limiter, if the operator wants that one: it cannot be asked without counting
    found = limiter.create_rate_limit_descriptors(
        user_api_key_dict=key,
        data={"model": model},
        rpm_limit_type=None,
        tpm_limit_type=None,
        model_has_failures=False,
    )
    limits = [limit for limit in found if limit["key"] in _PER_MODEL]
    limits += limiter.create_organization_rate_limit_descriptor(key, model)
    if limits and (await limiter.should_rate_limit(descriptors=limits, read_only=True))["overall_code"] == "OVER_LIMIT":
        raise ProxyRateLimitError(
            detail=f"Rate limit exceeded for {model}.", headers={"retry-after": str(limiter.window_size)}, model=model
        )


def check_destination(model: str, data: Mapping[str, Any]) -> None:
    """Raise a 403 if the client says in `data` where the call goes, or in whose name, and may not for `model`.

    LiteLLM asks for the operator's leave, too, but for the name that the client sent: without this, what is allowed for
    the model that `auto` stands for would send the key of any other to an address of the client's. Where the operator
    allows it for all models, a client has to bring a key of its own.
    """
    said = _CLIENTS_OWN.intersection(data)
    sent = _sent(data)
    if sent:  # an address that LiteLLM itself has added since, out of a team's `model_config`, is the operator's
        said = (said | _PROVIDER).intersection(sent)
    said = frozenset(name for name in said if data.get(name) is not None)
    if not said:
        return
    anywhere = (proxy.general_settings or {}).get("allow_client_side_credentials") is True and bool(data.get("api_key"))
    for name in sorted(said):
        if not anywhere and not auth_utils._allow_model_level_clientside_configurable_parameters(
            model=model, param=name, request_body_value=data.get(name), llm_router=proxy.llm_router
        ):
            raise ProxyException(
                message=f"{name} is not allowed in a request that goes to {model}.",
                type=ProxyErrorTypes.key_model_access_denied,
                param=name,
                code=403,
            )


def check_destinations_of_fallbacks(data: Mapping[str, Any]) -> None:
    """The same for each model that the client itself names to fall back to: LiteLLM looks at what is allowed for the
    model that fails."""
    if _FALLBACKS.isdisjoint(data):
        return
    for target in auth_utils.iter_request_fallback_targets(data):
        if isinstance(target, Mapping):
            name = auth_utils.fallback_target_model_name(target) or str(data.get("model"))
            check_destination(name, {**target, "proxy_server_request": {"body": target}})


def named_by_url(key: UserAPIKeyAuth, data: Mapping[str, Any]) -> str | None:
    """The model of the request `data`, if it stands in its URL (`/engines/NAME/chat/completions`, `?model=NAME`) and
    not in its body: LiteLLM checks the one of the body, and calls this one."""
    name = data.get("model")
    sent = _sent(data).get("model")
    if not isinstance(name, str) or name == sent or (isinstance(sent, str) and name in _alias_targets(key, sent)):
        return None
    request = data.get("proxy_server_request")
    url = request.get("url") if isinstance(request, Mapping) else None
    if not isinstance(url, str):
        return None
    where = url.partition("://")[2].partition("/")[2]  # the name of the host may well hold that of a model
    return name if name in unquote(where) or name in unquote_plus(where) else None


def _alias_targets(key: UserAPIKeyAuth, name: str) -> list[object]:
    """What LiteLLM makes of a name before callbacks run: it has checked that, and who may use it may use these."""
    tables = (litellm.model_alias_map, key.aliases, key.team_model_aliases)
    return [table.get(name) for table in tables if isinstance(table, Mapping)]


def lacks_needed_price(model: str) -> bool:
    """Whether the operator forbids models without a price, and `model` has none."""
    if not litellm.block_requests_for_models_without_pricing:
        return False
    return bool(auth_checks.model_has_no_cost_mapping(model, proxy.llm_router))


def is_denial(error: Exception) -> bool:
    """Whether LiteLLM says that a model may not be used, as opposed to not knowing."""
    status = error.code if isinstance(error, ProxyException) else getattr(error, "status_code", None)
    return str(status) == "403"


def is_used_up(error: Exception) -> bool:
    """Whether a model may be used, but not now: a budget or a rate limit is reached."""
    return isinstance(error, (BudgetExceededError, RateLimitError))


def client_error(error: Exception) -> Exception | None:
    """What LiteLLM has a client see for `error`; None if it is neither a denial nor a used-up budget or rate."""
    if isinstance(error, BudgetExceededError):
        # As LiteLLM does where it finds this out after authentication.
        return ProxyException(error.message, ProxyErrorTypes.budget_exceeded, param=None, code=error.status_code)
    return error if is_denial(error) or is_used_up(error) else None


def denial(model: str) -> ProxyException:
    """LiteLLM's 403 for a model that may not be used."""
    return ProxyException(
        message=model_access_denied_client_message(model),
        type=ProxyErrorTypes.key_model_access_denied,
        param="model",
        code=403,
    )
