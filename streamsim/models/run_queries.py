"""Matrix parameters of the run endpoints: `;saved=true;variables.price>1;id=a;id=b` as filters.

An operator (`<`, `>`, `<=`, `>=`, `!=`) may stand in place of `=`, or lead the value after it. A key that is
repeated with the same operator is an alternative; all else must hold together. `.price` is `variables.price`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from datetime import datetime
from typing import Final, cast
from urllib.parse import unquote

from streamsim.errors import BadRequest
from streamsim.models import paths
from streamsim.storage.contract.runs import Filter, Operator

Scalar = bool | int | float | str | None

MAX_FILTERS: Final = 2000
_FIELDS: Final = {
    "id": "id",
    "model": "model",
    "created": "created_ms",
    "lastModified": "modified_ms",
    "project": "project",
}
_PARAMETER = re.compile(r"([^=<>!]+)(?:=|(?=[<>!]))(<=|>=|!=|<|>|)(.*)", re.DOTALL)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+)*")
_NONE: Final = Filter("id", "=", ("",))
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,17})(\.[0-9]{1,30})?(?:[eE][+-]?[0-9]{1,3})?")
_NOT_KEPT: Final = ("account", "user", "active", "initialized")
TENANT: Final = "tenant"
ACTIVE: Final = "active"
"""Filters by what is not stored with runs; `resolved` puts ones that the store knows in their place."""
_OWNER: Final = ("user.id", "user.userName", "user", "account")


def filters(raw: str) -> tuple[Filter, ...]:
    """The conditions of a path segment, as it was sent: split first, then decoded.

    :raises BadRequest: naming the parameter.
    """
    wanted: dict[tuple[str, Operator], list[Scalar]] = {}
    parts = [part for part in raw.split(";") if part]
    if len(parts) > MAX_FILTERS:
        raise BadRequest(f"at most {MAX_FILTERS} filters")
    for part in parts:
        text = unquote(part)
        match = _PARAMETER.fullmatch(text)
        if match is None:
            raise BadRequest(
                f"{text[:100]} is no filter: expecting name=value, or name>value", field="filter"
            )
        given, operator, value = match[1].strip(), cast(Operator, match[2] or "="), match[3]
        if given in _OWNER or given in ("active", "initialized"):
            if operator not in ("=", "!="):
                raise BadRequest(f"{given} is compared with = or !=", field=given)
            name, operator, one = _derived(given, operator, value)
        else:
            name = field(given)
            one = _value(name, value)
        wanted.setdefault((name, operator), []).append(one)
    return tuple(Filter(name, operator, tuple(values)) for (name, operator), values in wanted.items())


def resolved(filters: tuple[Filter, ...], tenant: str, active: Collection[str]) -> tuple[Filter, ...]:
    """The same filters, in fields that the store has.

    :param tenant: whose runs are sought. :param active: ids of the runs in memory.
    """
    result: list[Filter] = []
    for name, operator, values in filters:
        if name == TENANT:
            # All runs that can be found are the tenant's: the filter leaves them all, or none.
            if not any((value == tenant) == (operator == "=") for value in values):
                result.append(_NONE)
        elif name == ACTIVE:
            wanted = set(values)
            if wanted == {True}:
                result.append(Filter("id", "=", tuple(active)) if active else _NONE)
            elif wanted == {False}:
                result += (Filter("id", "!=", (run,)) for run in active)
        else:
            result.append(Filter(name, operator, values))
    return tuple(result)


def _derived(name: str, operator: Operator, text: str) -> tuple[str, Operator, Scalar]:
    """A filter by what follows from the rest of the record."""
    if name in _OWNER:
        return TENANT, operator, text.strip('"')
    if text not in ("true", "false"):
        raise BadRequest(f"{name} is true or false", field=name)
    wanted = (text == "true") == (operator == "=")
    return (ACTIVE, "=", wanted) if name == "active" else ("length", ">" if wanted else "=", 0)


def field(name: str) -> str:
    """The store's name of a field to filter or sort by; `.price` is `variables.price`. :raises BadRequest:"""
    if name in _FIELDS:
        return _FIELDS[name]
    if name.startswith("."):
        name = f"variables{name}"
    kind, _, rest = name.partition(".")
    if kind == "variables" and rest:
        try:
            return f"variables.{paths.whole(rest)}"
        except paths.BadPath as bad:
            raise BadRequest(str(bad), field=name[:100]) from None
    if not _NAME.fullmatch(name) or len(name) > 200 or kind in _NOT_KEPT:
        raise BadRequest(f"runs cannot be found by {name[:100]}", field=name[:100])
    return f"metadata.{name}"


def _value(field: str, text: str) -> Scalar:
    if field in ("id", "model", "project"):
        return text
    if field.endswith("_ms"):
        return _date(text)
    if text in ("true", "false"):
        return text == "true"
    if len(text) >= 2 and text[0] == text[-1] == '"':
        return text[1:-1]
    number = _NUMBER.fullmatch(text)
    if number is None:
        return text
    if len(text) <= 18 and text.lstrip("-").isdigit():
        return int(text)
    value = float(text)
    if not math.isfinite(value):
        raise BadRequest(f"{field[:100]} is compared with a number that is too large", field=field[:100])
    return value


def _date(text: str) -> int:
    try:
        return int(datetime.fromisoformat(text.replace("Z", "+00:00")).timestamp() * 1000)
    except ValueError:
        raise BadRequest(f"{text[:100]} is no date: expecting e.g. 2024-05-01T12:00:00.000Z") from None
