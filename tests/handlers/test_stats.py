"""The stats API: theta, the four logs with paging, and the summary."""

from __future__ import annotations

import re
from typing import Any

import pytest

from streamsim.dates import HOUR_MS
from streamsim.server.upkeep import Upkeep
from streamsim.services import Services
from tests.application import Caller, Clock

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
CODE = {
    "get_action": "self.action['arm'] = self.context.get('n', 0) % 2",
    "set_reward": """
self.set_theta({"n": self.get_theta(key="arm", value="a").get("n", 0) + 1}, key="arm", value="a")
self.log_data({"reward": self.reward, "date": "noon"} if self.reward == 3 else {"reward": self.reward})
""",
}
LOGS = ("hourlytheta", "log", "actionlog", "rewardlog")


async def used(client: Caller, calls: int = 3) -> dict[str, Any]:
    """An experiment with so many decisions and rewards, numbered from 1."""
    experiment = await client.experiment(**CODE)
    for n in range(1, calls + 1):
        decided = await client.get(f"/getaction/{experiment['id']}", key=experiment["key"], context={"n": n})
        query = {"context": {"n": n}, "action": decided.body["action"], "reward": n}
        answer = await client.get(f"/setreward/{experiment['id']}", key=experiment["key"], **query)
        assert (decided.status, answer.status) == (200, 200)
    return experiment


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_current_theta_is_a_dict_by_key_and_value(ann: Caller) -> None:
    experiment = await used(ann)
    answer = await ann.get(f"/Stats/{experiment['id']}/CurrentTheta")
    assert (answer.status, answer.body) == (200, {"arm:a": {"n": 3}})


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_current_theta_forms(ann: Caller) -> None:
    experiment = await ann.experiment(
        set_reward="for args in self.context['sets']: self.set_theta({'x': args[0]}, *args[1:])"
    )
    path, key = experiment["id"], experiment["key"]

    async def after(*sets: list[Any]) -> Any:
        await ann.get(f"/exp/{path}/resetexperiment", key=key)
        await ann.get(f"/setreward/{path}", key=key, context={"sets": sets}, reward=1)
        return (await ann.get(f"/stats/{path}/currenttheta")).body

    assert await after() == {}
    assert await after([1]) == {"x": 1}
    assert await after([1], [2, "k", "v"]) == {"": {"x": 1}, "k:v": {"x": 2}}
    assert await after([1, "k"], [2, "k", "v"]) == {"k": {"x": 1}, "k:v": {"x": 2}}
    assert await after([1, "k", "v"], [2, "k", "v", "other"]) == {"k:v": {"x": 1}}
    assert (await ann.get(f"/stats/{path}/currenttheta", name="other")).body == {"k:v": {"x": 2}}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_action_log_has_context_action_and_date_newest_first(ann: Caller) -> None:
    experiment = await used(ann)
    rows = (await ann.get(f"/stats/{experiment['id']}/actionlog")).body
    assert [row["context"] for row in rows] == [{"n": 3}, {"n": 2}, {"n": 1}]
    assert [row["action"] for row in rows] == [{"arm": 1}, {"arm": 0}, {"arm": 1}]
    dates = [row["date"] for row in rows]
    assert all(DATE.fullmatch(date) for date in dates)
    assert dates == sorted(dates, reverse=True)
    assert {row["exp_id"] for row in rows} == {experiment["id"]}
    assert len({row["id"] for row in rows}) == 3


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_reward_log_has_context_action_reward_and_date(ann: Caller) -> None:
    experiment = await used(ann)
    rows = (await ann.get(f"/stats/{experiment['id']}/rewardlog")).body
    assert [(row["context"], row["action"], row["reward"]) for row in rows] == [
        ({"n": 3}, {"arm": 1}, 3),
        ({"n": 2}, {"arm": 0}, 2),
        ({"n": 1}, {"arm": 1}, 1),
    ]
    assert all(DATE.fullmatch(row["date"]) for row in rows)


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_manual_log_keeps_what_the_code_logged(ann: Caller) -> None:
    experiment = await used(ann)
    rows = (await ann.get(f"/stats/{experiment['id']}/log")).body
    assert [row["reward"] for row in rows] == [3, 2, 1]
    assert rows[0]["date"] == "noon"  # the code's own field
    assert DATE.fullmatch(rows[1]["date"])
    assert {row["exp_id"] for row in rows} == {experiment["id"]}


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize("log", ["actionlog", "rewardlog", "log"])
async def test_pages_of_a_log_hold_every_row_once(ann: Caller, log: str) -> None:
    experiment = await used(ann, 7)
    whole = (await ann.get(f"/stats/{experiment['id']}/{log}")).body
    assert len(whole) == 7
    for limit in (1, 3, 7, 8):
        paged: list[Any] = []
        path = f"/stats/{experiment['id']}/{log}?limit={limit}"
        while path:
            answer = await ann.get(path)
            assert len(answer.body) <= limit
            paged += answer.body
            link = re.fullmatch(r'<(/stats/\S+)>; rel="next"', answer.headers.get("link", ""))
            path = link[1] if link else ""
        assert paged == whole


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_page_does_not_move_when_rows_are_added(ann: Caller) -> None:
    experiment = await used(ann, 4)
    path = f"/stats/{experiment['id']}/actionlog"
    first = await ann.get(path, limit=2)
    link = first.headers["link"].partition(">")[0].lstrip("<")
    await ann.get(f"/getaction/{experiment['id']}", key=experiment["key"], context={"n": 5})
    second = await ann.get(link)
    assert [row["context"]["n"] for row in first.body + second.body] == [4, 3, 2, 1]


@pytest.mark.gen_test
@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "-5"}, "limit"),
        ({"limit": "10001"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"before": "not a position"}, "before"),
        ({"before": "' OR 1"}, "before"),
    ],
)
async def test_bad_paging_is_refused(ann: Caller, log: str, query: dict[str, str], field: str) -> None:
    experiment = await ann.experiment()
    answer = await ann.get(f"/stats/{experiment['id']}/{log}", **query)
    assert (answer.status, answer.body["error"]["field"]) == (400, field)


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_large_log_comes_in_pages_of_bounded_size(ann: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamsim.experiments.experiments._LOG_BYTES", 40_000)
    experiment = await ann.experiment(get_action="self.action['text'] = 'x' * 5000")
    for _ in range(30):
        await ann.get(f"/getaction/{experiment['id']}", key=experiment["key"])
    path, sizes = f"/stats/{experiment['id']}/actionlog", []
    while path:
        answer = await ann.get(path)
        sizes.append(len(answer.body))
        path = answer.headers.get("link", "").partition(">")[0].lstrip("<")
    assert sum(sizes) == 30
    assert max(sizes) <= 21


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_summary_counts_calls_and_dates_the_last(ann: Caller) -> None:
    experiment = await ann.experiment(**CODE)
    path = f"/stats/{experiment['id']}/summary"
    assert (await ann.get(path)).body == {
        "get_action_calls": 0,
        "last_added_get_action": None,
        "set_reward_calls": 0,
        "last_added_set_reward": None,
    }
    key = experiment["key"]
    for n in range(4):
        await ann.get(f"/getaction/{experiment['id']}", key=key)
        if n < 3:
            await ann.get(f"/setreward/{experiment['id']}", key=key, reward=n)
    summary = (await ann.get(path)).body
    actions = (await ann.get(f"/stats/{experiment['id']}/actionlog")).body
    rewards = (await ann.get(f"/stats/{experiment['id']}/rewardlog")).body
    assert summary == {
        "get_action_calls": 4,
        "last_added_get_action": actions[0]["date"],
        "set_reward_calls": 3,
        "last_added_set_reward": rewards[0]["date"],
    }


@pytest.mark.gen_test
async def test_logs_of_an_unused_experiment_are_empty(ann: Caller) -> None:
    experiment = await ann.experiment()
    for log in LOGS:
        answer = await ann.get(f"/stats/{experiment['id']}/{log}")
        assert (answer.status, answer.body) == (200, [])


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_hourly_theta_has_one_snapshot_per_hour(ann: Caller, services: Services, clock: Clock) -> None:
    clock.ahead_ms = HOUR_MS - clock() % HOUR_MS  # the beginning of an hour
    experiment = await used(ann, 1)
    other = await used_other(ann)
    jobs, another_process = Upkeep(services, clock), Upkeep(services, clock)
    assert await jobs.snapshots() == 0
    for one in (experiment, other):
        await ann.put(f"/exp/{one['id']}", {"hourly_theta": True})
    assert await jobs.snapshots() == 2
    assert await jobs.snapshots() == await another_process.snapshots() == 0
    await reward(ann, experiment)
    clock.ahead_ms += 59 * 60_000
    assert await another_process.snapshots() == 0
    clock.ahead_ms += 60_000
    assert await another_process.snapshots() == 2
    assert await jobs.snapshots() == 0
    rows = (await ann.get(f"/stats/{experiment['id']}/hourlytheta")).body
    assert [row["theta"] for row in rows] == [{"arm:a": {"n": 2}}, {"arm:a": {"n": 1}}]
    assert all(DATE.fullmatch(row["date"]) and row["exp_id"] == experiment["id"] for row in rows)
    assert len((await ann.get(f"/stats/{experiment['id']}/hourlytheta", limit=1)).body) == 1
    named = (await ann.get(f"/stats/{other['id']}/hourlytheta")).body
    assert [(row["theta"], row["named"]) for row in named] == [({}, {"special": {"x": 1}})] * 2


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_snapshot_of_a_process_that_died_over_it_is_made_by_another(
    ann: Caller, services: Services, clock: Clock
) -> None:
    clock.ahead_ms = HOUR_MS - clock() % HOUR_MS  # the beginning of an hour
    experiment = await ann.experiment(hourly_theta=True)
    hour = clock() // HOUR_MS
    work = f"theta:{experiment['id']}:{hour}"
    assert await services.store.decisions.claim(work, "a process that died", clock(), clock() + 60_000)
    jobs = Upkeep(services, clock)
    assert await jobs.snapshots() == 0
    clock.ahead_ms += 60_001
    assert await jobs.snapshots() == 1


async def used_other(client: Caller) -> dict[str, Any]:
    experiment = await client.experiment("other", set_reward="self.set_theta({'x': 1}, name='special')")
    await reward(client, experiment)
    return experiment


async def reward(client: Caller, experiment: dict[str, Any]) -> None:
    answer = await client.get(f"/setreward/{experiment['id']}", key=experiment["key"], reward=1)
    assert answer.status == 200
