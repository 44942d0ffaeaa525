"""Descriptions of `handlers.models`."""

from __future__ import annotations

from typing import Any, Final

from handlers import models
from handlers.openapi.operation import (
    OBJECT,
    TEXT,
    Answer,
    Described,
    Operation,
    Schema,
    array,
    integer,
    mapping,
    one_of,
    or_null,
    record,
    text,
)
from handlers.openapi.parts import DATE, TEA, WHEN
from handlers.openapi.scenarios import MESSAGE
from streamsim.config import Settings
from streamsim.models import library

SHOWN: Final[dict[str, Schema]] = {
    "name": TEXT,
    "version": integer(1),
    "engine": one_of(*library.ENGINES),
    "main": TEXT,
    "created": WHEN,
    "modified": WHEN,
    "scenario_managers": mapping(array(TEXT)),
    "equations": {"description": "By scenario manager and kind.", **mapping(mapping(array(TEXT)))},
    "agents": {"description": "By scenario manager and type.", **mapping(OBJECT)},
    "variables": array(OBJECT),
    "operations": array(OBJECT),
    "warnings": {"description": "What was ignored, in words.", **array(TEXT)},
}
FILES: Final[Schema] = {
    "description": "Path -> text, or base64 of any bytes; archives (.zip) are unpacked where they stand.",
    **mapping({"anyOf": [TEXT, record({"base64": TEXT})]}),
    "minProperties": 1,
}
FIELDS: Final[dict[str, Schema]] = {
    "name": text(1, 64, pattern="^[A-Za-z][A-Za-z0-9_]*$"),
    "engine": or_null(one_of(*library.ENGINES)),
    "files": FILES,
    "main": or_null({"type": "string", "description": "The file to load, if there are several."}),
    "scenarios": or_null(
        mapping(record({}, {"constants": OBJECT, "points": OBJECT, "runspecs": OBJECT, "initial": OBJECT}))
    ),
    "manager": or_null(text(1, 200)),
}
FORM: Final[Schema] = {
    "type": "object",
    "properties": {
        **dict.fromkeys(("name", "engine", "main", "manager"), TEXT),
        "scenarios": {"description": "As in JSON.", "type": "string"},
        "files": array({"type": "string", "format": "binary"}, 1),
    },
    "required": ["files"],
}
BODIES: Final = {"multipart/form-data": FORM}
_CUP: Final = TEA.replace('{"tea": {"model"', '{"cup": {"model"').replace(
    '"tea")\n    return', '"cup")\n    return'
)


def operations(settings: Settings) -> Described:
    tea: dict[str, Any] = {
        "name": "tea",
        "version": 1,
        "engine": "bptk",
        "main": "tea.py",
        "created": DATE,
        "modified": DATE,
        "scenario_managers": {"tea": ["base", "winter"]},
        "equations": {
            "tea": {
                "constants": ["room"],
                "converters": [],
                "flows": ["cooling"],
                "points": [],
                "stocks": ["temperature"],
            }
        },
        "agents": {},
        "variables": [],
        "operations": [],
        "warnings": [],
    }
    cup = {name: {"cup": tea[name]["tea"]} for name in ("scenario_managers", "equations")}
    return {
        models.ModelsHandler: {
            "get": Operation("The own models.", {200: Answer("All models.", array(record(SHOWN)), [tea])}),
            "post": Operation(
                "Upload a model.",
                {201: Answer("It was loaded and stored.", record(SHOWN), {**tea, "name": "cup", **cup})},
                body=record({name: FIELDS[name] for name in ("name", "files")}, FIELDS),
                bodies=BODIES,
                sends={"name": "cup", "files": {"tea.py": _CUP}},
                errors=(409,),
            ),
        },
        models.OneModelHandler: {
            "get": Operation(
                "A model.",
                {
                    200: Answer(
                        "What loading it found, and its files.",
                        record({**SHOWN, "files": FILES}),
                        {**tea, "files": {"tea.py": TEA}},
                    )
                },
            ),
            "put": Operation(
                "Upload a new version of a model.",
                {
                    200: Answer(
                        "Runs keep the version that they began with.",
                        record(SHOWN),
                        {**tea, "version": 2},
                    )
                },
                more="What the body lacks stays, except the files.",
                body=record({"files": FIELDS["files"]}, FIELDS),
                bodies=BODIES,
                sends={"files": {"tea.py": TEA}},
                errors=(409,),
            ),
            "delete": Operation(
                "Delete a model.",
                {200: Answer("Runs that have it go on.", MESSAGE, {"msg": "Model deleted."})},
            ),
        },
    }
