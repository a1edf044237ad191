"""`access.py` and `permits.py`: LiteLLM's own checks, on its own objects and its own router, for the model chosen.

The state of LiteLLM's proxy is its module's globals; the tests put a router there, and people into its cache.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable, Iterator
from fnmatch import fnmatchcase
from typing import Any

import litellm
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litellm import Router
from litellm.proxy import proxy_server
from litellm.proxy._types import (
    LiteLLM_TeamTableCachedObj,
    LiteLLM_UserTable,
    LitellmUserRoles,
    ProxyException,
    UserAPIKeyAuth,
)
from litellm.proxy.common_utils.proxy_rate_limit_error import ProxyRateLimitError

from bsgateway import permits
from bsgateway.access import Access, FallbackGuard
from bsgateway.decision import Reason
from bsgateway.hook import GatewayCallback
from bsgateway.stamps import KEPT, RoutingDecision

MODELS = ("small", "middle", "large")
NOT_ALLOWED, OVER_BUDGET = Reason.NOT_ALLOWED, Reason.OVER_BUDGET
DAY = {"budget_duration": "1d"}
SPENT = {"max_budget": 0.0, **DAY}
"""A budget that is used up from the start."""
FREE = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}


def deployment(name: str, **info: Any) -> dict[str, Any]:
    price = {"input_cost_per_token": 1e-6, "output_cost_per_token": 4e-6, **info}
    return {
        "model_name": name,
        "litellm_params": {"model": f"openai/{name}-1", "api_key": "none"},
        "model_info": price,
    }


@pytest.fixture(autouse=True)
def router(monkeypatch: pytest.MonkeyPatch) -> Iterator[Router]:
    """A proxy with a router, without a database; what it keeps of people is forgotten after the test."""
    made = Router(
        model_list=[
            deployment("small", access_groups=["cheap-ones"]),
            deployment("middle"),
            deployment("large"),
            deployment("local", **FREE),
        ],
        model_group_alias={"auto": "middle", "gratis": "local", "frontier": "large"},
    )
    monkeypatch.setattr(proxy_server, "llm_router", made)
    monkeypatch.setattr(proxy_server, "prisma_client", None)
    yield made
    proxy_server.user_api_key_cache.in_memory_cache.flush_cache()
    proxy_server.model_max_budget_limiter.dual_cache.in_memory_cache.flush_cache()


@pytest.fixture
def with_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteLLM believes in a database. There is none: only what is in its cache can be read."""
    monkeypatch.setattr(proxy_server, "prisma_client", object())


def key(**fields: Any) -> UserAPIKeyAuth:
    return UserAPIKeyAuth(**{"api_key": "sk-one", **fields})


def asked(name: str = "auto", **more: Any) -> dict[str, Any]:
    return {"model": name, "proxy_server_request": {"body": {"model": name}}, **more}


async def refusals(whose: UserAPIKeyAuth, access: Access | None = None, name: str = "auto") -> list[Reason | None]:
    """For each of MODELS."""
    access = access or Access()
    found = [await access.refusal(whose, model, asked(name)) for model in MODELS]
    assert access.errors == 0
    return found


NO = NOT_ALLOWED
TABLE: dict[str, tuple[dict[str, Any], list[Reason | None]]] = {
    "nothing said": ({}, [None, None, None]),
    "all models": ({"models": ["all-proxy-models"]}, [None, None, None]),
    "a star": ({"models": ["*"]}, [None, None, None]),
    "the master key": ({"user_id": "default_user_id", "user_role": LitellmUserRoles.PROXY_ADMIN}, [None, None, None]),
    "auto alone": ({"models": ["auto"]}, [NO, NO, NO]),
    "an alias of another model": ({"models": ["auto", "frontier"]}, [NO, NO, NO]),
    "some": ({"models": ["auto", "small", "middle"]}, [None, None, NO]),
    "a pattern": ({"models": ["auto", "*l*"]}, [None, None, None]),
    "an access group": ({"models": ["auto", "cheap-ones"]}, [None, NO, NO]),
    "its team": ({"team_id": "t", "team_models": ["auto", "middle"]}, [NO, None, NO]),
    "a team that may all": ({"team_id": "t"}, [None, None, None]),
    "key and team": ({"models": ["small"], "team_id": "t", "team_models": ["small", "large"]}, [None, NO, NO]),
    "what the team may": (
        {"models": ["all-team-models"], "team_id": "t", "team_models": ["large"]},
        [NO, NO, None],
    ),
    "an alias of the key": ({"models": ["small"], "aliases": {"large": "small", "auto": "small"}}, [None, NO, NO]),
    "an alias of the team": (
        {"team_id": "t", "team_models": ["small"], "team_model_aliases": {"large": "small"}},
        [None, NO, NO],
    ),
    "a budget": ({"model_max_budget": {"large": SPENT}}, [None, None, OVER_BUDGET]),
    "a budget that is left": ({"model_max_budget": {"large": {"max_budget": 1.0, **DAY}}}, [None, None, None]),
    "a budget of the user": (
        {"user_id": "u", "user_model_max_budget": {"middle": SPENT}},
        [None, OVER_BUDGET, None],
    ),
    "a budget of the team": (
        {"team_id": "t", "team_model_max_budget": {"small": SPENT}},
        [OVER_BUDGET, None, None],
    ),
    "a budget of the end user": (
        {"end_user_id": "e", "end_user_model_max_budget": {"large": SPENT}},
        [None, None, OVER_BUDGET],
    ),
    "forbidden and spent": ({"models": ["small"], "model_max_budget": {"large": SPENT}}, [None, NO, NO]),
}


@pytest.mark.parametrize("name", TABLE)
async def test_what_a_key_may_use(name: str) -> None:
    fields, expected = TABLE[name]
    assert await refusals(key(**fields)) == expected


async def test_a_budget_counts_what_was_spent() -> None:
    budget = {"middle": {"max_budget": 0.5, **DAY}}
    whose, access = key(model_max_budget=budget), Access()
    assert await refusals(whose, access) == [None, None, None]
    limiter = proxy_server.model_max_budget_limiter
    await limiter.dual_cache.async_set_cache(f"virtual_key_spend:{whose.token}:middle:1d", 0.5)
    assert await refusals(whose, access) == [None, OVER_BUDGET, None]  # at once: budgets are not remembered


@pytest.mark.usefixtures("with_database")
async def test_the_models_of_a_user_hold_for_personal_keys() -> None:
    cache = proxy_server.user_api_key_cache
    await cache.async_set_cache(
        "user-1", LiteLLM_UserTable(user_id="user-1", models=["auto", "small"]), model_type=LiteLLM_UserTable
    )
    assert await refusals(key(user_id="user-1")) == [None, NO, NO]
    await cache.async_set_cache(
        "user-2", LiteLLM_UserTable(user_id="user-2", models=["no-default-models"]), model_type=LiteLLM_UserTable
    )
    assert await refusals(key(user_id="user-2")) == [NO, NO, NO]


@pytest.mark.usefixtures("with_database")
async def test_the_models_of_a_team_are_read_where_litellm_keeps_them() -> None:
    team = LiteLLM_TeamTableCachedObj(team_id="t", models=["auto", "large"])
    await proxy_server.user_api_key_cache.async_set_cache("team_id:t", team, model_type=LiteLLM_TeamTableCachedObj)
    assert await refusals(key(team_id="t", team_models=["small"])) == [NO, NO, None]


@pytest.mark.usefixtures("with_database")
async def test_a_check_that_cannot_be_made_is_a_refusal(caplog: pytest.LogCaptureFixture) -> None:
    access = Access()
    whose = key(project_id="project-1", key_alias="the-alias")  # a project that only a database knows
    with caplog.at_level(logging.ERROR, logger="bsgateway.access"):
        assert await access.refusal(whose, "small", asked()) is NOT_ALLOWED
    assert access.errors == 1
    assert "AttributeError" in caplog.text
    assert "project-1" not in caplog.text
    assert "the-alias" not in caplog.text
    with pytest.raises(ProxyException) as refused:
        await access.refuse(whose, "small", asked())
    assert refused.value.code == "403"


@pytest.mark.usefixtures("with_database")
async def test_an_unrestricted_key_needs_no_database() -> None:
    assert await refusals(key()) == [None, None, None]


async def test_without_litellms_checks_only_unrestricted_keys_go_on(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing() -> Any:
        raise ImportError("no such check")

    monkeypatch.setattr("bsgateway.access._permits", missing)
    access = Access()
    assert await access.refusal(key(), "small", asked()) is None
    assert await access.refusal(key(models=["small"]), "small", asked()) is NOT_ALLOWED
    assert await access.over_budget(key(), "small", asked()) is False
    assert await access.over_budget(key(team_id="t"), "small", asked()) is True
    assert access.errors == 4
    assert "ImportError" in caplog.text


async def test_answers_are_remembered_by_what_decides() -> None:
    access = Access(ttl_seconds=3600, capacity=4)
    whose = key(models=["auto", "small"])
    assert await refusals(whose, access) == [None, NO, NO]
    whose.models.append("large")
    assert await refusals(whose, access) == [None, NO, None]
    assert await refusals(key(api_key="sk-two", models=["auto", "middle"]), access) == [NO, None, NO]
    assert len(access._known) <= 4


async def test_answers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    access = Access(ttl_seconds=5.0)
    clock = [1000.0]
    monkeypatch.setattr("bsgateway.access.time.monotonic", lambda: clock[0])
    whose = key(models=["auto", "cheap-ones"])
    assert await access.refusal(whose, "middle", asked()) is NOT_ALLOWED
    monkeypatch.setattr(
        proxy_server, "llm_router", Router(model_list=[deployment("middle", access_groups=["cheap-ones"])])
    )
    clock[0] += 4.9
    assert await access.refusal(whose, "middle", asked()) is NOT_ALLOWED
    clock[0] += 0.2
    assert await access.refusal(whose, "middle", asked()) is None


class TestNamesThatCostNothing:
    """LiteLLM leaves out every budget of a request for a free model: what is chosen instead must not cost money."""

    @pytest.mark.parametrize(
        ("fields", "expected"),
        [
            ({}, None),
            ({"max_budget": 1.0}, None),
            ({"max_budget": 1.0, "spend": 1.0}, OVER_BUDGET),
            ({"user_id": "u", "user_max_budget": 1.0, "user_spend": 2.0}, OVER_BUDGET),
            ({"team_id": "t"}, OVER_BUDGET),
            ({"org_id": "o"}, OVER_BUDGET),
        ],
    )
    async def test_budgets_are_checked_then(self, fields: dict[str, Any], expected: Reason | None) -> None:
        access, whose = Access(), key(**fields)
        assert await access.refusal(whose, "large", asked("gratis")) is expected
        assert await access.over_budget(whose, "large", asked("gratis")) is (expected is OVER_BUDGET)
        assert await access.refusal(whose, "local", asked("gratis")) is None
        assert await access.refusal(whose, "large", asked("auto")) is None

    async def test_the_name_before_aliases_counts(self) -> None:
        data = {"model": "auto", "proxy_server_request": {"body": {"model": "gratis"}}}
        assert await Access().refusal(key(team_id="t"), "large", data) is OVER_BUDGET

    async def test_tags_and_the_budget_of_the_proxy_count(self, monkeypatch: pytest.MonkeyPatch) -> None:
        access = Access()
        assert await access.refusal(key(), "large", asked("gratis", metadata={"tags": ["a"]})) is OVER_BUDGET
        assert await access.refusal(key(), "large", asked("gratis", litellm_metadata={"tags": ["a"]})) is OVER_BUDGET
        monkeypatch.setattr(litellm, "max_budget", 10.0)
        assert await access.refusal(key(), "large", asked("gratis")) is OVER_BUDGET


async def test_models_without_a_price_are_forbidden_where_the_operator_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unpriced = {"model_name": "unpriced", "litellm_params": {"model": "openai/nobody-knows-1", "api_key": "none"}}
    monkeypatch.setattr(proxy_server, "llm_router", Router(model_list=[unpriced, deployment("small")]))
    assert await Access().refusal(key(), "unpriced", asked()) is None
    monkeypatch.setattr(litellm, "block_requests_for_models_without_pricing", True)
    assert await Access().refusal(key(), "unpriced", asked()) is NOT_ALLOWED
    assert await Access().refusal(key(), "small", asked()) is None


class TestNamesInUrls:
    """LiteLLM checks the model of the body, and calls the one of the URL."""

    @staticmethod
    def called(url: str, model: str, body: dict[str, Any]) -> dict[str, Any]:
        return {"model": model, "proxy_server_request": {"url": url, "body": body}}

    @pytest.mark.parametrize(
        "url",
        [
            "http://localhost:4000/engines/large/chat/completions",
            "https://large.example/openai/deployments/l%61rge/chat/completions?api-version=1",
            "http://localhost/v1/chat/completions?model=l%61rge",
            "http://localhost/v1beta/models/large:generateContent",
        ],
    )
    @pytest.mark.parametrize("body", [{}, {"model": "small"}, {"model": 3}], ids=str)
    async def test_is_checked(self, url: str, body: dict[str, Any]) -> None:
        access, data = Access(), self.called(url, "large", body)
        assert await access.refused_by_url(key(models=["small"]), data) == "large"
        assert await access.refused_by_url(key(models=["large"]), data) is None
        assert access.errors == 0

    @pytest.mark.parametrize("host", ["large", "large.example", "user:large@gateway.example:4000"])
    async def test_the_host_names_no_model(self, host: str) -> None:
        """An operator's own rule may put another model into the place of the one that was sent."""
        data = self.called(f"http://{host}/v1/chat/completions", "large", {"model": "small"})
        assert await Access().refused_by_url(key(models=["small"]), data) is None

    @pytest.mark.parametrize("fields", [{"aliases": {"gpt": "large"}}, {"team_model_aliases": {"gpt": "large"}}])
    async def test_what_litellm_checked_under_an_alias_is_not_checked_again(self, fields: dict[str, Any]) -> None:
        data = self.called("http://gateway/large/v1/chat/completions", "large", {"model": "gpt"})
        assert await Access().refused_by_url(key(models=["gpt"], **fields), data) is None
        assert await Access().refused_by_url(key(models=["gpt"]), data) == "large"

    async def test_what_cannot_be_looked_at_is_refused_and_raises_nothing(self) -> None:
        broken: Any = object()
        access = Access()
        data = self.called("http://gateway/v1/chat/completions?model=large", "large", {"model": "gpt"})
        assert await access.refused_by_url(broken, data) == "large"
        assert access.errors == 1


async def test_a_global_alias_does_not_stand_for_what_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(litellm, "model_alias_map", {"large": "small"})
    assert await refusals(key(models=["auto", "small"])) == [None, NO, NO]


@pytest.mark.parametrize(
    ("fields", "models", "status", "kind"),
    [
        ({"models": ["auto"]}, ("large", "small"), "403", "key_model_access_denied"),
        ({"team_id": "t", "team_models": ["auto"]}, ("large",), "403", "team_model_access_denied"),
        ({"models": ["small"], "model_max_budget": {"small": SPENT}}, ("large", "small"), None, "budget_exceeded"),
        ({}, ("large",), "403", "key_model_access_denied"),  # allowed by now: still an error of LiteLLM's kind
    ],
)
async def test_the_error_is_litellms(fields: dict[str, Any], models: tuple[str, ...], status: str, kind: str) -> None:
    with pytest.raises(ProxyException) as refused:
        await Access().refuse(key(**fields), models[0], asked(), models[1:])
    assert refused.value.type == kind
    assert refused.value.code == (status or str(litellm.budget_exceeded_status_code))
    assert status is None or f"'{models[0]}'" in refused.value.message


async def test_what_a_request_gets_as_it_is(monkeypatch: pytest.MonkeyPatch, router: Router) -> None:
    access, routed = Access(), {"auto", "best"}
    whose = key(models=["auto", "small"])
    assert await access.refused_as_it_is(whose, asked("auto"), routed) == "middle"
    assert await access.refused_as_it_is(key(models=["middle"]), asked("auto"), routed) is None
    monkeypatch.setitem(router.model_group_alias, "auto", "small")  # the operator's own word
    assert await access.refused_as_it_is(whose, asked("auto"), routed) is None
    for left in ("best", "large", "frontier", "", None, ["auto"]):  # no alias, or LiteLLM's business
        assert await access.refused_as_it_is(whose, {"model": left}, routed) is None


def test_a_rate_limit_is_an_error_of_its_own() -> None:
    limited = ProxyRateLimitError(detail="slow down")
    assert permits.is_used_up(limited)
    assert permits.client_error(limited) is limited
    assert permits.client_error(RuntimeError("no refusal")) is None


class TestFallbacks:
    """The router's own question before it falls back."""

    @staticmethod
    def kwargs(whose: Any, routing: Any, name: str = "metadata") -> dict[str, Any]:
        return {name: {"user_api_key_auth": whose, KEPT: routing}}

    @staticmethod
    def stamp(method: str = "auto") -> RoutingDecision:
        return RoutingDecision({"method": method, "original_model": "auto"})

    async def test_a_routed_request_stays_within_its_key(self, router: Router) -> None:
        access = Access()
        await access.refusal(key(), "small", asked())
        guard: Any = router.fallback_access_check
        assert isinstance(guard, FallbackGuard)
        whose = key(models=["auto", "small", "large"], model_max_budget={"large": SPENT})
        for place in ("metadata", "litellm_metadata"):
            arguments = self.kwargs(whose, self.stamp(), place)
            answers = [await guard(model=m, request_kwargs=arguments, llm_router=router) for m in MODELS]
            assert answers == [True, False, False]
        await access.refusal(key(), "small", asked())
        assert router.fallback_access_check is guard  # put there once

    async def test_what_was_not_routed_is_left_to_litellm(self, router: Router) -> None:
        guard = FallbackGuard(Access(), None)
        whose = key(models=["small"])
        for arguments in (
            {},
            {"metadata": None},
            self.kwargs(None, self.stamp()),
            self.kwargs(whose, None),
        ):
            assert await guard(model="large", request_kwargs=arguments, llm_router=router) is True
        # A name that was served as asked: the fallbacks from it are the gateway's, too.
        arguments = self.kwargs(whose, self.stamp("passthrough"))
        assert await guard(model="large", request_kwargs=arguments, llm_router=router) is False
        assert await guard(model="small", request_kwargs=arguments, llm_router=router) is True

    async def test_no_fallback_goes_above_the_tier_that_is_allowed(self, router: Router) -> None:
        stamp = self.stamp()
        stamp.beyond = frozenset(("large",))
        guard, arguments = FallbackGuard(Access(), None), self.kwargs(key(), stamp)
        assert await guard(model="large", request_kwargs=arguments, llm_router=router) is False
        assert await guard(model="small", request_kwargs=arguments, llm_router=router) is True

    async def test_a_clients_metadata_is_not_a_key(self, router: Router) -> None:
        forged = {"metadata": {"user_api_key_auth": {"models": []}, KEPT: {"method": "passthrough"}}}
        real = self.kwargs(key(models=["small"]), self.stamp(), "litellm_metadata")
        guard = FallbackGuard(Access(), None)
        assert await guard(model="large", request_kwargs={**forged, **real}, llm_router=router) is False

    async def test_litellms_own_no_is_kept(self, router: Router) -> None:
        async def no(**_: Any) -> bool:
            return False

        guard = FallbackGuard(Access(), no)
        assert await guard(model="small", request_kwargs=self.kwargs(key(), self.stamp()), llm_router=router) is False


@pytest.fixture
async def callback(make_gateway: Callable[..., Any]) -> AsyncIterator[GatewayCallback]:
    made = GatewayCallback(make_gateway(session={"enabled": False}))  # each request by itself
    yield made
    await made.lifecycle.stop()


@pytest.mark.parametrize("broken", ["begin", "choose", "decision"])
async def test_whatever_fails_within_stays_within_the_key(
    callback: GatewayCallback, broken: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(callback.gateway, broken, fail)
    body = {"messages": [{"role": "user", "content": "hi"}]}
    with pytest.raises(ProxyException) as refused:
        await callback.async_pre_call_hook(key(models=["auto"]), None, asked(**body), "acompletion")
    assert refused.value.code == "403"
    data = asked(**body)
    await callback.async_pre_call_hook(key(models=["auto", "small", "middle"]), None, data, "acompletion")
    assert data["model"] in ("auto", "small")  # LiteLLM takes `auto` for `middle`
    assert callback.errors == 2


GRANTS = st.lists(
    st.sampled_from([*MODELS, "auto", "best", "cheap", "frontier", "s*", "*l*", "*", "all-proxy-models", "cheap-ones"]),
    max_size=4,
)
KEYS = st.fixed_dictionaries(
    {"models": GRANTS},
    optional={
        "team_id": st.just("t"),
        "team_models": GRANTS,
        "aliases": st.dictionaries(st.sampled_from(MODELS), st.sampled_from(MODELS), max_size=2),
        "team_model_aliases": st.dictionaries(st.sampled_from(MODELS), st.sampled_from(MODELS), max_size=2),
        "model_max_budget": st.dictionaries(st.sampled_from(MODELS), st.just(SPENT), max_size=2),
    },
)


def grants(entries: list[str], model: str) -> bool:
    """What a list of models means, in a few words of our own: the oracle."""
    names = {"*", "all-proxy-models", model, *(["cheap-ones"] if model == "small" else [])}
    return not entries or not names.isdisjoint(entries) or any(fnmatchcase(model, e) for e in entries if "*" in e)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(fields=KEYS, name=st.sampled_from(["auto", "best", "cheap"]))
async def test_what_is_chosen_is_always_allowed(callback: GatewayCallback, fields: Any, name: str) -> None:
    data = asked(name, messages=[{"role": "user", "content": "Prove the theorem, derive the bound."}])
    allowed = [
        model
        for model in MODELS
        if grants(fields["models"], model)
        and ("team_id" not in fields or grants(fields.get("team_models", []), model))
        and model not in fields.get("model_max_budget", {})
    ]
    try:
        await callback.async_pre_call_hook(key(**fields), None, data, "acompletion")
    except ProxyException:
        assert not allowed
        assert data["model"] == name
    else:
        assert data["model"] in allowed
        if name != "auto":  # the most or the least that the key may use
            assert data["model"] == (allowed[0] if name == "cheap" else allowed[-1])
    assert callback.access.errors == callback.errors == 0
