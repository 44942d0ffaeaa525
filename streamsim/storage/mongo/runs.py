"""Models and runs in MongoDB. Every change that has to be atomic is one update of one document.

    runs            _id: id, the fields of `Run`; tail: entries from position `tail_at` on; live_until: its
                    expiry, or a date that never comes; m: metadata and v: recorded variables, both by name,
                    as what is compared; index: the same variables as a list, for the index of filters
    run_chunks      _id: run/position, run, at: position of its first entry, entries: older parts of journals
    models          _id: tenant/name, tenant, name, version, deleted, order
    model_versions  _id: tenant/name/version, the fields of `Model`
    model_managers  _id: tenant/manager, model: the name of the one that claims it

Names inside documents are hexadecimal, so that dots and dollars mean nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from bson import Binary
from pymongo import ASCENDING, DESCENDING
from pymongo.errors import DuplicateKeyError

from streamsim.storage.contract.runs import Append, Model, NameTaken, Run, RunQuery
from streamsim.storage.mongo.connection import MongoConnection, reaching
from streamsim.storage.mongo.run_documents import (
    chunk_document,
    compared,
    compared_metadata,
    expiry,
    field_name,
    model_fields,
    recorded_variables,
    run_document,
    run_documents,
    to_model,
    to_run,
    too_long,
)
from streamsim.storage.mongo.run_queries import conditions_and_order

CLAIM_MS: Final = 60_000
"""A claim on a manager's name is left alone for so long: its model may be about to be stored."""
_WITHOUT: Final = {"tail": 0, "v": 0, "index": 0}


class MongoRuns:
    """A `RunStore` on a connection."""

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    @property
    def _db(self) -> Any:
        return self._connection.database

    # ---- models

    async def put_model(self, model: Model, *, new: bool) -> Model:
        async with reaching():
            key = f"{model.tenant}/{model.name}"
            head = await self._db.models.find_one({"_id": key})
            live = head is not None and not head["deleted"]
            if new and live:
                raise NameTaken(model.name)
            if not new and not live:
                raise KeyError(model.name)
            claimed = await self._claim(model)
            last = await self._db.model_versions.find(
                {"tenant": model.tenant, "name": model.name}, sort=[("version", DESCENDING)], limit=1
            ).to_list(1)
            version = last[0]["version"] + 1 if last else 1
            stored = msgspec.structs.replace(model, version=version)
            try:
                await self._db.model_versions.insert_one({"_id": f"{key}/{version}", **model_fields(stored)})
                if head is None:
                    first = {
                        "_id": key,
                        "tenant": model.tenant,
                        "name": model.name,
                        "order": model.created_ms,
                    }
                    await self._db.models.insert_one({**first, "version": version, "deleted": False})
                else:
                    same = {"_id": key, "version": head["version"], "deleted": head["deleted"]}
                    change = {"$set": {"version": version, "deleted": False}}
                    if (await self._db.models.update_one(same, change)).matched_count == 0:
                        raise NameTaken(model.name)
            except (DuplicateKeyError, NameTaken):
                # Another process stores the same model at this moment; its managers are of the same name.
                await self._release(model.tenant, claimed)
                raise NameTaken(model.name) from None
            kept = {"tenant": model.tenant, "model": model.name, "manager": {"$nin": list(model.managers)}}
            await self._db.model_managers.delete_many(kept)
            return stored

    async def _claim(self, model: Model) -> list[str]:
        """Take the names of the model's managers; those that were free before."""
        claimed: list[str] = []
        for manager in model.managers:
            key = f"{model.tenant}/{manager}"
            own = {"tenant": model.tenant, "manager": manager, "model": model.name}
            document: dict[str, Any] = {"_id": key, **own, "date_ms": model.modified_ms}
            try:
                await self._db.model_managers.insert_one(document)
                claimed.append(manager)
            except DuplicateKeyError:
                claim = await self._db.model_managers.find_one({"_id": key}) or document
                owner = claim["model"]
                if owner == model.name:
                    continue
                holder = await self.get_model(model.tenant, owner)
                fresh = claim["date_ms"] > model.modified_ms - CLAIM_MS
                if fresh or (holder is not None and manager in holder.managers):
                    await self._release(model.tenant, claimed)
                    raise NameTaken(manager, owner) from None
                # A claim that a crash left behind.
                taken = await self._db.model_managers.update_one(
                    {"_id": key, "model": owner}, {"$set": document}
                )
                if not taken.matched_count:
                    await self._release(model.tenant, claimed)
                    raise NameTaken(manager, owner) from None
                claimed.append(manager)
        return claimed

    async def _release(self, tenant: str, managers: list[str]) -> None:
        for manager in managers:
            await self._db.model_managers.delete_one({"_id": f"{tenant}/{manager}"})

    async def get_model(self, tenant: str, name: str, version: int = 0) -> Model | None:
        async with reaching():
            if not version:
                head = await self._db.models.find_one({"_id": f"{tenant}/{name}", "deleted": False})
                if head is None:
                    return None
                version = head["version"]
            document = await self._db.model_versions.find_one({"_id": f"{tenant}/{name}/{version}"})
            return None if document is None else to_model(document)

    async def list_models(self, tenant: str) -> list[Model]:
        async with reaching():
            heads = self._db.models.find({"tenant": tenant, "deleted": False})
            keys = [
                f"{head['_id']}/{head['version']}"
                async for head in heads.sort([("order", ASCENDING), ("_id", ASCENDING)])
            ]
            documents = self._db.model_versions.find({"_id": {"$in": keys}}, {"files": 0})
            models = {document["_id"]: to_model(document) async for document in documents}
            return [models[key] for key in keys]

    async def delete_model(self, tenant: str, name: str) -> bool:
        async with reaching():
            change = await self._db.models.update_one(
                {"_id": f"{tenant}/{name}", "deleted": False}, {"$set": {"deleted": True}}
            )
            if change.matched_count:
                await self._db.model_managers.delete_many({"tenant": tenant, "model": name})
            return bool(change.matched_count)

    # ---- runs

    async def create_runs(self, runs: list[Run]) -> None:
        async with reaching():
            await self._db.runs.insert_many([run_document(run) for run in runs])

    async def get_run(self, run: str, now_ms: int) -> Run | None:
        async with reaching():
            return to_run(await self._db.runs.find_one({"_id": run, **_live(now_ms)}, _WITHOUT))

    async def entries(self, run: str, first: int, limit: int = -1) -> list[bytes]:
        async with reaching():
            document = await self._db.runs.find_one({"_id": run}, {"tail": 1, "tail_at": 1, "base": 1})
            if document is None:
                return []
            result: list[bytes] = []
            start = max(first, document["base"])
            if start < document["tail_at"]:
                chunks = self._db.run_chunks.find({"run": run}).sort("at", ASCENDING)
                async for chunk in chunks:
                    for position, entry in enumerate(chunk["entries"], chunk["at"]):
                        if start <= position < document["tail_at"]:
                            result.append(entry.encode())
            for position, entry in enumerate(document["tail"], document["tail_at"]):
                if position >= start:
                    result.append(entry.encode())
            return result if limit < 0 else result[:limit]

    async def append(self, change: Append) -> Run | None:
        async with reaching():
            condition = {"_id": change.run, "length": change.expected, **_live(change.now_ms)}
            before = await self._db.runs.find_one(condition, {"v": 0})
            if before is None:
                return None
            idle_ms = before["idle_ms"]
            fields: dict[str, Any] = {
                "length": change.expected + len(change.entries),
                "modified_ms": change.now_ms,
                **expiry(change.now_ms + idle_ms if idle_ms else 0),
            }
            if change.metadata is not None:
                fields |= {"metadata": Binary(change.metadata), "m": compared_metadata(change.metadata)}
            if change.variables:
                # Nobody else changes them at this length.
                index = {} if change.restart else {known["name"]: known for known in before["index"]}
                recorded: dict[str, Any] = {}
                for name, value in change.variables.items():
                    form = compared(value)
                    recorded[field_name(name)] = {**form, "value": value.decode()}
                    index[name] = {"name": name, **form}
                fields["index"] = list(index.values())
                fields |= (
                    {"v": recorded}
                    if change.restart
                    else {f"v.{name}": value for name, value in recorded.items()}
                )
            elif change.restart:
                fields |= {"v": {}, "index": []}
            entries = [entry.decode() for entry in change.entries]
            if change.restart:
                fields |= {"base": change.expected, "tail_at": change.expected, "tail": entries}
                update: dict[str, Any] = {"$set": fields}
            else:
                update = {"$set": fields, "$push": {"tail": {"$each": entries}}}
            if not (await self._db.runs.update_one(condition, update)).modified_count:
                return None
            after = {**before, **fields}
            if change.restart:
                await self._db.run_chunks.delete_many({"run": change.run, "at": {"$lt": change.expected}})
            else:
                after["tail"] = [*before["tail"], *entries]
                if too_long(after["tail"]):
                    await self._spill(after)
            return to_run(after)

    async def _spill(self, document: dict[str, Any]) -> None:
        """Move the tail into a chunk; a position's entry never changes, so anybody may do it at any time."""
        at, tail = document["tail_at"], document["tail"]
        chunk = chunk_document(document["_id"], at, tail)
        await self._db.run_chunks.replace_one({"_id": chunk["_id"]}, chunk, upsert=True)
        await self._db.runs.update_one(
            {"_id": document["_id"], "tail_at": at, "length": document["length"], "base": document["base"]},
            {"$set": {"tail_at": at + len(tail), "tail": []}},
        )

    async def touch(self, run: str, now_ms: int) -> Run | None:
        async with reaching():
            condition = {"_id": run, **_live(now_ms)}
            document = await self._db.runs.find_one(condition, _WITHOUT)
            if document is None or not document["idle_ms"]:
                return to_run(document)
            moved = expiry(now_ms + document["idle_ms"])
            if not (await self._db.runs.update_one(condition, {"$set": moved})).matched_count:
                return None
            return to_run({**document, **moved})

    async def delete_runs(self, runs: Sequence[str]) -> int:
        async with reaching():
            removed = await self._db.runs.delete_many({"_id": {"$in": list(runs)}})
            await self._db.run_chunks.delete_many({"run": {"$in": list(runs)}})
            return int(removed.deleted_count)

    async def expired_runs(self, now_ms: int, limit: int) -> list[str]:
        async with reaching():
            condition = {"expires_ms": {"$gt": 0, "$lte": now_ms}}
            documents = self._db.runs.find(condition, {"_id": 1}).sort("expires_ms", ASCENDING).limit(limit)
            return [document["_id"] async for document in documents]

    async def count_runs(self, tenant: str | None, kind: str, now_ms: int) -> int:
        condition: dict[str, Any] = {"kind": kind, **_live(now_ms)}
        if tenant is not None:
            condition["tenant"] = tenant
        async with reaching():
            return int(await self._db.runs.count_documents(condition))

    async def find_variables(
        self, query: RunQuery, names: Sequence[str] | None = None
    ) -> tuple[list[tuple[Run, dict[str, bytes]]], int]:
        conditions, order = conditions_and_order(query)
        fields = {"tail": 0, "index": 0}
        async with reaching():
            documents = self._db.runs.find(conditions, fields).sort(order)
            page = []
            async for document in documents.skip(query.first).limit(max(query.limit, 0)):
                run = to_run(document)
                if run is not None:
                    page.append((run, recorded_variables(document, names)))
            if len(page) < query.limit and (page or not query.first):
                return page, query.first + len(page)
            return page, int(await self._db.runs.count_documents(conditions))

    async def list_runs(self, query: RunQuery) -> tuple[list[Run], int]:
        conditions, order = conditions_and_order(query)
        async with reaching():
            total = await self._db.runs.count_documents(conditions)
            documents = self._db.runs.find(conditions, _WITHOUT).sort(order)
            runs = [
                to_run(document) async for document in documents.skip(query.first).limit(max(query.limit, 0))
            ]
            return [run for run in runs if run is not None], total

    async def variables(
        self, runs: Sequence[str], names: Sequence[str] | None = None
    ) -> dict[str, dict[str, bytes]]:
        async with reaching():
            result: dict[str, dict[str, bytes]] = {run: {} for run in runs}
            async for document in self._db.runs.find({"_id": {"$in": list(runs)}}, {"v": 1}):
                result[document["_id"]] = recorded_variables(document, names)
            return result

    async def copy_run(self, run: Run, source: str, entries: Sequence[bytes]) -> None:
        async with reaching():
            document, chunks = run_documents(run, entries, {})
            original = await self._db.runs.find_one({"_id": source}, {"v": 1, "index": 1})
            document |= {} if original is None else {"v": original["v"], "index": original["index"]}
            # First the chunks, which nobody sees until the run is there.
            if chunks:
                await self._db.run_chunks.insert_many(chunks)
            await self._db.runs.insert_one(document)


def _live(now_ms: int) -> dict[str, Any]:
    return {"live_until": {"$gt": now_ms}}
