"""Queries of runs as conditions and orders of MongoDB."""

from __future__ import annotations

from typing import Any, Final

from pymongo import ASCENDING, DESCENDING

from streamsim.storage.contract.runs import FIELDS, Filter, RunQuery
from streamsim.storage.mongo.run_documents import field_name

_OPERATORS: Final = {"=": "$eq", "!=": "$ne", "<": "$lt", ">": "$gt", "<=": "$lte", ">=": "$gte"}


def conditions_and_order(query: RunQuery) -> tuple[dict[str, Any], list[tuple[str, int]]]:
    """The conditions that a query sets, and the order of its results by fields and directions."""
    conditions: list[dict[str, Any]] = [{"tenant": query.tenant, "kind": query.kind}]
    conditions += [
        {name: value}
        for name, value in (("project", query.project), ("model", query.model))
        if value is not None
    ]
    conditions += [_condition(one) for one in query.filters]
    direction = DESCENDING if query.descending else ASCENDING
    return {"$and": conditions}, [(field, direction) for field in (*_sorting(query.sort), "_id")]


def _condition(one: Filter) -> dict[str, Any]:
    kind, _, name = one.field.partition(".")
    operator = _OPERATORS[one.operator]
    parts: list[dict[str, Any]] = []
    for value in one.values:
        if one.field in FIELDS:
            parts.append({"_id" if one.field == "id" else one.field: {operator: value}})
        elif kind == "metadata":
            parts.append({f"m.{field_name(name)}": {operator: value}})
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
        return [f"m.{field_name(name)}"]
    return [f"v.{field_name(name)}.number", f"v.{field_name(name)}.text"]
