"""The fields of an experiment as clients send and get them.

Takes what StreamingBandit's documentation names, in all of its spellings, and what its interface and clients
send: text for booleans and numbers, "" for what is not used, Python's text of a dict for a default reward.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from streamsim import values
from streamsim.decisions import declared
from streamsim.decisions.default_reward import reward_of_text
from streamsim.decisions.gathering import window_hours
from streamsim.decisions.wire import PIECES, STREAMINGBANDIT
from streamsim.errors import BadRequest
from streamsim.experiments import webhooks
from streamsim.storage.contract.decisions import Experiment

MAX_NAME: Final = 200
MAX_CODE_BYTES: Final = 256 << 10
MAX_DELTA_HOURS: Final = 99_999
MAX_WARNINGS: Final = 20

_SPELLINGS: Final = {piece.replace("_", ""): piece for piece in PIECES}
READ_ONLY: Final = ("id", "key", "revision", "created", "modified")
DEFAULTS: Final[dict[str, Any]] = {
    "advice_id": False,
    "hourly_theta": False,
    "delta_hours": None,
    "default_reward": None,
    "log_propensity": False,
    "arm_field": None,
    "compat": None,
    "public_origins": False,
}
FIELDS: Final = ("name", *PIECES, *_SPELLINGS, *DEFAULTS, *declared.NAMES, *READ_ONLY)
ORDERS: Final = ("id", "key", "name", "created", "modified")
"""What a list of records may be in order of."""


class Fields(NamedTuple):
    """The checked fields of one request; what the request left out is absent.

    `warnings`: what it had and is not stored, a sentence each. `if_revision`: the only revision to edit.
    """

    name: str | None
    code: dict[str, str]
    properties: dict[str, Any]
    warnings: list[str]
    if_revision: int | None


def read(body: dict[str, Any], shown: dict[str, Any] | None = None) -> Fields:
    """Check the fields of a POST, or of a PUT of the experiment that clients see as `shown`.

    Fields that there are not, and those that the server assigns, are left out with a warning: a form that
    sends back what GET gave, and more, is not at fault.

    :raises BadRequest: naming the field and the accepted form.
    """
    code: dict[str, str] = {}
    properties: dict[str, Any] = {}
    warnings: list[str] = []
    name: str | None = None
    if_revision: int | None = None
    for field, value in body.items():
        piece = _SPELLINGS.get(field, field)
        if piece in PIECES:
            if piece in code:
                raise BadRequest(f"give {piece} once, in one spelling", field=field)
            code[piece] = _code(value, field)
        elif field in DEFAULTS:
            properties[field] = _PROPERTIES[field](value, field)
        elif field in declared.NAMES:
            properties[field] = declared.checked(field, value)
        elif field == "name":
            name = _name(value)
        elif field == "if_revision" and shown is not None:
            if type(value) is not int:
                raise BadRequest("if_revision must be an integer, the revision that GET gave", field=field)
            if_revision = value
        elif field not in READ_ONLY:
            warnings.append(f"there is no field {field[:100]}; it was left out")
        elif shown is None:
            warnings.append(f"{field} is assigned by the server; what you gave was left out")
        elif field in ("id", "key") and value != shown[field]:
            raise BadRequest(f"{field} cannot be changed", field=field)
    if len(warnings) > MAX_WARNINGS:
        warnings[MAX_WARNINGS:] = [f"and {len(warnings) - MAX_WARNINGS} more"]
    return Fields(name, code, properties, warnings, if_revision)


def drafted(experiment: Experiment, code: dict[str, Any]) -> Experiment:
    """The experiment with pieces of code that are not saved. :raises BadRequest: a piece is no code."""
    pieces = {piece: _code(value, piece) for piece, value in code.items()}
    return msgspec.structs.replace(experiment, code=experiment.code | pieces)


def complete(properties: dict[str, Any]) -> dict[str, Any]:
    """All properties, defaults filled in, and of those that may be declared the ones that are.

    :raises BadRequest: for ones that do not fit together.
    """
    result = declared.complete(DEFAULTS | properties)
    if result["advice_id"] and window_hours(result) is None:
        raise BadRequest(
            f"an experiment with advice_id needs delta_hours, an integer from 0 to {MAX_DELTA_HOURS}",
            field="delta_hours",
        )
    return result


def shown(experiment: Experiment, iso: Callable[[int], str]) -> dict[str, Any]:
    """All info of an experiment, as its owner gets it: without secrets of webhooks.

    :param iso: writes a date.
    """
    hooks = experiment.properties.get("webhooks")
    return {
        "id": experiment.id,
        "name": experiment.name,
        "key": experiment.key,
        **{piece: experiment.code.get(piece, "") for piece in PIECES},
        **DEFAULTS,
        **experiment.properties,
        **({"webhooks": webhooks.shown(hooks)} if hooks else {}),
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
        if text in ("true", "yes", "y", "1"):
            return True
        if text in ("false", "no", "n", "0", ""):
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
    if value is None or value == "":
        return None
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,5}(\.0*)?", value, re.ASCII):
        value = float(value)
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int or not 0 <= value <= MAX_DELTA_HOURS:
        raise BadRequest(f"{field} must be an integer from 0 to {MAX_DELTA_HOURS}", field=field)
    return value


def _default_reward(value: object, field: str) -> dict[str, Any] | str | None:
    if value is None or value == "":
        return None
    if isinstance(value, str):
        try:
            reward_of_text(value)
        except values.InvalidValue as error:
            raise BadRequest(str(error), field=field) from None
        return value
    if type(value) is not dict:
        raise BadRequest(
            f'{field} must be a JSON object, or the text of one, e.g. {{"value": 0}}', field=field
        )
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


def _compat(value: object, field: str) -> str | None:
    if value is None or value == "":
        return None
    if value != STREAMINGBANDIT:
        raise BadRequest(f'{field} must be "{STREAMINGBANDIT}", or null', field=field)
    return STREAMINGBANDIT


_PROPERTIES: Final[dict[str, Callable[[object, str], Any]]] = {
    "advice_id": boolean,
    "hourly_theta": boolean,
    "delta_hours": _delta_hours,
    "default_reward": _default_reward,
    "log_propensity": boolean,
    "arm_field": _arm_field,
    "compat": _compat,
    "public_origins": boolean,
}
