"""Statistics in MongoDB.

statistics    _id: experiment and name, experiment, modified_ms, data (base64)
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any, Final

from pymongo import DESCENDING

from streamsim.storage.contract.statistics import KEPT, check_size
from streamsim.storage.mongo.connection import MongoConnection, reaching

_COLLECTION: Final = "statistics"


class MongoStatistics:
    """A `StatisticsStore`."""

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    @property
    def _rows(self) -> Any:
        return self._connection.database[_COLLECTION]

    async def get_statistics(self, experiment_id: str, name: str) -> bytes | None:
        async with reaching():
            found = await self._rows.find_one({"_id": _id(experiment_id, name)})
        return None if found is None else b64decode(found["data"])

    async def put_statistics(self, experiment_id: str, name: str, data: bytes, now_ms: int) -> None:
        check_size(data)
        id = _id(experiment_id, name)
        row = {
            "_id": id,
            "experiment": experiment_id,
            "modified_ms": now_ms,
            "data": b64encode(data).decode(),
        }
        async with reaching():
            await self._rows.replace_one({"_id": id}, row, upsert=True)
            of_experiment = {"experiment": experiment_id, "_id": {"$ne": id}}
            found = self._rows.find(of_experiment, {"_id": 1}).sort("modified_ms", DESCENDING).skip(KEPT - 1)
            old = [one["_id"] async for one in found]
            if old:
                await self._rows.delete_many({"_id": {"$in": old}})


def _id(experiment_id: str, name: str) -> str:
    return f"{len(experiment_id)}:{experiment_id}{name}"
