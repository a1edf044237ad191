"""Providers that refuse what the real ones refuse, and answer with what binds a conversation to them.

Each group of the configuration has a base path, as with `Upstream`; its `Spec` says what its model can do. A provider
accepts only those signatures and ciphers that it has issued. `refused` lists every refusal, those too that LiteLLM
hides by asking again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from bsgateway.upstreams import wire
from e2e import strict_answers as answers
from e2e import strict_rules as rules
from e2e.strict_answers import Json, Said
from e2e.strict_rules import Issued, Refusal, Spec
from e2e.upstream import Upstream

THOUGHT = "The sum is rounded too early."
OLLAMA_MODEL = "llama3.2"
TEXT = "The helper rounds each line; I look at it now."


@dataclass(frozen=True)
class Seen:
    """A request that reached a provider, and what it was refused with, if it was."""

    group: str
    api: str
    body: Json
    headers: Mapping[str, str]
    refusal: str | None


class StrictUpstream(Upstream):
    """The server; `specs` by group. `seen` lists all requests in order."""

    def __init__(self, specs: Mapping[str, Spec]) -> None:
        super().__init__()
        self.specs = specs
        self.seen: list[Seen] = []
        self._issued: dict[str, Issued] = {}

    def issued(self, group: str) -> Issued:
        """What a provider has handed out; groups that begin alike (`claude`, `claude-small`) are one provider."""
        return self._issued.setdefault(group.partition("-")[0], Issued())

    @property
    def refused(self) -> list[tuple[str, str]]:
        """Group and words of all refusals."""
        return [(one.group, one.refusal) for one in self.seen if one.refusal is not None]

    def _app(self) -> Starlette:
        sse, lines = ("text/event-stream", _sse), ("application/x-ndjson", _line)
        return Starlette(
            routes=[
                self._strict("/{group}/v1/messages", rules.messages, answers.message, answers.message_events, *sse),
                self._strict("/{group}/v1/responses", rules.responses, answers.response, answers.response_events, *sse),
                self._strict(
                    "/{group}/v1/chat/completions",
                    rules.chat,
                    answers.chat_completion,
                    answers.chat_completion_events,
                    *sse,
                ),
                self._strict("/{group}/api/chat", rules.ollama, answers.ollama, answers.ollama_events, *lines),
                Route("/{group}/api/show", _show, methods=["POST"]),
                Route("/{group}/api/tags", _tags),
                self._strict(
                    "/{group}/models/{model}",
                    rules.generate_content,
                    answers.generate_content,
                    answers.generate_content_events,
                    *sse,
                ),
            ]
        )

    def _strict(
        self,
        path: str,
        rule: rules.Rules,
        whole: Callable[[Said], Json],
        events: Callable[[Said], Iterable[wire.Event]],
        media_type: str,
        framed: Callable[[wire.Event], str],
    ) -> Route:
        async def handle(request: Request) -> Response:
            group, body = request.path_params["group"], json.loads(await request.body())
            spec, issued = self.specs[group], self.issued(group)
            refusal = None
            try:
                rule(body, request.headers, spec, issued)
            except Refusal as error:
                refusal = str(error)
            self.seen.append(Seen(group, rule.__name__, body, dict(request.headers), refusal))
            if refusal is not None:
                problem = {"type": "invalid_request_error", "message": refusal}
                return JSONResponse({"type": "error", "error": problem}, 400)
            said = _answer(body, spec, rule, issued)
            # Ollama streams unless it is told not to; Google says it in the path.
            stream = body.get("stream", rule is rules.ollama) or "streamGenerateContent" in request.url.path
            if stream:
                return StreamingResponse((framed(event) for event in events(said)), media_type=media_type)
            return JSONResponse(whole(said))

        return Route(path, handle, methods=["POST"])


def _answer(body: Json, spec: Spec, rule: rules.Rules, issued: Issued) -> Said:
    """A tool call for an ask, a text for a tool's result; with a thought if the model has any."""
    signature = f"Eq{uuid4().hex}{uuid4().hex}"
    issued.signatures.add(signature)
    tool = None if _answers_a_call(body) else _first_tool(body)
    thought = THOUGHT if _wants_thoughts(body, spec, rule) else None
    said = Said(body.get("model", "gemini"), TEXT, thought, signature, tool)
    issued.responses.add(f"resp_{said.id}")
    return said


def _wants_thoughts(body: Json, spec: Spec, rule: rules.Rules) -> bool:
    if rule is rules.messages:
        return (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")
    return spec.reasons


def _answers_a_call(body: Json) -> bool:
    newest = (body.get("messages") or body.get("input") or body.get("contents"))[-1]
    content = newest.get("content") if isinstance(newest, dict) else None
    parts = newest.get("parts", ()) if isinstance(newest, dict) else ()
    return isinstance(newest, dict) and (
        newest.get("role") == "tool"
        or str(newest.get("type")).endswith("_output")
        or (isinstance(content, list) and any(part.get("type") == "tool_result" for part in content))
        or any("functionResponse" in part or "function_response" in part for part in parts)
    )


def _first_tool(body: Json) -> str | None:
    for tool in body.get("tools") or ():
        declared = (tool.get("functionDeclarations") or tool.get("function_declarations") or (None,))[0]
        name = (declared or tool.get("function") or tool).get("name")
        if name and tool.get("type", "function") in ("function", "custom"):
            return str(name)
    return None


def _sse(event: wire.Event) -> str:
    name, data = event
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data if isinstance(data, str) else json.dumps(data)}\n\n"


def _line(event: wire.Event) -> str:
    return json.dumps(event[1]) + "\n"


async def _tags(request: Request) -> Response:
    """What the gateway asks of Ollama, to know that it is there."""
    return JSONResponse({"models": [{"name": f"{OLLAMA_MODEL}:latest", "model": f"{OLLAMA_MODEL}:latest"}]})


async def _show(request: Request) -> Response:
    """What LiteLLM asks of Ollama about a model it does not know."""
    details: dict[str, Any] = {"family": "local"}
    template = "{{ .Prompt }} {{ .Tools }}"
    return JSONResponse({"template": template, "details": details, "model_info": {}, "capabilities": ["completion"]})
