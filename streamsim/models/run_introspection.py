"""What a run of a model can be asked: its operations and variables, as introspection tells them."""

from __future__ import annotations

import ast
import math
from typing import Final

from streamsim.models.engines.base import Found, Variable
from streamsim.models.engines.variables import MAX_RECORDED, described
from streamsim.values import Json, JsonObject

_DATA_TYPES: Final = {
    "float": "NUMBER",
    "int": "NUMBER",
    "bool": "BOOLEAN",
    "str": "STRING",
    "list": "ARRAY",
    "tuple": "ARRAY",
    "ndarray": "ARRAY",
    "points": "ARRAY",
    **dict.fromkeys(("constants", "converters", "flows", "stocks"), "NUMBER"),
}


def shown(found: Found) -> JsonObject:
    """Operations with their parameters, variables, and the ranges of arrays, in the API's form.

    A parameter has `name`, `dataType` (null: Python declares none), `default` and `optional`. A variable has
    `type`: that of the engine, e.g. `float` or `stocks`; `dataType`: NUMBER, BOOLEAN, STRING, ARRAY or
    OBJECT; `access`: ALWAYS, as every variable that is listed can be read and set; `subscripts`: the labels
    that make it an element of an array, else null; and `saved`: whether every step records it by itself.
    `ranges`: of models with arrays the labels by dimension, else null.
    """
    scenarios = next(iter(found.managers.values()), {})
    scenario = next(iter(scenarios.values()), None)
    own = (found.operations, found.variables)
    operations, variables = own if scenario is None else described(scenario)
    ranges = {} if scenario is None else scenario.ranges
    series = set() if scenario is None else {one.name for one in variables if one.type != "points"}
    saved = series if len(series) <= MAX_RECORDED else ()
    return {
        "functions": [
            {"name": one.name, "signature": list(map(_parameter, one.signature)), "returnType": None}
            for one in operations
        ],
        "variables": [_variable(one, saved=one.name in saved) for one in variables],
        "ranges": [{"name": name, "indices": labels} for name, labels in ranges.items()] or None,
    }


def _parameter(written: str) -> JsonObject:
    """A parameter from how it is written, e.g. `count=1`; a default that is no JSON value stays text."""
    name, equals, text = written.partition("=")
    default: Json = None
    if equals:
        try:
            value = ast.literal_eval(text)
            default = value if _is_json(value) else text
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            default = text
    optional = bool(equals) or name.startswith("*")
    return {"name": name, "dataType": None, "default": default, "optional": optional}


def _is_json(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return -(2**63) <= value < 2**63
    return value is None or isinstance(value, str)


def _variable(one: Variable, *, saved: bool) -> JsonObject:
    _, bracket, inside = one.name.partition("[")
    return {
        "name": one.name,
        "type": one.type,
        "dataType": _DATA_TYPES.get(one.type, "OBJECT"),
        "access": "ALWAYS",
        "subscripts": inside.removesuffix("]").split(",") if bracket else None,
        "saved": saved,
    }
