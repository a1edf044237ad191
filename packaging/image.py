"""The container image and docker-compose.yml: `check` them, `build` the image without Docker, `try` what was built.

`check` needs no engine and no network: hadolint, the schema of Compose, and the Compose program itself, which resolves
the file for each profile; then the rules of this repository about what came out of that.
`build` and `try` are image_build.py's and image_try.py's: as root, on Debian, with buildah and podman.

Exit code 0: all is well; 1: something is wrong, and was said; 2: a tool is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
COMPOSE_FILE = ROOT / "docker-compose.yml"
EXAMPLE = ROOT / ".env.example"
PROFILES = {"ollama": {"ollama"}, "redis": {"redis"}, "observability": {"prometheus", "grafana"}}
"""Profile -> the services that it adds."""
OF_COMPOSE = {"COMPOSE_PROFILES"}
"""Names in .env.example that Compose itself reads."""


class MissingToolError(Exception):
    """A program that is not installed; the message says how to get it."""


def main(argv: list[str] | None = None) -> int:
    """Run one of the commands; the exit code."""
    parser = argparse.ArgumentParser(
        description="Check the container image and docker-compose.yml, or build the image."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="Dockerfile and docker-compose.yml, without an engine")
    build = commands.add_parser("build", help="build the image by buildah, on base images made by debootstrap")
    build.add_argument("--work", type=Path, default=Path("/var/tmp/bsgateway-image"), help="where all of it is kept")  # noqa: S108
    build.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="handed on to buildah")
    run = commands.add_parser("try", help="run what was built, read-only and unprivileged, and stop and restart it")
    run.add_argument("--work", type=Path, default=Path("/var/tmp/bsgateway-image"), help="where it was built")  # noqa: S108
    given = parser.parse_args(argv)
    try:
        if given.command == "check":
            return check()
        if given.command == "build":
            from image_build import build as build_image

            return build_image(given.work, given.build_arg)
        from image_try import try_image

        return try_image(given.work)
    except MissingToolError as error:
        print(error, file=sys.stderr)
        return 2


def check() -> int:
    """Everything that can be said of both files without an engine."""
    failures = 0
    for name, problems in (
        ("Dockerfile: hadolint", _run([tool("hadolint"), "Dockerfile"])),
        (
            "docker-compose.yml: schema",
            _run([tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", COMPOSE_FILE.name]),
        ),
        ("docker-compose.yml: refuses to start without a password", list(_without_password())),
        *((f"docker-compose.yml: {describe(chosen)}", list(_resolved(chosen))) for chosen in choices()),
        (".env.example: its names are those that are read", list(names_amiss())),
    ):
        print(f"{'ok    ' if not problems else 'wrong '} {name}")
        for problem in problems:
            print(f"       {problem}")
        failures += bool(problems)
    return 1 if failures else 0


def choices() -> list[tuple[str, ...]]:
    """Sets of profiles that are tried: none, each, all."""
    return [(), *((profile,) for profile in PROFILES), tuple(PROFILES)]


def describe(profiles: tuple[str, ...]) -> str:
    return f"with profile {', '.join(profiles)}" if profiles else "without a profile"


def tool(name: str) -> str:
    """A program of the environment of this Python."""
    path = Path(sys.executable).with_name(name)
    if not path.exists():
        raise MissingToolError(f"{name} is missing in {path.parent}: run `make image-check`, which installs it")
    return str(path)


def compose_command() -> list[str]:
    """The Compose program: one of `make`'s Go tools, or that of Docker."""
    built = ROOT / ".venv" / "go" / "docker-compose"
    if given := os.environ.get("BSGATEWAY_COMPOSE"):
        return [given]
    if built.exists():
        return [str(built)]
    docker = shutil.which("docker")
    if docker and subprocess.run([docker, "compose", "version"], capture_output=True, check=False).returncode == 0:
        return [docker, "compose"]
    raise MissingToolError(
        "Docker Compose is missing: run `make image-check`, which builds it, or set BSGATEWAY_COMPOSE"
    )


def config(profiles: tuple[str, ...], env_file: str, *options: str) -> subprocess.CompletedProcess[str]:
    """`docker compose config` as a user would have it who copied .env.example and set nothing else."""
    chosen = [word for profile in profiles for word in ("--profile", profile)]
    command = [*compose_command(), "--env-file", env_file, "--file", str(COMPOSE_FILE), *chosen, "config", *options]
    bare = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    return subprocess.run(command, env=bare, capture_output=True, text=True, check=False)


def _run(command: list[str]) -> list[str]:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return [] if done.returncode == 0 else (done.stdout + done.stderr).strip().splitlines()


def _without_password() -> Iterator[str]:
    done = config((), os.devnull)
    if done.returncode == 0 or "copy .env.example to .env" not in done.stderr:
        yield f"expected a word about .env.example, got exit code {done.returncode}: {done.stderr.strip()}"


def _resolved(profiles: tuple[str, ...]) -> Iterator[str]:
    done = config(profiles, str(EXAMPLE), "--format", "json")
    if done.returncode != 0:
        yield from done.stderr.strip().splitlines()
        return
    if done.stderr.strip():
        yield f"Compose warns: {done.stderr.strip()}"
    project: dict[str, Any] = json.loads(done.stdout)
    expected = {"gateway", "postgres"}.union(*(PROFILES[profile] for profile in profiles))
    if (found := set(project["services"])) != expected:
        yield f"services {sorted(found)}, expected {sorted(expected)}"
    for name, service in project["services"].items():
        yield from (f"{name}: {problem}" for problem in service_amiss(service))


def service_amiss(service: dict[str, Any]) -> Iterator[str]:
    """What the rules of this repository say against a service as Compose resolved it."""
    for port in service.get("ports", ()):
        if port.get("host_ip") != "127.0.0.1":
            yield f"port {port.get('published')} is open to more than this machine"
    if not re.fullmatch(r"[^:@]+:[^:@]+|.+@sha256:[0-9a-f]{64}", service.get("image", "")):
        yield f"image {service.get('image')!r} has no tag"
    if service.get("cap_drop") != ["ALL"] or service.get("cap_add"):
        yield "it keeps capabilities"
    if "no-new-privileges:true" not in service.get("security_opt", ()):
        yield "it may gain privileges"
    if not service.get("read_only"):
        yield "its root can be written to"
    if service.get("privileged") or service.get("network_mode") == "host" or service.get("pid") == "host":
        yield "it shares with the machine what it should not"
    if "healthcheck" not in service and "build" not in service:  # the built image has its own
        yield "nothing says whether it is healthy"
    for volume in service.get("volumes", ()):
        if volume["type"] == "bind" and not (volume.get("read_only") and Path(volume["source"]).is_file()):
            yield f"{volume['source']} is not a file that is mounted read-only"


def names_amiss() -> Iterator[str]:
    """Names of .env.example that nothing reads, and names that are read and not in it."""
    compose = COMPOSE_FILE.read_text(encoding="utf-8")
    interpolated = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", compose))
    handed_on = set(re.findall(r"^      ([A-Z_]+):$|\{ ([A-Z_]+): \}", compose, re.MULTILINE))
    read = interpolated | {name for pair in handed_on for name in pair if name}
    gateway = set(re.findall(r"os\.environ/([A-Z_]+)", (ROOT / "gateway.yaml").read_text(encoding="utf-8")))
    listed = set(re.findall(r"^#?([A-Z_]+)=", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE))
    yield from (f"{name} is read by nothing" for name in sorted(listed - read - gateway - OF_COMPOSE))
    yield from (f"{name} is read and not listed" for name in sorted((read | gateway) - listed))


if __name__ == "__main__":
    sys.exit(main())
