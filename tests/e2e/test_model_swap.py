"""Strategy ml with two workers: each takes up another model file while it serves, and none that is damaged."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from bsgateway.core import core
from bsgateway.learn.promotion import accept
from bsgateway.models import install
from e2e.clients import Reply, new_request_id, send
from e2e.gateways import Gateway, start_serve, write_config
from e2e.records import probed, until
from e2e.upstream import ANSWER, Upstream
from model_files import model

EASY, HARD = model(bias=-4.0).to_bytes(), model(bias=4.0).to_bytes()
EASY_SCORE, HARD_SCORE = "10", "90"
REQUESTS = 12
WORKERS: set[int] = set()
"""All processes that have answered so far."""


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Iterator[Gateway]:
    """`bsgateway serve --workers 2`, whose model finds everything easy."""
    directory = tmp_path_factory.mktemp("models")
    state = directory / "state"
    state.mkdir(mode=0o700)
    install(EASY, state / "model.safetensors")
    config = write_config(directory, upstream, classifier={"strategy": "ml"})
    running = start_serve(config, state, upstream, "--workers", "2")
    try:
        running.wait_for_workers(2)
        yield running
        running.stop()
    finally:
        running.kill()


def model_file(gateway: Gateway) -> Path:
    assert gateway.state is not None
    return gateway.state / "model.safetensors"


async def scores(gateway: Gateway) -> dict[int, set[str]]:
    """The scores that each worker gives to the same request now."""
    replies = await asyncio.gather(
        *(send(gateway, "chat", "auto", f"What is it? {new_request_id()}", stream=False) for _ in range(REQUESTS))
    )
    found = defaultdict(set)
    for reply in replies:
        assert reply.text == ANSWER
        assert reply.routing["strategy"] == "ml"
        assert reply.routing["model"] == {EASY_SCORE: "small", HARD_SCORE: "large"}[reply.routing["score"]]
        found[await worker(gateway, reply)].add(reply.routing["score"])
    return found


async def worker(gateway: Gateway, reply: Reply) -> int:
    """The process that has answered."""
    found: list[int] = []

    async def known() -> bool:
        with contextlib.suppress(json.JSONDecodeError):  # the last line is being written
            found.extend(event["pid"] for event in probed(gateway, reply.decision_id))
        return bool(found)

    await until("the event of an answer", known)
    return found[0]


async def until_both_score(gateway: Gateway, score: str) -> None:
    async def so() -> bool:
        found = await scores(gateway)
        assert len(WORKERS | found.keys()) <= 2, "a worker was replaced"
        WORKERS.update(found)
        return len(found) == 2 and set().union(*found.values()) == {score}

    await until(f"a score of {score} by both workers", so)


async def test_each_worker_takes_up_another_model(workers: Gateway) -> None:
    await until_both_score(workers, EASY_SCORE)
    install(HARD, model_file(workers))
    await until_both_score(workers, HARD_SCORE)
    assert model_file(workers).with_name("model.previous.safetensors").read_bytes() == EASY
    ids = [core.LearnedModel(data).id for data in (EASY, HARD)]
    connection = await asyncpg.connect(workers.dsn)

    async def both_are_logged() -> bool:
        rows = await connection.fetch("SELECT DISTINCT scorer_id, complexity_score FROM routing_logs")
        return {tuple(row) for row in rows} == set(zip(ids, map(int, (EASY_SCORE, HARD_SCORE)), strict=True))

    await until("rows of both models", both_are_logged)
    await connection.close()


async def test_each_worker_follows_a_promotion_and_the_way_back(workers: Gateway) -> None:
    path = model_file(workers)
    install(EASY, path)
    trained = model(bias=4.0, rows=7).to_bytes()
    accept(path, trained, "the shipped prior", promoted=False)
    wanted = core.LearnedModel(trained).id
    await until_both_score(workers, EASY_SCORE)
    where = ["--config", str(workers.config), "--state", str(workers.state)]
    assert await command("promote", wanted, *where) == 1, "it was never measured"
    assert await command("promote", wanted, "--force", *where) == 0
    await until_both_score(workers, HARD_SCORE)
    assert await command("rollback", *where) == 0
    await until_both_score(workers, EASY_SCORE)


async def command(*arguments: str) -> int | None:
    """Exit code of `bsgateway models`, as a process."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-m", "bsgateway", "models", *arguments)
    return await asyncio.wait_for(process.wait(), 60)


@pytest.mark.parametrize(
    ("damaged", "reason"),
    [
        (EASY[:-1], "the file is cut short: its tensors are not all there"),
        (EASY[:-9] + b"\1" + EASY[-8:], "the checksum does not fit"),
        (EASY + bytes(9 << 20), "the file is larger than 8388608 bytes"),
    ],
    ids=["cut short", "changed", "too large"],
)
async def test_a_damaged_file_leaves_the_model_that_scores(workers: Gateway, damaged: bytes, reason: str) -> None:
    path = model_file(workers)
    install(HARD, path)
    await until_both_score(workers, HARD_SCORE)
    before = len(workers.said())
    path.with_suffix(".new").write_bytes(damaged)
    path.with_suffix(".new").replace(path)
    refusal = f"model file {path} refused: {reason}"

    async def both_have_said_so() -> bool:
        return workers.said()[before:].count(refusal) == 2

    await until("both workers' refusal", both_have_said_so)
    await until_both_score(workers, HARD_SCORE)
    assert workers.said()[before:].count(refusal) == 2, "said once by each"
    install(EASY, path)
    await until_both_score(workers, EASY_SCORE)


async def test_without_a_file_the_model_stays(workers: Gateway) -> None:
    path = model_file(workers)
    install(HARD, path)
    await until_both_score(workers, HARD_SCORE)
    before = len(workers.said())
    path.unlink()

    async def both_have_said_so() -> bool:
        return workers.said()[before:].count(f"model file {path} is gone") == 2

    await until("both workers' word", both_have_said_so)
    await until_both_score(workers, HARD_SCORE)
