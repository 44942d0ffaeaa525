"""Many rows per SQL statement.

Each call of SQLite gives up Python's interpreter lock, and on a busy server waits to get it back: with one
call per row, a commit of 32 rows would take a hundred times longer there than on an idle one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

_CHUNK = 32


def insert(db: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]], otherwise: str) -> int:
    """Insert rows of one width; how many were inserted or, by `otherwise`, updated.

    After an error the caller must roll back: FAIL keeps what the statement did before it, which spares SQLite
    a copy of every page that the statement changes.
    """
    changed = 0
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        sql = _insert_sql(into, len(part[0]), len(part), otherwise)
        changed += db.execute(sql, tuple(chain.from_iterable(part))).rowcount
    return changed


def each_in(
    db: sqlite3.Connection, sql: str, parameters: Sequence[Any], items: Sequence[str]
) -> Iterator[tuple[Any, ...]]:
    """Rows of a statement that ends in `IN`, over any number of items."""
    for start in range(0, len(items), _CHUNK):
        part = items[start : start + _CHUNK]
        yield from db.execute(f"{sql} ({_marks(len(part))})", (*parameters, *part)).fetchall()


@lru_cache(maxsize=1024)
def _insert_sql(into: str, width: int, height: int, otherwise: str) -> str:
    return f"INSERT OR FAIL INTO {into} VALUES {', '.join([f'({_marks(width)})'] * height)} {otherwise}"


def _marks(count: int) -> str:
    return ", ".join("?" * count)
