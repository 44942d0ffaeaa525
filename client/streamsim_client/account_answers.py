"""What the endpoints of administration answer, as their JSON is. Dates are ISO 8601 texts in UTC."""

from __future__ import annotations

from typing import TypedDict

from streamsim_client.values import Object


class UserShown(TypedDict):
    """An account. `created`: a date."""

    name: str
    admin: bool
    created: str


class Session(TypedDict):
    """A login session, or a bearer token: `kind` is `login` or `token`. `current`: the one that asks."""

    id: str
    kind: str
    label: str
    created: str
    expires: str
    current: bool


class Limit(TypedDict):
    """A setting that is a number or a switch; `name` is its section and name."""

    name: str
    value: float | bool
    meaning: str


class ServerShown(TypedDict):
    """What the server is. `sandbox`: the layers around code of users, those `missing`, and `notes`."""

    version: str
    python: str
    kernel: str
    store: dict[str, str]
    sandbox: Object
    limits: list[Limit]
