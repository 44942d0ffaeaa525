"""What the package is: whole, and the same on both kinds."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncGenerator, Callable
from typing import Any

import httpx

from handlers.routes import ROUTES, pattern
from streamsim_client import AsyncClient, Client, Retries
from streamsim_client.groups import Group
from streamsim_client.runs import Project
from streamsim_client.sending import Blocking, Request
from tests.client import test_accounts, test_bandit, test_models, test_runs
from tests.client.conftest import public_calls


def groups(client: Client | AsyncClient) -> dict[str, Group[Any]]:
    return {name: value for name, value in vars(client).items() if isinstance(value, Group)}


def test_every_group_is_one_whose_calls_are_all_made_in_these_tests() -> None:
    covered = {*test_accounts.GROUPS, *test_bandit.GROUPS, *test_models.GROUPS, *test_runs.GROUPS}
    with Client("http://127.0.0.1:1") as client:
        assert {type(group) for group in groups(client).values()} | {Project} == covered


def test_both_faces_have_the_same_calls_with_their_own_words() -> None:
    blocking, asyncio = Client("http://127.0.0.1:1"), AsyncClient("http://127.0.0.1:1")
    assert groups(blocking).keys() == groups(asyncio).keys()
    for name, group in groups(blocking).items():
        for kind, call in public_calls(type(group)):
            one, other = getattr(group, call), getattr(groups(asyncio)[name], call)
            assert inspect.getdoc(one), (kind, call)
            assert inspect.signature(one) == inspect.signature(other)
            assert next(iter(inspect.signature(one).parameters), "") != "self"
    blocking.close()


class Asked(Exception):
    """Carries a request that was about to be sent."""


class Recorder(Blocking):
    """Sends nothing."""

    async def ask(self, request: Request) -> httpx.Response:
        raise Asked(request)

    async def stream(self, request: Request) -> AsyncGenerator[str, None]:
        raise Asked(request)
        yield ""


def requested(call: Callable[..., Any]) -> Request:
    """The first request of a call, with arguments made up for those that it needs."""
    made_up = {"Mapping": {}, "Iterable": [], "int": 1}
    arguments = {
        name: made_up.get(str(parameter.annotation).split("[")[0], "x")
        for name, parameter in inspect.signature(call).parameters.items()
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
    }
    try:
        for _ in call(**arguments):
            pass
    except Asked as asked:
        request: Request = asked.args[0]
        return request
    raise AssertionError(f"{call} asked for nothing")


def test_there_is_a_call_for_every_handler() -> None:
    with Client("http://127.0.0.1:1") as client:
        sender = Recorder(client._sender._http, "http://127.0.0.1:1", None, Retries())
        every = [type(group)(sender) for group in groups(client).values()] + [Project(sender, "x", "x")]
    calls = [getattr(group, name) for group in every for _, name in public_calls(type(group))]
    paths = {request.path for request in map(requested, calls)}
    paths |= {f"/v2/model/{endpoint}" for endpoint in ("operation", "variable")}  # of `runs.describe`
    reached = {
        next((handler for template, handler in ROUTES if re.match(pattern(template), path)), None)
        for path in paths
    }
    # A page for people.
    assert {handler.__name__ for _, handler in ROUTES if handler not in reached} == {"PageHandler"}
