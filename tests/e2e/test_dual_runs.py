"""Learning through a real proxy: requests that two tiers answer, with a judge, and tiers drawn at random. The client
notices nothing of either."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import yaml

from e2e.clients import PROMPTS, http, new_request_id
from e2e.gateways import FLUSH_SECONDS, PROVIDER_KEY, Gateway, start_serve, write_config
from e2e.records import until
from e2e.upstream import ANSWER, Call, Plan, Upstream

PATHS = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
TIERS = {
    "simple": {"score_range": [0, 30], "model": "small"},
    "medium": {"score_range": [31, 65], "model": "medium"},
    "complex": {"score_range": [66, 100], "model": "large"},
}
MODELS = {"simple": "small", "medium": "medium", "complex": "large"}
LEARNING = {
    "explore": "50%",
    "dual_run": "100%",
    "dual_run_usd_per_day": 100.0,
    "judge": {"method": "llm", "model": "referee"},
}
RIGHT, WRONG = "The answer is 42, as everybody knows.", "The answer is 41, as far as I know."


def verdict(body: dict[str, Any]) -> str:
    """A judge that knows what is right, and answers with a word."""
    question = str(body["messages"])
    first, second = question.find(RIGHT), question.find(WRONG)
    assert min(first, second) > 0, "the judge is not shown both answers"
    return "FIRST" if first < second else "SECOND"


@pytest.fixture(scope="module")
def learning(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """A gateway that explores half of its requests and has all of them answered twice."""
    directory: Path = tmp_path_factory.mktemp("learning")
    collector = {"flush_seconds": FLUSH_SECONDS, "text": "none", "opt_out": "row"}
    config = write_config(
        directory, upstream, tiers=TIERS, learning=LEARNING, collector=collector, client_overrides=["tier"]
    )
    whole = yaml.safe_load(config.read_text())
    base = f"{upstream.base_url}/referee/v1"
    params = {"model": "openai/gpt-5-nano", "api_base": base, "api_key": PROVIDER_KEY}
    whole["model_list"].append({"model_name": "referee", "litellm_params": params})
    config.write_text(yaml.safe_dump(whole, sort_keys=False))
    running = start_serve(config, directory / "state", upstream)
    try:
        yield running
        running.stop()
    finally:
        running.kill()


class Answered:
    """One request and its answer."""

    def __init__(self, gateway: Gateway, request_id: str, headers: Any, text: str, seconds: float) -> None:
        self.gateway, self.request_id, self.text, self.seconds = gateway, request_id, text, seconds
        self.decision_id = UUID(headers["x-bsgateway-decision-id"])
        self.tier = headers["x-bsgateway-tier"]
        self.reason = headers["x-bsgateway-reason"]

    def calls(self, group: str) -> list[Call]:
        return [call for call in self.gateway.upstream.calls(self.request_id) if call.group == group]


async def ask(
    gateway: Gateway,
    endpoint: str = "chat",
    *,
    stream: bool = False,
    tier: str | None = None,
    plans: dict[str, Plan] | None = None,
    headers: dict[str, str] | None = None,
    **body: Any,
) -> Answered:
    """Send one request; `plans` say what its groups do."""
    request_id = new_request_id()
    for group, plan in (plans or {}).items():
        gateway.upstream.plan(request_id, plan, group)
    words = f"{PROMPTS['simple']} {request_id}"
    said: Any = words if endpoint == "responses" else [{"role": "user", "content": words}]
    whole = {"model": "auto", "input" if endpoint == "responses" else "messages": said, "stream": stream, **body}
    if endpoint == "messages":
        whole["max_tokens"] = 300
    asked = {**(headers or {}), **({} if tier is None else {"x-bsgateway-tier": tier})}
    began = time.monotonic()
    async with http(gateway) as client:
        answer = await client.post(PATHS[endpoint], json=whole, headers=asked)
    assert answer.status_code == 200, answer.text
    return Answered(gateway, request_id, answer.headers, answer.text, time.monotonic() - began)


async def rows(gateway: Gateway, table: str, decision_id: UUID) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(gateway.dsn)
    try:
        return await connection.fetch(f"SELECT * FROM {table} WHERE decision_id = $1", decision_id)
    finally:
        await connection.close()


async def only(gateway: Gateway, table: str, decision_id: UUID) -> asyncpg.Record:
    """The one row of a decision, once it is there."""

    async def there() -> bool:
        return bool(await rows(gateway, table, decision_id))

    await until(f"a row of {decision_id} in {table}", there)
    (row,) = await rows(gateway, table, decision_id)
    return row


KNOWING = {group: Plan(answer=WRONG if group == "small" else RIGHT) for group in MODELS.values()}
JUDGED = {**KNOWING, "referee": Plan(answer=verdict)}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("endpoint", ["chat", "messages"])
@pytest.mark.parametrize("tier", ["simple", "medium", "complex"])
async def test_two_tiers_are_compared(learning: Gateway, endpoint: str, stream: bool, tier: str) -> None:
    found = await ask(learning, endpoint, stream=stream, tier=tier, plans=JUDGED, metadata={"user_id": "client-17"})
    assert found.tier == tier
    assert ("41" if tier == "simple" else "42") in found.text.replace("\n", "")
    row = await only(learning, "routing_comparisons", found.decision_id)
    strong = "complex" if tier == "simple" else tier
    assert (row["weak_tier"], row["strong_tier"]) == ("simple", strong)
    assert (row["weak_model"], row["strong_model"]) == ("small", MODELS[strong])
    assert (row["weak_score"], row["strong_score"]) == (0.0, 1.0)
    assert (row["judge"], row["judge_model"], row["share"]) == ("llm", "referee", 1.0)
    assert 0 < row["cost"] < 0.1
    assert row["created_at"].timestamp() > row["decision_id"].int / 2**80 / 1000

    assert [len(found.calls(group)) for group in ("small", MODELS[strong], "referee")] == [1, 1, 2]
    second = found.calls(MODELS[strong] if tier == "simple" else "small")[0]
    assert not second.stream
    assert "client-17" not in str(second.body)
    assert "bsgateway" not in str(second.body)
    # LiteLLM's report of the second call is not taken for the client's.
    outcome = await only(learning, "routing_outcomes", found.decision_id)
    assert (outcome["served_group"], outcome["status"], outcome["finish_reason"]) == (MODELS[tier], "success", "stop")


async def test_a_judge_that_prefers_what_comes_first_makes_it_a_tie(learning: Gateway) -> None:
    found = await ask(learning, tier="simple", plans={**KNOWING, "referee": Plan(answer="FIRST")})
    row = await only(learning, "routing_comparisons", found.decision_id)
    assert (row["weak_score"], row["strong_score"]) == (0.5, 0.5)


async def test_the_client_does_not_wait_for_the_second_model(learning: Gateway) -> None:
    slow = {**JUDGED, "large": Plan(delay=6.0, answer=RIGHT)}
    found = await ask(learning, tier="simple", plans=slow)
    assert found.seconds < 6.0
    assert not await rows(learning, "routing_comparisons", found.decision_id)
    row = await only(learning, "routing_comparisons", found.decision_id)
    assert row["weak_score"] == 0.0


async def test_what_is_never_answered_twice(learning: Gateway) -> None:
    """Tools, what opted out of the log, and formats that are not converted; nothing comes of a second model or a judge
    that fails."""
    tool = {"type": "function", "function": {"name": "pay", "parameters": {"type": "object", "properties": {}}}}
    never = [
        await ask(learning, tools=[tool], tier="complex", plans=JUDGED),
        await ask(learning, tools=[tool], tier="complex", stream=True, plans=JUDGED),
        await ask(learning, headers={"x-bsgateway-no-log": "true"}, tier="complex", plans=JUDGED),
        await ask(learning, "responses", tier="complex", plans=JUDGED),
        await ask(learning, n=2, tier="complex", plans=JUDGED),
    ]
    failed = await ask(learning, tier="simple", plans={**JUDGED, "large": Plan(status=500)})
    mute = await ask(learning, tier="simple", plans={**KNOWING, "referee": Plan(answer="Both are fine.")})
    # What is queued is done in order, a few at a time: by the end of a slow one the others are done as well.
    last = await ask(learning, tier="simple", plans={**JUDGED, "large": Plan(delay=1.0, answer=RIGHT)})
    await only(learning, "routing_comparisons", last.decision_id)
    for found in never:
        assert len(learning.upstream.calls(found.request_id)) == 1
    for found in (*never, failed, mute):
        assert not await rows(learning, "routing_comparisons", found.decision_id)
    assert len(failed.calls("large")) == 1, "no fallback, no second try"
    assert not failed.calls("medium")
    assert not failed.calls("referee")
    assert "a dual run with large failed: InternalServerError" in learning.said()
    assert ANSWER not in learning.said()
    assert RIGHT not in learning.said()


async def test_chance_has_its_share(learning: Gateway) -> None:
    found = await asyncio.gather(*(ask(learning) for _ in range(30)))
    seen = []
    for each in found:
        row = await only(learning, "routing_logs", each.decision_id)
        is_own = row["tier"] == "simple"
        assert row["propensity"] == pytest.approx(0.5 / 3 + (0.5 if is_own else 0.0))
        assert row["reason"] == each.reason == ("score" if is_own else "explored")
        assert row["explored"] or is_own
        assert each.calls(MODELS[each.tier]), "it went there"
        seen.append(row["tier"])
    assert {"simple"} < set(seen)  # not so once in 190,000 runs
    asked = await ask(learning, tier="medium")
    row = await only(learning, "routing_logs", asked.decision_id)
    assert (row["propensity"], row["explored"], row["reason"]) == (None, False, "requested_tier")


async def test_the_budget_of_the_day_ends_it(learning: Gateway) -> None:
    await spend_at_most(learning, 1e-9)
    found = [await ask(learning, tier="simple", plans=JUDGED) for _ in range(3)]
    await spend_at_most(learning, 100.0)
    last = await ask(learning, tier="simple", plans={**JUDGED, "large": Plan(delay=1.0, answer=RIGHT)})
    await only(learning, "routing_comparisons", last.decision_id)
    for each in found:
        await only(learning, "routing_outcomes", each.decision_id)
        assert [call.group for call in learning.upstream.calls(each.request_id)] == ["small"]
        assert not await rows(learning, "routing_comparisons", each.decision_id)


async def spend_at_most(gateway: Gateway, dollars: float) -> None:
    """Change the configuration of the running gateway."""
    whole = yaml.safe_load(gateway.config.read_text())
    whole["routing"]["learning"]["dual_run_usd_per_day"] = dollars
    gateway.config.write_text(yaml.safe_dump(whole, sort_keys=False))
    before = gateway.said().count("reloaded by")
    gateway.process.send_signal(signal.SIGHUP)

    async def reloaded() -> bool:
        return gateway.said().count("reloaded by") > before

    await until("the new configuration", reloaded)
