"""`web/routes.py`: which routes there are, under which settings and paths, in LiteLLM's own app in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import yaml

from bsgateway.check import load_config
from bsgateway.gateway import Gateway

REFERENCE = Path(__file__).parents[2] / "gateway.yaml"
ADMIN, ALICE = "sk-routes-admin-51", "sk-routes-alice-52"
OF_PAGES = ("", "savings", "assets/none.js", "api/me", "api/filters", "api/savings", "api/decisions", "api/learning")
METRICS = "/bsgateway/metrics"


async def authenticate(request: Any, api_key: str) -> Any:
    """See LiteLLM's `custom_auth`."""
    from litellm.proxy._types import LitellmUserRoles, ProxyException, UserAPIKeyAuth

    if api_key not in (ADMIN, ALICE):
        raise ProxyException(message="no such key", type="auth_error", param=None, code=401)
    return UserAPIKeyAuth(api_key=api_key, user_role=LitellmUserRoles.PROXY_ADMIN if api_key == ADMIN else None)


@pytest.fixture
async def callback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """What the routes look at; they are in LiteLLM's app while the test runs. `use` puts other settings in force."""
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    from litellm.proxy import proxy_server

    from bsgateway.web.routes import add_routes

    def use(**routing: Any) -> None:
        config = yaml.safe_load(REFERENCE.read_text(encoding="utf-8"))
        config["routing"].update({"collector": {"enabled": False}, **routing})
        path = tmp_path / "gateway.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        standing_in.gateway = Gateway(load_config(path))

    standing_in: Any = SimpleNamespace(
        use=use,
        lifecycle=SimpleNamespace(metrics=lambda: None),
        telemetry=SimpleNamespace(exposition=lambda _: (b"# EOF\n", "text/plain; version=0.0.4; charset=utf-8")),
    )
    use()
    monkeypatch.setattr(proxy_server, "master_key", ADMIN)
    monkeypatch.setattr(proxy_server, "user_custom_auth", authenticate)
    monkeypatch.setattr(proxy_server, "general_settings", {"custom_auth_run_common_checks": True})
    routes = proxy_server.app.router.routes
    before = list(routes)
    # Other tests of this process may have made a gateway, whose routes would answer first.
    routes[:] = [each for each in before if not getattr(each, "path", "").startswith("/bsgateway")]
    site = add_routes(standing_in)
    yield standing_in
    await site.close()
    routes[:] = before


def client(key: str | None = None, root: str = "") -> httpx.AsyncClient:
    """A client with this key, which reaches the app under a root path."""
    from litellm.proxy.proxy_server import app

    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    transport = httpx.ASGITransport(app, root_path=root)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers=headers)


async def test_without_pages_there_are_feedback_and_metrics(callback: Any) -> None:
    async with client(ADMIN) as asking:
        assert (await asking.get("/bsgateway/api/me")).status_code == 200
        callback.use(dashboard={"enabled": False})
        for path in OF_PAGES:
            assert (await asking.get(f"/bsgateway/{path}")).status_code == 404
        assert (await asking.get("/bsgateway")).status_code == 404
        assert (await asking.get(METRICS)).status_code == 200
        said = {"decision_id": "01890a5d-ac96-774b-bcce-b302099a8057", "rating": 1}
        assert (await asking.post("/bsgateway/feedback", json=said)).status_code == 503  # there is no log here


@pytest.mark.parametrize(
    ("setting", "statuses"), [("admin", (401, 403, 200)), ("open", (200, 200, 200)), ("off", (404, 404, 404))]
)
async def test_metrics_are_for_whom_the_settings_say(callback: Any, setting: str, statuses: tuple[int, ...]) -> None:
    callback.use(telemetry={"metrics": setting})
    for key, status in zip((None, ALICE, ADMIN), statuses, strict=True):
        async with client(key) as asking:
            answer = await asking.get(METRICS)
        assert answer.status_code == status
        if status == 200:
            assert (answer.text, answer.headers.get_list("content-type")) == (
                "# EOF\n",
                ["text/plain; version=0.0.4; charset=utf-8"],
            )


async def test_without_a_log_it_says_so(callback: Any) -> None:
    async with client(ADMIN) as asking:
        assert (await asking.get("/bsgateway/api/me")).json()["log"] == "off"
        for path in ("savings", "traffic", "decisions", "what-if"):
            answer = await asking.get(f"/bsgateway/api/{path}")
            assert (answer.status_code, "the log is off" in answer.json()["error"]) == (503, True)
        assert (await asking.get("/bsgateway/api/learning")).status_code == 200


async def test_it_works_under_a_path_of_the_operators(callback: Any) -> None:
    async with client(ALICE, "/gate") as asking:
        answer = await asking.get("/gate/bsgateway/api/me")
        assert (answer.status_code, answer.json()["admin"]) == (200, False)
        page = await asking.get("/gate/bsgateway/")
        assert page.status_code in (200, 503)  # 503: the pages were not built
        assert page.status_code == 503 or '<base href="/gate/bsgateway/">' in page.text
        assert (await asking.get("/gate/bsgateway")).headers["location"] == "bsgateway/"


async def test_litellm_knows_that_keys_may_come(callback: Any) -> None:
    """The check that stands before the keys of its own database, too."""
    from litellm.proxy._types import LitellmUserRoles, UserAPIKeyAuth
    from litellm.proxy.auth.route_checks import RouteChecks
    from starlette.requests import Request

    def may(route: str, role: LitellmUserRoles | None, method: str = "GET", **key: Any) -> bool:
        token = UserAPIKeyAuth(api_key="sk-some", user_role=role, **key)
        request = Request({"type": "http", "method": method, "path": route, "headers": [], "query_string": b""})
        try:
            RouteChecks.should_call_route(route, token, request)
            RouteChecks.non_proxy_admin_allowed_routes_check(None, role, route, request, token, {})
        except Exception:
            return False
        return True

    for route in ("/bsgateway/api/me", "/bsgateway/api/decisions/01890a5d", "/bsgateway/feedback"):
        for role in (None, LitellmUserRoles.INTERNAL_USER, LitellmUserRoles.INTERNAL_USER_VIEW_ONLY):
            assert may(route, role)
            assert not may(route, role, allowed_routes=["llm_api_routes"])
            assert may(route, role, allowed_routes=["/bsgateway/*"])
    viewer = LitellmUserRoles.PROXY_ADMIN_VIEW_ONLY
    assert may("/bsgateway/api/explain", viewer, "POST")
    assert not may("/bsgateway/api/learning/promote", viewer, "POST")
    assert not may("/bsgateway/reload", None, "POST")


async def test_a_long_answer_is_packed(callback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bsgateway.web.routes.PACKED_FROM", 100)
    async with client(ALICE) as asking:
        packed = await asking.get("/bsgateway/api/filters")
        plain = await asking.get("/bsgateway/api/filters", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()
