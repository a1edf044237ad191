"""Parquet exports of a log in which a signal is planted: proofs need the dear model, greetings do not."""

from __future__ import annotations

import random
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import numpy as np

from bsgateway.core import core
from bsgateway.errors import LearningError
from bsgateway.export import Selection
from bsgateway.export_files import Parquet
from bsgateway.learn.asks import default_analyzer, matrix
from builders import id_at

HARD = ["prove", "theorem", "integral", "lemma", "converge", "bound", "derive", "matrix", "eigenvalue", "induction"]
EASY = ["hello", "thanks", "weather", "lunch", "weekend", "translate", "greeting", "colour", "song", "birthday"]
OTHER = ["please", "the", "of", "about", "my", "with", "can", "you", "now", "again", "maybe", "some", "today", "it"]
BEGIN = datetime(2026, 3, 1, tzinfo=timezone.utc)


def write_exports(folder: Path, rows: int, files: int, seed: int = 7) -> list[Path]:
    """`rows` requests, three in each conversation, with dual runs, in order of time over `files` files."""
    chance = random.Random(seed)
    hard = [chance.random() < 0.5 for _ in range(rows)]
    asks = [_ask(chance, each) for each in hard]
    features = matrix(default_analyzer().featurize(asks).features, len(core.FEATURE_NAMES))
    found = [_row(chance, place, asks[place], hard[place], features[place]) for place in range(rows)]
    paths = []
    for number, part in enumerate(np.array_split(np.arange(rows), files)):
        paths.append(folder / f"log-{number}.parquet")
        columns = Selection(BEGIN, texts=True).columns
        with paths[-1].open("wb") as file:
            writer = Parquet(file, columns)
            writer.write([tuple(found[place].get(name) for name in columns) for place in part])
            writer.finish()
    return paths


def _ask(chance: random.Random, hard: bool) -> str:
    words = chance.choices(HARD if hard else EASY, k=4) + chance.choices(OTHER, k=chance.randint(3, 30))
    chance.shuffle(words)
    return " ".join(words)


def _row(chance: random.Random, place: int, ask: str, hard: bool, features: Any) -> dict[str, Any]:
    moment = BEGIN + timedelta(minutes=place)
    fails = hard if chance.random() < 0.9 else not hard
    return {
        "decision_id": id_at(moment),
        "created_at": moment,
        "conversation_id": f"{place % (len(HARD) * 40) // 3:032x}",
        "call_type": "acompletion",
        "method": "auto",
        "reason": "auto_score",
        "original_model": "auto",
        "tier": "simple",
        "resolved_model": "small",
        "strategy": "static",
        "raw_score": 30.0 + chance.random(),
        "bias": 0,
        "context_tokens": 40,
        "features": features.tolist(),
        "feature_version": core.FEATURE_VERSION,
        "needs": [],
        "outcome_status": "success",
        "outcome_served_group": "small",
        "outcome_prompt_tokens": 40,
        "outcome_completion_tokens": chance.randint(10, 500),
        "ask": ask,
        "weak_score": float(not fails),
        "strong_score": 1.0,
        "judge": "match",
    }


def refuse(_: Any, why: str) -> None:
    """What a worker may come upon in a part."""
    raise LearningError(why)
