"""The SQL of the log: numbered migrations, and named queries in aiosql's convention (`-- name:`)."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import aiosql


@cache
def queries() -> Any:
    """The named queries as methods for asyncpg. The first argument is a connection, the others go by name."""
    return aiosql.from_str("\n".join(text for _, text in read("queries")), "asyncpg")


def read(directory: str) -> list[tuple[str, str]]:
    """Name and text of each .sql file of a directory in here, in the order of names, with Unix line ends."""
    found = [file for file in files(__name__).joinpath(directory).iterdir() if file.name.endswith(".sql")]
    # Text mode turns the line ends that a checkout may have made: digests of the text must not depend on them.
    return sorted((file.name, file.read_text(encoding="utf-8")) for file in found)
