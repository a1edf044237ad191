"""Build the sdist and all wheels that this machine can build, check them, and run those that can run here.

    .venv/release/bin/python packaging/wheels.py        `make wheels`; what it makes is in dist/

In this order: an sdist with all sources, crates and pages in it; from the unpacked sdist, without network, a compiled
wheel for each platform; from the first of them the pure wheel. Each is checked (contents, metadata, bills of materials,
size, twine, auditwheel, abi3audit); each that can run here is installed in a fresh environment without a Rust compiler
and serves as a real proxy. What was not built or not run is said at the end, with the reason.

Exit code 0: all that was built is as it should be. 1: something is not. 2: it cannot be built here at all.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import contents
import crates
import environments
import native
import pure
import sources
from running import ROOT, BuildError

SMOKE = Path(__file__).with_name("smoke.py")


@dataclass
class Report:
    """What came of it. `made`: an archive and what is to be said about it."""

    made: list[tuple[Path, str]] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def blame(self, archive: Path, faults: list[str]) -> None:
        """Note what is wrong with an archive."""
        self.faults += [f"{archive.name}: {fault}" for fault in faults]

    def show(self) -> None:
        """Print it."""
        for archive, note in self.made:
            print(f"{archive.stat().st_size / 1e6:6.2f} MB  {archive.name}  {note}")
        for line in self.left_out:
            print(f"not built  {line}")
        for line in self.faults:
            print(f"FAULT  {line}", file=sys.stderr)


def say(text: str) -> None:
    """Tell at once what begins."""
    print(f"{time.strftime('%H:%M:%S')}  {text}", flush=True)


def make(options: argparse.Namespace, work: Path, report: Report) -> None:
    """Build and check everything into `options.out`. Raises BuildError or CratesError where it cannot go on."""
    out: Path = options.out
    say("sdist")
    tree, unpacked, made = work / "tree", work / "sdist", work / "made"
    for folder in (tree, unpacked, made):
        folder.mkdir()
    sources.prepare(tree)
    archive = sources.sdist(tree, made)
    report.blame(archive, contents.check_sdist(archive))
    report.made.append((Path(shutil.copy2(archive, out)), "all that it is built from: no network, no Node"))
    tree = sources.unpack(archive, unpacked)
    purls = {crate.purl for crate in crates.reached(crates.metadata(tree), {None})}
    if crates.main(["--check"]):
        report.faults.append(f"{crates.LICENCES} is out of date")
    compiled = build_compiled(options, tree, work, report, purls)
    if options.sdist_only:
        return
    if not compiled:
        raise BuildError("no compiled wheel could be built, and the pure wheel is made from one")
    say("pure wheel")
    wheel = pure.derive(compiled[0][1], out)
    report.blame(wheel, contents.check_wheel(wheel, tree, purls, [str(work)]))
    for _, other in compiled:
        if contents.metadata(other) != contents.metadata(wheel):
            report.faults.append(f"{other.name} and {wheel.name} have different metadata")
    check_upload(out, report)
    for target, other in compiled:
        report.made.append((other, try_out(other, "native", options, work, report, target)))
    report.made.append((wheel, try_out(wheel, "twin", options, work, report, None)))


def build_compiled(
    options: argparse.Namespace, tree: Path, work: Path, report: Report, purls: set[str]
) -> list[tuple[native.Target, Path]]:
    """The compiled wheels of the targets that are asked for, checked."""
    rust = native.Rust(options.rustc, options.build_std)
    private = [str(work), *(str(Path.home() / folder) for folder in (".cargo", ".rustup"))]
    built: list[tuple[native.Target, Path]] = []
    for target in native.TARGETS:
        if options.sdist_only or (options.target and target.triple not in options.target):
            continue
        if why := rust.lacks(target):
            report.left_out.append(f"{target.tag}: {why}")
            continue
        for number in range(2 if options.twice else 1):
            say(f"compiled wheel for {target.tag}{', again' if number else ''}")
            place = work / f"{target.triple}-{number}"
            again = built[-1][1] if number else None
            wheel = native.build(tree if not number else copy(tree, place), target, rust, place / "build")
            if again is None:
                built.append((target, Path(shutil.copy2(wheel, options.out))))
                report.blame(wheel, contents.check_wheel(wheel, tree, purls, private))
                report.blame(wheel, native.check(wheel, target))
            elif wheel.read_bytes() != again.read_bytes():
                report.faults.append(f"{wheel.name}: built again, elsewhere, it differs")
    return built


def copy(tree: Path, place: Path) -> Path:
    """The same sources under another path."""
    return shutil.copytree(tree, place / "other" / "place", symlinks=True)


def check_upload(out: Path, report: Report) -> None:
    """What an index would refuse."""
    archives = sorted(str(path) for path in out.iterdir() if path.suffix in (".whl", ".gz"))
    program = Path(sysconfig.get_path("scripts")) / "twine"
    ran = subprocess.run([str(program), "check", "--strict", *archives], capture_output=True, text=True, check=False)
    if ran.returncode:
        report.faults.append(f"twine check --strict:\n{ran.stdout}{ran.stderr}")


def try_out(
    wheel: Path, core: str, options: argparse.Namespace, work: Path, report: Report, target: native.Target | None
) -> str:
    """Install a wheel in fresh environments and serve from it; what is to be said of it."""
    if target and not target.runs_here:
        return "checked, NOT run: it is for another platform"
    ran: list[str] = []
    for python in options.python or [sys.executable]:
        say(f"{wheel.name} under {python}")
        folder = work / f"env-{core}-{len(ran)}"
        interpreter = environments.create(folder, python)
        environments.install(interpreter, wheel)
        command = [str(interpreter), str(SMOKE), core]
        done = subprocess.run(command, cwd=work, env=environments.without_cargo(), check=False)
        if done.returncode:
            report.faults.append(f"{wheel.name}: the smoke test failed under {python}")
        ran.append(python)
        shutil.rmtree(folder)
    return f"checked, and run under {len(ran)} Python{'s' if len(ran) > 1 else ''}"


def write_sums(out: Path) -> None:
    """SHA256SUMS of all archives, for `sha256sum --check`."""
    archives = sorted(path for path in out.iterdir() if path.suffix in (".whl", ".gz"))
    lines = [f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in archives]
    (out / "SHA256SUMS").write_text("".join(lines), encoding="utf-8")


def parsed(argv: list[str] | None) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--out", type=Path, default=ROOT / "dist", help="where to; what is there is removed [default: dist]")
    add("--target", action="append", choices=[t.triple for t in native.TARGETS], help="only this platform; repeatable")
    add("--sdist-only", action="store_true", help="build and check the sdist alone")
    add("--rustc", default="rustc", help="the compiler [default: that of the path]")
    add("--build-std", action="store_true", help="compile Rust's standard library where the compiler has none")
    add("--python", action="append", help="an interpreter to run the wheels with, repeatable [default: this one]")
    add("--twice", action="store_true", help="build each compiled wheel again at another place; it must be the same")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Build, check, run, and say what came of it."""
    options = parsed(argv)
    report = Report()
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="bsgateway-wheels-") as work:
        try:
            native.require_linux()
            make(options, Path(work).resolve(), report)
        except (BuildError, crates.CratesError) as error:
            report.show()
            print(f"wheels: {error}", file=sys.stderr)
            return 2
    write_sums(options.out)
    report.show()
    return 1 if report.faults else 0


if __name__ == "__main__":
    sys.exit(main())
