"""Build the fuzz targets and run them: `make fuzz SECONDS=600`, `make fuzz-smoke`.

Needs stable Rust and g++ (libFuzzer is C++), not cargo-fuzz, whose compiler flags for coverage these are. With it,
`cargo fuzz run --fuzz-dir rust/fuzz --sanitizer none TARGET` finds the same corpus and artifacts. There is no address
sanitizer: the core has no unsafe code, and what can go wrong is a panic, a wrong answer or a hang.

Inputs are kept in corpus/TARGET from run to run, but for --smoke. Exit code 1 if a target found something: its input is
then in artifacts/TARGET, and belongs into tests/attacks/ with the fix. 2 if fuzzing does not work here.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ATTACKS = ROOT / "tests" / "attacks" / "bodies"
TARGETS = ("extract", "glob", "models", "redact", "texts", "tokens", "words")
MAX_BYTES = {
    "extract": 8192,
    "glob": 400,
    "models": 8192,
    "redact": 4096,
    "texts": 16384,
    "tokens": 4096,
    "words": 16384,
}
DICTIONARIES = {
    "extract": "extract.dict",
    "models": "models.dict",
    "redact": "redact.dict",
    "texts": "texts.dict",
    "tokens": "texts.dict",
    "words": "texts.dict",
}
HANG = 20  # seconds that one input may take
# How often --smoke runs a target, some ten seconds. A number of runs from one seed, not a time, so that a slow machine
# does the same work; nearly the same inputs, too: addresses and the memo's random key lead the fuzzer aside a little.
SMOKE = {
    "extract": 40_000,
    "glob": 500_000,
    "models": 20_000,
    "redact": 20_000,
    "texts": 150_000,
    "tokens": 120_000,
    "words": 100_000,
}
COVERAGE = (
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
)
LOADED = re.compile(r"INFO: Loaded \d+ modules\s+\((\d+) inline 8-bit counters\)")
LEAST_COUNTERS = 1000  # far below what the smallest target has, far above what libFuzzer alone would
STATUS = re.compile(r"#(\d+)\s.*cov: (\d+) .*corp: (\d+)/")


class Unable(Exception):
    """Fuzzing does not work on this machine: what, and what to do."""


def say(text: str) -> None:
    print(text, flush=True)


def build() -> Path:
    """The folder with the targets, built with coverage."""
    for tool, advice in {"cargo": "install Rust (rustup)", "g++": "libFuzzer is C++: install g++"}.items():
        if shutil.which(tool) is None:
            raise Unable(f"{tool} is missing: {advice}")
    version = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout  # noqa: S607
    host = version.partition("host: ")[2].split("\n")[0]
    folder = Path(os.environ.get("CARGO_TARGET_DIR", "target"))
    folder = (folder if folder.is_absolute() else ROOT / folder) / "fuzz"
    # --target keeps the flags away from build scripts, which are not linked with libFuzzer.
    command = ["cargo", "build", "--quiet", "--release", "--locked", "--bins", "--target", host]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(folder), "CARGO_ENCODED_RUSTFLAGS": "\x1f".join(COVERAGE)}
    began = time.monotonic()
    if subprocess.run(command, cwd=HERE, env=environment, check=False).returncode:  # noqa: S603
        raise Unable(f"the targets cannot be built with {' '.join(COVERAGE)}")
    say(f"built in {time.monotonic() - began:.0f} s")
    return folder / host / "release"


def write_seeds(target: str, folder: Path) -> None:
    """The attacks of the test suite as first inputs."""
    folder.mkdir(parents=True, exist_ok=True)
    texts: list[str] = []
    if target == "extract":
        for path in sorted(ATTACKS.glob("*.json")):
            for item in json.loads(path.read_text(encoding="utf-8")):
                texts += [json.dumps(item["body"])] if isinstance(item, dict) else []
    elif target == "glob":
        names = json.loads((ATTACKS / "names.json").read_text(encoding="utf-8"))
        texts = [f"{name}\n*\n[!a-z]?{name}" for name in names]
    elif target == "redact":
        for name in ("positives.tsv", "lookalikes.tsv"):
            lines = (ROOT / "tests" / "redaction" / name).read_text(encoding="utf-8").splitlines()
            texts += [line.split("\t")[2] for line in lines if not line.startswith("#")]
    elif target == "models":
        for path in sorted((ATTACKS.parent / "models").glob("*.gz")):
            data = gzip.decompress(path.read_bytes())
            length = int.from_bytes(data[:8], "little")
            texts += ["\1" + data[8 : 8 + length].decode("utf-8", "replace")] if length < len(data) else []
    for number, text in enumerate(texts):
        (folder / f"attack-{number}").write_bytes(text.encode("utf-8", "surrogatepass"))


class Run:
    """One target at work."""

    def __init__(self, target: str, program: Path, corpus: Path, limits: list[str]) -> None:
        self.target, self.program, self.corpus, self.limits = target, program, corpus, limits
        self.tail: deque[str] = deque(maxlen=60)
        self.counters, self.status, self.failed = 0, (0, 0, 0), False

    def work(self) -> None:
        corpus, artifacts = self.corpus / self.target, HERE / "artifacts" / self.target
        seeds = self.program.parent / "seeds" / self.target
        for folder in (corpus, artifacts):
            folder.mkdir(parents=True, exist_ok=True)
        write_seeds(self.target, seeds)
        command = [str(self.program), *self.limits, f"-max_len={MAX_BYTES[self.target]}", f"-timeout={HANG}"]
        command.append(f"-artifact_prefix={artifacts}/")
        if name := DICTIONARIES.get(self.target):
            command.append(f"-dict={HERE / name}")
        command += [str(corpus), str(seeds)]
        with subprocess.Popen(  # noqa: S603
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process:
            self.follow(process)
        self.failed = process.returncode != 0

    def follow(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None  # noqa: S101
        shown = time.monotonic()
        for line in process.stdout:
            if found := LOADED.search(line):
                self.counters = int(found[1])
            if found := STATUS.match(line):
                runs, coverage, inputs = self.status = (int(found[1]), int(found[2]), int(found[3]))
                if time.monotonic() - shown > 10:
                    shown = time.monotonic()
                    say(f"  {self.target}: {runs:,} runs, {coverage} edges, {inputs} inputs kept")
            else:
                self.tail.append(line.rstrip())

    def report(self) -> bool:
        """Say what came out; whether all is well."""
        if self.failed:
            say(f"{self.target}: FOUND SOMETHING; the end of its output:\n")
            say("\n".join(f"    {line}" for line in self.tail))
            say(f"\n{self.target}: again with {self.program} ARTIFACT; put the input into tests/attacks/ with the fix")
            return False
        runs, coverage, inputs = self.status
        if self.counters < LEAST_COUNTERS or runs < 2 or coverage < 2:
            raise Unable(f"{self.target} ran without coverage ({self.counters} counters, {runs} runs): {self.tail}")
        reached = f"{coverage} of {self.counters} edges reached"
        say(f"{self.target}: nothing found in {runs:,} runs, {reached}, {inputs} inputs kept")
        return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=600, help="for all targets together (600)")
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="a short run: a number of runs, one seed, no earlier inputs",
    )
    parser.add_argument(
        "targets", nargs="*", default=TARGETS, metavar="TARGET", help=f"{', '.join(TARGETS)}; all if none"
    )
    arguments = parser.parse_args()
    if unknown := set(arguments.targets) - set(TARGETS):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    try:
        folder = build()
        at_once = min(2, os.cpu_count() or 1)
        seconds = max(1, arguments.seconds * at_once // len(arguments.targets))
        with tempfile.TemporaryDirectory() as scratch, ThreadPoolExecutor(at_once) as pool:
            corpus = Path(scratch) if arguments.smoke else HERE / "corpus"
            runs = [
                Run(
                    target,
                    folder / target,
                    corpus,
                    [f"-runs={SMOKE[target]}", "-seed=1"] if arguments.smoke else [f"-max_total_time={seconds}"],
                )
                for target in arguments.targets
            ]
            list(pool.map(Run.work, runs))
        sound = [run.report() for run in runs]  # of all, before the answer
        return 0 if all(sound) else 1
    except Unable as error:
        say(f"fuzzing does not work here: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main())
