"""How the parity tests make analyzers and compare what they answer."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from bsgateway import reference

WEIGHTS = dict(zip(reference.SIGNALS, (0.35, 0.05, 0.25, 0.1, 0.15, 0.1), strict=True))


def arguments(**settings: Any) -> dict[str, Any]:
    """Arguments of an `Analyzer`; without a memo unless `settings` say so."""
    return {
        "weights": WEIGHTS,
        "token_thresholds": [50, 200, 800, 3000, 10000],
        "complex_keywords": reference.default_complex_keywords(),
        "simple_keywords": reference.default_simple_keywords(),
        "exact_token_bytes": 65536,
        "capture_chars": 1000,
        "memo_bytes": 0,
        "encoding": "o200k_base",
        **settings,
    }


def as_dict(analysis: Any) -> dict[str, Any]:
    """All fields, with the types of the values that hold others."""
    found = {field.name: getattr(analysis, field.name) for field in fields(reference.Analysis)}
    assert {type(found[name]) for name in ("contributions", "features", "needs", "bound")} == {tuple}
    assert {type(share) for share in found["contributions"]} == {tuple}
    return found | {f"{name}: type": type(value) for name, value in found.items()}
