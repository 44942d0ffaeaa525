"""The record of a run as clients see and change it: what is known of it beside its variables."""

from __future__ import annotations

import re
from typing import Final

import msgspec

from streamsim import values
from streamsim.dates import iso
from streamsim.errors import BadRequest, refuse_unknown
from streamsim.storage.contract.runs import Run
from streamsim.values import Json, JsonObject

CREATE_FIELDS: Final = ("model", "scope", "files", "ephemeral", "sensitivityMode")
READ_ONLY: Final = frozenset(
    ("id", "account", "project", "model", "user", "created", "lastModified", "initialized", "active")
)
MAX_METADATA_BYTES: Final = 64 << 10

_PROJECT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def shown(run: Run, variables: JsonObject, *, active: bool) -> JsonObject:
    """The record as the API answers it.

    :param variables: values by path, to be shown with it. :param active: whether it is in memory.
    """
    return {
        "id": run.id,
        "account": run.tenant,
        "project": run.project,
        "model": run.model,
        "user": {"id": run.tenant, "userName": run.tenant},
        **msgspec.json.decode(run.metadata),
        "created": iso(run.created_ms),
        "lastModified": iso(run.modified_ms),
        "initialized": run.length > 0,
        "active": active,
        "variables": variables,
    }


def project_name(project: object) -> str:
    """The name of a project, checked. :raises BadRequest:"""
    if not isinstance(project, str) or not _PROJECT.fullmatch(project):
        raise BadRequest("project must have 1 to 64 letters, digits, '_', '.' or '-'", field="project")
    return project


def model_name(body: JsonObject) -> str:
    """The model that the body of a new run names. :raises BadRequest: or a field that there is not."""
    refuse_unknown(body, CREATE_FIELDS)
    named = body.get("model")
    if not isinstance(named, str):
        raise BadRequest("model must be the name of a model, or of its main file", field="model")
    return named


def metadata_of(body: JsonObject) -> bytes:
    """A new run's own fields as JSON text, from the body that asks for it. :raises BadRequest:"""
    if body.get("sensitivityMode") not in (None, False):
        raise BadRequest(
            "sensitivityMode can only be false: POST /sweep runs a scenario with many values",
            field="sensitivityMode",
        )
    return _checked(
        {
            "scope": _or(body.get("scope"), {}),
            "files": _or(body.get("files"), {}),
            "ephemeral": _or(body.get("ephemeral"), False),
            "saved": False,
            "trashed": False,
        }
    )


def of_copy(metadata: bytes) -> bytes:
    """The own fields of a copy: those of the run, but nobody has saved or trashed it yet."""
    record: JsonObject = msgspec.json.decode(metadata)
    return _checked({**record, "saved": False, "trashed": False})


def _or(given: Json, missing: Json) -> Json:
    """What was given; null is as if it was left out."""
    return missing if given is None else given


def _checked(metadata: JsonObject) -> bytes:
    for name in ("scope", "files"):
        if not isinstance(metadata.get(name, {}), dict):
            raise BadRequest(f"{name} must be an object", field=name)
    for name in ("ephemeral", "saved", "trashed"):
        if type(metadata.get(name, False)) is not bool:
            raise BadRequest(f"{name} must be true or false", field=name)
    text = values.dump(metadata)
    if len(text) > MAX_METADATA_BYTES:
        raise BadRequest(f"a run's own fields have at most {MAX_METADATA_BYTES} bytes")
    return text


def changed(metadata: bytes, fields: JsonObject) -> bytes:
    """A run's own fields with some set; dots in a name lead into objects. :raises BadRequest:"""
    record: JsonObject = msgspec.json.decode(metadata)
    for name, value in fields.items():
        parts = name.split(".")
        if value is None and name in ("scope", "files"):
            value = {}
        if parts[0] in READ_ONLY:
            raise BadRequest(f"{name[:100]} cannot be changed", field=name[:100])
        if not all(map(_KEY.fullmatch, parts)) or len(parts) > 8:
            raise BadRequest(f"{name[:100]} is no name of a field", field=name[:100])
        holder = record
        for part in parts[:-1]:
            inner = holder.get(part)
            if not isinstance(inner, dict):
                inner = holder[part] = {}
            holder = inner
        holder[parts[-1]] = value
    return _checked(record)
