"""Jobs in MongoDB.

jobs        _id: id, number (order of creation), and the fields of `Job`
job_parts   _id: "job/number", job, number, data
job_turns   _id: tenant, turn: the number of its last claim
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec
from bson import Binary
from pymongo import ASCENDING, DESCENDING, ReturnDocument
from pymongo.errors import DuplicateKeyError

from streamsim.storage.contract.jobs import UNFINISHED, Job, State
from streamsim.storage.mongo.connection import MongoConnection, reaching
from streamsim.storage.mongo.values import plain

_UNFINISHED: Final = {"$in": list(UNFINISHED)}
_LARGE: Final = ("spec", "result", "error")


class MongoJobs:
    """A `JobStore` on a connection."""

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    @property
    def _db(self) -> Any:
        return self._connection.database

    async def create_job(self, job: Job) -> None:
        document = msgspec.structs.asdict(job)
        document["_id"] = document.pop("id")
        document["experiment"] = document.pop("experiment_id")
        for name in _LARGE:
            document[name] = None if document[name] is None else Binary(document[name])
        async with reaching():
            counter = await self._db.counters.find_one_and_update(
                {"_id": "jobs"}, {"$inc": {"value": 1}}, upsert=True, return_document=ReturnDocument.AFTER
            )
            await self._db.jobs.insert_one({**document, "number": counter["value"]})

    async def get_job(self, job: str) -> Job | None:
        async with reaching():
            document = await self._db.jobs.find_one({"_id": job})
        return None if document is None else _job(document)

    async def list_jobs(
        self, tenant: str, experiment_id: str | None, *, limit: int, before: str = ""
    ) -> list[Job]:
        if limit <= 0:
            return []
        query: dict[str, Any] = {"tenant": tenant}
        if experiment_id is not None:
            query["experiment"] = experiment_id
        async with reaching():
            if before:
                last = await self._db.jobs.find_one({"_id": before}, {"number": 1})
                if last is None:
                    return []
                query["number"] = {"$lt": last["number"]}
            hidden = dict.fromkeys(_LARGE, 0)
            found = self._db.jobs.find(query, hidden).sort("number", DESCENDING).limit(limit)
            return [_job(document) async for document in found]

    async def count_jobs(self, tenant: str) -> int:
        async with reaching():
            return int(await self._db.jobs.count_documents({"tenant": tenant, "state": _UNFINISHED}))

    async def claim_job(
        self, owner: str, now_ms: int, lease_ms: int, *, kind: str, but: Collection[str] = ()
    ) -> Job | None:
        # The kind in both, as servers that speak MongoDB's protocol may overlook it beside an `$or`.
        free: list[dict[str, Any]] = [
            {"kind": kind, "state": "waiting"},
            {"kind": kind, "state": "running", "lease_ms": {"$lte": now_ms}},
        ]
        change = {
            "$set": {"state": "running", "owner": owner, "lease_ms": lease_ms, "modified_ms": now_ms},
            "$inc": {"attempts": 1},
        }
        async with reaching():
            # Oldest first, so a tenant comes in where its oldest job does; few jobs are unfinished.
            fields = {"tenant": 1, "number": 1}
            waiting: dict[str, None] = {}
            async for job in self._db.jobs.find({"$or": free}, fields).sort("number", ASCENDING):
                if job["tenant"] not in but:
                    waiting.setdefault(job["tenant"])
            turns = {
                turn["_id"]: turn["turn"]
                async for turn in self._db.job_turns.find({"_id": {"$in": list(waiting)}})
            }
            for tenant in sorted(waiting, key=lambda tenant: turns.get(tenant, 0)):
                # Another process may have been faster.
                document = await self._db.jobs.find_one_and_update(
                    {"$or": [condition | {"tenant": tenant} for condition in free]},
                    change,
                    sort=[("number", ASCENDING)],
                    return_document=ReturnDocument.AFTER,
                )
                if document is not None:
                    counter = await self._db.counters.find_one_and_update(
                        {"_id": "job_turns"},
                        {"$inc": {"value": 1}},
                        upsert=True,
                        return_document=ReturnDocument.AFTER,
                    )
                    await self._db.job_turns.update_one(
                        {"_id": tenant}, {"$set": {"turn": counter["value"]}}, upsert=True
                    )
                    return _job(document)
        return None

    async def report(self, job: str, owner: str, done: int, now_ms: int, lease_ms: int) -> bool:
        return await self._set(
            {"_id": job, "owner": owner, "state": "running"},
            {"done": done, "modified_ms": now_ms, "lease_ms": lease_ms},
        )

    async def finish_job(
        self,
        job: str,
        owner: str | None,
        state: State,
        now_ms: int,
        *,
        result: bytes | None = None,
        error: bytes | None = None,
    ) -> bool:
        query: dict[str, Any] = {"_id": job, "state": _UNFINISHED}
        if owner is not None:
            query["owner"] = owner
        change: dict[str, Any] = {
            "state": state,
            "modified_ms": now_ms,
            "lease_ms": 0,
            "owner": "",
            "result": None if result is None else Binary(result),
            "error": None if error is None else Binary(error),
        }
        if state == "done":
            found = await self.get_job(job)
            change["done"] = 0 if found is None else found.total
        if not await self._set(query, change):
            return False
        async with reaching():
            await self._db.job_parts.delete_many({"job": job})
        return True

    async def release_job(self, job: str, owner: str, now_ms: int) -> bool:
        return await self._set(
            {"_id": job, "owner": owner, "state": "running"},
            {"state": "waiting", "owner": "", "lease_ms": 0, "modified_ms": now_ms},
        )

    async def put_part(self, job: str, number: int, data: bytes) -> None:
        document = {"_id": f"{job}/{number}", "job": job, "number": number, "data": Binary(data)}
        async with reaching():
            if await self._db.jobs.find_one({"_id": job, "state": _UNFINISHED}, {"_id": 1}) is None:
                return
            try:
                await self._db.job_parts.insert_one(document)
            except DuplicateKeyError:
                return

    async def parts(self, job: str) -> dict[int, bytes]:
        async with reaching():
            found = self._db.job_parts.find({"job": job})
            return {document["number"]: bytes(document["data"]) async for document in found}

    async def delete_job(self, tenant: str, job: str) -> bool:
        async with reaching():
            removed = await self._db.jobs.delete_one({"_id": job, "tenant": tenant})
            if removed.deleted_count:
                await self._db.job_parts.delete_many({"job": job})
        return bool(removed.deleted_count)

    async def _set(self, query: Mapping[str, Any], change: Mapping[str, Any]) -> bool:
        async with reaching():
            result = await self._db.jobs.update_one(query, {"$set": change})
        return bool(result.matched_count)


def _job(document: Mapping[str, Any]) -> Job:
    fields: dict[str, Any] = {
        name: plain(document.get(name))
        for name in Job.__struct_fields__
        if name not in ("id", "experiment_id")
    }
    for name in _LARGE:
        fields[name] = None if fields[name] is None else bytes(fields[name])
    fields["spec"] = fields["spec"] or b""
    return Job(id=document["_id"], experiment_id=plain(document["experiment"]), **fields)
