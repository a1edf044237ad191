"""The Helm chart, as far as it can be judged without Helm. `make chart-check` renders it and looks at the result."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from bsgateway.cli import main
from bsgateway.web.health import LIVE, READY

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "bsgateway"
VALUES_TEXT = (CHART / "values.yaml").read_text(encoding="utf-8")
VALUES: dict[str, Any] = yaml.safe_load(VALUES_TEXT)
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
EXAMPLES = sorted((CHART / "ci").glob("*-values.yaml"))
TEMPLATES = {path.name: path.read_text(encoding="utf-8") for path in (CHART / "templates").iterdir()}
LINKED = {
    "gateway.yaml": "gateway.yaml",
    "bsgateway.rules.yml": "deploy/prometheus/bsgateway.rules.yml",
    "bsgateway-dashboard.json": "deploy/grafana/bsgateway.json",
}
OPTIONAL = {"global", "initialDelaySeconds"}
"""What the schema takes and values.yaml does not have: a parent chart's, and Kubernetes' own."""

Leaves = dict[tuple[str, ...], Any]


def leaves(values: Any, *path: str) -> Leaves:
    """Every value by its path; a list is one value, and so is a mapping that is empty or whose keys are the user's."""
    if not isinstance(values, dict) or not values or not _is_of_chart(path):
        return {path: values}
    return {key: leaf for name, value in values.items() for key, leaf in leaves(value, *path, name).items()}


def _is_of_chart(path: tuple[str, ...]) -> bool:
    """Whether the keys of the mapping at `path` are the chart's, which the schema names one by one."""
    return bool(schema_of(path).get("properties"))


def schema_of(path: tuple[str, ...]) -> dict[str, Any]:
    """The part of the schema that is about `path`; empty if there is none."""
    found: dict[str, Any] = SCHEMA
    for name in path:
        found = resolved(found.get("properties", {}).get(name, {}))
    return found


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    """`schema`, or what it refers to."""
    reference = schema.get("$ref")
    return SCHEMA["definitions"][reference.rsplit("/", 1)[1]] if reference else schema


def objects_of(schema: Any) -> Iterator[dict[str, Any]]:
    """All schemas of mappings whose keys are named."""
    if isinstance(schema, dict):
        if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
            yield schema
        for part in schema.values():
            yield from objects_of(part)


def validator() -> jsonschema.Draft7Validator:
    return jsonschema.Draft7Validator(SCHEMA)


def test_the_schema_takes_the_values_of_the_chart_and_of_its_examples() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)
    assert len(EXAMPLES) >= 5
    for values in (VALUES, *(yaml.safe_load(path.read_text(encoding="utf-8")) for path in EXAMPLES)):
        assert [error.message for error in validator().iter_errors(values)] == []


def test_a_value_that_is_misspelt_is_refused() -> None:
    paths = list(leaves(VALUES))
    assert len(paths) > 80
    for path in paths:
        values = json.loads(json.dumps(VALUES))
        parent = values
        for name in path[:-1]:
            parent = parent[name]
        parent[path[-1] + "x"] = parent.pop(path[-1])
        (error,) = validator().iter_errors(values)
        assert f"{path[-1]}x" in error.message


def test_every_mapping_of_the_schema_names_all_that_it_takes() -> None:
    loose = [schema for schema in objects_of(SCHEMA) if schema.get("additionalProperties", True) is True]
    # A variable is Kubernetes' own, with much that is not named here.
    assert [list(schema["properties"]) for schema in loose] == [["name"]]


def test_the_schema_has_no_value_that_is_not_in_values_yaml() -> None:
    def missing(schema: dict[str, Any], values: Any, path: tuple[str, ...]) -> Iterator[str]:
        for name, part in schema.get("properties", {}).items():
            if name in OPTIONAL or (path and path[-1] in ("limits", "resources", "affinity", "behavior")):
                continue
            if name not in values:
                yield ".".join((*path, name))
            elif isinstance(values[name], dict):
                yield from missing(resolved(part), values[name], (*path, name))

    assert list(missing(SCHEMA, VALUES, ())) == []


def undocumented(text: str) -> list[str]:
    """Keys of values without a comment: above them, above those that stand right above them, or above their parent."""
    told: dict[int, bool] = {}
    found = []
    lines = text.splitlines()
    for number, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if not line.strip() or line.lstrip().startswith("#"):
            if line.strip():
                told = {depth: known for depth, known in told.items() if depth < indent} | {indent: True}
            elif indent == 0:
                told = {}
            continue
        match = re.match(r" *([A-Za-z]+):", line)
        if match is None:
            continue
        told = {depth: known for depth, known in told.items() if depth <= indent}
        is_group = number + 1 < len(lines) and re.match(rf" {{{indent + 2},}}\S", lines[number + 1]) is not None
        if not is_group and not any(told.values()):
            found.append(match[1])
        if indent == 0 and not is_group:
            told = {}
    return found


def test_every_value_is_documented() -> None:
    assert undocumented(VALUES_TEXT) == []
    assert undocumented("a: 1\n# x\nb: 1\nc: 2\nd:\n  e: 1\n  # y\n  f: 1\n  g: 1\n") == ["a", "c", "e"]


def test_the_examples_together_change_every_value() -> None:
    changed: set[tuple[str, ...]] = set()
    given = leaves(VALUES)
    for path in EXAMPLES:
        example = leaves(yaml.safe_load(path.read_text(encoding="utf-8")))
        changed |= {key for key, value in example.items() if given.get(key, value) != value or key not in given}
    untouched = {
        path for path in given if not any(path[: len(key)] == key or key[: len(path)] == path for key in changed)
    }
    assert untouched == set()


def test_alerts_dashboard_and_configuration_are_those_of_the_repository() -> None:
    assert {path.name for path in (CHART / "files").iterdir()} == LINKED.keys()
    for name, source in LINKED.items():
        linked = CHART / "files" / name
        assert linked.is_symlink(), "a link, so that there is no second copy"
        assert linked.resolve() == (ROOT / source).resolve()


def test_the_chart_has_the_version_of_the_program() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    (version,) = re.findall(r'^version = "(.+)"$', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert (chart["version"], chart["appVersion"]) == (version, version)


@pytest.mark.parametrize(("template", "command"), [("_pod.tpl", "serve"), ("migration.yaml", "migrate")])
def test_containers_are_started_with_options_that_there_are(template: str, command: str) -> None:
    known = {option for parameter in main.commands[command].params for option in parameter.opts}
    used = set(re.findall(r"(--[a-z][a-z-]+)(?:=|$)", TEMPLATES[template], re.MULTILINE))
    assert {"--config", "--state"} <= used <= known


def test_probes_ask_what_the_gateway_answers() -> None:
    asked = re.findall(r"httpGet: \{ path: (.+?), port", TEMPLATES["_pod.tpl"])
    assert asked == [LIVE, LIVE, "{{ .readiness.path | quote }}"]
    assert schema_of(("probes", "readiness", "path"))["enum"] == [READY, f"{READY}?exclude=log"]
    assert VALUES["probes"]["readiness"]["path"] == READY


def test_no_value_holds_a_key() -> None:
    assert VALUES["secrets"]["values"] == {}
    assert VALUES["secrets"]["existingSecret"] == ""
