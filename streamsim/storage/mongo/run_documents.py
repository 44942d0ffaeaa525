"""Models and runs as documents of MongoDB, and back; the collections are described in `runs`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
from bson import Binary

from streamsim.storage.contract.runs import Model, Run, scalar
from streamsim.storage.mongo.values import plain

TAIL: Final = 200
"""Entries that stay in the run's document; beyond it they move into a chunk."""
TAIL_BYTES: Final = 4 << 20
"""Likewise their bytes: a document of MongoDB has at most 16 MiB."""
FOREVER: Final = 2**62


def field_name(name: str) -> str:
    """A name inside a document: hexadecimal, so that dots and dollars mean nothing."""
    return "x" + name.encode().hex()


def compared(text: bytes) -> dict[str, Any]:
    """What a recorded variable, given as JSON text, is compared by."""
    value = scalar(text)
    if isinstance(value, str):
        return {"kind": "text", "text": value}
    return {"kind": "other"} if value is None else {"kind": "number", "number": float(value)}


def compared_metadata(metadata: bytes) -> dict[str, Any]:
    """Scalars of a metadata object by the hexadecimal of their dotted path."""

    def walk(value: Any, path: str) -> None:
        if isinstance(value, dict):
            for name, item in value.items():
                walk(item, f"{path}.{name}" if path else name)
        elif not isinstance(value, list):
            result[field_name(path)] = value

    result: dict[str, Any] = {}
    walk(msgspec.json.decode(metadata), "")
    return result


def expiry(expires_ms: int) -> dict[str, int]:
    """The fields of a run that say when it expires; 0 is never."""
    return {"expires_ms": expires_ms, "live_until": expires_ms or FOREVER}


def recorded_variables(document: dict[str, Any], names: Sequence[str] | None) -> dict[str, bytes]:
    """Recorded variables of a run's document, of some names or of all."""
    if names is None:
        return {bytes.fromhex(key[1:]).decode(): one["value"].encode() for key, one in document["v"].items()}
    kept = {name: document["v"].get(field_name(name)) for name in names}
    return {name: one["value"].encode() for name, one in kept.items() if one is not None}


def run_document(run: Run) -> dict[str, Any]:
    """A new run, with an empty journal."""
    fields = msgspec.structs.asdict(run)
    document = {
        "_id": fields.pop("id"),
        **fields,
        "metadata": Binary(run.metadata),
        "m": compared_metadata(run.metadata),
    }
    document["models"] = Binary(msgspec.json.encode(run.models))
    document |= expiry(run.expires_ms)
    return {**document, "v": {}, "index": [], "tail": [], "tail_at": run.base}


def chunk_document(run: str, at: int, texts: Sequence[str]) -> dict[str, Any]:
    """A part of a journal; `at`: the position of its first entry."""
    return {"_id": f"{run}/{at}", "run": run, "at": at, "entries": list(texts)}


def too_long(texts: Sequence[str]) -> bool:
    """Whether entries are more than stay in one document."""
    return len(texts) > TAIL or sum(len(text.encode()) for text in texts) > TAIL_BYTES


def grouped(texts: Sequence[str]) -> list[list[str]]:
    """Entries in order, in parts that fit a document; at least one part, of which the last is the tail."""
    parts: list[list[str]] = [[]]
    size = 0
    for text in texts:
        more = len(text.encode())
        if parts[-1] and (len(parts[-1]) >= TAIL or size + more > TAIL_BYTES):
            parts.append([])
            size = 0
        parts[-1].append(text)
        size += more
    return parts


def run_documents(
    run: Run, entries: Sequence[bytes], variables: dict[str, bytes]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A run as it is, with its entries from `run.base` on: its document, and its chunks."""
    *parts, tail = grouped([entry.decode() for entry in entries])
    chunks = []
    at = run.base
    for part in parts:
        chunks.append(chunk_document(run.id, at, part))
        at += len(part)
    recorded = {name: compared(value) for name, value in variables.items()}
    document = run_document(run) | {
        "v": {field_name(name): {**one, "value": variables[name].decode()} for name, one in recorded.items()},
        "index": [{"name": name, **one} for name, one in recorded.items()],
        "tail": tail,
        "tail_at": at,
    }
    return document, chunks


def model_documents(model: Model, deleted: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document of one version of a model, and that of a model whose newest version it is."""
    key = f"{model.tenant}/{model.name}"
    head = {"_id": key, "tenant": model.tenant, "name": model.name, "order": model.created_ms}
    head |= {"version": model.version, "deleted": deleted}
    return {"_id": f"{key}/{model.version}", **model_fields(model)}, head


def to_run(document: dict[str, Any] | None) -> Run | None:
    """The run of a document; None of none."""
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


def model_fields(model: Model) -> dict[str, Any]:
    """The fields of a version of a model as they are stored."""
    fields = msgspec.structs.asdict(model)
    fields |= {"managers": list(model.managers), "files": Binary(msgspec.json.encode(model.files))}
    return fields | {"options": Binary(model.options), "found": Binary(model.found)}


def to_model(document: dict[str, Any]) -> Model:
    """The version of a model that a document is; without files if the document has none."""
    fields = {name: plain(document[name]) for name in Model.__struct_fields__ if name in document}
    files = msgspec.json.decode(bytes(document["files"])) if "files" in document else {}
    fields |= {"managers": tuple(document["managers"]), "files": files}
    fields |= {name: bytes(document[name]) for name in ("options", "found")}
    return Model(**fields)
