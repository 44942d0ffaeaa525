"""Descriptions of `handlers.evaluation`."""

from __future__ import annotations

from typing import Any, Final

from handlers import evaluation
from handlers.openapi.jobs import JOB_SHOWN as WORK_SHOWN
from handlers.openapi.operation import (
    ANY,
    FLAG,
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
    ref,
    text,
)
from handlers.openapi.parts import COMPARED, DATE, EXPERIMENT, ID, JOB, PICTURES, PLAIN, SUCCESS, WHEN
from streamsim.config import Settings
from streamsim.decisions.wire import PIECES
from streamsim.evaluation import plans, requests
from streamsim.evaluation.simulation import MAX_POINTS, MAX_SEED
from streamsim.evaluation.value_estimators import ESTIMATORS

_CODE: Final = (422, 429, 504)
_STATES: Final = ("waiting", "running", "done", "failed", "cancelled", "interrupted")
_FIELD: Final = or_null(text(1, 200))
PROGRESS: Final = record({"done": integer(0), "total": integer(1)})
JOB_SHOWN: Final = record(
    {
        "id": ID,
        "kind": one_of("simulation"),
        "experiment": ID,
        "state": one_of(*_STATES),
        "progress": PROGRESS,
        "attempts": integer(0),
        "created": WHEN,
        "modified": WHEN,
    },
    {
        "N": integer(1),
        "replications": integer(1),
        "seed": integer(0),
        "theta": one_of("empty", "current"),
        "result": {"description": "points, replications, reward, regret and arms.", **OBJECT},
        "error": OBJECT,
    },
)


def _whole(low: int, high: int, **more: Any) -> Schema:
    """A whole number, or the text of one."""
    return {"anyOf": [integer(low, high), text(pattern="^[0-9]{1,19}$"), {"type": "null"}], **more}


def replications(most: int) -> dict[str, Schema]:
    """The fields of a job."""
    draws = min(requests.DEFAULT_DRAWS, most)
    return {
        "N": _whole(1, most, default=draws),
        "replications": _whole(1, requests.MAX_REPLICATIONS, default=1),
        "seed": _whole(0, MAX_SEED),
        "theta": one_of("empty", "current", None),
        "points": _whole(1, MAX_POINTS, default=MAX_POINTS),
        "action_field": {"description": "The field of the action that names the arm.", **_FIELD},
        "reward_field": {"description": "The field of the reward that is the number.", **_FIELD},
    }


def _offline(settings: Settings) -> dict[str, Schema]:
    code = record({"get_action": TEXT}, dict.fromkeys(PIECES, TEXT))
    candidate = {"anyOf": [record({"experiment": TEXT}), record({"code": code})]}
    return {
        "candidate": or_null(candidate),
        "candidates": {
            "description": "Several by name, in place of candidate.",
            **or_null({**mapping(candidate), "minProperties": 1, "maxProperties": plans.MAX_CANDIDATES}),
        },
        "estimators": or_null(array(one_of(*ESTIMATORS), 1)),
        "theta": one_of(*plans.THETAS, None),
        "seed": _whole(0, MAX_SEED, default=0),
        "runs": _whole(2, plans.MAX_RUNS, default=settings.evaluation.runs),
        "rows": _whole(1, settings.evaluation.log_rows),
        "log": or_null({"type": "string", "description": "A log in place of the experiment's own."}),
        "format": one_of("jsonl", "csv"),
        "action_field": _FIELD,
        "reward_field": _FIELD,
        "propensity_field": _FIELD,
        "context_fields": or_null(array(text(1, 200))),
        "predictions_field": _FIELD,
        "background": {"description": "Whether to answer at once, with a job.", **or_null(FLAG)},
        "unit": {
            "description": "The field of contexts that names the unit.",
            **_FIELD,
        },
    }


def operations(settings: Settings) -> Described:
    limits = settings.evaluation
    job = {
        "id": JOB,
        "kind": "simulation",
        "experiment": EXPERIMENT,
        "state": "waiting",
        "progress": {"done": 0, "total": 20},
        "attempts": 0,
        "created": DATE,
        "modified": DATE,
        "N": 10,
        "replications": 2,
        "seed": 1,
        "theta": "empty",
    }
    asked = {"N": 10, "replications": 2, "seed": 1}
    comparing = replications(limits.compare_draws)
    compared = array(TEXT, 1, requests.MAX_POLICIES, uniqueItems=True)
    draw = {"context": {"age": 41}, "action": {"arm": "A"}, "reward": {"value": 1}, "theta": {"n": 1}}
    offline_fields = _offline(settings)
    uploads = tuple(
        Parameter(name, "Of an uploaded log.", TEXT) for name in plans.FIELDS if name not in ("log", "format")
    )
    return {
        evaluation.SimulateHandler: {
            "get": Operation(
                "Simulate the closed loop.",
                {
                    200: Answer(
                        "Every draw, or without `verbose` the final theta.",
                        record(
                            {"simulate": one_of("success", "failed"), "experiment": TEXT, "seed": integer(0)},
                            {"data": mapping(OBJECT), "theta": ANY, "error": OBJECT},
                        ),
                        {"experiment": EXPERIMENT, "seed": 1, "data": {"0": draw}, "simulate": "success"},
                    )
                },
                more="A long answer is streamed. If a draw fails after its beginning was sent, `simulate` is "
                "`failed`, and `error` says why.",
                query=(
                    Parameter(
                        "N",
                        "Number of draws.",
                        integer(1, limits.draws, default=min(requests.DEFAULT_DRAWS, limits.draws)),
                        1,
                    ),
                    Parameter("seed", "Repeats the numbers; a new one if it is absent.", integer(0), 1),
                    Parameter("theta", "What theta starts from.", one_of("empty", "current"), "empty"),
                    Parameter("verbose", "Whether to answer every draw.", {**FLAG, "default": True}),
                    Parameter("log_stats", "Whether to store every draw.", {**FLAG, "default": False}),
                ),
                errors=(409, *_CODE),
            )
        },
        evaluation.SimulationsHandler: {
            "get": Operation(
                "The experiment's simulation jobs.",
                {
                    200: Answer(
                        "Newest first.",
                        array(JOB_SHOWN),
                        headers={"Link": 'Older ones, if there may be some: <PATH>; rel="next".'},
                    )
                },
                query=(
                    Parameter("limit", "Most jobs.", integer(1, evaluation.MAX_LISTED), 10),
                    Parameter("before", "The id of a job.", text()),
                ),
            ),
            "post": Operation(
                "Make a simulation job.",
                {
                    202: Answer(
                        "It waits for a free process.", JOB_SHOWN, job, headers={"Location": "The job."}
                    )
                },
                body=record({}, replications(limits.job_draws)),
                sends=asked,
                body_required=False,
                errors=(429,),
            ),
        },
        evaluation.SimulationHandler: {
            "get": Operation(
                "A simulation job.",
                {200: Answer("State, progress and, once it is done, the result.", JOB_SHOWN)},
            ),
            "delete": Operation(
                "Cancel a simulation job, or remove a finished one.",
                {
                    200: Answer(
                        "Which of the two happened.",
                        record({**SUCCESS["properties"], "simulation": one_of("cancelled", "removed")}),
                    )
                },
                errors=(409,),
            ),
        },
        evaluation.SimulationEventsHandler: {
            "get": Operation(
                "Follow a simulation job.",
                {
                    200: Answer(
                        "Server-sent events: `progress` at every change, at last `end`.",
                        others={"text/event-stream": ANY},
                    )
                },
            )
        },
        evaluation.CompareHandler: {
            "post": Operation(
                "Compare experiments on common random numbers.",
                {
                    200: Answer(
                        "Curves of reward and regret, shares of arms, and paired differences.",
                        ref("Comparison"),
                        others=PICTURES,
                    )
                },
                query=(
                    Parameter(
                        "format", "Else as the header `Accept` asks.", one_of(*evaluation.TYPES), "json"
                    ),
                ),
                body=record({"experiments": compared}, {**comparing, "environment": TEXT}),
                sends={"experiments": [EXPERIMENT], **asked},
                errors=_CODE,
            )
        },
        evaluation.ComparisonsHandler: {
            "post": Operation(
                "Begin a job that compares experiments.",
                {
                    202: Answer(
                        "A job; its result is what `POST /eval/compare` answers.",
                        WORK_SHOWN,
                        headers={"Location": "The job."},
                    )
                },
                body=record(
                    {"experiments": compared}, {**replications(limits.job_draws), "environment": TEXT}
                ),
                sends={"experiments": [EXPERIMENT], **asked},
                errors=(429,),
            )
        },
        evaluation.ComparisonHandler: {
            "get": Operation(
                "What a job that compares has found.",
                {
                    200: Answer(
                        "The same as `POST /eval/compare` answers.", ref("Comparison"), others=PICTURES
                    )
                },
                path=(Parameter("job", "Id of a job that compares.", PLAIN, COMPARED),),
                query=(
                    Parameter(
                        "format", "Else as the header `Accept` asks.", one_of(*evaluation.TYPES), "json"
                    ),
                ),
                errors=(404, 409),
            )
        },
        evaluation.OffPolicyHandler: {
            "post": Operation(
                "Estimate what a policy would have earned on a log.",
                {
                    200: Answer(
                        "Estimates with intervals and warnings; of several candidates by name, and their "
                        "differences.",
                        {
                            "anyOf": [
                                {
                                    "allOf": [
                                        ref("Evaluation"),
                                        record({"log": OBJECT, "candidate": OBJECT}, closed=False),
                                    ]
                                },
                                record({"estimates": array(OBJECT), "log": OBJECT, "candidate": OBJECT}),
                                record({"candidates": mapping(OBJECT), "differences": array(OBJECT)}),
                            ]
                        },
                    ),
                    202: Answer(
                        "With `background`, a job, which waits for a free process.",
                        OBJECT,
                        headers={"Location": "The job."},
                    ),
                },
                more="On the experiment's own log, or on one that is sent: in the field `log`, or alone as "
                "CSV or JSON lines, also as gzip data, with the other fields in the query.",
                query=uploads,
                body=record({}, offline_fields),
                sends={
                    "candidate": {"code": {"get_action": 'self.action["arm"] = "A"'}},
                    "estimators": ["ips"],
                    "log": '{"action": {"arm": "A"}, "reward": 1, "propensity": 0.5}\n' * 2,
                },
                bodies=dict.fromkeys(("text/csv", "application/x-ndjson"), TEXT),
                errors=(413, *_CODE),
            )
        },
        evaluation.SampleRatioHandler: {
            "post": Operation(
                "Check whether units were assigned to arms in the shares that were planned.",
                {200: Answer("The check, with a p-value that holds under repeated looks.", ref("Check"))},
                more="Of counts, or of a log that is sent alone, whose units count once.",
                query=(
                    Parameter("action_field", "Of a log, the column or field that names the arm.", TEXT),
                    Parameter("unit", "Of a log, the column or field that names the unit.", TEXT),
                    Parameter("format", "Of a log as gzip data.", one_of("jsonl", "csv")),
                ),
                body=record(
                    {"counts": mapping(integer(0, requests.MAX_COUNT))},
                    {
                        "shares": or_null(mapping(NUMBER)),
                        "action_field": _FIELD,
                        "unit": _FIELD,
                        "format": one_of("jsonl", "csv"),
                    },
                ),
                sends={"counts": {"a": 821588, "b": 815482}},
                bodies=dict.fromkeys(("text/csv", "application/x-ndjson"), TEXT),
                errors=(413, *_CODE),
            )
        },
    }
