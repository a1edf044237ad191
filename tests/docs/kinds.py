"""YAML that is no gateway.yaml: what it is, by what it says, and what it must fit."""

from __future__ import annotations

import json
from collections.abc import Callable
from enum import Enum
from typing import Any

import jsonschema
import yaml

from docs.blocks import ROOT, Block

CHART = ROOT / "deploy" / "helm" / "bsgateway"


class Kind(Enum):
    """What a YAML block is."""

    GATEWAY = "gateway.yaml, or a part of it"
    COMPOSE = "a compose file, or a part of it"
    VALUES = "values of the Helm chart"
    MANIFEST = "a Kubernetes object"
    SCRAPE = "a configuration of Prometheus"
    CLIENT = "a file of a client"


def kind_of(block: Block) -> Kind:
    """What a YAML block is, by its keys. Raises AssertionError for what is no mapping."""
    documents = list(yaml.safe_load_all(block.text))
    if block.page == "docs/clients.md" and "model_list:" not in block.text and "routing:" not in block.text:
        return Kind.CLIENT
    assert documents
    assert all(isinstance(each, dict) for each in documents), "no mapping"
    keys = set(documents[0])
    if {"apiVersion", "kind"} <= keys:
        return Kind.MANIFEST
    if keys <= {"services", "volumes", "networks", "name", "secrets", "configs"}:
        return Kind.COMPOSE
    if "scrape_configs" in keys:
        return Kind.SCRAPE
    if block.page == "docs/kubernetes.md" and not keys & {"model_list", "routing"}:
        return Kind.VALUES
    return Kind.GATEWAY


def compose(block: Block) -> None:
    """Services and volumes are those of the repository's file, and their keys are those of compose."""
    ours = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    for service, keys in yaml.safe_load(block.text).get("services", {}).items():
        assert service in ours["services"]
        assert set(keys) <= SERVICE_KEYS


SERVICE_KEYS = {
    "build", "cap_add", "cap_drop", "command", "configs", "cpus", "depends_on", "deploy", "entrypoint", "environment",
    "env_file", "expose", "extra_hosts", "healthcheck", "image", "init", "logging", "mem_limit", "networks", "ports",
    "profiles", "pull_policy", "read_only", "restart", "secrets", "security_opt", "stop_grace_period", "tmpfs", "user",
    "volumes", "working_dir",
}  # fmt: skip


def values(block: Block) -> None:
    """The values of the chart with these in them fit its schema, and no key is one that the chart does not have."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    whole = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    given = yaml.safe_load(block.text)
    assert set(given) <= set(whole)
    jsonschema.validate(_merged(whole, given), schema)


def manifest(block: Block) -> None:
    """Each document names itself."""
    for each in yaml.safe_load_all(block.text):
        assert each["metadata"]["name"]


def scrape(block: Block) -> None:
    """Each job has a name and targets."""
    for job in yaml.safe_load(block.text)["scrape_configs"]:
        assert job["job_name"]


def client(block: Block) -> None:
    """It names our address and a key."""
    assert "http://localhost:4000" in block.text
    assert yaml.safe_load(block.text)


def _merged(whole: Any, given: Any) -> Any:
    if not isinstance(whole, dict) or not isinstance(given, dict):
        return given
    return {**whole, **{key: _merged(whole.get(key), value) for key, value in given.items()}}


KINDS: dict[Kind, Callable[[Block], None]] = {
    Kind.COMPOSE: compose,
    Kind.VALUES: values,
    Kind.MANIFEST: manifest,
    Kind.SCRAPE: scrape,
    Kind.CLIENT: client,
}
