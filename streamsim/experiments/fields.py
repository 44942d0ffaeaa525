"""The fields of an experiment as clients send and get them.

Takes what StreamingBandit's documentation names, in all of its spellings; refuses all else by name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from streamsim import values
from streamsim.decisions.wire import PIECES
from streamsim.errors import BadRequest, Conflict
from streamsim.storage.contract.decisions import Experiment

MAX_NAME: Final = 200
MAX_CODE_BYTES: Final = 256 << 10
MAX_DELTA_HOURS: Final = 99_999

_SPELLINGS: Final = {piece.replace("_", ""): piece for piece in PIECES}
READ_ONLY: Final = ("id", "key", "revision", "created", "modified")
DEFAULTS: Final[dict[str, Any]] = {
    "advice_id": False,
    "hourly_theta": False,
    "delta_hours": None,
    "default_reward": None,
    "log_propensity": False,
    "arm_field": None,
}
FIELDS: Final = ("name", *PIECES, *_SPELLINGS, *DEFAULTS, *READ_ONLY)


class Fields(NamedTuple):
    """The checked fields of one request; what the request left out is absent."""

    name: str | None
    code: dict[str, str]
    properties: dict[str, Any]


def read(body: dict[str, Any], shown: dict[str, Any] | None = None) -> Fields:
    """Check the fields of a POST, or of a PUT of the experiment that clients see as `shown`.

    :raises BadRequest: naming the field and the accepted form.
    :raises Conflict: for a `revision` that is not the present one.
    """
    code: dict[str, str] = {}
    properties: dict[str, Any] = {}
    name: str | None = None
    for field, value in body.items():
        piece = _SPELLINGS.get(field, field)
        if piece in PIECES:
            if piece in code:
                raise BadRequest(f"give {piece} once, in one spelling", field=field)
            code[piece] = _code(value, field)
        elif field in DEFAULTS:
            properties[field] = _PROPERTIES[field](value, field)
        elif field == "name":
            name = _name(value)
        elif field not in READ_ONLY:
            raise BadRequest(f"there is no field {field[:100]}", field=field[:100])
        elif shown is None:
            raise BadRequest(f"{field} is assigned by the server; leave it out", field=field)
        elif value != shown[field]:
            if field == "revision":
                raise Conflict("the experiment was edited since this revision", field=field)
            raise BadRequest(f"{field} cannot be changed", field=field)
    return Fields(name, code, properties)


def complete(properties: dict[str, Any]) -> dict[str, Any]:
    """All properties, defaults filled in. :raises BadRequest: for ones that do not fit together."""
    result = DEFAULTS | properties
    if result["advice_id"] and result["delta_hours"] is None:
        raise BadRequest(
            f"an experiment with advice_id needs delta_hours, an integer from 0 to {MAX_DELTA_HOURS}",
            field="delta_hours",
        )
    return result


def shown(experiment: Experiment, iso: Callable[[int], str]) -> dict[str, Any]:
    """All info of an experiment, as its owner gets it. :param iso: writes a date."""
    return {
        "id": experiment.id,
        "name": experiment.name,
        "key": experiment.key,
        **{piece: experiment.code.get(piece, "") for piece in PIECES},
        **DEFAULTS,
        **experiment.properties,
        "revision": experiment.revision,
        "created": iso(experiment.created_ms),
        "modified": iso(experiment.modified_ms),
    }


def boolean(value: object, field: str) -> bool:
    """A JSON boolean, or the texts that StreamingBandit took for one. :raises BadRequest:"""
    if type(value) is bool:
        return value
    if isinstance(value, str):
        text = value.lower()
        if text in ("true", "yes", "y"):
            return True
        if text in ("false", "no", "n"):
            return False
    raise BadRequest(f'{field} must be true or false, or the text "True" or "False"', field=field)


def _name(value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value.strip()) <= MAX_NAME:
        raise BadRequest(f"name must be text of 1 to {MAX_NAME} characters", field="name")
    return value.strip()


def _code(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{field} must be Python code as text", field=field)
    if len(value.encode()) > MAX_CODE_BYTES:
        raise BadRequest(f"{field} must have at most {MAX_CODE_BYTES} bytes", field=field)
    return value


def _delta_hours(value: object, field: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 5:
        value = int(value)
    if type(value) is not int or not 0 <= value <= MAX_DELTA_HOURS:
        raise BadRequest(f"{field} must be an integer from 0 to {MAX_DELTA_HOURS}", field=field)
    return value


def _default_reward(value: object, field: str) -> dict[str, Any] | None:
    if isinstance(value, str):
        try:
            value = values.parse(value, field)
        except values.InvalidValue as error:
            raise BadRequest(str(error), field=error.where) from None
    if value is not None and type(value) is not dict:
        raise BadRequest(f"{field} must be a JSON object, or the JSON text of one", field=field)
    return value


def _arm_field(value: object, field: str) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or len(value) > MAX_NAME or value == "propensity":
        raise BadRequest(
            f"{field} must be the name of the field of the action that names the arm, at most {MAX_NAME} "
            "characters, or null",
            field=field,
        )
    return value


_PROPERTIES: Final[dict[str, Callable[[object, str], Any]]] = {
    "advice_id": boolean,
    "hourly_theta": boolean,
    "delta_hours": _delta_hours,
    "default_reward": _default_reward,
    "log_propensity": boolean,
    "arm_field": _arm_field,
}
