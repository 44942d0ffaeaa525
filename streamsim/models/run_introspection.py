"""What a run of a model can be asked: its operations and variables, as introspection tells them."""

from __future__ import annotations

from typing import Final

from streamsim.models.engines.base import Found, Variable
from streamsim.models.engines.variables import described
from streamsim.values import JsonObject

_DATA_TYPES: Final = {
    "float": "DOUBLE",
    "int": "INTEGER",
    "bool": "BOOLEAN",
    "str": "STRING",
    "list": "ARRAY",
    "tuple": "ARRAY",
    "ndarray": "ARRAY",
    "points": "ARRAY",
    **dict.fromkeys(("constants", "converters", "flows", "stocks"), "DOUBLE"),
}


def shown(found: Found) -> JsonObject:
    """Operations with their signatures, and variables, each with these fields.

    `type`: that of the engine, e.g. `float` or `stocks`. `dataType`: DOUBLE, INTEGER, BOOLEAN, STRING, ARRAY
    or OBJECT. `access`: ALWAYS, as every variable that is listed can be read and set. `subscripts`: the
    labels that make it an element of an array.
    """
    scenarios = next(iter(found.managers.values()), {})
    scenario = next(iter(scenarios.values()), None)
    own = (found.operations, found.variables)
    operations, variables = own if scenario is None else described(scenario)
    return {
        "functions": [{"name": one.name, "signature": one.signature} for one in operations],
        "variables": list(map(_variable, variables)),
    }


def _variable(one: Variable) -> JsonObject:
    _, bracket, inside = one.name.partition("[")
    return {
        "name": one.name,
        "type": one.type,
        "dataType": _DATA_TYPES.get(one.type, "OBJECT"),
        "access": "ALWAYS",
        "subscripts": inside.removesuffix("]").split(",") if bracket else [],
    }
