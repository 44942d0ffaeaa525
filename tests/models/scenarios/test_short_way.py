"""The short way of run-step answers as its handler does, byte for byte."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from typing import Any

import pytest

from handlers import scenarios
from streamsim.services import Services
from tests.application import Caller
from tests.models.conftest import MANAGER, session, setting
from tests.server.http.raw import LAST, counted, exchanged, steady

NOBODY = "0" * 32
# A header that means nothing, and that the short way does not know.
LONG_WAY = "Upgrade: nothing\r\n"


def step(instance: str, body: object = None, headers: str = "", *, method: str = "POST") -> bytes:
    """A request for a step; a body that is no bytes goes as JSON."""
    text = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    kind = "" if body is None or isinstance(body, bytes) else "Content-Type: application/json\r\n"
    head = (
        f"{method} /{instance}/run-step HTTP/1.1\r\nHost: x\r\n{headers}{kind}Content-Length: {len(text)}\r\n"
    )
    return f"{head}\r\n".encode() + text


def plain(instance: str, other: str, token: str) -> list[bytes]:
    """Calls that the short way takes. :param other: an instance without a session."""
    bearer = f"Authorization: Bearer {token}\r\n"
    return [
        step(instance, headers=bearer),
        step(instance, headers=bearer.replace("Authorization: Bearer", "authorization: bEARER ")),
        step(instance, headers=f"{bearer}Content-Type: application/json\r\n"),
        step(instance, {"settings": {}}, bearer),
        step(instance, {"settings": {}, "flatResults": True}, bearer),
        step(instance, setting(0.3), bearer),
        step(instance, setting(0.2), bearer.replace("Auth", "X-Request-Id: mine-1\r\nAuth")),
        step(instance, b"not JSON, and not said to be", bearer),
        step(instance, {"flatResults": True}, bearer),
        step(instance, {"settings": {MANAGER: {"unknown": {}}}}, bearer),
        step(instance, {"settings": {}, "flatResults": 1}, bearer),
        step(instance, {"settings": [1]}, bearer),
        step(other, headers=bearer),
        step(NOBODY, headers=bearer),
        step(instance, headers="Authorization: Bearer wrong\r\n"),
        step(instance, headers="Authorization: Bearer\r\n"),
    ]


def others(instance: str, other: str, token: str) -> list[bytes]:
    """Calls that it leaves to the handler."""
    bearer = f"Authorization: Bearer {token}\r\n"
    as_json = f"{bearer}Content-Type: application/json\r\n"
    return [
        step(instance),
        step(instance, headers="Authorization: Basic YTpi\r\n"),
        step(instance, headers=bearer + bearer),
        step(instance, headers=bearer, method="GET"),
        step(instance, headers=bearer, method="PUT"),
        step(instance, b"[]", as_json),
        step(instance, b"{not", as_json),
        step(instance, b'{"settings": \xff}', as_json),
        step(instance, b"{}", f"{bearer}Content-Type: text/plain\r\n"),
        step(instance, b"{}", f"{bearer}Content-Type: application/merge-patch+json\r\n"),
        step(instance, headers=f"{bearer}Origin: https://app.example.com\r\n"),
        step(instance, headers=f"{bearer}Origin: https://evil.example\r\n"),
        step(instance, headers=bearer).replace(b"/run-step", b"/run-step/"),
        step(instance, headers=bearer).replace(b"/run-step", b"/run-step?a=1"),
        step(instance.upper(), headers=bearer),
        step("no-id", headers=bearer),
    ]


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which handlers were made for steps."""
    made: list[str] = []
    prepare = scenarios.RunStepHandler.prepare

    async def noted(handler: Any) -> None:
        made.append(type(handler).__name__)
        await prepare(handler)

    monkeypatch.setattr(scenarios.RunStepHandler, "prepare", noted)
    return made


@pytest.mark.gen_test
@pytest.mark.parametrize("calls", [plain, others])
@pytest.mark.parametrize(
    "settings",
    [{"server.access_log": True}, {"server.access_log": True, "compat.bptk_status": "legacy"}],
    indirect=True,
)
async def test_the_short_way_is_the_handlers_way(
    customers: Caller,
    services: Services,
    handled: list[str],
    caplog: pytest.LogCaptureFixture,
    calls: Callable[[str, str, str], list[bytes]],
) -> None:
    port = int(customers.url.rpartition(":")[2])
    token = (await customers.post("/user/token", {})).body["token"]
    seen = []
    for way in ("", LONG_WAY):
        instance = await session(customers)
        other = (await customers.post("/start-instance", None)).body["instance_uuid"]
        handled.clear()
        caplog.clear()
        before = counted(services)
        answers = []
        with caplog.at_level(logging.INFO):
            for call in calls(instance, other, token):
                sent = call.replace(b"Host: x\r\n", f"Host: x\r\n{way}".encode(), 1)
                answers.append(steady(await exchanged(port, [sent + LAST])))
        logged = [
            re.sub(r"[\d.]+ ms( [0-9a-f]{16}$)?", "", line.lower()).replace(instance, "I").replace(other, "O")
            for line in caplog.messages
        ]
        counts = {name: n - before.get(name, 0) for name, n in counted(services).items()}
        results = (await customers.get(f"/{instance}/session-results")).body
        seen.append((answers, logged, {name: n for name, n in counts.items() if n}, results))
        assert bool(handled) == (calls is others or bool(way))
    for number, (short, long) in enumerate(zip(seen[0][0], seen[1][0], strict=True)):
        assert short == long, f"call {number}: {short!r} {long!r}"
    assert seen[0][1:] == seen[1][1:]
    assert len(seen[0][0]) == len(calls("", "", ""))


@pytest.mark.gen_test
async def test_steps_of_the_short_way_that_come_together_are_answered_in_their_order(
    customers: Caller, handled: list[str]
) -> None:
    port = int(customers.url.rpartition(":")[2])
    token = (await customers.post("/user/token", {})).body["token"]
    instance = await session(customers)
    bearer = f"Authorization: Bearer {token}\r\n"
    answers = await exchanged(port, [step(instance, headers=bearer) * 5 + LAST])
    times = re.findall(rb'"customers":\{"([\d.]+)"', answers)
    assert times == [b"1.0", b"2.0", b"3.0", b"4.0", b"5.0"]
    assert not handled


@pytest.mark.gen_test
async def test_another_tenants_instance_is_unknown(customers: Caller, bob: Caller) -> None:
    port = int(customers.url.rpartition(":")[2])
    token = (await bob.post("/user/token", {})).body["token"]
    instance = await session(customers)
    foreign = await exchanged(port, [step(instance, headers=f"Authorization: Bearer {token}\r\n") + LAST])
    unknown = await exchanged(port, [step(NOBODY, headers=f"Authorization: Bearer {token}\r\n") + LAST])
    assert steady(foreign) == steady(unknown)
    assert b" 404 Not Found" in foreign
    assert (await customers.get(f"/{instance}/session-results")).body == {}
