"""Every request that StreamingBandit's web interface sends gets an answer that it can use.

The interface is a single page made with admin-on-rest. It lists experiments as records by id, edits one by
sending back the record that it got, with more or less in it, and shows logs, theta and simulations.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.application import PASSWORD, Caller

CODE = {
    "get_context": "self.context['n'] = 1\n",
    "get_action": "self.action['arm'] = 'a'\n",
    "get_reward": "self.reward['value'] = 1\n",
    "set_reward": "self.set_theta({'n': self.get_theta().get('n', 0) + 1})\n",
}
# What its form for a new experiment sends: switches are text, and what is hidden is left out.
FORM = {"name": "buttons", "hourly_theta": "False", "advice_id": "False", **CODE}
LIST = {"_end": "10", "_order": "ASC", "_sort": "name", "_start": "0"}


@pytest.mark.gen_test
async def test_log_in_and_log_out(nobody: Caller, ann: Caller) -> None:
    assert (await nobody.post("/login", {"username": "ann", "password": "wrong"})).status == 401
    assert (await nobody.post("/login", {"username": "ann", "password": PASSWORD})).status == 200
    assert (await nobody.get("/exp", **LIST)).status == 200
    assert (await nobody.get("/logout")).status == 200
    assert (await nobody.get("/exp", **LIST)).status == 401


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_the_list_has_all_experiments_as_records_by_id(ann: Caller, bob: Caller) -> None:
    assert (await ann.get("/exp", **LIST)).body == {}
    # More than its page holds: it takes what comes for all there is, and pages over that by itself.
    ids = [(await ann.experiment(f"number {n:02}", **CODE))["id"] for n in range(12)]
    await bob.experiment("another's")
    for order, expected in (("ASC", ids), ("DESC", ids[::-1])):
        records = (await ann.get("/exp", **LIST | {"_order": order})).body
        assert list(records) == expected
    for id, record in records.items():
        assert record == (await ann.get(f"/exp/{id}")).body
    by_key = (await ann.get("/exp", **LIST | {"_sort": "key"})).body
    assert list(by_key.values()) == sorted(by_key.values(), key=lambda record: record["key"])
    assert list((await ann.get("/exp", _start="0")).body) == sorted(ids)


@pytest.mark.gen_test
@pytest.mark.parametrize(
    "query", [{"_sort": "colour"}, {"_order": "up"}, {"_start": "first"}, {"_end": "-1"}], ids=str
)
async def test_a_malformed_list_is_refused_by_name(ann: Caller, query: dict[str, str]) -> None:
    answer = await ann.get("/exp", **query)
    assert (answer.status, answer.body["error"]["field"]) == (400, next(iter(query)))


@pytest.mark.gen_test
async def test_templates_are_loaded_by_their_place_in_the_list(ann: Caller) -> None:
    names = list((await ann.get("/exp/defaults")).body.values())
    place = names.index("E-greedy")
    template = (await ann.get(f"/exp/defaults/{place}")).body
    assert template["name"] == "E-greedy"
    assert "EPSILON" in template["get_action"]
    assert {"get_context", "get_reward", "set_reward"} <= template.keys()


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_create_edit_save_twice_and_delete(ann: Caller) -> None:
    created = (await ann.post("/exp", FORM)).body
    id = created["id"]
    record: dict[str, Any] = (await ann.get(f"/exp/{id}")).body
    assert record["id"] == id
    # Advice ids switched on, which shows two more fields; numbers come as text.
    record |= {"advice_id": "True", "delta_hours": "24", "default_reward": '{"value": "0"}'}
    saved = await ann.put(f"/exp/{id}", record)
    assert (saved.status, saved.body["id"]) == (200, id)
    # It saves again what it has, with the answer mixed in, and the fields that its switches left out.
    record |= saved.body | {"hourly_theta": "True", "field": None}
    again = await ann.put(f"/exp/{id}", record)
    assert again.status == 200
    shown = (await ann.get(f"/exp/{id}")).body
    assert shown["default_reward"] == '{"value": "0"}'  # a field for text gets text
    assert (shown["advice_id"], shown["hourly_theta"], shown["delta_hours"]) == (True, True, 24)
    record |= {"advice_id": "False", "delta_hours": "", "default_reward": ""}
    assert (await ann.put(f"/exp/{id}", record)).status == 200
    deleted = await ann.delete(f"/exp/{id}")
    assert (deleted.status, deleted.body["id"]) == (200, id)


@pytest.mark.gen_test
async def test_simulate_with_the_switches_of_the_page(ann: Caller) -> None:
    id = (await ann.post("/exp", FORM)).body["id"]
    path = f"/eval/{id}/simulate"
    quiet = await ann.get(path, N="100", log_stats="False", verbose="False")
    assert (quiet.status, quiet.body["simulate"]) == (200, "success")
    told = await ann.get(path, N="10", log_stats="True", verbose="True", seed="3", _="1512345678901")
    assert len(told.body["data"]) == 10
    assert (await ann.get(path, N="10", verbose="1")).status == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_the_pages_of_theta_and_of_logs(ann: Caller) -> None:
    created = (await ann.post("/exp", FORM)).body
    id, key = created["id"], created["key"]
    action = await ann.get(f"/getaction/{id}", key=key, context={"age": 3})
    await ann.get(f"/setreward/{id}", key=key, context={"age": 3}, action=action.body["action"], reward=1)
    await ann.get(f"/eval/{id}/simulate", N="5", log_stats="True", verbose="False")
    for page, length in (
        ("hourlytheta", 0), ("log", 0), ("actionlog", 1), ("rewardlog", 1), ("simulationlog", 5)
    ):  # fmt: skip
        answer = await ann.get(f"/stats/{id}/{page}")
        assert (answer.status, len(answer.body)) == (200, length)
        assert (await ann.get(f"/stats/{id}/{page}", limit="0")).body == answer.body
    assert (await ann.get(f"/stats/{id}/currenttheta")).body == {"n": 1}
    assert (await ann.get(f"/stats/{id}/summary")).body["get_action_calls"] == 1
    assert (await ann.get(f"/exp/{id}/resetexperiment", key=key)).status == 200
    assert (await ann.get(f"/stats/{id}/currenttheta")).body == {}
