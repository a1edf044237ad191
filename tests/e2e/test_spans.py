"""The spans of a real proxy, as LiteLLM's OpenTelemetry callback sends them to a collector."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from bsgateway.telemetry.spans import ATTRIBUTES
from e2e.clients import PROMPTS, send
from e2e.gateways import KEY, Gateway, clean_environment, serving, write_config
from e2e.records import until
from e2e.upstream import Upstream

SECRET = "a-word-that-stays-here"


class Collector:
    """Takes spans by OTLP over HTTP. `routed`: the attributes of those that are about a routed request."""

    def __init__(self) -> None:
        self.routed: list[dict[str, Any]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for span in (each for scope in resource.scope_spans for each in scope.spans):
                found = {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in span.attributes}
                if "bsgateway.decision_id" in found:
                    self.routed.append(found)

    def __enter__(self) -> Collector:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def traced(tmp_path: Path, upstream: Upstream) -> Iterator[tuple[Gateway, Collector]]:
    """A gateway whose LiteLLM sends spans to a collector."""
    config = write_config(tmp_path / "traced", upstream)
    content = yaml.safe_load(config.read_text())
    content["litellm_settings"]["callbacks"].append("otel")
    config.write_text(yaml.safe_dump(content, sort_keys=False))
    with Collector() as collector:
        environment = clean_environment(
            LITELLM_MASTER_KEY=KEY,
            OTEL_EXPORTER="otlp_http",
            OTEL_ENDPOINT=collector.url,
            OTEL_BSP_SCHEDULE_DELAY="200",
        )
        with serving(config, upstream, environment=environment) as gateway:
            yield gateway, collector


async def test_the_span_of_a_request_says_how_it_was_routed(traced: tuple[Gateway, Collector]) -> None:
    gateway, collector = traced
    replies = {
        stream: await send(gateway, "chat", "auto", f"{PROMPTS['medium']} {SECRET}", stream=stream)
        for stream in (False, True)
    }

    def spans_of(decision_id: str) -> list[dict[str, Any]]:
        return [span for span in collector.routed if span["bsgateway.decision_id"] == decision_id]

    async def sent() -> bool:
        return all(spans_of(str(reply.decision_id)) for reply in replies.values())

    await until("the spans of both requests", sent)
    # LiteLLM's span of the request, and that of the endpoint where it makes one.
    told = [(each, span) for each in replies.values() for span in spans_of(str(each.decision_id))]
    for reply, span in told:
        assert {name: span[f"bsgateway.{name}"] for name in ("tier", "strategy", "method", "reason", "model")} == {
            name: reply.routing[name] for name in ("tier", "strategy", "method", "reason", "model")
        }
        assert span["bsgateway.score"] == int(reply.routing["score"])
        assert span["bsgateway.applied"] is True
        assert span["gen_ai.request.model"] == "auto"
        assert span["gen_ai.response.model"] == "medium"
        ours = {name: value for name, value in span.items() if name.startswith("bsgateway.")}
        assert ours.keys() <= ATTRIBUTES.keys()
        assert not [value for value in ours.values() if SECRET in str(value) or KEY in str(value)]
