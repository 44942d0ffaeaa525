"""The application with the example models; one sandbox with the modelling libraries for all tests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from tornado.ioloop import IOLoop

from streamsim.config import Settings
from streamsim.models.workers import PRELOAD
from streamsim.sandbox.host.pool import Sandbox
from streamsim.server.compose import running
from streamsim.services import Services
from tests.application import Caller, Clock
from tests.support import ROOT, Answer

EXAMPLES = ROOT / "examples"
MANAGER = "sddsl_customer_acquisition"
INTERACTIVE = {
    "scenario_managers": [MANAGER],
    "scenarios": ["interactive_scenario"],
    "equations": ["customers", "word_of_mouth_success"],
}


@pytest.fixture(scope="session")
def model_sandbox(http_loop: IOLoop) -> Iterator[Sandbox]:
    sandbox = Sandbox(workers=40, preload=PRELOAD)
    asyncio.set_event_loop(http_loop.asyncio_loop)  # type: ignore[attr-defined]
    http_loop.run_sync(sandbox.start)
    yield sandbox
    asyncio.set_event_loop(http_loop.asyncio_loop)  # type: ignore[attr-defined]
    http_loop.run_sync(sandbox.close)


@pytest.fixture
def services(
    io_loop: IOLoop, settings: Settings, sandbox: Sandbox, model_sandbox: Sandbox, clock: Clock
) -> Iterator[Services]:
    context = running(settings, now_ms=clock, sandbox=sandbox, model_sandbox=model_sandbox, upkeep=False)
    yield io_loop.run_sync(context.__aenter__)
    io_loop.run_sync(lambda: context.__aexit__(None, None, None))


def example(name: str) -> dict[str, str]:
    """The files of an upload of an example."""
    return {name: (EXAMPLES / name).read_text()}


async def push(client: Caller, name: str, files: Mapping[str, object], **fields: Any) -> dict[str, Any]:
    """Upload a model; what was found."""
    answer = await client.post("/models", {"name": name, "files": files, **fields})
    assert answer.status == 201, answer
    found: dict[str, Any] = answer.body
    return found


async def session(client: Caller, **changes: Any) -> str:
    """A new instance with a session of the customer model's interactive scenario; its id."""
    instance = (await client.post("/start-instance", None)).body["instance_uuid"]
    answer = await client.post(f"/{instance}/begin-session", INTERACTIVE | changes)
    assert (answer.status, answer.body) == (200, {"msg": "session started"})
    return str(instance)


def setting(value: float, constant: str = "word_of_mouth_success") -> dict[str, Any]:
    """Body parts that override a constant of the interactive scenario."""
    return {"settings": {MANAGER: {"interactive_scenario": {"constants": {constant: value}}}}}


@pytest.fixture
def customers(io_loop: IOLoop, ann: Caller) -> Caller:
    """Ann, with the customer acquisition model."""
    files = example("customer_acquisition.py")
    io_loop.run_sync(lambda: push(ann, "customers", files))
    return ann


Push = Callable[..., Any]


def error(answer: Answer) -> tuple[int, str]:
    """Status and text of an error of the scenario endpoints."""
    assert set(answer.body) == {"error"}
    return answer.status, answer.body["error"]
