"""Hostile requests to the dashboard's API, to feedback and to the pages: LiteLLM's own app with its own authentication,
in this process, and a real database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest
import yaml

from attacks.conftest import REFERENCE
from bsgateway.check import load_config
from bsgateway.gateway import Gateway
from bsgateway.store import Store
from builders import make_decision, make_outcome

ADMIN, ALICE = "sk-attacks-admin-41", "sk-attacks-alice-42"
HTML = "<script>alert(1)</script>"
DECISION = make_decision(decision_id=UUID("01a20707-0000-7000-8000-000000000001"), original_model=HTML)
"""Its id stands in names of tests: every worker must find the same ones."""
API = "/bsgateway/api"
FILTERS = (
    "tier", "method", "strategy", "reason", "model", "applied", "status", "fell_back", "key", "conversation",
    "session", "call_id", "since", "until", "tz", "before", "limit",
)  # fmt: skip
INJECTIONS = (
    "' OR 1=1 --",
    "'; DROP TABLE routing_feedback; --",
    "1); SELECT pg_sleep(20); --",  # it would be a 503
    "' UNION SELECT ask FROM routing_texts --",
    "$1",
    ":tier",
    "%s%n{0}",
    "\\'; --",
    "../../etc/passwd",
    HTML,
)
UNPRINTABLE = ("%00", "a%00b", "%0d%0aSet-Cookie:%20a=b", "%ed%a0%80", "%c0%af", "%f0%9f", "%1b%5b31m")
"""As they stand in a URL: NUL, line ends, half a character, an overlong one, a cut one, a terminal's escape."""


@pytest.fixture(scope="module")
def dsn(postgres_server: str) -> str:
    """A database with one decision."""
    name = f"attacks_{uuid4().hex}"
    address = urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))

    async def fill() -> None:
        connection = await asyncpg.connect(postgres_server)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        async with await Store.connect(address) as store:
            await store.migrate()
            await store.copy([DECISION, make_outcome(DECISION)])

    asyncio.run(fill())
    return address


async def authenticate(request: Any, api_key: str) -> Any:
    """See LiteLLM's `custom_auth`."""
    from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

    if api_key not in (ADMIN, ALICE):
        raise ProxyException(message="no such key", type="auth_error", param=None, code=401)
    role = LitellmUserRoles.PROXY_ADMIN if api_key == ADMIN else None
    return UserAPIKeyAuth(api_key=api_key, user_role=role, models=["nothing"], key_alias=f"{HTML}\r\n")


@pytest.fixture
async def app(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """LiteLLM's app with the routes of a gateway that logs into that database."""
    from litellm.proxy import proxy_server

    from bsgateway.web.routes import add_routes

    config = yaml.safe_load(REFERENCE.read_text(encoding="utf-8"))
    config["routing"]["collector"] = {"database_url": dsn, "text": "full"}
    path = tmp_path / "gateway.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    monkeypatch.setattr(proxy_server, "master_key", ADMIN)
    monkeypatch.setattr(proxy_server, "user_custom_auth", authenticate)
    monkeypatch.setattr(proxy_server, "general_settings", {"custom_auth_run_common_checks": True})
    routes = proxy_server.app.router.routes
    before = list(routes)
    # Other tests of this process may have made a gateway, whose routes would answer first.
    routes[:] = [each for each in before if not getattr(each, "path", "").startswith("/bsgateway")]
    callback = SimpleNamespace(gateway=Gateway(load_config(path)), lifecycle=SimpleNamespace(metrics=lambda: None))
    site = add_routes(callback)
    yield proxy_server.app
    await site.close()
    routes[:] = before


@pytest.fixture
async def anybody(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client without a key."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        yield client


@pytest.fixture
async def admin(anybody: httpx.AsyncClient) -> httpx.AsyncClient:
    """A client with an admin's key."""
    anybody.headers["Authorization"] = f"Bearer {ADMIN}"
    return anybody


@pytest.fixture(autouse=True)
def intact(dsn: str) -> Iterator[None]:
    """After each attack the log is what it was."""
    yield

    async def look() -> tuple[int, int]:
        async with await Store.connect(dsn) as store:
            counts = await store.counts()
        return counts.logs, counts.feedback

    assert asyncio.run(look())[0] == 1


@pytest.mark.parametrize("name", FILTERS)
async def test_a_filter_is_data(admin: httpx.AsyncClient, name: str) -> None:
    for words in INJECTIONS:
        answer = await admin.get(f"{API}/decisions", params={name: words})
        assert answer.status_code in (200, 400), (words, answer.text)
        if answer.status_code == 200:
            assert answer.json()["rows"] == []
        else:
            assert answer.json()["field"] == name
        assert "routing_" not in answer.text.replace(words, "")


@pytest.mark.parametrize("path", ["savings", "traffic"])
@pytest.mark.parametrize("name", ["since", "until", "tz", "by", "step"])
async def test_a_period_is_data(admin: httpx.AsyncClient, path: str, name: str) -> None:
    for words in (*INJECTIONS, "9" * 500, "-1d", "0001-01-01", "9999-12-31", "1e999", "/etc/passwd", "../UTC"):
        answer = await admin.get(f"{API}/{path}", params={name: words})
        if answer.status_code == 200:
            assert (name, words) in {("since", "0001-01-01"), ("until", "9999-12-31")}
        else:
            assert (answer.status_code, answer.json()["field"] is not None) == (400, True), (words, answer.text)


@pytest.mark.parametrize("words", UNPRINTABLE)
async def test_what_cannot_be_printed_is_refused(
    admin: httpx.AsyncClient, words: str, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("model", "key", "call_id", "tz"):
        answer = await admin.get(f"{API}/decisions?{name}={words}")
        assert answer.status_code in (200, 400)
        if answer.status_code == 200:  # bytes that are no UTF-8 become U+FFFD
            assert answer.json()["rows"] == []
    assert (await admin.get(f"{API}/decisions?{words}=1")).status_code == 400
    assert (await admin.get(f"{API}/decisions/{words}")).status_code == 404
    for record in caplog.records:
        if record.name.startswith("bsgateway"):
            assert record.getMessage().isprintable()


async def test_parameters_are_bounded_and_given_once(admin: httpx.AsyncClient) -> None:
    for query in (
        "model=a&model=b",
        f"model={'x' * 513}",
        "model[]=a",
        "limit=0",
        "limit=100000",
        "limit=1e9",
        "limit=1.5",
    ):
        assert (await admin.get(f"{API}/decisions?{query}")).status_code == 400, query
    many = "&".join(f"p{number}=1" for number in range(2_000))
    answer = await admin.get(f"{API}/decisions?{many}")
    assert answer.status_code == 400
    assert len(answer.content) < 2_000


async def test_markup_stays_data(admin: httpx.AsyncClient) -> None:
    answer = await admin.get(f"{API}/decisions/{DECISION.decision_id}")
    assert answer.json()["row"]["decision"]["original_model"] == HTML
    for refused in (answer, await admin.get(f"{API}/decisions", params={HTML: "1"})):
        assert refused.headers["content-type"] == "application/json"
        assert refused.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in refused.headers["content-security-policy"]


SNEAKY = (
    "..%2f..%2fapi.py",
    "%2e%2e%2fapi.py",
    "..%5c..%5capi.py",
    "%2fetc%2fpasswd",
    "....//api.py",
    "../api.py",
    "..;/api.py",
    "index.html%00.js",
    "%252e%252e%252fapi.py",
    "..%c0%afapi.py",
    ".",
    "~root",
)


@pytest.mark.parametrize("name", SNEAKY)
async def test_no_path_leaves_the_assets(app: Any, name: str) -> None:
    # Not by httpx, which would tidy the path up.
    status, content = await _raw_get(app, f"/bsgateway/assets/{name}")
    assert status in (404, 401), content
    assert b"import" not in content
    assert b"root:" not in content


async def _raw_get(app: Any, target: str, headers: tuple[tuple[bytes, bytes], ...] = ()) -> tuple[int, bytes]:
    """What the app answers to this request line, decoded as uvicorn does."""
    from urllib.parse import unquote

    path, _, query = target.partition("?")
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": unquote(path, errors="replace"), "raw_path": path.encode(), "query_string": query.encode(),
        "root_path": "", "headers": [(b"host", b"gateway"), *headers], "client": ("127.0.0.1", 1), "server": ("g", 80),
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


@pytest.mark.parametrize("host", ["evil.example", "localhost/?x=1", "localhost:1@evil", "a\tb", "[::1", ""])
async def test_a_forged_host_lets_nobody_in(app: Any, host: str) -> None:
    for target in (f"{API}/me", f"{API}/decisions", "/bsgateway/metrics"):
        status, _ = await _raw_get(app, target, ((b"host", host.encode()), (b"x-forwarded-host", host.encode())))
        assert status == 401
    status, content = await _raw_get(app, "/bsgateway/", ((b"host", host.encode()),))
    assert status in (200, 503)
    assert b"evil" not in content


async def test_a_key_elsewhere_than_in_a_header_is_none(anybody: httpx.AsyncClient) -> None:
    for query in (f"key={ADMIN}", f"api_key={ADMIN}", f"access_token={ADMIN}"):
        assert (await anybody.get(f"{API}/me?{query}")).status_code == 401
    for name in ("token", "key", "session"):
        anybody.cookies.set(name, ADMIN)
    assert (await anybody.get(f"{API}/me")).status_code == 401
    said = {"decision_id": str(DECISION.decision_id), "rating": 1, "api_key": ADMIN, "user_api_key": ADMIN}
    assert (await anybody.post("/bsgateway/feedback", json=said)).status_code == 401


FEEDBACK = f'{{"decision_id": "{DECISION.decision_id}", "rating": 1}}'


@pytest.mark.parametrize(
    ("content_type", "content", "status"),
    [
        ("", FEEDBACK, 415),
        ("text/plain", FEEDBACK, 415),
        ("application/x-www-form-urlencoded", f"decision_id={DECISION.decision_id}&rating=1", 415),
        ("multipart/form-data; boundary=x", "--x--", 415),
        ("application/jsonp", FEEDBACK, 415),
        ("application/json", "", 400),
        ("application/json", FEEDBACK[:-1], 400),
        ("application/json", FEEDBACK.replace("1}", "NaN}"), 400),
        ("application/json", FEEDBACK.replace("1}", "1e999}"), 400),
        ("application/json", "[" * 100_000, 400),
        ("application/json", '{"a":' * 100_000, 400),
        ("application/json", FEEDBACK.encode("utf-16"), 400),
        ("application/json", b'{"comment": "\xff"}', 400),
        ("application/json", f"[{FEEDBACK}]", 422),
        ("application/json", "null", 422),
        ("application/json", FEEDBACK.replace("1}", '"1"}'), 422),
        ("application/json", FEEDBACK.replace("1}", "true}"), 422),
        ("application/json", FEEDBACK.replace("rating", "__proto__"), 422),
        ("application/json", FEEDBACK.replace("rating", "source"), 422),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_a_body_that_is_none(
    admin: httpx.AsyncClient, content_type: str, content: str | bytes, status: int
) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = await admin.post("/bsgateway/feedback", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert len(answer.content) < 1_000


@pytest.mark.parametrize("path", ["/bsgateway/feedback", f"{API}/explain", f"{API}/learning/promote"])
async def test_a_body_is_bounded(admin: httpx.AsyncClient, path: str) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 50_000_000:
            sent += 65_536
            yield b"x" * 65_536

    answer = await admin.post(path, content=endless(), headers={"content-type": "application/json"})
    assert answer.status_code == 413
    assert sent < 2_000_000  # no further than it may be long
    answer = await admin.post(path, content=b"{}", headers={"content-length": "9" * 18})
    assert answer.status_code == 413


async def test_words_of_a_body_mean_nothing_to_authentication(anybody: httpx.AsyncClient) -> None:
    # This key may use no model, which LiteLLM would refuse by the body's `model`; here it is only looked at.
    anybody.headers["Authorization"] = f"Bearer {ALICE}"
    answer = await anybody.post(
        f"{API}/explain", json={"prompt": "hi", "model": "claude-opus", "strategies": ["static"]}
    )
    assert answer.status_code == 200, answer.text
    foreign = {"decision_id": str(DECISION.decision_id), "rating": 0}
    assert (await anybody.post("/bsgateway/feedback", json=foreign)).status_code == 403


async def test_a_comment_of_markup_is_stored_as_it_is(admin: httpx.AsyncClient, dsn: str) -> None:
    comment = f"{HTML}'; DROP TABLE routing_feedback; -- \x00 \u202e"
    said = {"decision_id": str(DECISION.decision_id), "comment": comment}
    assert (await admin.post("/bsgateway/feedback", json=said)).status_code == 201
    connection = await asyncpg.connect(dsn)
    stored = await connection.fetchrow("SELECT comment, source FROM routing_feedback")
    await connection.close()
    assert stored is not None
    assert stored["comment"] == comment.replace("\x00", "\ufffd")
    told = (await admin.get(f"{API}/decisions/{DECISION.decision_id}")).json()
    assert told["feedback"][0]["comment"] == stored["comment"]


@pytest.mark.parametrize("source", ["judge\r\nx: y", "Judge", "judge 7b", "x" * 65, "llm;--", HTML])
async def test_a_source_is_a_name(admin: httpx.AsyncClient, source: str) -> None:
    said = {"decision_id": str(DECISION.decision_id), "rating": 1}
    answer = await admin.post(
        "/bsgateway/feedback", json=said, headers={"x-bsgateway-source": quote(source, safe=" ;<>()/")}
    )
    assert answer.status_code == 422


async def test_methods_that_are_none(admin: httpx.AsyncClient) -> None:
    for method in ("PUT", "DELETE", "PATCH", "POST", "OPTIONS"):
        assert (await admin.request(method, f"{API}/me")).status_code == 405
    assert (await admin.get("/bsgateway/feedback")).status_code == 405
    answer = await admin.head(f"{API}/me")
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    answer = await admin.request("GET", f"{API}/me", content=b"{}")
    assert answer.status_code == 400


async def test_errors_say_nothing_of_the_inside(
    admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from bsgateway.web import about

    monkeypatch.setattr(about, "tiers", lambda _: {}["the words of a prompt"])
    with caplog.at_level(logging.ERROR):
        answer = await admin.get(f"{API}/me")
    assert (answer.status_code, answer.json()["error"]) == (500, "something in the gateway failed: KeyError")
    assert "words of a prompt" not in answer.text + caplog.text
    assert "test_dashboard.py" in caplog.text
