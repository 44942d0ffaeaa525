"""GET and PUT /exp/{id}/theta: all of theta, and in its place another, unless it changed meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.application import Caller

ADD = """
n = self.get_theta(key="n", value="all").get("n", 0)
self.set_theta({"n": n + self.reward}, key="n", value="all")
"""
SHOW = "self.action['n'] = self.get_theta(key='n', value='all').get('n', 0)"
ODD = "self.set_theta({'x': 1}, key='a:b', value='c')\nself.set_theta({'x': 2}, key='a', value='b:c')\n"
MORE = "self.set_theta({'deep': [1, {'é': None}]}, name='priors')\nself.set_theta({'k': 1}, key='k')\n"


async def whole(ann: Caller, experiment: dict[str, Any]) -> dict[str, Any]:
    answer = await ann.get(f"/exp/{experiment['id']}/theta")
    assert answer.status == 200, answer.body
    found: dict[str, Any] = answer.body
    return found


async def reward(ann: Caller, experiment: dict[str, Any], value: int = 1) -> None:
    body = {"key": experiment["key"], "reward": value}
    assert (await ann.post(f"/setreward/{experiment['id']}", body)).status == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_theta_is_read_as_a_whole_and_what_was_read_can_be_set(ann: Caller) -> None:
    made = await ann.experiment("whole", get_action=SHOW, set_reward=ADD + ODD + MORE)
    where = f"/exp/{made['id']}/theta"
    empty = await whole(ann, made)
    assert empty["rows"] == []
    await reward(ann, made, 5)
    first = await whole(ann, made)
    assert first["version"] != empty["version"]
    rows = {(row["name"], row["key"], row["value"]): row["theta"] for row in first["rows"]}
    assert rows == {
        ("_theta", "n", "all"): {"n": 5},
        ("_theta", "a:b", "c"): {"x": 1},
        ("_theta", "a", "b:c"): {"x": 2},
        ("_theta", "k", ""): {"k": 1},
        ("priors", "", ""): {"deep": [1, {"é": None}]},
    }
    await reward(ann, made, 5)
    answer = await ann.put(where, first)
    assert (answer.status, answer.body["error"]["field"]) == (409, "version")
    second = await whole(ann, made)
    answer = await ann.put(where, {"version": second["version"], "rows": first["rows"]})
    assert answer.status == 200, answer.body
    again = await whole(ann, made)
    assert again["version"] == answer.body["version"]
    assert again["rows"] == first["rows"]
    # The next decision finds it, and the next reward goes on from it.
    assert (await ann.get(f"/getaction/{made['id']}", key=made["key"])).body["action"] == {"n": 5}
    await reward(ann, made, 1)
    assert (await ann.get(f"/getaction/{made['id']}", key=made["key"])).body["action"] == {"n": 6}
    answer = await ann.put(where, {"version": (await whole(ann, made))["version"], "rows": []})
    assert answer.body["version"] == empty["version"] == (await whole(ann, made))["version"]


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_of_concurrent_changes_one_wins_and_no_reward_is_lost(ann: Caller) -> None:
    made = await ann.experiment("race", set_reward=ADD)
    where = f"/exp/{made['id']}/theta"
    await reward(ann, made, 0)
    version = (await whole(ann, made))["version"]
    bodies = [{"version": version, "theta": {"n:all": {"n": 1000 * n}}} for n in range(1, 9)]
    answers = await asyncio.gather(*(ann.put(where, body) for body in bodies))
    (winner,) = [n for n, answer in enumerate(answers, 1) if answer.status == 200]
    assert {answer.status for answer in answers} == {200, 409}
    assert (await whole(ann, made))["rows"][0]["theta"] == {"n": 1000 * winner}
    # Rewards and changes at once: a change that was taken is a new start, after which all rewards count.
    before = 1000 * winner
    for n in range(1, 6):
        version = (await whole(ann, made))["version"]
        change = ann.put(where, {"version": version, "theta": {"n:all": {"n": 1_000_000 * n}}})
        answer, *_ = await asyncio.gather(change, *(reward(ann, made) for _ in range(10)))
        total = (await whole(ann, made))["rows"][0]["theta"]["n"]
        base = 1_000_000 * n if answer.status == 200 else before
        assert base <= total <= base + 10
        if answer.status == 409:
            assert total == before + 10
        before = total


@pytest.mark.gen_test
async def test_an_hourly_snapshot_is_brought_back_as_it_is(ann: Caller) -> None:
    for name, code in (("labels", ADD + MORE), ("odd", ODD), ("plain", "self.set_theta({'m': 1, 'n': 2})")):
        made = await ann.experiment(name, set_reward=code)
        where = f"/exp/{made['id']}/theta"
        await reward(ann, made)
        before = await whole(ann, made)
        shown = (await ann.get(f"/stats/{made['id']}/currenttheta")).body
        named = {"priors": {"deep": [1, {"é": None}]}} if name == "labels" else {}
        body = {"version": before["version"], "theta": shown, "named": named}
        answer = await ann.put(where, body)
        assert answer.status == 200, answer.body
        assert (await whole(ann, made))["rows"] == before["rows"], name


ROW = {"key": "k", "theta": {}}


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("field", "given"),
    [
        ("version", {"version": None, "rows": []}),
        ("rows", {}),
        ("rows", {"rows": [], "theta": {}}),
        ("rows", {"rows": {}}),
        ("named", {"rows": [], "named": {}}),
        ("named", {"theta": {}, "named": []}),
        ("named.p", {"theta": {}, "named": {"p": 3}}),
        ("theta", {"theta": [1]}),
        ("rows[0]", {"rows": [3]}),
        ("rows[0]", {"rows": [ROW | {"more": 1}]}),
        ("rows[1]", {"rows": [ROW, ROW]}),
        ("rows[0].theta", {"rows": [{"key": "k"}]}),
        ("rows[0].theta", {"rows": [{"key": "k", "theta": 3}]}),
        ("rows[0].key", {"rows": [ROW | {"key": 3}]}),
        ("rows[0].value", {"rows": [ROW | {"value": "v" * 513}]}),
        ("rows[0].name", {"rows": [ROW | {"name": "a\x00"}]}),
        ("more", {"rows": [], "more": 1}),
    ],
)
async def test_what_is_no_theta_is_refused_by_name(ann: Caller, field: str, given: dict[str, Any]) -> None:
    made = await ann.experiment("wrong")
    version = (await whole(ann, made))["version"]
    answer = await ann.put(f"/exp/{made['id']}/theta", {"version": version} | given)
    assert (answer.status, answer.body["error"]["field"]) == (400, field), answer.body


@pytest.mark.gen_test
async def test_too_many_rows_are_refused(ann: Caller) -> None:
    made = await ann.experiment("large")
    rows = [{"key": str(n), "theta": {}} for n in range(10_001)]
    version = (await whole(ann, made))["version"]
    for some, status in ((rows, 413), (rows[1:], 200)):
        answer = await ann.put(f"/exp/{made['id']}/theta", {"version": version, "rows": some})
        assert answer.status == status
    assert len((await whole(ann, made))["rows"]) == 10_000
