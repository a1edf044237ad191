"""`auto` never reaches what its key may not reach by name: keys of an operator's own authentication, a real proxy.

LiteLLM itself says what a key may do: each refusal is compared with the one for the model's own name.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from e2e.clients import PROMPTS, new_request_id
from e2e.gateways import Gateway, serving, write_config
from e2e.records import until
from e2e.upstream import Plan, Upstream

ALIASES: dict[str, Any] = {
    "auto": "auto_route",
    "auto-hard": {"route": "auto_route", "bias": 100},  # to the tier of `large`
    "frontier": "large",
}
ENDPOINTS = ("chat", "messages", "responses")
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
WAYS = pytest.mark.parametrize(
    ("endpoint", "stream"), [(e, s) for e in ENDPOINTS for s in (False, True)], ids=lambda v: str(v).lower()
)


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """`bsgateway serve` with the keys of `custom_keys`, which LiteLLM checks as it does those of its database."""
    directory = tmp_path_factory.mktemp("keyed")
    overrides = {"client_overrides": ["dry_run"], "session": {"enabled": False}, "collector": {"enabled": False}}
    path = write_config(directory, upstream, aliases=ALIASES, **overrides)
    shutil.copy(Path(__file__).with_name("custom_keys.py"), directory)
    config = yaml.safe_load(path.read_text())
    config["general_settings"].update(custom_auth="custom_keys.authenticate", custom_auth_run_common_checks=True)
    config["litellm_settings"]["enable_post_custom_auth_checks"] = True
    config["router_settings"] = {"disable_cooldowns": True}  # providers that fail in one test serve the next
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    with serving(path, upstream) as running:
        yield running


def body(endpoint: str, model: str, prompt: str, stream: bool = False, **extra: Any) -> dict[str, Any]:
    """A request of this format."""
    asked = {"input": prompt} if endpoint == "responses" else {"messages": [{"role": "user", "content": prompt}]}
    limit = {"max_output_tokens": 99} if endpoint == "responses" else {"max_tokens": 99}
    return {"model": model, "stream": stream, **asked, **limit, **extra}


async def post(gateway: Gateway, key: str, path: str, json: dict[str, Any], **headers: str) -> httpx.Response:
    """Ask with the key of this name."""
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, verify=False) as client:
        return await client.post(path, json=json, headers={"Authorization": f"Bearer sk-key-{key}", **headers})


async def ask(
    gateway: Gateway, key: str, model: str, endpoint: str = "chat", stream: bool = False, **extra: Any
) -> tuple[httpx.Response, list[str]]:
    """The answer, and the groups whose provider was called."""
    request_id = new_request_id()
    sent = body(endpoint, model, f"{PROMPTS['simple']} {request_id}", stream, **extra)
    answer = await post(gateway, key, PATHS[endpoint], sent)
    return answer, [call.group for call in gateway.upstream.calls(request_id)]


def message(answer: httpx.Response) -> str:
    """What an error says."""
    said: str = answer.json()["error"]["message"]
    return said


@WAYS
@pytest.mark.parametrize("key", ["all", "free-for-all"])
async def test_a_key_that_may_use_all_gets_the_best(keyed: Gateway, key: str, endpoint: str, stream: bool) -> None:
    answer, groups = await ask(keyed, key, "auto-hard", endpoint, stream)
    assert (answer.status_code, groups) == (200, ["large"])
    assert (answer.headers["x-bsgateway-model"], answer.headers["x-bsgateway-reason"]) == ("large", "score")


@WAYS
@pytest.mark.parametrize(
    ("key", "group", "reason"),
    [
        ("no-frontier", "medium", "not_allowed"),
        ("small-only", "small", "not_allowed"),
        ("team", "medium", "not_allowed"),
        ("spent", "medium", "over_budget"),
        ("team-spent", "medium", "over_budget"),
    ],
)
async def test_a_key_gets_the_best_that_it_may_use_and_pay_for(
    keyed: Gateway, key: str, group: str, reason: str, endpoint: str, stream: bool
) -> None:
    answer, groups = await ask(keyed, key, "auto-hard", endpoint, stream)
    assert (answer.status_code, groups) == (200, [group])
    assert (answer.headers["x-bsgateway-model"], answer.headers["x-bsgateway-reason"]) == (group, reason)


@WAYS
async def test_a_key_that_may_use_none_gets_litellms_403(keyed: Gateway, endpoint: str, stream: bool) -> None:
    answer, groups = await ask(keyed, "auto-only", "auto-hard", endpoint, stream)
    by_name, _ = await ask(keyed, "auto-only", "large", endpoint, stream)
    assert groups == []
    assert answer.status_code == by_name.status_code == 403
    assert message(answer) == message(by_name)
    if endpoint == "messages":  # LiteLLM answers in Anthropic's form, except at authentication
        assert answer.json()["type"] == "error"
        assert answer.json()["error"]["type"] == "permission_error"
    else:
        assert answer.json() == by_name.json()


@WAYS
async def test_a_key_whose_budgets_are_used_up_gets_litellms_error(keyed: Gateway, endpoint: str, stream: bool) -> None:
    answer, groups = await ask(keyed, "all-spent", "auto-hard", endpoint, stream)
    by_name, _ = await ask(keyed, "all-spent", "medium", endpoint, stream)
    assert groups == []
    assert answer.status_code == by_name.status_code != 200
    assert message(answer) == message(by_name)


@pytest.mark.parametrize("key", ["aliased", "team-aliased"])
async def test_an_alias_of_the_key_does_not_stand_for_what_was_chosen(keyed: Gateway, key: str) -> None:
    # By name it would get `small`, whatever it asks for; the choice is made after aliases were looked up.
    answer, groups = await ask(keyed, key, "auto-hard")
    assert (answer.status_code, groups) == (200, ["small"])


@pytest.mark.parametrize("key", ["spent", "team-spent"])
async def test_a_name_that_stands_for_a_model_keeps_its_budget(keyed: Gateway, key: str) -> None:
    answer, groups = await ask(keyed, key, "frontier")
    assert (answer.status_code != 200, groups) == (True, [])
    assert "budget" in message(answer).lower()
    answer, groups = await ask(keyed, "all", "frontier")
    assert (answer.status_code, groups) == (200, ["large"])


async def test_a_budget_that_runs_out_is_noticed(keyed: Gateway) -> None:
    assert (await ask(keyed, "spends", "auto"))[1] == ["small"]

    async def moved() -> bool:  # LiteLLM counts what a request has cost after its answer
        answer, groups = await ask(keyed, "spends", "auto")
        assert answer.status_code == 200
        return groups == ["medium"] and answer.headers["x-bsgateway-reason"] == "over_budget"

    await until("the next model", moved)


async def test_a_rate_limit_for_a_model_moves_the_request(keyed: Gateway) -> None:
    assert (await ask(keyed, "slow", "auto"))[1] == ["small"]
    answer, groups = await ask(keyed, "slow", "auto")
    assert (answer.status_code, groups) == (200, ["medium"])


async def test_a_rate_limit_for_the_only_model_is_a_429(keyed: Gateway) -> None:
    assert (await ask(keyed, "slow-only", "auto"))[1] == ["small"]
    answer, groups = await ask(keyed, "slow-only", "auto")
    assert (answer.status_code, groups) == (429, [])


@WAYS
@pytest.mark.parametrize("name", ["auto", "small"])
async def test_litellms_fallback_from_a_rate_limit_stays_within_the_key(
    keyed: Gateway, name: str, endpoint: str, stream: bool
) -> None:
    # LiteLLM sends a request that its own limiter stops to the next model, and does not check that one.
    answer, groups = await ask(keyed, "small-tokens", name, endpoint, stream)
    assert (answer.status_code, groups) == (429, [])
    answer, groups = await ask(keyed, "few-tokens", name, endpoint, stream)
    assert (answer.status_code, groups) == (200, ["medium"])
    assert (answer.headers["x-bsgateway-model"], answer.headers["x-bsgateway-method"]) == (
        "medium",
        "auto" if name == "auto" else "passthrough",
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize(
    ("key", "groups"),
    [
        ("all", ["large", "medium"]),
        ("no-frontier", ["medium", "small"]),  # not `large`, the first that the configuration falls back to
        ("spent", ["medium"]),
        ("team", ["medium"]),
    ],
)
async def test_a_fallback_stays_within_the_key(keyed: Gateway, key: str, groups: list[str], stream: bool) -> None:
    request_id = new_request_id()
    keyed.upstream.plan(request_id, Plan(status=503), groups[0])
    sent = body("chat", "auto-hard", f"{PROMPTS['simple']} {request_id}", stream)
    answer = await post(keyed, key, PATHS["chat"], sent)
    assert [call.group for call in keyed.upstream.calls(request_id)] == groups
    assert (answer.status_code == 200) == (len(groups) > 1)


CLIENTS_OWN: dict[str, dict[str, Any]] = {
    "fallbacks": {"fallbacks": ["large"]},
    "context_window_fallbacks": {"context_window_fallbacks": [{"medium": ["large"]}]},
    "a list of names": {"model": "auto-hard,large"},
    "a real list": {"model": ["auto-hard", "large"]},
    "metadata": {"metadata": {"user_api_key_auth": {"models": []}, "user_api_key_models": []}},
    "litellm_metadata": {"litellm_metadata": {"user_api_key_auth": {"models": []}}},
    "user_config": {"user_config": {"model_list": [{"model_name": "auto-hard", "litellm_params": {"model": "large"}}]}},
}


@pytest.mark.parametrize("endpoint", ENDPOINTS)
@pytest.mark.parametrize("name", CLIENTS_OWN)
async def test_nothing_a_client_sends_widens_its_key(keyed: Gateway, endpoint: str, name: str) -> None:
    for key in ("no-frontier", "team", "auto-only"):
        request_id = new_request_id()
        keyed.upstream.plan(request_id, Plan(status=503), "medium")
        extra = dict(CLIENTS_OWN[name])
        model = extra.pop("model", "auto-hard")
        sent = body(endpoint, model, f"{PROMPTS['simple']} {request_id}", **extra)
        await post(keyed, key, PATHS[endpoint], sent, **{"x-litellm-tags": "large", "x-litellm-model": "large"})
        reached = {call.group for call in keyed.upstream.calls(request_id)}
        assert "large" not in reached, (key, reached)
        assert key != "auto-only" or not reached


@WAYS
async def test_what_is_not_rewritten_stays_within_the_key(keyed: Gateway, endpoint: str, stream: bool) -> None:
    # As it is, `auto` is an alias of LiteLLM's router for the fallback tier's model, which these keys may not use.
    for key in ("small-only", "auto-only"):
        request_id = new_request_id()
        sent = body(endpoint, "auto-hard", f"{PROMPTS['simple']} {request_id}", stream)
        answer = await post(keyed, key, PATHS[endpoint], sent, **{"x-bsgateway-dry-run": "true"})
        assert answer.status_code == 403, answer.text
        assert keyed.upstream.calls(request_id) == []
    sent = body(endpoint, "auto-hard", PROMPTS["simple"], stream)
    answer = await post(keyed, "no-frontier", PATHS[endpoint], sent, **{"x-bsgateway-dry-run": "true"})
    assert answer.status_code == 200


async def test_what_no_model_can_do_stays_within_the_key(keyed: Gateway) -> None:
    audio = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}}
    for key, status in (("small-only", 403), ("auto-only", 403), ("all", 200)):
        request_id = new_request_id()
        content = [{"type": "text", "text": f"Write down what is said. {request_id}"}, audio]
        sent = {"model": "auto-hard", "messages": [{"role": "user", "content": content}]}
        answer = await post(keyed, key, PATHS["chat"], sent)
        assert answer.status_code == status, answer.text
        assert [call.group for call in keyed.upstream.calls(request_id)] == (["medium"] if status == 200 else [])


async def test_what_is_not_routed_stays_within_the_key(keyed: Gateway) -> None:
    request_id = new_request_id()
    answer = await post(keyed, "auto-only", "/v1/embeddings", {"model": "auto", "input": request_id})
    assert answer.status_code == 403, answer.text
    assert keyed.upstream.calls(request_id) == []


async def test_errors_do_not_quote_the_prompt(keyed: Gateway) -> None:
    answer, _ = await ask(keyed, "auto-only", "auto-hard")
    assert "planets" not in json.dumps(answer.json())
