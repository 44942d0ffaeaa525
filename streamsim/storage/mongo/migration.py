"""What MongoDB holds of an installation as records, and back: see `contract.migration`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any, Final

import msgspec
from bson import Binary
from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from streamsim.storage.contract.accounts import LoginSession, User
from streamsim.storage.contract.logs import LogKind, LogRow
from streamsim.storage.contract.migration import (
    JobRecord,
    ModelRecord,
    RunRecord,
    SecretRecord,
    Shared,
)
from streamsim.storage.mongo.accounts import session_document, to_session, to_user, user_document
from streamsim.storage.mongo.connection import MongoConnection, reaching
from streamsim.storage.mongo.jobs import MongoJobs
from streamsim.storage.mongo.logs import MongoLogs, log_row
from streamsim.storage.mongo.run_documents import model_documents, run_documents, to_model
from streamsim.storage.mongo.runs import MongoRuns
from streamsim.storage.mongo.schema import log_collection

_PAGE: Final = 1000


class MongoMigration:
    """Part of a `Migratable`, on an open connection."""

    def __init__(
        self, connection: MongoConnection, logs: MongoLogs, runs: MongoRuns, jobs: MongoJobs
    ) -> None:
        self._connection = connection
        self._logs, self._runs, self._jobs = logs, runs, jobs

    @property
    def _db(self) -> Any:
        return self._connection.database

    async def note(self, text: str | None) -> str:
        async with reaching():
            if text:
                await self._db.migration.replace_one(
                    {"_id": "note"}, {"_id": "note", "text": text}, upsert=True
                )
            elif text is not None:
                await self._db.migration.delete_one({"_id": "note"})
            found = await self._db.migration.find_one({"_id": "note"})
        return "" if found is None else str(found["text"])

    async def export(self) -> AsyncGenerator[Shared, None]:
        for document in await self._all("secrets", {}, "_id"):
            yield SecretRecord(document["_id"], bytes(document["value"]))
        for user in await self._all("users", {}, "_id"):
            yield to_user(user)
            for session in await self._all("sessions", {"uid": user["uid"]}, "_id"):
                yield to_session(session)
        for head in await self._all("models", {}, "order", "_id"):
            query = {"tenant": head["tenant"], "name": head["name"]}
            versions = await self._all("model_versions", query, "version")
            yield ModelRecord(tuple(map(to_model, versions)), bool(head["deleted"]))
        for document in await self._all("runs", {}, "_id", fields={"_id": 1}):
            run = await self._runs.get_run(document["_id"], 0)
            assert run is not None
            entries = await self._runs.entries(run.id, 0)
            yield RunRecord(run, tuple(entries), (await self._runs.variables([run.id]))[run.id])
        for document in await self._all("jobs", {}, "number", fields={"_id": 1}):
            job = await self._jobs.get_job(document["_id"])
            assert job is not None
            parts = await self._jobs.parts(job.id)
            yield JobRecord(job, tuple(sorted(parts.items())))

    async def log(self, experiment_id: str, kind: LogKind) -> AsyncIterator[LogRow]:
        """An experiment's log of one kind, oldest first."""
        number, last = 0, 0
        while True:
            query = {"experiment": experiment_id, "position": {"$gt": last}}
            page = await self._all(log_collection(kind), query, "position", limit=_PAGE)
            for document in page:
                number += 1
                yield msgspec.structs.replace(log_row(kind, document), position=str(number))
            if len(page) < _PAGE:
                return
            last = page[-1]["position"]

    async def _all(
        self,
        collection: str,
        query: dict[str, Any],
        *order: str,
        fields: dict[str, int] | None = None,
        limit: int = 0,
    ) -> list[dict[str, Any]]:
        async with reaching():
            found = self._db[collection].find(query, fields).sort([(name, ASCENDING) for name in order])
            return [document async for document in found.limit(limit)]

    async def restore(self, record: Shared) -> None:
        async with reaching():
            if isinstance(record, SecretRecord):
                await self._insert("secrets", {"_id": record.name, "value": Binary(record.value)})
            elif isinstance(record, User):
                await self._insert("users", user_document(record))
            elif isinstance(record, LoginSession):
                user = await self._db.users.find_one({"_id": record.user})
                await self._insert("sessions", session_document(record, user["uid"]))
            elif isinstance(record, ModelRecord):
                await self._restore_model(record)
            elif isinstance(record, RunRecord):
                await self._restore_run(record)
            else:
                await self._restore_job(record)

    async def restore_log(self, records: Sequence[LogRow]) -> None:
        """Positions of restored rows count from 1, and so are below those of any commit."""
        await self._logs.append(records)

    async def _insert(self, collection: str, document: dict[str, Any]) -> None:
        """Unless it is there."""
        try:
            await self._db[collection].insert_one(document)
        except DuplicateKeyError:
            return

    async def _restore_model(self, record: ModelRecord) -> None:
        first, last = record.versions[0], record.versions[-1]
        for one in record.versions:
            await self._insert("model_versions", model_documents(one, record.deleted)[0])
        for manager in () if record.deleted else last.managers:
            owner = {"tenant": last.tenant, "manager": manager, "model": last.name}
            claim = {"_id": f"{last.tenant}/{manager}", **owner, "date_ms": last.modified_ms}
            await self._insert("model_managers", claim)
        _, head = model_documents(last, record.deleted)
        await self._insert("models", head | {"order": first.created_ms})

    async def _restore_run(self, record: RunRecord) -> None:
        document, chunks = run_documents(record.run, record.entries, record.variables)
        for chunk in chunks:
            await self._insert("run_chunks", chunk)
        await self._insert("runs", document)

    async def _restore_job(self, record: JobRecord) -> None:
        if await self._jobs.get_job(record.job.id) is None:
            await self._jobs.create_job(record.job)
        for number, data in record.parts:
            await self._jobs.put_part(record.job.id, number, data)
