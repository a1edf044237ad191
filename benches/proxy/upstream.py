"""The provider of every variant: a small constant chat completion, as cheaply as possible, in a process of its own.

`/GROUP/v1/chat/completions` answers and counts; `/counts` tells how often each group was asked.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter

import uvloop
from aiohttp import web

from bsgateway.upstreams.child import exit_with_parent

MAX_BODY = 64_000_000
ANSWER = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "bench",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Forty-two."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 100, "completion_tokens": 4, "total_tokens": 104},
}


def application() -> web.Application:
    """The server, with a count of its own."""
    counts: Counter[str] = Counter()
    body = json.dumps(ANSWER).encode()

    async def complete(request: web.Request) -> web.Response:
        await request.read()
        counts[request.match_info["group"]] += 1
        return web.Response(body=body, content_type="application/json")

    async def tell(_: web.Request) -> web.Response:
        return web.json_response(counts)

    app = web.Application(client_max_size=MAX_BODY)
    app.add_routes([web.post("/{group}/v1/chat/completions", complete), web.get("/counts", tell)])
    return app


def main() -> None:
    """Serve until SIGTERM or the end of standard input."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    exit_with_parent()
    web.run_app(
        application(),
        host="127.0.0.1",
        port=parser.parse_args().port,
        loop=uvloop.new_event_loop(),
        access_log=None,
        print=lambda *_: None,
    )


if __name__ == "__main__":
    main()
