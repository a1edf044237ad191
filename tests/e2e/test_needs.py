"""What a request needs against what the models can do, through a real proxy: images, tools, schemas, long contexts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from e2e.clients import new_request_id
from e2e.gateways import KEY, Gateway, serving, write_config
from e2e.upstream import Plan, Upstream

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
WINDOW = 2_000
"""Tokens that `small` holds."""

EVERY = [(api, stream) for api in PATHS for stream in (False, True)]
every_api = pytest.mark.parametrize(
    ("api", "stream"), EVERY, ids=[f"{a}-{'stream' if s else 'whole'}" for a, s in EVERY]
)


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """`small` can do nothing but text, and holds little; `medium` and `large` are as LiteLLM knows them."""
    directory = tmp_path_factory.mktemp("needs")
    path = write_config(directory, upstream, collector={"enabled": False})
    config = yaml.safe_load(path.read_text())
    for entry in config["model_list"]:
        if entry["model_name"] == "small":
            entry["model_info"] |= {"max_input_tokens": WINDOW, "supports_vision": False}
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    with serving(path, upstream) as running:
        yield running


def body(api: str, text: str, **needs: Any) -> dict[str, Any]:
    """An easy request in one of the three formats. `image`, `pdf`, `tools` and `schema` add what is needed."""
    parts: list[dict[str, Any]] = [{"type": "input_text" if api == "responses" else "text", "text": text}]
    made: dict[str, Any] = {"model": "auto"}
    if needs.get("image"):
        source = {"type": "base64", "media_type": "image/png", "data": PIXEL}
        url = f"data:image/png;base64,{PIXEL}"
        parts.append(
            {
                "chat": {"type": "image_url", "image_url": {"url": url}},
                "messages": {"type": "image", "source": source},
                "responses": {"type": "input_image", "image_url": url},
            }[api]
        )
    if needs.get("tools"):
        named = {"name": "weather", "description": "The weather of a city."}
        made["tools"] = {
            "chat": [{"type": "function", "function": {**named, "parameters": SCHEMA}}],
            "messages": [{**named, "input_schema": SCHEMA}],
            "responses": [{"type": "function", **named, "parameters": SCHEMA}],
        }[api]
    if needs.get("schema"):
        form = {"type": "json_schema", "name": "place", "schema": SCHEMA, "strict": True}
        made |= {
            "chat": {"response_format": {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}},
            "messages": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            "responses": {"text": {"format": form}},
        }[api]
    if api == "messages":
        made["max_tokens"] = 1500
    return {**made, ("input" if api == "responses" else "messages"): [{"role": "user", "content": parts}]}


async def ask(gateway: Gateway, api: str, made: dict[str, Any], stream: bool) -> httpx.Headers:
    """Send it; the headers of the answer, which must be a good one."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, headers=headers) as client:
        answer = await client.post(PATHS[api], json={**made, "stream": stream})
    assert answer.status_code == 200, answer.text
    return answer.headers


@every_api
async def test_without_needs_the_small_one_answers(
    gateway: Gateway, upstream: Upstream, api: str, stream: bool
) -> None:
    marker = new_request_id()
    headers = await ask(gateway, api, body(api, f"List the planets. {marker}"), stream)
    assert (headers["x-bsgateway-model"], headers["x-bsgateway-reason"]) == ("small", "score")
    assert [call.group for call in upstream.calls(marker)] == ["small"]


@every_api
@pytest.mark.parametrize("need", ["image", "tools", "schema"])
async def test_what_the_small_one_cannot_do(
    gateway: Gateway, upstream: Upstream, api: str, stream: bool, need: str
) -> None:
    marker = new_request_id()
    headers = await ask(gateway, api, body(api, f"Where is this? {marker}", **{need: True}), stream)
    assert (headers["x-bsgateway-model"], headers["x-bsgateway-tier"]) == ("medium", "medium")
    assert headers["x-bsgateway-reason"] == "needs"
    assert [call.group for call in upstream.calls(marker)] == ["medium"]


@every_api
async def test_what_the_small_one_cannot_hold(gateway: Gateway, upstream: Upstream, api: str, stream: bool) -> None:
    marker = new_request_id()
    text = f"{marker} " + "apple pear plum " * WINDOW
    made = body(api, "Thanks.")
    said = made["input" if api == "responses" else "messages"]
    history = {"role": "user", "content": text}, {"role": "assistant", "content": "A list of fruit."}
    said[:0] = history
    headers = await ask(gateway, api, made, stream)
    assert (headers["x-bsgateway-model"], headers["x-bsgateway-reason"]) == ("medium", "context_window")
    assert [call.group for call in upstream.calls(marker)] == ["medium"]


async def test_a_request_that_nobody_can_serve_goes_on_unchanged(gateway: Gateway, upstream: Upstream) -> None:
    marker = new_request_id()
    made = body("chat", f"What is said here? {marker}")
    made["messages"][0]["content"].append({"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}})
    headers = await ask(gateway, "chat", made, False)
    assert headers["x-bsgateway-reason"] == "no_candidate"
    # LiteLLM takes `auto` for the model of the fallback tier.
    assert [call.group for call in upstream.calls(marker)] == ["medium"]
    assert headers["x-bsgateway-model"] == "medium"


@every_api
async def test_a_fallback_can_do_it_too(gateway: Gateway, upstream: Upstream, api: str, stream: bool) -> None:
    marker = new_request_id()
    upstream.plan(marker, Plan(status=500), "medium")
    headers = await ask(gateway, api, body(api, f"What is this? {marker}", image=True), stream)
    assert headers["x-bsgateway-model"] == "large"
    assert [call.group for call in upstream.calls(marker)] == ["medium", "large"]


async def test_no_fallback_to_a_model_that_cannot(gateway: Gateway, upstream: Upstream) -> None:
    marker = new_request_id()
    upstream.plan(marker, Plan(status=500), "medium", "large")
    made = body("chat", f"What is this? {marker}", image=True)
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60) as client:
        answer = await client.post(PATHS["chat"], json=made, headers={"Authorization": f"Bearer {KEY}"})
    assert answer.status_code == 500
    assert "small" not in [call.group for call in upstream.calls(marker)]
    # Without the image it may, and does.
    marker = new_request_id()
    upstream.plan(marker, Plan(status=500), "medium", "large")
    made = body("chat", f"Refactor this module and write unit tests for it. {marker}")
    headers = await ask(gateway, "chat", made, False)
    assert headers["x-bsgateway-model"] == "small"
    assert (headers["x-bsgateway-tier"], headers["x-bsgateway-reason"]) == ("medium", "score")


def test_the_answer_of_check_names_what_nobody_knows(gateway: Gateway) -> None:
    said = gateway.said()
    assert "small" in said
    assert "supports_function_calling" in said
    assert str(Path(gateway.config).name) in said


@pytest.mark.parametrize(
    ("ask", "group"),
    [
        ("Prove it. Design a distributed rate limiter; analyze race conditions.", "large"),
        ("Refactor this module and write unit tests for it.", "medium"),
    ],
)
async def test_an_answer_that_is_gone_on_from_is_of_who_gave_it(
    gateway: Gateway, upstream: Upstream, ask: str, group: str
) -> None:
    """No session id, no history: the id of the answer is all that LiteLLM is sent."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, headers=headers) as client:
        first = await client.post(PATHS["responses"], json={"model": "auto", "input": ask})
        assert first.headers["x-bsgateway-model"] == group
        marker = new_request_id()
        more = {"model": "auto", "input": f"Thanks. {marker}", "previous_response_id": first.json()["id"]}
        second = await client.post(PATHS["responses"], json=more)
    assert second.headers["x-bsgateway-model"] == group, second.text
    assert [call.group for call in upstream.calls(marker)] == [group]
