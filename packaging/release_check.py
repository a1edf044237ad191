"""All that a release must pass and that needs no network: `make release-check`.

    release_check.py                     every step, then a table
    release_check.py --only lock chart   some
    release_check.py --tag v1.2.3        the version must be that of the tag, and have a date in the changelog
    release_check.py --json              the outcome as JSON on standard output, for machines

A step passes, fails, or could not be made here, which is said and fails nothing (exit code 3 of a script of this
directory). What no step checks, because it takes a network, an engine or a long time, is listed at the end.

Exit codes: 0 no step failed. 1 one did.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parents[1]
HERE = "packaging"
NOT_CHECKED = 3
PASSED, FAILED, UNCHECKED = "passed", "FAILED", "not checked"
PYTHON = str(ROOT / ".venv/bin/python")
"""The environment that runs the gateway; this script runs in that of releases."""

TESTS = [f"tests/unit/test_{name}.py" for name in ("dependencies", "release", "security_page")]
"""The test modules that a release depends on, and that take seconds."""

LEFT_OUT = {
    "make test": "the tests themselves; some twenty minutes",
    "make wheels wheels-e2e": "building the wheels and serving from them; long",
    "make audit": "known weaknesses of what is installed; asks services on the network",
    "packaging/links.py --online": "links to other sites; asks them",
    "packaging/image.py build": "building and running the image; needs root, and images from a registry",
    "the chart in a cluster": "rendered and held against schemas only; needs a Kubernetes",
    "the workflows": "linted only; a run of theirs takes the service they are written for",
}
"""What is not among the steps, and why."""


@dataclass(frozen=True)
class Step:
    """A name, what it checks in words, and the command, from the top of the repository."""

    name: str
    checks: str
    command: list[str]


@dataclass(frozen=True)
class Outcome:
    """Of a step. `said`: what it printed; `seconds`: how long it took."""

    name: str
    checks: str
    result: str
    seconds: float
    said: str


def steps(site: Path, tag: str | None) -> list[Step]:
    """All steps. `site`: an empty directory for the built documentation."""
    script = [sys.executable, "-B"]
    beside = Path(sys.executable).parent
    tests = [PYTHON, "-m", "pytest", "-q", "-p", "no:benchmark", "-p", "no:cacheprovider"]
    return [
        Step(
            "version",
            "Cargo.toml, changelog and chart agree",
            [*script, f"{HERE}/version.py", "check", *(["--tag", tag] if tag else [])],
        ),
        Step("tree", "no host of a registry in a file, no key in a commit", [*script, f"{HERE}/tree.py"]),
        Step(
            "lock", "requirements/ is what pyproject.toml asks for", [PYTHON, f"{HERE}/lock.py", "check", "--offline"]
        ),
        Step("crates", "licences and origins of the crates", [*script, f"{HERE}/audit.py", "--offline"]),
        Step("licences", "licences of the crates, as the wheel has them", [*script, f"{HERE}/crates.py", "--check"]),
        Step("workflows", "actionlint, zizmor, schemas, pins", [*script, f"{HERE}/workflows.py"]),
        Step("image", "Dockerfile, docker-compose.yml", [*script, f"{HERE}/image.py", "check"]),
        Step("chart", "lint, schemas of Kubernetes, policies", [*script, f"{HERE}/chart.py", "check"]),
        Step(
            "site",
            "the documentation builds",
            [
                "env",
                "NO_MKDOCS_2_WARNING=1",
                str(beside / "mkdocs"),
                "build",
                "--strict",
                "--quiet",
                "--site-dir",
                str(site),
            ],
        ),
        Step("pages", "what was built is complete and loads nothing", [*script, f"{HERE}/check_site.py", str(site)]),
        Step("links", "links within the documentation", [*script, f"{HERE}/links.py"]),
        Step(
            "tests",
            "dependencies, releases, the threats of SECURITY.md",
            [*tests, *TESTS],
        ),
        Step("dist", "the archives in dist/: metadata and sums", [*script, f"{HERE}/dist.py"]),
    ]


def take(step: Step) -> Outcome:
    """Make a step."""
    began = time.monotonic()
    try:
        ended = subprocess.run(step.command, cwd=ROOT, capture_output=True, text=True, check=False)
        code, said = ended.returncode, f"{ended.stdout}{ended.stderr}".strip()
    except FileNotFoundError as missing:
        code, said = 2, f"{missing.filename} is missing: run `make release-check`, which installs it"
    result = {0: PASSED, NOT_CHECKED: UNCHECKED}.get(code, FAILED)
    return Outcome(step.name, step.checks, result, round(time.monotonic() - began, 1), said)


def table(outcomes: list[Outcome]) -> Table:
    """The outcomes, for people."""
    shown = Table(box=None, pad_edge=False)
    for column in ("step", "", "s", "checks"):
        shown.add_column(column, justify="right" if column == "s" else "left")
    colours = {PASSED: "green", FAILED: "bold red", UNCHECKED: "yellow"}
    for outcome in outcomes:
        result = f"[{colours[outcome.result]}]{outcome.result}[/]"
        shown.add_row(outcome.name, result, f"{outcome.seconds:.1f}", outcome.checks)
    return shown


def main() -> int:
    """Make the steps, and say what came of them."""
    parser = argparse.ArgumentParser(description="All that a release must pass and that needs no network.")
    parser.add_argument("--only", nargs="+", metavar="STEP", help="some steps only")
    parser.add_argument("--tag", help="the release's, such as v1.2.3")
    parser.add_argument("--json", action="store_true", help="JSON on standard output")
    options = parser.parse_args()
    width = None if sys.stdout.isatty() else 120
    console = Console(stderr=options.json, highlight=False, soft_wrap=True, width=width)
    with tempfile.TemporaryDirectory() as directory:
        todo = steps(Path(directory) / "site", options.tag)
        if unknown := set(options.only or ()) - {step.name for step in todo}:
            parser.error(f"no such step: {', '.join(sorted(unknown))}")
        outcomes = []
        for step in todo:
            if options.only and step.name not in options.only:
                continue
            outcomes.append(take(step))
            console.print(f"{step.name}: {outcomes[-1].result}, {outcomes[-1].seconds:.1f} s")
            if outcomes[-1].result != PASSED:
                console.print(outcomes[-1].said, markup=False)
    if options.json:
        print(json.dumps({"steps": [asdict(outcome) for outcome in outcomes], "left_out": LEFT_OUT}, indent=2))
    else:
        console.print()
        console.print(table(outcomes))
        console.print("\nnot part of this:")
        for what, why in LEFT_OUT.items():
            console.print(f"  {what}: {why}", markup=False)
    return 1 if any(outcome.result == FAILED for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
