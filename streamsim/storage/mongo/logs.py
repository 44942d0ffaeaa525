"""Logs in MongoDB: how rows come in, and how they are read.

log_<kind>      _id: row id, experiment, position, date_ms, data; of rewards advice, "" for none
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import BulkWriteError

from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.contract.logs import PAGE_BYTES, LogKind, LogRow
from streamsim.storage.mongo.connection import MongoConnection, reaching
from streamsim.storage.mongo.schema import log_collection
from streamsim.storage.mongo.values import plain, readable, to_bytes

_DUPLICATE_KEY: Final = 11000
_MAX_POSITION: Final = 2**63 - 1
_ADVICES_AT_ONCE: Final = 500


class _Advised(msgspec.Struct):
    advice_id: Any = None


_advised = msgspec.json.Decoder(_Advised).decode


class MongoLogs:
    """Rows that are in MongoDB; those that still wait in the outbox are not."""

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    @property
    def _db(self) -> Any:
        return self._connection.database

    async def append(self, rows: Iterable[LogRow]) -> list[LogRow]:
        """Store rows; safe to repeat. The rows whose id another row had before, which are not stored."""
        by_kind: dict[LogKind, list[LogRow]] = {}
        for row in rows:
            by_kind.setdefault(row.kind, []).append(row)
        repeated: list[LogRow] = []
        async with reaching():
            for kind, some in by_kind.items():
                repeated += await self._append(self._db[log_collection(kind)], some)
        return repeated

    async def _append(self, collection: Any, rows: list[LogRow]) -> list[LogRow]:
        try:
            await collection.insert_many([_log_document(row) for row in rows], ordered=False)
            return []
        except BulkWriteError as error:
            known = [rows[index] for index in only_repeated(error)]
        found = collection.find({"_id": {"$in": [row.id for row in known]}}, {"position": 1})
        positions = {document["_id"]: document["position"] async for document in found}
        # A row that is there with its own position was stored by an earlier attempt.
        return [row for row in known if positions[row.id] != int(row.position)]

    async def read_log(
        self,
        experiment_id: str,
        kind: LogKind,
        *,
        limit: int,
        before: str = "",
        max_bytes: int = PAGE_BYTES,
    ) -> list[LogRow]:
        """Rows that are in MongoDB, newest first; see the contract."""
        query = {"position": {"$lt": position_of(before)}} if before else {}
        return await self._rows(experiment_id, kind, query, DESCENDING, limit, max_bytes)

    async def follow_log(
        self,
        experiment_id: str,
        kind: LogKind,
        *,
        limit: int,
        after: str = "",
        max_bytes: int = PAGE_BYTES,
    ) -> list[LogRow]:
        """Likewise, oldest first."""
        query = {"position": {"$gt": position_of(after)}} if after else {}
        return await self._rows(experiment_id, kind, query, ASCENDING, limit, max_bytes)

    async def rewards_of(self, experiment_id: str, advices: Collection[str]) -> list[LogRow] | None:
        """Of rewards that are in MongoDB; see the contract."""
        collection = self._db[log_collection("reward")]
        async with reaching():
            if (
                await collection.find_one({"experiment": experiment_id, "advice": None}, {"_id": 1})
                is not None
            ):
                return None
            found: list[LogRow] = []
            wanted = list(advices)
            for start in range(0, len(wanted), _ADVICES_AT_ONCE):
                some = wanted[start : start + _ADVICES_AT_ONCE]
                rows = collection.find({"experiment": experiment_id, "advice": {"$in": some}})
                found += [log_row("reward", document) async for document in rows]
        return sorted(found, key=lambda row: int(row.position))

    async def _rows(
        self,
        experiment_id: str,
        kind: LogKind,
        query: Mapping[str, Any],
        order: int,
        limit: int,
        max_bytes: int,
    ) -> list[LogRow]:
        if limit <= 0:
            return []
        async with reaching():
            # MongoDB's own batches have at most 16 MiB.
            rows_of = {"experiment": experiment_id, **query}
            found = self._db[log_collection(kind)].find(rows_of).sort("position", order).limit(limit)
            rows, left = list[LogRow](), max_bytes
            async for document in found:
                rows.append(log_row(kind, document))
                left -= len(rows[-1].data)
                if left <= 0:
                    await found.close()
                    break
            return rows


def position_of(text: str) -> int:
    """A position in a log as a number. :raises ValueError:"""
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= _MAX_POSITION):
        raise ValueError(f"{text!r} is no position in a log")
    return int(text)


def only_repeated(error: BulkWriteError) -> list[int]:
    """Which documents of an unordered insertion were there before.

    :raises StoreUnavailable: others were refused for another reason.
    """
    details = error.details
    failed = [one for one in details["writeErrors"] if one["code"] != _DUPLICATE_KEY]
    if failed or details.get("writeConcernErrors"):
        reason = (failed or details["writeConcernErrors"])[0].get("errmsg", "unknown")
        raise StoreUnavailable(f"MongoDB refuses rows: {reason[:300]}") from error
    return [one["index"] for one in details["writeErrors"]]


def _log_document(row: LogRow) -> dict[str, Any]:
    document = {
        "_id": row.id,
        "experiment": row.experiment_id,
        "position": int(row.position),
        "date_ms": row.date_ms,
        "data": readable(row.data),
    }
    if row.kind == "reward":
        advice = _advised(row.data).advice_id
        document["advice"] = advice if isinstance(advice, str) else ""
    return document


def log_row(kind: LogKind, document: Mapping[str, Any]) -> LogRow:
    """The row of a document of the collection of its kind."""
    return LogRow(
        document["experiment"],
        kind,
        document["_id"],
        plain(document["date_ms"]),
        to_bytes(document["data"]),
        str(document["position"]),
    )
