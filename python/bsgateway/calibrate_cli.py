"""The command `bsgateway calibrate`."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from .cli_options import Number, config_option, database, days_option, json_option, state_option
from .errors import ConfigError


def _shares(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> dict[str, float]:
    """Tier -> per cent, from words such as simple=60."""
    shares: dict[str, float] = {}
    for value in values:
        tier, _, share = value.rpartition("=")
        try:
            percent = float(share.strip().removesuffix("%"))
        except ValueError:
            percent = -1.0
        if not tier or not 0 <= percent <= 100:
            raise click.BadParameter(f"{value!r} is not a tier and a share of 100, such as simple=60", ctx, param)
        if tier in shares:
            raise click.BadParameter(f"names {tier!r} twice", ctx, param)
        shares[tier] = percent
    return shares


@click.command()
@config_option
@state_option
@days_option("Look at the log of so many days, up to now.")
@click.option(
    "--file",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Look at this file instead, which `bsgateway logs export` wrote as JSON lines; with --texts, where rows must "
    "be scored anew.",
)
@click.option(
    "--share",
    "shares",
    callback=_shares,
    multiple=True,
    metavar="TIER=PERCENT",
    help="Per cent of requests that a tier shall have; may be given for each tier. The rest goes to the others.",
)
@click.option(
    "--monthly-usd",
    type=Number(0, min_open=True),
    help="What the requests that are routed by score may cost a month, in US dollars.",
)
@click.option(
    "--quality",
    type=Number(0, 1, min_open=True),
    help="Share of the top tier's quality to keep, such as 0.95. Needs labels: dual runs or ratings.",
)
@click.option("--write", is_flag=True, help="Write the new score ranges into --config; nothing else of it changes.")
@json_option
@click.pass_context
def calibrate(
    ctx: click.Context,
    /,
    config: Path,
    state: Path,
    days: float,
    file: Path | None,
    shares: dict[str, float],
    monthly_usd: float | None,
    quality: float | None,
    write: bool,
    as_json: bool,
) -> None:
    """Set the borders between tiers from the log: for a share of requests, a monthly cost or a quality.

    Shows what each tier has, costs and is worth, now and as proposed, and the lines for gateway.yaml.
    """
    if sum((bool(shares), monthly_usd is not None, quality is not None)) != 1:
        raise click.UsageError("give one goal: --share (for one or more tiers), --monthly-usd or --quality", ctx)

    from .learn_cli import needs_the_extra

    needs_the_extra()
    from .learn.calibrate import Goal
    from .learn.calibrate_report import print_result
    from .learn.calibrate_run import Order, run
    from .progress import row_progress

    goal = Goal(shares or None, monthly_usd, quality)
    with row_progress() as advance:
        result = run(Order(config, state, goal, days, file, write), lambda: database(config, state), advance)
    if as_json:
        click.echo(msgspec.json.encode(result).decode())
    else:
        print_result(result)
    if result.refused is not None:
        raise ConfigError(f"{result.refused}; nothing was written: put the lines above into it by hand")
