"""Descriptions of `handlers.login`."""

from __future__ import annotations

from typing import Final

from handlers import login
from handlers.openapi.operation import (
    BOOLEAN,
    TEXT,
    Answer,
    Described,
    Operation,
    array,
    integer,
    or_null,
    record,
    text,
)
from handlers.openapi.parts import ACCOUNT, DATE, PASSWORD, SUCCESS, TOKEN, TOKEN_ID, WHEN
from streamsim.accounts.accounts import MAX_LABEL
from streamsim.accounts.passwords import MAX_BYTES
from streamsim.config import Settings

_SHOWN: Final = {"id": TEXT, "label": TEXT, "created": WHEN, "expires": WHEN}


def operations(settings: Settings) -> Described:
    new = text(
        description=f"{settings.login.password_min_bytes} to {MAX_BYTES} bytes of UTF-8.",
        minLength=1,
        maxLength=MAX_BYTES,
    )
    old = text(0, MAX_BYTES)
    name = text(1, 254, pattern="^[A-Za-z0-9][A-Za-z0-9_.@+-]*$")
    shown = {"id": TOKEN_ID, "label": "shop", "created": DATE, "expires": DATE}
    done = {"status": "success"}
    longest = settings.login.token_days
    return {
        login.LoginHandler: {
            "post": Operation(
                "Log in.",
                {
                    200: Answer(
                        "Logged in.",
                        record({**SUCCESS["properties"], "username": TEXT, "admin": BOOLEAN}),
                        {"status": "success", "username": ACCOUNT, "admin": False},
                        headers={"Set-Cookie": "The cookie `user`: signed, HttpOnly, SameSite=Lax."},
                    )
                },
                body=record({"username": TEXT, "password": old}),
                sends={"username": ACCOUNT, "password": PASSWORD},
                errors=(401, 429, 503),
            )
        },
        login.LogoutHandler: {
            "get": Operation(
                "Log out.",
                {200: Answer("The session has ended, or the bearer token that was sent.", SUCCESS, done)},
                errors=(503,),
            ),
            "post": Operation(
                "Log out.",
                {200: Answer("The session has ended, or the bearer token that was sent.", SUCCESS, done)},
                errors=(503,),
            ),
        },
        login.UserHandler: {
            "post": Operation(
                "Add a user; for administrators.",
                {200: Answer("The user may log in.", SUCCESS, done)},
                body=record({"username": name, "password": new}),
                sends={"username": "bob", "password": PASSWORD},
                errors=(429,),
            )
        },
        login.PasswordHandler: {
            "put": Operation(
                "Change the own password.",
                {200: Answer("Changed; all login sessions of the user have ended.", SUCCESS, done)},
                body=record({"old_password": old, "new_password": new}),
                sends={"old_password": PASSWORD, "new_password": "a better password"},
                errors=(429,),
            )
        },
        login.TokensHandler: {
            "get": Operation(
                "The own bearer tokens.",
                {
                    200: Answer(
                        "Live tokens, oldest first, without their secrets.",
                        record({"tokens": array(record(_SHOWN))}),
                        {"tokens": [{**shown, "label": "laptop"}, shown]},
                    )
                },
            ),
            "post": Operation(
                "Make a bearer token.",
                {
                    200: Answer(
                        "The token; its secret is shown this once.",
                        record({**_SHOWN, "token": text(1)}),
                        {**shown, "token": TOKEN},
                    )
                },
                body=record(
                    {},
                    {"label": text(0, MAX_LABEL), "days": or_null(integer(1, longest, default=longest))},
                ),
                sends={"label": "shop", "days": 30},
            ),
        },
        login.TokenHandler: {
            "delete": Operation(
                "Revoke a bearer token.", {200: Answer("It opens nothing any more.", record(_SHOWN), shown)}
            )
        },
    }
