"""Faults of the disk that the spool lies on. Requests go on, and so do rows as long as there is a database."""

from __future__ import annotations

import asyncio
import shutil
import signal
import time
from pathlib import Path

from e2e.records import until
from faults.disks import Disk, needed
from faults.experiment import Run, fault, only_long
from faults.rig import Rig

OUTAGE_SECONDS = 3.0
NOTICE_SECONDS = 20.0
AGAIN_SECONDS = 40.0


@only_long
async def test_directory_cannot_be_made(rig: Rig) -> None:
    """The gateway starts without its spool, says so, and writes to the database."""
    await asyncio.to_thread(rig.end)
    whole, rig.spool = rig.spool, Path("/proc/spool")  # where nobody, not even root, can make a directory
    try:
        async with fault(rig, "spool directory that cannot be made, at the start") as run:
            run.begins()
            await asyncio.sleep(OUTAGE_SECONDS / 2)
            run.ends()
            run.check(str(rig.spool) in run.load.gateway.said(), "the log does not name the spool directory")
        await asyncio.to_thread(rig.end)
    finally:
        rig.spool = whole


async def test_full(rig: Rig) -> None:
    disk = needed(rig.spool_disk)
    async with fault(rig, "disk of the spool full") as run:
        run.begins()
        await asyncio.to_thread(disk.fill)
        await asyncio.sleep(OUTAGE_SECONDS)
        disk.free()
        run.ends()
        await used_again(run)


async def test_full_and_the_database_away(rig: Rig) -> None:
    disk = needed(rig.spool_disk)
    async with fault(rig, "disk of the spool full, and the database away") as run:
        run.begins()
        await asyncio.to_thread(disk.fill)
        await asyncio.to_thread(rig.server.stop, signal.SIGQUIT)
        await asyncio.sleep(2 * OUTAGE_SECONDS)
        await asyncio.to_thread(rig.server.start)
        await asyncio.sleep(1.0)
        disk.free()
        run.ends()
        run.check("No space" in run.said() or "full" in run.said(), "the log does not say that the disk is full")
        await used_again(run)


async def test_directory_is_removed(rig: Rig) -> None:
    async def spooled_again() -> bool:
        return rig.spooled() > 0

    async with fault(rig, "spool directory removed while the database is away") as run:
        run.begins()
        await asyncio.to_thread(rig.server.stop, signal.SIGQUIT)
        await asyncio.sleep(OUTAGE_SECONDS / 2)
        run.check(rig.spooled() > 0, "rows made during the fault are not in the spool")
        shutil.rmtree(rig.spool)
        removed = time.monotonic()
        await until("rows are on disk again", spooled_again, NOTICE_SECONDS)
        run.note(f"rows on disk again after {time.monotonic() - removed:.1f} s")
        await asyncio.to_thread(rig.server.start)
        run.ends()


async def used_again(run: Run) -> None:
    """Wait until the spool is used again, if it was not."""

    async def said() -> bool:
        return "memory only" not in run.said() or "in the spool again" in run.said()

    await run.recovered()
    await until("the spool is used again", said, AGAIN_SECONDS)
    run.note(f"spool in use at most {time.monotonic() - run.ended:.1f} s after the disk had room")


@only_long
async def test_directory_is_read_only(rig: Rig) -> None:
    """As when a volume is mounted anew, read-only and empty, below a running gateway."""
    needed(rig.spool_disk)
    async with fault(rig, "spool directory replaced by an empty read-only one") as run:

        async def said() -> bool:
            return "memory only" in run.said()

        run.begins()
        mounted = needed(Disk.mount(rig.spool, 1, read_only=True))
        try:
            await until("the log says that the spool cannot be used", said, NOTICE_SECONDS)
            await asyncio.sleep(OUTAGE_SECONDS)
        finally:
            mounted.unmount()
        run.ends()
