"""What a local model that dies costs the requests that are meant for it: `make bench-alive`.

A real gateway, started by `bsgateway serve`, whose lowest tier is an Ollama server that dies in four ways and comes
back. Printed for each: the request right after its death, those while it is left alone, and how long until it is used
again. The ordinary answers beside them are those of the next tier, from the same process in the same run.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

import click
from benches.machine import about

from e2e.clients import PROMPTS, send
from e2e.gateways import Gateway, start_serve
from e2e.test_alive import LOCAL_TIMEOUT, Ollama, alive_config
from e2e.upstream import Upstream

RESULTS = Path(__file__).parent / "results" / "dead_model.md"
DEATHS = {
    "closed": "closed port",
    "reset": "connections reset",
    "mute": "accepts, never answers",
    "full": "swallows connections",
}
WAIT = 30.0


async def timed(gateway: Gateway, model: str) -> tuple[float, str, str]:
    """Milliseconds until an answer is whole, the model that gave it, and the reason."""
    began = time.perf_counter()
    reply = await send(gateway, "chat", model, PROMPTS["simple"])
    return (time.perf_counter() - began) * 1000, reply.routing["model"], reply.routing["reason"]


async def until_local(gateway: Gateway, serves: bool) -> float:
    """Seconds until the local model serves, or is left alone."""
    began = time.monotonic()
    while ((await timed(gateway, "auto-cheapest"))[1] == "local") != serves:
        if time.monotonic() - began > WAIT:
            raise SystemExit("the local model did not change its state")
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def measure(gateway: Gateway, ollama: Ollama, rounds: int) -> list[dict[str, float | str]]:
    """A row for each way to die; medians of `rounds` deaths."""
    await until_local(gateway, True)
    rows: list[dict[str, float | str]] = []
    for how, name in DEATHS.items():
        firsts, nexts, backs = [], [], []
        for _ in range(rounds):
            ordinary = statistics.median([(await timed(gateway, "small"))[0] for _ in range(5)])
            ollama.die(how)
            firsts.append((await timed(gateway, "auto-cheapest"))[0] - ordinary)
            await until_cooling(gateway)
            for _ in range(5):
                took, model, reason = await timed(gateway, "auto-cheapest")
                assert (model, reason) == ("small", "cooling_down")
                nexts.append(took - ordinary)
            ollama.live()
            backs.append(await until_local(gateway, True))
        rows.append({"death": name, "first": max(firsts), "median": statistics.median(firsts),
                     "next": statistics.median(nexts), "back": statistics.median(backs)})  # fmt: skip
    return rows


async def until_cooling(gateway: Gateway) -> None:
    """Until requests are not sent to the local model any more."""
    until = time.monotonic() + WAIT
    while (await timed(gateway, "auto-cheapest"))[2] != "cooling_down":
        if time.monotonic() > until:
            raise SystemExit("the local model is not left alone")


@click.command()
@click.option("--rounds", type=click.IntRange(1, 50), default=5, show_default=True, help="Deaths of each kind.")
@click.option("--write", is_flag=True, help="Write benches/results/dead_model.md.")
def main(rounds: int, write: bool) -> None:
    """Measure what a local model that dies costs."""
    with tempfile.TemporaryDirectory() as directory, Upstream().running() as upstream:
        ollama = Ollama()
        gateway = start_serve(
            alive_config(Path(directory) / "config", upstream, ollama), Path(directory) / "state", upstream
        )
        try:
            rows = asyncio.run(measure(gateway, ollama, rounds))
            gateway.stop()
        finally:
            gateway.kill()
            ollama.close()
    lines = [
        "| the local server | first request after it, worst | median | while it is left alone | used again after |",
        "| --- | ---: | ---: | ---: | ---: |",
        *(
            f"| {row['death']} | {row['first']:+.0f} ms | {row['median']:+.0f} ms | {row['next']:+.0f} ms "
            f"| {row['back']:.1f} s |"
            for row in rows
        ),
    ]
    table = "\n".join(lines)
    click.echo(table)
    if write:
        RESULTS.write_text(
            "# What a dead local model costs\n\nMilliseconds over an ordinary answer of the next tier, in the same "
            f"process. The deployment's own `timeout` is {LOCAL_TIMEOUT} s: that is what the first request waits for "
            f"where nothing answers and nobody has asked yet. {rounds} deaths of each kind.\n\n{table}\n\n"
            f"{_setup()}\n\n`make bench-alive` measures anew.\n",
            encoding="utf-8",
        )


def _setup() -> str:
    found = about("litellm")
    return (
        f"{found['cpu']}, {found['cores']} cores, {found['system']}; python {found['python']}, "
        f"litellm {found['litellm']}. {datetime.now(timezone.utc):%Y-%m-%d}, commit {found['commit']}."
    )


if __name__ == "__main__":
    main()
