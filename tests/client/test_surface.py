"""What the package is: whole, and the same on both faces."""

from __future__ import annotations

import inspect
from typing import Any

from streamsim_client import AsyncClient, Client
from streamsim_client.faces import Group
from streamsim_client.runs import Project

from . import test_bandit, test_models, test_runs
from .conftest import public_calls


def groups(client: Client | AsyncClient) -> dict[str, Group[Any]]:
    return {name: value for name, value in vars(client).items() if isinstance(value, Group)}


def test_every_group_is_one_whose_calls_are_all_made_in_these_tests() -> None:
    covered = {*test_bandit.GROUPS, *test_models.GROUPS, *test_runs.GROUPS}
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
