"""The command `bsgateway`. Exit codes: 0 done, 1 the answer is no (mistakes found, a check failed), 2 wrong usage."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any, Literal

import click
import msgspec

from .calibrate_cli import calibrate
from .cli_options import DEFAULT_CONFIG, config_option, database, json_option, state_option
from .errors import GatewayError
from .learn_cli import evaluate, train
from .logs_cli import logs
from .models_cli import models
from .replay_cli import replay
from .report_cli import report


class _Group(click.Group):
    """Turns an expected error into one line on stderr and exit code 1: a traceback is for bugs."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except GatewayError as error:
            click.echo(f"error: {error}", err=True)
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Send each LLM request to the cheapest model that can do the job."""
    from dotenv import load_dotenv

    load_dotenv(Path.cwd() / ".env")  # what the environment already says wins
    # LiteLLM's own data from its package: fetching it would make every offline start wait for a time-out.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")


@main.command()
@config_option
@state_option
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=4000, show_default=True, help="Port to listen on.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Worker processes.")
@click.option("--strict", is_flag=True, help="Refuse to start when a key or a local model is missing.")
@click.option(
    "--shutdown-delay",
    type=click.FloatRange(0, 600),
    default=0,
    show_default=True,
    envvar="BSGATEWAY_SHUTDOWN_DELAY",
    help="Seconds after SIGTERM for which requests are still taken, while /bsgateway/ready says `draining`.",
)
def serve(config: Path, state: Path, host: str, port: int, workers: int, strict: bool, shutdown_delay: float) -> None:
    """Run the proxy: database, local model and stand-ins included, as far as they are needed."""
    from .server import Options, serve

    click.echo("starting: the first answer takes some ten seconds", err=True)
    serve(Options(config, state, host, port, workers, strict, shutdown_delay), _say)


def _say(line: str) -> None:
    click.echo(line)
    sys.stdout.flush()


@main.command()
@config_option
@state_option
@click.option("--port", type=click.IntRange(1, 65535), help="Port for the time of the demo.  [default: a free one]")
@json_option
def demo(config: Path, state: Path, port: int | None, as_json: bool) -> None:
    """Start the gateway, send it 20 varied requests, show what became of them and what was saved, stop it."""
    from .demo import run

    if not run(config, state, port, as_json):
        sys.exit(1)


@main.command()
@click.argument("file", type=click.Path(path_type=Path), default=DEFAULT_CONFIG, envvar="BSGATEWAY_CONFIG")
@click.option("--print", "show", is_flag=True, help="Show the complete configuration that LiteLLM gets.")
@click.option("--schema", is_flag=True, help="Show the JSON Schema of gateway.yaml, for editors, and stop.")
@json_option
def check(file: Path, show: bool, schema: bool, as_json: bool) -> None:
    """Report every mistake in a gateway.yaml, with path, line and a hint. Exit code 1 if there is one.

    Warnings are of what is no mistake but probably not meant.
    """
    from .check import check_file
    from .config import json_schema

    if schema:
        click.echo(json.dumps(json_schema(), indent=2))
        return
    config, problems = check_file(file, advised=True)
    if as_json:
        click.echo(msgspec.json.encode({"file": str(file), "problems": problems}).decode())
    else:
        for problem in problems:
            click.echo(problem.render(str(file)), err=show and config is not None)  # beside the YAML that follows
    if config is None:
        if not as_json:
            mistakes = sum(problem.severity == "error" for problem in problems)
            click.echo(f"{mistakes} mistake(s)", err=True)
        sys.exit(1)
    if show:
        import yaml

        from .effective import effective_config

        click.echo(yaml.safe_dump(effective_config(config), sort_keys=False, allow_unicode=True), nl=False)
    elif not as_json:
        found = f"{len(problems)} warning(s), no mistakes" if problems else "no mistakes"
        click.echo(f"{file}: {found}: {len(config.model_names)} models, {len(config.routing.tiers)} tiers")


@main.command()
@click.argument("source")
@config_option
@state_option
@click.option("--model", default="auto", show_default=True, help="The name the client asks for, if the body has none.")
@click.option("--call-type", help="LiteLLM's call type, such as acompletion.  [default: guessed from the body]")
@click.option(
    "--strategy",
    type=click.Choice(["static", "ml", "llm"]),
    help="What makes the score; llm asks the local LLM.  [default: that of the config]",
)
@json_option
def explain(
    source: str,
    config: Path,
    state: Path,
    model: str,
    call_type: str | None,
    strategy: Literal["static", "ml", "llm"] | None,
    as_json: bool,
) -> None:
    """Show the decision for SOURCE and what each signal adds to it. SOURCE: a text, a request body file, or - ."""
    from .check import load_config
    from .explain import decide, print_decision, read_request, with_strategy
    from .gateway import Gateway
    from .trials import remedy_of

    body, guessed = read_request(source, model)
    checked = load_config(config)
    if strategy is not None:
        checked = with_strategy(checked, strategy)
    gateway = Gateway(checked, state)
    try:
        decision = decide(gateway, body, call_type or guessed, lambda line: click.echo(line, err=True))
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(msgspec.json.encode(decision).decode())
    else:
        print_decision(decision, remedy_of(decision, gateway))


main.add_command(replay)
main.add_command(calibrate)
main.add_command(logs)
main.add_command(report)
main.add_command(train)
main.add_command(evaluate)
main.add_command(models)


@main.command()
@config_option
@state_option
@click.option("--dry-run", is_flag=True, help="Show what would be applied, change nothing.")
@json_option
def migrate(config: Path, state: Path, dry_run: bool, as_json: bool) -> None:
    """Bring the database to this version's schema. `serve` does so by itself."""
    from .check import load_config
    from .store import Store

    partition = load_config(config).routing.collector.partition

    async def run(url: str) -> None:
        async with await Store.connect(url) as store:
            migrations = await (store.pending() if dry_run else store.migrate(partition))
        word = "pending" if dry_run else "applied"
        if as_json:
            found = [{"version": each.version, "name": each.name, "sha256": each.sha256} for each in migrations]
            click.echo(json.dumps({word: found}))
            return
        for migration in migrations:
            click.echo(f"{word}: {migration.version:04d}_{migration.name}")
        click.echo(f"{len(migrations)} {word}" if migrations else "up to date")

    with database(config, state) as url:
        asyncio.run(run(url))


@main.command()
@config_option
@state_option
@click.option("--port", type=click.IntRange(1, 65535), default=4000, show_default=True, help="Port `serve` would use.")
@json_option
def doctor(config: Path, state: Path, port: int, as_json: bool) -> None:
    """Check versions, configuration, keys, port, database, Ollama and the core. Exit code 1 if something is broken."""
    from .doctor import examine, print_findings

    findings = examine(config, state, port)
    if as_json:
        click.echo(msgspec.json.encode(findings).decode())
    else:
        print_findings(findings)
    if any(finding.status == "broken" for finding in findings):
        sys.exit(1)


@main.command()
def version() -> None:
    """Show the versions of BSGateway, its core and LiteLLM."""
    from importlib.metadata import version as installed

    from ._version import __version__
    from .core import NATIVE

    click.echo(
        f"bsgateway {__version__} ({'native' if NATIVE else 'pure Python'} core), litellm {installed('litellm')}"
    )
