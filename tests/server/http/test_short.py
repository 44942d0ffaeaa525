"""The short way of getaction and setreward answers as their handlers do, byte for byte."""

from __future__ import annotations

import json
import logging
import random
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import pytest

from handlers import core
from handlers.short import unquoted
from streamsim.services import Services
from tests.application import Caller
from tests.server.http.raw import LAST, answered_in_turn, counted, exchanged, steady

CODE = {
    "get_action": "self.action['arm'] = 'A' if self.context.get('x', 0) > 0 else 'B'",
    "set_reward": "self.set_theta({'n': self.get_theta(key='k').get('n', 0) + self.reward['v']}, key='k')",
}
# A header that means nothing, and that the short way does not know.
_LONG_WAY = b"Upgrade: nothing\r\n"


def get(path: str, **query: str) -> bytes:
    asked = "&".join(f"{name}={quote(value)}" for name, value in query.items())
    return f"GET {path}?{asked} HTTP/1.1\r\nHost: x:1\r\n\r\n".encode()


def post(path: str, body: object, headers: str = "") -> bytes:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}Content-Length: {len(text)}\r\n\r\n".encode() + text


def plain(id: str, key: str) -> list[bytes]:
    """Calls that the short way takes."""
    action, reward = f"/getaction/{id}", f"/setreward/{id}"
    return [
        get(action, key=key),
        get(action, key=f" {key} "),
        get(action, key=key, context='{"x": 1}'),
        get(action, key=key, context="null"),
        get(action, key=key, context='{"é": "☃ + %", "a b": [1, {"c": null}]}', unknown="\x01"),
        get(action, key=key, context='{"x": "text"}'),  # the code raises
        get(action, key=key, context='{"x": 1}').replace(b"%20", b"+"),
        get(action, key=key).replace(b"Host", b"X-Request-Id: mine-1\r\nhOST"),
        get(action, key=key).replace(b"Host", b"X-Request-Id: not ok\r\nConnection: keep-alive\r\nHost"),
        get(action, key=key).replace(b"Host", b"Connection: close\r\nHost"),
        get(action, key=key, context='{"x": "text"}').replace(b"Host", b"connection: close\r\nHost"),
        post(action, {"key": key}),
        post(reward, {"key": key, "reward": {"v": 1}, "action": {"arm": "A"}}, "Connection: close\r\n"),
        post(action, {"key": key, "context": {"x": 1}}, "Content-Type: application/json\r\n"),
        get(reward, key=key, reward='{"v": 1}'),
        get(reward, key=key, reward='{"v": 1}', context='{"x": 1}', action='{"arm": "A"}'),
        get(reward, key=key, reward='{"v": "text"}'),
        get(reward, key=key, reward="{}"),
        get(reward, key=key, reward='{"v": 1}', advice_id="unknown"),
        get(reward, key=key, reward='{"v": 1}', idempotency_key="once"),
        get(reward, key=key, reward='{"v": 1}', idempotency_key="once"),
        get(reward, key=key, reward='{"v": 2}', idempotency_key="once"),
        post(reward, {"key": key, "reward": {"v": 1}, "action": {"arm": "A"}}),
        post(reward, {"key": key, "reward": 1.5}),
    ]


def others(id: str, key: str) -> list[bytes]:
    """Calls that it leaves to the handlers."""
    action, reward = f"/getaction/{id}", f"/setreward/{id}"
    return [
        get(action),
        get(action, key=""),
        get(action, key="wrong"),
        get(f"/getaction/{'0' * 32}", key=key),
        get(action, key=key, context="[1]"),
        get(action, key=key, context="{not"),
        get(action, key=key, context='{"a": 1' + "0" * 30 + "}"),
        get(action, key="\x01" + key),
        get(action, key=key).replace(b"key=", b"key=x&key="),
        get(action, key=key).replace(b"key=", b"key=%ff"),
        get(action.upper(), key=key),
        get(action, key=key).replace(b"GET", b"PUT"),
        get(action, key=key).replace(b"GET", b"HEAD"),
        get(action, key=key).replace(b"Host", b"Connection: close, x\r\nHost"),
        get(action, key=key).replace(b"Host", b"Origin: https://app.example.com\r\nHost"),
        post(action, {"key": key}, "Origin: https://evil.example\r\n"),
        post(action, {"key": key}, "Content-Type: multipart/form-data\r\n"),
        post(action, {"key": key, "contexts": [{}, {"x": "text"}]}),
        post(action, {"key": key, "more": 1}),
        post(action, {"key": 1}),
        post(action, b"[]"),
        post(action, b"\xff"),
        post(action, b" " * ((1 << 20) + 1)),
        get(reward, key=key),
        get(reward, key=key, reward="{}", advice_id="a", context="{}"),
        get(reward, key=key, reward="{}", advice_id="a" * 300),
        post(reward, {"key": key, "rewards": [{"reward": {"v": 1}}]}),
        post(reward, {"key": key, "reward": 1, "odd": 1}),
    ]


@pytest.fixture
def handled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which handlers were made for calls."""
    made: list[str] = []
    prepare = core.CoreHandler.prepare

    def noted(handler: Any) -> Any:
        made.append(type(handler).__name__)
        return prepare(handler)

    monkeypatch.setattr(core.CoreHandler, "prepare", noted)
    return made


def same(answers: bytes) -> bytes:
    return re.sub(rb'"advice_id":"[0-9a-f]{32}"', b"", steady(answers))


@pytest.mark.gen_test
@pytest.mark.parametrize("calls", [plain, others])
@pytest.mark.parametrize("settings", [{"server.access_log": True}], indirect=True)
@pytest.mark.parametrize("properties", [{}, {"advice_id": True, "delta_hours": 1}])
async def test_the_short_way_is_the_handlers_way(
    ann: Caller,
    services: Services,
    ports: dict[str, int],
    handled: list[str],
    caplog: pytest.LogCaptureFixture,
    calls: Callable[[str, str], list[bytes]],
    properties: dict[str, object],
) -> None:
    seen = []
    for way in (b"", _LONG_WAY):
        created = await ann.experiment(f"by {way!r}", **CODE, **properties)
        await exchanged(ports["fast"], [get(f"/getaction/{created['id']}", key=created["key"]) + LAST])
        handled.clear()
        caplog.clear()
        before = counted(services)
        answers = []
        with caplog.at_level(logging.INFO):
            for call in calls(created["id"], created["key"]):
                sent = call.replace(b"Host: ", way + b"Host: ", 1).replace(b"hOST: ", way + b"hOST: ", 1)
                answer = await exchanged(ports["fast"], [sent + LAST])
                answers.append(same(answer).replace(created["key"].encode(), b"KEY"))
        logged = [
            re.sub(r"[\d.]+ ms( [0-9a-f]{16}$)?", "", line).lower().replace(created["id"], "")
            for line in caplog.messages
        ]
        after = counted(services)
        counts = {name: count - before.get(name, 0) for name, count in after.items()}
        rows = (await ann.get(f"/stats/{created['id']}/actionlog")).body
        seen.append((answers, logged, {name: n for name, n in counts.items() if n}, len(rows)))
        plain_ones = 0 if calls is plain and not way else len(answers)
        assert len(handled) <= plain_ones
        assert bool(handled) == bool(plain_ones)
    for number, (short, long) in enumerate(zip(seen[0][0], seen[1][0], strict=True)):
        assert short == long, f"call {number}: {short!r} {long!r}"
    assert seen[0][1:] == seen[1][1:]


@pytest.mark.gen_test
async def test_calls_of_one_connection_are_answered_as_on_connections_of_their_own(
    ann: Caller, ports: dict[str, int], handled: list[str]
) -> None:
    one = await ann.experiment("one", get_action="self.action['arm'] = 'A'")
    two = await ann.experiment("two", get_action="self.action['arm'] = 'B'")
    action, of_two = f"/getaction/{one['id']}", f"/getaction/{two['id']}"
    known = get(action, key=one["key"])
    calls = [
        *(
            known,
            get(of_two, key=one["key"]),
            get(of_two, key=two["key"]),
            known,
            get(action, key=two["key"]),
        ),
        get(f"/setreward/{one['id']}", key=one["key"], reward="1"),
        known.replace(b"Host", b"X-Request-Id: mine\r\nHost"),
        *(known, post(action, {"key": one["key"]}), post(of_two, {"key": two["key"]}), known),
    ]
    together = await answered_in_turn(ports["fast"], calls)
    assert len(handled) == 3  # the first one, and those with the key of the other
    alone = [(await answered_in_turn(ports["fast"], [call]))[0] for call in calls]
    assert [same(answer) for answer in together] == [same(answer) for answer in alone]
    assert [b'"A"' in answer for answer in together] == [
        *(True, False, False, True, False, False, True, True, True, False, True)
    ]
    assert [b"X-Request-Id: mine\r" in answer for answer in together].index(True) == 6


@pytest.mark.gen_test
async def test_rewards_that_are_sent_again_are_learnt_as_often(
    ann: Caller, ports: dict[str, int], handled: list[str]
) -> None:
    created = await ann.experiment("learns", **CODE)
    path, key = f"/setreward/{created['id']}", created["key"]
    calls = [get(path, key=key, reward=f'{{"v": {v % 300}}}', action='{"arm": "A"}') for v in range(600)]
    calls += [get(path, key=key, reward=json.dumps({"v": 1, "long": "x" * 200}))] * 2
    answers = await answered_in_turn(ports["fast"], calls)
    assert {answer.partition(b"\r\n\r\n")[2] for answer in answers} == {b'{"status":"success"}'}
    assert len(handled) == 1  # the first one
    learnt = (await ann.get(f"/stats/{created['id']}/currenttheta")).body
    assert learnt == {"k": {"n": 2 * sum(range(300)) + 2}}


def test_a_quoted_value_is_what_the_standard_library_makes_of_it() -> None:
    rng = random.Random(5)
    parts = [b"%7B", b"%7b", b"%C3%A9", b"%00", b"%5C", b"%", b"%%", b"%4", b"%zz", b"\\", b"\\n", b"\\x41"]
    parts += [b"+", b"a", b"%2B", b"\r", b"'", b'"', b"\xe9"]
    for _ in range(20_000):
        value = b"".join(rng.choices(parts, k=rng.randrange(6)))
        assert unquoted(value) == unquote_to_bytes(value.replace(b"+", b" ")), value
