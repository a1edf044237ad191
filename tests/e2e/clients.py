"""What clients send: the official SDKs where there is one, plain HTTP for Google's format."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import anthropic
import httpx
import openai

from e2e.gateways import Gateway

TIMEOUT = 60.0
MAX_TOKENS = 200

PROMPTS = {
    "simple": "List the planets of the solar system in order, from the sun outwards.",
    "medium": "Refactor this module and write unit tests for it.",
    "complex": "Design a distributed rate limiter. Analyze consistency, race conditions and failure modes, and "
    "evaluate the trade-offs of three architectures.",
}
"""A prompt for each tier, by the static score."""
GROUPS = {"simple": "small", "medium": "medium", "complex": "large"}
"""The model group that serves each tier of `gateways.write_config`."""


def new_request_id() -> str:
    """What a test puts into a prompt to find its own calls in the upstream's journal."""
    return f"req-{uuid4().hex}"


@dataclass(frozen=True)
class Reply:
    """An answer as the client's library understood it: its text, and the headers it came with."""

    text: str
    headers: httpx.Headers

    @property
    def call_id(self) -> str:
        """LiteLLM's id of the call."""
        return self.headers["x-litellm-call-id"]

    @property
    def decision_id(self) -> UUID:
        """The gateway's id of the decision."""
        return UUID(self.headers["x-bsgateway-decision-id"])

    @property
    def routing(self) -> dict[str, str]:
        """The gateway's headers without their prefix, the id left out."""
        prefix = "x-bsgateway-"
        found = {name.removeprefix(prefix): value for name, value in self.headers.items() if name.startswith(prefix)}
        found.pop("decision-id", None)
        return found


@asynccontextmanager
async def http(gateway: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A plain client with the gateway's key."""
    headers = {"Authorization": f"Bearer {gateway.key}"}
    # Plain HTTP: without a certificate store to load a client is made in no time.
    async with httpx.AsyncClient(base_url=gateway.url, headers=headers, timeout=TIMEOUT, verify=False) as client:
        yield client


@asynccontextmanager
async def _openai(gateway: Gateway) -> AsyncIterator[openai.AsyncOpenAI]:
    async with http(gateway) as plain:
        yield openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0, http_client=plain)


async def chat(gateway: Gateway, model: str, prompt: str, stream: bool, **extra: Any) -> Reply:
    """POST /v1/chat/completions with the OpenAI SDK."""
    async with _openai(gateway) as client:
        messages: Any = [{"role": "user", "content": prompt}]
        raw = await client.chat.completions.with_raw_response.create(
            model=model, messages=messages, stream=stream, max_tokens=MAX_TOKENS, **extra
        )
        answer: Any = raw.parse()
        if stream:
            text = "".join([chunk.choices[0].delta.content or "" async for chunk in answer if chunk.choices])
        else:
            text = answer.choices[0].message.content
        return Reply(text, raw.headers)


async def completions(gateway: Gateway, model: str, prompt: str, stream: bool, **extra: Any) -> Reply:
    """POST /v1/completions with the OpenAI SDK."""
    async with _openai(gateway) as client:
        raw = await client.completions.with_raw_response.create(
            model=model, prompt=prompt, stream=stream, max_tokens=MAX_TOKENS, **extra
        )
        answer: Any = raw.parse()
        if stream:
            text = "".join([chunk.choices[0].text or "" async for chunk in answer if chunk.choices])
        else:
            text = answer.choices[0].text
        return Reply(text, raw.headers)


async def responses(gateway: Gateway, model: str, prompt: str, stream: bool, **extra: Any) -> Reply:
    """POST /v1/responses with the OpenAI SDK."""
    async with _openai(gateway) as client:
        raw = await client.responses.with_raw_response.create(
            model=model, input=prompt, stream=stream, max_output_tokens=MAX_TOKENS, **extra
        )
        answer: Any = raw.parse()
        if not stream:
            return Reply(answer.output_text, raw.headers)
        text, last = "", None
        async for last in answer:
            text += last.delta if last.type == "response.output_text.delta" else ""
        assert last is not None
        assert last.type == "response.completed"
        return Reply(text, raw.headers)


async def messages(gateway: Gateway, model: str, prompt: str, stream: bool, **extra: Any) -> Reply:
    """POST /v1/messages with the Anthropic SDK."""
    # Its own HTTP client: this SDK does not take one of httpx.
    async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=gateway.key, max_retries=0) as client:
        raw = await client.messages.with_raw_response.create(
            model=model, messages=[{"role": "user", "content": prompt}], stream=stream, max_tokens=MAX_TOKENS, **extra
        )
        answer: Any = await raw.parse()
        if stream:
            text, kinds = "", []
            async for event in answer:
                kinds.append(event.type)
                if event.type == "content_block_delta":
                    text += event.delta.text
            assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")
        else:
            text = "".join(block.text for block in answer.content)
        return Reply(text, httpx.Headers(dict(raw.headers)))


async def generate_content(gateway: Gateway, model: str, prompt: str, stream: bool, **extra: Any) -> Reply:
    """POST /v1beta/models/MODEL:generateContent, Google's format."""
    body = {"contents": [{"role": "user", "parts": [{"text": prompt}]}], **extra}
    async with http(gateway) as client:
        if not stream:
            answer = await client.post(f"/v1beta/models/{model}:generateContent", json=body)
            answer.raise_for_status()
            return Reply(_google_text(answer.json()), answer.headers)
        path = f"/v1beta/models/{model}:streamGenerateContent?alt=sse"
        async with client.stream("POST", path, json=body) as answer:
            answer.raise_for_status()
            lines = [line async for line in answer.aiter_lines()]
        data = [line.removeprefix("data:").strip() for line in lines if line.startswith("data:")]
        return Reply("".join(_google_text(json.loads(item)) for item in data if item != "[DONE]"), answer.headers)


def _google_text(body: Any) -> str:
    return "".join(
        part.get("text", "")
        for candidate in body.get("candidates", ())
        for part in (candidate.get("content") or {}).get("parts") or ()
    )


Sender = Callable[..., Awaitable[Reply]]
ENDPOINTS: dict[str, Sender] = {
    "chat": chat,
    "messages": messages,
    "responses": responses,
    "completions": completions,
    "generate_content": generate_content,
}


async def send(
    gateway: Gateway, endpoint: str, model: str, prompt: str, *, stream: bool = False, **extra: Any
) -> Reply:
    """Ask, and note the decision that the answer names."""
    reply = await ENDPOINTS[endpoint](gateway, model, prompt, stream, **extra)
    gateway.note(reply.headers)
    return reply
