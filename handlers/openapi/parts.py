"""What the descriptions share: schemas by name, parameters of paths, and the things that examples name.

The test that sends the examples makes what they name (`EXPERIMENT`, `KEY`, ...), and puts the real names in.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import msgspec

from handlers.openapi.operation import (
    ANY,
    BOOLEAN,
    OBJECT,
    TEXT,
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
from streamsim.decisions.declared import Declared, Guardrail, Rewards, Shadow, Sticky, Traffic, Webhook
from streamsim.decisions.wire import PIECES, STREAMINGBANDIT
from streamsim.evaluation.compare import Comparison
from streamsim.evaluation.health import Check
from streamsim.evaluation.inference.report import Inference
from streamsim.evaluation.offpolicy import Evaluation
from streamsim.experiments import fields
from streamsim.experiments.catalogue import Description
from streamsim.models.engines.base import ScenarioSettings as ScenarioSettings

EXPERIMENT: Final = "0f8a1c6e5b7d4c3f9a2b6d8e1f4c7a90"
KEY: Final = "c1d2e3f4a5b6978812345678abcdef90"
ADVICE: Final = "7b1e9d3c5f2a4860b1c2d3e4f5a6b7c8"
THETA_VERSION: Final = "2f4e8a1c7d3b4950a6c1e9f0b7d8c3a5"
JOB: Final = "3c6e9f2b5a8d4170c4f7a1b2d3e5f608"
WORK: Final = "5e8b2d7f1a4c4963e6a9b0c1d2f3e4a5"
COMPARED: Final = "4b7d1e8a2c5f4936b8d0c3e6f9a1b4d7"
TOKEN_ID: Final = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
TOKEN: Final = "Zl3d0Wq7sJx9vKf2mNpRt5uYbHcGeA1L8oQiXwDzE4k"
INSTANCE: Final = "a4d8c2b6e0f14375b9c1d3e5f7a2b4c6"
RUN: Final = "d7a1e5c9b3f84260a8c4e2d6b0f1a3c5e7d9"
ACCOUNT: Final = "ann"
PASSWORD: Final = "correct-horse"
DATE: Final = "2026-01-31T09:30:00.125Z"

PICTURES: Final[dict[str, Schema]] = {
    "text/csv": TEXT,
    "image/svg+xml": TEXT,
    "image/png": text(contentMediaType="image/png"),
}
"""The forms of figures beside JSON."""

CODE_PIECES: Final = {
    "get_context": 'self.context["age"] = self.context.get("age", 41)',
    "get_action": 'self.action["arm"] = "A"',
    "get_reward": 'self.reward["value"] = 1',
    "set_reward": 'self.set_theta({"n": 1})\nself.log_data({"seen": 1})',
}
TEA: Final = """import BPTK_Py
from BPTK_Py import Model

def bptk_factory():
    model = Model(starttime=0.0, stoptime=3.0, dt=1.0, name="tea")
    temperature, cooling = model.stock("temperature"), model.flow("cooling")
    room = model.constant("room")
    room.equation = 20.0
    temperature.initial_value = 100.0
    cooling.equation = 0.5 * (temperature - room)
    temperature.equation = -cooling
    bptk = BPTK_Py.bptk()
    bptk.register_scenario_manager({"tea": {"model": model}})
    bptk.register_scenarios({"base": {}, "winter": {"constants": {"room": 10.0}}}, "tea")
    return bptk
"""
SHOP: Final = """from epicenter import Epicenter

price = 3.0
stock = {"apples": 20, "pears": 5}
income = 0.0

def sell(fruit, count):
    global income
    stock[fruit] -= count
    income += count * price
    Epicenter.record("income")
    return income
"""

ID: Final[Schema] = text(pattern="^[0-9a-f]{32}$")
PLAIN: Final[Schema] = text(1, pattern="^[A-Za-z0-9_]+$")
PART: Final[Schema] = text(1, pattern="^[^/;]+$")
WHEN: Final[Schema] = text(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", format="date-time")
SUCCESS: Final[Schema] = record({"status": one_of("success")})

PATH: Final = {
    one.name: one
    for one in (
        Parameter("exp_id", "Id of an experiment.", PLAIN, EXPERIMENT),
        Parameter("job", "Id of a simulation job.", PLAIN, JOB),
        Parameter("token_id", "Id of a bearer token.", PLAIN, TOKEN_ID),
        Parameter("revision", "Number of a revision that is kept.", PLAIN, "1"),
        Parameter("session_id", "Id of a login session or a bearer token.", PLAIN, TOKEN_ID),
        Parameter("username", "Name of a user.", PART, ACCOUNT),
        Parameter("default_id", "Number of a policy of the catalogue, from 0, or its name.", PART, "2"),
        Parameter("instance", "Id of an instance, as `/start-instance` gave it.", PLAIN, INSTANCE),
        Parameter("model", "Name of a model.", PLAIN, "tea"),
        Parameter("account", "Your user name.", PART, ACCOUNT),
        Parameter("project", "A name of your own for a group of runs.", PART, "fair"),
        Parameter("run", "Id of a run.", PART, RUN),
    )
}

LOCATED: Final = {"piece": or_null(TEXT), "line": or_null(integer(0)), "type": TEXT, "message": TEXT}
ERROR: Final = record(
    {
        "error": record(
            {"code": text(1), "message": text(1)},
            {"field": TEXT, "detail": {"description": "More, e.g. piece, line, type and message of code."}},
        )
    }
)
SCENARIO_ERROR: Final = record({"error": text(1)})
RUN_ERROR: Final = record(
    {"type": text(1), "message": text(1), "error": one_of(True)},
    {
        "run_id": TEXT,
        "name": ANY,
        "arguments": {"type": "string", "description": "The arguments as JSON text."},
        "fault": {**OBJECT, "description": "Where the model's code failed: cause, trace, information."},
    },
)

NAMES: Final[Schema] = {"description": "A list, or text with commas between.", "anyOf": [array(TEXT), TEXT]}
RESULTS: Final[Schema] = {
    "type": "object",
    "description": "By scenario manager, scenario, and equation or agent.",
    "additionalProperties": mapping(OBJECT),
}
SETTINGS: Final[Schema] = {
    "description": "By scenario manager and scenario.",
    **mapping(mapping(ref("ScenarioSettings"))),
}

CODE: Final = text(description=f"Python code, at most {fields.MAX_CODE_BYTES} bytes.")
_FLAG_FIELD: Final = {
    "anyOf": [BOOLEAN, one_of("True", "False", "true", "false", "yes", "no", "y", "n", "1", "0", "")]
}
_OWN: Final[dict[str, Schema]] = {
    "name": text(1, fields.MAX_NAME, pattern=r"\S"),
    "advice_id": {"description": "Whether getaction gives advice ids; needs delta_hours.", **_FLAG_FIELD},
    "hourly_theta": {"description": "Whether theta is logged every hour.", **_FLAG_FIELD},
    "delta_hours": {
        "description": "Hours until an advice id gets the default reward.",
        "anyOf": [integer(0, fields.MAX_DELTA_HOURS), text(pattern="^([0-9]{1,5})?$"), {"type": "null"}],
    },
    "default_reward": {
        "description": "Reward of an advice id that nobody redeems; an object, or the text of one.",
        "anyOf": [OBJECT, text(), {"type": "null"}],
    },
    "log_propensity": {"description": "Whether the probability of each decision is logged.", **_FLAG_FIELD},
    "arm_field": {
        "description": "The field of its actions that names the arm; needed where an action has several.",
        "anyOf": [text(), {"type": "null"}],
    },
    "compat": {
        "description": "With streamingbandit, code reads theta as text.",
        "enum": [STREAMINGBANDIT, "", None],
    },
    "public_origins": {
        "description": "Whether web pages of any origin may call getaction and setreward.",
        **_FLAG_FIELD,
    },
}
_READ_ONLY: Final[dict[str, Schema]] = {
    "id": ID,
    "key": ID,
    "revision": integer(0),
    "created": WHEN,
    "modified": WHEN,
}


def experiment_field(name: str) -> Schema:
    """The schema of a field of an experiment as clients send it, in any of its spellings."""
    return _OWN.get(name) or _READ_ONLY.get(name) or _declared().get(name) or CODE


@cache
def _declared() -> dict[str, Schema]:
    """The schemas of what an experiment may declare, as it is sent: "" is null, as for other fields."""
    _, found = msgspec.json.schema_components([Declared], ref_template="#/components/schemas/{name}")
    properties: dict[str, Schema] = found["Declared"]["properties"]
    return properties


def shown_experiment() -> Schema:
    """An experiment as clients get it."""
    own = {**dict.fromkeys(PIECES, TEXT), **dict.fromkeys(fields.DEFAULTS, BOOLEAN)}
    own |= {"delta_hours": or_null(integer(0)), "arm_field": or_null(TEXT)}
    own |= {
        "default_reward": {"anyOf": [OBJECT, TEXT, {"type": "null"}]},
        "compat": one_of(STREAMINGBANDIT, None),
    }
    return record({"name": TEXT, **own, **_READ_ONLY}, _declared())


def schemas() -> dict[str, Any]:
    """All schemas that have a name."""
    kinds = [Comparison, Evaluation, Check, Inference, Description, ScenarioSettings]
    kinds += [Traffic, Sticky, Rewards, Guardrail, Shadow, Webhook]
    _, found = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    description = found.pop("Description")
    own = {"id": integer(0), "slug": TEXT, **dict.fromkeys(PIECES, TEXT)}
    found["Policy"] = record(
        own | {name: description["properties"][name] for name in description["required"]},
        description["properties"],
    )
    # Unknown parts are refused, as the parser of requests does by itself.
    found["ScenarioSettings"]["additionalProperties"] = False
    return {
        "Error": ERROR,
        "ScenarioError": SCENARIO_ERROR,
        "RunError": RUN_ERROR,
        "Experiment": shown_experiment(),
        **found,
    }
