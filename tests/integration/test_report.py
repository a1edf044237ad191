"""`bsgateway report` of a real PostgreSQL: to the cent what plain SQL says, in each format."""

from __future__ import annotations

import asyncio
import csv
import io
import random
from datetime import datetime, timedelta, timezone
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from click.testing import CliRunner, Result

from bsgateway.cli import main
from bsgateway.decision import Caller, Decision
from bsgateway.figures import Savings
from bsgateway.rows import Item
from bsgateway.store import Store
from builders import id_at, make_comparison, make_decision, make_failure, make_outcome

SINCE, UNTIL = "2026-03-28", "2026-03-31"
"""Three days of Berlin, one of which has 23 hours."""
FIRST = datetime(2026, 3, 27, 23, tzinfo=timezone.utc)
LAST = datetime(2026, 3, 30, 22, tzinfo=timezone.utc)
PERIOD = ("--since", SINCE, "--until", UNTIL, "--tz", "Europe/Berlin")

ALIASES = ("laptop", "<script>alert(1)</script>", '=HYPERLINK("http://evil.example")', None)
MODELS = {"simple": "small", "medium": "</script><img src=x>", "complex": "large"}
COLUMNS = {
    "tier": "d.tier",
    "key": "d.key_hash",
    "team": "d.team_id",
    "model": "coalesce(o.served_group, d.resolved_model)",
    "day": "to_char(bsg_uuid7_time(d.decision_id) AT TIME ZONE 'Europe/Berlin', 'YYYY-MM-DD')",
}
PLAIN = """
SELECT
    {column} AS name,
    count(*) AS requests,
    coalesce(sum(o.cost), 0) AS spent,
    coalesce(sum(o.baseline_cost - o.cost) FILTER (WHERE d.tier IS NOT NULL AND d.applied), 0) AS saved
FROM routing_logs d LEFT JOIN routing_outcomes o USING (decision_id)
WHERE bsg_uuid7_time(d.decision_id) >= $1 AND bsg_uuid7_time(d.decision_id) < $2
GROUP BY 1
"""
"""The same from the rows themselves."""


def seeded() -> list[Item]:
    """Requests of five days around the period: routed, named, failed, of several keys."""
    chance, rows = random.Random(8), []
    for _ in range(400):
        at = FIRST - timedelta(days=1) + chance.random() * timedelta(days=5)
        tier = chance.choice(["simple", "simple", "medium", "complex", None])
        model = "named" if tier is None else MODELS[tier]
        number = chance.randrange(len(ALIASES))
        caller = Caller(key_hash=f"{number}" * 64, key_alias=ALIASES[number], team_id=chance.choice(["a", None]))
        made: Decision = make_decision(
            decision_id=id_at(at, chance.getrandbits(60)), created_at=at, tier=tier, resolved_model=model, caller=caller
        )
        rows.append(made)
        if chance.random() < 0.1:
            rows.append(make_failure(made))
        else:
            cost = chance.random() / 7
            rows.append(make_outcome(made, served_group=model, cost=cost, baseline_cost=cost * 9, baseline_model="top"))
        if chance.random() < 0.1:
            rows.append(make_comparison(made))
    return rows


def write(dsn: str, rows: list[Item]) -> None:
    async def copy() -> None:
        async with await Store.connect(dsn) as store:
            await store.copy(rows)

    asyncio.run(copy())


def plain(dsn: str, by: str) -> dict[str | None, dict[str, Any]]:
    async def read() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(dsn)
        try:
            found: list[asyncpg.Record] = await connection.fetch(PLAIN.format(column=COLUMNS[by]), FIRST, LAST)
            return found
        finally:
            await connection.close()

    return {row["name"]: dict(row) for row in asyncio.run(read())}


def report(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(main, ["report", *arguments])
    assert result.exit_code == code, (result.stderr, result.exception)
    return result


@pytest.fixture
def seeded_dsn(dsn: str) -> str:
    write(dsn, seeded())
    return dsn


@pytest.mark.parametrize("by", COLUMNS)
def test_it_says_what_plain_sql_says(by: str, seeded_dsn: str) -> None:
    found = msgspec.json.decode(report(*PERIOD, "--by", by, "--format", "json").stdout, type=Savings)
    wanted = plain(seeded_dsn, by)
    assert {group.name: group.sums.requests for group in found.groups} == {
        name: row["requests"] for name, row in wanted.items()
    }
    for group in found.groups:
        assert group.sums.spent == pytest.approx(wanted[group.name]["spent"], rel=1e-9)
        assert group.sums.saved == pytest.approx(wanted[group.name]["saved"], rel=1e-9, abs=1e-12)
    assert found.total.requests == sum(row["requests"] for row in wanted.values())
    assert found.total.saved == pytest.approx(sum(row["saved"] for row in wanted.values()), rel=1e-9)
    assert found.total.saved > 1
    assert (found.period.since, found.period.until) == (FIRST, LAST)


def test_all_formats_have_the_same_numbers(seeded_dsn: str, tmp_path: Path) -> None:
    wanted = plain(seeded_dsn, "key")
    table = report(*PERIOD, "--by", "key").stdout
    rows = list(csv.DictReader(io.StringIO(report(*PERIOD, "--by", "key", "--format", "csv").stdout)))
    assert {row["key"] for row in rows} == set(wanted)
    for row in rows:
        assert float(row["spent"]) == pytest.approx(wanted[row["key"]]["spent"])
        assert f" ${float(row['spent']):,.2f} " in table
    saved = sum(row["saved"] for row in wanted.values())
    assert f" ${saved:,.2f} " in table
    assert "'=HYPERLINK" in {row["name"][:11] for row in rows}

    written = report(*PERIOD, "--by", "key", "-o", "savings.txt")
    assert written.stdout == ""
    assert f"{sum(row['requests'] for row in wanted.values())} requests: savings.txt" in written.stderr
    text = (tmp_path / "savings.txt").read_text()
    assert f" ${saved:,.2f} " in text
    assert "is there already" in report(*PERIOD, "-o", "savings.txt", code=1).stderr


def test_what_comes_late_is_in_the_next_report(seeded_dsn: str) -> None:
    def spent() -> float:
        return msgspec.json.decode(report(*PERIOD, "--format", "json").stdout, type=Savings).total.spent

    before = spent()
    late = make_decision(decision_id=id_at(FIRST, 1), created_at=FIRST)
    write(seeded_dsn, [late, make_outcome(late, cost=12.5)])
    assert spent() == pytest.approx(before + 12.5)


def test_an_empty_log_says_so(dsn: str) -> None:
    words = "the log has no requests from 2026-03-28 00:00 to 2026-03-31 00:00, Europe/Berlin"
    assert report(*PERIOD).stdout == words + "\n"
    found = report(*PERIOD, "--format", "json")
    assert msgspec.json.decode(found.stdout, type=Savings).groups == ()
    assert found.stderr == words + "\n"


def test_a_database_of_an_earlier_version_names_the_remedy(
    postgres_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLLECTOR_DATABASE_URL", postgres_dsn)
    monkeypatch.setenv("BSGATEWAY_CONFIG", str(Path(__file__).parents[2] / "gateway.yaml"))
    monkeypatch.chdir(tmp_path)
    assert "is of an earlier version: run `bsgateway migrate`" in report(code=1).stderr


class Tags(HTMLParser):
    """The tags of a page with what they point to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.references: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append(tag)
        self.references += [str(value) for name, value in attrs if name in ("src", "href", "srcset", "data", "action")]


@pytest.mark.parametrize("by", ["key", "model"])
def test_the_page_is_one_file_in_which_names_are_text(by: str, seeded_dsn: str, tmp_path: Path) -> None:
    built = files("bsgateway").joinpath("web").joinpath("assets").joinpath("report.js").is_file()
    if not built:
        assert "`make web`" in report(*PERIOD, "--format", "html", code=1).stderr
        pytest.skip("the pages are not built: make web")
    report(*PERIOD, "--by", by, "--format", "html", "-o", "savings.html")
    text = (tmp_path / "savings.html").read_text(encoding="utf-8")
    tags = Tags(text)
    assert tags.references == []
    assert tags.found.count("script") == 2
    assert "img" not in tags.found
    saved = sum(row["saved"] for row in plain(seeded_dsn, by).values())
    assert f"${saved:,.2f}" in text
