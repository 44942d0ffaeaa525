"""The whole theta of an experiment, to be read, and to be set in place of what there is."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping
from typing import Any, Final

from streamsim import values
from streamsim.decisions.wire import MAX_ADDRESS
from streamsim.errors import BadRequest, Conflict, TooLarge
from streamsim.storage.contract.decisions import (
    Committed,
    DecisionStore,
    Experiment,
    ThetaAddress,
    Transaction,
)

THETA: Final = "_theta"
MAX_ROWS: Final = 10_000
MAX_VALUES: Final = 100_000
"""Most rows of a theta that is set, and most JSON values of the request."""
FIELDS: Final = ("version", "rows", "theta", "named")
_PART_BYTES: Final = 1 << 20

Rows = dict[ThetaAddress, bytes]


def version_of(versions: Mapping[str, int]) -> str:
    """One text for the versions of all named sets: another whenever one of them was written to."""
    known = sorted((name, version) for name, version in versions.items() if version)
    return hashlib.sha256(values.dump(known)).hexdigest()[:32]


async def parts(store: DecisionStore, experiment_id: str) -> AsyncGenerator[bytes, None]:
    """`{"rows": [{"name", "key", "value", "theta"}], "version"}` as JSON text in parts.

    Each named set is as it was at one moment; where others write meanwhile, the version is that of no moment,
    and a change on it is refused.
    """
    versions: dict[str, int] = {}
    held, separator = b'{"rows":[', b""
    for name in await store.theta_names(experiment_id):
        found = await store.read_theta(ThetaAddress(experiment_id, name, None, None))
        versions[name] = found.version
        for (key, value), (data, _) in found.rows.items():
            address = values.dump({"name": name, "key": key, "value": value})
            held += b'%b%b,"theta":%b}' % (separator, address[:-1], data)
            separator = b","
            if len(held) > _PART_BYTES:
                yield held
                held = b""
    yield held + b'],"version":' + values.dump(version_of(versions)) + b"}"


async def put(store: DecisionStore, experiment: Experiment, body: dict[str, Any]) -> str:
    """Set theta in place of all there is; the new version.

    :param body: `version`, which theta must have; and `rows`, or `theta` and `named` as an hourly snapshot.
    :raises BadRequest: naming the field. :raises TooLarge: there are too many rows.
    :raises Conflict: theta has another version.
    """
    version = body.get("version")
    if not isinstance(version, str):
        raise BadRequest("version is missing: give the one that GET answered", field="version")
    rows = _rows(experiment.id, body)
    versions = {
        name: (await store.read_theta(ThetaAddress(experiment.id, name, None, None))).version
        for name in await store.theta_names(experiment.id)
    }
    if version_of(versions) != version:
        raise _changed()
    reads = {ThetaAddress(experiment.id, name, None, None): found for name, found in versions.items()}
    for row in rows:
        reads.setdefault(ThetaAddress(experiment.id, row.name, None, None), 0)
    deletes = [scope for scope, found in reads.items() if found]
    result = await store.commit(
        Transaction(experiment.tenant, {experiment.id: experiment.revision}, reads, deletes, rows)
    )
    if not isinstance(result, Committed):
        raise _changed()
    new = result.versions.get(experiment.id, 0)
    return version_of(dict.fromkeys((row.name for row in rows), new))


def _changed() -> Conflict:
    return Conflict("theta was changed since this version: read it again", field="version")


def _rows(experiment_id: str, body: Mapping[str, Any]) -> Rows:
    if ("rows" in body) == ("theta" in body):
        raise BadRequest("give rows, or theta (and named) as an hourly snapshot has them", field="rows")
    found: Rows = {}
    if "rows" in body:
        if "named" in body:
            raise BadRequest("named goes with theta; rows have their name", field="named")
        if type(body["rows"]) is not list:
            raise BadRequest("rows must be a list of objects with name, key, value and theta", field="rows")
        for place, row in enumerate(body["rows"]):
            _add(found, experiment_id, row, f"rows[{place}]")
    else:
        named = body.get("named", {})
        if type(named) is not dict:
            raise BadRequest("named must be an object of name -> theta", field="named")
        for name, view in ({THETA: body["theta"]} | named).items():
            _add_view(found, experiment_id, name, view, "theta" if name == THETA else f"named.{name[:64]}")
    if len(found) > MAX_ROWS:
        raise TooLarge(f"theta has at most {MAX_ROWS:,} rows when it is set as a whole", field="rows")
    return found


def _add(found: Rows, experiment_id: str, row: object, where: str) -> None:
    if not isinstance(row, dict) or not row.keys() <= {"name", "key", "value", "theta"}:
        raise BadRequest(f"{where} must be an object with name, key, value and theta", field=where)
    given = {"name": THETA, "key": "", "value": ""} | row
    for part in ("name", "key", "value"):
        text = given[part]
        if not isinstance(text, str) or len(text) > MAX_ADDRESS or "\0" in text:
            raise BadRequest(
                f"{where}.{part} must be text of at most {MAX_ADDRESS} characters without NUL",
                field=f"{where}.{part}",
            )
    if not isinstance(row.get("theta"), dict):
        raise BadRequest(f"{where}.theta must be an object", field=f"{where}.theta")
    address = ThetaAddress(experiment_id, given["name"], given["key"], given["value"])
    if address in found:
        raise BadRequest(f"{where} has the name, key and value of an earlier one", field=where)
    found[address] = values.dump(row["theta"])


def _add_view(found: Rows, experiment_id: str, name: str, view: object, where: str) -> None:
    """A set as a snapshot shows it: an object of objects by "key:value", else one dict without key."""
    if type(view) is not dict:
        raise BadRequest(f"{where} must be an object", field=where)
    if not view:
        return
    if not all(type(row) is dict for row in view.values()):
        _add(found, experiment_id, {"name": name, "theta": view}, where)
        return
    escaped = any("\\:" in label for label in view)
    for label, row in view.items():
        key, value = _address(label, escaped=escaped)
        one = {"name": name, "key": key, "value": value, "theta": row}
        _add(found, experiment_id, one, f"{where}.{label[:64]}")


def _address(label: str, *, escaped: bool) -> tuple[str, str]:
    """The key and value that `theta_labels` wrote."""
    start = 0
    while (colon := label.find(":", start)) > 0 and escaped and label[colon - 1] == "\\":
        start = colon + 1
    key, value = (label, "") if colon < 0 else (label[:colon], label[colon + 1 :])
    return key.replace("\\:", ":") if escaped else key, value
