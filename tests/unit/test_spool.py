"""The spool: slots, locks, bounds, damage; and the outbox that delivers it. Real files, and real processes."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bsgateway.log import chunk, spool
from bsgateway.log.adoption import _state
from bsgateway.log.outbox import Outbox
from bsgateway.log.spool import Spool, SpoolDamaged, SpoolError, SpoolFull, survey
from bsgateway.rows import Item
from builders import make_decision

MANY = 10**9


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Spool]:
    claimed = Spool.claim(tmp_path / "spool")
    yield claimed
    claimed.close()


def payloads(found: Spool, after: int = 0) -> list[bytes]:
    return [stored.payload for stored in found.read(after, MANY)]


# Slots


def test_chunks_come_back_in_order_until_they_are_acknowledged(own: Spool) -> None:
    seqs = [own.append(2, bytes([number]) * 10, MANY, MANY) for number in range(5)]
    assert seqs == sorted(seqs)
    assert (own.rows, own.bytes, own.last_seq) == (10, 50, seqs[-1])
    assert [stored.seq for stored in own.read(0, 4)] == seqs[:2]
    assert [stored.seq for stored in own.read(seqs[1], 5)] == seqs[2:4]
    assert [stored.seq for stored in own.read(seqs[1], 1)] == seqs[2:3], "at least one"
    own.acknowledge(seqs[0], seqs[2], 6, 30)
    assert payloads(own) == [b"\x03" * 10, b"\x04" * 10]
    assert (own.rows, own.bytes) == (4, 20)
    own.acknowledge(seqs[3], seqs[4], 4, 20)
    assert (own.rows, own.bytes, own.oldest_at) == (0, 0, None)
    assert own.append(1, b"next", MANY, MANY) > seqs[-1], "a seq is never used twice"


def test_the_next_holder_finds_what_was_left(tmp_path: Path) -> None:
    first = Spool.claim(tmp_path)
    first.append(3, b"left", MANY, MANY)
    oldest = first.oldest_at
    first.close()
    second = Spool.claim(tmp_path)
    assert (second.path, second.rows, second.bytes, second.oldest_at) == (first.path, 3, 4, oldest)
    assert payloads(second) == [b"left"]
    second.close()


def test_each_process_has_a_slot(tmp_path: Path) -> None:
    held = [Spool.claim(tmp_path) for _ in range(3)]
    assert [one.path.name for one in held] == ["spool-0.sqlite", "spool-1.sqlite", "spool-2.sqlite"]
    assert Spool.try_open(held[1].path) is None
    held[1].close()
    again = Spool.claim(tmp_path)
    assert again.path == held[1].path
    for one in (held[0], again, held[2]):
        one.close()
    assert not [backlog for backlog in survey(tmp_path) if backlog.in_use]


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    claimed = Spool.claim(tmp_path / "new")
    claimed.append(1, b"words", MANY, MANY)
    for path in (tmp_path / "new", *(tmp_path / "new").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path.name
    claimed.close()


def test_bounds(own: Spool) -> None:
    own.append(3, b"12345", 4, 10)
    for rows, size in ((2, 1), (1, 6)):
        with pytest.raises(SpoolFull, match="is full: 3 rows, 5 bytes"):
            own.append(rows, b"x" * size, 4, 10)
    own.append(1, b"12345", 4, 10)
    assert (own.rows, own.bytes) == (4, 10)


def test_a_file_that_was_large_gives_its_space_back(own: Spool) -> None:
    for _ in range(20):
        last = own.append(1, os.urandom(1_000_000), MANY, MANY)
    assert own.path.stat().st_size > spool.VACUUM_BYTES
    own.acknowledge(1, last, 20, 20_000_000)
    assert own.path.stat().st_size < 100_000


def test_words_do_not_stay_in_the_file(own: Spool) -> None:
    word = b"confidential-" + os.urandom(8).hex().encode()
    seq = own.append(1, word * 100, MANY, MANY)
    own.append(1, b"stays", MANY, MANY)
    assert any(word in path.read_bytes() for path in own.path.parent.iterdir())
    own.acknowledge(seq, seq, 1, len(word) * 100)
    own._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert not any(word in path.read_bytes() for path in own.path.parent.iterdir())


CHILD = """
import sys, time
from pathlib import Path
from bsgateway.log.spool import Spool
spool = Spool.claim(Path(sys.argv[1]))
for number in range(100):
    spool.append(1, b"row %d" % number, 10**9, 10**9)
print(spool.path.name, flush=True)
time.sleep(60)
"""


def test_what_a_killed_process_appended_is_there(tmp_path: Path) -> None:
    """SIGKILL at once after the last append: nothing is closed, nothing is written back by the process."""
    with subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline().strip() == "spool-0.sqlite"
        assert [backlog.in_use for backlog in survey(tmp_path)] == [True]
        mine = Spool.claim(tmp_path)
        assert mine.path.name == "spool-1.sqlite", "a slot that is held is not taken"
        mine.close()
        child.send_signal(signal.SIGKILL)
    left, *_ = survey(tmp_path)
    assert (left.in_use, left.rows) == (False, 100)
    adopted = Spool.claim(tmp_path)
    assert payloads(adopted) == [b"row %d" % number for number in range(100)]
    adopted.close()


# Trouble


@pytest.mark.parametrize("size", [0, 1, 100, 4096, 20_000])
@pytest.mark.parametrize("where", ["start", "whole"])
def test_a_damaged_file_is_kept_and_replaced(
    tmp_path: Path, where: str, size: int, caplog: pytest.LogCaptureFixture
) -> None:
    first = Spool.claim(tmp_path)
    for _ in range(50):
        first.append(1, os.urandom(500), MANY, MANY)
    path = first.path
    first.close()
    whole = path.read_bytes()
    junk = os.urandom(size)
    path.write_bytes(junk + whole[size:] if where == "start" else junk)
    second = Spool.claim(tmp_path)
    assert second.append(1, b"new", MANY, MANY)
    kept = list(tmp_path.glob("spool-0.sqlite.damaged-*"))
    if size >= 100:  # SQLite begins anew in a file that is shorter than its header
        assert second.rows == 1
        assert [file.stat().st_size for file in kept] == [max(size, len(whole) if where == "start" else 0)]
        assert "is damaged" in caplog.text
        assert kept[0].name in caplog.text
    second.close()


def test_damage_behind_the_first_page_is_noticed_when_it_is_read(own: Spool) -> None:
    for _ in range(200):
        own.append(1, os.urandom(2_000), MANY, MANY)
    own._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    data = bytearray(own.path.read_bytes())
    data[8192:] = os.urandom(len(data) - 8192)
    own.path.write_bytes(data)
    own._connection.execute("PRAGMA cache_size = 0")
    with pytest.raises(SpoolDamaged, match="is damaged"):
        own.read(0, MANY)


def test_a_payload_that_was_changed_is_not_intact(own: Spool) -> None:
    own.append(1, b"a" * 100, MANY, MANY)
    own.append(1, b"b" * 100, MANY, MANY)
    own._connection.execute("UPDATE chunks SET payload = replace(payload, 'aaa', 'aba')")
    assert [stored.intact for stored in own.read(0, MANY)] == [False, True]


def test_a_spool_of_a_newer_version_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = Spool.claim(tmp_path)
    first.append(1, b"newer", MANY, MANY)
    first._connection.execute(f"PRAGMA user_version = {spool.VERSION + 1}")
    first.close()
    with pytest.raises(SpoolError, match="of a newer version of bsgateway"):
        Spool.try_open(first.path)
    second = Spool.claim(tmp_path)
    assert second.path != first.path
    assert "another slot is used" in caplog.text
    second.close()


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(SpoolError, match="cannot be used"):
        Spool.claim(tmp_path / "file" / "spool")
    assert not (tmp_path / "none").exists()
    assert survey(tmp_path / "none") == []


def test_survey_sees_a_spool_that_is_in_use(own: Spool) -> None:
    own.append(7, b"x" * 70, MANY, MANY)
    own.say(b'{"written": 3}')
    [backlog] = survey(own.path.parent)
    assert (backlog.in_use, backlog.rows, backlog.size, backlog.status) == (True, 7, 70, b'{"written": 3}')
    assert backlog.oldest_at == own.oldest_at
    own.append(1, b"still works", MANY, MANY)


def test_survey_tells_of_what_it_cannot_read(tmp_path: Path) -> None:
    (tmp_path / "spool-0.sqlite").write_bytes(os.urandom(5_000))
    [backlog] = survey(tmp_path)
    assert backlog.error is not None
    assert not list(tmp_path.glob("*.damaged-*")), "survey changes nothing"


def test_a_file_that_was_removed_is_noticed(own: Spool) -> None:
    assert own.is_there()
    own.path.unlink()
    assert not own.is_there()
    own.append(1, b"still works while it is open", MANY, MANY)
    assert payloads(own) == [b"still works while it is open"]


def test_disk_full_is_a_spool_error_and_passes(own: Spool) -> None:
    pages = own._connection.execute("PRAGMA page_count").fetchone()[0]
    own._connection.execute(f"PRAGMA max_page_count = {pages + 3}")
    with pytest.raises(SpoolError, match="full") as caught:
        own.append(1, os.urandom(40_000), MANY, MANY)
    assert not isinstance(caught.value, SpoolFull)
    rows = own.rows
    own._connection.execute("PRAGMA max_page_count = 1000000")
    own.append(1, b"room again", MANY, MANY)
    assert own._connection.execute("SELECT sum(rows) FROM chunks").fetchone() == (rows + 1,) == (1,)


def test_looking_into_a_slot_does_not_change_it(tmp_path: Path) -> None:
    """Or processes that look after one another's slots would do so for ever."""
    first = Spool.claim(tmp_path)
    first.append(1, b"x", MANY, MANY)
    first.acknowledge(1, 1, 1, 1)
    first.close()
    before = _state(first.path)
    for _ in range(3):
        again = Spool.try_open(first.path)
        assert again is not None
        again.close()
        assert _state(first.path) == before


def test_what_is_set_aside_can_be_opened_with_its_journal(tmp_path: Path) -> None:
    first = Spool.claim(tmp_path)
    first.append(5, b"in the journal", MANY, MANY)
    aside = first.set_aside()
    first.close()
    with contextlib.closing(sqlite3.connect(aside)) as kept:
        assert kept.execute("SELECT sum(rows) FROM chunks").fetchone() == (5,)
    assert survey(tmp_path) == []


def test_a_closed_slot_is_not_a_damaged_one(tmp_path: Path) -> None:
    first = Spool.claim(tmp_path)
    first.close()
    with pytest.raises(SpoolError) as caught:
        first.append(1, b"x", MANY, MANY)
    assert not isinstance(caught.value, SpoolDamaged)


def test_a_slot_of_another_user_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Root may open anything: the refusal is the operating system's, given here for one file."""
    Spool.claim(tmp_path).close()
    real = os.open

    def refuse(path: Any, *args: Any, **kwargs: Any) -> int:
        if str(path).endswith("spool-0.sqlite"):
            raise PermissionError(13, "Permission denied")
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    claimed = Spool.claim(tmp_path)
    assert claimed.path.name == "spool-1.sqlite"
    assert "another slot is used" in caplog.text
    claimed.close()


def test_a_disk_that_is_nearly_full_is_left_alone(own: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.statvfs

    def nearly_full(path: Any) -> Any:
        fields = list(real(path))
        fields[4] = fields[3] = 10  # blocks that are free
        return os.statvfs_result(fields)

    own.append(1, b"before", MANY, MANY)
    monkeypatch.setattr(os, "statvfs", nearly_full)
    with pytest.raises(SpoolError, match="its disk is full but for"):
        own.append(1, b"x", MANY, MANY)
    own.acknowledge(1, 1, 1, 6)
    assert own.rows == 0


def test_words_leave_the_journal_too(own: Spool) -> None:
    word = b"confidential-" + os.urandom(8).hex().encode()
    seq = own.append(1, word, MANY, MANY)
    own.forget()
    assert any(word in path.read_bytes() for path in own.path.parent.iterdir()), "it still waits"
    own.acknowledge(seq, seq, 1, len(word))
    own.forget()
    assert not any(word in path.read_bytes() for path in own.path.parent.iterdir())


def test_what_cannot_be_removed_is_removed_later(own: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(own, 1_000)
    everything = fill(outbox, 6)
    real = Spool.acknowledge

    def fail(*_: Any) -> None:
        raise SpoolError("disk full")

    monkeypatch.setattr(Spool, "acknowledge", fail)
    got: list[Item] = []
    for _ in range(2):
        batch = outbox.next(4)
        assert batch is not None
        got += batch.records
        with pytest.raises(SpoolError):
            outbox.done(batch)
    assert (outbox.rows, outbox.waiting, own.rows) == (4, 4, 12)
    monkeypatch.setattr(Spool, "acknowledge", real)
    batch = outbox.next(100)
    assert batch is not None
    outbox.done(batch)
    assert got + list(batch.records) == everything
    assert (outbox.rows, own.rows, own.bytes) == (0, 0, 0)


def test_a_disk_too_full_to_delete_gets_a_new_file(own: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox = Outbox(own, 1_000)
    fill(outbox, 3)
    batch = outbox.next(100)
    assert batch is not None
    monkeypatch.setattr(Spool, "acknowledge", lambda *_: (_ for _ in ()).throw(SpoolError("disk full")))
    with pytest.raises(SpoolError):
        outbox.done(batch)
    outbox.clear()
    monkeypatch.undo()
    assert (outbox.rows, own.rows, own.bytes, own.is_there()) == (0, 0, 0, True)
    more = fill(outbox, 2)
    batch = outbox.next(100)
    assert batch is not None
    assert batch.records == more
    outbox.done(batch)


def test_the_journal_is_what_the_documentation_says(own: Spool) -> None:
    assert own._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert own._connection.execute("PRAGMA synchronous").fetchone() == (1,)
    assert sqlite3.sqlite_version_info >= (3, 22)


# The outbox


def fill(outbox: Outbox, chunks: int, rows: int = 2) -> list[Item]:
    everything: list[Item] = []
    for _ in range(chunks):
        records = [make_decision() for _ in range(rows)]
        outbox.add(records, chunk.encode(records), MANY, MANY)
        everything += records
    return everything


@pytest.mark.parametrize("window_rows", [0, 3, 7, 1_000])
@pytest.mark.parametrize("limit", [1, 2, 5, 1_000])
def test_the_outbox_hands_out_each_row_once_and_in_order(own: Spool, window_rows: int, limit: int) -> None:
    outbox = Outbox(own, window_rows)
    expected = fill(outbox, 6)
    got: list[Item] = []
    while batch := outbox.next(limit):
        assert batch.rows <= max(limit, 2)
        got += batch.records
        if len(got) == 4:
            expected += fill(outbox, 3)
        outbox.done(batch)
    assert got == expected
    assert (outbox.waiting, own.rows, own.bytes) == (0, 0, 0)


def test_what_was_not_done_is_there_after_the_next_start(own: Spool) -> None:
    outbox = Outbox(own, 1_000)
    everything = fill(outbox, 5)
    done, lost = outbox.next(4), outbox.next(2)
    assert done is not None
    assert lost is not None
    assert not done.replayed
    outbox.done(done)
    assert (outbox.waiting, own.rows) == (4, 6)
    again = Outbox(own).next(100)
    assert again is not None
    assert (again.records, again.replayed) == (everything[4:], True)


def test_a_damaged_chunk_becomes_a_letter(own: Spool, caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox(own)
    records = fill(outbox, 1)
    own.append(3, b"no chunk at all", MANY, MANY)
    batch = outbox.next(100)
    assert batch is not None
    assert (batch.records, batch.rows) == (records, 5)
    assert [(letter.kind, letter.fields) for letter in batch.unreadable] == [("Chunk", b"no chunk at all")]
    assert "3 rows, cannot be read" in caplog.text
    outbox.done(batch)
    assert own.rows == 0
