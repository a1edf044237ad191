"""Commands, programs and queries of the documentation are run: against a gateway, a log and files like those they name.

What cannot be run here is parsed, each kind for a reason that stands in `PARSED`.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import asyncpg
import click
import httpx
import pytest

from bsgateway.cli import main
from docs.blocks import ROOT, Block, Line, blocks, lines_of
from docs.scratch import fill
from e2e.gateways import KEY, Gateway, clean_environment, start_serve
from e2e.records import until
from e2e.upstream import Upstream

PIPES = ("|", ">", ">>", "<")
ADDRESS, ID = "http://localhost:4000", "01a20296-2074-7ce2-8722-5ff0dc1957d2"
PLACEHOLDER = re.compile(r"\bKEY\b|\bsk-\.\.\.")
ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")

PARSED = {
    "aider": "a program of others",
    "claude": "a program of others",
    "createdb": "tests/integration/test_backup.py runs it",
    "docker": "no container engine runs in the tests; `make image-check` reads the files",
    "git": "what it changes is the repository",
    "helm": "`make chart-check` runs it",
    "kubectl": "no cluster runs in the tests; `make chart-check` reads the files",
    "litellm": "tests/e2e/test_plain_litellm.py runs it",
    "ollama": "no model is downloaded by tests",
    "pg_dump": "tests/integration/test_backup.py runs it",
    "pg_restore": "tests/integration/test_backup.py runs it",
    "pip": "tests install nothing; `make wheels` does",
    "python": "benchmarks take minutes, and are run by `make bench`",
}
"""Programs that are not run, each with the reason. Their lines must be what a shell can read."""

LONG = {
    ("serve",): "it runs until it is stopped; the gateway of these tests is one",
    ("demo",): "tests/e2e/test_demo.py runs it",
    ("train", "--ray"): "a cluster; tests/integration/test_scale.py has one",
    ("replay", "--ray"): "a cluster; tests/integration/test_scale.py has one",
}
"""Commands of ours that are parsed by their own parser, and not run."""

ENDS = {
    "bsgateway logs purge --user ann": (2,),  # it asks first, and there is no terminal
    "bsgateway train": (0, 3),  # 3: the new model is not better
    "bsgateway train --dry-run": (0, 3),
    "bsgateway train --parquet exports": (0, 3),
    "bsgateway doctor": (0, 1),  # 1: what it looked for is not there, such as Ollama
}
"""Other ends than 0 that are right."""


async def ask(dsn: str, query: str, *values: Any) -> Any:
    """The first value that a query gives."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(query, *values)
    finally:
        await connection.close()


class Worker:
    """The process that runs examples."""

    def __init__(self, environment: dict[str, str], errors: Path) -> None:
        path = os.pathsep.join((environment["PYTHONPATH"], str(ROOT / "tests")))
        with errors.open("wb") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "docs.worker"],
                env={**environment, "PYTHONPATH": path},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
            )

    def run(self, directory: Path, **example: Any) -> tuple[int, str]:
        """Exit code and output of an example."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"directory": str(directory), **example}), file=self._process.stdin, flush=True)
        reply = json.loads(self._process.stdout.readline())
        return reply["code"], reply["output"]

    def close(self) -> None:
        """Let it end."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.stdout is not None
        self._process.stdout.close()
        try:
            self._process.wait(60)
        finally:
            self._process.kill()
            self._process.wait()


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    """The providers."""
    with Upstream().running() as running:
        yield running


@pytest.fixture(scope="module")
def dsn(postgres_server: str) -> Iterator[str]:
    """A database of this module's own."""
    name = f"docs_{uuid4().hex}"

    asyncio.run(ask(postgres_server, f"CREATE DATABASE {name}"))
    yield urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))
    asyncio.run(ask(postgres_server, f"DROP DATABASE {name} WITH (FORCE)"))


@pytest.fixture(scope="module")
def worker(dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """Runs examples, with a log that has been written for some days."""
    directory = tmp_path_factory.mktemp("worker")
    environment = clean_environment(COLLECTOR_DATABASE_URL=dsn, OPENAI_API_KEY="none", ANTHROPIC_API_KEY="none")
    running = Worker(environment, directory / "errors.log")
    source = f"import asyncio\nfrom docs.scratch import seed\nasyncio.run(seed({dsn!r}))"
    assert running.run(directory, python=source) == (0, "")
    yield running
    running.close()


@pytest.fixture(scope="module")
def gateway(dsn: str, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """`bsgateway serve` with the repository's gateway.yaml, over the providers of the tests."""
    directory = tmp_path_factory.mktemp("gateway")
    fill(directory, upstream.base_url, "")
    environment = clean_environment(LITELLM_MASTER_KEY=KEY, COLLECTOR_DATABASE_URL=dsn)
    running = start_serve(
        directory / "gateway.yaml", directory / "state", upstream, environment=environment, database=dsn
    )
    try:
        yield running
        running.stop()
    finally:
        running.kill()


@pytest.fixture(scope="module")
def decision_id(gateway: Gateway) -> str:
    """A decision that the gateway has made, and that is in the log."""
    body = {"model": "auto", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"Authorization": f"Bearer {KEY}"}
    answer = httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    found: str = answer.raise_for_status().headers["x-bsgateway-decision-id"]

    async def written() -> bool:
        return bool(await ask(gateway.dsn, "SELECT count(*) FROM routing_logs WHERE decision_id = $1", found))

    asyncio.run(until("the row of the decision", written))
    return found


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory, upstream: Upstream) -> Callable[[str], Template]:
    """What the directory of a page's examples holds; made once for each page."""

    @cache
    def make(page: str) -> Template:
        directory = tmp_path_factory.mktemp("template")
        return Template(directory, fill(directory, upstream.base_url, page))

    return make


class Template(NamedTuple):
    """A directory to copy, and what words of the page stand for in it."""

    directory: Path
    meant: dict[str, str]

    def copy(self, to: Path) -> Path:
        """A directory of an example's own."""
        return Path(shutil.copytree(self.directory, to / "here"))


def named(given: list[Block]) -> Any:
    return pytest.mark.parametrize("block", given, ids=[block.name for block in given])


# Commands


class Command(NamedTuple):
    """A command as a shell reads it: the variables before it are gone, what is piped or redirected is `behind`."""

    words: list[str]
    behind: str

    @property
    def program(self) -> str:
        return Path(self.words[0]).name

    @property
    def line(self) -> str:
        return f"{shlex.join(self.words)} {self.behind}".strip()


def parsed(line: Line) -> Iterator[Command]:
    """The commands of a line. Raises ValueError for what a shell could not read."""
    lexer = shlex.shlex(line.command, posix=True, punctuation_chars="|&;<>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, ";"]:
        if word not in ("&&", ";"):
            words.append(word)
        elif words:
            yield command_of(words)
            words = []


def command_of(words: list[str]) -> Command:
    first = next((place for place, word in enumerate(words) if not ASSIGNMENT.match(word)), len(words))
    place = next((place for place, word in enumerate(words) if word in PIPES), len(words))
    behind = " ".join(word if word in PIPES else shlex.quote(word) for word in words[place:])
    return Command(words[first:place], behind)


def ours_only_parsed(words: list[str]) -> str | None:
    """Why a command of ours is not run, if it is not."""
    return next((why for each, why in LONG.items() if set(each) <= set(words)), None)


def parse_ours(words: list[str]) -> None:
    """Have the parser of `bsgateway` read the words: unknown commands and options raise."""
    group: click.Command = main
    while isinstance(group, click.Group) and words and words[0] in group.commands:
        group, words = group.commands[words[0]], words[1:]
    if isinstance(group, click.Group) and words and not words[0].startswith("-"):
        raise click.UsageError(f"no such command: {words[0]}")
    with group.make_context("bsgateway", list(words)):
        pass


@named(blocks("console"))
def test_commands_do_what_they_are_shown_for(
    block: Block,
    templates: Callable[[str], Template],
    worker: Worker,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    commands = [command for line in lines_of(block) for command in parsed(line)]
    assert commands, "no command in it"
    template = templates(block.page)
    directory = template.copy(tmp_path)
    monkeypatch.chdir(directory)  # where files that are only named in what is parsed are looked for
    for command in commands:
        run_one(command, directory, template.meant, worker, request)


def run_one(
    command: Command, directory: Path, meant: dict[str, str], worker: Worker, request: pytest.FixtureRequest
) -> None:
    """Run a command, or parse it. Raises AssertionError if it does not end as it should."""
    words = [meant.get(word, word) for word in command.words]
    if command.program == "make":
        assert_targets(words[1:])
    elif command.program == "bsgateway":
        run_ours(command, words[1:], directory, worker)
    elif command.program == "curl":
        gateway: Gateway = request.getfixturevalue("gateway")
        line = command.line.replace(ADDRESS, gateway.url).replace(ID, request.getfixturevalue("decision_id"))
        shell(PLACEHOLDER.sub(KEY, line).replace("curl ", "curl -sS --fail-with-body ", 1), directory)
    elif command.program == "python" and words[1] == "-c":
        code, output = worker.run(directory, python=words[2])
        assert code == 0, output
    elif command.program in ("cp", "mkdir", "cd", "export"):
        shell(command.line, directory)
    else:
        assert command.program in PARSED, f"`{command.program}` is neither run nor in the list of those only parsed"
        files = [word for word in words if re.match(r"(benches|packaging|rust|tests)/.", word)]
        assert [file for file in files if not (ROOT / file).exists()] == []


def run_ours(command: Command, words: list[str], directory: Path, worker: Worker) -> None:
    if ours_only_parsed(words):
        parse_ours(words)
        return
    code, output = worker.run(directory, arguments=words)
    assert code in ENDS.get(f"bsgateway {shlex.join(words)}", (0,)), output
    if command.behind:
        shell(f"cat {command.behind}", directory, output)


def shell(line: str, directory: Path, given: str = "") -> None:
    """Run a line in a shell."""
    done = subprocess.run(
        ["bash", "-c", line], cwd=directory, input=given, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def assert_targets(words: list[str]) -> None:
    """Each is a target of the Makefile, or sets a variable of it."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
    for word in words:
        name, given, _ = word.partition("=")
        assert f"$({name})" in makefile or f"$(or $({name})" in makefile if given else word in targets, word


def test_what_is_only_parsed_is_on_some_page() -> None:
    lines = [line for block in blocks("console") for line in lines_of(block)]
    assert PARSED.keys() <= {command.program for line in lines for command in parsed(line)}


@pytest.mark.parametrize("line", ["bsgateway serve --nonsense", "bsgateway nonsense"])
def test_what_is_only_parsed_can_be_wrong(line: str) -> None:
    with pytest.raises(click.UsageError):
        parse_ours(shlex.split(line)[1:])


# Programs and queries


@named(blocks("python"))
def test_programs_run(
    block: Block, templates: Callable[[str], Template], worker: Worker, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    source = block.text
    if ADDRESS in source:
        gateway: Gateway = request.getfixturevalue("gateway")
        source = PLACEHOLDER.sub(KEY, source.replace(ADDRESS, gateway.url))
        if ID in source:
            source = source.replace(ID, request.getfixturevalue("decision_id"))
    code, output = worker.run(templates(block.page).copy(tmp_path), python=source)
    assert code == 0, output


@named(blocks("sql"))
def test_queries_run(block: Block, dsn: str, worker: Worker, decision_id: str) -> None:
    async def run() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            for statement in filter(str.strip, block.text.replace(ID, decision_id).split(";\n")):  # as psql does
                await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(run())
