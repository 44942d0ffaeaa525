"""The words in which methods are described, and short ways to write JSON schemas."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import tornado.web

from streamsim import values

Schema = Mapping[str, Any]

JSON: Final = "application/json"
MISSING: Final[Any] = object()


@dataclass(frozen=True)
class Parameter:
    """A parameter of the path, the query or the header. `json`: its text is that of a JSON value.

    `example`: what the example request sends; without it the example leaves the parameter out.
    """

    name: str
    meaning: str
    schema: Schema
    example: Any = MISSING
    required: bool = False
    json: bool = False
    repeated: bool = False


@dataclass(frozen=True)
class Answer:
    """A successful answer. `schema`: of its JSON body, None for no body. `headers`: name -> meaning.

    `others`: media type -> schema, where the answer is or may be something else than JSON.
    """

    meaning: str
    schema: Schema | None = None
    example: Any = MISSING
    headers: Mapping[str, str] = field(default_factory=dict)
    others: Mapping[str, Schema] = field(default_factory=dict)


@dataclass(frozen=True)
class Operation:
    """One method of one route.

    `answers`: by status; the example is of the first. `errors`: statuses beyond those that `document` derives
    from access, path and body. `path`: parameters of the path that mean something else than elsewhere.
    `bodies`: media type -> schema, of a request body that is no JSON.
    """

    summary: str
    answers: Mapping[int, Answer]
    more: str = ""
    query: tuple[Parameter, ...] = ()
    headers: tuple[Parameter, ...] = ()
    path: tuple[Parameter, ...] = ()
    body: Schema | None = None
    sends: Any = MISSING
    bodies: Mapping[str, Schema] = field(default_factory=dict)
    body_required: bool = True
    errors: tuple[int, ...] = ()


Described = dict[type[tornado.web.RequestHandler], dict[str, Operation]]
"""Handler class -> method in small letters -> what it does."""


# ---- schemas

ANY: Final[Schema] = {}
OBJECT: Final[Schema] = {"type": "object"}
BOOLEAN: Final[Schema] = {"type": "boolean"}
NUMBER: Final[Schema] = {"type": "number"}
TEXT: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"anyOf": [BOOLEAN, {"enum": ["true", "false", "True", "False"]}]}


def record(
    needed: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, *, closed: bool = True
) -> Schema:
    """An object. `closed`: it has no other fields."""
    schema = {"type": "object", "properties": {**needed, **(optional or {})}, "required": list(needed)}
    return {**schema, "additionalProperties": False} if closed else schema


def text(low: int = 0, high: int | None = None, **more: Any) -> Schema:
    """Text of so many characters."""
    sized = ({"minLength": low} if low else {}) | ({"maxLength": high} if high is not None else {})
    return {"type": "string", **sized, **more}


def integer(low: int = values.MIN_INT, high: int = values.MAX_INT, **more: Any) -> Schema:
    """A whole number from `low` to `high`."""
    return {"type": "integer", "minimum": low, "maximum": high, **more}


def array(items: Schema, low: int = 0, high: int | None = None, **more: Any) -> Schema:
    """A list."""
    sized = ({"minItems": low} if low else {}) | ({"maxItems": high} if high is not None else {})
    return {"type": "array", "items": items, **sized, **more}


def mapping(items: Schema) -> Schema:
    """An object with names of the caller's or the server's own."""
    return {"type": "object", "additionalProperties": items}


def one_of(*choices: Any) -> Schema:
    """One of some values."""
    return {"enum": list(choices)}


def or_null(schema: Schema) -> Schema:
    """The same, or null."""
    return {"anyOf": [schema, {"type": "null"}]}


def ref(name: str) -> Schema:
    """A schema by its name among the document's components."""
    return {"$ref": f"#/components/schemas/{name}"}
