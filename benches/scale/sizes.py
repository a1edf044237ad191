"""What a row of the log takes on disk: rows of real decisions, written as the log writes them, indexes included."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import asyncpg
from benches.log.records import Records

from bsgateway.log import chunk
from bsgateway.rollups import refresh_all
from bsgateway.rows import Item
from bsgateway.store import Store

from .report import Size

BATCH = 500
CHUNK_ROWS = 30
"""Records of a chunk in the spool, about, at ten requests a second and more."""
TABLES = ("routing_logs", "routing_outcomes", "routing_texts")

_SIZE = """
SELECT sum(pg_relation_size(relid) + coalesce(pg_relation_size(c.reltoastrelid), 0)) AS rows,
       sum(pg_indexes_size(relid)) AS indexes
FROM pg_partition_tree($1::text::regclass) JOIN pg_class c ON c.oid = relid WHERE isleaf
"""


async def measure(server: str, rows: int, say: Callable[[str], None]) -> list[Size]:
    """Bytes of each table for so many decisions, each with an outcome and words; and of the spool."""
    say(f"sizes of {rows:,} decisions")
    dsn = urlunsplit(urlsplit(server)._replace(path="/sizes"))
    connection = await asyncpg.connect(server)
    await connection.execute("CREATE DATABASE sizes")
    await connection.close()
    records = Records()
    async with await Store.connect(dsn) as store:
        await store.migrate()
        for _ in range(rows // BATCH):
            await store.copy(_requests(records, BATCH))
        await refresh_all(store, None)
    written = rows // BATCH * BATCH
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("VACUUM ANALYZE")
        found = []
        for table in TABLES:
            size = await connection.fetchrow(_SIZE, table)
            found.append(Size(table, int(size["rows"]) / written, int(size["indexes"]) / written))
    finally:
        await connection.close()
    spooled = _requests(records, CHUNK_ROWS // 3)
    found.append(Size("spool", len(chunk.encode(spooled)) / (len(spooled) / 3), 0.0))
    return found


def _requests(records: Records, number: int) -> list[Item]:
    """All that so many requests leave."""
    made: list[Item] = []
    for _ in range(number):
        decision = records.decision()
        made += decision, records.outcome(decision), records.texts(decision)
    return made
