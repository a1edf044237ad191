"""A running gateway with the seeded log, and models to put in force: for the tests of the pages and the screenshots."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import yaml

from browser.seeded import PRICES, Seeded, seed
from bsgateway.core import core
from bsgateway.decision import now
from bsgateway.gateway import load
from bsgateway.learn.promotion import accept
from bsgateway.models import install
from e2e.gateways import KEY, Gateway, clean_environment, serving, write_config
from e2e.upstream import Upstream
from model_files import model

TIERS = {
    "simple": {
        "score_range": [0, 30],
        "models": ["small", "swift"],
        "description": "Facts and short answers",
    },
    "medium": {"score_range": [31, 60], "models": ["medium"], "description": "Code and explanations of some length"},
    "complex": {"score_range": [61, 100], "models": ["large"], "description": "Design, proofs, long debugging"},
}
BORDERS = (31, 61)
KEYS = {"admin": KEY, "alice": "sk-key-alice", "bob": "sk-key-bob", "viewer": "sk-key-viewer"}
"""What is typed into the page; see e2e/dashboard_keys.py."""


class Models(NamedTuple):
    """Ids of the kept versions: in force, certain to be better than it, and not certain."""

    in_force: str
    better: str
    doubtful: str


class Site(NamedTuple):
    """The gateway, its log and its models."""

    gateway: Gateway
    seeded: Seeded
    models: Models

    @property
    def url(self) -> str:
        return f"{self.gateway.url}/bsgateway"


@contextmanager
def seeded_site(server: str, directory: Path, upstream: Upstream, *, markup: bool = False) -> Iterator[Site]:
    """`bsgateway serve` on a database of its own at the PostgreSQL `server`. `markup`: the log holds some."""
    database = urlunsplit(urlsplit(server)._replace(path=f"/pages_{uuid4().hex}"))
    path = _configured(directory, upstream)
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

    async def fill() -> Seeded:
        connection = await asyncpg.connect(server)
        await connection.execute(f'CREATE DATABASE "{urlsplit(database).path[1:]}"')
        await connection.close()
        return await seed(database, load(path), now().replace(microsecond=0), markup=markup)

    seeded = asyncio.run(fill())
    models = _keep_models(directory / "state" / "model.safetensors")
    environment = clean_environment(LITELLM_MASTER_KEY=KEY, COLLECTOR_DATABASE_URL=database)
    with serving(path, upstream, environment=environment, database=database) as gateway:
        yield Site(gateway, seeded, models)


def _configured(directory: Path, upstream: Upstream) -> Path:
    path = write_config(
        directory, upstream, tiers=TIERS, fallback_tier="medium", session={"enabled": False},
        collector={"flush_seconds": 0.1, "text": "full"},
    )  # fmt: skip
    shutil.copy(Path(__file__).parents[1] / "e2e" / "dashboard_keys.py", directory)
    config = yaml.safe_load(path.read_text())
    config["general_settings"].update(custom_auth="dashboard_keys.authenticate", custom_auth_run_common_checks=True)
    config["model_list"] = [_deployment(name, upstream) for name in PRICES]
    path.write_text(yaml.safe_dump(config, sort_keys=False))
    return path


def _deployment(name: str, upstream: Upstream) -> dict[str, Any]:
    given, made = PRICES[name]
    return {
        "model_name": name,
        "litellm_params": {
            "model": f"openai/{name}-2026", "api_base": f"{upstream.base_url}/small/v1", "api_key": "none",
        },
        "model_info": {
            "input_cost_per_token": given / 1e6, "output_cost_per_token": made / 1e6, "max_input_tokens": 200_000,
            "max_output_tokens": 32_000, "supports_function_calling": True, "supports_vision": name == "large",
        },
    }  # fmt: skip


def _keep_models(path: Path) -> Models:
    """Three small model files of which the second says that it is better, each with scores, curve and labels."""
    path.parent.mkdir(mode=0o700, parents=True)
    files = []
    for place, (apgr, gain, better) in enumerate(((0.61, 0.06, True), (0.68, 0.07, True), (0.63, 0.02, False))):
        created = (now() - timedelta(days=20 - 6 * place)).isoformat(timespec="seconds")
        held_out = {
            "apgr": {"value": apgr, "low": apgr - 0.04, "high": apgr + 0.04},
            "others": {"static": {"value": 0.55, "low": 0.51, "high": 0.59}},
            "difference": {"value": gain, "low": gain - 0.04, "high": gain + 0.04},
            "better": better,
            "curve": [[step / 20, 0.7 + 0.2 * (step / 20) ** (1 - apgr)] for step in range(21)],
            "random_curve": [[0.0, 0.7], [1.0, 0.9]],
        }
        labels = {"tier": 25 + place, "rating": 90 * (place + 1), "dual_run": 140 * (place + 1)}
        files.append(
            model(bias=place / 10, rows=900 * (place + 1), created=created, held_out=held_out, labels=labels).to_bytes()
        )
    install(files[0], path)
    for data in files:
        accept(path, data, against="the score in force", promoted=data is files[0])
    return Models(*(core.LearnedModel(data).id for data in files))
