"""The spool: rows on the local disk, from some milliseconds after they were recorded until the database has them.

A spool directory has numbered slots, each an SQLite file and a lock file. A process holds the lock of the slot it
writes to; the kernel lets go of it when the process dies, however it does, and the slot is there for the next one: to
write to, or to empty. Slots are reused, and their files touched under the lock only: who removes a
file that another process is about to use loses its rows.

SQLite's journal is a write-ahead log, `synchronous` is NORMAL: what `append` has written survives the death of the
process at once, and that of the machine after the next checkpoint, some megabytes later.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import re
import sqlite3
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import filelock
import msgspec

from bsgateway.errors import GatewayError

log = logging.getLogger(__name__)

MAX_SLOTS = 1_000
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)  # Windows has none
VERSION = 1
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS chunks (
    seq        INTEGER PRIMARY KEY,
    created_at REAL NOT NULL,
    rows       INTEGER NOT NULL,
    crc32      INTEGER NOT NULL,
    payload    BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS status (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    written_at REAL NOT NULL,
    metrics    BLOB NOT NULL
);
PRAGMA user_version = {VERSION};
"""
VACUUM_BYTES = 8_388_608
"""A file that has grown over this gives its space back once it is empty."""
RESERVE_BYTES = 67_108_864
"""So much of the disk stays free, or a twentieth of it if that is less: SQLite needs room to delete as well."""


class SpoolError(GatewayError):
    """The spool cannot be used now: no such directory, no right, disk full, a damaged file."""


class SpoolFull(SpoolError):
    """The bounds of the spool, which the configuration sets, are reached."""


class SpoolOfAnotherVersion(SpoolError):
    """The slot is of a newer version of bsgateway, which has to empty it."""


class SpoolForbidden(SpoolError):
    """The slot is another user's, or a link to somewhere else."""


class SpoolDamaged(SpoolError):
    """The slot's file is no longer what was written. It is worth keeping, and not worth waiting for."""


class Stored(msgspec.Struct, frozen=True):
    """One chunk of a slot. `intact`: its bytes are those that were written."""

    seq: int
    rows: int
    payload: bytes
    intact: bool


class Backlog(msgspec.Struct, frozen=True):
    """What lies in one slot: `rows`, in `size` bytes. `in_use`: a process holds it. `oldest_at` is Unix time; None when
    it is empty.

    `status` is what the process that holds it, or held it last, said of its log, at `status_at`; `error` why the slot
    cannot be read.
    """

    path: str
    in_use: bool
    rows: int = 0
    size: int = 0
    oldest_at: float | None = None
    status: bytes | None = None
    status_at: float | None = None
    error: str | None = None


class Spool:
    """One slot, locked by this process. Used on the thread that made it only.

    `rows` and `bytes` are what is in it, the bytes without SQLite's own. All methods raise SpoolError.
    """

    def __init__(self, path: Path, lock: filelock.BaseFileLock, *, secure_delete: bool = True) -> None:
        """Open the slot at `path`, whose lock is held. A damaged file is kept under another name, and replaced."""
        self.path = path
        self._lock = lock
        self._secure_delete = secure_delete
        self.rows: int
        self.bytes: int
        self.last_seq: int
        self.oldest_at: float | None
        self._journal_is_empty = False
        try:
            self._begin()
        except SpoolDamaged as error:
            aside = self.set_aside()
            log.error("%s: it is kept as %s, and a new one begun", error, aside.name)
            self._begin()

    @classmethod
    def claim(cls, directory: Path, *, secure_delete: bool = True) -> Spool:
        """The first slot that nobody holds, with what its last holder may have left in it."""
        with _explained(directory):
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for number in range(MAX_SLOTS):
            try:
                if spool := cls.try_open(_slot(directory, number), secure_delete=secure_delete):
                    return spool
            except (SpoolOfAnotherVersion, SpoolForbidden) as error:
                if not os.path.lexists(_slot(directory, number)):  # it is not this slot, it is the place
                    raise
                log.error("%s: another slot is used", error)
        raise SpoolError(f"all {MAX_SLOTS} slots of {directory} are in use: give each gateway a spool directory")

    @classmethod
    def try_open(cls, path: Path, *, secure_delete: bool = True) -> Spool | None:
        """The slot at `path`, or None when another process holds it."""
        lock = filelock.FileLock(path.with_suffix(".lock"), mode=0o600, thread_local=False)
        with _explained(path):
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout:
                return None
        try:
            return cls(path, lock, secure_delete=secure_delete)
        except BaseException:
            lock.release()
            raise

    def append(self, rows: int, payload: bytes, max_rows: int, max_bytes: int) -> int:
        """Add a chunk; its seq. Raises SpoolFull, and adds nothing, when that would go over the bounds."""
        if self.rows + rows > max_rows or self.bytes + len(payload) > max_bytes:
            raise SpoolFull(f"the spool {self.path} is full: {self.rows} rows, {self.bytes} bytes")
        self._leave_room()
        now, seq = time.time(), self.last_seq + 1
        with _explained(self.path):
            self._connection.execute(
                "INSERT INTO chunks (seq, created_at, rows, crc32, payload) VALUES (?, ?, ?, ?, ?)",
                (seq, now, rows, zlib.crc32(payload), payload),
            )
        self.rows += rows
        self.bytes += len(payload)
        self.last_seq = seq
        if self.oldest_at is None:
            self.oldest_at = now
        self._journal_is_empty = False
        return seq

    def check(self, max_rows: int, max_bytes: int) -> None:
        """Write something. Raises as `append` would for a row."""
        if self.rows >= max_rows or self.bytes >= max_bytes:
            raise SpoolFull(f"the spool {self.path} is full: {self.rows} rows, {self.bytes} bytes")
        self._leave_room()
        with _explained(self.path):
            self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def read(self, after: int, max_rows: int) -> list[Stored]:
        """The oldest chunks after a seq: as many as hold at most `max_rows` rows, but at least one if there is one."""
        found: list[Stored] = []
        # The casts are for files that are damaged: SQLite gives what it finds there.
        query = "SELECT seq, CAST(rows AS INTEGER), CAST(payload AS BLOB), crc32 FROM chunks WHERE seq > ? ORDER BY seq"
        with (
            _explained(self.path),
            contextlib.closing(self._connection.execute(query, (after,))) as cursor,
        ):
            total = 0
            for seq, rows, payload, crc32 in cursor:
                total += rows
                if found and total > max_rows:
                    break
                found.append(Stored(seq, rows, payload, zlib.crc32(payload) == crc32))
        return found

    def acknowledge(self, first: int, last: int, rows: int, size: int) -> None:
        """Remove the chunks `first` to `last`, which hold `rows` rows in `size` bytes: the database has them."""
        with _explained(self.path):
            self._connection.execute("DELETE FROM chunks WHERE seq BETWEEN ? AND ?", (first, last))
        self.rows -= rows
        self.bytes -= size
        self.oldest_at = self._oldest() if self.rows else None
        if not self.rows:
            self._give_space_back()

    def recreate(self) -> None:
        """Begin a new, empty file in the place of this one, whose rows are all settled: a full disk has room then."""
        with _explained(self.path):
            self._connection.close()
            for suffix in ("-wal", "-shm", ""):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        self._begin()

    def forget(self) -> None:
        """Have no words in the journal either of what was removed, which SQLite would overwrite some time later. Does
        nothing while there are rows, or when it was done."""
        if not self.rows and not self._journal_is_empty:
            with _explained(self.path):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._journal_is_empty = True

    def say(self, metrics: bytes) -> None:
        """Keep what the holder says of its log, for `survey`."""
        with _explained(self.path):
            self._connection.execute("INSERT OR REPLACE INTO status VALUES (1, ?, ?)", (time.time(), metrics))
        self._journal_is_empty = False

    def is_there(self) -> bool:
        """Whether the slot's file still has its name: it can be written to without, and is gone when it is closed."""
        try:
            return self.path.stat().st_ino == self._inode
        except OSError:
            return False

    def close(self) -> None:
        """Let go of the slot."""
        try:
            with _explained(self.path):
                self._connection.close()
        finally:
            self._lock.release()

    def _begin(self) -> None:
        self._connection = self._open()
        try:
            with _explained(self.path):
                self._inode = self.path.stat().st_ino
                self.rows, self.bytes, self.last_seq, self.oldest_at = self._connection.execute(
                    "SELECT coalesce(sum(rows), 0), coalesce(sum(length(payload)), 0), coalesce(max(seq), 0), "
                    "min(created_at) FROM chunks"
                ).fetchone()
        except BaseException:
            self._connection.close()
            raise

    def _oldest(self) -> float | None:
        with _explained(self.path):
            found = self._connection.execute("SELECT created_at FROM chunks ORDER BY seq LIMIT 1").fetchone()
            return found[0] if found else None

    def _open(self) -> sqlite3.Connection:
        with _explained(self.path):
            # Made with its mode first: SQLite gives its other files the mode of this one. A link is no slot: it would
            # have us write to whatever file it names.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o600))
            connection = sqlite3.connect(self.path, isolation_level=None, timeout=1.0)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
            return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        # Nothing is written to a slot that is as it should be: looking into it must not change it.
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > VERSION:
            raise SpoolOfAnotherVersion(
                f"the spool {self.path} is of a newer version of bsgateway: start that one to empty it"
            )
        if connection.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
            raise SpoolError(f"the spool {self.path} is on a disk without locks for SQLite's journal: use a local one")
        connection.execute("PRAGMA synchronous = NORMAL")
        # Words that are gone from the log must not stay in the free pages of a file.
        connection.execute(f"PRAGMA secure_delete = {'ON' if self._secure_delete else 'OFF'}")
        if version < VERSION:
            connection.executescript(_SCHEMA)

    def set_aside(self) -> Path:
        """Rename the slot's files to names that are no slot's, whatever state they are in; the new path."""
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        with _explained(self.path):
            for suffix in ("", "-wal"):  # SQLite finds the journal by its name
                with contextlib.suppress(FileNotFoundError):
                    self.path.with_name(self.path.name + suffix).rename(aside.with_name(aside.name + suffix))
            self.path.with_name(f"{self.path.name}-shm").unlink(missing_ok=True)
        return aside

    def _leave_room(self) -> None:
        """Raise SpoolError when the disk is nearly full."""
        if hasattr(os, "statvfs"):
            with _explained(self.path):
                disk = os.statvfs(self.path.parent)
            free = disk.f_bavail * disk.f_frsize
            if free < min(RESERVE_BYTES, disk.f_blocks * disk.f_frsize // 20):
                raise SpoolError(f"the spool {self.path} cannot grow: its disk is full but for {free} bytes")

    def _give_space_back(self) -> None:
        try:
            if self.is_there() and self.path.stat().st_size > VACUUM_BYTES:
                self._connection.execute("VACUUM")
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except (sqlite3.Error, OSError) as error:
            log.warning("the spool %s stays as large as it is: %s", self.path, error)


def slots(directory: Path) -> list[Path]:
    """The slots of a directory, in order. Raises SpoolError when it cannot be listed; empty when it is not there."""
    with _explained(directory):
        try:
            names = [entry.name for entry in os.scandir(directory) if _SLOT_NAME.fullmatch(entry.name)]
        except FileNotFoundError:
            return []
    return [directory / name for name in sorted(names, key=lambda name: (len(name), name))]


def survey(directory: Path) -> list[Backlog]:
    """What lies in each slot of a directory, whoever holds it. Changes nothing. Raises SpoolError."""
    return [_look_into(path) for path in slots(directory)]


def _look_into(path: Path) -> Backlog:
    in_use = _in_use(path)
    try:
        with contextlib.closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            rows, size, oldest = connection.execute(
                "SELECT coalesce(sum(rows), 0), coalesce(sum(length(payload)), 0), min(created_at) FROM chunks"
            ).fetchone()
            status = connection.execute("SELECT metrics, written_at FROM status").fetchone() or (None, None)
    except sqlite3.Error as error:
        return Backlog(str(path), in_use, error=str(error))
    return Backlog(str(path), in_use, rows, size, oldest, *status)


def _in_use(path: Path) -> bool:
    if not path.with_suffix(".lock").exists():
        return False  # who merely looks makes no files
    lock = filelock.FileLock(path.with_suffix(".lock"), mode=0o600)
    try:
        with lock.acquire(blocking=False):
            return False
    except (filelock.Timeout, OSError):
        return True


_SLOT_NAME = re.compile(r"spool-\d+\.sqlite")


def _slot(directory: Path, number: int) -> Path:
    return directory / f"spool-{number}.sqlite"


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite and the file system raise into a SpoolError. Neither quotes rows."""
    try:
        yield
    except PermissionError as error:
        raise SpoolForbidden(f"the spool {path} cannot be used: {error}") from None
    except OSError as error:
        kind = SpoolForbidden if error.errno == errno.ELOOP else SpoolError  # a symbolic link
        raise kind(f"the spool {path} cannot be used: {error}") from None
    except (sqlite3.Error, NotImplementedError) as error:
        # The class itself is what SQLite says of a file that is no database, or no longer one; those below it are of a
        # disk without space, a lock, a connection that was closed.
        kind = SpoolDamaged if type(error) is sqlite3.DatabaseError else SpoolError
        said = "is damaged" if kind is SpoolDamaged else "cannot be used"
        raise kind(f"the spool {path} {said}: {error}") from None
