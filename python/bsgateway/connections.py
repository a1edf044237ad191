"""How PostgreSQL is reached: the addresses of a DSN, the one that takes writes, and what errors mean."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

import asyncpg
import msgspec

from bsgateway.errors import StoreError, StoreVersionError

if TYPE_CHECKING:
    from asyncpg.pool import PoolConnectionProxy

    Pool = asyncpg.Pool[asyncpg.Record]
    Connection = PoolConnectionProxy[asyncpg.Record]

MAX_CONNECTIONS = 4  # of each worker: one writes, the others are for commands and pages
CONNECT_TIMEOUT = 10.0  # seconds, for all hosts of a DSN together
COMMAND_TIMEOUT = 30.0  # seconds for one statement
STATEMENT_CACHE = "statement_cache_size"
"""Of a DSN: how many prepared statements asyncpg keeps for each connection."""
STATEMENTS = 100  # unless it says so: asyncpg's own default
NOT_A_URL = "an address that is not a URL"
# A host that says this is passed over. Who is refused by one is refused by all, so a wrong password is not among them.
_AWAY = (asyncpg.CannotConnectNowError, asyncpg.TooManyConnectionsError, asyncpg.PostgresConnectionError)


class Host(NamedTuple):
    """A server of a DSN: a name, an address or the directory of a socket; None is what libpq takes by default."""

    name: str | None
    port: int | None

    def __str__(self) -> str:
        name = self.name or "localhost"
        if ":" in name:
            name = f"[{name}]"
        return name if self.port is None else f"{name}:{self.port}"


def hosts(dsn: str) -> tuple[Host, ...]:
    """The servers that a DSN names, in its order; at least one. Raises ValueError, without a word of the DSN."""
    url = urlsplit(dsn)
    # A slash in a password that is not written as %2F cuts the DSN there, and the port would be a piece of it.
    cut = "@" in url.path and "@" not in url.netloc
    if url.scheme not in ("postgresql", "postgres") or cut:
        raise ValueError(NOT_A_URL)
    given = {name: values[-1] for name, values in parse_qs(url.query).items()}
    listed = url.netloc.rpartition("@")[2]
    names = [_split(part) for part in (unquote(listed) or given.get("host", "")).split(",")]
    ports = [] if listed else [_port(part) for part in given.get("port", "").split(",")]
    if len(ports) == 1:
        ports *= len(names)
    if ports and len(ports) != len(names):
        raise ValueError(NOT_A_URL)
    return tuple(Host(name, port or (ports[at] if ports else None)) for at, (name, port) in enumerate(names))


def describe(dsn: str) -> str:
    """Hosts, ports and database of a DSN, without user and password, for messages."""
    try:
        addresses = ",".join(map(str, hosts(dsn)))
        url = urlsplit(dsn)
        given = {name: values[-1] for name, values in parse_qs(url.query).items()}
    except ValueError:
        return NOT_A_URL
    database = url.path.lstrip("/") or given.get("dbname") or given.get("database") or ""
    return NOT_A_URL if "@" in database else f"{addresses}/{database}"


def _split(part: str) -> tuple[str | None, int | None]:
    if part.startswith("["):
        name, _, port = part[1:].partition("]")
        return name, _port(port.removeprefix(":"))
    if part.startswith("/"):
        return part, None
    name, _, port = part.partition(":")
    return name or None, _port(port)


def _port(text: str) -> int | None:
    if text and not (text.isascii() and text.isdigit()):
        raise ValueError(NOT_A_URL)
    return int(text) if text else None


async def create_pool(dsn: str) -> Pool:
    """A pool that has connected once. Raises what asyncpg does, and OSError."""
    pool = await idle_pool(dsn)
    try:
        async with pool.acquire(timeout=CONNECT_TIMEOUT):
            pass
    except BaseException:
        pool.terminate()
        raise
    return pool


async def idle_pool(dsn: str, most: int = MAX_CONNECTIONS, statement_seconds: float = COMMAND_TIMEOUT) -> Pool:
    """A pool of `most` connections that connects when one is asked for. Raises ValueError for what is no DSN."""
    dsn, statements = _statement_cache(dsn)
    pool: Pool = await asyncpg.create_pool(
        dsn,
        connect=_connect,
        # None is kept: asyncpg would restore it behind our back, and report each failure with a traceback.
        min_size=0,
        max_size=most,
        command_timeout=statement_seconds,
        init=init_connection,
        server_settings={"application_name": "bsgateway"},
        statement_cache_size=statements,
    )
    return pool


def _statement_cache(dsn: str) -> tuple[str, int]:
    """A DSN without what it says to asyncpg and not to the server: `statement_cache_size`, and that number. It is 0 for
    a pooler that gives each transaction another session, where a prepared statement would not be found again."""
    url = urlsplit(dsn)
    given = parse_qsl(url.query, keep_blank_values=True)
    sizes = [value for name, value in given if name == STATEMENT_CACHE]
    if not sizes:
        return dsn, STATEMENTS
    if not (sizes[-1].isascii() and sizes[-1].isdigit()):
        raise ValueError(f"{STATEMENT_CACHE} is not a whole number")
    kept = [pair for pair in given if pair[0] != STATEMENT_CACHE]
    return url._replace(query=urlencode(kept, safe="/,:")).geturl(), int(sizes[-1])


async def _connect(dsn: str | None = None, **options: Any) -> asyncpg.Connection[asyncpg.Record]:
    """Connect to the first host of `dsn` that answers and, unless the DSN says otherwise, can be written to.

    asyncpg tries several hosts too, but within one time-out: a first host that is silent would use it up.
    """
    candidates = hosts(dsn or "")
    if dsn is None or len(candidates) == 1:
        return await asyncpg.connect(dsn, timeout=CONNECT_TIMEOUT, **options)
    if "target_session_attrs" not in parse_qs(urlsplit(dsn).query) and "PGTARGETSESSIONATTRS" not in os.environ:
        options["target_session_attrs"] = "read-write"
    failures = []
    for host in candidates:
        try:
            return await asyncpg.connect(
                dsn, host=host.name, port=host.port, timeout=CONNECT_TIMEOUT / len(candidates), **options
            )
        except asyncio.TimeoutError:
            failures.append(f"{host}: no answer in time")
        except asyncpg.TargetServerAttributeNotMatched:
            failures.append(f"{host}: not the server that is wanted (read-write, unless target_session_attrs is set)")
        except (OSError, *_AWAY) as error:
            failures.append(f"{host}: {error}")
    raise ConnectionError("; ".join(failures))


async def init_connection(connection: asyncpg.Connection[asyncpg.Record]) -> None:
    """Let a connection take and give jsonb as Python values."""
    # The binary format of jsonb is its version, 1, and then the text.
    await connection.set_type_codec(
        "jsonb",
        schema="pg_catalog",
        encoder=lambda value: b"\x01" + msgspec.json.encode(value),
        decoder=lambda data: msgspec.json.decode(data[1:]),
        format="binary",
    )


@contextmanager
def explained(what: str, remedy: str) -> Iterator[None]:
    """Turn what asyncpg raises into a StoreError."""
    try:
        yield
    except StoreError as error:
        raise type(error)(f"{what}: {error}") from error  # whether it is of another version is to be known
    except asyncio.TimeoutError:
        raise StoreError(f"{what}: no answer in time: {remedy}") from None
    except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError) as error:
        raise StoreVersionError(f"{what}: {error.args[0]}: run `bsgateway migrate`") from None
    except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError) as error:
        raise StoreError(f"{what}: {error}: {remedy}") from None
