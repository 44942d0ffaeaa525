"""The core API over HTTP: getaction and setreward as documented, their POST and batch forms, advice ids."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamsim.dates import HOUR_MS
from streamsim.server.upkeep import Upkeep
from streamsim.services import Services
from tests.application import Caller, Clock

CODE = {
    "get_action": "self.action['seen'] = self.context",
    "set_reward": """
theta = self.get_theta()
seen = {"context": self.context, "action": self.action, "reward": self.reward}
self.set_theta({"n": theta.get("n", 0) + 1, "last": seen})
""",
}


class Experiment:
    """An experiment with this code, and calls on it."""

    def __init__(self, client: Caller, created: dict[str, Any]) -> None:
        self.client = client
        self.id, self.key = created["id"], created["key"]

    async def get(self, call: str, **query: object) -> Any:
        return await self.client.get(f"/{call}/{self.id}", **{"key": self.key, **query})

    async def post(self, call: str, **body: object) -> Any:
        return await self.client.post(f"/{call}/{self.id}", {"key": self.key, **body})

    async def theta(self) -> Any:
        return (await self.client.get(f"/stats/{self.id}/currenttheta")).body

    async def log(self, name: str) -> Any:
        return (await self.client.get(f"/stats/{self.id}/{name}")).body


async def experiment(client: Caller, **fields: Any) -> Experiment:
    return Experiment(client, await client.experiment(**{**CODE, **fields}))


@pytest.mark.gen_test
async def test_getaction_answers_only_the_action(ann: Caller, nobody: Caller) -> None:
    one = await experiment(ann)
    context = {"age": 25, "name": "Zoë & co", "nested": {"list": [1, 2.5, None, True]}}
    for answer in (
        await nobody.get(f"/getaction/{one.id}", key=one.key, context=context),
        await nobody.get(f"/GetAction/{one.id}", key=one.key, context=context),
        await nobody.post(f"/getaction/{one.id}", {"key": one.key, "context": context}),
    ):
        assert (answer.status, answer.body) == (200, {"action": {"seen": context}})
    for answer in (await one.get("getaction"), await one.post("getaction")):
        assert answer.body == {"action": {"seen": {}}}
    assert [row["context"] for row in await one.log("actionlog")] == [{}, {}, context, context, context]


@pytest.mark.gen_test
@pytest.mark.parametrize("settings", [{"server.debug": True}], indirect=True)
async def test_debug_adds_what_was_used(ann: Caller) -> None:
    one = await experiment(ann)
    decided = await one.get("getaction", context={"age": 25})
    assert decided.body == {"action": {"seen": {"age": 25}}, "context": {"age": 25}}
    rewarded = await one.get("setreward", context={"age": 25}, action={"arm": 1}, reward={"value": 2})
    assert rewarded.body == {
        "status": "success",
        "context": {"age": 25},
        "action": {"arm": 1},
        "reward": {"value": 2},
    }


@pytest.mark.gen_test
async def test_setreward_runs_on_context_action_and_reward(ann: Caller) -> None:
    one = await experiment(ann)
    context, action = {"age": 25}, {"arm": "a"}
    for number, reward in enumerate(({"value": 1}, 0.5, 1, [1], False), 1):
        for send in (one.get, one.post):
            answer = await send("setreward", context=context, action=action, reward=reward)
            assert (answer.status, answer.body) == (200, {"status": "success"})
        last = {"context": context, "action": action, "reward": reward}
        assert await one.theta() == {"n": 2 * number, "last": last}


@pytest.mark.gen_test
async def test_context_and_action_are_optional(ann: Caller) -> None:
    one = await experiment(ann)
    for answer in (await one.get("setreward", reward=1), await one.post("setreward", reward=1)):
        assert answer.status == 200
    assert (await one.theta())["last"] == {"context": {}, "action": {}, "reward": 1}


@pytest.mark.gen_test
@pytest.mark.parametrize("call", ["getaction", "setreward"])
async def test_missing_key_is_400_and_a_wrong_key_or_id_401(ann: Caller, call: str) -> None:
    one = await experiment(ann)
    other = await ann.experiment("other")
    for answer in (
        await ann.get(f"/{call}/{one.id}", reward=1),
        await ann.get(f"/{call}/{one.id}", key="", reward=1),
        await ann.post(f"/{call}/{one.id}", {}),
        await ann.post(f"/{call}/{one.id}", {"key": None}),
        await ann.post(f"/{call}/{one.id}", {"key": 7}),
    ):
        assert (answer.status, answer.body["error"]["field"]) == (400, "key")
    refused = [
        await ann.get(f"/{call}/{one.id}", key=one.key.upper(), reward=1),
        await ann.get(f"/{call}/{one.id}", key=other["key"], reward=1),
        await ann.get(f"/{call}/{one.id}", key="ключ", reward=1),
        await ann.get(f"/{call}/{'0' * 32}", key=one.key, reward=1),
        await ann.get(f"/{call}/{'x' * 300}", key=one.key, reward=1),
        await ann.get(f"/{call}/1", key=one.key, reward=1),
    ]
    assert {answer.status for answer in refused} == {401}
    assert len({str(answer.body) for answer in refused}) == 1


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("call", "fields", "field"),
    [
        ("getaction", {"context": "{'age': 25}"}, "context"),
        ("getaction", {"context": '{"age": NaN}'}, "context"),
        ("setreward", {"reward": "high"}, "reward"),
        ("setreward", {"reward": "1", "action": "a"}, "action"),
        ("setreward", {"reward": "1", "context": "seven"}, "context"),
        ("setreward", {"reward": "1", "idempotency_key": "x" * 257}, "idempotency_key"),
    ],
)
async def test_malformed_query_names_the_parameter(
    ann: Caller, call: str, fields: dict[str, str], field: str
) -> None:
    one = await experiment(ann)
    answer = await one.get(call, **fields)
    assert (answer.status, answer.body["error"]["field"]) == (400, field)
    assert await one.theta() == {}


@pytest.mark.gen_test
async def test_batch_of_contexts_answers_each_in_order(ann: Caller) -> None:
    one = await experiment(ann)
    contexts: list[Any] = [{"n": n} for n in range(5)] + ["any value", {"n": 6}]
    answer = await one.post("getaction", contexts=contexts)
    assert answer.status == 200
    results = answer.body["results"]
    assert [result["action"]["seen"] for result in results] == contexts
    assert [row["context"] for row in await one.log("actionlog")] == contexts[::-1]


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_batch_of_rewards_gives_each_its_own_result_or_error(ann: Caller) -> None:
    one = await experiment(ann, set_reward=CODE["set_reward"] + "\n1 / self.reward")
    rewards: list[Any] = [
        {"reward": 1, "context": {"a": 1}},
        {"reward": 0},
        {"context": {}},
        {"reward": 2, "advice_id": "unknown"},
        {"reward": 1, "colour": "red"},
        {"reward": 4},
    ]
    answer = await one.post("setreward", rewards=rewards)
    assert answer.status == 200
    codes = [result.get("error", {}).get("code", "success") for result in answer.body["results"]]
    # The third has no reward, which is {}.
    assert codes == ["success", "policy_error", "policy_error", "not_found", "bad_request", "success"]
    detail = answer.body["results"][1]["error"]["detail"]
    assert (detail["piece"], detail["type"]) == ("set_reward", "ZeroDivisionError")
    assert (await one.theta())["n"] == 2
    assert [row["reward"] for row in await one.log("rewardlog")] == [4, 1]


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("call", "body", "status", "field"),
    [
        ("getaction", {"contexts": []}, 400, "contexts"),
        ("getaction", {"contexts": {}}, 400, "contexts"),
        ("getaction", {"contexts": [{}], "context": {}}, 400, "context"),
        ("getaction", {"contexts": [{}] * 1001}, 413, "contexts"),
        ("getaction", {"rewards": []}, 400, "rewards"),
        ("setreward", {"rewards": 1}, 400, "rewards"),
        ("setreward", {"rewards": [{"reward": 1}], "reward": 1}, 400, "reward"),
        ("setreward", {"rewards": [{"reward": 1}] * 1001}, 413, "rewards"),
    ],
)
async def test_malformed_batch_is_refused_as_a_whole(
    ann: Caller, call: str, body: dict[str, Any], status: int, field: str
) -> None:
    one = await experiment(ann)
    answer = await one.post(call, **body)
    assert (answer.status, answer.body["error"]["field"]) == (status, field)
    assert await one.theta() == {}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_advice_id_stands_for_its_context_and_action_once(ann: Caller) -> None:
    one = await experiment(ann, advice_id=True, delta_hours=1, default_reward={"value": 0})
    decided = (await one.get("getaction", context={"age": 25})).body
    assert decided.keys() == {"action", "advice_id"}
    advice_id = decided["advice_id"]
    assert (await one.get("setreward", advice_id=advice_id, reward={"value": 1})).status == 200
    assert (await one.theta())["last"] == {
        "context": {"age": 25},
        "action": decided["action"],
        "reward": {"value": 1},
    }
    again = await one.get("setreward", advice_id=advice_id, reward={"value": 1})
    assert again.status == 409
    unknown = await one.get("setreward", advice_id="made-up", reward={"value": 1})
    assert unknown.status == 404
    assert (await one.theta())["n"] == 1
    assert [row["advice_id"] for row in await one.log("rewardlog")] == [advice_id]


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_advice_past_delta_hours_gets_the_default_reward_once(
    ann: Caller, services: Services, clock: Clock
) -> None:
    one = await experiment(ann, advice_id="True", delta_hours="2", default_reward='{"value": -1}')
    late, early = [(await one.get("getaction", context={"n": n})).body["advice_id"] for n in range(2)]
    assert (await one.get("setreward", advice_id=early, reward={"value": 5})).status == 200
    jobs, another_process = Upkeep(services, clock), Upkeep(services, clock)
    clock.ahead_ms = 2 * HOUR_MS - 60_000
    await jobs.advices()
    assert (await one.theta())["n"] == 1
    clock.ahead_ms = 2 * HOUR_MS + 1000
    await asyncio.gather(jobs.advices(), another_process.advices())
    await jobs.advices()
    theta = await one.theta()
    assert theta["n"] == 2
    assert (theta["last"]["context"], theta["last"]["reward"]) == ({"n": 0}, {"value": -1})
    assert (await one.get("setreward", advice_id=late, reward={"value": 5})).status == 409
    logged = await one.log("rewardlog")
    assert [(row["advice_id"], row.get("timeout", False)) for row in logged] == [(late, True), (early, False)]


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_idempotency_key_makes_one_update_of_many_sendings(ann: Caller) -> None:
    one = await experiment(ann)
    first = await one.post("setreward", reward=1, idempotency_key="k1")
    for send in (one.post, one.get):
        again = await send("setreward", reward=1, idempotency_key="k1")
        assert (again.status, again.body) == (200, first.body)
    other = await one.post("setreward", reward=2, idempotency_key="k1")
    assert other.status == 422
    assert (await one.theta())["n"] == 1
    assert (await one.post("setreward", reward=2, idempotency_key="k2")).status == 200
    assert (await one.theta())["n"] == 2


@pytest.mark.gen_test
async def test_error_in_the_code_names_piece_line_type_and_message(ann: Caller) -> None:
    one = await experiment(ann, get_action="x = 1\nself.action['y'] = x / 0\n")
    answer = await one.get("getaction")
    assert answer.status == 422
    error = answer.body["error"]
    assert error["code"] == "policy_error"
    assert error["detail"] == {
        "piece": "get_action",
        "line": 2,
        "type": "ZeroDivisionError",
        "message": "division by zero",
    }
    assert await one.log("actionlog") == []
