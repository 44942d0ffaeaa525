"""GET /exp/{id}/resetexperiment: theta goes, as a whole or in part, and only with the right key."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamsim.dates import HOUR_MS
from streamsim.server.upkeep import Upkeep
from streamsim.services import Services
from tests.application import Caller, Clock

# One call stores under the key, value and name that the context says.
STORE = """
c = self.context
self.set_theta({"n": c.get("n", 1)}, key=c.get("key"), value=c.get("value"), name=c.get("name", "_theta"))
"""
COUNT = """
n = self.get_theta(key="arm", value="a").get("n", 0)
self.set_theta({"n": n + 1}, key="arm", value="a")
"""


async def filled(client: Caller) -> dict[str, Any]:
    """An experiment with theta under two keys with two values each, keyless, and in another named set."""
    experiment = await client.experiment(set_reward=STORE)
    for context in (
        *({"key": key, "value": value} for key in ("arm", "site") for value in ("a", "b")),
        {},
        {"key": "arm", "value": "a", "name": "other"},
    ):
        await reward(client, experiment, context)
    return experiment


async def reward(client: Caller, experiment: dict[str, Any], context: dict[str, Any] | None = None) -> None:
    answer = await client.get(
        f"/setreward/{experiment['id']}", key=experiment["key"], context=context or {}, reward=1
    )
    assert answer.status == 200, answer


async def theta(client: Caller, experiment: dict[str, Any], name: str = "_theta") -> dict[str, Any]:
    answer = await client.get(f"/stats/{experiment['id']}/currenttheta", name=name)
    assert answer.status == 200
    result: dict[str, Any] = answer.body
    return result


async def reset(client: Caller, experiment: dict[str, Any], **query: str) -> int:
    path = f"/exp/{experiment['id']}/resetexperiment"
    answer = await client.get(path, **{"key": experiment["key"], **query})
    if answer.status == 200:
        assert answer.body == {"status": "success"}
    return answer.status


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_reset_deletes_all_theta_of_all_names(ann: Caller) -> None:
    experiment = await filled(ann)
    assert len(await theta(ann, experiment)) == 5
    assert await reset(ann, experiment) == 200
    assert await theta(ann, experiment) == await theta(ann, experiment, "other") == {}
    assert await reset(ann, experiment) == 200  # nothing to delete is no error


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_reset_of_a_key_leaves_the_others(ann: Caller) -> None:
    experiment = await filled(ann)
    assert await reset(ann, experiment, theta_key="arm") == 200
    assert (await theta(ann, experiment)).keys() == {"site:a", "site:b", ""}
    assert await theta(ann, experiment, "other") == {}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_reset_of_a_key_and_value_leaves_the_others(ann: Caller) -> None:
    experiment = await filled(ann)
    assert await reset(ann, experiment, theta_key="arm", theta_value="b") == 200
    assert (await theta(ann, experiment)).keys() == {"arm:a", "site:a", "site:b", ""}
    assert await theta(ann, experiment, "other") == {"arm:a": {"n": 1}}


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize(
    "query",
    [
        {"theta_key": "none"},
        {"theta_key": "arm", "theta_value": "none"},
        {"theta_value": "a"},
        {"theta_key": "ar"},
        {"theta_key": "arm:a"},
    ],
)
async def test_theta_that_is_not_there_is_401_and_nothing_is_deleted(
    ann: Caller, query: dict[str, str]
) -> None:
    experiment = await filled(ann)
    assert await reset(ann, experiment, **query) == 401
    assert len(await theta(ann, experiment)) == 5


@pytest.mark.gen_test
async def test_wrong_key_is_401_and_a_missing_one_400(ann: Caller, bob: Caller) -> None:
    experiment = await filled(ann)
    other = await ann.experiment("other")
    for key in ("wrong", other["key"], experiment["key"].upper(), experiment["key"] + "x", "ключ"):
        assert await reset(ann, experiment, key=key) == 401
    assert await reset(ann, experiment, key="") == 400
    assert await reset(bob, experiment) == 401
    assert len(await theta(ann, experiment)) == 5


@pytest.mark.gen_test
async def test_the_next_decision_starts_from_nothing(ann: Caller) -> None:
    experiment = await ann.experiment(set_reward=COUNT)
    for _ in range(3):
        await reward(ann, experiment)
    await reset(ann, experiment)
    await reward(ann, experiment)
    assert await theta(ann, experiment) == {"arm:a": {"n": 1}}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_reset_drops_the_advices_that_were_given_before_it(
    ann: Caller, services: Services, clock: Clock
) -> None:
    experiment = await ann.experiment(
        set_reward=COUNT, advice_id=True, delta_hours=1, default_reward={"value": 0}
    )
    path = f"/getaction/{experiment['id']}"
    early, late = [(await ann.get(path, key=experiment["key"])).body["advice_id"] for _ in range(2)]
    assert await reset(ann, experiment) == 200

    async def redeem(advice_id: str) -> int:
        query = {"key": experiment["key"], "advice_id": advice_id, "reward": 1}
        return (await ann.get(f"/setreward/{experiment['id']}", **query)).status

    assert await redeem(early) == 404
    clock.ahead_ms = 2 * HOUR_MS
    await Upkeep(services, clock).advices()
    assert await redeem(late) == 404
    assert await theta(ann, experiment) == {}
    clock.ahead_ms = 0
    after = (await ann.get(path, key=experiment["key"])).body["advice_id"]
    assert await redeem(after) == 200
    assert await theta(ann, experiment) == {"arm:a": {"n": 1}}


@pytest.mark.gen_test
async def test_reset_of_a_part_leaves_the_advices(ann: Caller) -> None:
    experiment = await ann.experiment(set_reward=COUNT, advice_id=True, delta_hours=1)
    await reward(ann, experiment)
    given = await ann.get(f"/getaction/{experiment['id']}", key=experiment["key"])
    assert await reset(ann, experiment, theta_key="arm") == 200
    query = {"key": experiment["key"], "advice_id": given.body["advice_id"], "reward": 1}
    assert (await ann.get(f"/setreward/{experiment['id']}", **query)).status == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_theta_that_comes_back_to_what_it_was_is_no_lie_of_the_code(ann: Caller) -> None:
    experiment = await ann.experiment(set_reward=COUNT)
    for _ in range(4):
        await reward(ann, experiment)
        assert (await theta(ann, experiment))["arm:a"]["n"] == 1
        assert await reset(ann, experiment) == 200


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_reset_among_concurrent_rewards_falls_between_two_of_them(ann: Caller) -> None:
    experiment = await ann.experiment(set_reward=COUNT)
    callers, each = 6, 20
    sent = answered = 0
    half_way = asyncio.Event()

    async def rewards() -> None:
        nonlocal sent, answered
        for _ in range(each):
            sent += 1
            await reward(ann, experiment)
            answered += 1
            if answered == callers * each // 2:
                half_way.set()

    async def resets() -> tuple[int, int]:
        await half_way.wait()
        answered_before = answered
        assert await reset(ann, experiment) == 200
        return answered_before, sent

    resetting = asyncio.ensure_future(resets())
    await asyncio.gather(*(rewards() for _ in range(callers)), resetting)
    answered_before, sent_after = resetting.result()
    # Nothing is left if it fell behind the last of them.
    left = (await theta(ann, experiment)).get("arm:a", {"n": 0})["n"]
    # Whatever was answered before it began is gone, and whatever was sent after it was answered counts.
    assert callers * each - sent_after <= left <= callers * each - answered_before


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_reset_reaches_sets_that_come_up_while_it_runs_and_spares_what_is_written_after_it(
    ann: Caller, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment = await filled(ann)
    theta_names = services.store.decisions.theta_names
    looks = 0

    async def names_then_a_reward(id: str) -> list[str]:
        nonlocal looks
        looks += 1
        if looks == 1:
            names = await theta_names(id)
            await reward(ann, experiment, {"name": "before the commit"})
            return names
        await reward(ann, experiment, {"name": "after the commit"})
        return await theta_names(id)

    monkeypatch.setattr(services.store.decisions, "theta_names", names_then_a_reward)
    assert await reset(ann, experiment) == 200
    monkeypatch.undo()
    assert looks == 2
    assert await theta(ann, experiment, "before the commit") == {}
    assert await theta(ann, experiment, "after the commit") == {"n": 1}
    assert await theta(ann, experiment) == {}
