"""`substitutes.py`: which models are reached, and what stands in for the others. Ollama is a small server of ours."""

from __future__ import annotations

import copy
import gc
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from bsgateway.catalog import CAPABILITIES, Model, models
from bsgateway.errors import ConfigError
from bsgateway.pricing import Price
from bsgateway.substitutes import OLLAMA_DEFAULT, Ollama, Served, apply, local_deployment, plan, probe_ollama
from bsgateway.upstreams import local_model

MODELS = ("glm:latest", "qwen:7b")


class _Answers(BaseHTTPRequestHandler):
    """`/ok/api/tags` lists MODELS, as Ollama does; other paths answer as something that is not Ollama would."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.asked.append(self.path)  # type: ignore[attr-defined]
        answers = {
            "/ok/api/tags": (200, json.dumps({"models": [{"model": model} for model in MODELS]})),
            "/empty/api/tags": (200, '{"models": []}'),
            "/html/api/tags": (200, "<html>"),
            "/odd/api/tags": (200, '{"models": 5}'),
        }
        status, body = answers.get(self.path, (404, "no"))
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, format: str, *args: Any) -> None:
        return


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as running:
        running.asked = []  # type: ignore[attr-defined]
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def base(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def nowhere() -> str:
    """An address where nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_a_probe(base: str, nowhere: str) -> None:
    assert probe_ollama(f"{base}/ok") == Ollama(f"{base}/ok", MODELS)
    gc.collect()  # a connection that was left open would now be noticed
    assert probe_ollama(f"{base}/empty") == Ollama(f"{base}/empty", ())
    for broken in (nowhere, f"{base}/html", f"{base}/odd", f"{base}/gone", "http://[", "not an address"):
        assert probe_ollama(broken) == Ollama(broken, None)


@pytest.mark.parametrize(
    ("models", "model", "problem"),
    [
        (None, "glm", "no Ollama answers at http://x"),
        ((), "glm", "Ollama at http://x lacks glm: run `ollama pull glm`"),
        (MODELS, "glm", ""),
        (MODELS, "glm:latest", ""),
        (MODELS, "qwen:7b", ""),
        (MODELS, "qwen", "Ollama at http://x lacks qwen: run `ollama pull qwen`"),
        (MODELS, "glm:8b", "Ollama at http://x lacks glm:8b: run `ollama pull glm:8b`"),
    ],
)
def test_what_an_ollama_can_serve(models: tuple[str, ...] | None, model: str, problem: str) -> None:
    assert Ollama("http://x", models).problem(model) == problem


Plan = Callable[..., list[Served]]


@pytest.fixture
def planned(make_config: Callable[..., Any]) -> Plan:
    """The plan for a `model_list` of these litellm_params, named m0, m1, ..."""

    def make(*params: dict[str, Any], local: bool = True) -> list[Served]:
        models = [{"model_name": f"m{index}", "litellm_params": entry} for index, entry in enumerate(params)]
        tiers = {"only": {"score_range": [0, 100], "model": "m0"}}
        config = make_config({"model_list": models}, tiers=tiers, fallback_tier="only", aliases={})
        return plan(config, local)

    return make


def test_an_ollama_that_has_the_model(planned: Plan, base: str, server: Any) -> None:
    ollama = {"model": "ollama_chat/glm", "api_base": f"{base}/ok"}
    assert planned(ollama, {**ollama, "model": "ollama/qwen:7b"}) == [
        Served(0, "m0", "real", api_base=f"{base}/ok"),
        Served(1, "m1", "real", api_base=f"{base}/ok"),
    ]
    assert server.asked == ["/ok/api/tags"]  # once for both


def test_the_address_of_an_ollama_from_the_environment(
    planned: Plan, base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_LLM_API_BASE", f"{base}/ok")
    params = {"model": "ollama_chat/glm", "api_base": "os.environ/LOCAL_LLM_API_BASE"}
    assert planned(params) == [Served(0, "m0", "real", api_base=f"{base}/ok")]


@pytest.mark.parametrize(("local", "kind"), [(True, "local"), (False, "stand_in")])
def test_an_ollama_that_cannot_serve(planned: Plan, base: str, nowhere: str, local: bool, kind: Any) -> None:
    lacks = f"Ollama at {base}/empty lacks glm: run `ollama pull glm`"
    assert planned(
        {"model": "ollama/glm", "api_base": nowhere}, {"model": "ollama/glm", "api_base": f"{base}/empty"}, local=local
    ) == [
        Served(0, "m0", kind, "LOCAL_LLM_API_BASE", f"no Ollama answers at {nowhere}"),
        Served(1, "m1", kind, "LOCAL_LLM_API_BASE", lacks),
    ]


def test_the_address_where_ollama_usually_is() -> None:
    assert OLLAMA_DEFAULT == "http://127.0.0.1:11434"


def test_keys(planned: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(variable: str) -> tuple[str, str, str]:
        return ("stand_in", variable, f"{variable} is not set")

    params: list[dict[str, Any]] = [
        {"model": "openai/gpt-5-mini", "api_key": "os.environ/OPENAI_API_KEY"},
        {"model": "openai/gpt-5-mini", "api_key": "os.environ/MY_OWN_KEY"},
        {"model": "gpt-5-mini"},
        {"model": "anthropic/claude-x"},
        {"model": "openai/gpt-5-mini", "api_key": "sk-in-the-file"},
        {"model": "openai/own", "api_base": "http://127.0.0.1:1/v1"},  # an own server may need no key
        {"model": "groq/llama"},  # a provider whose variable we do not know
    ]
    real = ("real", "", "")

    def found() -> list[tuple[str, str, str]]:
        return [(served.kind, served.missing, served.note) for served in planned(*params)]

    openai, anthropic = missing("OPENAI_API_KEY"), missing("ANTHROPIC_API_KEY")
    assert found() == [openai, missing("MY_OWN_KEY"), openai, anthropic, real, real, real]
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("MY_OWN_KEY", "")  # empty is unset
    assert found() == [real, missing("MY_OWN_KEY"), real, anthropic, real, real, real]
    monkeypatch.setenv("MY_OWN_KEY", "sk-2")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-3")
    assert found() == [real] * 7


def test_a_provider_that_litellm_does_not_know(planned: Plan) -> None:
    with pytest.raises(ConfigError, match="LiteLLM knows no provider for 'no-such/x'"):
        planned({"model": "no-such/x"})


# Pointing deployments to what serves them

HOST: dict[str, Any] = {
    "model_list": [
        {"model_name": "local", "litellm_params": {"model": "ollama_chat/glm", "api_base": "os.environ/BASE"}},
        {
            "model_name": "gpt",
            "litellm_params": {"model": "openai/gpt-5-mini", "api_key": "os.environ/OPENAI_API_KEY", "timeout": 5},
        },
        {
            "model_name": "claude",
            "litellm_params": {"model": "anthropic/claude-x"},
            "model_info": {"input_cost_per_token": 9.0, "mode": "chat"},
        },
        {"model_name": "fine", "litellm_params": {"model": "openai/own", "api_key": "sk-x"}},
    ]
}
UNKNOWN = frozenset(CAPABILITIES)
KNOWN = {
    "local": Model("local", unknown=UNKNOWN),
    "gpt": Model(
        "gpt",
        Price(1.0, 2.0, 0.5, 1.25),
        supports=frozenset(("vision", "tools")),
        max_input_tokens=1000,
        max_output_tokens=100,
    ),
    "claude": Model("claude", Price(8.0, 3.0), supports=frozenset(("file",)), unknown=UNKNOWN - {"file"}),
    "fine": Model("fine", unknown=UNKNOWN),
}


def stand_in(style: str, variable: str) -> dict[str, Any]:
    return {"api_base": f"http://stand-in/{style}/{variable}", "api_key": "stand-in"}


def applied(served: list[Served], local: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    host = copy.deepcopy(HOST)
    apply(host, served, KNOWN, local, stand_in)
    entries: list[dict[str, Any]] = host["model_list"]
    return entries


def test_what_is_real_stays_as_it_is() -> None:
    assert (
        applied([Served(index, entry["model_name"], "real") for index, entry in enumerate(HOST["model_list"])])
        == HOST["model_list"]
    )
    assert applied([]) == HOST["model_list"]


def test_an_ollama_gets_the_address_that_answered() -> None:
    found = applied([Served(0, "local", "real", api_base="http://127.0.0.1:11434")])
    assert found[0]["litellm_params"] == {"model": "ollama_chat/glm", "api_base": "http://127.0.0.1:11434"}
    assert found[1:] == HOST["model_list"][1:]


def test_a_stand_in_keeps_the_price_and_the_abilities_of_what_it_stands_in_for() -> None:
    found = applied(
        [Served(1, "gpt", "stand_in", "OPENAI_API_KEY"), Served(2, "claude", "stand_in", "ANTHROPIC_API_KEY")]
    )
    assert found[1] == {
        "model_name": "gpt",
        "litellm_params": {
            "model": "openai/gpt-5-mini",
            "api_key": "stand-in",
            "timeout": 5,
            "api_base": "http://stand-in/openai/OPENAI_API_KEY",
        },
        "model_info": {
            "input_cost_per_token": 1.0,
            "output_cost_per_token": 2.0,
            "cache_read_input_token_cost": 0.5,
            "cache_creation_input_token_cost": 1.25,
            "max_input_tokens": 1000,
            "max_output_tokens": 100,
            # What it cannot do stays so: the map may know of no such limit.
            **dict.fromkeys(CAPABILITIES.values(), False),
            "supports_vision": True,
            "supports_function_calling": True,
        },
    }
    assert found[2] == {
        "model_name": "claude",
        "litellm_params": {
            "model": "anthropic/claude-x",
            "api_key": "stand-in",
            "api_base": "http://stand-in/anthropic/ANTHROPIC_API_KEY",
        },
        "model_info": {
            "input_cost_per_token": 9.0,
            "output_cost_per_token": 3.0,
            "supports_pdf_input": True,
            "mode": "chat",
        },
    }
    assert [found[0], found[3]] == [HOST["model_list"][0], HOST["model_list"][3]]


def test_a_stand_in_speaks_as_openai_does_for_all_others() -> None:
    found = applied([Served(0, "local", "stand_in", "LOCAL_LLM_API_BASE")])
    assert found[0]["litellm_params"] == {
        "model": "openai/glm",
        "api_base": "http://stand-in/openai/LOCAL_LLM_API_BASE",
        "api_key": "stand-in",
    }


def test_the_local_model() -> None:
    local = local_deployment("http://127.0.0.1:5")
    found = applied([Served(0, "local", "local", "LOCAL_LLM_API_BASE")], local)[0]
    assert found == {"model_name": "local", **local}
    assert found["litellm_params"]["api_base"] == "http://127.0.0.1:5/v1"
    assert found["litellm_params"]["model"].endswith(f"/{local_model.MODEL_NAME}")
    info = found["model_info"]
    assert (info["input_cost_per_token"], info["output_cost_per_token"]) == (0.0, 0.0)
    assert 0 < info["max_input_tokens"] <= local_model.CONTEXT_TOKENS - info["max_output_tokens"]
    # All is said of it: nothing is left to what the map knows of the model it stands in for.
    assert models([found])["local"] == Model(
        "local",
        Price(0.0, 0.0),
        max_input_tokens=info["max_input_tokens"],
        max_output_tokens=info["max_output_tokens"],
        local=True,
        host="llamafile http://127.0.0.1:5/v1",
    )


def test_a_stand_in_is_to_routing_what_it_stands_in_for() -> None:
    real = {"model_name": "gpt", "litellm_params": {"model": "openai/gpt-5-mini"}}
    host = {"model_list": [copy.deepcopy(real)]}
    known = models([real])
    apply(host, [Served(0, "gpt", "stand_in", "OPENAI_API_KEY")], known, None, stand_in)
    found = models(host["model_list"])
    assert found.keys() == known.keys()
    assert found["gpt"] == msgspec.structs.replace(known["gpt"], host=found["gpt"].host)


def test_no_deployment_of_the_operator_is_changed_in_place() -> None:
    before = copy.deepcopy(HOST)
    applied([Served(1, "gpt", "stand_in", "OPENAI_API_KEY")])
    assert before == HOST
