"""Keys, teams, users and budgets of LiteLLM's own database, made over its own API.

Needs what LiteLLM needs for its database: Prisma's generated client and its query engine (`prisma generate`, which
downloads the engine). Skipped without.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import httpx
import litellm_proxy_extras
import pytest
import yaml

from e2e.clients import PROMPTS, new_request_id
from e2e.gateways import KEY, Gateway, clean_environment, start_serve, write_config
from e2e.records import until
from e2e.upstream import Plan, Upstream

GROUP_BUDGET = """
INSERT INTO "LiteLLM_BudgetTable" (budget_id, max_budget, budget_duration, created_by, updated_by)
VALUES ('dear', 1e-9, '1d', 'test', 'test');
INSERT INTO "LiteLLM_ModelAccessGroupBudgetTable" (access_group_name, budget_id) VALUES ('dear-ones', 'dear')
"""
MIGRATIONS = Path(litellm_proxy_extras.__file__).with_name("migrations")


def engine() -> Path | None:
    """Prisma's query engine, if it and the client made for LiteLLM's schema are there."""
    try:
        from prisma.client import BINARY_PATHS
        from prisma.engine.utils import ensure
    except ImportError:
        return None
    try:
        return ensure(BINARY_PATHS.query_engine)
    except Exception:  # of Prisma's own kinds, for each way in which it is not there
        return None


pytestmark = pytest.mark.skipif(engine() is None, reason="Prisma's client or query engine is not there")


async def create_database(server: str) -> str:
    """The DSN of a new database with LiteLLM's tables."""
    dsn = urlunsplit(urlsplit(server)._replace(path=f"/litellm_{uuid4().hex}"))
    connection = await asyncpg.connect(server)
    await connection.execute(f'CREATE DATABASE "{urlsplit(dsn).path[1:]}"')
    await connection.close()
    connection = await asyncpg.connect(dsn)
    for migration in sorted(MIGRATIONS.glob("*/migration.sql")):
        # Several statements at once are one transaction, in which nothing can be done concurrently.
        await connection.execute(migration.read_text().replace(" CONCURRENTLY", ""))
    # Groups that stand in the configuration, not in the database, get no budget over LiteLLM's API.
    await connection.execute(GROUP_BUDGET)
    await connection.close()
    return dsn


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, postgres_server: str, upstream: Upstream) -> Iterator[Gateway]:
    """`bsgateway serve` on LiteLLM's database."""
    directory = tmp_path_factory.mktemp("stored")
    hard = {"route": "auto_route", "bias": 100}
    aliases = {"auto": "auto_route", "auto-hard": hard, "auto-free": hard, "frontier": "large"}
    path = write_config(directory, upstream, aliases=aliases, session={"enabled": False}, collector={"enabled": False})
    config = yaml.safe_load(path.read_text())
    config["general_settings"]["database_url"] = "os.environ/DATABASE_URL"
    gratis = {"model": "openai/gratis-1", "api_base": f"{upstream.base_url}/gratis/v1", "api_key": "none"}
    price = {"input_cost_per_token": 0.0, "output_cost_per_token": 0.0}
    config["model_list"].append({"model_name": "gratis", "litellm_params": gratis, "model_info": price})
    next(each for each in config["model_list"] if each["model_name"] == "large")["model_info"] = {
        "access_groups": ["dear-ones"]
    }
    config["router_settings"] = {"disable_cooldowns": True, "model_group_alias": {"auto-free": "gratis"}}
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    database = asyncio.run(create_database(postgres_server))
    environment = clean_environment(
        LITELLM_MASTER_KEY=KEY,
        LITELLM_SALT_KEY="sk-e2e-salt",
        # Prisma wants a host, and takes the directory of the socket instead if there is one.
        DATABASE_URL=database.replace("@/", "@localhost/", 1),
        DISABLE_SCHEMA_UPDATE="true",  # the tables are there
    )
    running = start_serve(path, directory / "state", upstream, environment=environment, database=database)
    try:
        yield running
        running.stop()
    finally:
        running.kill()


@pytest.fixture
async def admin(stored: Gateway) -> AsyncIterator[httpx.AsyncClient]:
    """A client with the master key."""
    headers = {"Authorization": f"Bearer {KEY}"}
    async with httpx.AsyncClient(base_url=stored.url, headers=headers, timeout=60, verify=False) as client:
        yield client


async def made(admin: httpx.AsyncClient, path: str, **fields: Any) -> dict[str, Any]:
    """What LiteLLM's API has made."""
    answer = await admin.post(path, json=fields)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def ask(gateway: Gateway, key: str, model: str, *plans: str, **extra: Any) -> tuple[httpx.Response, list[str]]:
    """The answer to a chat completion, and the groups whose provider was called; those of `plans` fail."""
    request_id = new_request_id()
    gateway.upstream.plan(request_id, Plan(status=503), *plans)
    messages = [{"role": "user", "content": f"{PROMPTS['simple']} {request_id}"}]
    async with httpx.AsyncClient(base_url=gateway.url, timeout=60, verify=False) as client:
        answer = await client.post(
            "/v1/chat/completions",
            json={"model": model, "messages": messages, **extra},
            headers={"Authorization": f"Bearer {key}"},
        )
    return answer, [call.group for call in gateway.upstream.calls(request_id)]


async def test_a_key_stays_within_its_models(stored: Gateway, admin: httpx.AsyncClient) -> None:
    for models, groups in (
        ([], ["large"]),
        (["auto-hard", "large"], ["large"]),
        (["auto-hard", "small", "medium"], ["medium"]),
        (["auto-hard", "small"], ["small"]),
        (["auto-hard"], []),
    ):
        key = (await made(admin, "/key/generate", models=models))["key"]
        answer, reached = await ask(stored, key, "auto-hard")
        assert reached == groups, answer.text
        assert answer.status_code == (200 if groups else 403)
    by_name, _ = await ask(stored, key, "large")
    assert answer.json() == by_name.json()


async def test_teams_and_users_hold_too(stored: Gateway, admin: httpx.AsyncClient) -> None:
    team = (await made(admin, "/team/new", models=["auto-hard", "medium"]))["team_id"]
    key = (await made(admin, "/key/generate", team_id=team, models=[]))["key"]
    assert (await ask(stored, key, "auto-hard"))[1] == ["medium"]
    user = (await made(admin, "/user/new", models=["auto-hard", "small"], auto_create_key=False))["user_id"]
    key = (await made(admin, "/key/generate", user_id=user, models=[]))["key"]
    answer, groups = await ask(stored, key, "auto-hard")
    assert groups == ["small"], answer.text
    assert answer.headers["x-bsgateway-reason"] == "not_allowed"


async def test_a_team_that_changes_is_noticed(stored: Gateway, admin: httpx.AsyncClient) -> None:
    team = (await made(admin, "/team/new", models=["auto-hard", "medium"]))["team_id"]
    key = (await made(admin, "/key/generate", team_id=team, models=[]))["key"]
    assert (await ask(stored, key, "auto-hard"))[1] == ["medium"]
    await made(admin, "/team/update", team_id=team, models=["auto-hard", "small"])

    async def moved() -> bool:
        return (await ask(stored, key, "auto-hard"))[1] == ["small"]

    await until("the team's new models", moved)


@pytest.mark.parametrize("whose", ["key", "team", "user"])
async def test_a_budget_for_a_model_runs_out(stored: Gateway, admin: httpx.AsyncClient, whose: str) -> None:
    team = (await made(admin, "/team/new"))["team_id"]
    user = (await made(admin, "/user/new", auto_create_key=False))["user_id"]
    owner = {"team": {"team_id": team}, "user": {"user_id": user}}.get(whose, {})
    generated = await made(admin, "/key/generate", **owner)
    key, token = generated["key"], generated["token"]
    table, column, name = {
        "key": ("LiteLLM_VerificationToken", "token", token),
        "team": ("LiteLLM_TeamTable", "team_id", team),
        "user": ("LiteLLM_UserTable", "user_id", user),
    }[whose]
    # LiteLLM keeps to such a budget, but sets it over its API only for those who have bought a licence.
    budget = json.dumps({"large": {"max_budget": 1e-9, "budget_duration": "1d"}})
    connection = await asyncpg.connect(stored.dsn)
    sql = f'UPDATE "{table}" SET model_max_budget = $1 WHERE {column} = $2'
    assert await connection.execute(sql, budget, name) == "UPDATE 1"
    await connection.close()
    if whose == "team":
        await made(admin, "/team/update", team_id=team, team_alias="anew")  # LiteLLM remembers it as it was made
    assert (await ask(stored, key, "auto-hard"))[1] == ["large"]

    async def moved() -> bool:  # what was spent is counted after the answer
        answer, groups = await ask(stored, key, "auto-hard")
        assert answer.status_code == 200
        return groups == ["medium"] and answer.headers["x-bsgateway-reason"] == "over_budget"

    await until("the next model", moved)
    answer, groups = await ask(stored, key, "frontier")
    by_name, _ = await ask(stored, key, "large")
    assert (answer.status_code, groups) == (by_name.status_code, [])
    # Nor where LiteLLM falls back to it.
    assert (await ask(stored, key, "auto-hard", "medium"))[1] == ["medium", "small"]


async def test_a_whole_budget_is_litellms(stored: Gateway, admin: httpx.AsyncClient) -> None:
    key = (await made(admin, "/key/generate", max_budget=1e-9))["key"]
    assert (await ask(stored, key, "auto-hard"))[1] == ["large"]

    async def refused() -> bool:
        answer, groups = await ask(stored, key, "auto")
        return groups == [] and "budget" in answer.text.lower()

    await until("the budget's end", refused)


async def test_a_name_that_stands_for_a_free_model_opens_no_budget(stored: Gateway, admin: httpx.AsyncClient) -> None:
    # For such a name LiteLLM leaves out every budget at authentication.
    key = (await made(admin, "/key/generate", max_budget=1e-9))["key"]
    assert (await ask(stored, key, "auto-free"))[1] == ["large"]

    async def refused() -> bool:
        answer, groups = await ask(stored, key, "auto-free")
        return groups == [] and "budget" in answer.text.lower()

    await until("the budget's end", refused)
    assert (await ask(stored, key, "gratis"))[1] == ["gratis"]


async def test_a_budget_for_a_group_of_models_runs_out(stored: Gateway, admin: httpx.AsyncClient) -> None:
    key = (await made(admin, "/key/generate", models=["auto-hard", "medium", "dear-ones"]))["key"]
    assert (await ask(stored, key, "auto-hard"))[1] == ["large"]

    async def moved() -> bool:
        answer, groups = await ask(stored, key, "auto-hard")
        assert answer.status_code == 200
        return groups == ["medium"] and answer.headers["x-bsgateway-reason"] == "over_budget"

    await until("the next model", moved)
