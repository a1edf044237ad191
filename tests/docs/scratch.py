"""What the examples find when they are run: a directory with the files they name, and a log with a month in it."""

from __future__ import annotations

import gzip
import json
import random
import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import yaml

from bsgateway.core import core
from bsgateway.decision import Caller, Comparison, now
from bsgateway.gateway import Gateway, load
from bsgateway.learn.promotion import accept
from bsgateway.rollups import refresh_all
from bsgateway.rows import Item
from bsgateway.store import Store
from builders import id_at, make_outcome, make_texts
from docs.blocks import ROOT
from e2e.gateways import PROVIDER_KEY
from labelled_log import make_asks
from model_files import model

ROWS = 400
TWO = {"simple": "low", "medium": "high", "complex": "high"}
EASY, HARD = "What is the capital of France?", "Prove the theorem step by step, and analyze the race condition."
PAIRS = {
    "outcomes.jsonl.gz": ("small-model", "large-model"),
    "fasteval.jsonl.gz": ("gpt-3.5-turbo-0613", "gpt-4-0613"),
    "zeroeval.jsonl.gz": ("gpt-4o-mini-2024-07-18", "o1-mini-2024-09-12"),
    "outcomes/file.jsonl.gz": ("small-model", "large-model"),
}
"""Files of outcomes that pages name, and the models in them."""
MODELS = {"5fe050870b13": 2.0, "50d816b482d4": 1.0}
"""Versions of a model that pages name, each made with another bias; the last one is in force."""


def config(base_url: str) -> dict[str, Any]:
    """gateway.yaml of the repository, with every model at `base_url`, where the providers of the tests are."""
    whole: dict[str, Any] = yaml.safe_load((ROOT / "gateway.yaml").read_text(encoding="utf-8"))
    for number, deployment in enumerate(whole["model_list"]):
        params = deployment["litellm_params"]
        anthropic = params["model"].startswith("anthropic/")
        model = params["model"] if anthropic else f"openai/{params['model'].split('/')[1]}"
        base = f"{base_url}/g{number}" + ("" if anthropic else "/v1")
        deployment["litellm_params"] = {"model": model, "api_base": base, "api_key": PROVIDER_KEY}
    whole["routing"]["collector"]["flush_seconds"] = 0.1
    return whole


def fill(directory: Path, base_url: str, page: str) -> dict[str, str]:
    """Write the files that examples name. What stands in a page for what they are here: ids of models."""
    directory.mkdir(parents=True, exist_ok=True)
    whole = config(base_url)
    if page == "docs/llm.md":
        whole["routing"]["classifier"] = {"strategy": "llm", "llm": {"model": "qwen3:0.6b", "timeout": 0.5}}
    _write(directory / "gateway.yaml", whole)
    learned = {**whole, "routing": {**whole["routing"], "classifier": {"strategy": "ml"}}}
    if page == "docs/learning.md":  # its examples have two tiers
        learned["routing"]["tiers"] = {
            "low": {"score_range": [0, 30], "model": "gpt-5-mini"},
            "high": {"score_range": [31, 100], "model": "claude-opus"},
        }
        learned["routing"] |= {"fallback_tier": "low", "aliases": {"auto": "auto_route"}}
    shutil.copy(ROOT / ".env.example", directory)
    for name in ("ml.yaml", "new.yaml"):
        _write(directory / name, learned)
    for name, pair in PAIRS.items():
        (directory / name).parent.mkdir(exist_ok=True)
        with gzip.open(directory / name, "wt", encoding="utf-8") as file:
            for ask in make_asks(400):
                outcomes = dict(zip(pair, (float(not ask.fails), 1.0), strict=True))
                file.write(json.dumps({"prompt": ask.text, "source": "exam", "outcomes": outcomes}) + "\n")
    return _models(directory / ".bsgateway")


def _write(path: Path, whole: dict[str, Any]) -> None:
    path.write_text(yaml.safe_dump(whole, sort_keys=False), encoding="utf-8")


def _models(state: Path) -> dict[str, str]:
    state.mkdir(exist_ok=True)
    real = {}
    for name, bias in MODELS.items():
        data = model(bias=bias, held_out={"better": bias == 1.0}).to_bytes()
        accept(state / "model.safetensors", data, "the model before", promoted=bias == 1.0)
        real[name] = core.LearnedModel(data).id
    return real


def traffic(gateway: Gateway) -> Iterator[Item]:
    """Asks of the last days, two to a conversation, as the gateway decides them; some went elsewhere by chance, and of
    all two answers were compared. Half of the conversations are of the two tiers that docs/learning.md has. The user
    `ann`, whose rows a page erases, has few of them."""
    draw = random.Random(7)
    for number, ask in enumerate(make_asks(ROWS)):
        words = f"{HARD if ask.fails else EASY} {ask.text}"
        moment = now() - timedelta(hours=120 - 119 * number / ROWS)
        decision = gateway.decide({"model": "auto", "messages": [{"role": "user", "content": words}]})
        other = number // 2 % 2 == 0
        decision = msgspec.structs.replace(
            decision, decision_id=id_at(moment, draw.getrandbits(60)), created_at=moment,
            conversation_id=f"{number // 2:032x}", explored=number % 4 == 0, propensity=0.75,
            tier=TWO[decision.tier or ""] if other else decision.tier,
            caller=Caller(user_id="ann" if number % 20 == 0 else None),
        )  # fmt: skip
        cheap, dear = ("low", "high") if other else ("simple", "complex")
        yield decision
        yield make_texts(decision, ask=words)
        yield make_outcome(decision, served_group=decision.resolved_model)
        yield Comparison(
            decision_id=decision.decision_id, created_at=now(), weak_tier=cheap, strong_tier=dear,
            weak_model="local/glm-4.7-flash", strong_model="claude-opus", weak_score=float(not ask.fails),
            strong_score=1.0, judge="match", share=1.0,
        )  # fmt: skip


async def seed(dsn: str) -> None:
    """Make the tables, and write the traffic."""
    async with await Store.connect(dsn) as store:
        await store.migrate()
        await store.copy(list(traffic(load(ROOT / "gateway.yaml"))))
        assert await refresh_all(store, None)
