"""The command `bsgateway`: help, exit codes, output for people and for machines. No server is started here."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
import yaml
from click.testing import CliRunner, Result

from bsgateway._version import __version__
from bsgateway.cli import main
from bsgateway.config import Config, json_schema
from bsgateway.core import NATIVE, core
from bsgateway.decision import Decision, Reason
from bsgateway.doctor import AS_USER, Finding, _spool
from bsgateway.effective import effective_config
from bsgateway.log.metrics import Metrics
from bsgateway.log.spool import Spool
from bsgateway.models import install
from model_files import model

COMMANDS = (
    "serve", "demo", "check", "explain", "replay", "train", "evaluate", "calibrate", "logs", "models", "report",
    "migrate", "doctor", "version",
)  # fmt: skip
SUBCOMMANDS = ("logs export", "logs purge", "models promote", "models rollback")
EXPORT, PURGE = ["logs", "export", "--since", "1d"], ["logs", "purge", "--user", "u", "--yes"]
HARD = "Prove the theorem, derive the bound, analyze the algorithm."
PASSWORD = "hunter2"
REFERENCE = str(Path(__file__).parents[2] / "gateway.yaml")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty directory: no `gateway.yaml`, `.env` or state of the checkout."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")


@pytest.fixture
def config(config_file: Callable[..., Path]) -> str:
    return str(config_file())


def run(*arguments: str, code: int = 0, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(main, arguments, input=stdin)
    if not isinstance(result.exception, (SystemExit, type(None))):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


# Help


def test_help_lists_every_command() -> None:
    out = run("--help").stdout
    assert "Send each LLM request to the cheapest model that can do the job." in out
    assert tuple(sorted(main.commands)) == tuple(sorted(COMMANDS))
    for name in COMMANDS:
        assert f"\n  {name} " in out
    assert run("-h").stdout == out


def test_help_lists_every_subcommand() -> None:
    groups = {name: command for name, command in main.commands.items() if isinstance(command, click.Group)}
    assert sorted(f"{name} {sub}" for name, group in groups.items() for sub in group.commands) == sorted(SUBCOMMANDS)
    for name in SUBCOMMANDS:
        group, command = name.split()
        assert f"\n  {command} " in run(group, "--help").stdout


@pytest.mark.parametrize("name", [*COMMANDS, *SUBCOMMANDS])
def test_help_of_a_command(name: str) -> None:
    words = name.split()
    out = run(*words, "--help").stdout
    command: click.Command = main
    for word in words:
        assert isinstance(command, click.Group)
        command = command.commands[word]
    assert out.startswith(f"Usage: main {name} ")
    assert command.help is not None
    assert command.help.split()[0] in out
    for option in command.params:
        assert option.opts[-1].upper() in out or option.opts[-1] in out
        # Each option says what it is for; the command's own help does so for its arguments.
        assert option.help if isinstance(option, click.Option) else option.name.upper() in out
    assert run(*words, "-h").stdout == out


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"], ["check", "--nonsense"], ["explain"], ["serve", "--port", "0"], ["serve", "--port", "65536"],
        ["serve", "--workers", "0"], ["logs", "-n", "0"], ["logs", "-n", "10001"], ["doctor", "--port", "x"],
        ["version", "extra"], ["demo", "--port", "-1"], ["logs", "nonsense"], ["logs", "export"], ["logs", "purge"],
        ["logs", "export", "--since", "yesterday"],
        [*EXPORT, "--format", "parquet"], [*EXPORT, "--format", "csv"], [*EXPORT, "--until", "2d"],
        ["logs", "--tail", "export", "--since", "1d"], ["logs", "-n", "3", "purge", "--user", "u", "--yes"],
        ["logs", "purge", "--yes"], ["logs", "purge", "--user", "u"], ["logs", "purge", "--user", "", "--yes"],
        ["logs", "purge", "--before", "then", "--yes"], ["logs", "--json", "purge", "--user", "u", "--yes"],
        ["train", "--days", "nan"], ["replay", "--days", "nan"], ["evaluate", "--log", "--days", "inf"],
        ["calibrate", "--share", "simple=5", "--days", "nan"], ["calibrate", "--quality", "nan"],
        ["train", "--jsonl", __file__, "--weak", "w", "--strong", "w"],
        ["evaluate", __file__, "--weak", "w", "--strong", "s", "--plot", "curves.xyz"],
        ["evaluate", __file__, "--weak", "w", "--strong", "s", "--plot", "nowhere/curves.png"],
    ],
)  # fmt: skip
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    result = run(*arguments, code=2)
    assert result.stderr.startswith("Usage: main")
    assert "Error:" in result.stderr
    assert result.stdout == ""


def test_no_command_shows_the_help() -> None:
    assert run(code=2).output.startswith("Usage: main")


def test_version() -> None:
    core = "native" if NATIVE else "pure Python"
    assert run("version").stdout == f"bsgateway {__version__} ({core} core), litellm {installed('litellm')}\n"


def test_the_file_of_variables_is_read(config_file: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(config_file({"litellm_settings": {"cache_params": {"host": "os.environ/FROM_FILE"}}}))
    monkeypatch.delenv("FROM_FILE", raising=False)
    assert "environment variable FROM_FILE is not set" in run("check", path, code=1).stdout
    Path(".env").write_text("FROM_FILE=x\nHOME=/changed\n")
    run("check", path)
    assert os.environ["FROM_FILE"] == "x"
    assert os.environ["HOME"] != "/changed"  # what the environment already says wins


# check


def test_check_of_a_good_file() -> None:
    result = run("check", REFERENCE)
    assert result.stdout == f"{REFERENCE}: no mistakes: 3 models, 3 tiers\n"
    assert result.stderr == ""
    assert json.loads(run("check", REFERENCE, "--json").stdout) == {"file": REFERENCE, "problems": []}


def test_check_of_a_file_with_warnings(config_file: Callable[..., Path]) -> None:
    path = config_file(mode="shadow", auto_route_patterns=["claude-*"], unknown_models="leave")
    line = path.read_text().splitlines().index("  mode: shadow") + 1
    result = run("check", str(path))
    *warnings, last = result.stdout.splitlines()
    assert (result.stderr, last) == ("", f"{path}: {len(warnings)} warning(s), no mistakes: 4 models, 3 tiers")
    assert warnings[-1] == (
        f"{path}:{line}: warning: routing.mode: requests that are not rewritten go to 'middle' where only a pattern "
        "knows their name: claude-*; add a model_list entry that serves it, such as `model_name: 'claude-*'`, or "
        "remove the pattern"
    )
    problems = json.loads(run("check", str(path), "--json").stdout)["problems"]
    assert {problem["severity"] for problem in problems} == {"warning"}
    assert len(problems) == len(warnings)
    # What is printed is YAML and nothing else: the warnings stand beside it.
    printed = run("check", str(path), "--print")
    assert printed.stderr.splitlines() == warnings
    assert yaml.safe_load(printed.stdout)["routing"]["mode"] == "shadow"


def test_check_of_a_file_with_a_mistake_that_litellm_knows_of(config_file: Callable[..., Path]) -> None:
    path = config_file({"model_list": [{"model_name": "small", "litellm_params": {"model": "nobody-knows-it"}}]})
    path.write_text(path.read_text().replace("middle", "small").replace("large", "small"))
    result = run("check", str(path), code=1)
    assert result.stdout.splitlines()[0] == (
        f"{path}:4: model_list[0].litellm_params.model: LiteLLM knows no provider for 'nobody-knows-it'; write it as "
        "provider/model, for example openai/gpt-5-mini"
    )
    assert result.stderr.endswith("1 mistake(s)\n")


def test_check_of_a_bad_file(config_file: Callable[..., Path]) -> None:
    path = config_file(fallback_tier="nowhere", aliases={"a": "lagre"})
    lines = path.read_text().splitlines()
    fallback = lines.index("  fallback_tier: nowhere") + 1
    alias = lines.index("    a: lagre") + 1
    result = run("check", str(path), code=1)
    assert result.stdout.splitlines() == [
        f"{path}:{fallback}: routing.fallback_tier: 'nowhere' is not a tier; known: simple, medium, complex",
        f"{path}:{alias}: routing.aliases.a: 'lagre' is neither in model_list nor an alias nor auto_route; "
        "did you mean 'large'?",
    ]
    assert result.stderr == "2 mistake(s)\n"
    machine = run("check", str(path), "--json", code=1)
    assert machine.stderr == ""
    assert json.loads(machine.stdout) == {
        "file": str(path),
        "problems": [
            {
                "line": fallback,
                "path": "routing.fallback_tier",
                "message": "'nowhere' is not a tier",
                "hint": "known: simple, medium, complex",
                "severity": "error",
            },
            {
                "line": alias,
                "path": "routing.aliases.a",
                "message": "'lagre' is neither in model_list nor an alias nor auto_route",
                "hint": "did you mean 'large'?",
                "severity": "error",
            },
        ],
    }


def test_check_takes_gateway_yaml_of_this_directory() -> None:
    assert run("check", code=1).stdout.startswith("gateway.yaml: cannot be read: No such file or directory")
    Path("gateway.yaml").write_text(Path(REFERENCE).read_text())
    assert run("check").stdout == "gateway.yaml: no mistakes: 3 models, 3 tiers\n"


def test_check_shows_what_litellm_gets(config: str, make_config: Callable[..., Any]) -> None:
    assert yaml.safe_load(run("check", config, "--print").stdout) == effective_config(make_config())


def test_check_shows_the_schema() -> None:
    out = run("check", "--schema").stdout
    assert out == json.dumps(json_schema(), indent=2) + "\n"


def test_check_prints_a_name_that_is_no_text() -> None:
    Path("gateway.yaml").write_text('"a\\ud800\\e[31m": 1\n? "b\\nc"\n: 2\nrouting: {"\\ud800": 1}\nmodel_list: []\n')
    out = run("check", code=1).stdout
    assert "routing.\\ud800: unknown key" in out
    assert "\x1b" not in out
    assert json.loads(run("check", "--json", code=1).stdout)["problems"]


# explain


def test_explain_for_machines(config: str) -> None:
    result = run("explain", HARD, "-c", config, "--json")
    decision = msgspec.json.decode(result.stdout, type=Decision)
    assert (decision.resolved_model, decision.tier, decision.complexity_score) == ("large", "complex", 68)
    assert (decision.original_model, decision.reason) == ("auto", Reason.SCORE)
    assert result.stdout.count("\n") == 1


def test_explain_for_people(config: str) -> None:
    out = run("explain", HARD, "-c", config).stdout
    for words in (
        "asked for",
        "auto",
        "goes to",
        "large",
        "keyword_patterns",
        "floor:keywords",
        "score (0-100, rounded)",
    ):
        assert words in out


def test_explain_of_a_file_a_pipe_and_a_name(config: str, tmp_path: Path) -> None:
    def explained(*arguments: str, stdin: str | None = None) -> Decision:
        out = run("explain", *arguments, "-c", config, "--json", stdin=stdin).stdout
        return msgspec.json.decode(out, type=Decision)

    body = {"contents": [{"parts": [{"text": HARD}]}]}
    (tmp_path / "body.json").write_text(json.dumps(body))
    decision = explained(str(tmp_path / "body.json"))
    assert (decision.call_type, decision.tier) == ("agenerate_content", "complex")
    assert explained("-", stdin=HARD).tier == "complex"
    assert explained("-", stdin=json.dumps({"model": "frontier"})).reason is Reason.ALIAS_MODEL
    assert explained("hi", "--model", "cheap").bias == -100
    assert explained("hi", "--model", "vendor/x").reason is Reason.WILDCARD
    assert explained("hi", "--call-type", "anthropic_messages").call_type == "anthropic_messages"


def test_explain_scores_with_the_model_in_the_state_directory(config_file: Callable[..., Path], tmp_path: Path) -> None:
    given = str(config_file(classifier={"strategy": "ml"}))
    data = model(bias=4.0).to_bytes()
    install(data, tmp_path / "model.safetensors")
    explained = run("explain", HARD, "-c", given, "--state", str(tmp_path), "--json").stdout
    decision = msgspec.json.decode(explained, type=Decision)
    assert decision.scorer_id == core.LearnedModel(data).id
    assert f"ml, model {decision.scorer_id}" in run("explain", HARD, "-c", given, "--state", str(tmp_path)).stdout


def test_explain_of_what_cannot_be_decided(config: str) -> None:
    for arguments, words in (
        (("hi", "--call-type", "aembedding"), "call type 'aembedding' is not routed; known: acompletion"),
        (('{"model": 5}',), "the body has no `model`"),
        (("hi", "--model", ""), "the body has no `model`"),
    ):
        result = run("explain", *arguments, "-c", config, code=2)
        assert words in result.stderr
        assert result.stdout == ""


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_explain_of_hostile_names(config: str, arguments: list[str]) -> None:
    for name in ("\\ud800", "[/]", "\\u001b[31m", "a\\r\\nb"):
        out = run("explain", f'{{"model": "{name}"}}', "-c", config, *arguments).stdout
        assert "\x1b" not in out
        assert "\r" not in out


@pytest.mark.parametrize("command", [["explain", "hi"], ["logs"], EXPORT, PURGE, ["migrate"], ["serve"], ["demo"]])
def test_a_configuration_with_mistakes_is_one_error(command: list[str], config_file: Callable[..., Path]) -> None:
    with _signals_kept():
        path = config_file(fallback_tier="nowhere")
        result = run(*command, "-c", str(path), code=1)
        assert f"error: {path} has 1 mistake(s):" in result.stderr
        assert "routing.fallback_tier: 'nowhere' is not a tier" in result.stderr
        assert "Traceback" not in result.output
        assert "gone.yaml: cannot be read" in run(*command, "-c", "gone.yaml", code=1).stderr


def test_the_configuration_may_come_from_the_environment(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BSGATEWAY_CONFIG", config)
    assert msgspec.json.decode(run("explain", "hi", "--json").stdout, type=Decision).tier == "simple"
    assert json.loads(run("check", "--json").stdout)["file"] == config


# Commands of the database


@pytest.mark.parametrize(
    "command", [["logs"], ["logs", "--json"], EXPORT, PURGE, ["migrate"], ["migrate", "--dry-run"]]
)
def test_without_a_database(config: str, command: list[str]) -> None:
    result = run(*command, "-c", config, "--state", "state", code=1)
    assert result.stderr == (
        "error: no database: set COLLECTOR_DATABASE_URL, or start the gateway once (no state/postgres)\n"
    )
    assert not Path("state").exists()


@pytest.mark.parametrize("command", [["logs"], EXPORT, PURGE, ["migrate"]])
def test_a_database_that_cannot_be_reached(
    config: str, command: list[str], monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    url = f"postgresql://user:{PASSWORD}@127.0.0.1:{closed_port}/log"
    monkeypatch.setenv("COLLECTOR_DATABASE_URL", url)
    result = run(*command, "-c", config, code=1)
    assert result.stderr.startswith("error: ")
    assert f"127.0.0.1:{closed_port}/log" in result.stderr
    assert PASSWORD not in result.output
    assert result.stdout == ""


def test_options_may_stand_before_the_subcommand(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BSGATEWAY_CONFIG", "gone.yaml")
    for before, after, state in (
        (["-c", config, "--state", "one"], [], "one"),
        ([], ["-c", config, "--state", "two"], "two"),
        (["-c", "gone.yaml", "--state", "one"], ["-c", config, "--state", "two"], "two"),
        (["-c", config], ["--state", "two"], "two"),
    ):
        for _, *rest in (EXPORT, PURGE):
            result = run("logs", *before, *rest, *after, code=1)
            assert f"no database: set COLLECTOR_DATABASE_URL, or start the gateway once (no {state}/postgres)" in (
                result.stderr
            )


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


# doctor


def examined(*arguments: str, code: int = 0) -> dict[str, Finding]:
    result = run("doctor", "--json", *arguments, code=code)
    return {finding.name: finding for finding in msgspec.json.decode(result.stdout, type=list[Finding])}


def test_doctor_finds_nothing_broken(config: str, closed_port: int) -> None:
    found = examined("-c", config, "--port", str(closed_port))
    assert {name: finding.status for name, finding in found.items()} == {
        "bsgateway": "ok",
        "litellm": "ok",
        "core": "ok" if NATIVE else "warning",
        "configuration": "warning",
        "model small": "ok",
        "model middle": "ok",
        "model large": "ok",
        "model vendor/*": "ok",
        f"port {closed_port}": "ok",
        "database": "warning",
    }
    assert found["configuration"].found == f"{config}: 3 tiers, 3 warning(s)"
    assert found["configuration"].advice == f"run `bsgateway check {config}`"
    assert examined("-c", REFERENCE)["configuration"].status == "ok"
    assert found["database"].advice == "no decision is logged"
    out = run("doctor", "-c", config, "--port", str(closed_port)).stdout
    assert [line.split()[0] for line in out.splitlines()][:3] == ["check", "bsgateway", "litellm"]


def test_doctor_of_a_broken_configuration() -> None:
    found = examined("-c", "gone.yaml", code=1)
    assert found["configuration"] == Finding(
        "configuration", "broken", "gone.yaml: 1 mistake(s)", "run `bsgateway check gone.yaml`"
    )
    assert "broken" in run("doctor", "-c", "gone.yaml", code=1).stdout


def test_doctor_of_a_port_that_is_taken(config: str, taken_port: int) -> None:
    found = examined("-c", config, "--port", str(taken_port))[f"port {taken_port}"]
    assert (found.status, found.found) == ("warning", "something listens there already")


def test_doctor_names_keys_and_never_shows_them(
    config_file: Callable[..., Path], closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    models = [
        {"model_name": name, "litellm_params": {"model": "openai/x", "api_key": f"os.environ/{variable}"}}
        for name, variable in (("small", "SET_KEY"), ("middle", "UNSET_KEY"), ("large", "SET_KEY"))
    ]
    monkeypatch.setenv("SET_KEY", "sk-secret-value")
    monkeypatch.delenv("UNSET_KEY", raising=False)
    arguments = ("-c", str(config_file({"model_list": models})), "--port", str(closed_port))
    found = examined(*arguments)
    assert found["model small"] == Finding("model small", "ok", "reachable as configured")
    assert found["model middle"] == Finding(
        "model middle", "warning", "stand-in: UNSET_KEY is not set", "set UNSET_KEY"
    )
    assert "sk-secret-value" not in run("doctor", *arguments).output


def test_doctor_of_a_provider_that_litellm_does_not_know(config_file: Callable[..., Path], closed_port: int) -> None:
    models = [{"model_name": name, "litellm_params": {"model": "no-such/x"}} for name in ("small", "middle", "large")]
    found = examined("-c", str(config_file({"model_list": models})), "--port", str(closed_port), code=1)
    assert found["models"].status == "broken"
    assert "LiteLLM knows no provider for 'no-such/x'" in found["models"].found
    assert found["database"].status == "warning"  # the rest is examined all the same


def test_doctor_of_a_database_that_cannot_be_reached(
    config_file: Callable[..., Path], closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"postgresql://user:{PASSWORD}@127.0.0.1:{closed_port}/log"
    monkeypatch.setenv("COLLECTOR_DATABASE_URL", url)
    path = str(config_file(collector={"enabled": True}))
    found = examined("-c", path, "--port", str(closed_port), code=1)["database"]
    assert (found.status, found.advice) == ("broken", "check COLLECTOR_DATABASE_URL")
    assert PASSWORD not in run("doctor", "-c", path, "--port", str(closed_port), code=1).output


class Backlogs:
    """A spool directory as gateways leave it, and what doctor says of it."""

    def __init__(self, directory: Path, arguments: tuple[str, ...]) -> None:
        self.directory = directory
        self._arguments = arguments

    def left(self, rows: int, age: float = 0.0) -> Spool:
        """A slot with a chunk of so many rows, as old as that, held by this process."""
        spool = Spool.claim(self.directory)
        spool.append(rows, b"x" * rows * 1_000, 10**9, 10**9)
        spool._connection.execute("UPDATE chunks SET created_at = created_at - ?", (age,))
        return spool

    def examined(self) -> dict[str, Finding]:
        return examined(*self._arguments, code=1)  # 1: there is no database here

    def listed(self) -> list[Finding]:
        """All findings, those of one name too."""
        return msgspec.json.decode(run("doctor", "--json", *self._arguments, code=1).stdout, type=list[Finding])


@pytest.fixture
def backlogs(config_file: Callable[..., Path], closed_port: int, tmp_path: Path) -> Backlogs:
    url = f"postgresql://nobody@127.0.0.1:{closed_port}/log"
    path = str(config_file(collector={"enabled": True, "database_url": url}))
    return Backlogs(tmp_path / "state" / "spool", ("-c", path, "--state", str(tmp_path / "state"), "--port", "1"))


def test_doctor_of_a_spool(backlogs: Backlogs) -> None:
    assert backlogs.examined()["spool"].found == f"{backlogs.directory}: none yet: the gateway makes it"
    backlogs.left(rows=0).close()
    assert backlogs.examined()["spool"].found == f"{backlogs.directory}: empty"
    spool = backlogs.left(rows=120)
    found = backlogs.examined()["spool"]
    assert (found.status, found.found) == ("ok", f"{backlogs.directory}: 120 rows wait, 0.1 MB, the oldest for 0 s")
    old = backlogs.left(rows=5, age=300)
    found = backlogs.examined()["spool"]
    assert (found.status, found.advice) == ("warning", "see the check of the database, and the gateway's messages")
    assert found.found == f"{backlogs.directory}: 125 rows wait, 0.1 MB, the oldest for 300 s"
    old.close()
    found = backlogs.examined()["spool"]
    assert (found.status, found.advice) == ("warning", "start the gateway")
    assert found.found.endswith("; 5 of them of processes that ended")
    spool.close()


def test_doctor_tells_what_running_gateways_say(backlogs: Backlogs) -> None:
    metrics = Metrics(
        queued=0, spooled_rows=0, spooled_bytes=0, oldest_seconds=None, written=70, replayed=0, dead_lettered=0,
        dropped={}, batches=1, retries=0, flush_seconds=0.1, last_flush_seconds=0.1, last_flush_at=None,
        circuit="closed", last_error=None, spool_error=None,
    )  # fmt: skip
    one, two = backlogs.left(rows=1), backlogs.left(rows=1)
    assert "log" not in backlogs.examined()
    one.say(msgspec.json.encode(metrics))
    two.say(msgspec.json.encode(metrics))
    found = backlogs.examined()["log"]
    assert (found.status, found.found) == ("ok", "140 rows written since the start of 2 process(es)")
    flushed = datetime(2026, 3, 1, 12, 30, 5, tzinfo=timezone.utc)
    busy = msgspec.structs.replace(metrics, replayed=5, retries=3, last_flush_at=flushed, last_flush_seconds=0.012)
    one.say(msgspec.json.encode(busy))
    found = backlogs.examined()["log"]
    assert found.found.endswith(
        ", 5 of them read back from the disk, 3 tries failed, the last write at 12:30:05 UTC in 12 ms"
    )
    one.say(msgspec.json.encode(metrics))
    bad = {"dead_lettered": 2, "dropped": {"spool_full": 3}, "circuit": "open", "last_error": "DiskFullError (53100)"}
    two.say(msgspec.json.encode(msgspec.structs.replace(metrics, **bad)))
    found = backlogs.examined()["log"]
    assert (found.status, found.advice) == ("warning", "docs/reference.md#causes-of-lost-rows explains them")
    for words in ("2 in routing_dead_letters", "waited for (DiskFullError (53100))", "lost: spool_full 3"):
        assert words in found.found
    two.say(msgspec.json.encode(msgspec.structs.replace(metrics, circuit="open", last_error="OSError")))
    found = backlogs.examined()["log"]
    assert (found.status, found.advice) == ("warning", "see the check of the database, and the gateway's messages")
    two.say(msgspec.json.encode(msgspec.structs.replace(metrics, spool_error="disk full")))
    found = backlogs.examined()["spool"]
    assert (found.status, found.found) == ("warning", "rows wait in memory: disk full")
    for other in (b'{"written": "many"}', b"\xff"):
        two.say(other)
        _, *said = [finding for finding in backlogs.listed() if finding.name == "log"]
        found = next(finding for finding in backlogs.listed() if finding.name == "log")
        assert (found.status, [finding.status for finding in said]) == ("warning", ["ok"])
        assert found.found == "what 1 process(es) say of their logs cannot be read: they are of another version"
    one.close()
    two.close()
    assert "log" not in backlogs.examined(), "what a process said that has ended is past"


def test_doctor_of_a_spool_that_cannot_be_read(backlogs: Backlogs) -> None:
    backlogs.left(rows=1).close()
    (backlogs.directory / "spool-0.sqlite").write_bytes(b"no database" * 1_000)
    _, broken = [finding for finding in backlogs.listed() if finding.name == "spool"]
    assert (broken.status, broken.advice) == (
        "broken",
        "keep the file; start the gateway: it sets a damaged file aside",
    )


def test_doctor_of_a_spool_whose_place_a_file_has(backlogs: Backlogs) -> None:
    backlogs.directory.parent.mkdir()
    backlogs.directory.write_text("a file")
    found = backlogs.examined()["spool"]
    assert (found.status, found.advice) == ("broken", f"it must be a writable local directory; {AS_USER}")
    assert found.found == f"{backlogs.directory}: not a directory"


@contextlib.contextmanager
def refused(path: Path) -> Iterator[None]:
    """As a user who may not read or write `path`, which belongs to another."""
    mode, user = path.stat().st_mode, os.geteuid()
    path.chmod(0)
    try:
        os.seteuid(65534 if user == 0 else user)
        yield
    finally:
        os.seteuid(user)
        path.chmod(mode)


def test_doctor_of_a_spool_of_another_user(make_config: Callable[..., Config]) -> None:
    config = make_config(collector={"enabled": True})
    with tempfile.TemporaryDirectory() as name:  # where others can come to
        state = Path(name)
        spool = Spool.claim(state / "spool")
        spool.append(1, b"row", 100, 1_000_000)
        spool.close()
        for directory in (state, state / "spool"):
            directory.chmod(0o777)
        assert [finding.status for finding in _spool(config, state)] == ["warning"]
        with refused(state / "spool" / "spool-0.sqlite"):
            _, broken = _spool(config, state)
        assert (broken.status, broken.advice) == ("broken", AS_USER)
        for directory in (state / "spool", state):
            with refused(directory):
                (broken,) = _spool(config, state)
            assert (broken.status, broken.advice) == ("broken", f"it must be a writable local directory; {AS_USER}")


def test_doctor_of_an_embedded_database_that_died(config_file: Callable[..., Path], tmp_path: Path) -> None:
    arguments = ("-c", str(config_file(collector={"enabled": True})), "--state", str(tmp_path), "--port", "1")
    assert examined(*arguments)["database"].status == "ok"
    spool = Spool.claim(tmp_path / "spool")
    found = examined(*arguments, code=1)["database"]
    assert (found.status, found.advice) == ("broken", "restart the gateway: its rows wait in the spool")
    spool.close()
    assert examined(*arguments)["database"].status == "ok"


def test_doctor_of_a_log_without_a_spool(config_file: Callable[..., Path], closed_port: int) -> None:
    url = f"postgresql://nobody@127.0.0.1:{closed_port}/log"
    path = str(config_file(collector={"enabled": True, "database_url": url, "spool": {"enabled": False}}))
    found = examined("-c", path, "--port", str(closed_port), code=1)["spool"]
    assert (found.status, found.advice) == ("warning", "a process that dies loses its rows")


# serve: only as far as its refusals


class _signals_kept:
    """`serve` takes SIGINT and SIGTERM for itself: give them back to the test runner."""

    def __enter__(self) -> None:
        self._before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def test_serve_refuses_a_port_that_is_taken_before_it_starts_anything(config: str, taken_port: int) -> None:
    with _signals_kept():
        result = run("serve", "-c", config, "--state", "state", "--port", str(taken_port), code=1)
    assert f"error: cannot listen on 127.0.0.1:{taken_port}: Address already in use; choose another with --port" in (
        result.stderr
    )
    assert not Path("state").exists()


def test_strict_serve_refuses_to_stand_in(
    config_file: Callable[..., Path], closed_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("UNSET_KEY", raising=False)
    models = [
        {"model_name": name, "litellm_params": {"model": "openai/x", "api_key": "os.environ/UNSET_KEY"}}
        for name in ("small", "middle", "large")
    ]
    path = str(config_file({"model_list": models}))
    with _signals_kept():
        result = run("serve", "-c", path, "--state", "state", "--port", str(closed_port), "--strict", code=1)
    assert "error: not everything can be reached:\nsmall: UNSET_KEY is not set\n" in result.stderr
