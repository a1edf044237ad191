"""A changed gateway.yaml is taken up by a gateway that runs, under load and by all its workers, or not at all."""

from __future__ import annotations

import asyncio
import copy
import itertools
import json
import os
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from e2e.clients import ENDPOINTS, MAX_TOKENS, PROMPTS, http, new_request_id, send
from e2e.gateways import Gateway, serving, start_litellm, start_serve, write_config
from e2e.records import Log, until
from e2e.upstream import ANSWER, Plan, Upstream

ROUTE = "/bsgateway/reload"
ORDINARY = "sk-e2e-ordinary-2b7f"
AUTHENTICATE = """
import os
from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

ROLES = {{os.environ["LITELLM_MASTER_KEY"]: "PROXY_ADMIN", "{ordinary}": "INTERNAL_USER"}}

async def authenticate(request, api_key):
    if api_key not in ROLES:
        raise ProxyException(message="no such key", type="auth_error", param=None, code=401)
    return UserAPIKeyAuth(api_key=api_key, user_role=LitellmUserRoles[ROLES[api_key]])
"""
REQUESTS = 100
RELOADS = 6


class Operator:
    """Edits a gateway's gateway.yaml, and knows what it was at the start."""

    def __init__(self, gateway: Gateway) -> None:
        self.gateway = gateway
        self.original: dict[str, Any] = yaml.safe_load(gateway.config.read_text())

    def edit(self, change: Callable[[dict[str, Any]], None] = lambda _: None) -> None:
        """Write the file as it was at the start, but for `change`."""
        config = copy.deepcopy(self.original)
        change(config)
        path = self.gateway.config
        path.with_suffix(".new").write_text(yaml.safe_dump(config, sort_keys=False))
        path.with_suffix(".new").replace(path)

    async def post(self, key: str | None = None) -> httpx.Response:
        """Ask for a reload by the admin route; with the master key, another one, or none ("")."""
        async with http(self.gateway) as client:
            if key is not None:
                client.headers["Authorization"] = f"Bearer {key}"
            if key == "":
                del client.headers["Authorization"]
            return await client.post(ROUTE)

    async def hang_up(self, words: str, times: int = 1) -> str:
        """Ask by SIGHUP, until the log has these words so many times more. What was logged meanwhile."""
        before = len(self.gateway.said())
        self.gateway.process.send_signal(signal.SIGHUP)

        async def said() -> bool:
            return self.gateway.said()[before:].count(words) >= times

        await until(f"{words!r} in the log", said)
        return self.gateway.said()[before:]

    async def served(self, tier: str) -> str:
        """The model that serves a prompt of this tier, as headers and provider say."""
        request_id = new_request_id()
        reply = await send(self.gateway, "chat", "auto", f"{PROMPTS[tier]} {request_id}")
        assert reply.text == ANSWER
        assert [call.group for call in self.gateway.upstream.calls(request_id)] == [reply.routing["model"]]
        return reply.routing["model"]

    async def listed(self) -> set[str]:
        """What /v1/models lists."""
        async with http(self.gateway) as client:
            return {model["id"] for model in (await client.get("/v1/models")).json()["data"]}


def simple_is_medium(config: dict[str, Any]) -> None:
    """The tier `simple` by another model."""
    config["routing"]["tiers"]["simple"]["model"] = "medium"


def simple_is_cheap(config: dict[str, Any]) -> None:
    """The tier `simple` by another model and another name."""
    tiers = config["routing"]["tiers"]
    tiers["cheap"] = {**tiers.pop("simple"), "model": "medium"}


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """`bsgateway serve`, with keys of the operator's own."""
    directory = tmp_path_factory.mktemp("reload")
    path = write_config(directory, upstream)
    config = yaml.safe_load(path.read_text())
    config["general_settings"]["custom_auth"] = "authenticate.authenticate"
    path.write_text(yaml.safe_dump(config))
    (directory / "authenticate.py").write_text(AUTHENTICATE.format(ordinary=ORDINARY))
    with serving(path, upstream) as running:
        yield running


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """`bsgateway serve --workers 2`."""
    directory = tmp_path_factory.mktemp("reload-workers")
    running = start_serve(write_config(directory, upstream), directory / "state", upstream, "--workers", "2")
    try:
        running.wait_for_workers(2)
        yield running
        running.stop()
    finally:
        running.kill()


@pytest.fixture
async def operator(one_worker: Gateway) -> AsyncIterator[Operator]:
    """Of the gateway with one worker, whose configuration is afterwards what it was."""
    operator = Operator(one_worker)
    yield operator
    operator.edit()
    assert (await operator.post()).status_code == 200


async def test_the_next_request_after_a_hangup_is_routed_anew(operator: Operator) -> None:
    assert await operator.served("simple") == "small"
    operator.edit(simple_is_medium)
    assert "reloaded by SIGHUP: routing.tiers.simple.model changed" in await operator.hang_up("reloaded by")
    told = operator.gateway.events("reloaded")[-1]
    assert (told["by"], told["changed"]) == ("SIGHUP", ["routing.tiers.simple.model"])
    assert await operator.served("simple") == "medium"
    assert "nothing has changed" in await operator.hang_up("reloaded by")


async def test_a_reload_changes_what_is_logged(operator: Operator) -> None:
    gateway = operator.gateway
    assert await operator.served("simple") == "small"
    assert gateway.events("decided") == []
    operator.edit(lambda config: config["routing"].update(telemetry={"log_level": "debug"}))
    assert (await operator.post()).status_code == 200
    reply = await send(gateway, "chat", "auto", PROMPTS["simple"])
    (decided,) = gateway.events("decided")
    assert (decided["decision_id"], decided["model"]) == (str(reply.decision_id), "small")
    assert (decided["tier"], decided["strategy"], decided["applied"]) == ("simple", "static", True)
    assert PROMPTS["simple"] not in gateway.said()


async def test_the_admin_route_says_what_came_of_it(operator: Operator) -> None:
    def change(config: dict[str, Any]) -> None:
        simple_is_medium(config)
        config["model_list"].append(copy.deepcopy(config["model_list"][-1]))
        config["routing"]["collector"]["text_chars"] = 4711

    operator.edit(change)
    answer = await operator.post()
    assert answer.status_code == 200
    said = answer.json()
    assert said["reloaded"] is True
    assert said["changed"] == ["routing.tiers.simple.model"]
    assert said["needs_restart"] == ["model_list", "routing.collector"]
    assert "follow" in said["worker"]
    assert await operator.served("simple") == "medium"
    assert "takes effect at the next start: model_list, routing.collector" in operator.gateway.said()


async def test_a_file_with_mistakes_leaves_the_old_configuration(operator: Operator) -> None:
    def change(config: dict[str, Any]) -> None:
        simple_is_medium(config)
        config["routing"]["fallback_tier"] = "medum"
        config["routing"]["tiers"]["complex"]["model"] = "nobody"

    operator.edit(change)
    said = await operator.hang_up("the old configuration stays")
    assert f"reload by SIGHUP refused, the old configuration stays: {operator.gateway.config} has 2 mistake(s):" in said
    lines = operator.gateway.config.read_text().splitlines()
    answer = await operator.post()
    assert answer.status_code == 422
    body = answer.json()
    assert (body["reloaded"], body["file"]) == (False, str(operator.gateway.config))
    found = {problem["path"]: problem for problem in body["problems"]}
    assert set(found) == {"routing.fallback_tier", "routing.tiers.complex.model"}
    for problem in found.values():
        assert problem["message"]
        assert f"{operator.gateway.config}:{problem['line']}: {problem['path']}: {problem['message']}" in said
    assert "medum" in lines[found["routing.fallback_tier"]["line"] - 1]
    assert "medium" in found["routing.fallback_tier"]["hint"]
    assert await operator.served("simple") == "small"


async def test_a_model_that_the_proxy_lacks_serves_no_tier(operator: Operator) -> None:
    def change(config: dict[str, Any]) -> None:
        newest = copy.deepcopy(config["model_list"][2])
        config["model_list"].append({**newest, "model_name": "newest"})
        config["routing"]["tiers"]["simple"]["model"] = "newest"

    operator.edit(change)
    answer = await operator.post()
    assert answer.status_code == 422
    (problem,) = answer.json()["problems"]
    assert problem["path"] == "routing.tiers.simple.model"
    assert "the running proxy keeps the model_list" in problem["message"]
    assert await operator.served("simple") == "small"


async def test_aliases_come_and_go(operator: Operator) -> None:
    def change(config: dict[str, Any]) -> None:
        config["routing"]["aliases"] = {"auto": "auto_route", "fresh": "large"}

    assert {"auto", "auto-cheapest", "frontier", "small"} <= await operator.listed()
    operator.edit(change)
    assert (await operator.post()).status_code == 200
    assert {"auto", "fresh", "small"} <= (listed := await operator.listed())
    assert not {"auto-cheapest", "frontier"} & listed
    reply = await send(operator.gateway, "messages", "fresh", PROMPTS["simple"])
    assert (reply.routing["method"], reply.routing["model"]) == ("alias", "large")


async def test_fallbacks_follow_the_tiers(operator: Operator) -> None:
    def change(config: dict[str, Any]) -> None:
        tiers = config["routing"]["tiers"]
        del tiers["broken"]
        tiers["simple"].update(score_range=[0, 65], model="embedder")
        tiers["medium"]["score_range"] = [66, 67]
        tiers["complex"]["score_range"] = [68, 100]
        config["routing"]["required_needs"] = []

    operator.edit(change)
    assert (await operator.post()).status_code == 200
    request_id = new_request_id()
    operator.gateway.upstream.plan(request_id, Plan(status=503), "embedder")
    reply = await send(operator.gateway, "chat", "auto", f"{PROMPTS['simple']} {request_id}")
    assert [call.group for call in operator.gateway.upstream.calls(request_id)] == ["embedder", "medium"]
    assert (reply.text, reply.routing["model"]) == (ANSWER, "medium")


@pytest.mark.parametrize(
    ("key", "status"), [(ORDINARY, 403), ("sk-e2e-nobody", 401), ("", 401)], ids=["ordinary", "wrong", "none"]
)
async def test_only_an_admin_may_reload(operator: Operator, key: str, status: int) -> None:
    operator.edit(simple_is_medium)
    answer = await operator.post(key)
    assert answer.status_code == status
    assert answer.json().get("reloaded") in (None, False)
    assert await operator.served("simple") == "small"


async def test_a_stream_in_flight_is_not_disturbed(operator: Operator) -> None:
    request_id = new_request_id()
    operator.gateway.upstream.plan(request_id, Plan(pause=0.1), "small")
    body = {
        "model": "auto",
        "stream": True,
        "max_tokens": MAX_TOKENS,
        "messages": [{"role": "user", "content": f"{PROMPTS['simple']} {request_id}"}],
    }
    text = ""
    async with http(operator.gateway) as client, client.stream("POST", "/v1/chat/completions", json=body) as answer:
        operator.gateway.note(answer.headers)
        async for line in answer.aiter_lines():
            if line.startswith("data: {"):
                text += "".join(choice["delta"].get("content") or "" for choice in json.loads(line[6:])["choices"])
                if text and await operator.served("simple") == "small":
                    operator.edit(simple_is_cheap)
                    assert (await operator.post()).json()["changed"]
                    assert await operator.served("simple") == "medium"
                    before_end = len(text) < len(ANSWER)
    assert before_end, "it had ended before the reload"
    assert text == ANSWER
    assert answer.headers["x-bsgateway-tier"] == "simple"
    async with await Log.open(operator.gateway.dsn) as log:
        row, outcome = await log.complete(answer.headers["x-litellm-call-id"])
    assert (row["tier"], row["resolved_model"], outcome["served_group"]) == ("simple", "small", "small")
    assert outcome["baseline_model"] == "large"


async def test_all_workers_follow_a_hangup(two_workers: Gateway) -> None:
    operator = Operator(two_workers)
    before = two_workers.workers()
    for change, model in ((simple_is_medium, "medium"), (lambda _: None, "small")):
        operator.edit(change)
        said = await operator.hang_up("routing.tiers.simple.model changed", times=2)
        assert said.count("reloaded by SIGHUP") == said.count("reloaded by another worker") == 1
        assert set(await asyncio.gather(*(operator.served("simple") for _ in range(20)))) == {model}
    assert two_workers.workers() == before, "workers were started anew"


async def test_no_request_fails_while_the_configuration_changes(two_workers: Gateway) -> None:
    operator = Operator(two_workers)
    tiers = {"simple": "small", "cheap": "medium"}
    seen: list[tuple[str, str]] = []
    numbers, done = iter(range(REQUESTS)), asyncio.Event()

    async def client(endpoints: Iterator[str]) -> None:
        for endpoint in endpoints:
            if next(numbers, None) is None and done.is_set():
                return
            request_id = new_request_id()
            reply = await send(
                two_workers, endpoint, "auto", f"{PROMPTS['simple']} {request_id}", stream=len(seen) % 2 == 0
            )
            assert reply.text == ANSWER
            assert [call.group for call in two_workers.upstream.calls(request_id)] == [reply.routing["model"]]
            seen.append((reply.routing["tier"], reply.routing["model"]))

    async def reload() -> None:
        for number in range(RELOADS):
            operator.edit(simple_is_cheap if number % 2 == 0 else lambda _: None)
            if number % 3 == 2:
                await operator.hang_up("reloaded by SIGHUP")
            else:
                assert (await operator.post()).status_code == 200
            count = len(seen)

            async def enough(count: int = count) -> bool:
                return len(seen) >= count + REQUESTS // RELOADS

            await until("requests after the reload", enough)
        done.set()

    await asyncio.gather(reload(), *(client(itertools.cycle(ENDPOINTS)) for _ in range(5)))
    assert len(seen) >= REQUESTS
    assert set(seen) == set(tiers.items())
    assert "the old configuration stays" not in two_workers.said()


async def test_plain_litellm_reloads_too(tmp_path: Path, upstream: Upstream, postgres_dsn: str) -> None:
    gateway = start_litellm(write_config(tmp_path, upstream), upstream, postgres_dsn)
    try:
        operator = Operator(gateway)
        assert await operator.served("simple") == "small"

        def change(config: dict[str, Any]) -> None:
            simple_is_medium(config)
            config["routing"]["aliases"] = {"auto": "auto_route", "fresh": "large"}

        source = gateway.config
        operator.edit(change)
        written = source.read_bytes()
        said = (await operator.post()).json()
        assert said["changed"] == [
            "routing.tiers.simple.model", "routing.aliases.auto-cheapest", "routing.aliases.frontier",
            "routing.aliases.fresh",
        ]  # fmt: skip
        assert await operator.served("simple") == "medium"
        assert "fresh" in (listed := await operator.listed())
        assert "frontier" not in listed
        assert (await operator.post("sk-wrong")).status_code in (400, 401)
        assert source.read_bytes() == written
        operator.edit(lambda config: config["routing"].update(fallback_tier="none"))
        assert "refused" in await operator.hang_up("the old configuration stays")
        operator.edit()
        os.kill(gateway.process.pid, signal.SIGHUP)

        async def is_back() -> bool:
            return "frontier" in await operator.listed()

        await until("the first configuration", is_back)
        assert await operator.served("simple") == "small"
        gateway.stop()
    finally:
        gateway.kill()
