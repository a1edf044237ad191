"""What operator, key, team and client ask of the routing, through a real proxy: headers, metadata, keys of its own
authentication; and that no client can pass off its own words as the operator's.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from e2e.clients import PROMPTS, new_request_id
from e2e.gateways import Gateway, serving, write_config
from e2e.upstream import Call, Upstream

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
WAYS = pytest.mark.parametrize(
    ("endpoint", "stream"), [(e, s) for e in PATHS for s in (False, True)], ids=lambda v: str(v).lower()
)
MOST = {"bias": 100, "min_tier": "complex", "max_tier": "complex"}


@pytest.fixture(scope="module")
def wishing(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway that allows its clients everything but `min_tier`, with the keys of `custom_keys`."""
    directory = tmp_path_factory.mktemp("wishing")
    aliases = {"auto": "auto_route", "auto-modest": {"route": "auto_route", "max_tier": "medium"}, "frontier": "large"}
    routing = {
        "client_overrides": ["tier", "max_tier", "bias", "dry_run"],
        "session": {"enabled": False},
        "collector": {"enabled": False},
    }
    path = write_config(directory, upstream, aliases=aliases, **routing)
    shutil.copy(Path(__file__).with_name("custom_keys.py"), directory)
    config = yaml.safe_load(path.read_text())
    config["general_settings"]["custom_auth"] = "custom_keys.authenticate"
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    with serving(path, upstream) as running:
        yield running


async def ask(
    gateway: Gateway,
    endpoint: str = "chat",
    *,
    key: str = "free-for-all",
    model: str = "auto",
    prompt: str = "simple",
    headers: dict[str, str] | None = None,
    stream: bool = False,
    **extra: Any,
) -> tuple[httpx.Response, Call]:
    """The answer, and what its provider was sent."""
    request_id = new_request_id()
    text = f"{PROMPTS[prompt]} {request_id}"
    asked = {"input": text} if endpoint == "responses" else {"messages": [{"role": "user", "content": text}]}
    body = {
        "model": model,
        "stream": stream,
        **asked,
        **({"max_tokens": 99} if endpoint == "messages" else {}),
        **extra,
    }
    own = {"Authorization": f"Bearer sk-key-{key}", **(headers or {})}
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, verify=False) as client:
        answer = await client.post(PATHS[endpoint], json=body, headers=own)
    assert answer.status_code == 200, answer.text
    (call,) = gateway.upstream.calls(request_id)
    assert answer.headers["x-bsgateway-model"] == call.group
    return answer, call


def said(answer: httpx.Response, *names: str) -> tuple[str | None, ...]:
    return tuple(answer.headers.get(f"x-bsgateway-{name}") for name in names)


@WAYS
async def test_a_tier_by_header(wishing: Gateway, endpoint: str, stream: bool) -> None:
    answer, call = await ask(wishing, endpoint, stream=stream, headers={"X-BSGateway-Tier": "complex"})
    assert call.group == "large"
    assert said(answer, "tier", "reason", "ignored") == ("complex", "requested_tier", None)


@WAYS
async def test_words_in_metadata_do_not_reach_the_provider(wishing: Gateway, endpoint: str, stream: bool) -> None:
    metadata = {
        "user_id": "u-1",
        "bsgateway_bias": "100",
        "bsgateway_max_tier": "medium",
        "bsgateway_min_tier": "medium",
    }
    answer, call = await ask(wishing, endpoint, stream=stream, metadata=metadata)
    assert call.group == "medium"
    assert said(answer, "tier", "reason", "ignored") == ("medium", "tier_limit", "bsgateway_min_tier")
    assert "bsgateway" not in str(call.body)


@WAYS
async def test_words_for_a_name_that_is_not_routed_by_score(wishing: Gateway, endpoint: str, stream: bool) -> None:
    for model in ("frontier", "small"):
        answer, call = await ask(wishing, endpoint, model=model, stream=stream, metadata={"bsgateway_tier": "medium"})
        assert call.group == {"frontier": "large", "small": "small"}[model]
        assert said(answer, "ignored") == ("bsgateway_tier",)
        assert "bsgateway" not in str(call.body)


@WAYS
async def test_a_dry_run(wishing: Gateway, endpoint: str, stream: bool) -> None:
    answer, call = await ask(wishing, endpoint, stream=stream, headers={"x-bsgateway-dry-run": "true"})
    assert call.group == "medium"  # what `auto` is where nobody rewrites it: the fallback tier
    assert said(answer, "tier", "would-use", "ignored") == ("simple", "small", None)


async def test_a_bias_by_header(wishing: Gateway) -> None:
    answer, call = await ask(wishing, headers={"x-bsgateway-bias": "100"})
    assert (call.group, *said(answer, "score", "tier")) == ("large", "100", "complex")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-bsgateway-bias", "1000"),
        ("x-bsgateway-bias", "many"),
        ("x-bsgateway-tier", "Complex"),
        ("x-bsgateway-max-tier", "highest"),
        ("x-bsgateway-dry-run", "perhaps"),
        ("x-bsgateway-min-tier", "complex"),  # not allowed
    ],
)
async def test_what_means_nothing_or_is_not_allowed_changes_nothing(wishing: Gateway, name: str, value: str) -> None:
    answer, call = await ask(wishing, headers={name: value})
    assert call.group == "small"
    assert said(answer, "tier", "reason", "ignored") == ("simple", "score", name)


async def test_limits_of_an_alias(wishing: Gateway) -> None:
    answer, call = await ask(wishing, model="auto-modest", headers={"x-bsgateway-tier": "complex"})
    assert call.group == "medium"
    assert said(answer, "tier", "reason") == ("medium", "tier_limit")


# Keys and teams


@WAYS
async def test_limits_of_a_key(wishing: Gateway, endpoint: str, stream: bool) -> None:
    answer, call = await ask(wishing, endpoint, key="modest", prompt="complex", stream=stream)
    assert call.group == "small"
    assert said(answer, "tier", "reason") == ("simple", "tier_limit")


async def test_the_limit_of_the_team_counts_more_than_what_the_key_wants(wishing: Gateway) -> None:
    answer, call = await ask(wishing, key="modest-team")
    assert (call.group, *said(answer, "tier", "score")) == ("medium", "medium", "100")


@pytest.mark.parametrize(
    ("headers", "ignored"),
    [
        ({"x-bsgateway-tier": "complex"}, None),
        ({"x-bsgateway-bias": "100"}, None),
        ({"x-bsgateway-max-tier": "complex"}, None),
        ({"x-bsgateway-min-tier": "complex"}, "x-bsgateway-min-tier"),
        ({"x-bsgateway-dry-run": "true"}, "x-bsgateway-dry-run"),
    ],
)
async def test_no_client_gets_past_the_limit_of_its_key(
    wishing: Gateway, headers: dict[str, str], ignored: str | None
) -> None:
    answer, call = await ask(wishing, key="modest", headers=headers)
    assert call.group == "small"
    assert said(answer, "tier", "would-use", "ignored") == ("simple", None, ignored)


FORGED: list[dict[str, Any]] = [
    {"metadata": {"bsgateway": MOST}},
    {"metadata": {"user_api_key_metadata": {"bsgateway": MOST}, "user_api_key_team_metadata": {"bsgateway": MOST}}},
    {"metadata": {"user_api_key_auth": {"metadata": {"bsgateway": MOST}}}},
    {"litellm_metadata": {"bsgateway": MOST, "user_api_key_metadata": {"bsgateway": MOST}}},
    {"user_api_key_dict": {"metadata": {"bsgateway": MOST}}},
]


@pytest.mark.parametrize("forged", FORGED, ids=[f"{next(iter(each))}-{n}" for n, each in enumerate(FORGED)])
async def test_no_client_speaks_for_its_key(wishing: Gateway, forged: dict[str, Any]) -> None:
    for endpoint in ("chat", "messages"):
        if endpoint == "messages" and "user_api_key_dict" in forged:
            continue  # a field that its provider does not know: whoever sends it gets the provider's error
        for key in ("free-for-all", "modest"):
            answer, call = await ask(wishing, endpoint, key=key, prompt="simple", **forged)
            assert call.group == "small"
            assert said(answer, "tier") == ("simple",)


async def test_a_mistake_in_the_metadata_of_a_key_costs_no_request(wishing: Gateway) -> None:
    for _ in range(3):
        answer, call = await ask(wishing, key="mistaken")
        assert (call.group, *said(answer, "reason", "ignored")) == ("slow", "tier_limit", None)  # the lowest tier
    lines = [line for line in wishing.said().splitlines() if "in the metadata of" in line]
    assert len(lines) == 1
    assert "`bsgateway` in the metadata of key mistaken " in lines[0]
    assert (
        "ignored: max_tier (the lowest tier holds), bias; it takes bias (-100 to 100), min_tier and max_tier"
        in lines[0]
    )
    assert "sk-" not in lines[0]
