"""The compiled wheels: for which platforms, whether this machine can build each, and how.

zig is compiler and linker, and has the C libraries of all these platforms: a wheel does not depend on the system that
built it. Rust's standard library for a platform has to be there; rustup has it, as have some distributions.
"""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

from running import BuildError, run, tools

PREFIX = "/bsgateway"
"""What a compiled module calls the directory that it was built in."""


@dataclass(frozen=True)
class Target:
    """A platform. `compatibility`: maturin's name for the oldest system a wheel shall run on."""

    triple: str
    compatibility: str

    @property
    def arch(self) -> str:
        """x86_64 or aarch64."""
        return self.triple.partition("-")[0]

    @property
    def tag(self) -> str:
        """How the platform is called in the name of a wheel."""
        return f"{self.compatibility}_{self.arch}"

    @property
    def runs_here(self) -> bool:
        """Whether this machine and this Python can run the wheel."""
        here = sysconfig.get_platform().replace("-", "_")
        musl = "musl" in (sysconfig.get_config_var("HOST_GNU_TYPE") or "")
        return here == f"linux_{self.arch}" and musl == ("musl" in self.triple)


TARGETS = (
    Target("x86_64-unknown-linux-gnu", "manylinux_2_17"),
    Target("aarch64-unknown-linux-gnu", "manylinux_2_17"),
    Target("x86_64-unknown-linux-musl", "musllinux_1_2"),
    Target("aarch64-unknown-linux-musl", "musllinux_1_2"),
)


@dataclass(frozen=True)
class Rust:
    """The compiler. `rustc`: another one than that of the path. `build_std`: compile its standard library as well, from
    its sources, where it has none for the target; cargo may then use the network."""

    rustc: str = "rustc"
    build_std: bool = False

    def has_std(self, target: Target) -> bool:
        """Whether this compiler has its standard library for `target`."""
        command = [self.rustc, "--print", "target-libdir", "--target", target.triple]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        return ran.returncode == 0 and any(Path(ran.stdout.strip()).glob("libstd-*.rlib"))

    def lacks(self, target: Target) -> str:
        """Why no wheel can be built for `target`, and what to do; empty if one can."""
        if self.build_std or self.has_std(target):
            return ""
        return (
            f"this Rust has no standard library for {target.triple}: `rustup target add {target.triple}`, "
            "or see --rustc and --build-std"
        )


def build(tree: Path, target: Target, rust: Rust, work: Path) -> Path:
    """The wheel of the unpacked sdist `tree` for `target`, built in `work`, which must be empty.

    Cargo gets an empty home and no network, so that only what is in the sdist can be taken.
    """
    std = rust.build_std and not rust.has_std(target)
    out, home = work / "out", work / "home"
    home.mkdir(parents=True)
    env = {
        **tools(),
        "CARGO_HOME": str(home),
        "CARGO_TARGET_DIR": str(work / "target"),
        "RUSTC": rust.rustc,
        # Messages of panics name source files: they shall be called alike wherever this is built.
        "RUSTFLAGS": f"--remap-path-prefix={tree}={PREFIX} --remap-path-prefix={home}={PREFIX}/cargo",
        "ZIG_GLOBAL_CACHE_DIR": str(work / "zig"),
    }
    command = ["maturin", "build", "--release", "--locked", "--zig", "--target", target.triple, "--out", str(out)]
    command += ["--compatibility", target.compatibility]
    if std:
        env["RUSTC_BOOTSTRAP"] = "1"
        # One directory cannot stand for the index twice: the standard library has crates of its own.
        config = tree / ".cargo" / "config.toml"
        aside = config.rename(config.with_suffix(".aside"))
        try:
            run([*command, "-Z", "build-std=std,panic_unwind"], cwd=tree, env=env)
        finally:
            aside.rename(config)
    else:
        env["CARGO_NET_OFFLINE"] = "true"
        run([*without_network(), *command], cwd=tree, env=env)
    (made,) = out.glob("*.whl")
    return made


def without_network() -> list[str]:
    """What, put before a command, runs it with no network at all; empty where the system does not let us."""
    prefix = ["unshare", "--map-root-user", "--net"]
    try:
        ran = subprocess.run([*prefix, "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return []
    return prefix if ran.returncode == 0 else []


def check(wheel: Path, target: Target) -> list[str]:
    """What auditwheel and abi3audit have against a compiled wheel."""
    faults = []
    # No library of this machine is looked at: it may be for another platform, and only the C library is needed.
    shown = _said(["auditwheel", "show", "--json", "--ldpaths", str(wheel.parent), str(wheel)])
    if shown[0]:
        return [f"auditwheel cannot read it: {shown[1]}"]
    audit = json.loads(shown[1])
    # zig links with musl by the name libc.so, auditwheel knows that of Alpine; musl's loader is meant by both.
    allowed = {"libc.so"} if "musl" in target.triple else set()
    if audit["sym_tag"] != target.tag or set(audit["external_libs"]) != allowed or audit["unsupported_isa"]:
        faults.append(f"auditwheel does not find it to be {target.tag}: {shown[1]}")
    audited = _said(["abi3audit", "--strict", str(wheel)])
    if audited[0]:
        faults.append(f"abi3audit finds more than the stable ABI of its Python: {audited[1]}")
    return faults


def _said(command: list[str]) -> tuple[int, str]:
    """Exit code and output of a program of this environment; what it complains of, if it fails."""
    program = Path(sysconfig.get_path("scripts")) / command[0]
    ran = subprocess.run([str(program), *command[1:]], capture_output=True, text=True, check=False)
    return ran.returncode, ran.stdout if not ran.returncode else (ran.stdout + ran.stderr).strip()[-2000:]


def require_linux() -> None:
    """Raise BuildError elsewhere: the wheels of other systems are built by `maturin build` in the unpacked sdist."""
    if sys.platform != "linux":
        raise BuildError("wheels of several platforms are built on Linux; here: `pip wheel dist/bsgateway-*.tar.gz`")
