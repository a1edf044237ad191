"""The TypeScript types of the pages: those that are committed are those of the structs."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

import bsgateway

UI = Path(bsgateway.__file__).parent / "web" / "ui"


@pytest.fixture(scope="module")
def make_types() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_types", UI / "make_types.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_committed_types_are_those_of_the_structs(make_types: ModuleType) -> None:
    assert (UI / "src" / "api.d.ts").read_text() == make_types.declarations(), "run `make web-types`"


def test_every_struct_of_the_contract_has_a_type(make_types: ModuleType) -> None:
    names = {struct.__name__ for struct in make_types.structs()}

    assert {"Savings", "Traffic", "Me", "DecisionDetail", "WhatIf", "LearningView", "Problem"} <= names
    assert all(f"export interface {name} {{" in make_types.declarations() for name in names)


def test_kinds_of_fields(make_types: ModuleType) -> None:
    class Some(msgspec.Struct):
        number: float | None
        pairs: tuple[tuple[int, str], ...]
        words: tuple[str | None, ...] = ()
        counts: dict[str, int] = {}

    (schema,) = msgspec.json.schema_components([Some], ref_template="#/$defs/{name}")[1].values()

    assert [make_types._type(of) for of in schema["properties"].values()] == [
        "number | null",
        "[number, string][]",
        "(string | null)[]",
        "Record<string, number>",
    ]


def test_only_what_is_sent_may_be_left_out(make_types: ModuleType) -> None:
    schema = {"type": "object", "properties": {"force": {"type": "boolean", "default": False}}}

    assert "force?: boolean;" in make_types._declaration("PromoteRequest", schema, True)
    assert "force: boolean;" in make_types._declaration("Promoted", schema, False)


def test_a_schema_without_a_type_in_typescript_is_an_error(make_types: ModuleType) -> None:
    with pytest.raises(NotImplementedError, match="teach make_types"):
        make_types._type({"type": "object-of-another-world"})
