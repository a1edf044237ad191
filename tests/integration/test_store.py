"""The database of the log: migrations, partitions, writing and reading, against a real PostgreSQL."""

from __future__ import annotations

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest

from bsgateway import connections
from bsgateway import store as store_module
from bsgateway.decision import Decision, Method, Reason, Skipped, Texts, new_id, now
from bsgateway.errors import StoreError
from bsgateway.rows import Item, LogRow
from bsgateway.store import Counts, Store, TierSavings
from builders import id_at, make_comparison, make_decision, make_failure, make_outcome, make_texts

TABLES = ("routing_logs", "routing_texts", "routing_outcomes", "routing_feedback", "routing_comparisons")


# Writing and reading


async def test_reading_before_migrating_says_what_to_do(empty: Store) -> None:
    with pytest.raises(StoreError, match="run `bsgateway migrate`"):
        await empty.counts()


async def test_every_field_comes_back(store: Store) -> None:
    decision = make_decision()
    assert not [name for name in Decision.__struct_fields__ if getattr(decision, name) in (None, ())], "not tried"
    outcome = make_outcome(decision, error_class="Timeout", error_status=504)
    await store.copy([decision, make_texts(decision), outcome])
    assert await store.recent() == [LogRow(decision, outcome)]


async def test_fields_without_a_value_come_back(store: Store) -> None:
    decision = Decision(
        decision_id=new_id(),
        created_at=now(),
        call_type="acompletion",
        method=Method.PASSTHROUGH,
        reason=Reason.MODEL_LIST,
        original_model="",
        resolved_model="gpt",
    )
    await store.copy([decision])
    assert await store.recent() == [LogRow(decision, None)]


async def test_what_was_not_carried_out_comes_back(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    decision = make_decision(
        applied=False, reason=Reason.NO_CANDIDATE, skipped=(Skipped('a "b"', Reason.COOLING_DOWN),), changes=()
    )
    await store.copy([decision])
    assert await store.recent() == [LogRow(decision, None)]
    row = await sql.fetchrow("SELECT applied, skipped, changes, ignored FROM routing_logs")
    assert row is not None
    assert (row["applied"], row["changes"], row["ignored"]) == (False, [], ["x-bsgateway-tier"])
    assert json.loads(row["skipped"]) == [{"model": 'a "b"', "reason": "cooling_down"}]


async def test_a_row_of_the_version_before_is_read(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    decision = make_decision()
    await store.copy([decision])
    await sql.execute("UPDATE routing_logs SET applied = NULL, skipped = NULL, changes = NULL, ignored = NULL")
    ((read, _),) = [(row.decision, row.outcome) for row in await store.recent()]
    assert read == msgspec.structs.replace(decision, applied=True, skipped=(), changes=(), ignored=())


async def test_no_method_or_reason_is_refused(store: Store) -> None:
    decisions = [make_decision(method=method, reason=reason) for method in Method for reason in Reason]
    await store.copy(decisions)
    found = {row.decision.decision_id: row.decision for row in await store.recent(limit=len(decisions))}
    assert {d.decision_id: (d.method, d.reason) for d in decisions} == {
        decision_id: (decision.method, decision.reason) for decision_id, decision in found.items()
    }


async def test_writing_twice_changes_nothing(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    decision, other = make_decision(), make_decision()
    batch: list[Item] = [decision, make_texts(decision), make_outcome(decision), other, make_failure(other)]
    batch.append(make_comparison(decision))

    async def everything() -> list[Any]:
        return [await sql.fetch(f"SELECT * FROM {table} ORDER BY decision_id") for table in TABLES]

    await store.copy(batch)
    first = await everything()
    await store.copy(batch)
    await store.copy([*batch, *batch])
    changed = msgspec.structs.replace(decision, tier="complex")
    await store.copy([changed, make_texts(decision, ask="other"), make_comparison(decision, weak_score=1.0)])
    assert await everything() == first
    assert await store.counts() == Counts(logs=2, texts=1, outcomes=2, feedback=0, comparisons=1)


async def test_what_is_new_in_a_batch_is_written_though_the_rest_is_there(store: Store) -> None:
    old, new = make_decision(), make_decision()
    await store.copy([old])
    await store.copy([new, make_texts(new), old, make_texts(old), make_outcome(old)])
    assert await store.counts() == Counts(logs=2, texts=2, outcomes=1, feedback=0)
    late = make_decision()
    await store.copy([late, make_texts(late), make_texts(old)])
    assert await store.counts() == Counts(logs=3, texts=3, outcomes=1, feedback=0)


@pytest.mark.parametrize("together", [True, False])
async def test_the_outcome_that_stays(store: Store, together: bool) -> None:
    decision = make_decision()
    base = decision.created_at
    early_failure = make_failure(decision, completed_at=base + timedelta(seconds=1))
    late_failure = make_failure(decision, completed_at=base + timedelta(seconds=9), error_class="Timeout")
    success = make_outcome(decision, completed_at=base + timedelta(seconds=5))
    again = make_outcome(decision, completed_at=base + timedelta(seconds=6), cost=99.0)
    expected = {
        (early_failure, success): success,
        (success, early_failure): success,
        (success, late_failure): success,
        (late_failure, success): success,
        (success, again): success,
        (early_failure, late_failure): late_failure,
        (late_failure, early_failure): late_failure,
        (early_failure, success, late_failure): success,
    }
    for outcomes, winner in expected.items():
        fresh = new_id()
        batch = [msgspec.structs.replace(outcome, decision_id=fresh) for outcome in outcomes]
        await store.copy([make_decision(decision_id=fresh)])
        for part in [batch] if together else [[outcome] for outcome in batch]:
            await store.copy(part)
        (row,) = await store.recent(limit=1)
        assert row.outcome == msgspec.structs.replace(winner, decision_id=fresh)


async def test_a_batch_is_written_whole_or_not_at_all(store: Store) -> None:
    good, bad = make_decision(), make_decision(complexity_score=101)
    with pytest.raises(asyncpg.CheckViolationError):
        await store.copy([good, make_texts(good), bad])
    assert await store.counts() == Counts(0, 0, 0, 0)
    await store.copy([good])
    assert (await store.counts()).logs == 1


@pytest.mark.parametrize("fault", [{"complexity_score": 101}, {"call_type": None}])
async def test_a_row_that_is_refused_costs_no_connection(
    store: Store, sql: asyncpg.Connection[asyncpg.Record], fault: dict[str, Any]
) -> None:
    ours = (
        "SELECT array_agg(pid) FROM pg_stat_activity "
        "WHERE application_name = 'bsgateway' AND datname = current_database()"
    )
    before = await sql.fetchval(ours)
    for _ in range(3):
        with pytest.raises(asyncpg.PostgresError):
            await store.copy([make_decision(), make_decision(**fault)])
    await store.copy([make_decision()])
    assert (await store.counts()).logs == 1
    assert await sql.fetchval(ours) == before


async def test_what_is_refused_is_buried_once(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    decision = make_decision(complexity_score=101, tier="t\ud800", bias=2**80)
    texts = make_texts(decision, ask="\u4e16\x00")
    for item in (decision, texts, decision, {"no": "record"}):
        await store.bury(item, "CheckViolationError (23514) routing_logs_complexity_score_check")
    assert (await store.counts()).dead_letters == 3
    rows = {row["kind"]: row for row in await sql.fetch("SELECT * FROM routing_dead_letters")}
    assert set(rows) == {"Decision", "Texts", "dict"}
    row = rows["Decision"]
    assert row["decision_id"] == decision.decision_id
    assert row["reason"].startswith("CheckViolationError (23514)")
    assert row["refused_at"] > now() - timedelta(minutes=5)
    stored = json.loads(row["payload"].decode())
    assert (stored["complexity_score"], stored["tier"], stored["bias"]) == (101, "t\ud800", hex(2**80))
    assert msgspec.json.decode(rows["Texts"]["payload"], type=Texts) == texts


@pytest.mark.parametrize("record", [make_decision(complexity_score=101), make_texts(make_decision())])
async def test_a_dead_letter_is_written_again_as_the_page_says(
    store: Store, sql: asyncpg.Connection[asyncpg.Record], record: Item
) -> None:
    await store.bury(record, "")
    page = (Path(__file__).parents[2] / "docs" / "log.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"```sql\n(BEGIN;.*?)```", page, re.DOTALL)
    assert script.count("\\x00") == 2
    script = script.replace("\\x00", "\\x" + (await sql.fetchval("SELECT digest FROM routing_dead_letters")).hex())
    if isinstance(record, Texts):
        script = script.replace("routing_logs", "routing_texts").replace("- 'caller' || (mended -> 'caller')", "")
        await sql.execute(script)
        assert await sql.fetchval("SELECT ask FROM routing_texts") == record.ask
    else:
        await sql.execute(script)
        (row,) = await store.recent()
        assert row.decision == msgspec.structs.replace(record, complexity_score=100)
    assert (await store.counts()).dead_letters == 0


SLOW = """
CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE INSERT ON routing_texts FOR EACH ROW EXECUTE FUNCTION slow();
CREATE TRIGGER slow BEFORE INSERT ON routing_dead_letters FOR EACH ROW EXECUTE FUNCTION slow();
"""


async def test_many_words_have_more_time(
    store: Store, postgres_dsn: str, sql: asyncpg.Connection[asyncpg.Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    await sql.execute(SLOW)
    monkeypatch.setattr(store_module, "WRITE_TIMEOUT", 0.5)
    monkeypatch.setattr(store_module, "CHARS_PER_SECOND", 10_000)
    monkeypatch.setattr(connections, "COMMAND_TIMEOUT", 0.8)  # less than a large batch takes
    few, many = make_texts(make_decision()), make_texts(make_decision(), ask="word " * 30_000)
    async with await Store.connect(postgres_dsn) as slow:
        for write in (lambda item: slow.copy([item]), lambda item: slow.bury(item, "why")):
            with pytest.raises((asyncio.TimeoutError, asyncpg.QueryCanceledError)):
                await write(few)
            await write(many)
        await slow.copy([many])  # by way of the staging tables
    assert await sql.fetchval("SELECT array_agg(length(ask)) FROM routing_texts") == [150_000]
    assert (await store.counts()).dead_letters == 1


async def test_what_is_no_record_is_refused(store: Store) -> None:
    stray: Any = "stray"
    with pytest.raises(TypeError, match="not a record of the log: str"):
        await store.copy([make_decision(), stray])
    assert (await store.counts()).logs == 0


async def test_recent_gives_the_newest_and_then_what_follows(store: Store) -> None:
    # Ids of one millisecond are in no order.
    decisions = [make_decision(decision_id=id_at(now(), tail=number)) for number in range(8)]
    decisions.sort(key=lambda decision: decision.decision_id)
    await store.copy([decisions[5], *decisions[:5], make_outcome(decisions[4])])
    rows = await store.recent(limit=3)
    assert [row.decision for row in rows] == decisions[3:6]
    assert [row.outcome is not None for row in rows] == [False, True, False]
    await store.copy(decisions[6:])
    rows = await store.recent(limit=1, after=decisions[5].decision_id)
    assert [row.decision for row in rows] == decisions[6:7]
    assert [row.decision for row in await store.recent(after=decisions[5].decision_id)] == decisions[6:]
    assert await store.recent(after=decisions[7].decision_id) == []


async def test_savings_add_up_what_has_both_prices(store: Store) -> None:
    simple = [make_decision(tier="simple") for _ in range(4)]
    complex_ = make_decision(tier="complex")
    passed = make_decision(tier=None)
    old_time = now() - timedelta(days=3)
    old = make_decision(tier="simple", decision_id=id_at(old_time), created_at=old_time)
    await store.copy(
        [
            *simple,
            complex_,
            passed,
            old,
            make_outcome(simple[0], cost=0.25, baseline_cost=1.0),
            make_outcome(simple[1], cost=0.5, baseline_cost=2.0),
            make_outcome(simple[2], cost=None, baseline_cost=4.0),
            make_failure(simple[3]),
            make_outcome(complex_, cost=8.0, baseline_cost=8.0),
            make_outcome(passed, cost=16.0, baseline_cost=None),
            make_outcome(old, cost=32.0, baseline_cost=64.0),
        ]
    )
    assert await store.savings(now() - timedelta(days=1)) == [
        TierSavings("complex", requests=1, failed=0, priced=1, cost=8.0, baseline_cost=8.0),
        TierSavings("simple", requests=4, failed=1, priced=2, cost=0.75, baseline_cost=3.0),
        TierSavings(None, requests=1, failed=0, priced=0, cost=0.0, baseline_cost=0.0),
    ]
    assert (await store.savings(now() - timedelta(days=4)))[1].cost == 32.75


async def test_a_row_of_a_newer_version_is_named(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    await store.copy([make_decision()])
    await sql.execute("UPDATE routing_logs SET reason = 'invented later'")
    with pytest.raises(StoreError, match=r"another version: .*invented later.*upgrade"):
        await store.recent()


# What the gateway learns from


async def test_routing_training(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    full, bare = make_decision(tier="simple", resolved_model="small"), make_decision()
    await store.copy([full, bare, make_texts(full, ask="Why?"), make_outcome(full, served_group="large")])
    await store.copy([make_comparison(full)])
    await sql.executemany(
        "INSERT INTO routing_feedback (decision_id, created_at, source, rating, label) VALUES ($1, $2, $3, $4, $5)",
        [
            (full.decision_id, full.created_at, "user", 0.0, "complex"),
            (full.decision_id, full.created_at + timedelta(hours=1), "operator", 0.5, "medium"),
        ],
    )
    rows = {row["decision_id"]: row for row in await sql.fetch("SELECT * FROM routing_training")}
    assert len(rows) == 2
    row = rows[full.decision_id]
    assert (row["features"], row["feature_version"]) == (list(full.features or ()), 3)
    assert (row["ask"], row["status"], row["served_group"], row["fell_back"]) == ("Why?", "success", "large", True)
    assert (row["rating"], row["label"], row["label_source"]) == (0.5, "medium", "operator")
    assert (row["scorer_id"], row["propensity"], row["explored"]) == (full.scorer_id, full.propensity, full.explored)
    assert (row["finish_reason"], row["embedding"], row["applied"]) == ("stop", None, True)
    assert {name: row[name] for name in JUDGED} == {name: getattr(full, name) for name in JUDGED}
    assert {name: row[name] for name in COMPARED} == {name: getattr(make_comparison(full), name) for name in COMPARED}
    row = rows[bare.decision_id]
    assert [row[name] for name in ("ask", "status", "fell_back", "rating", "label", *COMPARED)] == [None] * 12


JUDGED = ("llm_status", "llm_tier", "llm_confidence", "llm_model", "llm_prompt")
COMPARED = ("weak_tier", "strong_tier", "weak_model", "strong_model", "weak_score", "strong_score", "judge")


async def test_a_decision_without_a_fallback_did_not_fall_back(
    store: Store, sql: asyncpg.Connection[asyncpg.Record]
) -> None:
    decision = make_decision()
    await store.copy([decision, make_outcome(decision)])
    assert await sql.fetchval("SELECT fell_back FROM routing_training") is False
