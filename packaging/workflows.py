"""The workflows and forms of .github: `make workflows-check`.

actionlint (with shellcheck for the scripts in them), zizmor without network, the schemas that check-jsonschema brings,
and one rule of our own: an action of others is named by commit, with its version as a comment, the same everywhere.
Needs .venv/release and .venv/go, no network. Nothing here says that a workflow does what it should: only a run does.

Exit codes: 0 all is well. 1 something is wrong, and was said. 2 a program is missing.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
GITHUB = ROOT / ".github"
USES = re.compile(r"^\s*(?:- )?uses:\s*(?P<action>[^@\s]+)(?:@(?P<ref>\S+))?(?:\s+# (?P<version>\S+))?\s*$", re.M)
COMMIT = re.compile(r"[0-9a-f]{40}")
VERSION = re.compile(r"v\d+\.\d+\.\d+")


class MissingToolError(Exception):
    """A program that is not installed; the message says how to get it."""


def program(name: str) -> str:
    """A program of .venv/release or .venv/go, or else of the search path."""
    folders = (Path(sys.executable).parent, ROOT / ".venv/release/bin", ROOT / ".venv/go")
    for folder in folders:
        if found := shutil.which(name, path=str(folder)):
            return found
    if found := shutil.which(name):
        return found
    raise MissingToolError(f"{name} is missing: run `make workflows-check`, which installs it")


def commands() -> Iterator[list[str]]:
    """What is run, in this order, from the top of the repository."""
    workflows = sorted(str(path.relative_to(ROOT)) for path in GITHUB.glob("workflows/*.yml"))
    forms = sorted(str(path.relative_to(ROOT)) for path in GITHUB.glob("ISSUE_TEMPLATE/*.yml") if path.stem != "config")
    yield [program("actionlint"), "-shellcheck", program("shellcheck"), "-pyflakes", "", *workflows]
    yield [program("zizmor"), "--offline", "--quiet", "--no-progress", "--persona", "pedantic", "."]
    schema = [program("check-jsonschema"), "--builtin-schema"]
    yield [*schema, "vendor.github-workflows", *workflows]
    yield [*schema, "custom.github-workflows-require-timeout", *workflows]
    yield [*schema, "vendor.dependabot", ".github/dependabot.yml"]
    yield [*schema, "vendor.github-issue-forms", *forms]
    yield [*schema, "vendor.github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"]


def unpinned(texts: dict[str, str]) -> Iterator[str]:
    """What is wrong with how workflows (name -> text) name the actions of others, one line each."""
    named: dict[str, str] = {}
    for name, text in texts.items():
        for found in USES.finditer(text):
            action, pin = found["action"], f"{found['ref']} # {found['version']}"
            if action.startswith("./"):
                continue
            if not COMMIT.fullmatch(found["ref"] or "") or not VERSION.fullmatch(found["version"] or ""):
                yield f"{name}: {action}@{pin} is no commit with its version, such as `@{'0' * 40} # v1.2.3`"
            elif named.setdefault(action, pin) != pin:
                yield f"{name}: {action}@{pin}, but {named[action]} elsewhere"


def main() -> int:
    """Run all of it, and say what is wrong."""
    wrong = list(unpinned({path.name: path.read_text(encoding="utf-8") for path in sorted(GITHUB.rglob("*.yml"))}))
    for line in wrong:
        print(line)
    try:
        for command in commands():
            ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
            said = f"{Path(command[0]).name} {command[2] if 'schema' in command[0] else ''}".rstrip()
            print(f"{said}: {'fails' if ended.returncode else 'ok'}")
            if ended.returncode:
                wrong.append(said)
                print(f"{ended.stdout}{ended.stderr}".rstrip())
    except MissingToolError as missing:
        print(missing, file=sys.stderr)
        return 2
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
