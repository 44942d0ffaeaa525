"""Descriptions of `handlers.models`."""

from __future__ import annotations

from typing import Any, Final

from handlers import models
from handlers.openapi.operation import (
    ANY,
    BOOLEAN,
    NUMBER,
    OBJECT,
    TEXT,
    Answer,
    Described,
    Operation,
    Parameter,
    Schema,
    array,
    integer,
    mapping,
    one_of,
    or_null,
    record,
    text,
)
from handlers.openapi.parts import DATE, ID, NAMES, PLAIN, SETTINGS, TEA, WHEN, WORK
from handlers.openapi.scenarios import CODE, MESSAGE
from streamsim.config import Settings
from streamsim.models import library, sweeps

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
}
JOB_SHOWN: Final = record(
    {
        "id": ID,
        "kind": one_of("simulation", "sweep"),
        "state": one_of("waiting", "running", "interrupted", "done", "failed", "cancelled"),
        "progress": record({"done": integer(0), "total": integer(0)}),
        "attempts": integer(0),
        "created": WHEN,
        "modified": WHEN,
    },
    {
        "scenario_manager": TEXT,
        "scenario": TEXT,
        "runs": integer(1),
        "seed": integer(0),
        "experiment": ID,
        "N": integer(1),
        "replications": integer(1),
        "theta": TEXT,
        "result": ANY,
        "error": OBJECT,
    },
)
FIELDS: Final[dict[str, Schema]] = {
    "name": text(1, 64, pattern="^[A-Za-z][A-Za-z0-9_]*$"),
    "engine": or_null(one_of(*library.ENGINES)),
    "files": {"description": "File name -> text.", **mapping(TEXT), "minProperties": 1},
    "main": or_null({"type": "string", "description": "The file to load, if there are several."}),
    "scenarios": or_null(mapping(record({}, {"constants": OBJECT, "points": OBJECT, "runspecs": OBJECT}))),
    "manager": or_null(text(1, 200)),
}
VALUES: Final[Schema] = {
    "description": "A list of values, a range, or a distribution to draw from.",
    "anyOf": [
        array(NUMBER, 1),
        record({"from": NUMBER, "to": NUMBER, "count": integer(1, 10_000)}),
        record({"from": NUMBER, "to": NUMBER, "step": NUMBER}),
        *(
            record({"distribution": one_of(name), **dict.fromkeys(parts, NUMBER)})
            for name, parts in sweeps.DISTRIBUTIONS.items()
        ),
    ],
}
_CUP: Final = TEA.replace('{"tea": {"model"', '{"cup": {"model"').replace(
    '"tea")\n    return', '"cup")\n    return'
)


def _sweep(settings: Settings) -> dict[str, Schema]:
    return {
        "scenario_manager": TEXT,
        "scenarioManager": TEXT,
        "scenario": TEXT,
        "equations": NAMES,
        "parameters": {"description": "Constant -> values.", **mapping(VALUES), "minProperties": 1},
        "runs": integer(1, settings.models.sweep_runs),
        "seed": or_null(integer(0)),
        "quantiles": or_null(array({"type": "number", "minimum": 0, "maximum": 1})),
        "settings": or_null(SETTINGS),
        "everyRun": BOOLEAN,
        "background": BOOLEAN,
    }


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
    }
    cup = {name: {"cup": tea[name]["tea"]} for name in ("scenario_managers", "equations")}
    job = {
        "id": WORK,
        "kind": "sweep",
        "state": "done",
        "progress": {"done": 2, "total": 2},
        "attempts": 1,
        "created": DATE,
        "modified": DATE,
    }
    fields = _sweep(settings)
    work = Parameter("job", "Id of a job.", PLAIN, WORK)
    bands = {"0.0": 100.0, "1.0": 60.0}
    return {
        models.ModelsHandler: {
            "get": Operation("The own models.", {200: Answer("All models.", array(record(SHOWN)), [tea])}),
            "post": Operation(
                "Upload a model.",
                {201: Answer("It was loaded and stored.", record(SHOWN), {**tea, "name": "cup", **cup})},
                body=record({name: FIELDS[name] for name in ("name", "files")}, FIELDS),
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
                        record({**SHOWN, "files": mapping(TEXT)}),
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
                sends={"files": {"tea.py": TEA}},
                errors=(409,),
            ),
            "delete": Operation(
                "Delete a model.",
                {200: Answer("Runs that have it go on.", MESSAGE, {"msg": "Model deleted."})},
            ),
        },
        models.SweepHandler: {
            "post": Operation(
                "Run a scenario with many values of its constants.",
                {
                    200: Answer(
                        "Mean, extremes and quantiles over all runs, by equation and time.",
                        record(
                            {
                                "scenario_manager": TEXT,
                                "scenario": TEXT,
                                "runs": integer(1),
                                "seed": integer(0),
                                "bands": mapping(OBJECT),
                            },
                            {"every_run": array(OBJECT)},
                        ),
                        {
                            "scenario_manager": "tea",
                            "scenario": "base",
                            "runs": 2,
                            "seed": 1,
                            "bands": {
                                "temperature": {
                                    "mean": {"0.0": 100.0, "1.0": 55.0},
                                    "min": {"0.0": 100.0, "1.0": 50.0},
                                    "max": bands,
                                    "quantiles": {"0.5": {"0.0": 100.0, "1.0": 55.0}},
                                }
                            },
                        },
                    ),
                    202: Answer(
                        "With `background`: the job that does it.",
                        JOB_SHOWN,
                        headers={"Location": "The job."},
                    ),
                },
                body=record({name: fields[name] for name in ("scenario", "equations", "parameters")}, fields),
                sends={
                    "scenario_manager": "tea",
                    "scenario": "base",
                    "equations": ["temperature"],
                    "parameters": {"room": [0.0, 20.0]},
                    "settings": {"tea": {"base": {"runspecs": {"stoptime": 1.0}}}},
                    "quantiles": [0.5],
                    "seed": 1,
                },
                errors=(404, 429, *CODE),
            )
        },
        models.JobsHandler: {
            "get": Operation(
                "The own jobs, sweeps and simulations.",
                {
                    200: Answer(
                        "Newest first, without what they were asked for and their results.",
                        array(JOB_SHOWN),
                        [job],
                    )
                },
                query=(
                    Parameter("limit", "Most jobs.", integer(1, models.MAX_LISTED), 10),
                    Parameter("before", "The id of a job.", text()),
                ),
            )
        },
        models.JobHandler: {
            "get": Operation(
                "A job.",
                {
                    200: Answer(
                        "State and progress, and the result once it is done.",
                        JOB_SHOWN,
                    )
                },
                path=(work,),
            ),
            "delete": Operation(
                "Cancel a job, or remove a finished one.",
                {
                    200: Answer(
                        "Which of the two happened.",
                        record({"status": one_of("success"), "job": one_of("cancelled", "removed")}),
                        {"status": "success", "job": "removed"},
                    )
                },
                path=(work,),
            ),
        },
        models.JobEventsOfUserHandler: {
            "get": Operation(
                "Follow a job.",
                {
                    200: Answer(
                        "Server-sent events: `progress` at every change, at last `end`.",
                        others={"text/event-stream": ANY},
                    )
                },
                path=(work,),
            )
        },
    }
