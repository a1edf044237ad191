"""What must not be in the repository: hosts of registries, and keys.

Packages, crates, modules and images are named without the host that they come from: that is the choice of whoever
installs them, and of the lock files of their tools. Hosts are looked for in all files that git knows or would add; keys
in all commits, by gitleaks (.gitleaks.toml). Needs git, and gitleaks in .venv/go. No network.

Exit codes: 0 nothing was found. 1 something was. 2 a program is missing, or this is no git repository.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from workflows import ROOT, MissingToolError, program

# In parts, so that this file names none of them.
HOSTS = [
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("yarnpkg", "com"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("sum", "golang", "org"),
        ("ghcr", "io"),
        ("docker", "io"),
        ("quay", "io"),
        ("gcr", "io"),
        ("pkg", "dev"),
        ("registry", "k8s", "io"),
        ("mcr", "microsoft", "com"),
        ("public", "ecr", "aws"),
    )
]
HOST = re.compile(rf"(?<![\w.-])(?:[\w-]+\.)*(?:{'|'.join(map(re.escape, HOSTS))})(?![\w-])", re.I)
ALLOWED = {
    "tests/redaction/positives.tsv": "a line of .npmrc, whose token is to be found",
}
"""Files that may name one, and why."""


def files() -> Iterator[Path]:
    """All files that git knows or would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in sorted(set(filter(None, listed.split("\0")))):
        path = ROOT / name
        if path.is_file() and not path.is_symlink():
            yield path


def hosts(text: str) -> Iterator[tuple[int, str]]:
    """The hosts of registries in a text, each with the number of its line."""
    lower = text.lower()
    if not any(host in lower for host in HOSTS):
        return
    for number, line in enumerate(text.splitlines(), 1):
        for found in HOST.finditer(line):
            yield number, found[0]


def main() -> int:
    """Look for both; the exit code."""
    wrong, read = 0, 0
    try:
        for path in files():
            name = path.relative_to(ROOT).as_posix()
            try:
                text = path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue
            read += 1
            for number, host in hosts(text):
                if name not in ALLOWED:
                    wrong += 1
                    print(f"{name}:{number}: names the registry {host}; leave the host out")
        print(f"{read} text files: {wrong} name a registry")
        command = [program("gitleaks"), "git", "--no-banner", "--no-color", "--redact", "--verbose", "."]
        leaks = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    except (MissingToolError, subprocess.CalledProcessError) as missing:
        print(missing, file=sys.stderr)
        return 2
    if leaks.returncode:
        wrong += 1
        print(leaks.stdout.strip())
    print(leaks.stderr.strip())
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
