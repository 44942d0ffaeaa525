"""Live numbers: what there is, what comes, and how often the store is asked for whoever watches."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, aclosing
from contextvars import ContextVar
from typing import Any

import pytest

from streamsim.experiments import watching
from streamsim.services import Services
from tests.application import Caller
from tests.patience import PATIENCE_S

CODE = {"get_action": "self.action['arm'] = 'b' if self.context.get('b') else 'a'"}


async def used(client: Caller, calls: int) -> dict[str, Any]:
    made = await client.experiment(**CODE)
    await more(client, made, calls)
    return made


async def more(client: Caller, made: dict[str, Any], calls: int) -> None:
    """So many decisions, every second one for b, and their rewards, which are their numbers."""
    contexts = [{"b": number % 2} for number in range(calls)]
    answer = await client.post(f"/getaction/{made['id']}", {"key": made["key"], "contexts": contexts})
    rewards = [
        {"action": one["action"], "reward": {"value": number}}
        for number, one in enumerate(answer.body["results"])
    ]
    assert (
        await client.post(f"/setreward/{made['id']}", {"key": made["key"], "rewards": rewards})
    ).status == 200


async def until(events: AsyncGenerator[bytes | None, None], wanted: int, key: str) -> list[Any]:
    """So many rows, from as many events as that takes."""
    found: list[Any] = []
    async with asyncio.timeout(PATIENCE_S):
        while len(found) < wanted:
            event = await anext(events)
            found += json.loads(event)[key] if event is not None else []
    return found


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_an_event_has_the_newest_decisions_and_rewards_oldest_first(ann: Caller) -> None:
    made = await used(ann, 3)
    answer = await ann.get(f"/stats/{made['id']}/live")
    assert answer.headers["content-type"] == "text/event-stream"
    kind, data = answer.body.rstrip("\n").split("\n")
    assert kind == "event: live"
    event = json.loads(data.removeprefix("data: "))
    assert event["all"] is True
    assert [arm for _, arm in event["decisions"]] == ["a", "b", "a"]
    assert [(arm, number) for _, arm, number in event["rewards"]] == [("a", 0), ("b", 1), ("a", 2)]
    assert event["summary"] == (await ann.get(f"/stats/{made['id']}/summary")).body


@pytest.mark.gen_test
async def test_what_comes_is_told_once_to_everybody_who_watches(ann: Caller, services: Services) -> None:
    made = await used(ann, 2)
    experiment = await services.experiments.get("ann", made["id"])
    async with AsyncExitStack() as stack:
        several = [
            await stack.enter_async_context(aclosing(services.watching.events(experiment))) for _ in "123"
        ]
        for one in several:
            assert len(await until(one, 2, "rewards")) == 2
        await more(ann, made, 5)
        for one in several:
            assert [number for _, _, number in await until(one, 5, "rewards")] == [0, 1, 2, 3, 4]
    assert services.watching._watched == {}


@pytest.mark.gen_test
async def test_nothing_is_left_out_though_much_comes_between_two_looks(
    ann: Caller, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await used(ann, 1)
    experiment = await services.experiments.get("ann", made["id"])
    real = services.store.decisions.summary

    async def late(experiment_id: str) -> Any:
        """The counters as they were before what came while they were read."""
        found = await real(experiment_id)
        if found.reward_calls == 2 and not burst.done():
            burst.set_result(None)
            await more(ann, made, 200)
        return found

    burst: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(watching, "EVERY_S", 0.01)
    async with aclosing(services.watching.events(experiment)) as events:
        await anext(events)
        monkeypatch.setattr(services.store.decisions, "summary", late)
        await more(ann, made, 1)
        assert [number for _, _, number in await until(events, 201, "rewards")] == [0, *range(200)]


@pytest.mark.gen_test
async def test_the_store_is_asked_once_a_second_whoever_watches(
    ann: Caller, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await used(ann, 2)
    experiment = await services.experiments.get("ann", made["id"])
    at_first, looks = 0, [0]
    within = ContextVar("within a look", default=False)
    for store, name in ((services.store.decisions, "summary"), (services.store.logs, "read_log")):
        real = getattr(store, name)

        async def counted(*args: Any, real: Any = real, **options: Any) -> Any:
            nonlocal at_first
            if within.get():
                looks[-1] += 1
            else:
                at_first += 1
            return await real(*args, **options)

        monkeypatch.setattr(store, name, counted)
    look = watching._Watched._look

    async def looked(one: Any) -> None:
        looks.append(0)
        token = within.set(True)
        await look(one)
        within.reset(token)

    monkeypatch.setattr(watching._Watched, "_look", looked)
    monkeypatch.setattr(watching, "EVERY_S", 0.01)
    async with AsyncExitStack() as stack:
        several = [
            await stack.enter_async_context(aclosing(services.watching.events(experiment))) for _ in range(50)
        ]
        for one in several:
            await anext(one)
        await more(ann, made, 30)
        for one in several:
            await until(one, 30, "rewards")
    # Three at the beginning, then at most one in each pause, of which there is one for all who watch.
    assert max(looks) == 1
    assert at_first == 3


@pytest.mark.gen_test
async def test_who_is_behind_gets_all_numbers_anew(ann: Caller, services: Services) -> None:
    made = await used(ann, 2)
    experiment = await services.experiments.get("ann", made["id"])
    async with aclosing(services.watching.events(experiment)) as events:
        await anext(events)
        one = services.watching._watched[made["id"]]
        for _ in range(watching._BEHIND + 1):
            one._tell({})
        event = await anext(events)
        assert event is not None
        assert json.loads(event)["all"] is True


def test_the_more_is_sent_to_all_who_watch_the_rarer_it_is() -> None:
    one = watching.BYTES_A_SECOND
    assert [watching.pause_s(sent) for sent in (0, one // 2, 7 * one, 10_000 * one)] == [1, 1, 7, 30]


@pytest.mark.gen_test
async def test_what_is_sent_counts_for_each_who_watches(ann: Caller, services: Services) -> None:
    made = await used(ann, 2)
    experiment = await services.experiments.get("ann", made["id"])
    async with AsyncExitStack() as stack:
        for _ in range(3):
            events = await stack.enter_async_context(aclosing(services.watching.events(experiment)))
            await anext(events)
        one = services.watching._watched[made["id"]]
        one._tell({})
        told = one.watchers[0].get_nowait()
        assert one._sent == 3 * len(told)


@pytest.mark.gen_test
async def test_no_more_than_the_newest_rows_are_told(
    ann: Caller, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "NEWEST", 4)
    made = await used(ann, 9)
    event = json.loads((await ann.get(f"/stats/{made['id']}/live")).body.partition("data: ")[2])
    assert [number for _, _, number in event["rewards"]] == [5, 6, 7, 8]
    assert event["summary"]["set_reward_calls"] == 9


@pytest.mark.gen_test
async def test_others_and_wrong_times_are_refused(ann: Caller, bob: Caller, nobody: Caller) -> None:
    made = await used(ann, 1)
    assert (await bob.get(f"/stats/{made['id']}/live")).status == 401
    assert (await nobody.get(f"/stats/{made['id']}/live")).status == 401
    answer = await ann.get(f"/stats/{made['id']}/live", seconds=601)
    assert (answer.status, answer.body["error"]["field"]) == (400, "seconds")
