"""Descriptions of `handlers.scenarios`."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from handlers import scenarios
from handlers.openapi.operation import (
    ANY,
    BOOLEAN,
    NUMBER,
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
)
from handlers.openapi.parts import DATE, INSTANCE, NAMES, RESULTS, SETTINGS, WHEN
from streamsim.config import Settings
from streamsim.models import requests
from streamsim.models.engines.base import Outputs
from streamsim.models.instances import MAX_INSTANCES, MAX_STEPS
from streamsim.models.session import STOPPED

CODE: Final = (422, 504)
"""Errors of what a model computes."""
MESSAGE: Final = record({"msg": TEXT})
TIMEOUT: Final[Schema] = {
    "type": "object",
    "description": "Whole numbers by unit, together above 0; 12 hours if it is absent.",
    "properties": {unit: integer(0) for unit in requests.UNITS_US},
    "additionalProperties": False,
}
ASKED: Final[dict[str, Schema]] = {
    "scenario_managers": NAMES,
    "scenarios": NAMES,
    **dict.fromkeys(requests.LISTS, NAMES),
    "individual_agent_properties": or_null(mapping(array(TEXT))),
    "settings": or_null(SETTINGS),
    "seed": or_null(integer(0)),
    "backend": one_of("python", "rust", None),
}
SIMULATED: Final = record(
    {name: ASKED[name] for name in ("scenario_managers", "scenarios")}, ASKED, closed=False
)
BEGUN: Final = record(
    {name: ASKED[name] for name in ("scenario_managers", "scenarios")},
    {
        **ASKED,
        "stepSize": {"anyOf": [{"type": "number", "minimum": 1e-9, "maximum": 1e9}, one_of("dt")]},
    },
    closed=False,
)
_OVERRIDES: Final = record(
    {},
    {
        "constants": mapping(NUMBER),
        "points": mapping(array(array(NUMBER))),
        "runspecs": record({}, dict.fromkeys(requests.RUNSPECS, NUMBER)),
    },
)
EXECUTED: Final = record(
    {
        "model": {"description": "As Model.to_json() of bptk-py writes it.", **OBJECT},
        "equations": array(TEXT, 1),
    },
    {"scenarios": or_null(mapping(_OVERRIDES))},
)
_FILLING: Final = {
    "name": "bath",
    "specs": {"starttime": 0.0, "stoptime": 2.0, "dt": 1.0},
    "entities": {
        "stocks": [
            {
                "name": "water",
                "initial_value": {"type": "literal", "value": 1.0},
                "equation": {"type": "ref", "name": "tap"},
            }
        ],
        "constants": [{"name": "tap", "equation": {"type": "literal", "value": 2.0}}],
    },
}
STEP: Final[dict[str, Schema]] = {
    "settings": {"anyOf": [SETTINGS, one_of(None, False, 0, "", [])]},
    "flatResults": BOOLEAN,
}
STEPPED: Final[Schema] = {"anyOf": [RESULTS, record({"msg": one_of(STOPPED["msg"])})]}
OF_TEA: Final = msgspec.to_builtins(Outputs(equations=["temperature"]))
TEA: Final = {"scenario_managers": ["tea"], "scenarios": ["base"], "equations": ["temperature"]}


def _scenario(*managers: str) -> Schema:
    fields = dict.fromkeys((*managers, "scenario"), TEXT)
    return record({"scenario": TEXT}, fields, closed=False)


def _of_tea(**results: Any) -> dict[str, Any]:
    return {"tea": {"base": results}}


def operations(_settings: Settings) -> Described:
    states = array(
        record(
            {
                "instance_id": TEXT,
                "time": WHEN,
                "timeout": record({"milliseconds": integer(0)}),
                "step": ANY,
                "state": or_null(OBJECT),
            }
        )
    )
    load = Operation(
        "Does nothing: a stored instance comes back when it is used.",
        {200: Answer("The own instances.", states)},
    )
    run = Operation(
        "Run scenarios from start to stop.",
        {
            200: Answer(
                "By scenario manager and scenario: equations and agents by time.",
                RESULTS,
                _of_tea(equations={"temperature": {"0.0": 100.0, "1.0": 60.0, "2.0": 40.0, "3.0": 30.0}}),
            )
        },
        body=SIMULATED,
        sends=TEA,
        errors=(404, *CODE),
    )
    agents = Operation(
        "States and properties of a scenario's agents.",
        {200: Answer("By type of agent.", mapping(mapping(array(TEXT))))},
        body=_scenario("scenarioManager"),
        sends={"scenarioManager": "agent_market", "scenario": "base"},
    )
    timeout = {"hours": 2}
    flat = {"tea": {"base": {"equations": {"temperature": [100.0]}}}}
    collected = _of_tea(equations={"temperature": {"0.0": 100.0}})
    next_step = _of_tea(temperature={"1.0": 60.0})

    def act(summary: str, meaning: str, said: str) -> dict[str, Operation]:
        return {"post": Operation(summary, {200: Answer(meaning, MESSAGE, {"msg": said})}, errors=(409,))}

    return {
        scenarios.ScenariosHandler: {
            "get": Operation(
                "Scenarios of all own models.",
                {200: Answer("By scenario manager.", mapping(array(TEXT)), {"tea": ["base", "winter"]})},
                errors=(404,),
            )
        },
        scenarios.EquationsHandler: {
            "post": Operation(
                "Equations of a scenario.",
                {
                    200: Answer(
                        "Names by kind.",
                        mapping(array(TEXT)),
                        {
                            "constants": ["room"],
                            "converters": [],
                            "flows": ["cooling"],
                            "points": [],
                            "stocks": ["temperature"],
                        },
                    )
                },
                body=_scenario("scenarioManager", "scenario_manager"),
                sends={"scenarioManager": "tea", "scenario": "base"},
            )
        },
        scenarios.AgentsHandler: {"post": agents, "put": agents},
        scenarios.RunHandler: {"post": run, "put": run},
        scenarios.ExecuteHandler: {
            "post": Operation(
                "Run a model that the request brings.",
                {
                    200: Answer(
                        "By scenario, equation and time.",
                        mapping(mapping(mapping(or_null(NUMBER)))),
                        {"default": {"water": {"0.0": 1.0, "1.0": 3.0, "2.0": 5.0}}},
                    )
                },
                more="Nothing of it is kept. A model that needs functions in Python is refused.",
                body=EXECUTED,
                sends={"model": _FILLING, "equations": ["water"]},
                errors=CODE,
            )
        },
        scenarios.StartInstanceHandler: {
            "post": Operation(
                "Make an instance.",
                {
                    200: Answer(
                        "Its id, and its timeout.",
                        record({"instance_uuid": TEXT, "timeout": TIMEOUT}),
                        {"instance_uuid": INSTANCE, "timeout": timeout},
                    )
                },
                body=record({}, {"timeout": TIMEOUT}, closed=False),
                sends={"timeout": timeout},
                body_required=False,
                errors=(429,),
            )
        },
        scenarios.StartInstancesHandler: {
            "post": Operation(
                "Make several instances.",
                {
                    200: Answer(
                        "Their ids, and their timeout.",
                        record({"instance_uuids": array(TEXT), "timeout": TIMEOUT}),
                        {"instance_uuids": [INSTANCE, INSTANCE], "timeout": timeout},
                    )
                },
                body=record({}, {"instances": integer(1, MAX_INSTANCES), "timeout": TIMEOUT}, closed=False),
                sends={"instances": 2, "timeout": timeout},
                body_required=False,
                errors=(429,),
            )
        },
        scenarios.BeginSessionHandler: {
            "post": Operation(
                "Begin a session, in place of any other.",
                {200: Answer("It stands before its first step.", MESSAGE, {"msg": "session started"})},
                body=BEGUN,
                sends=TEA,
                errors=(409, *CODE),
            )
        },
        scenarios.RunStepHandler: {
            "post": Operation(
                "Advance by one step.",
                {200: Answer("The step, or that the stop time is reached.", STEPPED, next_step)},
                body=record({"settings": STEP["settings"]}, STEP, closed=False),
                body_required=False,
                sends={"settings": {}},
                errors=(409, *CODE),
            )
        },
        scenarios.RunStepsHandler: {
            "post": Operation(
                "Advance by several steps.",
                {200: Answer("The steps.", array(STEPPED), [next_step])},
                body=record(
                    {"numberSteps": integer(1, MAX_STEPS), "settings": STEP["settings"]}, STEP, closed=False
                ),
                sends={"numberSteps": 1, "settings": {}},
                errors=(409, *CODE),
            )
        },
        scenarios.StreamStepsHandler: {
            "post": Operation(
                "Advance to the stop time.",
                {200: Answer("All steps that are left, each sent when it is computed.", array(STEPPED))},
                body=record({"settings": STEP["settings"]}, STEP, closed=False),
                body_required=False,
                sends={"settings": {}},
                errors=(409, *CODE),
            )
        },
        scenarios.SessionResultsHandler: {
            "get": Operation(
                "All steps so far.", {200: Answer("By time.", RESULTS, collected)}, errors=(400, 409, *CODE)
            )
        },
        scenarios.FlatSessionResultsHandler: {
            "get": Operation(
                "All steps so far, without times.",
                {200: Answer("Lists of values.", RESULTS, flat)},
                errors=(400, 409, *CODE),
            )
        },
        scenarios.EndSessionHandler: act("End the session, if there is one.", "Ended.", "session terminated"),
        scenarios.KeepAliveHandler: act("Reset the instance's timeout.", "Reset.", "instance timer reset"),
        scenarios.StopInstanceHandler: act("Delete the instance.", "Deleted.", "Instance deleted."),
        scenarios.SaveStateHandler: {
            "get": Operation(
                "The own instances as they are stored, which they are at all times.",
                {
                    200: Answer(
                        "One entry for each.",
                        states,
                        [
                            {
                                "instance_id": INSTANCE,
                                "time": DATE,
                                "timeout": {"milliseconds": 43200000},
                                "step": 1.0,
                                "state": {
                                    "scenarios": [["tea", "base", OF_TEA]],
                                    "settings": {},
                                    "step": 1.0,
                                    "settings_log": [{"count": 1, "settings": {}}],
                                    "lock": False,
                                },
                            }
                        ],
                    )
                },
            )
        },
        scenarios.LoadStateHandler: {"get": load, "post": load},
        scenarios.FullMetricsHandler: {
            "get": Operation(
                "Counts; for who is logged in, also the own instances.",
                {
                    200: Answer(
                        "Counts, and by id of an instance its step.",
                        record(
                            {"instanceCount": integer(0), "threadCount": integer(1)},
                            closed=False,
                        ),
                    )
                },
                errors=(503,),
            )
        },
    }
