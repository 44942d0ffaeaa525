"""What applications and code that were written for StreamingBandit send and do, beyond its documents."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.application import Caller

ECHO = {
    "get_action": "self.action = self.context if self.context else {'arm': 'a'}",
    "set_reward": "self.log_data({'c': self.context, 'a': self.action, 'r': self.reward})",
}
ODD = ["text", 7, 0.5, True, ["a", 1], [[]], {"arm": "b"}]


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize("advice", [False, True])
async def test_contexts_and_actions_may_be_any_value(ann: Caller, advice: bool) -> None:
    created = await ann.experiment(**ECHO, advice_id=advice, delta_hours=1)
    path, key = created["id"], created["key"]
    for value in ODD:
        decided = await ann.get(f"/getaction/{path}", key=key, context=json.dumps(value))
        assert decided.body["action"] == value
        told: dict[str, Any] = {"action": json.dumps(value), "context": json.dumps(value)}
        if advice:
            told = {"advice_id": decided.body["advice_id"]}
        assert (await ann.get(f"/setreward/{path}", key=key, reward="1", **told)).status == 200
        posted = await ann.post(f"/getaction/{path}", {"key": key, "context": value})
        assert posted.body["action"] == value
    expected = [{"c": value, "a": value, "r": 1} for value in reversed(ODD)]
    rows = (await ann.get(f"/stats/{path}/log")).body
    assert [{name: row[name] for name in "car"} for row in rows] == expected
    assert [row["context"] for row in (await ann.get(f"/stats/{path}/rewardlog")).body] == ODD[::-1]
    # What reads logs copes with them.
    assert (await ann.get(f"/stats/{path}/health")).status == 200
    estimate = await ann.post(f"/eval/{path}/offpolicy", {"candidate": {"experiment": path}})
    assert estimate.status in (200, 400)


@pytest.mark.gen_test
async def test_empty_lists_are_empty_dicts_and_a_missing_reward_is_one(ann: Caller) -> None:
    created = await ann.experiment(**ECHO)
    path, key = created["id"], created["key"]
    assert (await ann.get(f"/getaction/{path}", key=key, context="[]")).body["action"] == {"arm": "a"}
    assert (await ann.get(f"/setreward/{path}", key=key, context="[]", action="[]")).status == 200
    assert (await ann.post(f"/setreward/{path}", {"key": key, "context": [], "action": []})).status == 200
    rows = (await ann.get(f"/stats/{path}/log")).body
    assert [{name: row[name] for name in "car"} for row in rows] == [{"c": {}, "a": {}, "r": {}}] * 2


@pytest.mark.gen_test
async def test_context_and_action_beside_an_advice_id_do_not_count(ann: Caller) -> None:
    created = await ann.experiment(**ECHO, advice_id=True, delta_hours=1)
    path, key = created["id"], created["key"]
    decided = (await ann.get(f"/getaction/{path}", key=key, context={"n": 1})).body
    told = {"context": {"n": 2}, "action": {"arm": "z"}, "reward": 1}
    answer = await ann.get(f"/setreward/{path}", key=key, advice_id=decided["advice_id"], **told)
    assert answer.status == 200
    (row,) = (await ann.get(f"/stats/{path}/log")).body
    assert (row["c"], row["a"]) == ({"n": 1}, {"n": 1})
    # An empty advice id is none.
    assert (await ann.get(f"/setreward/{path}", key=key, advice_id="", **told)).status == 200


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("code", "status"),
    [("self.action = None", 422), ("self.action = {1, 2}", 422), ("self.action = ['a']", 200)],
)
async def test_an_action_is_a_json_value(ann: Caller, code: str, status: int) -> None:
    created = await ann.experiment(get_action=code)
    assert (await ann.get(f"/getaction/{created['id']}", key=created["key"])).status == status


@pytest.mark.gen_test
async def test_user_names_may_be_email_addresses(admin: Caller, nobody: Caller) -> None:
    name = "ann.b+shop@example.com"
    user = {"username": name, "password": "long enough"}
    assert (await admin.post("/user", user)).status == 200
    assert (await nobody.post("/login", user)).status == 200
    created = await nobody.experiment(**ECHO)
    assert (await nobody.get(f"/getaction/{created['id']}", key=created["key"])).status == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_with_compat_stored_values_are_read_as_text(ann: Caller) -> None:
    code = """
at = {"key": "k", "value": "v"}
stored = self.get_theta(**at)
self.set_theta({"yes": True, "one": 1, "half": 0.5, "none": None, "list": [1, 2.0], 3: "three"}, **at)
one = self.get_theta(**at, all_float=True)["one"]
self.action = [stored, self.get_theta(key="k"), self.get_theta(), one]
"""
    texts = {"yes": "True", "one": "1", "half": "0.5", "none": "None", "list": "[1, 2.0]", "3": "three"}
    typed = {"yes": True, "one": 1, "half": 0.5, "none": None, "list": [1, 2.0], "3": "three"}
    for compat, expected in (("streamingbandit", texts), (None, typed)):
        created = await ann.experiment(f"with {compat}", get_action=code, compat=compat)
        path, key = f"/getaction/{created['id']}", created["key"]
        await ann.get(path, key=key)
        action = (await ann.get(path, key=key)).body["action"]
        assert action == [expected, {"v": expected}, {"k:v": expected}, 1.0]
        simulated = await ann.get(f"/eval/{created['id']}/simulate", N=2)
        assert simulated.body["data"]["1"]["action"] == action
        assert (await ann.get(f"/stats/{created['id']}/currenttheta")).body == {"k:v": typed}


@pytest.mark.gen_test
async def test_estimators_read_text_as_numbers(ann: Caller) -> None:
    code = """
mean = base.Mean(self.get_theta(key="k", value="a"))
mean.update(self.reward)
self.set_theta(mean, key="k", value="a")
"""
    created = await ann.experiment(set_reward=code, compat="streamingbandit")
    for reward in (1, 2, 6):
        answer = await ann.get(f"/setreward/{created['id']}", key=created["key"], reward=reward)
        assert answer.status == 200
    assert (await ann.get(f"/stats/{created['id']}/currenttheta")).body == {"k:a": {"n": 3, "m": 3.0}}


@pytest.mark.gen_test
async def test_experiments_in_code_have_key_is_valid_and_properties_as_text(ann: Caller) -> None:
    other = await ann.experiment("other", advice_id=True, delta_hours=2)
    code = f"""
id, key = "{other["id"]}", "{other["key"]}"
same, wrong, none = Experiment(id, key), Experiment(id, key="x"), Experiment(id)
advice, mine = same.properties["advice_id"], self.properties["advice_id"]
self.action = {{
    "valid": [one.is_valid() for one in (self, same, wrong, none)], "key": self.key, "other": same.key,
    "text": [advice == "True", mine == "False", advice == True, bool(mine), str(advice)],
    "name": same.properties["name"], "hours": same.properties["delta_hours"],
}}
"""
    created = await ann.experiment("mine", get_action=code)
    action = (await ann.get(f"/getaction/{created['id']}", key=created["key"])).body["action"]
    assert action == {
        "valid": [True, True, False, False],
        "key": created["key"],
        "other": other["key"],
        "text": [True, True, True, False, "True"],
        "name": "other",
        "hours": 2,
    }


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_experiments_in_code_read_their_summary_and_logs(ann: Caller) -> None:
    other = await ann.experiment("other", **ECHO, log_propensity=False)
    code = f"""
one = Experiment("{other["id"]}")
self.action = [one.get_summary(), one.get_getaction_log_data(limit=2), one.get_setreward_log_data(0),
               one.get_log_data(limit=1), one.get_hourly_theta(limit=1), one.get_simulation_log_data(1)]
"""
    created = await ann.experiment("reader", get_action=code)
    path, key = f"/getaction/{created['id']}", created["key"]
    nothing = (await ann.get(path, key=key)).body["action"]
    assert nothing[0]["last_added_get_action"] == "No get_action calls yet."
    assert nothing[1:] == [[]] * 5
    for n in range(3):
        await ann.get(f"/getaction/{other['id']}", key=other["key"], context={"n": n})
        await ann.get(f"/setreward/{other['id']}", key=other["key"], context={"n": n}, reward=n)
    summary, actions, rewards, manual, *_ = (await ann.get(path, key=key)).body["action"]
    assert (summary["get_action_calls"], summary["set_reward_calls"]) == (3, 3)
    assert summary["last_added_get_action"] == actions[0]["date"]
    assert [row["context"]["n"] for row in actions] == [2, 1]
    assert [row["reward"] for row in rewards] == [2, 1, 0]
    assert [row["r"] for row in manual] == [2]
    simulated = await ann.get(f"/eval/{created['id']}/simulate", N=1)
    assert "for live calls only" in simulated.body["error"]["message"]


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"compat.dates": "streamingbandit"}], indirect=True)
async def test_dates_without_the_zone(ann: Caller) -> None:
    created = await ann.experiment(**ECHO)
    path = created["id"]
    await ann.get(f"/getaction/{path}", key=created["key"])
    row = (await ann.get(f"/stats/{path}/actionlog")).body[0]
    summary = (await ann.get(f"/stats/{path}/summary")).body
    shown = (await ann.get(f"/exp/{path}")).body
    assert row["date"] == summary["last_added_get_action"]
    for date in (row["date"], shown["created"], shown["modified"]):
        assert len(date) == len("2026-01-31T09:30:00.125")
        assert date[-4] == "."


@pytest.mark.gen_test
async def test_public_origins_let_any_page_call_without_credentials(ann: Caller, nobody: Caller) -> None:
    public = await ann.experiment("public", **ECHO, public_origins=True)
    private = await ann.experiment("private", **ECHO)
    headers = {"Origin": "https://pages.example"}

    async def call(method: str, one: dict[str, Any], **more: Any) -> Any:
        return await nobody.request(
            method, f"/getaction/{one['id']}", query={"key": one["key"]} | more, headers=headers,
            body={"key": one["key"]} if method == "POST" else None,
        )  # fmt: skip

    for method in ("GET", "POST", "OPTIONS"):
        answer = await call(method, public)
        assert answer.status in (200, 204)
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers
        assert "access-control-allow-origin" not in (await call(method, private)).headers
    asked = await call("OPTIONS", public)
    assert "POST" in asked.headers["access-control-allow-methods"]
    assert "content-type" in asked.headers["access-control-allow-headers"]
    wrong = await call("GET", public | {"key": "wrong"})
    assert (wrong.status, wrong.headers["access-control-allow-origin"]) == (401, "*")
    # An origin that is configured may send credentials as before, and no other page may manage experiments.
    trusted = {"Origin": "https://app.example.com"}
    answer = await nobody.request(
        "GET", f"/getaction/{public['id']}", query={"key": public["key"]}, headers=trusted
    )
    assert answer.headers["access-control-allow-origin"] == "https://app.example.com"
    managed = await ann.request("GET", f"/exp/{public['id']}", headers=headers)
    assert "access-control-allow-origin" not in managed.headers
