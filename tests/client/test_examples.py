"""The examples in the client's docstrings, against a server, give what they show; every group has one."""

from __future__ import annotations

import doctest
import importlib
from collections.abc import Iterator
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import pytest

import streamsim_client
from streamsim_client import Client
from streamsim_client.groups import Group
from streamsim_client.runs import Project

from ..support import Server

MODULES = [
    "streamsim_client",
    *(f"streamsim_client.{one.name}" for one in iter_modules(streamsim_client.__path__)),
]
TEACUP = Path(__file__).parents[1] / "models" / "scenarios" / "models" / "teacup.mdl"


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """What examples may name."""
    with Server(tmp_path_factory.mktemp("server")) as server:
        token = server.admin().post("/user/token", {}).body["token"]
        with Client(server.url, token=token) as client:
            made = client.experiments.create(
                "example", get_action="self.action['arm'] = 'a'", get_reward="self.reward['value'] = 1"
            )
            yield {
                "URL": server.url,
                "TOKEN": token,
                "ID": made["id"],
                "KEY": made["key"],
                "MDL": TEACUP.read_text(encoding="utf-8"),
                "Client": Client,
                "client": client,
            }


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name: str, names: dict[str, Any]) -> None:
    assert doctest.testmod(importlib.import_module(name), extraglobs=names).failed == 0


def test_every_group_of_calls_has_an_example() -> None:
    with Client("http://127.0.0.1:1") as client:
        groups = {type(group) for group in vars(client).values() if isinstance(group, Group)} | {Project}
    assert [group.__name__ for group in groups if ">>> " not in (group.__doc__ or "")] == []
