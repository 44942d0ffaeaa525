"""Descriptions of `handlers.runs` and `handlers.run_variables`."""

from __future__ import annotations

from typing import Any, Final

from handlers import run_variables, runs
from handlers.openapi.operation import (
    ANY,
    BOOLEAN,
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
from handlers.openapi.parts import ACCOUNT, DATE, RUN, WHEN
from streamsim.config import Settings
from streamsim.models.run_service import MAX_RUNS

CODE: Final = (409, 504)
"""Errors of what touches a run; those of the model's code are 400 here."""
MADE: Final[dict[str, Schema]] = {
    "model": {"type": "string", "description": "Name of a model, or of its main file."},
    "scope": OBJECT,
    "files": OBJECT,
    "ephemeral": BOOLEAN,
    "sensitivityMode": {"description": "Many values are what /sweep is for.", "enum": [False, None]},
}
RECORD: Final = record(
    {
        **dict.fromkeys(("id", "account", "project", "model"), TEXT),
        "user": record({"id": TEXT, "userName": TEXT}),
        "created": WHEN,
        "lastModified": WHEN,
        **dict.fromkeys(("initialized", "active", "ephemeral", "saved", "trashed"), BOOLEAN),
        **dict.fromkeys(("scope", "files", "variables"), OBJECT),
    },
    closed=False,
)
MANY: Final = array(record({"run": TEXT, "variables": ANY}))
CALLED: Final = record({"name": TEXT}, {"arguments": array(ANY), "result": ANY})
_PARAMETER: Final = record(
    {"name": TEXT, "dataType": {"type": "null"}, "default": ANY, "optional": BOOLEAN}, closed=False
)
_VARIABLE: Final = record(
    {
        **dict.fromkeys(("name", "type"), TEXT),
        "dataType": one_of("NUMBER", "BOOLEAN", "STRING", "ARRAY", "OBJECT"),
        "access": one_of("ALWAYS"),
        "subscripts": or_null(array(TEXT)),
        "saved": BOOLEAN,
    }
)
INTROSPECTED: Final = record(
    {
        "functions": array(
            record({"name": TEXT, "signature": array(_PARAMETER), "returnType": {"type": "null"}})
        ),
        "variables": array(_VARIABLE),
        "ranges": or_null(array(record({"name": TEXT, "indices": array(TEXT)}))),
    }
)
SELECTOR: Final = Parameter(
    "run",
    "Id of a run, or matrix parameters that choose runs, e.g. `;saved=true;variables.income>5`.",
    text(1, pattern="^[^/]+$"),
    RUN,
)
INCLUDE: Final = Parameter("include", "Variables in the answer, with commas between.", TEXT, "income")
INCLUDED: Final = Parameter("include", "Variables, with commas between; as `name`.", TEXT)
NAME: Final = Parameter("name", "A variable; repeated for several.", array(TEXT, 1), ["price", "stock.pears"])
PATH_OF_VARIABLE: Final = Parameter(
    "name", "Path of a variable, e.g. `stock.apples` or `sold[0]`.", text(1), "stock.apples"
)
_LIST: Final = (
    Parameter("startrecord", "Of a list: the first record.", integer(0, 10**9, default=0)),
    Parameter("endrecord", "Of a list: the last record.", integer(0, 10**9)),
    Parameter(
        "sort",
        "Of a list: created, lastModified, id, model, variables.NAME or a field of your own.",
        text(default="created"),
    ),
    Parameter("direction", "Of a list.", one_of("asc", "desc")),
)


def _record(**changed: Any) -> dict[str, Any]:
    return {
        "id": RUN,
        "account": ACCOUNT,
        "project": "fair",
        "model": "shop",
        "user": {"id": ACCOUNT, "userName": ACCOUNT},
        "scope": {},
        "files": {},
        "ephemeral": False,
        "saved": False,
        "trashed": False,
        "created": DATE,
        "lastModified": DATE,
        "initialized": True,
        "active": True,
        "variables": {},
        **changed,
    }


def operations(_settings: Settings) -> Described:
    created = {201: Answer("The record of the run.", RECORD, _record(scope={"team": "red"}))}
    ranged = {"Content-Range": "Of a list: the records of it, and how many there are."}
    of_income = [_record(variables={"income": 9.0})]
    several = {"anyOf": [mapping(ANY), MANY]}
    variables = {"price": 3.0, "stock.pears": 5}
    changes = {"price": 4.5, "stock.pears": 50}
    sale = {"name": "sell", "arguments": ["apples", 2]}
    called = {200: Answer("The operation, with its result.", CALLED, {**sale, "result": 15.0})}

    def read_one() -> Operation:
        return Operation(
            "Read a variable.",
            {200: Answer("Its value; for matrix parameters, the recorded ones of several runs.", ANY, 17)},
            path=(SELECTOR, PATH_OF_VARIABLE),
            errors=CODE,
        )

    def of_run() -> dict[str, Operation]:
        return {
            "get": Operation(
                "Read variables.",
                {
                    200: Answer(
                        "Values by path; for matrix parameters, the recorded ones of several runs.",
                        several,
                        variables,
                    )
                },
                path=(SELECTOR,),
                query=(NAME, INCLUDED),
                errors=CODE,
            ),
            "patch": Operation(
                "Set variables by path, all or none.",
                {200: Answer("Their values afterwards.", mapping(ANY), changes)},
                path=(SELECTOR,),
                body=OBJECT,
                sends=changes,
                errors=CODE,
            ),
        }

    always: dict[str, Any] = {"access": "ALWAYS", "subscripts": None, "saved": False}
    parameter: dict[str, Any] = {"dataType": None, "default": None, "optional": False}
    signature = [{"name": "fruit", **parameter}, {"name": "count", **parameter}]
    introspected = {
        200: Answer(
            "Operations, variables, and ranges of arrays.",
            INTROSPECTED,
            {
                "functions": [{"name": "sell", "signature": signature, "returnType": None}],
                "variables": [
                    {"name": "price", "type": "float", "dataType": "NUMBER", **always},
                    {"name": "stock", "type": "dict", "dataType": "OBJECT", **always},
                    {"name": "income", "type": "float", "dataType": "NUMBER", **always},
                ],
                "ranges": None,
            },
        )
    }
    operation = record({"name": TEXT}, {"arguments": array(ANY)})
    return {
        runs.RunsHandler: {
            "post": Operation(
                "Make a run of a model.",
                created,
                body=record({"model": MADE["model"]}, MADE),
                sends={"model": "shop", "scope": {"team": "red"}},
                errors=CODE,
            ),
            "get": Operation(
                "Records of all runs of a project.",
                {200: Answer(f"At most {MAX_RUNS}.", array(RECORD), of_income, headers=ranged)},
                query=(INCLUDE, *_LIST),
                errors=CODE,
            ),
        },
        runs.OneRunHandler: {
            "get": Operation(
                "The record of a run, or of the runs that matrix parameters choose.",
                {
                    200: Answer(
                        "The record, or a list of records.",
                        {"anyOf": [RECORD, array(RECORD)]},
                        of_income[0],
                        headers=ranged,
                    )
                },
                path=(SELECTOR,),
                query=(INCLUDE, *_LIST),
                headers=(
                    Parameter(
                        "X-AutoRestore", "Bring the run into memory first.", one_of("true", "false"), "true"
                    ),
                ),
                errors=CODE,
            ),
            "patch": Operation(
                "Change fields of a run's record, and variables.",
                {200: Answer("What was changed.", OBJECT, {"saved": True, "variables": {"price": 5}})},
                more="Dots in a name lead into objects, e.g. `scope.team`.",
                body={
                    "type": "object",
                    "properties": {
                        "saved": BOOLEAN,
                        "trashed": BOOLEAN,
                        "scope": OBJECT,
                        "variables": or_null({"description": "Path -> value, set all or none.", **OBJECT}),
                    },
                },
                sends={"saved": True, "variables": {"price": 5}},
                errors=CODE,
            ),
            "delete": Operation(
                "Let a run leave memory.", {204: Answer("It stays in the store.")}, errors=CODE
            ),
        },
        runs.ModelRunHandler: {
            "post": Operation(
                "Make a run of a model.",
                created,
                body=record({"account": TEXT, "project": TEXT, "model": MADE["model"]}, MADE),
                sends={"account": ACCOUNT, "project": "fair", "model": "shop", "scope": {"team": "red"}},
                errors=(404, *CODE),
            )
        },
        runs.DescribeOperationHandler: {},
        runs.OperationHandler: {
            "post": Operation("Call an operation.", called, body=operation, sends=sale, errors=CODE)
        },
        runs.RunOperationHandler: {
            "post": Operation(
                "Call an operation.",
                called,
                path=(Parameter("name", "Name of the operation.", text(1, pattern="^[^/]+$"), "sell"),),
                body=record({}, {"name": TEXT, "arguments": array(ANY)}),
                sends={"arguments": sale["arguments"]},
                body_required=False,
                errors=CODE,
            )
        },
        run_variables.DescribeVariableHandler: {},
        run_variables.VariablesHandler: of_run(),
        run_variables.VariableHandler: {"get": read_one()},
        run_variables.RunVariablesHandler: of_run(),
        run_variables.RunVariableHandler: {"get": read_one()},
        runs.IntrospectRunHandler: {
            "get": Operation("Operations and variables of a run's model.", introspected)
        },
        runs.IntrospectModelHandler: {
            "get": Operation(
                "Operations and variables of a model.",
                introspected,
                path=(Parameter("model", "Name of a model, or of its main file.", text(1), "shop"),),
            )
        },
        runs.HistoryHandler: {
            "get": Operation(
                "What was done to a run, oldest first.",
                {
                    200: Answer(
                        "Variables that were set, and operations that were called.",
                        array(
                            record(
                                {"type": one_of("variables", "operation")},
                                {"variables": OBJECT, "name": TEXT, "arguments": array(ANY)},
                            )
                        ),
                        [{"type": "operation", "name": "sell", "arguments": ["apples", 3]}],
                    )
                },
            )
        },
        runs.StateHandler: {
            "post": Operation(
                "Bring a run back from its journal, copy it, or take back changes.",
                {200: Answer("The id of the run, or of the copy.", record({"run": TEXT}), {"run": RUN})},
                body=record(
                    {"action": one_of("replay", "clone", "rewind")},
                    {
                        "stopBefore": {
                            "description": "What was done from its first call on is left out.",
                            "anyOf": [TEXT, {"type": "null"}],
                        },
                        "exclude": {"description": "Operations that are left out.", **array(TEXT)},
                        "count": {
                            "description": "Of rewind: how many changes are taken back.",
                            **integer(1, 10**6, default=1),
                        },
                    },
                ),
                sends={"action": "clone", "exclude": ["sell"]},
                errors=CODE,
            )
        },
    }
