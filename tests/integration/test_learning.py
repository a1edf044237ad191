"""The page about learning on the log of a real PostgreSQL: it counts the labels that training finds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from bsgateway.check import load_config
from bsgateway.config import Config
from bsgateway.core import core
from bsgateway.decision import Decision, now
from bsgateway.learn.labels import Label, Tiers
from bsgateway.learn.log_rows import LogRows, read_log
from bsgateway.learn.promotion import accept
from bsgateway.learn.rows import Rows
from bsgateway.models import prior_bytes
from bsgateway.sql import queries
from bsgateway.store import Store
from bsgateway.web import learning as page
from bsgateway.web.learning import label_counts, learning, promote
from bsgateway.web.problems import RequestError
from bsgateway.web.views import LabelCount, PromoteRequest
from builders import id_at
from labelled_log import Record, make_asks, make_log
from model_files import model

CONFIG = Path(__file__).parents[2] / "gateway.yaml"
TIERS = Tiers({"simple": ("small",), "medium": ("middle",), "complex": ("large",)})
APART = timedelta(seconds=30)
DAYS = 1.0
PARTS = (0, 40, 60)


@dataclass
class Log:
    """Requests of the last hour, and some of three days ago."""

    store: Store
    connection: asyncpg.Connection[asyncpg.Record]
    start: datetime

    def decision(self, place: int) -> UUID:
        """Each part of the log numbers its requests anew."""
        return id_at(self.start + place * APART, place - max(first for first in PARTS if first <= place))

    async def feedback(self, place: int, source: str, rating: float | None = None, label: str | None = None) -> None:
        await self.connection.execute(
            "INSERT INTO routing_feedback (decision_id, source, rating, label) VALUES ($1, $2, $3, $4)",
            self.decision(place), source, rating, label,
        )  # fmt: skip

    async def change(self, place: int, table: str, **fields: Any) -> None:
        sets = ", ".join(f"{name} = ${number}" for number, name in enumerate(fields, 2))
        query = f"UPDATE {table} SET {sets} WHERE decision_id = $1"
        assert await self.connection.execute(query, self.decision(place), *fields.values()) == "UPDATE 1"

    async def labels(self, days: float = DAYS) -> dict[str, LabelCount]:
        async with self.store.acquire() as connection, connection.transaction(readonly=True):
            return {each.source: each for each in await label_counts(connection, TIERS, days)}

    async def counted(self, days: float = DAYS) -> dict[str, int]:
        return {name: each.labels for name, each in (await self.labels(days)).items() if each.labels}

    async def trained_on(self, days: float = DAYS) -> dict[str, int]:
        """The labels that training finds in the same time."""
        into, parts = LogRows(TIERS), list[Rows]()
        await read_log(self.store, now() - timedelta(days=days), None, into, parts.append)
        return dict(into.counts.labels)


def own_conversation(record: Record, part: int) -> Record:
    if not isinstance(record, Decision):
        return record
    return msgspec.structs.replace(record, conversation_id=f"{part}-{record.conversation_id}")


@pytest.fixture
async def log(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> Log:
    found = Log(store, sql, now() - 100 * APART)
    old = found.start - timedelta(days=3)
    for part, (start, asks, compared, judged) in enumerate(
        (
            (found.start, make_asks(40), False, False),
            (found.start + 40 * APART, make_asks(20, seed=1), False, True),
            (found.start + 60 * APART, make_asks(20, seed=2), True, False),
            (old, make_asks(6, seed=3), True, False),
        )
    ):
        for records in make_log(asks, start, APART, compared, judged):
            await store.copy([own_conversation(record, part) for record in records])
    return found


async def various(log: Log) -> None:
    """Labels of every kind. Conversations have two requests each up to the 40th, and one from there to the 60th."""
    await log.feedback(0, "person", rating=0.25)
    await log.feedback(2, "person", rating=1.0, label="complex")
    await log.feedback(4, "judge-7", label="simple")
    await log.feedback(6, "person", rating=0.0)
    await log.feedback(6, "person", rating=1.0, label="medium")  # the newest one counts
    for place, rating in ((8, 0.25), (10, 0.75)):
        await log.change(place, "routing_outcomes", served_group="middle")
        await log.feedback(place, "person", rating=rating)
    await log.change(12, "routing_outcomes", status="failure", error_class="ContentPolicyViolationError")
    await log.change(14, "routing_outcomes", status="failure", error_class="RateLimitError")
    await log.change(16, "routing_outcomes", finish_reason="content_filter")
    await log.change(19, "routing_logs", tier="complex", reason="requested_tier")
    await log.change(21, "routing_logs", tier="medium")
    (text,) = await log.connection.fetch("SELECT ask FROM routing_texts WHERE decision_id = $1", log.decision(22))
    await log.change(23, "routing_texts", ask=text["ask"].upper())
    await log.change(24, "routing_logs", reason="side_request")
    await log.feedback(24, "person", label="simple")  # which teaches nothing
    await log.feedback(45, "person", rating=0.5)  # the verdict gives way
    await log.change(46, "routing_logs", llm_status="timeout", llm_tier=None)
    await log.change(62, "routing_comparisons", judge="embedding")


async def test_it_counts_what_training_finds(log: Log) -> None:
    assert await log.counted() == await log.trained_on()
    await various(log)
    found = await log.counted()
    assert found == await log.trained_on()
    assert set(found) == {label.value for label in Label}, "each kind of label is there"
    assert (found["dual_run"], found["dual_run_embedding"], found["tier"], found["rating"]) == (19, 1, 2, 2)
    assert (found["judged"], found["rating_between"], found["verdict"]) == (1, 1, 18)
    assert await log.counted(days=7.0) == await log.trained_on(days=7.0)
    assert (await log.counted(days=7.0))["dual_run"] == 25


async def test_names_weights_and_words_are_those_of_training(log: Log) -> None:
    found = await log.labels()
    assert [(each.source, each.weight, each.doc) for each in found.values()] == [
        (label.value, label.weight, label.doc) for label in Label
    ]


async def test_of_many_requests_the_newest_are_looked_at(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    await various(log)
    monkeypatch.setattr(page, "NEWEST", 30)
    monkeypatch.setattr(page, "FEEDBACK", 2)
    found = await log.labels()
    assert found["dual_run"].labels == 19
    assert found["dual_run"].doc == Label.DUAL_RUN.doc
    assert found["rating"].doc == f"{Label.RATING.doc} (in the newest 2 pieces of feedback)"
    assert found["rating"].labels == 1, "of the 45th; that of the 24th is of no use"
    assert found["judged"].labels == found["rating_between"].labels == 0
    assert found["verdict"].doc == f"{Label.VERDICT.doc} (in the newest 30 requests)"
    assert found["verdict"].labels == 10  # from the 50th on
    assert found["error"].labels == 0


async def test_the_plans_walk_no_table(log: Log) -> None:
    """However large the log is: what is looked at has its bounds."""
    async with log.connection.transaction():
        await queries().look_up_each(log.connection)
        for query, bounds in (
            (queries().rated.sql, [log.decision(70)]),
            (queries().training_rows.sql, [now() - 20 * APART, None]),
        ):
            steps = [row[0].strip(" ->") for row in await log.connection.fetch(f"EXPLAIN {query}", *bounds)]
            assert any(step.startswith("Nested Loop Left Join") for step in steps)
            assert not [step for step in steps if " Join" in step and step.startswith(("Hash", "Merge"))], steps


async def test_an_empty_log_and_none(store: Store, config: Config, tmp_path: Path) -> None:
    async with store.acquire() as connection, connection.transaction(readonly=True):
        found = await learning(connection, config, tmp_path, 36_500.0)
    assert [(each.source, each.labels) for each in found.labels] == [(label.value, 0) for label in Label]
    assert (await learning(None, config, tmp_path, 30.0)).labels == ()


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> Config:
    return load_config(CONFIG)


def with_strategy(config: Config, tmp_path: Path, strategy: str) -> Config:
    text = CONFIG.read_text(encoding="utf-8").replace("strategy: static", f"strategy: {strategy}")
    (tmp_path / "gateway.yaml").write_text(text, encoding="utf-8")
    found = load_config(tmp_path / "gateway.yaml")
    assert found.routing.classifier.strategy == strategy
    return found


async def test_versions_and_promotion(config: Config, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    data = model(held_out={"better": False}).to_bytes()
    accept(state / "model.safetensors", data, "the static score", promoted=False)
    mine, prior = (core.LearnedModel(each).id for each in (data, prior_bytes()))
    static = await learning(None, config, state, 30.0)
    assert (static.strategy, static.in_force, static.can_promote) == ("static", None, True)
    ml = with_strategy(config, tmp_path, "ml")
    assert (await learning(None, ml, state, 30.0)).in_force == prior

    with pytest.raises(RequestError) as refused:
        await promote(ml, state, PromoteRequest(mine))
    assert (refused.value.status, refused.value.problem.field) == (409, "force")
    done = await promote(ml, state, PromoteRequest(mine, force=True))
    assert (done.id, done.before) == (mine, prior)
    found = await learning(None, ml, state, 30.0)
    assert found.in_force == mine
    assert [(each.id, each.state) for each in found.versions] == [(mine, "in_force"), (prior, "previous")]


@pytest.mark.parametrize(("wanted", "status"), [("../../x", 404), ("0123456789ab", 404), ("previous", 404)])
async def test_what_is_not_kept(config: Config, tmp_path: Path, wanted: str, status: int) -> None:
    with pytest.raises(RequestError) as refused:
        await promote(config, tmp_path, PromoteRequest(wanted, force=True))
    assert (refused.value.status, refused.value.problem.field) == (status, "id")


async def test_files_that_cannot_be_changed(config: Config, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("not a directory")
    with pytest.raises(RequestError) as refused:
        await promote(config, tmp_path, PromoteRequest("prior"))
    assert refused.value.status == 503
