"""GET /stats/{id}/decisions: each decision with the rewards that came for it."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pymongo
import pytest

from streamsim.config import Settings
from streamsim.dates import HOUR_MS
from streamsim.services import Services
from tests.application import Caller, Clock

ACT = "self.action['arm'] = 'a'\nself.action_probabilities = {'a': 0.5, 'b': 0.5}"


async def decide(ann: Caller, made: dict[str, Any], n: int) -> list[str]:
    body = {"key": made["key"], "contexts": [{"n": number} for number in range(n)]}
    answer = await ann.post(f"/getaction/{made['id']}", body)
    return [one["advice_id"] for one in answer.body["results"]]


async def reward(ann: Caller, made: dict[str, Any], advice: str, value: Any) -> None:
    body = {"key": made["key"], "advice_id": advice, "reward": value}
    assert (await ann.post(f"/setreward/{made['id']}", body)).status == 200


async def rows(ann: Caller, made: dict[str, Any], query: str = "") -> list[dict[str, Any]]:
    answer = await ann.get(f"/stats/{made['id']}/decisions?{query}")
    assert answer.status == 200, answer.body
    found: list[dict[str, Any]] = answer.body
    return found


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize("mode", ["each", "sum", "last"])
async def test_a_decision_comes_with_its_rewards_and_with_what_counts(
    ann: Caller, services: Services, clock: Clock, mode: str
) -> None:
    made = await ann.experiment(
        "rewarded", get_action=ACT, advice_id=True, reward_mode=mode, reward_window_hours=1,
        default_reward={"v": -1},
    )  # fmt: skip
    advices = await decide(ann, made, 3)
    clock.ahead_ms += 1_000
    await reward(ann, made, advices[0], {"v": 2})
    clock.ahead_ms += 1_000
    await reward(ann, made, advices[0], {"v": 3})
    await reward(ann, made, advices[1], {"v": 7})
    clock.ahead_ms += HOUR_MS
    while await services.decisions.time_out_advices():
        pass
    await reward(ann, made, advices[0], {"v": 50})
    await ann.log_in("ann")
    found = await rows(ann, made)
    assert [row["context"] for row in found] == [{"n": 2}, {"n": 1}, {"n": 0}]
    assert {row["revision"] for row in found} == {1}
    assert [row["propensity"] for row in found] == [0.5] * 3
    assert [row["advice_id"] for row in found] == advices[::-1]
    assert [row["reward"] for row in found] == [{"v": -1}, {"v": 7}, {"v": 5 if mode != "last" else 3}]
    none, one, two = found
    assert [list(arrival)[2:] for arrival in none["rewards"]] == [["timeout"]]
    assert none["delay_ms"] >= HOUR_MS
    arrived = [(arrival["reward"]["v"], *list(arrival)[2:]) for arrival in two["rewards"]]
    if mode == "each":
        assert arrived == [(2,), (3,), (50, "late")]
        assert 2_000 <= two["delay_ms"] < HOUR_MS
    else:
        assert arrived == [(2, "part"), (3, "part"), (two["reward"]["v"], "parts"), (50, "late")]
        assert two["delay_ms"] >= HOUR_MS
    assert one["delay_ms"] >= 2_000


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_pages_and_the_whole_are_the_same_in_every_form(ann: Caller) -> None:
    made = await ann.experiment("pages", get_action=ACT, advice_id=True, delta_hours=1)
    advices = await decide(ann, made, 50)
    for n, advice in enumerate(advices[::3]):
        await reward(ann, made, advice, n)
    whole = await rows(ann, made)
    assert [row.get("reward") for row in whole[::-1]] == [n // 3 if n % 3 == 0 else None for n in range(50)]
    assert "revision" not in whole[0]
    paged: list[dict[str, Any]] = []
    path: str | None = f"/stats/{made['id']}/decisions?limit=7"
    while path is not None:
        answer = await ann.get(path)
        assert len(answer.body) <= 7
        paged += answer.body
        link = answer.headers.get("link")
        path = link[link.index("<") + 1 : link.index(">")] if link else None
    assert paged == whole
    text = (await ann.get(f"/stats/{made['id']}/decisions?format=jsonl")).body
    assert [json.loads(line) for line in text.splitlines()] == whole
    text = (await ann.get(f"/stats/{made['id']}/decisions?format=csv")).body
    table = list(csv.DictReader(io.StringIO(text)))
    assert [(line["advice_id"], line["reward"]) for line in table] == [
        (row["advice_id"], str(row.get("reward", ""))) for row in whole
    ]
    assert [json.loads(line["rewards"]) for line in table] == [row["rewards"] for row in whole]


@pytest.mark.gen_test
async def test_dates_choose_decisions_whenever_their_rewards_came(ann: Caller, clock: Clock) -> None:
    made = await ann.experiment("dates", get_action=ACT, advice_id=True, delta_hours=99)
    first = await decide(ann, made, 2)
    clock.ahead_ms += 3 * HOUR_MS
    second = await decide(ann, made, 2)
    for n, advice in enumerate(first + second):
        await reward(ann, made, advice, n)
    await ann.log_in("ann")
    border = (await rows(ann, made))[0]["date"]
    found = await rows(ann, made, f"to={border}")
    assert [row["advice_id"] for row in found if row["advice_id"] in first] == first[::-1]
    assert [row["reward"] for row in found if row["advice_id"] in first] == [1, 0]
    assert (await ann.get(f"/stats/{made['id']}/decisions?before=x")).status == 400
    answer = await ann.get(f"/stats/{made['id']}/decisions?from={border}&to={border}")
    assert answer.body["error"]["field"] == "from"


@pytest.mark.gen_test
async def test_rewards_that_have_no_sum_are_all_shown(ann: Caller) -> None:
    made = await ann.experiment("mixed", get_action=ACT, advice_id=True, delta_hours=1, reward_mode="each")
    (advice,) = await decide(ann, made, 1)
    await reward(ann, made, advice, 1)
    await reward(ann, made, advice, {"v": 2})
    (row,) = await rows(ann, made)
    assert [arrival["reward"] for arrival in row["rewards"]] == [1, {"v": 2}]
    assert "reward" not in row


class Counted:
    """The store's logs, with the rows counted that are read."""

    def __init__(self, logs: Any) -> None:
        self._logs = logs
        self.rows = 0

    async def read_log(self, *given: Any, **named: Any) -> Any:
        found = await self._logs.read_log(*given, **named)
        self.rows += len(found)
        return found

    async def rewards_of(self, *given: Any) -> Any:
        found = await self._logs.rewards_of(*given)
        self.rows += len(found or ())
        return found


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_page_reads_its_own_rows_and_their_rewards_however_deep_it_is(
    ann: Caller, services: Services
) -> None:
    made = await ann.experiment("deep", get_action=ACT, advice_id=True, delta_hours=1, reward_mode="each")
    for _ in range(3):
        advices = await decide(ann, made, 400)
        for number in (0, 1):
            rewards = [{"advice_id": advice, "reward": number} for advice in advices]
            await ann.post(f"/setreward/{made['id']}", {"key": made["key"], "rewards": rewards})
    store: Any = services.store
    counted = store.logs = Counted(store.logs)
    path: str | None = f"/stats/{made['id']}/decisions?limit=50"
    reads = []
    while path is not None:
        before = counted.rows
        answer = await ann.get(path)
        assert all([one["reward"] for one in row["rewards"]] == [0, 1] for row in answer.body)
        reads.append(counted.rows - before)
        link = answer.headers.get("link")
        path = link[link.index("<") + 1 : link.index(">")] if link else None
    assert sum(reads) == 3 * 1200
    assert set(reads[:-1]) == {150}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_rewards_from_before_their_index_are_found_all_the_same(
    ann: Caller, settings: Settings
) -> None:
    made = await ann.experiment("older", get_action=ACT, advice_id=True, delta_hours=1)
    for n, advice in enumerate(await decide(ann, made, 30)):
        await reward(ann, made, advice, n)
    shown = await rows(ann, made, "limit=10")
    if settings.storage.mongo:
        with pymongo.MongoClient[dict[str, Any]](settings.storage.mongo) as client:
            collection = client.get_default_database()["log_reward"]
            assert collection.update_many({}, {"$unset": {"advice": 1}}).modified_count >= 30
    assert await rows(ann, made, "limit=10") == shown
    assert [row["reward"] for row in shown] == list(range(29, 19, -1))
