"""The dashboard's API, feedback and pages on a running gateway: who sees what, and what happens without a database."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import yaml

from bsgateway.decision import new_id
from bsgateway.web.feedback import MOST_SAID
from e2e.clients import PROMPTS
from e2e.gateways import KEY, Gateway, clean_environment, serving, write_config
from e2e.records import until
from e2e.upstream import Upstream

API = "/bsgateway/api"
FEEDBACK = "/bsgateway/feedback"
ASKED = {"alice": 3, "bob": 2, "admin": 1}
"""Requests that each key has made."""
SECRET = "sk-proj-Zk3mT9xQ2vLw8RbN4cYd6HfJ1sPa5GeU7oKi0XyBtWqVzMnA"
"""In a comment; nothing that is stored may hold it."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, postgres_server: str, upstream: Upstream) -> Iterator[Gateway]:
    """`bsgateway serve` on a database of its own, with the keys of `dashboard_keys` and some requests of each."""
    directory = tmp_path_factory.mktemp("site")
    database = urlunsplit(urlsplit(postgres_server)._replace(path=f"/site_{uuid4().hex}"))
    asyncio.run(_execute(postgres_server, f'CREATE DATABASE "{urlsplit(database).path[1:]}"'))
    path = write_config(directory, upstream, session={"enabled": False})
    shutil.copy(Path(__file__).with_name("dashboard_keys.py"), directory)
    config = yaml.safe_load(path.read_text())
    config["general_settings"].update(custom_auth="dashboard_keys.authenticate", custom_auth_run_common_checks=True)
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    environment = clean_environment(LITELLM_MASTER_KEY=KEY, COLLECTOR_DATABASE_URL=database)
    with serving(path, upstream, environment=environment, database=database) as running:
        asyncio.run(_ask_all(running))
        yield running


async def _execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    for statement in statements:
        await connection.execute(statement)
    await connection.close()


def key_of(name: str) -> str:
    """What the client of this name sends."""
    return KEY if name == "admin" else f"sk-key-{name}"


def client(site: Gateway, name: str | None, **headers: str) -> httpx.AsyncClient:
    """A client with the key of this name, or without one."""
    own = {} if name is None else {"Authorization": f"Bearer {key_of(name)}"}
    return httpx.AsyncClient(base_url=site.url, headers={**own, **headers}, timeout=30)


async def get(site: Gateway, name: str | None, path: str, **parameters: str) -> httpx.Response:
    """GET of the API."""
    async with client(site, name) as asking:
        return await asking.get(f"{API}/{path}", params=parameters)


async def ask(site: Gateway, name: str, tier: str = "simple") -> UUID:
    """A request to a model; the id of its decision."""
    async with client(site, name) as asking:
        body = {"model": "auto", "messages": [{"role": "user", "content": PROMPTS[tier]}]}
        answer = await asking.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200, answer.text
    return UUID(answer.headers["x-bsgateway-decision-id"])


async def feedback(site: Gateway, name: str | None, said: dict[str, Any], **headers: str) -> httpx.Response:
    """POST of feedback."""
    async with client(site, name, **headers) as asking:
        return await asking.post(FEEDBACK, json=said)


IDS: dict[str, list[UUID]] = {}
"""The decisions of each key."""


async def _ask_all(site: Gateway) -> None:
    for name, count in ASKED.items():
        IDS[name] = [await ask(site, name, list(PROMPTS)[number % 3]) for number in range(count)]
    connection = await asyncpg.connect(site.dsn)

    async def written() -> bool:
        return await connection.fetchval("SELECT count(*) FROM routing_outcomes") == sum(ASKED.values())

    await until("all outcomes", written)
    await connection.close()


@pytest.fixture
async def database(site: Gateway) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """A connection of the test's own."""
    connection = await asyncpg.connect(site.dsn)
    yield connection
    await connection.close()


async def test_me_says_who_looks(site: Gateway) -> None:
    for name, admin, key in (
        ("admin", True, None),
        ("viewer", True, None),
        ("alice", False, "alice's key"),
    ):
        answer = await get(site, name, "me")
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["admin"], told["key"], told["log"], told["text"]) == (admin, key, "on", "redacted")
        assert [tier["name"] for tier in told["tiers"]] == ["broken", "simple", "medium", "complex"]
        assert answer.headers["cache-control"] == "no-store"
    assert len((await get(site, "bob", "me")).json()["key"]) == 12  # the beginning of its hash


async def test_nobody_without_a_key(site: Gateway) -> None:
    for name in (None, "nobody"):
        for path in ("me", "filters", "savings", "traffic", "decisions", f"decisions/{IDS['alice'][0]}", "learning"):
            answer = await get(site, name, path)
            assert answer.status_code == 401, (name, path, answer.text)
        assert (await feedback(site, name, {"decision_id": str(IDS["alice"][0]), "rating": 1})).status_code == 401
    async with httpx.AsyncClient(base_url=site.url, cookies={"key": key_of("cookie")}, timeout=30) as asking:
        assert (await asking.get("/v1/models")).status_code == 200  # the operator's own way in
        assert (await asking.get(f"{API}/me")).status_code == 401


async def test_a_key_that_is_limited_to_other_routes_stays_out(site: Gateway) -> None:
    assert (await get(site, "narrow", "me")).status_code == 403
    answer = await feedback(site, "narrow", {"decision_id": str(IDS["alice"][0]), "rating": 1})
    assert answer.status_code == 403


async def test_a_key_sees_its_own_decisions_only(site: Gateway) -> None:
    for name in ("alice", "bob"):
        told = (await get(site, name, "decisions", limit="200")).json()
        seen = {UUID(row["decision"]["decision_id"]) for row in told["rows"]}
        assert set(IDS[name]) <= seen
        assert not seen & {each for other, ids in IDS.items() if other != name for each in ids}
        assert len({row["decision"]["caller"]["key_hash"] for row in told["rows"]}) == 1
    every = {each for ids in IDS.values() for each in ids}
    for name in ("admin", "viewer"):
        told = (await get(site, name, "decisions", limit="200")).json()
        assert every <= {UUID(row["decision"]["decision_id"]) for row in told["rows"]}
    alice = (await get(site, "admin", "decisions", key="alice's key")).json()["rows"]
    assert {row["decision"]["caller"]["key_alias"] for row in alice} == {"alice's key"}
    assert (await get(site, "bob", "decisions", key="alice's key")).json()["rows"] == []


async def test_a_page_of_decisions_goes_on_where_it_ended(site: Gateway) -> None:
    first = (await get(site, "alice", "decisions", limit="2")).json()
    then = (await get(site, "alice", "decisions", limit="2", before=first["before"])).json()
    ids = [row["decision"]["decision_id"] for row in (*first["rows"], *then["rows"])]
    assert ids == sorted(set(ids), reverse=True)
    assert len(ids) > 2


async def test_a_decision_opens_to_its_why(site: Gateway) -> None:
    decision_id = IDS["alice"][0]
    for name in ("alice", "admin", "viewer"):
        answer = await get(site, name, f"decisions/{decision_id}")
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["row"]["decision"]["decision_id"] == str(decision_id)
        assert told["row"]["outcome"]["served_group"] == "small"
        assert PROMPTS["simple"] in told["texts"]["ask"]
        assert {each["model"] for each in told["candidates"] if each["fate"] == "chosen"} == {"small"}
        assert told["reason_doc"]
        assert told["method_doc"]
    for answer in (
        await get(site, "bob", f"decisions/{decision_id}"),
        await get(site, "admin", f"decisions/{new_id()}"),
        await get(site, "admin", "decisions/no-id"),
    ):
        assert answer.status_code == 404
        assert PROMPTS["simple"] not in answer.text


async def test_sums_are_those_of_whoever_looks(site: Gateway) -> None:
    async def counted() -> bool:
        told = [(await get(site, name, "savings", since="1d")).json() for name in ("admin", "alice", "bob")]
        every, alice, bob = (each["total"]["requests"] for each in told)
        return every >= alice + bob + 1 and alice >= ASKED["alice"] and bob == ASKED["bob"]

    await until("the sums", counted)
    by_key = (await get(site, "bob", "savings", since="1d", by="key")).json()
    assert [group["sums"]["requests"] for group in by_key["groups"]] == [ASKED["bob"]]
    assert by_key["assumption"]
    by_key = (await get(site, "admin", "savings", since="1d", by="key", tz="Asia/Kathmandu")).json()
    assert "alice's key" in {group["label"] for group in by_key["groups"]}
    traffic = (await get(site, "bob", "traffic", since="1d")).json()
    assert traffic["total"]["requests"] == sum(count["requests"] for count in traffic["methods"]) == ASKED["bob"]
    assert sum(traffic["scores"]) == ASKED["bob"]
    traffic = (await get(site, "viewer", "traffic", since="1d")).json()
    assert sum(traffic["scores"]) > ASKED["bob"]


async def test_metrics_are_for_admins(site: Gateway) -> None:
    for name, status in ((None, 401), ("alice", 403), ("viewer", 200), ("admin", 200)):
        async with client(site, name) as asking:
            answer = await asking.get("/bsgateway/metrics")
        assert answer.status_code == status, answer.text
        if status == 200:
            assert "# TYPE bsgateway_" in answer.text
            assert answer.headers["content-type"].startswith("text/plain; version=")


@pytest.mark.parametrize("path", ["what-if", "learning"])
async def test_what_is_for_admins_is_refused_to_keys(site: Gateway, path: str) -> None:
    for name in ("alice", "bob"):
        answer = await get(site, name, path)
        assert answer.status_code == 403
        assert answer.json()["error"] == "only a proxy admin may see this"


async def test_only_an_admin_promotes(site: Gateway) -> None:
    for name in ("alice", "bob", "viewer"):
        async with client(site, name) as asking:
            answer = await asking.post(f"{API}/learning/promote", json={"id": "prior"})
        assert answer.status_code == 403, (name, answer.text)


async def test_a_request_is_explained_to_every_key(site: Gateway) -> None:
    for name in ("alice", "viewer"):
        async with client(site, name) as asking:
            answer = await asking.post(f"{API}/explain", json={"prompt": PROMPTS["complex"]})
        assert answer.status_code == 200, answer.text
        static, learned = answer.json()["explained"]
        assert (static["strategy"], static["in_force"], static["decision"]["tier"]) == ("static", True, "complex")
        assert (learned["strategy"], learned["in_force"], learned["error"]) == ("ml", False, None)


async def test_admins_see_what_was_learned(site: Gateway) -> None:
    for name in ("viewer", "admin"):
        answer = await get(site, name, "learning", days="2")
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert (told["strategy"], told["days"], told["can_promote"]) == ("static", 2, name == "admin")
        assert "prior" in {version["kind"] for version in told["versions"]}  # it comes with the package
    async with client(site, "admin") as asking:
        answer = await asking.post(f"{API}/learning/promote", json={"id": "no-such-model"})
    assert (answer.status_code, answer.json()["field"]) == (404, "id")


async def test_admins_see_what_other_borders_would_make(site: Gateway) -> None:
    answer = await get(site, "viewer", "what-if", days="1")
    assert answer.status_code == 200, answer.text
    assert sum(answer.json()["requests"]) >= sum(ASKED.values())
    setting = {"borders": [2, 40, 70], "bias": 0}
    async with client(site, "viewer") as asking:
        answer = await asking.post(f"{API}/what-if/lines", json=setting)
        assert (answer.status_code, "40" in answer.text) == (200, True)
    async with client(site, "alice") as asking:
        assert (await asking.post(f"{API}/what-if/lines", json=setting)).status_code == 403
    assert (await get(site, "admin", "what-if", days="nan")).status_code == 400


async def test_feedback_is_stored(site: Gateway, database: asyncpg.Connection[asyncpg.Record]) -> None:
    decision_id = await ask(site, "alice")  # its row is not in the database yet
    said = {"decision_id": str(decision_id), "rating": 0.25, "label": "medium", "comment": f"my key is {SECRET}"}
    answer = await feedback(site, "alice", said)
    assert (answer.status_code, answer.json()) == (
        201,
        {"decision_id": str(decision_id), "stored": True, "comment": "redacted"},
    )
    row = await database.fetchrow("SELECT * FROM routing_feedback WHERE decision_id = $1", decision_id)
    assert row is not None
    assert (row["source"], row["rating"], row["label"]) == ("client:alice's key", 0.25, "medium")
    assert row["comment"].startswith("my key is ")
    assert SECRET not in row["comment"]


@pytest.mark.parametrize(
    ("name", "header", "source"),
    [("alice", "dashboard", "dashboard:alice's key"), ("admin", "judge-7b", "judge-7b:"), ("admin", None, "client:")],
)
async def test_feedback_says_who_gave_it(
    site: Gateway, database: asyncpg.Connection[asyncpg.Record], name: str, header: str | None, source: str
) -> None:
    decision_id = await ask(site, "alice")
    headers = {} if header is None else {"x-bsgateway-source": header}
    answer = await feedback(site, name, {"decision_id": str(decision_id), "rating": 1}, **headers)
    assert answer.status_code == 201, answer.text
    stored = await database.fetchval("SELECT source FROM routing_feedback WHERE decision_id = $1", decision_id)
    assert stored.startswith(source)


async def test_feedback_on_what_another_key_asked_is_refused(
    site: Gateway, database: asyncpg.Connection[asyncpg.Record]
) -> None:
    foreign = IDS["alice"][1]
    answer = await feedback(site, "bob", {"decision_id": str(foreign), "rating": 1})
    assert (answer.status_code, answer.json()["error"]) == (403, "this decision was made for another key")
    answer = await feedback(site, "alice", {"decision_id": str(foreign), "rating": 1}, **{"x-bsgateway-source": "llm"})
    assert answer.status_code == 403
    assert await database.fetchval("SELECT count(*) FROM routing_feedback WHERE decision_id = $1", foreign) == 0


async def test_feedback_on_one_decision_is_bounded(site: Gateway, database: asyncpg.Connection[asyncpg.Record]) -> None:
    decision_id = IDS["alice"][1]
    await database.execute(
        "INSERT INTO routing_feedback (decision_id, source, rating) "
        "SELECT $1, 'client:' || n, 1 FROM generate_series(1, $2::integer) n",
        decision_id,
        MOST_SAID,
    )
    said = {"decision_id": str(decision_id), "rating": 0}
    answer = await feedback(site, "alice", said)
    assert answer.status_code == 409, answer.text
    assert (await feedback(site, "admin", said)).status_code == 201
    await database.execute("DELETE FROM routing_feedback WHERE decision_id = $1", decision_id)


async def test_feedback_on_what_is_not_in_the_log(site: Gateway) -> None:
    for unknown, least in ((uuid4(), 0.0), (new_id(), 1.5)):
        began = time.monotonic()
        answer = await feedback(site, "admin", {"decision_id": str(unknown), "rating": 1})
        assert (answer.status_code, answer.headers["retry-after"]) == (404, "2")
        assert least <= time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"rating": 1.01}, "rating"),
        ({"rating": -1}, "rating"),
        ({"rating": "good"}, "rating"),
        ({"label": "simpel"}, "label"),
        ({"comment": "x" * 4001}, "comment"),
        ({"decision_id": "1"}, "decision_id"),
        ({"remark": "?"}, "remark"),
        ({"rating": None}, None),
        ({"rating": None, "comment": "  "}, None),
    ],
    ids=str,
)
async def test_feedback_that_is_none(site: Gateway, change: dict[str, Any], field: str | None) -> None:
    answer = await feedback(site, "alice", {"decision_id": str(IDS["alice"][0]), "rating": 1, **change})
    assert answer.status_code == 422, answer.text
    assert answer.json()["field"] == field
    if field == "label":
        assert answer.json()["remedy"] == "did you mean 'simple'?"


@pytest.mark.parametrize(
    ("path", "parameters", "field", "remedy"),
    [
        ("savings", {"sinse": "7d"}, "sinse", "did you mean 'since'?"),
        ("savings", {"by": "tiers"}, "by", "did you mean 'tier'?"),
        ("savings", {"tz": "Europe/Atlantis"}, "tz", None),
        ("savings", {"since": "yesterday"}, "since", None),
        ("savings", {"since": "1d", "until": "2d"}, "until", None),
        ("traffic", {"step": "minute"}, "step", None),
        ("traffic", {"by": "tier"}, "by", None),
        ("decisions", {"teer": "simple"}, "teer", "did you mean 'tier'?"),
        ("me", {"x": "1"}, "x", None),
    ],
    ids=str,
)
async def test_what_cannot_be_asked_is_said(
    site: Gateway, path: str, parameters: dict[str, str], field: str, remedy: str | None
) -> None:
    answer = await get(site, "admin", path, **parameters)
    assert answer.status_code == 400, answer.text
    assert answer.json()["field"] == field
    if remedy is not None:
        assert answer.json()["remedy"] == remedy


async def test_filters_are_the_closed_lists(site: Gateway) -> None:
    told = (await get(site, "alice", "filters")).json()
    assert [option["value"] for option in told["methods"]] == ["passthrough", "alias", "pattern", "auto"]
    assert all(option["doc"] for option in (*told["methods"], *told["reasons"], *told["strategies"]))


async def test_a_log_that_does_not_answer_is_a_503_and_models_answer(
    site: Gateway, database: asyncpg.Connection[asyncpg.Record], postgres_server: str
) -> None:
    name = urlsplit(site.dsn).path[1:]
    cut = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
    assert (await get(site, "admin", "savings")).status_code == 200
    await _execute(postgres_server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false', cut)
    try:
        began = time.monotonic()
        for path in ("savings", "traffic", "decisions", f"decisions/{IDS['alice'][0]}"):
            answer = await get(site, "admin", path)
            assert answer.status_code == 503, answer.text
            assert answer.json()["error"] == "the log's database does not answer"
        assert (await get(site, "admin", "me")).json()["log"] == "down"
        said = {"decision_id": str(IDS["alice"][0]), "rating": 1}
        assert (await feedback(site, "alice", said)).status_code == 503
        await ask(site, "alice")
        assert time.monotonic() - began < 20
    finally:
        await _execute(postgres_server, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')

    async def back() -> bool:
        return (await get(site, "admin", "savings")).status_code == 200

    await until("the log answers again", back)


async def test_a_log_that_keeps_waiting_is_a_503(site: Gateway) -> None:
    async def written() -> bool:
        backlog = (await get(site, "admin", "me")).json()["backlog"]
        return not backlog["queued"] and not backlog["spooled_rows"]

    await until("all rows of the tests before", written)  # one that waits would open the log's circuit
    connection = await asyncpg.connect(site.dsn)
    async with connection.transaction():
        await connection.execute("LOCK TABLE routing_logs IN ACCESS EXCLUSIVE MODE")
        began = time.monotonic()
        answers = await asyncio.gather(
            *(get(site, "admin", f"decisions/{IDS['alice'][0]}") for _ in range(3)), get(site, "admin", "filters")
        )
        assert {answer.status_code for answer in answers[:-1]} == {503}
        assert answers[-1].status_code == 200
        assert time.monotonic() - began < 20
    await connection.close()


async def test_the_page_is_public_and_strict(site: Gateway) -> None:
    async with client(site, None) as asking:
        answer = await asking.get("/bsgateway")
        assert (answer.status_code, answer.headers["location"]) == (307, "bsgateway/")
        for path in ("", "savings", f"decisions/{uuid4()}"):
            answer = await asking.get(f"/bsgateway/{path}")
            assert answer.status_code in (200, 503)  # 503: a source tree in which the pages were not built
            assert answer.headers["content-type"].startswith("text/html")
            assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert (await asking.get("/bsgateway/nothing")).status_code == 404
        assert (await asking.head("/bsgateway/")).status_code == answer.status_code
        assert (await asking.post("/bsgateway/")).status_code == 405
        assert (await asking.get("/bsgateway/assets/nothing.js")).status_code == 404


async def test_nothing_that_was_said_is_in_the_log_lines(site: Gateway) -> None:
    assert SECRET not in site.said()
    assert key_of("alice") not in site.said()
    assert json.dumps("alice") not in site.said()
