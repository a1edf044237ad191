"""The providers of the end-to-end tests: one real HTTP server that answers for every model and writes down who asked.

Each model group of the tests' gateway.yaml has a base path of its own (`/small/v1`, `/medium/v1`, `/large`), so the
journal says which group was really called, whatever the gateway believes. A test puts an id into its prompt and finds
its own calls by it; by the same id it can ask for a fault.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from bsgateway.upstreams import wire

REQUEST_ID = re.compile(r"req-[0-9a-f]{32}")
ANSWER = "Forty-two, which is the answer to your question in full."
PLANNED = "a fault that the test asked for"
START_SECONDS = 10.0


@dataclass(frozen=True)
class Call:
    """One request that reached the upstream: the group whose base path it used, and what it said and was told."""

    group: str
    path: str
    model: str
    request_id: str | None
    stream: bool
    prompt_tokens: int
    completion_tokens: int
    body: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Plan:
    """What to do with a call instead of answering it at once: wait `delay` seconds, then fail with `status`, with the
    words of `says` and the seconds of `retry_after` (and with `quote` repeat the request in the error), or answer with
    `pause` seconds between the events of a stream. `answer` are the words of the answer, or makes them of the body."""

    status: int = 200
    delay: float = 0.0
    pause: float = 0.0
    quote: bool = False
    says: str = PLANNED
    retry_after: int | None = None
    answer: str | Callable[[dict[str, Any]], str] = ANSWER


class Upstream:
    """The server, in a thread of the tests' process. `journal` lists its calls in order."""

    def __init__(self) -> None:
        self.journal: list[Call] = []
        self._plans: dict[tuple[str, str], Plan] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def plan(self, request_id: str, plan: Plan, *groups: str) -> None:
        """Do so with the calls of `request_id` to these groups."""
        for group in groups:
            self._plans[request_id, group] = plan

    def calls(self, request_id: str) -> list[Call]:
        """The calls that carried this id, in order."""
        return [call for call in self.journal if call.request_id == request_id]

    @contextmanager
    def running(self) -> Iterator[Upstream]:
        """Serve until the end of the block."""
        # Longer than any client keeps a connection: one that is closed at the moment it is used fails a request.
        config = uvicorn.Config(
            self._app(), log_level="critical", access_log=False, ws="none", lifespan="off", timeout_keep_alive=600
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([self._listener],), name="upstream", daemon=True)
        thread.start()
        until = time.monotonic() + START_SECONDS
        while not server.started and time.monotonic() < until:
            time.sleep(0.01)
        assert server.started, "the upstream did not start"
        try:
            yield self
        finally:
            server.should_exit = True
            server.force_exit = True  # a gateway that was killed in the middle of a stream must not hold this up
            thread.join(START_SECONDS)

    def _app(self) -> Starlette:
        return Starlette(
            routes=[
                self._endpoint("/{group}/v1/chat/completions", wire.chat_completion, wire.chat_completion_events),
                self._endpoint("/{group}/v1/completions", wire.completion, wire.completion_events),
                self._endpoint("/{group}/v1/responses", wire.response, wire.response_events),
                self._endpoint("/{group}/v1/messages", wire.message, wire.message_events),
                Route("/{group}/v1/messages/count_tokens", self._count_tokens, methods=["POST"]),
                Route("/{group}/v1/embeddings", self._embeddings, methods=["POST"]),
            ]
        )

    def _endpoint(
        self,
        path: str,
        whole: Callable[[wire.Answer], wire.Json],
        events: Callable[[wire.Answer], Iterable[wire.Event]],
    ) -> Route:
        async def handle(request: Request) -> Response:
            call = await self._note(request)
            plan = self._plans.get((call.request_id or "", call.group), Plan())
            await asyncio.sleep(plan.delay)
            if plan.status != 200:
                said = f"{plan.says}: {json.dumps(call.body)}" if plan.quote else plan.says
                headers = {} if plan.retry_after is None else {"retry-after": str(plan.retry_after)}
                error = {"type": "error", "error": {"type": "api_error", "message": said}}
                return JSONResponse(error, plan.status, headers)
            answer = wire.Answer(
                text=plan.answer if isinstance(plan.answer, str) else plan.answer(call.body),
                model=call.model,
                prompt_tokens=call.prompt_tokens,
                completion_tokens=call.completion_tokens,
                include_usage=(call.body.get("stream_options") or {}).get("include_usage") is True,
            )
            if call.stream:
                return StreamingResponse(_sent(events(answer), plan.pause), media_type="text/event-stream")
            return JSONResponse(whole(answer))

        return Route(path, handle, methods=["POST"])

    async def _note(self, request: Request) -> Call:
        raw = await request.body()
        body = json.loads(raw)
        found = REQUEST_ID.search(raw.decode())
        call = Call(
            group=request.path_params["group"],
            path=request.url.path,
            model=body["model"],
            request_id=found.group() if found else None,
            stream=body.get("stream") is True,
            # Numbers of its own for each call: a row that has them is the row of this call.
            prompt_tokens=1000 + len(self.journal),
            completion_tokens=50 + len(self.journal) % 40,
            body=body,
        )
        self.journal.append(call)
        return call

    async def _count_tokens(self, request: Request) -> Response:
        call = await self._note(request)
        return JSONResponse({"input_tokens": call.prompt_tokens})

    async def _embeddings(self, request: Request) -> Response:
        call = await self._note(request)
        data = [{"object": "embedding", "index": 0, "embedding": [0.25, -0.5]}]
        usage = {"prompt_tokens": call.prompt_tokens, "total_tokens": call.prompt_tokens}
        return JSONResponse({"object": "list", "model": call.model, "data": data, "usage": usage})


async def _sent(events: Iterable[wire.Event], pause: float) -> Any:
    for name, data in events:
        await asyncio.sleep(pause)
        head = f"event: {name}\n" if name else ""
        yield f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n"
