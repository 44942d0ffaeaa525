"""Descriptions of `handlers.admin`."""

from __future__ import annotations

from typing import Any, Final, get_args

from handlers import admin
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
    ref,
    text,
)
from handlers.openapi.parts import (
    ACCOUNT,
    CODE_PIECES,
    DATE,
    EXPERIMENT,
    ID,
    KEY,
    SUCCESS,
    THETA_VERSION,
    WHEN,
    experiment_field,
)
from streamsim.config import Settings
from streamsim.decisions.dry_run import MAX_SHOWN
from streamsim.decisions.wire import MAX_ADDRESS, PIECES
from streamsim.experiments import fields, webhooks
from streamsim.experiments.revisions import MAX_NOTE
from streamsim.storage.contract.deliveries import DeliveryState
from streamsim.storage.contract.revisions import MAX_REVISION_BYTES, MAX_REVISIONS
from streamsim.webhooks.events import EVENTS

_SAVED: Final = {"revision": integer(1), "date": WHEN, "user": TEXT, "note": TEXT}
_NOTE: Final = text(0, MAX_NOTE, description="What a change of code is for; it is kept with its revision.")
_CHANGED: Final = {name: experiment_field(name) for name in fields.FIELDS} | {"note": _NOTE}
_NEW: Final = {name: schema for name, schema in _CHANGED.items() if name not in fields.READ_ONLY}
_ADDRESS: Final[dict[str, Any]] = dict.fromkeys(("name", "key", "value"), text(0, MAX_ADDRESS))
_SHOWN: Final[dict[str, Any]] = {
    "id": EXPERIMENT,
    "name": "colours",
    "key": KEY,
    **CODE_PIECES,
    **fields.DEFAULTS,
    "revision": 1,
    "created": DATE,
    "modified": DATE,
}


def _dry_run() -> Schema:
    row = {"exp_id": TEXT, **_ADDRESS, "theta": or_null(OBJECT)}
    newer = {**BOOLEAN, "description": "It was written since, and this is newer."}
    return record(
        {
            "action": ANY,
            "propensity": or_null(NUMBER),
            "probabilities": or_null(mapping(NUMBER)),
            "propensity_runs": or_null(integer(1)),
            "context": {"description": "As the code leaves it."},
            "read": array(record(row, {"changed": newer})),
            "written": {**array(record(row)), "description": "Null for what would be deleted."},
            "more": {**BOOLEAN, "description": f"There are more rows than {MAX_SHOWN} or 1 MiB of either."},
            "logged": array(OBJECT),
            "ms": NUMBER,
        }
    )


def operations(_settings: Settings) -> Described:
    warned = {"warning": {"description": "What was not stored, or otherwise than given.", **array(TEXT)}}
    saved = {"revision": 1, "date": DATE, "user": ACCOUNT, "note": ""}
    created = record({"id": ID, "name": TEXT, "key": ID, "error": one_of(False)}, warned)
    return {
        admin.ExperimentsHandler: {
            "get": Operation(
                "The own experiments.",
                {
                    200: Answer(
                        "Id -> name, in order of id; with a parameter that starts with _: id -> experiment.",
                        {"anyOf": [mapping(TEXT), mapping(ref("Experiment"))]},
                        {EXPERIMENT: "colours"},
                        headers={"Link": 'The next page, if there is one: <PATH>; rel="next".'},
                    )
                },
                query=(
                    Parameter("limit", "Most experiments.", integer(1, admin.MAX_LISTED), 10),
                    Parameter("after", "An id to begin after.", text()),
                    Parameter("_sort", "The order of experiments.", one_of(*fields.ORDERS)),
                    Parameter("_order", "Its direction.", one_of("ASC", "DESC")),
                    Parameter("_start", "Does not cut the list.", integer(0)),
                    Parameter("_end", "Does not cut the list.", integer(0)),
                ),
            ),
            "post": Operation(
                "Create an experiment.",
                {
                    200: Answer(
                        "Its id, and the key for getaction and setreward.",
                        created,
                        {"id": EXPERIMENT, "name": "sizes", "key": KEY, "error": False},
                    )
                },
                more="Unknown fields are left out with a warning; a name that is taken gets a number.",
                body=record({"name": _NEW["name"]}, _NEW, closed=False),
                sends={
                    "name": "sizes",
                    "get_action": 'self.action["size"] = 3',
                    "advice_id": True,
                    "delta_hours": 24,
                },
                errors=(409,),
            ),
        },
        admin.ExperimentHandler: {
            "get": Operation(
                "All fields of an experiment.", {200: Answer("The experiment.", ref("Experiment"), _SHOWN)}
            ),
            "put": Operation(
                "Edit an experiment.",
                {
                    200: Answer(
                        "Edited; the next decision runs it.",
                        record({**SUCCESS["properties"], "id": ID, "revision": integer(0)}, warned),
                        {"status": "success", "id": EXPERIMENT, "revision": 2},
                    )
                },
                more="What the body lacks stays. `if_revision`, or If-Match with the ETag of GET, makes the "
                "edit conditional.",
                headers=(Parameter("If-Match", "The ETag that GET gave.", text()),),
                body=record({}, {**_CHANGED, "if_revision": integer(0)}, closed=False),
                sends={"name": "colours", "get_action": 'self.action["arm"] = "B"', "if_revision": 1},
                errors=(409, 412),
            ),
            "delete": Operation(
                "Archive an experiment.",
                {
                    200: Answer(
                        "Its name is free again; its logs stay.",
                        ref("Experiment"),
                        {**_SHOWN, "revision": 2},
                    )
                },
            ),
        },
        admin.KeyHandler: {
            "post": Operation(
                "Give the experiment a new key.",
                {
                    200: Answer(
                        "The new key. Calls with the old one are refused from now on.",
                        record({**SUCCESS["properties"], "id": ID, "key": ID, "revision": integer(1)}),
                    )
                },
                errors=(409,),
            )
        },
        admin.RevisionsHandler: {
            "get": Operation(
                "Each save of the code that is kept.",
                {
                    200: Answer(
                        f"Newest first: the newest {MAX_REVISIONS}, of {MAX_REVISION_BYTES >> 20} MiB of "
                        "code in all. The first is the code that decides now.",
                        record({"revisions": array(record(_SAVED))}),
                        {"revisions": [saved]},
                    )
                },
            )
        },
        admin.RevisionHandler: {
            "get": Operation(
                "The code of a revision.",
                {
                    200: Answer(
                        "The code as it was saved.",
                        record({**_SAVED, **dict.fromkeys(PIECES, TEXT)}),
                        {**saved, **CODE_PIECES},
                    )
                },
            )
        },
        admin.DryRunHandler: {
            "post": Operation(
                "What would be decided now.",
                {
                    200: Answer(
                        "The decision, and with a reward what is learned from it. Nothing of it is stored.",
                        _dry_run(),
                    )
                },
                more="The code runs in the sandbox on the theta that there is. Of what is declared around "
                "it, the floor and arms that are off count; state, ramp, holdout, burn-in and kept actions "
                "do not.",
                body=record({}, {"context": ANY, "reward": ANY, **dict.fromkeys(PIECES, TEXT)}),
                sends={"context": {"age": 41}, "reward": 1, "get_action": CODE_PIECES["get_action"]},
                errors=(422, 429, 504),
            )
        },
        admin.ResetHandler: {
            "get": Operation(
                "Delete theta, or a part of it.",
                {200: Answer("Deleted.", SUCCESS, {"status": "success"})},
                query=(
                    Parameter("key", "The experiment's key.", text(1), KEY, required=True),
                    Parameter("theta_key", "Only what is stored under this key.", text()),
                    Parameter("theta_value", "And under this value.", text()),
                ),
                errors=(409,),
            )
        },
        admin.ThetaHandler: {
            "get": Operation(
                "All of theta, with its version.",
                {
                    200: Answer(
                        "The rows of every named set.",
                        record({"rows": array(record({**_ADDRESS, "theta": OBJECT})), "version": text(1)}),
                    )
                },
            ),
            "put": Operation(
                "Set all of theta.",
                {
                    200: Answer(
                        "It has this version now.",
                        record({**SUCCESS["properties"], "version": text(1)}),
                    )
                },
                more="Give rows, or theta and named as an hourly snapshot has them.",
                body=record(
                    {"version": {"description": "The version that GET gave.", **TEXT}},
                    {
                        "rows": array(record({"theta": OBJECT}, _ADDRESS)),
                        "theta": OBJECT,
                        "named": mapping(OBJECT),
                    },
                ),
                sends={"version": THETA_VERSION, "theta": {"n": 1}},
                errors=(409,),
            ),
        },
        admin.WebhooksHandler: {
            "get": Operation(
                "Messages to the webhooks.",
                {
                    200: Answer(
                        "The newest ones, newest first: what is sent, and what became of it.",
                        array(
                            record(
                                {
                                    "id": TEXT,
                                    "event": one_of(*EVENTS),
                                    "url": TEXT,
                                    "status": one_of(*get_args(DeliveryState)),
                                    "attempts": integer(0),
                                    "created": TEXT,
                                    "body": OBJECT,
                                },
                                {"last_attempt": TEXT, "next_attempt": TEXT, "error": TEXT},
                            )
                        ),
                    )
                },
                query=(Parameter("limit", "Most messages.", integer(1, webhooks.MAX_LISTED), 10),),
            )
        },
        admin.DefaultsHandler: {
            "get": Operation("The catalogue of policies.", {200: Answer("Number -> name.", mapping(TEXT))})
        },
        admin.DefaultHandler: {
            "get": Operation(
                "A policy of the catalogue.",
                {200: Answer("Its description and its code.", ref("Policy"))},
            )
        },
    }
