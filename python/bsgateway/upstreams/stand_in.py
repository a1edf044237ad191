"""An upstream that answers in the place of a provider whose key is not set: ``python -m bsgateway.upstreams.stand_in``.

Every answer says in plain words that it is a stand-in, for which model, which environment variable is missing, and
what to do.  The variable is part of the base URL, so that one process stands in for every provider:
``http://127.0.0.1:PORT/missing/OPENAI_API_KEY/v1`` for clients of OpenAI's API and
``http://127.0.0.1:PORT/missing/ANTHROPIC_API_KEY`` for clients of Anthropic's.  Several names are joined by commas.

Chat completions, completions, responses and Anthropic messages are answered, whole or streamed (`wire` holds their
shapes).  Of the request only the model's name is repeated.  Token counts are estimates: bytes of text over four.
"""

from __future__ import annotations

import json
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterable
from typing import Any, Final

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Mount, Route

from bsgateway.upstreams import wire
from bsgateway.upstreams.child import announce, argument_parser, exit_with_parent

STAND_IN_HEADER: Final = "x-bsgateway-stand-in"
"""Response header that names the missing variables, for a program that wants to tell a stand-in's answer."""

BYTES_PER_TOKEN: Final = 4
TOKENS_PER_MEDIA: Final = 1000

_VARIABLES: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}(,[A-Za-z_][A-Za-z0-9_]{0,99}){0,4}")
_MODEL_NAME: Final = re.compile(r"[^\w./:@+-]+")
_MODEL_NAME_LENGTH: Final = 100

# The fields of a request that a provider bills as prompt, in any of the four APIs.
_PROMPT_FIELDS: Final = ("system", "instructions", "messages", "input", "prompt", "tools", "functions")
_MEDIA_TYPES: Final = frozenset(
    {"image", "image_url", "input_image", "input_audio", "audio", "document", "file", "input_file", "video_url"}
)


def estimate_prompt_tokens(body: dict[str, Any]) -> int:
    """About how many tokens the texts of `body` are: UTF-8 bytes over four, and a flat number for each image or file.

    Keys of objects count as well, because tool definitions are billed with theirs. Iterative: nesting has no limit.
    """
    size = media = 0
    pending: list[Any] = [body.get(field) for field in _PROMPT_FIELDS]
    while pending:
        value = pending.pop()
        if isinstance(value, str):
            size += len(value.encode("utf-8", "replace"))
        elif isinstance(value, list):
            pending.extend(value)
        elif isinstance(value, dict):
            kind = value.get("type")
            if isinstance(kind, str) and kind in _MEDIA_TYPES:
                media += 1
            else:
                size += sum(map(len, value))
                pending.extend(value.values())
    return -(-size // BYTES_PER_TOKEN) + media * TOKENS_PER_MEDIA


def answer_text(model: str, variables: str) -> str:
    """What the stand-in says. `variables` is what the base URL names, empty when it names nothing."""
    names = variables.replace(",", " and ")
    missing = f"{names} {'are' if ',' in variables else 'is'} not set" if names else "its API key is not set"
    return (
        f"This is BSGateway's stand-in for {model}. {missing[0].upper()}{missing[1:]} where the gateway runs, so your "
        f"request was routed to {model} and no provider was called. For real answers, set "
        f"{names or 'the API key'} in the gateway's environment and restart it."
    )


async def _read_body(request: Request) -> dict[str, Any]:
    """The request's JSON object. Raises HTTPException 400 for anything else."""
    try:
        body = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise HTTPException(400, "the body is not JSON, or is nested too deeply") from None
    if not isinstance(body, dict):
        raise HTTPException(400, "the body must be a JSON object")
    return body


def _answer(request: Request, body: dict[str, Any]) -> wire.Answer:
    variables = _variables(request)
    name = body.get("model")
    model = _MODEL_NAME.sub("", name)[:_MODEL_NAME_LENGTH] if isinstance(name, str) else ""
    text = answer_text(model or "the requested model", variables)
    options = body.get("stream_options")
    return wire.Answer(
        text=text,
        model=model or "unknown",
        prompt_tokens=estimate_prompt_tokens(body),
        completion_tokens=-(-len(text) // BYTES_PER_TOKEN),
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
    )


def _variables(request: Request) -> str:
    named = str(request.path_params.get("variables", ""))
    if named and not _VARIABLES.fullmatch(named):
        raise HTTPException(404, "the part after /missing/ must be names of environment variables")
    return named


def _headers(request: Request) -> dict[str, str]:
    return {STAND_IN_HEADER: _variables(request) or "unknown"}


def _endpoint(
    path: str,
    shape: Callable[[wire.Answer], dict[str, Any]],
    events: Callable[[wire.Answer], Iterable[wire.Event]],
) -> Route:
    async def handle(request: Request) -> Response:
        body = await _read_body(request)
        answer = _answer(request, body)
        headers = _headers(request)
        if body.get("stream") is True:
            lines = _server_sent_events(events(answer))
            return StreamingResponse(lines, headers=headers, media_type="text/event-stream")
        return JSONResponse(shape(answer), headers=headers)

    return Route(path, handle, methods=["POST"])


async def _server_sent_events(events: Iterable[wire.Event]) -> AsyncIterator[str]:
    for name, data in events:
        prefix = f"event: {name}\n" if name else ""
        yield f"{prefix}data: {data if isinstance(data, str) else json.dumps(data)}\n\n"


async def _count_tokens(request: Request) -> Response:
    body = await _read_body(request)
    return JSONResponse({"input_tokens": estimate_prompt_tokens(body)}, headers=_headers(request))


async def _health(_request: Request) -> Response:
    return JSONResponse({"status": "ok"})


async def _on_error(_request: Request, error: Exception) -> Response:
    """An error in a shape that the clients of both APIs can read."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = error.detail if isinstance(error, HTTPException) else "the stand-in failed"
    body = {"type": "error", "error": {"type": "invalid_request_error", "message": detail, "code": status}}
    return JSONResponse(body, status)


def create_app() -> Starlette:
    """The ASGI application."""
    api: list[BaseRoute] = [
        _endpoint("/v1/chat/completions", wire.chat_completion, wire.chat_completion_events),
        _endpoint("/v1/completions", wire.completion, wire.completion_events),
        _endpoint("/v1/responses", wire.response, wire.response_events),
        _endpoint("/v1/messages", wire.message, wire.message_events),
        Route("/v1/messages/count_tokens", _count_tokens, methods=["POST"]),
    ]
    return Starlette(
        routes=[Route("/health", _health), Mount("/missing/{variables}", routes=api), *api],
        exception_handlers={HTTPException: _on_error, Exception: _on_error},
    )


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code."""
    parser = argument_parser("bsgateway.upstreams.stand_in", "Answer in the place of a provider without a key.")
    options = parser.parse_args(argv)
    if options.watch_parent:
        exit_with_parent()
    try:
        listener = socket.create_server(("127.0.0.1", options.port), backlog=512)
    except OSError as error:
        sys.stderr.write(f"cannot listen on 127.0.0.1:{options.port}: {error}\n")
        return 1
    announce(options.port_file, listener.getsockname()[1])
    config = uvicorn.Config(
        create_app(),
        log_level="warning",
        access_log=False,
        server_header=False,
        # Longer than LiteLLM keeps a connection: one that is closed at the moment it is used fails a request.
        timeout_keep_alive=600,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
