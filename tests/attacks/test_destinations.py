"""Where a request goes and in whose name, by LiteLLM's own objects: each leave of the operator holds for the model that
it was given for. `test_proxy_addresses` is the same through a real proxy."""

from __future__ import annotations

from typing import Any

import pytest
from litellm import Router
from litellm.proxy import proxy_server
from litellm.proxy._types import ProxyException, UserAPIKeyAuth

from bsgateway import permits
from bsgateway.access import Access
from bsgateway.decision import Reason

MODELS = ("small", "opened", "regional")
EVIL = "http://evil.example"


@pytest.fixture(autouse=True)
def router(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy whose operator lets clients say the address of one model, and of another within its region."""
    leave: dict[str, list[Any]] = {"opened": ["api_base"], "regional": [{"api_base": r"https://eu\.example/.*$"}]}
    models = [
        {
            "model_name": name,
            "litellm_params": {
                "model": f"openai/{name}",
                "api_key": "none",
                **({"configurable_clientside_auth_params": leave[name]} if name in leave else {}),
            },
        }
        for name in MODELS
    ]
    monkeypatch.setattr(proxy_server, "llm_router", Router(model_list=models))
    monkeypatch.setattr(proxy_server, "prisma_client", None)
    monkeypatch.setattr(proxy_server, "general_settings", {})


async def allowed(**said: Any) -> list[str]:
    """The models to which a request that says this may go, with a key that may use all."""
    access, found = Access(), []
    for model in MODELS:
        data = {"model": "auto", **said, "proxy_server_request": {"body": {"model": "auto", **said}}}
        reason = await access.refusal(UserAPIKeyAuth(api_key="sk-one"), model, data)
        assert reason in (None, Reason.NOT_ALLOWED)
        found += [model] if reason is None else []
    assert access.errors == 0
    return found


@pytest.mark.parametrize(
    ("said", "models"),
    [
        ({}, [*MODELS]),
        ({"api_key": "sk-of-the-client"}, [*MODELS]),
        ({"api_base": None, "custom_llm_provider": None}, [*MODELS]),  # as clients write what they do not say
        ({"metadata": {"api_base": EVIL}, "langfuse_host": EVIL}, [*MODELS]),  # no destinations of the call
        ({"api_base": EVIL}, ["opened"]),
        ({"api_base": "https://eu.example/v1"}, ["opened", "regional"]),
        ({"api_base": f"{EVIL}/https://eu.example/v1"}, ["opened"]),
        ({"base_url": EVIL}, []),
        ({"api_base": EVIL, "base_url": EVIL}, []),
        ({"custom_llm_provider": "openai"}, []),
        ({"account_id": "evil"}, []),
        ({"vertex_credentials": "{}"}, []),
        ({"aws_role_name": "arn:aws:iam::1:role/admin"}, []),
        ({"user_config": {}}, []),
    ],
    ids=str,
)
async def test_leave_is_for_one_model(said: dict[str, Any], models: list[str]) -> None:
    assert await allowed(**said) == models


@pytest.mark.parametrize("name", ["api_base", "base_url", "vertex_credentials", "custom_llm_provider"])
async def test_leave_for_all_models_takes_a_key_of_the_clients_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxy_server, "general_settings", {"allow_client_side_credentials": True})
    assert "small" not in await allowed(**{name: EVIL})
    assert "small" not in await allowed(**{name: EVIL, "api_key": ""})
    assert await allowed(**{name: EVIL, "api_key": "sk-of-the-client"}) == [*MODELS]


async def test_an_address_of_the_operators_own_goes_everywhere() -> None:
    """LiteLLM puts the address and key of a team's `model_config` into a request, after it has noted what was sent."""
    ours = {"api_base": "https://team.example/v1", "api_key": "sk-of-the-team"}
    data = {"model": "auto", **ours, "proxy_server_request": {"body": {"model": "auto"}}}
    whose = UserAPIKeyAuth(api_key="sk-one")
    assert [await Access().refusal(whose, model, data) for model in MODELS] == [None, None, None]
    unsaid = {"model": "auto", **ours}  # nobody noted what was sent: then it counts as the client's
    assert await Access().refusal(whose, "small", unsaid) is Reason.NOT_ALLOWED


async def test_the_error_says_what_is_not_allowed() -> None:
    data = {"model": "auto", "api_base": EVIL}
    with pytest.raises(ProxyException) as caught:
        await Access().refuse(UserAPIKeyAuth(api_key="sk-one"), "small", data)
    assert (caught.value.code, caught.value.param) == ("403", "api_base")
    assert EVIL not in caught.value.message


def test_what_litellm_refuses_is_what_is_looked_at() -> None:
    """A release that renames its list would leave nothing to look at."""
    assert {"api_base", "base_url", "user_config", "vertex_credentials", "azure_ad_token"} <= permits._CLIENTS_OWN
    assert {"fallbacks", "context_window_fallbacks", "content_policy_fallbacks"} <= permits._FALLBACKS
