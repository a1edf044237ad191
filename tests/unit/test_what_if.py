"""What other borders and biases make of a summed log: the arithmetic, and the lines to paste."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from bsgateway.check import load_config
from bsgateway.config import Config
from bsgateway.web.problems import RequestError
from bsgateway.web.views import SettingRequest, WhatIf
from bsgateway.web.what_if import applied, lines

CASES = Path(__file__).parents[1] / "data" / "what_if_cases.json"
"""What the page's own arithmetic is tested with, too. Made by `make_what_if_cases.py`."""


class Case(msgspec.Struct):
    log: str
    borders: tuple[int, ...]
    bias: int
    applied: dict[str, Any]


class Cases(msgspec.Struct):
    logs: dict[str, WhatIf]
    cases: list[Case]


READ = msgspec.json.decode(CASES.read_bytes(), type=Cases)


@pytest.mark.parametrize("case", READ.cases, ids=lambda case: f"{case.log} {case.borders} {case.bias}")
def test_sums_say_what_each_row_says(case: Case) -> None:
    found = msgspec.to_builtins(applied(READ.logs[case.log], case.borders, case.bias))
    assert (found["moved"], found["cost"]) == (case.applied["moved"], pytest.approx(case.applied["cost"], abs=1e-10))
    for tier, expected in zip(found["tiers"], case.applied["tiers"], strict=True):
        assert tier == pytest.approx(expected, abs=1e-10)


def test_the_cases_are_worth_something() -> None:
    assert any(log.lowest < 0 for log in READ.logs.values())
    assert any(log.lowest + len(log.requests) > 101 for log in READ.logs.values())
    assert sum(case.applied["moved"] > 0 for case in READ.cases) >= 12


@pytest.mark.parametrize("borders", [(31,), (31, 66, 70), (66, 31), (31, 31), (0, 31)], ids=str)
def test_borders_that_are_none(borders: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="ascending"):
        applied(READ.logs["plain"], borders, 0)


# Lines


@pytest.mark.parametrize("written", [None, 5])
@pytest.mark.parametrize("bias", [0, -12])
def test_lines_are_those_of_the_setting(config_file: Callable[..., Path], written: int | None, bias: int) -> None:
    path = config_file(**({} if written is None else {"bias": written}))
    found = lines(load_config(path), SettingRequest((20, 90), bias)).yaml
    assert ("bias" in found) == (bias != 0 or written is not None)
    whole = yaml.safe_load(path.read_text())
    whole["routing"] |= yaml.safe_load(found)["routing"]
    path.write_text(yaml.safe_dump(whole, sort_keys=False))
    config = load_config(path)  # it has no mistakes
    assert {name: tier.score_range for name, tier in config.routing.tiers.items()} == {
        "simple": (0, 19), "medium": (20, 89), "complex": (90, 100),
    }  # fmt: skip
    assert config.routing.bias == bias
    assert [tier.model for tier in config.routing.tiers.values()] == ["small", "middle", "large"]


@pytest.mark.parametrize(
    ("setting", "field"),
    [
        (SettingRequest((20,), 0), "borders"),
        (SettingRequest((20, 20), 0), "borders"),
        (SettingRequest((90, 20), 0), "borders"),
        (SettingRequest((0, 20), 0), "borders"),
        (SettingRequest((20, 101), 0), "borders"),
        (SettingRequest((20, 90), 101), "bias"),
        (SettingRequest((20, 90), -101), "bias"),
    ],
    ids=str,
)
def test_settings_that_cannot_be(make_config: Callable[..., Config], setting: SettingRequest, field: str) -> None:
    with pytest.raises(RequestError) as raised:
        lines(make_config(), setting)
    assert (raised.value.status, raised.value.problem.field) == (422, field)
