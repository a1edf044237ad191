"""`bsgateway train` on the log of a real PostgreSQL: rows are written as the gateway writes them, and read back."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import numpy as np
import pytest
from click.testing import CliRunner

from bsgateway.cli import main
from bsgateway.core import core
from bsgateway.decision import now
from bsgateway.learn.asks import default_analyzer
from bsgateway.learn.dataset import concat
from bsgateway.learn.labelling import Counts
from bsgateway.learn.labels import Logged, Tiers
from bsgateway.learn.log_rows import FETCH_ROWS, LogRows, read_log
from bsgateway.learn.rows import Rows
from bsgateway.learn_cli import KEPT
from bsgateway.sql import queries
from bsgateway.store import Store
from builders import id_at, make_decision, make_outcome
from labelled_log import Ask, make_asks, make_log
from statements import ask

TIERS = Tiers({"simple": ("small",), "medium": ("middle",), "complex": ("large",)})
APART = timedelta(seconds=30)
CONFIG = Path(__file__).parents[2] / "gateway.yaml"


def write_log(dsn: str, asks: Sequence[Ask], compared: bool = True, judged: bool = False) -> datetime:
    """Write a log that ends now; when it begins."""
    start = now() - (len(asks) + 10) * APART

    async def copy() -> None:
        async with await Store.connect(dsn) as store:
            for records in make_log(asks, start, APART, compared, judged):
                await store.copy(records)

    asyncio.run(copy())
    return start


def read(dsn: str, since: datetime, until: datetime | None = None) -> tuple[Rows, Counts]:
    """What training sees of the log."""
    into, parts = LogRows(TIERS), list[Rows]()

    async def all_rows() -> None:
        async with await Store.connect(dsn) as store:
            await read_log(store, since, until, into, parts.append)

    asyncio.run(all_rows())
    return concat(parts), into.counts


def feedback(dsn: str, decision: Any, **given: Any) -> None:
    columns = {"source": "person", "rating": None, "label": None, **given}
    query = "INSERT INTO routing_feedback (decision_id, source, rating, label) VALUES ($1, $2, $3, $4)"
    ask(dsn, query, decision, *columns.values())


def test_the_log_becomes_rows(dsn: str) -> None:
    asks = make_asks(2 * FETCH_ROWS + 7)
    since = write_log(dsn, asks)
    rows, counts = read(dsn, since)
    assert (counts.read, counts.labelled, counts.without_words, counts.other) == (len(asks), len(asks), 0, 0)
    rows = rows[np.argsort(rows.at)]
    # The first request of each conversation also went on, which counts a little.
    assert (rows.weak >= 0.5).tolist() == [not each.fails for each in asks]
    assert set(np.round(rows.weak, 3)) == {0.0, 0.091, 1.0}
    assert rows.strong.tolist() == [1.0] * len(asks)
    assert rows.length.tolist() == [len(each.text) for each in asks]
    assert len(np.unique(rows.group)) == (len(asks) + 1) // 2
    # What the log keeps is what the core sees: the very inputs and words that serving has.
    body = {"messages": [{"role": "user", "content": asks[5].text}]}
    analysis = default_analyzer().analyze(body, "chat")
    assert rows.inputs[5].tobytes() == core.model_inputs(np.array(analysis.features).tobytes(), None)
    _, buckets = core.word_buckets([asks[5].text])
    assert rows.words[5].indices.astype(np.int32).tobytes() == buckets


def test_a_time_of_the_log(dsn: str) -> None:
    since = write_log(dsn, make_asks(20))
    rows, counts = read(dsn, since + 5 * APART, since + 15 * APART)
    assert counts.read == len(rows) == 10


def test_labels_of_the_log(dsn: str) -> None:
    asks = make_asks(8)
    since = write_log(dsn, asks, compared=False)
    ids = [id_at(since + place * APART, place) for place in range(8)]
    feedback(dsn, ids[0], rating=0.25)
    feedback(dsn, ids[1], rating=1.0, label="complex")
    feedback(dsn, ids[2], label="simple", source="judge")
    ask(dsn, "UPDATE routing_outcomes SET finish_reason = 'content_filter' WHERE decision_id = $1", ids[3])
    ask(dsn, "UPDATE routing_outcomes SET status = 'failure', error_class = 'RateLimitError' "
        "WHERE decision_id = $1", ids[4])  # fmt: skip
    ask(dsn, "UPDATE routing_texts SET ask = $1 WHERE decision_id = $2", asks[6].text, ids[7])
    rows, counts = read(dsn, since)
    # Two requests are in each conversation: the first of each pair went on, but for the last, which was asked again.
    assert counts.labels == {"rating": 1, "tier": 1, "judged": 1, "refusal": 1, "went_on": 2, "retry": 1}
    at = {round((moment - since.timestamp()) / APART.total_seconds()): place for place, moment in enumerate(rows.at)}
    assert set(at) == {0, 1, 2, 3, 6}
    found = {place: (rows.weak[at[place]], rows.weight[at[place]]) for place in at}
    np.testing.assert_allclose(found[0], ((0.25 + 0.1) / 1.1, 1.0))
    np.testing.assert_allclose(found[1], (0.0, 1.0))
    np.testing.assert_allclose(found[2], (1.0, 0.8))
    np.testing.assert_allclose(found[3], (0.0, 0.5))
    np.testing.assert_allclose(found[6], (0.0, 0.3))
    assert rows.strong[at[1]] == 1.0
    assert np.isnan(rows.strong[at[0]])


def test_verdicts_of_the_log(dsn: str) -> None:
    asks = make_asks(12)
    since = write_log(dsn, asks, compared=False, judged=True)
    feedback(dsn, id_at(since, 0), rating=0.5)
    ask(dsn, "UPDATE routing_logs SET llm_status = 'timeout', llm_tier = NULL WHERE decision_id = $1",
        id_at(since + APART, 1))  # fmt: skip
    rows, counts = read(dsn, since)
    assert counts.labels == {"rating": 1, "verdict": 10}
    assert sorted(rows.weight.tolist()) == [pytest.approx(0.75 * 0.02)] * 10 + [1.0]
    order = np.argsort(rows.at)
    assert rows.weak[order][1:].tolist() == [float(not each.fails) for each in asks[2:]]


def test_what_teaches_nothing_is_not_read(dsn: str) -> None:
    since = now() - timedelta(minutes=5)
    kinds: list[dict[str, Any]] = [{"reason": "side_request"}, {"reason": "failed_open"}, {"features": None}]
    decisions = [make_decision(**kind) for kind in kinds]

    async def copy() -> None:
        async with await Store.connect(dsn) as store:
            await store.copy([*decisions, *map(make_outcome, decisions)])

    asyncio.run(copy())
    rows, counts = read(dsn, since)
    assert (len(rows), counts.read) == (0, 0)


async def test_the_query_gives_what_training_reads(store: Store) -> None:
    await store.copy([make_decision()])
    async with store.acquire() as connection:
        (row,) = [row async for row in queries().training_rows(connection, since=now() - timedelta(1), until=None)]
    assert list(row.keys()) == list(Logged.__struct_fields__)


async def test_the_plan_sorts_no_table(store: Store, sql: asyncpg.Connection[asyncpg.Record]) -> None:
    async with sql.transaction():
        await queries().stream_in_order(sql)
        plan = await sql.fetch("EXPLAIN " + queries().training_rows.sql, now() - timedelta(30), None)
    steps = [row[0].strip(" ->") for row in plan]
    assert any(step.startswith("Merge Left Join") for step in steps)
    assert not [step for step in steps if step.startswith(("Hash", "Materialize"))], steps


# The command


def run(*arguments: str, code: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(main, ["train", "--json", *arguments])
    if not isinstance(result.exception, (SystemExit, type(None))):
        raise result.exception
    assert result.exit_code == code, result.output
    found: dict[str, Any] = json.loads(result.stdout) if code != 1 else {"error": result.stderr}
    return found


def test_a_model_of_the_log_is_promoted_and_loads(dsn: str, tmp_path: Path) -> None:
    asks = make_asks(700)
    write_log(dsn, asks)
    found = run()
    assert found["promoted"], found["verdict"]["why"]
    assert found["verdict"]["target"] == "gain"
    assert found["verdict"]["rows"] + found["verdict"]["held_out"] == 700
    assert found["log"] == {
        "read": 700, "labelled": 700, "without_words": 0, "old": 0, "other": 0,
        "labels": {"dual_run": 700, "went_on": 350},
    }  # fmt: skip
    path = tmp_path / ".bsgateway" / "model.safetensors"
    assert found["file"] == str(path)
    model = core.LearnedModel(path.read_bytes())
    assert model.id == found["scorer_id"]
    assert not [entry for entry in path.parent.iterdir() if entry.name.startswith("train-")]  # what was spilled
    (version,) = (path.parent / "models").glob("*.safetensors")
    assert version.read_bytes() == path.read_bytes()
    # It tells asks apart that it has never seen.
    unseen = make_asks(200, seed=77)
    batch = default_analyzer().featurize([each.text for each in unseen])
    margins, _ = model.predict(core.model_inputs(batch.features, None), batch.indptr, batch.indices)
    scores = np.frombuffer(margins, np.float64)
    fails = np.array([each.fails for each in unseen])
    assert np.mean(scores[fails][:, None] > scores[~fails][None, :]) > 0.8
    page = path.with_suffix(".md").read_text()
    assert "| dual_run | 700 | 1 |" in page
    assert "Of 700 scored requests in the log, 700 have a label." in page


def test_a_log_in_files_gives_the_same(dsn: str) -> None:
    write_log(dsn, make_asks(500))
    ways = [run("--dry-run", "--memory", memory)["verdict"] for memory in ("1GB", "10kB")]
    assert ways[0]["apgr"]["new"]["value"] == pytest.approx(ways[1]["apgr"]["new"]["value"], abs=2e-3)


def test_without_words_it_says_so(dsn: str) -> None:
    write_log(dsn, make_asks(400))
    ask(dsn, "DELETE FROM routing_texts")
    found = run("--dry-run", code=KEPT)  # lengths and other counts tell nothing here
    assert found["log"]["without_words"] == 400
    assert not found["promoted"]


def test_a_log_of_nothing_but_verdicts_teaches_to_imitate_them(dsn: str, tmp_path: Path) -> None:
    write_log(dsn, make_asks(700), compared=False, judged=True)
    found = run()
    assert found["promoted"], found["verdict"]["why"]
    assert found["verdict"]["target"] == "fail"
    assert found["verdict"]["opinions"] == found["verdict"]["held_out"] > 100
    assert found["log"]["labels"] == {"verdict": 700}
    page = (tmp_path / ".bsgateway" / "model.md").read_text()
    assert "All rows that were trained on are verdicts of the local LLM (strategy llm) and nothing else" in page
    assert "how well a router agrees with the local LLM, not how good it is" in page
    assert "| verdict | 700 | 0.02 |" in page


def test_a_log_without_labels(dsn: str) -> None:
    write_log(dsn, make_asks(10), compared=False)
    ask(dsn, "UPDATE routing_logs SET conversation_id = NULL")
    error = run(code=1)["error"]
    assert "too few labels: 0 rows have one" in error
    assert "routing.learning.dual_run" in error


def test_a_database_without_tables(postgres_dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BSGATEWAY_CONFIG", str(CONFIG))
    monkeypatch.setenv("COLLECTOR_DATABASE_URL", postgres_dsn)
    assert "run `bsgateway migrate`" in run(code=1)["error"]
