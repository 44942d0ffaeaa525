"""Descriptions of `handlers.administration`."""

from __future__ import annotations

from handlers import administration
from handlers.openapi.operation import (
    BOOLEAN,
    NUMBER,
    TEXT,
    Answer,
    Described,
    Operation,
    Parameter,
    array,
    integer,
    mapping,
    one_of,
    record,
    text,
)
from handlers.openapi.parts import DATE, SUCCESS, WHEN
from streamsim.config import Settings


def operations(_settings: Settings) -> Described:
    session = {
        "id": TEXT,
        "kind": one_of("login", "token"),
        "label": TEXT,
        "created": WHEN,
        "expires": WHEN,
        "current": {**BOOLEAN, "description": "Whether it is the one that asks."},
    }
    layers = {
        "namespaces": array(TEXT),
        "root": TEXT,
        "landlock": integer(0),
        "seccomp": BOOLEAN,
        "uids": array(integer(0), 2, 2),
        "cgroup": array(TEXT),
        "missing": mapping(TEXT),
        "notes": array(TEXT),
    }
    limit = {
        "name": TEXT,
        "value": {"anyOf": [BOOLEAN, NUMBER]},
        "meaning": TEXT,
    }
    server = {
        "version": TEXT,
        "python": TEXT,
        "kernel": TEXT,
        "store": mapping(TEXT),
        "sandbox": record(layers),
        "limits": array(record(limit)),
    }
    user = {"name": "admin", "admin": True, "created": DATE}
    return {
        administration.UsersHandler: {
            "get": Operation(
                "All users; for administrators.",
                {
                    200: Answer(
                        "In order of name.",
                        record({"users": array(record({"name": TEXT, "admin": BOOLEAN, "created": WHEN}))}),
                        {"users": [user]},
                        headers={"Link": "The next page, if there is one."},
                    )
                },
                query=(
                    Parameter("limit", "Most users.", integer(1, administration.MAX_LISTED), 1),
                    Parameter("after", "A name to begin after.", text()),
                ),
            )
        },
        administration.SessionsHandler: {
            "get": Operation(
                "The login sessions and bearer tokens of a user.",
                {
                    200: Answer(
                        f"The newest {administration.MAX_LISTED:,} that are live, newest first, without "
                        "their secrets.",
                        record({"sessions": array(record(session))}),
                    )
                },
                more="One's own; for administrators, those of anybody.",
            )
        },
        administration.SessionHandler: {
            "delete": Operation(
                "End a login session, or revoke a bearer token.",
                {200: Answer("It opens nothing any more.", SUCCESS, {"status": "success"})},
                more="One's own; for administrators, that of anybody.",
            )
        },
        administration.ServerHandler: {
            "get": Operation(
                "What the server is; for administrators.",
                {
                    200: Answer(
                        "Versions, the store, the layers around code of users, and the limits in force: the "
                        "settings that are numbers or switches.",
                        record(server),
                    )
                },
            )
        },
    }
