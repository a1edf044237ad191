"""Every code block of the documentation is of a kind that is tested; data is what it is said to be."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from bsgateway.check import check_text
from bsgateway.replay import Line as Replayed
from bsgateway.telemetry.events import EVENTS
from bsgateway.web.health import Readiness
from docs.blocks import BLOCKS, ROOT, Block, blocks
from docs.kinds import KINDS, Kind, kind_of

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

TESTED = {"yaml", "json", "toml", "python", "console", "sql", "dotenv"}
OUTPUT = "text"
"""Blocks of output and diagrams: nothing to run."""
MOST_NOT_RUN = 8
ELSEWHERE = {"referee"}
"""Names of models in examples that are parts of a file."""

TOP = {"routing", "litellm_settings", "router_settings", "general_settings", "model_list"}


def named(given: list[Block]) -> Any:
    return pytest.mark.parametrize("block", given, ids=[block.name for block in given])


@pytest.mark.parametrize("block", BLOCKS, ids=[block.name for block in BLOCKS])
def test_each_block_is_of_a_known_language(block: Block) -> None:
    assert block.not_run or block.language in {*TESTED, OUTPUT}, f"no test reads `{block.language}`"


def test_few_blocks_are_not_run() -> None:
    found = [f"{block.name}: {block.not_run}" for block in BLOCKS if block.not_run]
    print("\n".join(found))  # with -s, or when there are too many
    assert len(found) <= MOST_NOT_RUN, "\n".join(found)


def test_what_is_not_run_says_why() -> None:
    assert all(len(block.not_run.split()) >= 2 for block in BLOCKS if block.not_run)


def mended(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """gateway.yaml with a part of it replaced, as a reader would put it in. Tiers are replaced whole."""
    for key, value in part.items():
        deeper = isinstance(value, dict) and isinstance(whole.get(key), dict) and key != "tiers"
        whole[key] = mended(dict(whole[key]), value) if deeper else value
    return whole


def whole_of(part: dict[str, Any]) -> dict[str, Any]:
    if "model_list" in part:
        return part
    whole: dict[str, Any] = yaml.safe_load((ROOT / "gateway.yaml").read_text(encoding="utf-8"))
    for name in ELSEWHERE:
        whole["model_list"].append({"model_name": name, "litellm_params": {"model": "openai/gpt-5-mini"}})
    return mended(whole, part)


@named(blocks("yaml"))
def test_yaml_is_free_of_mistakes(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in re.findall(r"os\.environ/(\w+)", block.text):
        monkeypatch.setenv(name, "postgresql://user:password@host:5432/log" if name.endswith("DATABASE_URL") else "1")
    kind = kind_of(block)
    if kind is not Kind.GATEWAY:
        KINDS[kind](block)
        return
    part = yaml.safe_load(block.text)
    assert set(part) <= TOP
    config, problems = check_text(yaml.safe_dump(whole_of(part)), ROOT / "gateway.yaml")
    assert problems == []
    assert config is not None


@named(blocks("json"))
def test_json_is_what_it_is_said_to_be(block: Block) -> None:
    found = [json.loads(line) for line in block.text.splitlines()] if "\n{" in block.text else [json.loads(block.text)]
    for each in found:
        if "event" in each:
            assert each["event"] in EVENTS
        elif "session" in each:
            msgspec.convert(each, Replayed)
        elif "status" in each:
            msgspec.convert(each, Readiness)
        elif "bsgateway" in each:
            limits = {"bias", "min_tier", "max_tier"}
            assert set(each["bsgateway"]) <= limits


@named(blocks("toml"))
def test_toml_can_be_read(block: Block) -> None:
    assert tomllib.loads(block.text)


@named(blocks("dotenv"))
def test_variables_are_known(block: Block) -> None:
    """Each is in .env.example or in the reference."""
    known = "".join((ROOT / name).read_text(encoding="utf-8") for name in (".env.example", "docs/reference.md"))
    for line in block.text.splitlines():
        if line and not line.startswith("#"):
            name = re.fullmatch(r"([A-Z][A-Z0-9_]*)=.*", line)
            assert name, line
            assert name[1] in known


def test_the_schema_of_the_chart_is_one() -> None:
    path = ROOT / "deploy" / "helm" / "bsgateway" / "values.schema.json"
    jsonschema.Draft7Validator.check_schema(json.loads(path.read_text(encoding="utf-8")))
