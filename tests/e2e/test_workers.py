"""Two worker processes: nothing is written twice, nothing is missing."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from e2e.clients import ENDPOINTS, GROUPS, PROMPTS, Reply, new_request_id, send
from e2e.gateways import Gateway, start_serve, write_config
from e2e.load import answers_until_stopped, assert_complete, log_of
from e2e.records import Log, probed, until
from e2e.upstream import ANSWER, Upstream

REQUESTS = 60


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """`bsgateway serve --workers 2`."""
    directory = tmp_path_factory.mktemp("workers")
    running = start_serve(write_config(directory, upstream), directory / "state", upstream, "--workers", "2")
    try:
        running.wait_for_workers(2)
        yield running
    finally:
        running.kill()


async def test_each_of_many_requests_at_once_has_one_row_and_one_outcome(workers: Gateway) -> None:
    async def ask(number: int) -> Reply:
        endpoint = list(ENDPOINTS)[number % len(ENDPOINTS)]
        tier = list(PROMPTS)[number % len(PROMPTS)]
        request_id = new_request_id()
        reply = await send(workers, endpoint, "auto", f"{PROMPTS[tier]} {request_id}", stream=number % 2 == 0)
        assert reply.text == ANSWER
        assert [call.group for call in workers.upstream.calls(request_id)] == [GROUPS[tier]]
        assert reply.routing["model"] == GROUPS[tier]
        return reply

    replies = await asyncio.gather(*map(ask, range(REQUESTS)))
    wanted = {reply.decision_id for reply in replies}
    async with await Log.open(workers.dsn) as log:

        async def all_there() -> bool:
            return wanted <= set(await log.ids("routing_logs")) & set(await log.ids("routing_outcomes"))

        await until("all rows and outcomes", all_there)
        for reply in replies:
            row, outcome = await log.complete(reply.call_id)
            assert row["resolved_model"] == outcome["served_group"] == reply.routing["model"]
        for table in ("routing_logs", "routing_outcomes"):
            assert sorted(await log.ids(table)) == sorted(wanted)
    events = [event for reply in replies for event in probed(workers, reply.decision_id)]
    assert len(events) == REQUESTS
    assert len({event["pid"] for event in events}) == 2, "one worker did all the work"
    assert {event["loop"] for event in events} == {"uvloop"}


async def test_what_was_answered_is_logged_after_ctrl_c(workers: Gateway) -> None:
    # As a terminal does: the workers get the signal as well as their parent, which then ends them by SIGTERM.
    replies = await answers_until_stopped(workers, lambda: workers.stop(signal.SIGINT, to_group=True))
    assert workers.state is not None
    async with log_of(workers.state) as log:
        await assert_complete(log, replies)
