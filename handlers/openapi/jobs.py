"""Descriptions of `handlers.jobs`."""

from __future__ import annotations

from typing import Final

from handlers import jobs
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
from handlers.openapi.parts import DATE, ID, NAMES, PLAIN, SETTINGS, WHEN, WORK
from handlers.openapi.scenarios import CODE
from streamsim.config import Settings
from streamsim.models import distributions, sweeps

JOB_SHOWN: Final = record(
    {
        "id": ID,
        "kind": one_of("simulation", "comparison", "sweep", "offpolicy"),
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
        "experiments": array(ID, 1),
        "environment": ID,
        "N": integer(1),
        "replications": integer(1),
        "theta": TEXT,
        "result": ANY,
        "error": OBJECT,
    },
)
BOUNDS: Final = dict.fromkeys(distributions.BOUNDS, NUMBER)
VALUES: Final[Schema] = {
    "description": "A list of values, a range, or a distribution to draw from.",
    "anyOf": [
        array(NUMBER, 1),
        record({"from": NUMBER, "to": NUMBER, "count": integer(1, 10_000)}),
        record({"from": NUMBER, "to": NUMBER, "step": NUMBER}),
        *(
            record({"distribution": one_of(name), **dict.fromkeys(parts, NUMBER)}, BOUNDS)
            for name, parts in distributions.DISTRIBUTIONS.items()
        ),
        record(
            {
                "distribution": one_of(distributions.DISCRETE),
                "values": array(NUMBER, 1, distributions.MAX_LISTED),
            },
            {"weights": array({"type": "number", "minimum": 0}, 1, distributions.MAX_LISTED), **BOUNDS},
        ),
    ],
}


def _sweep(settings: Settings) -> dict[str, Schema]:
    return {
        "scenario_manager": TEXT,
        "scenarioManager": TEXT,
        "scenario": TEXT,
        "equations": NAMES,
        **dict.fromkeys(sweeps.AGENT_FIELDS, NAMES),
        "parameters": {
            "description": "Constant, or property of an agent model -> values.",
            **mapping(VALUES),
            "minProperties": 1,
        },
        "runs": integer(1, settings.models.sweep_runs),
        "seed": or_null(integer(0)),
        "seeds": {
            "description": "With how many seeds, or with which, each point is run.",
            "anyOf": [
                integer(1, settings.models.sweep_runs),
                array(integer(0), 1, settings.models.sweep_runs),
            ],
        },
        "quantiles": or_null(array({"type": "number", "minimum": 0, "maximum": 1})),
        "settings": or_null(SETTINGS),
        "everyRun": BOOLEAN,
        "background": BOOLEAN,
    }


def operations(settings: Settings) -> Described:
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
        jobs.SweepHandler: {
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
                            {"agents": mapping(OBJECT), "every_run": array(OBJECT)},
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
                body=record({name: fields[name] for name in ("scenario", "parameters")}, fields),
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
        jobs.JobsHandler: {
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
                    Parameter("limit", "Most jobs.", integer(1, jobs.MAX_LISTED), 10),
                    Parameter("before", "The id of a job.", text()),
                ),
            )
        },
        jobs.JobHandler: {
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
        jobs.JobEventsOfUserHandler: {
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
