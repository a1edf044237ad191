"""The version: it stands in Cargo.toml, and all else must agree with it.

    version.py check [--tag v1.2.3]    the changelog, the chart and the tag agree; with a tag, the release has a date
    version.py notes                   print the section of the changelog about it

Exit codes: 0 all agrees. 1 something does not, and was said.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
HEADING = re.compile(r"^## (?P<version>\S+) \((?P<when>[^)]+)\)\n(?P<text>.*?)(?=^## |\Z)", re.M | re.S)
DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def sections(changelog: str) -> dict[str, tuple[str, str]]:
    """Version -> when it was released (or `unreleased`), and what the changelog says of it."""
    return {found["version"]: (found["when"], found["text"].strip()) for found in HEADING.finditer(changelog)}


def disagreements(cargo: str, changelog: str, chart: str | None, tag: str | None) -> Iterator[str]:
    """What does not agree with the version in Cargo.toml, one line each; the files as texts."""
    version = tomllib.loads(cargo)["package"]["version"]
    when, text = sections(changelog).get(version, ("", ""))
    if not text:
        yield f"CHANGELOG.md has no section `## {version} (...)` with text"
    if tag is not None and tag != f"v{version}":
        yield f"the tag is {tag}, and the version in Cargo.toml {version}"
    if tag is not None and not DATE.fullmatch(when):
        yield f"CHANGELOG.md: {version} is to be released and has no date: `## {version} (2026-01-31)`"
    if chart is not None:
        for key in ("version", "appVersion"):
            found = re.search(rf"^{key}: *[\"']?([^\s\"']+)", chart, re.M)
            if found is None or found[1] != version:
                yield f"Chart.yaml: {key} is {found[1] if found else None}, the version in Cargo.toml {version}"


def main() -> int:
    """Compare, or print the notes."""
    parser = argparse.ArgumentParser(description="The version stands in Cargo.toml; all else must agree.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="compare").add_argument("--tag", help="of the release, such as v1.2.3")
    commands.add_parser("notes", help="print the section of CHANGELOG.md")
    options = parser.parse_args()
    cargo = (ROOT / "Cargo.toml").read_text(encoding="utf-8")
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version = tomllib.loads(cargo)["package"]["version"]
    if options.command == "notes":
        print(sections(changelog)[version][1])
        return 0
    chart = ROOT / "deploy/helm/bsgateway/Chart.yaml"
    wrong = list(
        disagreements(cargo, changelog, chart.read_text(encoding="utf-8") if chart.exists() else None, options.tag)
    )
    for line in wrong:
        print(line)
    if not wrong:
        print(f"{version} in Cargo.toml, CHANGELOG.md{', Chart.yaml' if chart.exists() else ''}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
