"""`ollama_api.real` stands for Ollama in tests: so it must look to the official client and to LiteLLM."""

from __future__ import annotations

import asyncio
import json
import math
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # before LiteLLM is imported: no download

import litellm
import ollama
import pytest

from integration.test_upstreams import litellm_clients, litellm_warnings, lost_clients  # noqa: F401 -- fixtures
from ollama_api.real import MODEL

pytestmark = pytest.mark.local_llm

ASK = [{"role": "user", "content": "Name the capital of France."}]
WORDS = {"type": "string", "enum": ["simple", "medium", "complex"]}
SHORT = {"temperature": 0, "num_predict": 8, "seed": 0}


@pytest.fixture
async def client(real_ollama: str) -> AsyncIterator[ollama.AsyncClient]:
    found = ollama.AsyncClient(real_ollama, trust_env=False)
    yield found
    await found.close()  # type: ignore[no-untyped-call]


async def until(condition: Callable[[], Any]) -> None:
    for _ in range(300):
        if await condition():
            return
        await asyncio.sleep(0.1)
    raise AssertionError("timed out")


async def test_a_chat_is_answered_by_the_model(client: ollama.AsyncClient) -> None:
    answer = await client.chat(MODEL, ASK, options=SHORT, think=False)
    assert "Paris" in (answer.message.content or "")
    assert (answer.model, answer.done, answer.logprobs) == (MODEL, True, None)
    assert (answer.done_reason, answer.eval_count) in {("stop", answer.eval_count), ("length", 8)}
    assert (answer.total_duration or 0) >= (answer.eval_duration or 0) > 0
    again = await client.chat(MODEL, ASK, options=SHORT)
    assert again.message.content == answer.message.content


async def test_a_stream_brings_the_same_words(client: ollama.AsyncClient) -> None:
    whole = await client.chat(MODEL, ASK, options=SHORT)
    parts = [part async for part in await client.chat(MODEL, ASK, options=SHORT, stream=True)]
    assert "".join(part.message.content or "" for part in parts) == whole.message.content
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert parts[-1].done_reason == whole.done_reason


async def test_a_schema_is_kept(client: ollama.AsyncClient) -> None:
    answer = await client.chat(MODEL, ASK, format=WORDS, options=SHORT)
    assert json.loads(answer.message.content or "") in WORDS["enum"]
    answer = await client.chat(MODEL, ASK, format="json", options={**SHORT, "num_predict": 40})
    assert (answer.message.content or "").lstrip().startswith("{")


async def test_logprobs_are_those_of_the_tokens(client: ollama.AsyncClient) -> None:
    answer = await client.chat(MODEL, ASK, options=SHORT, logprobs=True, top_logprobs=5)
    tokens = answer.logprobs or []
    assert "".join(token.token for token in tokens) == answer.message.content
    for token in tokens:
        alternatives = {other.token: other.logprob for other in token.top_logprobs or ()}
        assert len(alternatives) == 5
        # Greedy: the token is the likeliest, and all together are no more than certain.
        assert max(alternatives.values()) == token.logprob == alternatives[token.token]
        assert sum(map(math.exp, alternatives.values())) <= 1.0001
    bare = (await client.chat(MODEL, ASK, options=SHORT, logprobs=True)).logprobs or []
    assert [token.token for token in bare] == [token.token for token in tokens]
    assert not any(token.top_logprobs for token in bare)


async def test_what_the_model_cannot_do_is_refused_as_ollama_does(client: ollama.AsyncClient) -> None:
    async def refusal(**changes: Any) -> tuple[int, str]:
        with pytest.raises(ollama.ResponseError) as caught:
            await client.chat(**{"model": MODEL, "messages": ASK, "options": SHORT, **changes})
        return caught.value.status_code, caught.value.error

    assert await refusal(think=True) == (400, f'"{MODEL}" does not support thinking')
    assert await refusal(model="missing:1b") == (404, "model 'missing:1b' not found")
    assert await refusal(logprobs=True, top_logprobs=21) == (400, "top_logprobs must be between 0 and 20")
    assert await refusal(keep_alive="soon") == (400, 'time: invalid duration "soon"')
    status, error = await refusal(messages=[{"role": "user", "content": "word " * 5000}])
    assert (status, "context" in error) == (400, True)
    with pytest.raises(ollama.ResponseError) as caught:
        await client.show("missing:1b")
    assert caught.value.status_code == 404


async def test_the_model_is_loaded_kept_and_dropped(client: ollama.AsyncClient) -> None:
    async def loaded() -> list[str | None]:
        return [each.model for each in (await client.ps()).models if each.context_length != 2048]

    answer = await client.chat(MODEL, [], keep_alive="10m")
    assert (answer.done_reason, answer.message.content, await loaded()) == ("load", "", [MODEL])
    await client.chat(MODEL, ASK, options={"num_predict": 1}, keep_alive=0.2)
    await until(lambda: _empty(loaded))
    await client.chat(MODEL, [])
    answer = await client.chat(MODEL, [], keep_alive=0)
    assert answer.done_reason == "unload"
    await until(lambda: _empty(loaded))


async def _empty(found: Callable[[], Any]) -> bool:
    return not await found()


async def test_what_it_has(client: ollama.AsyncClient) -> None:
    (model,) = (await client.list()).models
    assert (model.model, (model.size or 0) > 10_000_000) == (MODEL, True)
    shown = await client.show(MODEL)
    assert shown.capabilities == ["completion"]
    assert shown.modelinfo is not None
    assert shown.modelinfo["llama.context_length"] == 8192


async def test_embeddings(client: ollama.AsyncClient) -> None:
    texts = ["a cat sat on the mat", "a cat lay on the mat", "the stock market fell"]
    near, alike, far = (await client.embed(MODEL, texts)).embeddings

    def likeness(one: Any, other: Any) -> float:
        return math.fsum(x * y for x, y in zip(one, other, strict=True))

    assert len(near) == 576
    assert likeness(near, near) == pytest.approx(1, abs=1e-4)
    assert likeness(near, alike) > likeness(near, far)
    assert (await client.embed(MODEL, [])).embeddings == []


async def test_a_client_that_hangs_up_ends_its_generation(client: ollama.AsyncClient) -> None:
    numbers = {"type": "array", "items": {"type": "integer"}, "minItems": 1000}
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(client.chat(MODEL, ASK, format=numbers, options={"temperature": 0}), 1)
    # It answers one at a time: a call would wait for minutes if the other still went on.
    answer = await asyncio.wait_for(client.chat(MODEL, ASK, options=SHORT), 20)
    assert "Paris" in (answer.message.content or "")


@litellm_warnings
@pytest.mark.usefixtures("litellm_clients")
async def test_litellm_speaks_to_it(real_ollama: str) -> None:
    asked: dict[str, Any] = {"model": f"ollama_chat/{MODEL}", "messages": ASK, "api_base": real_ollama}
    answer = await litellm.acompletion(**asked, temperature=0, max_tokens=8)
    assert "Paris" in answer.choices[0].message.content
    parts = [
        part.choices[0].delta.content or ""
        async for part in await litellm.acompletion(**asked, temperature=0, max_tokens=8, stream=True)
    ]
    assert "".join(parts) == answer.choices[0].message.content
    with pytest.raises(litellm.exceptions.NotFoundError, match="missing"):
        await litellm.acompletion(**{**asked, "model": "ollama_chat/missing:1b"})
