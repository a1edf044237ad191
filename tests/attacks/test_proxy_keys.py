"""Keys that want more than they may have, through a real proxy: by `auto`, by overrides, aliases, fallbacks, a conversation
that another key began, and second answers. Whatever they send, no provider is called that they may not use by name."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from attacks.proxied import PATHS, Proxy, ask, body, post, reached
from e2e.clients import PROMPTS, new_request_id
from e2e.records import until
from e2e.upstream import Plan

WORDS: dict[str, dict[str, str]] = {
    "tier": {"x-bsgateway-tier": "complex"},
    "min_tier": {"x-bsgateway-min-tier": "complex"},
    "bias": {"x-bsgateway-bias": "100"},
    "all": {"x-bsgateway-tier": "complex", "x-bsgateway-max-tier": "complex", "x-bsgateway-bias": "100"},
    "dry run": {"x-bsgateway-dry-run": "true"},
    "litellm's": {"x-litellm-tags": "large", "x-litellm-model": "large", "x-litellm-agent-id": "large"},
}
FALLBACKS: dict[str, dict[str, Any]] = {
    "names": {"fallbacks": ["large"]},
    "objects": {"fallbacks": [{"model": "large"}]},
    "by model": {"fallbacks": [{"small": ["large"]}, {"medium": ["large"]}, {"*": ["large"]}]},
    "context window": {"context_window_fallbacks": [{"small": ["large"]}]},
    "content policy": {"content_policy_fallbacks": [{"small": ["large"]}]},
    "router settings": {
        "router_settings_override": {"fallbacks": [{"small": ["large"]}], "model_group_alias": {"small": "large"}}
    },
    "an alias": {"model_group_alias": {"small": "large"}, "fallbacks": ["frontier"]},
    "a nested list": {"fallbacks": [{"model": "small", "fallbacks": ["large"]}]},
}
IDENTITIES: dict[str, dict[str, Any]] = {
    "auth": {"metadata": {"user_api_key_auth": {"models": []}, "user_api_key_models": []}},
    "metadata": {"metadata": {"user_api_key_metadata": {"bsgateway": {"min_tier": "complex"}}}},
    "litellm_metadata": {"litellm_metadata": {"user_api_key_auth": {"models": []}, "model_group": "large"}},
    "key": {"user_api_key_dict": {"models": []}, "user_api_key": "sk-key-all"},
    "stamp": {"metadata": {"bsgateway_decision": {"resolved_model": "large"}, "routing_decision": {"tier": "complex"}}},
    "model_info": {"model_info": {"id": "large", "access_groups": ["all"]}},
}
RESTRICTED = {"small-only": {"small"}, "modest": {"small"}, "team": {"medium"}, "auto-only": set[str]()}
"""Key -> the models that it may reach by `auto-hard`."""


async def send(proxy: Proxy, number: int, key: str, model: str = "auto-hard", **more: Any) -> None:
    """In one format or another; what is reached is what the key may reach."""
    endpoint = [*PATHS][number % len(PATHS)]
    answer, request_id = await ask(proxy, model, endpoint, key, **more)
    assert set(reached(proxy, request_id)) <= RESTRICTED[key], (endpoint, answer.text)
    assert answer.status_code in (200, 400, 403), answer.text


@pytest.mark.parametrize("name", WORDS)
async def test_no_header_gets_more(proxy: Proxy, name: str) -> None:
    metadata = {header.removeprefix("x-").replace("-", "_"): value for header, value in WORDS[name].items()}
    for number, key in enumerate(RESTRICTED):
        await send(proxy, number, key, headers=WORDS[name])
        await send(proxy, number + 1, key, metadata=metadata)


@pytest.mark.parametrize("name", IDENTITIES)
async def test_nobody_says_who_they_are_in_the_body(proxy: Proxy, name: str) -> None:
    for number, key in enumerate(("small-only", "auto-only", "small-only")):
        await send(proxy, number, key, **IDENTITIES[name])


@pytest.mark.parametrize("name", FALLBACKS)
async def test_no_fallback_gets_more(proxy: Proxy, name: str) -> None:
    for endpoint, model in (("chat", "auto"), ("chat", "small"), ("messages", "auto"), ("responses", "auto")):
        request_id = new_request_id()
        proxy.gateway.upstream.plan(request_id, Plan(status=503), "small")
        sent = body(endpoint, model, f"{PROMPTS['simple']} {request_id}", **FALLBACKS[name])
        answer = await post(proxy, PATHS[endpoint], "small-only", json=sent)
        assert set(reached(proxy, request_id)) <= {"small"}, (endpoint, model, answer.text)
        assert answer.status_code != 200


@pytest.mark.parametrize("model", ["frontier", "large", "auto-hard,large", ["auto-hard", "large"], "claude-x", "LARGE"])
async def test_no_name_gets_more(proxy: Proxy, model: Any) -> None:
    for endpoint in PATHS:
        answer, request_id = await ask(proxy, model, endpoint, "small-only")
        assert set(reached(proxy, request_id)) <= {"small"}, (endpoint, answer.text)
        assert answer.status_code >= 400 or model == "claude-x"


URLS = (
    "/engines/large/chat/completions", "/openai/deployments/large/chat/completions", "/openai/deployments/l%61rge/chat/completions",
    "/v1/chat/completions?model=large", "/v1/chat/completions?model=l%61rge", "/v1/completions?model=large",
    "/v1/messages?model=large", "/v1/responses?model=large", "/v1/embeddings?model=large", "/engines/large/completions", "/openai/deployments/large/completions",
    "/openai/deployments/large/embeddings", "/v1beta/models/large:generateContent", "/v1beta/models/large:streamGenerateContent",
)  # fmt: skip


@pytest.mark.parametrize("path", URLS)
@pytest.mark.parametrize("named", ["auto", "small", None])
async def test_no_url_gets_more(proxy: Proxy, path: str, named: str | None) -> None:
    """LiteLLM checks the model of the body and calls that of the URL."""
    request_id = new_request_id()
    words = f"{PROMPTS['simple']} {request_id}"
    sent = {**body("chat", named, words), "prompt": words, "input": words, "contents": [{"parts": [{"text": words}]}]}
    kind = "contents" if "generate" in path else "input" if "responses" in path or "embed" in path else "messages"
    kind = "prompt" if "/completions" in path and "/chat" not in path else kind
    sent = {name: value for name, value in sent.items() if name in (kind, "model")}
    sent |= {"max_tokens": 99} if "/messages" in path else {}
    if named is None:
        del sent["model"]
    answer = await post(proxy, path, "small-only", json=sent)
    assert set(reached(proxy, request_id)) <= {"small"}, answer.text
    assert answer.status_code != 500, answer.text


async def test_no_conversation_of_another_key_gets_more(proxy: Proxy) -> None:
    session, request_id = uuid4().hex, new_request_id()
    headers = {"x-litellm-session-id": session}
    begun = [{"role": "user", "content": f"{PROMPTS['complex']} {request_id}"}]
    first = await post(proxy, PATHS["chat"], "free-for-all", headers, json={"model": "auto", "messages": begun})
    assert first.headers["x-bsgateway-model"] == "large"
    said = first.json()["choices"][0]["message"]["content"]
    follow = [*begun, {"role": "assistant", "content": said}, {"role": "user", "content": "Go on."}]
    again = await post(proxy, PATHS["chat"], "free-for-all", headers, json={"model": "auto", "messages": follow})
    assert again.headers["x-bsgateway-model"] == "large", "its own conversation stays there"

    other = new_request_id()
    stolen = [{"role": "user", "content": f"{PROMPTS['complex']} {other}"}, *follow[1:]]
    for key in ("small-only", "modest", "auto-only"):
        answer = await post(proxy, PATHS["chat"], key, headers, json={"model": "auto", "messages": stolen})
        assert (answer.status_code == 200) == (key != "auto-only"), answer.text
    assert set(reached(proxy, other)) <= {"small"}


async def test_no_answer_of_another_key_gets_more(proxy: Proxy) -> None:
    first, _ = await ask(proxy, "auto", "responses", prompt="complex")
    assert first.headers["x-bsgateway-model"] == "large"
    await send(proxy, 2, "small-only", "auto", previous_response_id=first.json()["id"])


async def test_no_second_answer_gets_more(proxy: Proxy) -> None:
    _, restricted = await ask(proxy, key="small-only")
    _, free = await ask(proxy, key="free-for-all")

    async def answered_twice() -> bool:
        return {"large", "referee"} <= set(reached(proxy, free))

    await until("the second answer of a key that may use both, and its judge", answered_twice)
    assert reached(proxy, restricted) == ["small"]
