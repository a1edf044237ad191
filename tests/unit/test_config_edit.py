"""`config_edit.py`: other score ranges, and every other byte of the file as it was; or no edit at all."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import yaml

from bsgateway.check import load_config
from bsgateway.config_edit import CannotEdit, checked, tier_lines, with_ranges, write_ranges
from bsgateway.errors import ConfigError

ROOT = Path(__file__).parents[2]
HOST = """\
model_list:
  - model_name: small
    litellm_params: {model: openai/small, api_key: none}
  - {model_name: large, litellm_params: {model: openai/large, api_key: none}}
"""
FLOW = """\
routing:
  fallback_tier: low   # "score_range: [0, 30]" in a comment stays
  collector: {enabled: false}
  tiers:  # cheapest first
    low: { score_range: [0, 30], model: small } # a comment
    "high": {score_range: [ 31,100 ], models: [large]}
"""
BLOCK = """\
routing:
  fallback_tier: low
  collector: {enabled: false}
  tiers:
    high:
      model: large
      score_range:
        - 31     # first
        - 100
    low:
      score_range:   # of a hundred
      - 0
      # in between
      - 30
      model: small
"""
COMMENT = "# or models: [a, b]: the cheapest that can serve the request"
RANGES = {"low": (0, 55), "high": (56, 100)}


def read(source: str) -> dict[str, list[int]]:
    return {name: tier["score_range"] for name, tier in yaml.safe_load(source)["routing"]["tiers"].items()}


@pytest.mark.parametrize(
    ("routing", "old", "new"),
    [
        (FLOW, ("[0, 30], model", "[ 31,100 ]"), ("[0, 55], model", "[ 56,100 ]")),
        (BLOCK, ("- 30\n", "- 31 "), ("- 55\n", "- 56 ")),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_the_numbers_change(
    tmp_path: Path, routing: str, old: tuple[str, ...], new: tuple[str, ...], end: str
) -> None:
    source = HOST + routing
    expected = source
    for before, after in zip(old, new, strict=True):
        assert expected.count(before) == 1
        expected = expected.replace(before, after)
    path = tmp_path / "gateway.yaml"
    path.write_bytes(source.replace("\n", end).encode())
    write_ranges(path, RANGES)
    assert path.read_bytes() == expected.replace("\n", end).encode()
    assert read(path.read_text()) == {"low": [0, 55], "high": [56, 100]}
    assert load_config(path).routing.tiers["low"].score_range == (0, 55)
    assert os.listdir(tmp_path) == ["gateway.yaml"]


def test_the_reference_configuration(tmp_path: Path) -> None:
    source = (ROOT / "gateway.yaml").read_text(encoding="utf-8")
    ranges = {"simple": (0, 9), "medium": (10, 11), "complex": (12, 100)}
    path = tmp_path / "gateway.yaml"
    path.write_text(source, encoding="utf-8")
    write_ranges(path, ranges)
    changed = [
        (before, after)
        for before, after in zip(source.split("\n"), path.read_text(encoding="utf-8").split("\n"), strict=True)
        if before != after
    ]
    assert [(before.strip(), after.strip().split(",")[1]) for before, after in changed] == [
        ("simple: { score_range: [0, 30], model: local/glm-4.7-flash }", " 9]"),
        ("medium: { score_range: [31, 65], model: gpt-5-mini }", " 11]"),
        (f"complex: {{ score_range: [66, 100], model: claude-opus }} {COMMENT}", " 100]"),
    ]
    assert [
        after.replace("0, 9", "0, 30").replace("10, 11", "31, 65").replace("12, ", "66, ") for _, after in changed
    ] == [before for before, _ in changed]


def test_characters_outside_ascii_before_it(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    source = "# \U0001f600 \u00e4\u4e16\n" + HOST + FLOW
    path.write_text(source, encoding="utf-8")
    write_ranges(path, RANGES)
    assert path.read_text(encoding="utf-8") == source.replace("[0, 30], model", "[0, 55], model").replace("31,", "56,")


UNSAFE = {
    "anchored range": (FLOW.replace("[0, 30], model", "&r [0, 30], model").replace("[ 31,100 ]", "*r"), "by an anchor"),
    "anchored number": (FLOW.replace("30], model", "&n 30], model").replace("31,100", "*n ,100"), "by an anchor"),
    "a number with an anchor": (FLOW.replace("30], model", "&n 30], model"), "is no plain number"),
    "another spelling": (FLOW.replace("30], model", "0x1e], model"), "is no plain number"),
    "a quoted number": (FLOW.replace("30], model", "'30'], model"), "is no plain number"),
    "a tag": (FLOW.replace("30], model", "!!int 30], model"), "is no plain number"),
    "a merge key": (
        BLOCK.replace("    low:\n", "    low:\n      <<: {score_range: [0, 30]}\n"),
        "has a merge key",
    ),
    "anchored tiers": (FLOW.replace("tiers:  #", "tiers: &t #") + "other: *t\n", "by an anchor"),
    "twice": (FLOW.replace(", model: small", ", model: small, score_range: [0, 30]"), "has 'score_range' 2 times"),
    "no tiers": ("routing: {}\n", "has 'tiers' 0 times"),
    "routing is a list": ("routing: [1]\n", "is not a mapping"),
    "three numbers": (FLOW.replace("[0, 30], model", "[0, 30, 31], model"), "is not a list of two numbers"),
    "a list of lists": (FLOW.replace("[0, 30], model", "[[0], 30], model"), "is not a list of two numbers"),
    "not YAML": (FLOW.replace("[0, 30]", "[0, 30"), "is not valid YAML"),
    "empty": ("", "is not a mapping"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_what_cannot_be_edited_safely_is_left_alone(tmp_path: Path, name: str) -> None:
    routing, why = UNSAFE[name]
    path = tmp_path / "gateway.yaml"
    path.write_text(HOST + routing if routing else "", encoding="utf-8")
    before = path.read_bytes()
    with pytest.raises(CannotEdit) as caught:
        write_ranges(path, RANGES)
    assert why in str(caught.value)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_an_anchor_that_nothing_refers_to_is_in_nobodys_way(tmp_path: Path) -> None:
    source = HOST + FLOW.replace("[0, 30], model", "&r [0, 30], model")
    assert read(with_ranges(source, RANGES, tmp_path)) == {"low": [0, 55], "high": [56, 100]}


@pytest.mark.parametrize("ranges", [{"low": (0, 55), "high": (57, 100)}, {"low": (0, 300), "high": (301, 100)}])
def test_the_result_is_checked_before_it_replaces_the_file(tmp_path: Path, ranges: dict[str, tuple[int, int]]) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(HOST + FLOW)
    with pytest.raises(CannotEdit, match="has mistakes") as caught:
        write_ranges(path, ranges)
    assert caught.value.problems
    assert path.read_text() == HOST + FLOW


def test_an_edit_that_changes_something_else_is_refused(tmp_path: Path) -> None:
    source = HOST + FLOW
    edited = with_ranges(source, RANGES, tmp_path).replace("openai/large", "openai/larger")
    with pytest.raises(CannotEdit, match="would change something else"):
        checked(source, edited, RANGES, tmp_path)


def test_mode_and_link_stay(tmp_path: Path) -> None:
    real, link = tmp_path / "real.yaml", tmp_path / "gateway.yaml"
    real.write_text(HOST + FLOW)
    real.chmod(0o640)
    link.symlink_to(real)
    write_ranges(link, RANGES)
    assert link.is_symlink()
    assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert read(real.read_text())["low"] == [0, 55]


def test_somebody_else_writes_it_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(HOST + FLOW)

    def checked_slowly(*_: object) -> None:
        path.write_text(HOST + FLOW + "# mine\n")

    monkeypatch.setattr("bsgateway.config_edit.checked", checked_slowly)
    with pytest.raises(ConfigError, match="changed by somebody else"):
        write_ranges(path, RANGES)
    assert path.read_text() == HOST + FLOW + "# mine\n"
    assert os.listdir(tmp_path) == ["gateway.yaml"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be edited: No such file"):
        write_ranges(tmp_path / "none.yaml", RANGES)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        write_ranges(tmp_path / "bytes.yaml", RANGES)


def test_lines_to_paste() -> None:
    tiers = yaml.safe_load(BLOCK)["routing"]["tiers"] | {"on: off": {"score_range": [1, 1], "models": ["a, b", "c"]}}
    text = tier_lines(tiers, {**RANGES, "on: off": (3, 4)})
    found = yaml.safe_load(text)["routing"]["tiers"]
    assert found == {
        "high": {"model": "large", "score_range": [56, 100]},
        "low": {"score_range": [0, 55], "model": "small"},
        "on: off": {"score_range": [3, 4], "models": ["a, b", "c"]},
    }
    assert "    high: { model: large, score_range: [56, 100] }\n" in text
