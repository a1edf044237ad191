"""Check the Helm chart: lint it, render it with every file of ci/, hold what comes out against schemas and policies.

    .venv/release/bin/python packaging/chart.py check           # all of it; `make chart-check`
    .venv/release/bin/python packaging/chart.py render FILE     # what the chart makes of a values file

Needs `helm` (in .venv/go, in the path, or named by BSGATEWAY_HELM) and the packages of .venv/release. No network,
no cluster: what is rendered was never sent to a Kubernetes here. Exit codes: 0 all is well, 1 something is wrong, 2 a
program or a package is missing.
"""

from __future__ import annotations

import argparse
import copy
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import chart_faults
import chart_refusals
import yaml
from chart_policies import POLICIES, of_kind, workload

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy/helm/bsgateway"
VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
KUBERNETES = ("1.27.0", "1.32.0", "1.37.0")
"""The oldest that the chart takes (`kubeVersion`), one between, and the newest that there is a schema of."""
RELEASE, NAMESPACE = "prod", "llm"
GATEWAY = ROOT / ".venv/bin/bsgateway"
SHIPPED = {
    "files/gateway.yaml": ROOT / "gateway.yaml",
    "files/bsgateway.rules.yml": ROOT / "deploy/prometheus/bsgateway.rules.yml",
    "files/bsgateway-dashboard.json": ROOT / "deploy/grafana/bsgateway.json",
}
"""Files of the chart that are links to files of the repository."""


class MissingError(Exception):
    """A program or a package that the check needs is not there."""


class Helm:
    """The program, kept away from the user's own configuration and clusters."""

    def __init__(self, home: Path) -> None:
        self._program = _program("BSGATEWAY_HELM", "helm", "`make chart-check` installs it")
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("HELM_", "KUBE"))},
            "HELM_CACHE_HOME": str(home / "cache"),
            "HELM_CONFIG_HOME": str(home / "config"),
            "HELM_DATA_HOME": str(home / "data"),
            "KUBECONFIG": os.devnull,
        }

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """What came of `helm ARGUMENTS`."""
        return subprocess.run(
            [self._program, *map(str, arguments)],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def output(self, *arguments: str | Path) -> str:
        """Standard output. Raises ValueError with what helm says if it fails."""
        done = self.run(*arguments)
        if done.returncode:
            raise ValueError(f"helm {arguments[0]} failed: {_last(done.stderr)}")
        return done.stdout

    def template(self, values: Path, *options: str, version: str = KUBERNETES[-1]) -> list[dict[str, Any]]:
        """The objects that the chart makes of a values file. Raises ValueError."""
        base = ("template", RELEASE, CHART, "--namespace", NAMESPACE, "--kube-version", version, "--values", values)
        return [each for each in yaml.safe_load_all(self.output(*base, *options)) if each]


def _program(variable: str, name: str, hint: str) -> str:
    given = os.environ.get(variable)
    found = given or shutil.which(name, path=str(ROOT / ".venv/go")) or shutil.which(name)
    if not found or not os.access(found, os.X_OK):
        raise MissingError(f"{given or name} is not there: {hint}, or name it by {variable}")
    return found


def _last(text: str) -> str:
    """The lines that matter of what helm says."""
    return " ".join(line for line in text.strip().splitlines() if "symbolic link" not in line)


def lint(helm: Helm) -> Iterator[str]:
    """`helm lint --strict`, with every values file."""
    for values in VALUES:
        done = helm.run("lint", "--strict", CHART, "--values", values)
        if done.returncode:
            yield f"{values.name}: {done.stdout.strip()}"


def schemas(helm: Helm) -> Iterator[str]:
    """What is rendered is what the versions of Kubernetes take, and not a field more."""
    for values in VALUES:
        for version in KUBERNETES:
            for item in helm.template(values, version=version):
                where = f"{values.name}, Kubernetes {version}, {item['kind']}/{item['metadata']['name']}"
                yield from (f"{where}: {wrong}" for wrong in _refused(item, version))


def _refused(item: Mapping[str, Any], version: str) -> Iterator[str]:
    """Why a version of Kubernetes would not take an object."""
    import kubernetes_validate

    if item["apiVersion"].startswith("monitoring.coreos.com/"):
        yield from _of_operator(item)
        return
    try:
        kubernetes_validate.validate(item, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        yield f"{'.'.join(map(str, error.path))}: {error.message}"
    except kubernetes_validate.SchemaNotFoundError as error:
        yield error.message


def _of_operator(item: Mapping[str, Any]) -> Iterator[str]:
    """The Prometheus operator's own: checked against models that are made of its definitions."""
    from cloudcoil.models.prometheus_operator import v1
    from pydantic import ValidationError

    try:
        read = getattr(v1, item["kind"]).model_validate(copy.deepcopy(item))
    except ValidationError as error:
        yield str(error)
        return
    # A model leaves out what it does not know: such a field is not in what it gives back.
    yield from _lost(item["spec"], read.model_dump(mode="json", by_alias=True, exclude_unset=True)["spec"], "spec")


def _lost(given: Any, kept: Any, where: str) -> Iterator[str]:
    if isinstance(given, dict):
        for key, value in given.items():
            if not isinstance(kept, dict) or key not in kept:
                yield f"{where}.{key} is unknown"
            else:
                yield from _lost(value, kept[key], f"{where}.{key}")
    elif isinstance(given, list):
        for index, value in enumerate(given):
            yield from _lost(value, kept[index], f"{where}[{index}]")


def policies(helm: Helm) -> Iterator[str]:
    """Our own rules (chart_policies.py), for every values file."""
    for values in VALUES:
        objects = helm.template(values)
        for policy in POLICIES:
            yield from (f"{values.name}: {policy.__name__}: {wrong}" for wrong in policy(objects))


def faults(helm: Helm) -> Iterator[str]:
    """Schemas and policies notice what is wrong (chart_faults.py)."""
    objects = helm.template(CHART / "ci/production-values.yaml")
    yield from chart_faults.unnoticed(objects)
    for item in objects:
        if "spec" not in item:
            continue
        broken = {**item, "spec": {**item["spec"], "misspelt": True}}
        yield from (
            f"Kubernetes {version}: a field of {item['kind']} that is unknown is not noticed"
            for version in KUBERNETES
            if not list(_refused(broken, version))
        )


def secrets(helm: Helm) -> Iterator[str]:
    """A Secret is made of values that were given, and of nothing else."""
    for values in VALUES:
        given = (yaml.safe_load(values.read_text(encoding="utf-8")).get("secrets") or {}).get("values") or {}
        for item in of_kind(helm.template(values), "Secret"):
            if item["data"].keys() != given.keys():
                yield f"{values.name}: Secret/{item['metadata']['name']} holds {sorted(item['data'])}"
        if bool(of_kind(helm.template(values), "Secret")) != bool(given):
            yield f"{values.name}: a Secret is made without secrets.values, or none with them"


def configuration(helm: Helm) -> Iterator[str]:
    """The gateway.yaml of every ConfigMap is the one given, `bsgateway check` finds no mistake in it, and the options
    of each container are options of the program."""
    if not GATEWAY.exists():
        raise MissingError(f"{GATEWAY} is not there: `make setup` makes it")
    for values in VALUES:
        given = yaml.safe_load(values.read_text(encoding="utf-8")).get("gatewayYaml")
        wanted = given or (ROOT / "gateway.yaml").read_text(encoding="utf-8")
        objects = helm.template(values)
        for item in of_kind(objects, "ConfigMap"):
            if "gateway.yaml" in item["data"] and item["data"]["gateway.yaml"].rstrip() != wanted.rstrip():
                yield f"{values.name}: ConfigMap/{item['metadata']['name']} holds another gateway.yaml than was given"
        if told := _checked(wanted):
            yield f"{values.name}: {told}"
        for item in of_kind(objects, "Deployment", "StatefulSet", "Job"):
            for container in item["spec"]["template"]["spec"]["containers"]:
                if told := _accepted(tuple(container["args"])):
                    yield f"{values.name}: {item['kind']}: {' '.join(container['args'])}: {told}"


@cache
def _checked(text: str) -> str:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "gateway.yaml"
        path.write_text(text, encoding="utf-8")
        done = subprocess.run([str(GATEWAY), "check", str(path)], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@cache
def _accepted(arguments: tuple[str, ...]) -> str:
    """Whether the program knows the options. `--help` at the end has it parse them and do nothing."""
    done = subprocess.run([str(GATEWAY), *arguments, "--help"], capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr.strip()


def rolls(helm: Helm) -> Iterator[str]:
    """Pods are replaced when gateway.yaml or a Secret of the chart changes, and not by anything else of the release."""

    def pod(*options: str, values: str = "minimal-values.yaml") -> Any:
        return workload(helm.template(CHART / "ci" / values, *options))["spec"]["template"]

    with tempfile.TemporaryDirectory() as directory:
        changed = Path(directory) / "gateway.yaml"
        text = (ROOT / "gateway.yaml").read_text(encoding="utf-8")
        changed.write_text(text.replace("up_margin: 5.0", "up_margin: 6.0"), encoding="utf-8")
        if changed.read_text(encoding="utf-8") == text:
            yield "gateway.yaml has no `up_margin: 5.0` to change"
        if pod() == pod("--set-file", f"gatewayYaml={changed}"):
            yield "another gateway.yaml, and the pods stay"
    if pod() != pod("--set-file", f"gatewayYaml={ROOT / 'gateway.yaml'}"):
        yield "the same gateway.yaml by --set-file, and other pods"
    if pod() != pod("--set", "service.port=80,replicaCount=5"):
        yield "another port of the Service and more pods, and those that run are replaced"
    trial = "trial-values.yaml"
    if pod(values=trial) == pod("--set", "secrets.values.OPENAI_API_KEY=another", values=trial):
        yield "another key in secrets.values, and the pods stay"


def packaged(helm: Helm) -> Iterator[str]:
    """The package holds the very files that the chart links to, and not its ci/."""
    with tempfile.TemporaryDirectory() as directory:
        helm.output("package", CHART, "--destination", directory)
        (archive,) = Path(directory).glob("*.tgz")
        with tarfile.open(archive) as package:
            names = package.getnames()
            for name, source in SHIPPED.items():
                member = package.extractfile(f"bsgateway/{name}") if f"bsgateway/{name}" in names else None
                if member is None or member.read() != source.read_bytes():
                    yield f"{name} of the package is not {source.relative_to(ROOT)}"
    yield from (f"the package holds {name}" for name in names if name.startswith("bsgateway/ci/"))


def monitoring(helm: Helm) -> Iterator[str]:
    """Alerts and dashboard come out as they are in the repository, with all that Helm might take for its own."""
    objects = helm.template(CHART / "ci/production-values.yaml")
    (rules,) = of_kind(objects, "PrometheusRule")
    if rules["spec"] != yaml.safe_load(SHIPPED["files/bsgateway.rules.yml"].read_text(encoding="utf-8")):
        yield "PrometheusRule is not deploy/prometheus/bsgateway.rules.yml"
    dashboard = SHIPPED["files/bsgateway-dashboard.json"].read_text(encoding="utf-8")
    if not any(
        each["data"].get("bsgateway.json", "").rstrip() == dashboard.rstrip() for each in of_kind(objects, "ConfigMap")
    ):
        yield "no ConfigMap holds deploy/grafana/bsgateway.json"


def installs(helm: Helm) -> Iterator[str]:
    """`helm install --dry-run=client` goes through, notes included. It asks no cluster."""
    for values in VALUES:
        base = ("install", RELEASE, CHART, "--dry-run=client", "--namespace", NAMESPACE, "--values", values)
        try:
            output = helm.output(*base)
        except ValueError as error:
            yield f"{values.name}: {error}"
            continue
        if "NOTES:" not in output or "rollout status" not in output:
            yield f"{values.name}: the notes are missing"


def refusals(helm: Helm) -> Iterator[str]:
    """Values that cannot be meant are refused (chart_refusals.py), with a message that says what to do."""
    for case in chart_refusals.CASES:
        done = helm.run("template", RELEASE, CHART, "--values", CHART / "ci" / case.values, *case.options)
        said = " ".join(done.stderr.split())
        if done.returncode == 0:
            yield f"{case.options}: taken"
        elif case.message not in said:
            yield f"{case.options}: refused, but not with {case.message!r}: {_last(said)}"


CHECKS = (lint, schemas, policies, faults, secrets, configuration, rolls, packaged, monitoring, installs, refusals)


def check() -> int:
    """Run all checks and print what came of each. The exit code."""
    _packages()
    failed = False
    with tempfile.TemporaryDirectory() as home:
        helm = Helm(Path(home))
        version = helm.output("version", "--short").strip()
        print(f"helm {version}; {len(VALUES)} values files; schemas of Kubernetes {', '.join(KUBERNETES)}")
        for each in CHECKS:
            try:
                found = list(each(helm))
            except ValueError as error:  # it does not even render
                found = [str(error)]
            failed |= bool(found)
            print(f"{'FAILED' if found else 'ok':<7} {each.__name__:<14} {_first_line(each.__doc__)}")
            for wrong in found:
                print(f"        {wrong}")
    print("not checked: an installation in a cluster")
    return 1 if failed else 0


def _first_line(doc: str | None) -> str:
    return " ".join((doc or "").split()).partition(". ")[0].rstrip(".")


def _packages() -> None:
    for module, package in (
        ("kubernetes_validate", "kubernetes-validate"),
        ("cloudcoil.models.prometheus_operator", "cloudcoil-models-prometheus-operator"),
    ):
        try:
            __import__(module)
        except ImportError as error:
            raise MissingError(f"the package {package} is not there: `make chart-check` installs it") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Check the Helm chart.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="lint, render, validate; what is wrong, and exit code 1 if anything is")
    render = commands.add_parser("render", help="print what the chart makes of a values file")
    render.add_argument("values", type=Path)
    given = parser.parse_args(arguments)
    try:
        if given.command == "check":
            return check()
        with tempfile.TemporaryDirectory() as home:
            print(yaml.safe_dump_all(Helm(Path(home)).template(given.values), sort_keys=False), end="")
    except MissingError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
