"""The gateway ends, as it should or not, with rows that the database does not have. The next one delivers them."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from e2e.gateways import Gateway
from e2e.records import until
from faults.disks import needed
from faults.experiment import Run, fault, only_long
from faults.rig import Rig, rows_in

AWAY_SECONDS = 3.0
STOP_SECONDS = 30.0
GARBAGE = b"these bytes are none of a spool"


async def test_killed(rig: Rig) -> None:
    async with fault(rig, "gateway killed (SIGKILL) under load", unanswered=True) as run:
        run.begins()
        await kill(run)
        await asyncio.to_thread(rig.gateway)
        run.ends()


async def test_killed_with_the_database_away(rig: Rig) -> None:
    """All that waits is in the spool of a dead process, and a gateway with another state directory is given it."""
    async with fault(
        rig, "gateway killed with the database away; another one is given its spool", unanswered=True
    ) as run:
        run.begins()
        await asyncio.to_thread(rig.server.stop, signal.SIGQUIT)
        await asyncio.sleep(AWAY_SECONDS)
        await kill(run)
        run.note(f"{rig.spooled()} rows in the spool")
        rig.state = rig.home / "other-state"
        await asyncio.to_thread(rig.server.start)
        await asyncio.to_thread(rig.gateway)
        run.ends()


async def test_terminated_with_the_database_away(rig: Rig) -> None:
    async with fault(rig, "gateway stopped (SIGTERM) under load with the database away", unanswered=True) as run:
        run.begins()
        await asyncio.to_thread(rig.server.stop, signal.SIGQUIT)
        await asyncio.sleep(AWAY_SECONDS)
        await terminate(run)
        run.note(f"{rig.spooled()} rows in the spool")
        await asyncio.to_thread(rig.server.start)
        await asyncio.to_thread(rig.gateway)
        run.ends()


@only_long
async def test_terminated_after_the_disk_was_full(rig: Rig) -> None:
    """What waited in memory, while neither the spool nor the database took it, is in the spool soon after it can be."""
    disk = needed(rig.spool_disk)
    async with fault(
        rig, "disk of the spool full for a while, gateway stopped, the database away", unanswered=True
    ) as run:

        async def said(words: str) -> bool:
            return words in run.said()

        run.begins()
        await asyncio.to_thread(disk.fill)
        await until("the spool is full", lambda: said("memory only"), STOP_SECONDS)
        await asyncio.to_thread(rig.server.stop, signal.SIGQUIT)  # with rows on their way that no spool holds
        await asyncio.sleep(AWAY_SECONDS)
        disk.free()
        await until("the spool is used again", lambda: said("in the spool again"), 2 * STOP_SECONDS)
        await terminate(run)
        run.note(f"{rig.spooled()} rows in the spool")
        await asyncio.to_thread(rig.server.start)
        await asyncio.to_thread(rig.gateway)
        run.ends()


async def test_damaged_spool(rig: Rig) -> None:
    """Two files of the spool are overwritten, one from its start and one in the middle. Copies, so that every row is in
    a file that is whole."""
    async with fault(rig, "spool files overwritten with garbage while the gateway is down", unanswered=True) as run:
        run.begins()
        await asyncio.to_thread(rig.server.stop, signal.SIGQUIT)
        await asyncio.sleep(AWAY_SECONDS)
        await terminate(run)
        no_header, no_payload = damage(rig.spool)
        await asyncio.to_thread(rig.server.start)
        gateway = await asyncio.to_thread(rig.gateway, 2)  # for the next test as well
        run.ends()
    said = gateway.said().splitlines()
    for file in (no_header, no_payload):
        lines = [line for line in said if str(file) in line]
        assert any("damaged" in line or "cannot be read" in line for line in lines), f"{file.name} in the log: {lines}"
    kept = [path.read_bytes() for path in rig.spool.iterdir() if ".sqlite" in path.name]
    assert sum(content.startswith(GARBAGE) for content in kept) == 1, "the file without a header is not kept"


async def test_one_of_two_workers_killed(rig: Rig) -> None:
    """They share the spool directory. The rows of the dead one are written by the other."""
    gateway = await two_workers(rig)
    async with fault(rig, "one of two workers killed with the database away", unanswered=True) as run:
        run.load.new_connections = True
        run.begins()
        await asyncio.to_thread(rig.server.stop, signal.SIGQUIT)
        await asyncio.sleep(AWAY_SECONDS)
        filled = sum(rows_in(path) > 0 for path in rig.spool.glob("spool-*.sqlite"))
        run.check(filled == 2, f"{filled} files of the spool hold rows, not one for each worker")
        os.kill(max(served(gateway)), signal.SIGKILL)
        run.killed()
        await asyncio.sleep(AWAY_SECONDS)
        await asyncio.to_thread(rig.server.start)
        run.ends()
    # Not asked to end: while uvicorn waits for an answer of the dead worker it hears no signal.
    await asyncio.to_thread(gateway.kill)


async def kill(run: Run) -> None:
    """End the gateway at once, in the middle of its work."""
    gateway = run.load.gateway
    gateway.process.kill()
    run.killed()
    await asyncio.to_thread(gateway.process.wait, STOP_SECONDS)
    await run.load.stop()


async def terminate(run: Run) -> None:
    """Ask the gateway to end, while it is asked other things."""
    gateway, began = run.load.gateway, time.monotonic()
    gateway.process.terminate()
    code = await asyncio.to_thread(gateway.process.wait, STOP_SECONDS)
    run.note(f"ended after {time.monotonic() - began:.1f} s")
    run.check(code == 0, f"the gateway ended with {code}")
    await run.load.stop()


async def two_workers(rig: Rig) -> Gateway:
    """A gateway with two workers that both serve."""
    if rig.running is not None and rig.running.process.poll() is None and len(rig.workers()) != 2:
        await asyncio.to_thread(rig.end)
    gateway = await asyncio.to_thread(rig.gateway, 2)
    await until("two workers", lambda: count_workers(gateway, 2), STOP_SECONDS)
    return gateway


def served(gateway: Gateway) -> set[int]:
    """The workers that have run a callback: each does once in its own start."""
    seen = gateway.config.with_name("probe.jsonl")
    return {json.loads(line)["pid"] for line in seen.read_text().splitlines()} if seen.exists() else set()


async def count_workers(gateway: Gateway, count: int) -> bool:
    """Whether so many workers or more have served in its time."""
    return len(served(gateway)) >= count


def damage(spool: Path) -> tuple[Path, Path]:
    """Move the file that holds rows to a slot of its own, and leave damaged copies in the first slots; where those are.

    One has lost its header, the other one bytes of a row.
    """
    (full,) = [path for path in spool.glob("spool-*.sqlite") if rows_in(path)]
    with closing(sqlite3.connect(full)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        (payload,) = connection.execute("SELECT payload FROM chunks ORDER BY seq DESC LIMIT 1").fetchone()
    slots = [slot for n in range(10) if (slot := spool / f"spool-{n}.sqlite") == full or not rows_in(slot)]
    no_header, no_payload, whole = slots[:3]
    content = full.read_bytes()
    full.rename(whole)
    for slot, offset in ((no_header, 0), (no_payload, content.index(payload[:50]))):
        slot.write_bytes(content[:offset] + GARBAGE + content[offset + len(GARBAGE) :])
        shutil.copymode(whole, slot)
    return no_header, no_payload
