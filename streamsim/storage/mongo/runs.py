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

from streamsim.storage.contract.runs import FIELDS, Append, Filter, Model, NameTaken, Run, RunQuery, scalar
from streamsim.storage.mongo.connection import MongoConnection, reaching
from streamsim.storage.mongo.values import plain

TAIL: Final = 200
"""Entries that stay in the run's document; beyond it they move into a chunk."""
CLAIM_MS: Final = 60_000
"""A claim on a manager's name is left alone for so long: its model may be about to be stored."""
FOREVER: Final = 2**62
_WITHOUT: Final = {"tail": 0, "v": 0, "index": 0}
_OPERATORS: Final = {"=": "$eq", "!=": "$ne", "<": "$lt", ">": "$gt", "<=": "$lte", ">=": "$gte"}


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
            found = await self._db.models.find_one({"_id": key})
            live = found is not None and not found["deleted"]
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
                await self._db.model_versions.insert_one({"_id": f"{key}/{version}", **_model_fields(stored)})
                if found is None:
                    head = {"_id": key, "tenant": model.tenant, "name": model.name, "order": model.created_ms}
                    await self._db.models.insert_one({**head, "version": version, "deleted": False})
                else:
                    same = {"_id": key, "version": found["version"], "deleted": found["deleted"]}
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
            found = await self._db.model_versions.find_one({"_id": f"{tenant}/{name}/{version}"})
            return None if found is None else to_model(found)

    async def list_models(self, tenant: str) -> list[Model]:
        async with reaching():
            heads = self._db.models.find({"tenant": tenant, "deleted": False})
            keys = [
                f"{head['_id']}/{head['version']}"
                async for head in heads.sort([("order", ASCENDING), ("_id", ASCENDING)])
            ]
            documents = self._db.model_versions.find({"_id": {"$in": keys}}, {"files": 0})
            found = {document["_id"]: to_model(document) async for document in documents}
            return [found[key] for key in keys]

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
            await self._db.runs.insert_many([_run_document(run) for run in runs])

    async def get_run(self, run: str, now_ms: int) -> Run | None:
        async with reaching():
            return _to_run(await self._db.runs.find_one({"_id": run, **_live(now_ms)}, _WITHOUT))

    async def entries(self, run: str, first: int, limit: int = -1) -> list[bytes]:
        async with reaching():
            found = await self._db.runs.find_one({"_id": run}, {"tail": 1, "tail_at": 1, "base": 1})
            if found is None:
                return []
            result: list[bytes] = []
            start = max(first, found["base"])
            if start < found["tail_at"]:
                chunks = self._db.run_chunks.find({"run": run}).sort("at", ASCENDING)
                async for chunk in chunks:
                    for position, entry in enumerate(chunk["entries"], chunk["at"]):
                        if start <= position < found["tail_at"]:
                            result.append(entry.encode())
            for position, entry in enumerate(found["tail"], found["tail_at"]):
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
                **_expiry(change.now_ms + idle_ms if idle_ms else 0),
            }
            if change.metadata is not None:
                fields |= {"metadata": Binary(change.metadata), "m": _flat(change.metadata)}
            if change.variables:
                # Nobody else changes them at this length.
                index = {} if change.restart else {one["name"]: one for one in before["index"]}
                recorded: dict[str, Any] = {}
                for name, value in change.variables.items():
                    compared = _compared(value)
                    recorded[_hex(name)] = {**compared, "value": value.decode()}
                    index[name] = {"name": name, **compared}
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
            found = {**before, **fields}
            if change.restart:
                await self._db.run_chunks.delete_many({"run": change.run, "at": {"$lt": change.expected}})
            else:
                found["tail"] = [*before["tail"], *entries]
                if len(found["tail"]) > TAIL:
                    await self._spill(found)
            return _to_run(found)

    async def _spill(self, found: dict[str, Any]) -> None:
        """Move the tail into a chunk; a position's entry never changes, so anybody may do it at any time."""
        at, tail = found["tail_at"], found["tail"]
        chunk = {"_id": f"{found['_id']}/{at}", "run": found["_id"], "at": at, "entries": tail}
        await self._db.run_chunks.replace_one({"_id": chunk["_id"]}, chunk, upsert=True)
        await self._db.runs.update_one(
            {"_id": found["_id"], "tail_at": at, "length": found["length"], "base": found["base"]},
            {"$set": {"tail_at": at + len(tail), "tail": []}},
        )

    async def touch(self, run: str, now_ms: int) -> Run | None:
        async with reaching():
            condition = {"_id": run, **_live(now_ms)}
            found = await self._db.runs.find_one(condition, _WITHOUT)
            if found is None or not found["idle_ms"]:
                return _to_run(found)
            moved = _expiry(now_ms + found["idle_ms"])
            if not (await self._db.runs.update_one(condition, {"$set": moved})).matched_count:
                return None
            return _to_run({**found, **moved})

    async def delete_runs(self, runs: Sequence[str]) -> int:
        async with reaching():
            removed = await self._db.runs.delete_many({"_id": {"$in": list(runs)}})
            await self._db.run_chunks.delete_many({"run": {"$in": list(runs)}})
            return int(removed.deleted_count)

    async def expired_runs(self, now_ms: int, limit: int) -> list[str]:
        async with reaching():
            condition = {"expires_ms": {"$gt": 0, "$lte": now_ms}}
            found = self._db.runs.find(condition, {"_id": 1}).sort("expires_ms", ASCENDING).limit(limit)
            return [document["_id"] async for document in found]

    async def count_runs(self, tenant: str | None, kind: str, now_ms: int) -> int:
        condition: dict[str, Any] = {"kind": kind, **_live(now_ms)}
        if tenant is not None:
            condition["tenant"] = tenant
        async with reaching():
            return int(await self._db.runs.count_documents(condition))

    async def find_variables(
        self, query: RunQuery, names: Sequence[str] | None = None
    ) -> tuple[list[tuple[Run, dict[str, bytes]]], int]:
        conditions, order = _query(query)
        fields = {"tail": 0, "index": 0}
        async with reaching():
            documents = self._db.runs.find(conditions, fields).sort(order)
            found = []
            async for document in documents.skip(query.first).limit(max(query.limit, 0)):
                run = _to_run(document)
                if run is not None:
                    found.append((run, _recorded(document, names)))
            if len(found) < query.limit and (found or not query.first):
                return found, query.first + len(found)
            return found, int(await self._db.runs.count_documents(conditions))

    async def list_runs(self, query: RunQuery) -> tuple[list[Run], int]:
        conditions, order = _query(query)
        async with reaching():
            total = await self._db.runs.count_documents(conditions)
            found = self._db.runs.find(conditions, _WITHOUT).sort(order)
            runs = [
                _to_run(document) async for document in found.skip(query.first).limit(max(query.limit, 0))
            ]
            return [run for run in runs if run is not None], total

    async def variables(
        self, runs: Sequence[str], names: Sequence[str] | None = None
    ) -> dict[str, dict[str, bytes]]:
        async with reaching():
            result: dict[str, dict[str, bytes]] = {run: {} for run in runs}
            async for document in self._db.runs.find({"_id": {"$in": list(runs)}}, {"v": 1}):
                result[document["_id"]] = _recorded(document, names)
            return result

    async def copy_run(self, run: Run, source: str, entries: Sequence[bytes]) -> None:
        async with reaching():
            document = _run_document(run) | {"tail": [entry.decode() for entry in entries]}
            found = await self._db.runs.find_one({"_id": source}, {"v": 1, "index": 1})
            document |= {} if found is None else {"v": found["v"], "index": found["index"]}
            await self._db.runs.insert_one(document)
            if len(entries) > TAIL:
                await self._spill(document)


def _recorded(document: dict[str, Any], names: Sequence[str] | None) -> dict[str, bytes]:
    """Recorded variables of a run's document, of some names or of all."""
    if names is None:
        return {bytes.fromhex(key[1:]).decode(): one["value"].encode() for key, one in document["v"].items()}
    kept = {name: document["v"].get(_hex(name)) for name in names}
    return {name: one["value"].encode() for name, one in kept.items() if one is not None}


def _query(query: RunQuery) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    """Conditions and order."""
    conditions: list[dict[str, Any]] = [{"tenant": query.tenant, "kind": query.kind}]
    conditions += [
        {name: value}
        for name, value in (("project", query.project), ("model", query.model))
        if value is not None
    ]
    conditions += [_condition(one) for one in query.filters]
    direction = DESCENDING if query.descending else ASCENDING
    return {"$and": conditions}, [(field, direction) for field in (*_sorting(query.sort), "_id")]


def _live(now_ms: int) -> dict[str, Any]:
    return {"live_until": {"$gt": now_ms}}


def _expiry(expires_ms: int) -> dict[str, int]:
    return {"expires_ms": expires_ms, "live_until": expires_ms or FOREVER}


def _hex(name: str) -> str:
    return "x" + name.encode().hex()


def _compared(text: bytes) -> dict[str, Any]:
    value = scalar(text)
    if isinstance(value, str):
        return {"kind": "text", "text": value}
    return {"kind": "other"} if value is None else {"kind": "number", "number": float(value)}


def _flat(metadata: bytes) -> dict[str, Any]:
    """Scalars of a metadata object by the hexadecimal of their dotted path."""

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                walk(item, f"{path}.{name}" if path else name)
        elif not isinstance(value, list):
            result[_hex(path)] = value

    result: dict[str, Any] = {}
    walk(msgspec.json.decode(metadata), "")
    return result


def _condition(one: Filter) -> dict[str, Any]:
    kind, _, name = one.field.partition(".")
    operator = _OPERATORS[one.operator]
    parts: list[dict[str, Any]] = []
    for value in one.values:
        if one.field in FIELDS:
            parts.append({"_id" if one.field == "id" else one.field: {operator: value}})
        elif kind == "metadata":
            parts.append({f"m.{_hex(name)}": {operator: value}})
        else:
            field = "text" if isinstance(value, str) else "number"
            compared = value if isinstance(value, str) or value is None else float(value)
            test = {"name": name, "kind": field, field: {operator: compared}}
            parts.append({"index": {"$elemMatch": test}})
    return {"$or": parts}


def _sorting(sort: str) -> list[str]:
    kind, _, name = sort.partition(".")
    if sort in FIELDS:
        return ["_id" if sort == "id" else sort]
    if kind == "metadata":
        return [f"m.{_hex(name)}"]
    return [f"v.{_hex(name)}.number", f"v.{_hex(name)}.text"]


def _run_document(run: Run) -> dict[str, Any]:
    fields = msgspec.structs.asdict(run)
    document = {"_id": fields.pop("id"), **fields, "metadata": Binary(run.metadata), "m": _flat(run.metadata)}
    document["models"] = Binary(msgspec.json.encode(run.models))
    document |= _expiry(run.expires_ms)
    return {**document, "v": {}, "index": [], "tail": [], "tail_at": run.base}


def run_documents(
    run: Run, entries: Sequence[bytes], variables: dict[str, bytes]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A run as it is, with its entries from `run.base` on: its document, and its chunks."""
    texts = [entry.decode() for entry in entries]
    whole = len(texts) // TAIL * TAIL
    chunks = [
        {
            "_id": f"{run.id}/{run.base + at}",
            "run": run.id,
            "at": run.base + at,
            "entries": texts[at : at + TAIL],
        }
        for at in range(0, whole, TAIL)
    ]
    recorded = {name: _compared(value) for name, value in variables.items()}
    document = _run_document(run) | {
        "v": {_hex(name): {**one, "value": variables[name].decode()} for name, one in recorded.items()},
        "index": [{"name": name, **one} for name, one in recorded.items()],
        "tail": texts[whole:],
        "tail_at": run.base + whole,
    }
    return document, chunks


def model_documents(model: Model, deleted: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document of one version of a model, and that of a model whose newest version it is."""
    key = f"{model.tenant}/{model.name}"
    head = {"_id": key, "tenant": model.tenant, "name": model.name, "order": model.created_ms}
    head |= {"version": model.version, "deleted": deleted}
    return {"_id": f"{key}/{model.version}", **_model_fields(model)}, head


def _to_run(document: dict[str, Any] | None) -> Run | None:
    if document is None:
        return None
    fields = {
        name: plain(document[name])
        for name in Run.__struct_fields__
        if name not in ("id", "models", "metadata")
    }
    return Run(
        id=document["_id"],
        models=msgspec.json.decode(bytes(document["models"])),
        metadata=bytes(document["metadata"]),
        **fields,
    )


def _model_fields(model: Model) -> dict[str, Any]:
    fields = msgspec.structs.asdict(model)
    fields |= {"managers": list(model.managers), "files": Binary(msgspec.json.encode(model.files))}
    return fields | {"options": Binary(model.options), "found": Binary(model.found)}


def to_model(document: dict[str, Any]) -> Model:
    fields = {name: plain(document[name]) for name in Model.__struct_fields__ if name in document}
    files = msgspec.json.decode(bytes(document["files"])) if "files" in document else {}
    fields |= {"managers": tuple(document["managers"]), "files": files}
    fields |= {name: bytes(document[name]) for name in ("options", "found")}
    return Model(**fields)


__all__ = ["MongoRuns", "model_documents", "run_documents", "to_model"]
