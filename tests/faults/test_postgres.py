"""Faults of the database and of the way to it. One gateway lives through all of them."""

from __future__ import annotations

import asyncio
import signal
import time
from contextlib import suppress

import asyncpg
import pytest

from e2e.records import until
from faults.disks import needed
from faults.experiment import LONG, Run, fault, only_long
from faults.proxy import Cut
from faults.rig import Rig
from faults.servers import DATABASE, ROLE

OUTAGE_SECONDS = 3.0
LOCK_SECONDS = 75.0 if LONG else 10.0  # as long as a statement may take, twice over; or not
PACKET_DELAY = 0.2
CUTS = 3
MAX_WAITING = 4
"""Sessions of one gateway that may wait on the server: the most connections that it opens."""
DISCONNECT = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}'"


@pytest.mark.parametrize("mode", ["immediate", pytest.param("fast", marks=only_long)])
async def test_stopped_and_started(rig: Rig, mode: str) -> None:
    async with fault(rig, f"PostgreSQL stopped ({mode}) and started") as run:
        run.begins()
        await asyncio.to_thread(rig.server.stop, {"immediate": signal.SIGQUIT, "fast": signal.SIGINT}[mode])
        await outage(run)
        await asyncio.to_thread(rig.server.start)
        run.ends()


async def test_restarted(rig: Rig) -> None:
    async with fault(rig, "PostgreSQL restarted") as run:
        run.begins()
        await asyncio.to_thread(rig.server.stop)
        await asyncio.to_thread(rig.server.start)
        run.ends()


async def test_connections_stall(rig: Rig) -> None:
    async with fault(rig, "connections open, no answer") as run:
        run.begins()
        rig.proxy.stall()
        await outage(run)
        rig.proxy.resume()
        run.ends()


@only_long
async def test_connections_never_answer_again(rig: Rig) -> None:
    async with fault(rig, "connections open, never an answer again; new ones work") as run:
        run.begins()
        rig.proxy.abandon()
        await asyncio.sleep(OUTAGE_SECONDS)
        run.ends()


async def test_backends_frozen(rig: Rig) -> None:
    async with fault(rig, "backends frozen (SIGSTOP)") as run:
        run.begins()
        rig.server.freeze(True)
        await outage(run)
        rig.server.freeze(False)
        run.ends()


@pytest.mark.parametrize("cut", list(Cut), ids=[cut.name.lower() for cut in Cut])
async def test_network_is_cut(rig: Rig, cut: Cut) -> None:
    async with fault(rig, f"network cut: {cut.value}") as run:
        run.begins()
        for number in range(CUTS):
            done = rig.proxy.cuts + 1

            async def was_cut(done: int = done) -> bool:
                return rig.proxy.cuts >= done

            rig.proxy.plan(cut, copy_bytes=1_000 if cut is Cut.IN_COPY else 0)
            await until(f"cut number {number + 1}: {cut.value}", was_cut)
        run.ends()
        run.note(f"{CUTS} times")


async def test_packets_are_late(rig: Rig) -> None:
    async with fault(rig, f"each packet {1000 * PACKET_DELAY:.0f} ms late") as run:
        run.begins()
        rig.proxy.delay(PACKET_DELAY)
        await asyncio.sleep(1.5 * OUTAGE_SECONDS)
        rig.proxy.delay(0.0)
        run.ends()


async def test_tables_disk_is_full(rig: Rig) -> None:
    disk = needed(rig.tables_disk)
    async with fault(rig, "disk of the tables full") as run:
        run.begins()
        await asyncio.to_thread(disk.fill)
        await outage(run)
        disk.free()
        run.ends()


async def test_wal_disk_is_full(rig: Rig) -> None:
    disk = needed(rig.wal_disk)
    async with fault(rig, "disk of the write-ahead log full: PostgreSQL panics") as run:
        run.begins()
        await asyncio.to_thread(disk.fill)
        await exhaust_wal(rig)
        run.check("PANIC" in rig.server.said(), "PostgreSQL did not panic")
        await outage(run)
        disk.free()
        await asyncio.to_thread(rig.server.stop, signal.SIGQUIT)  # if it still tries to recover by itself
        await asyncio.to_thread(rig.server.start)
        run.ends()


async def test_read_only(rig: Rig) -> None:
    async with fault(rig, "read-only mode") as run:
        run.begins()
        await rig.server.execute("ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()")
        await outage(run)
        await rig.server.execute("ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()")
        run.ends()


async def test_table_is_locked(rig: Rig) -> None:
    async with fault(rig, f"routing_logs locked by another session for {LOCK_SECONDS:.0f} s") as run:
        holder = await rig.server.connect(DATABASE)
        try:
            run.begins()
            transaction = holder.transaction()
            await transaction.start()
            await holder.execute("LOCK TABLE routing_logs IN ACCESS EXCLUSIVE MODE")
            most, until_ = 0, time.monotonic() + LOCK_SECONDS
            while time.monotonic() < until_:
                query = "SELECT count(*) FROM pg_stat_activity WHERE usename = $1 AND wait_event_type = 'Lock'"
                most = max(most, await holder.fetchval(query, ROLE))
                await asyncio.sleep(0.2)
            await transaction.rollback()
            run.ends()
        finally:
            await holder.close()
        run.note(f"at most {most} sessions waited for the lock")
        run.check(1 <= most <= MAX_WAITING, f"{most} sessions waited for the lock")


@pytest.mark.parametrize(
    ("refused", "allowed"),
    [("NOLOGIN", "LOGIN"), ("CONNECTION LIMIT 0", "CONNECTION LIMIT -1")],
    ids=["no_login", "no_connections"],
)
async def test_connections_are_refused(rig: Rig, refused: str, allowed: str) -> None:
    async with fault(rig, f"every connection refused by the server ({refused})") as run:
        run.begins()
        await rig.server.execute(f"ALTER ROLE {ROLE} {refused}", DISCONNECT)
        await outage(run)
        await rig.server.execute(f"ALTER ROLE {ROLE} {allowed}")
        run.ends()


async def test_poison_row(rig: Rig) -> None:
    """A row that its table refuses is kept with the reason, and the rows beside it are written."""
    async with fault(rig, "one row of a batch refused by its table") as run:
        constraint = "CONSTRAINT no_poison CHECK (original_model <> 'auto-poison') NOT VALID"
        await rig.server.execute(f"ALTER TABLE routing_logs ADD {constraint}", database=DATABASE)
        try:
            run.begins()
            run.load.models.append("auto-poison")
            await until("the poison row is a dead letter", lambda: dead_letters(run))
            run.ends()
        finally:
            await rig.server.execute("ALTER TABLE routing_logs DROP CONSTRAINT no_poison", database=DATABASE)
    run.note("it is in routing_dead_letters")
    (letter,) = await rig.fetch("SELECT * FROM routing_dead_letters")
    assert letter["kind"] == "Decision"
    assert "23514" in letter["reason"]
    assert "no_poison" in letter["reason"]
    assert b"auto-poison" in letter["payload"]
    assert run.result.excused == 1


async def dead_letters(run: Run) -> bool:
    """Whether there are any; their decisions need no row."""
    letters = await run.rig.fetch("SELECT decision_id FROM routing_dead_letters")
    run.refused |= {letter["decision_id"] for letter in letters}
    return bool(letters)


async def test_failover(rig: Rig) -> None:
    """The last one here: the standby is the database from then on."""
    standby = await asyncio.to_thread(
        rig.server.copy_to, rig.home / "second", {rig.tablespace: rig.home / "second-tables"}
    )
    standby.port = rig.spare_port
    await asyncio.to_thread(standby.start)
    # Without it the promoted server misses what the old one had said it had: a choice of the operator, not of ours.
    await rig.server.execute("ALTER SYSTEM SET synchronous_standby_names = '*'", "SELECT pg_reload_conf()")
    async with fault(rig, "failover to a promoted standby at another address") as run:
        run.begins()
        rig.proxy.refuse(True)
        await asyncio.to_thread(rig.server.stop, signal.SIGQUIT)
        await outage(run)
        await asyncio.to_thread(rig.fail_over, standby)
        await standby.execute("SELECT pg_promote()")
        run.ends()
        run.note("replication is synchronous")


async def outage(run: Run) -> None:
    """Wait with the fault in place. The rows made meanwhile must be on disk."""
    await asyncio.sleep(OUTAGE_SECONDS)
    run.check(run.rig.spooled() > 0, "rows made during the fault are not in the spool")


async def exhaust_wal(rig: Rig) -> None:
    """Write until the server can take no more."""
    with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        connection = await rig.server.connect()
        for _ in range(100):
            await connection.execute("SELECT pg_logical_emit_message(false, 'faults', repeat('x', 500000), true)")
