"""The application with models of the run endpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from tests.application import Caller
from tests.models.conftest import push

MODELS = Path(__file__).parent / "models"


def files(*names: str) -> dict[str, str]:
    """The files of an upload."""
    return {name: (MODELS / name).read_text() for name in names}


async def start(client: Caller, model: str = "sample", project: str = "game", **fields: Any) -> str:
    """A new run of a model; its id."""
    answer = await client.post(f"/v2/run/{client.name}/{project}/", {"model": model, **fields})
    assert answer.status == 201, answer
    return str(answer.body["id"])


@pytest.fixture
def player(io_loop: IOLoop, ann: Caller) -> Caller:
    """Ann, with the sample model."""
    found = files("sample.py", "market.py")
    io_loop.run_sync(lambda: push(ann, "sample", found, engine="python", main="sample.py"))
    return ann


async def value(client: Caller, run: str, name: str) -> Any:
    """A variable of a run."""
    answer = await client.get(f"/v2/model/variable/{run}", name=name)
    assert answer.status == 200, answer
    return answer.body[name]
