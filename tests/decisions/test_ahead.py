"""A batch that leaves theta as it is is committed while the next one runs, if that is larger."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable
from typing import Any

import pytest

from streamsim.decisions.early import PART
from streamsim.decisions.pace import LEAST, Pace
from streamsim.errors import Unavailable
from streamsim.storage.contract.errors import StoreUnavailable
from tests.decisions.conftest import Bench
from tests.decisions.helpers import COUNT, SHOW, Early, Held, count
from tests.patience import PATIENCE_S


@pytest.fixture
def held(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Held:
    bench.experiment(SHOW, COUNT)
    bench.decide()  # a worker, with theta in its cache
    return Held(bench.store.decisions, monkeypatch)


def shown(answer: bytes) -> int:
    number: int = json.loads(answer)["action"]["n"]
    return number


async def decide_at_once(bench: Bench, calls: int) -> list[bytes]:
    """So many decisions that come together."""
    return await asyncio.gather(*(bench.decisions.get_action("e1", "k", {}) for _ in range(calls)))


async def decide_twice(bench: Bench) -> bytes:
    """Two calls, which make a batch that is larger than that of one; the second answer."""
    return (await decide_at_once(bench, 2))[1]


async def learn_beside_a_decision(bench: Bench) -> bytes:
    reward, _ = await asyncio.gather(
        bench.learn(bench.decisions), bench.decisions.get_action("e1", "k", {}), return_exceptions=True
    )
    assert isinstance(reward, bytes), reward
    return reward


def test_a_larger_batch_runs_while_a_decision_is_committed(bench: Bench, held: Held) -> None:
    async def two() -> list[bool]:
        async with asyncio.timeout(PATIENCE_S):
            first = asyncio.ensure_future(bench.decisions.get_action("e1", "k", {}))
            await held.begun.wait()
            second = asyncio.ensure_future(decide_twice(bench))
            await held.twice.wait()
            early = [first.done(), second.done()]
            held.go.set()
            await asyncio.gather(first, second)
            return early

    assert bench.run(two()) == [False, False]  # nothing was answered before it was durable
    assert len(bench.log("action")) == 4


def test_a_batch_that_is_no_larger_waits_for_the_commit(bench: Bench, held: Held) -> None:
    async def again() -> list[int]:
        async with asyncio.timeout(PATIENCE_S):
            first = asyncio.ensure_future(bench.decisions.get_action("e1", "k", {}))
            await held.begun.wait()
            second = asyncio.ensure_future(bench.decisions.get_action("e1", "k", {}))
            for _ in range(20):
                await asyncio.sleep(0)
            alone = list(held.batches)
            third = asyncio.ensure_future(bench.decisions.get_action("e1", "k", {}))
            await held.twice.wait()
            assert not first.done()
            held.go.set()
            await asyncio.gather(first, second, third)
            return [*alone, 0, *held.batches]

    assert bench.run(again()) == [1, 0, 1, 2]
    assert len(bench.log("action")) == 4


@pytest.mark.parametrize("follows", ["decision", "reward"])
def test_what_ran_ahead_of_a_refused_commit_runs_again(bench: Bench, held: Held, follows: str) -> None:
    other = bench.more()

    async def overtaken() -> tuple[int, Any]:
        async with asyncio.timeout(PATIENCE_S):
            first = asyncio.ensure_future(bench.decisions.get_action("e1", "k", {}))
            await held.begun.wait()
            ran = held.ran
            await bench.learn(other)
            held.ran = ran
            held.twice.clear()
            second: asyncio.Future[bytes]
            if follows == "decision":
                second = asyncio.ensure_future(decide_twice(bench))
            else:
                second = asyncio.ensure_future(learn_beside_a_decision(bench))
            await held.twice.wait()
            held.go.set()
            return shown(await first), await second

    decided, after = bench.run(overtaken())
    assert decided == 1
    assert bench.refused >= 1
    if follows == "decision":
        assert shown(after) == 1  # it came after the other process's reward was acknowledged
        assert count(bench) == 1
    else:
        assert count(bench) == 2
        assert shown(bench.run(bench.decisions.get_action("e1", "k", {}))) == 2
    assert [row["action"]["n"] for row in bench.log("action")][1] == 1


def test_a_commit_that_fails_hurts_only_its_own_batch(bench: Bench, held: Held) -> None:
    held.error = StoreUnavailable("the disk is full")

    async def two() -> list[Any]:
        async with asyncio.timeout(PATIENCE_S):
            first = asyncio.ensure_future(bench.decisions.get_action("e1", "k", {}))
            await held.begun.wait()
            second = asyncio.ensure_future(learn_beside_a_decision(bench))
            await held.twice.wait()
            held.go.set()
            return list(await asyncio.gather(first, second, return_exceptions=True))

    failed, learned = bench.run(two())
    assert isinstance(failed, Unavailable)
    assert learned == b'{"status":"success"}'
    assert count(bench) == 1
    assert len(bench.log("action")) == 2


def test_a_reward_is_committed_before_the_next_batch_runs(bench: Bench, held: Held) -> None:
    async def reward_then_decide() -> bytes:
        async with asyncio.timeout(PATIENCE_S):
            first = asyncio.ensure_future(bench.learn(bench.decisions))
            await held.begun.wait()
            second = asyncio.ensure_future(bench.decisions.get_action("e1", "k", {}))
            await asyncio.sleep(0)
            assert held.ran == 1
            held.go.set()
            await first
            return await second

    assert shown(bench.run(reward_then_decide())) == 1


def test_what_ran_early_after_a_refused_commit_for_nobody_runs_again(bench: Bench, held: Held) -> None:
    other = bench.more()

    def decision() -> Awaitable[bytes]:
        return bench.decisions.get_action("e1", "k", {})

    async def left() -> list[bytes]:
        async with asyncio.timeout(PATIENCE_S):
            first = [asyncio.ensure_future(decision()) for _ in range(PART + 1)]
            await held.begun.wait()
            await bench.learn(other)  # what the first ones ran on is out of date
            second = [asyncio.ensure_future(decision()) for _ in range(PART)]
            await asyncio.sleep(0)
            for call in first:
                call.cancel()
            held.go.set()
            await asyncio.gather(*first, return_exceptions=True)
            return await asyncio.gather(*second)

    started = bench.sandbox.started + 1  # that of `other`
    assert {shown(answer) for answer in bench.run(left())} == {1}
    assert bench.sandbox.started == started  # no process was taken for one that lies


@pytest.mark.parametrize("ends", ["committed", "refused", "failed"])
def test_the_worker_goes_on_with_what_waits_while_a_batch_is_checked(
    bench: Bench, held: Held, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = bench.more()
    early = Early(monkeypatch)
    most, more = 64, 11

    async def many() -> tuple[list[int], list[Any]]:
        async with asyncio.timeout(PATIENCE_S):
            calls = [bench.decisions.get_action("e1", "k", {}) for _ in range(most + more)]
            waiting = asyncio.gather(*calls, return_exceptions=True)
            await held.begun.wait()
            parts = list(early.parts)
            if ends == "refused":
                await bench.learn(other)
            elif ends == "failed":
                held.error = StoreUnavailable("the disk is full")
            held.go.set()
            return parts, await waiting

    parts, answers = bench.run(many())
    assert parts[-1] == more
    assert sum(parts[:-1]) <= most
    if ends == "failed":
        assert {type(answer) for answer in answers[:most]} == {Unavailable}
        answers = answers[most:]
    assert [shown(answer) for answer in answers] == [int(ends == "refused")] * len(answers)
    assert len(bench.log("action")) == 1 + len(answers)
    if ends == "refused":
        assert held.batches == [most, 1, most, more]  # one of them the other's
    else:  # what ran early did not run again
        assert held.batches == [most, more]
        assert held.early[1] == more
        assert early.parts == parts


def test_nothing_runs_ahead_of_what_learns(bench: Bench, held: Held, monkeypatch: pytest.MonkeyPatch) -> None:
    early = Early(monkeypatch)

    async def both() -> tuple[list[int], list[bytes]]:
        async with asyncio.timeout(PATIENCE_S):
            rewards = [bench.learn(bench.decisions) for _ in range(64)]
            decisions = [bench.decisions.get_action("e1", "k", {}) for _ in range(PART)]
            waiting = asyncio.gather(*rewards, *decisions)
            await held.begun.wait()
            parts = list(early.parts)
            held.go.set()
            return parts, (await waiting)[64:]

    parts, answers = bench.run(both())
    assert parts == [PART] * (LEAST // PART)  # of the rewards
    assert [shown(answer) for answer in answers] == [64] * PART


@pytest.mark.parametrize("ends", ["refused", "failed"])
def test_what_ran_early_beside_a_small_commit_is_answered_as_if_it_had_waited(
    bench: Bench, held: Held, ends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = bench.more()
    early = Early(monkeypatch)

    async def two() -> tuple[list[Any], list[Any]]:
        async with asyncio.timeout(PATIENCE_S):
            first = [asyncio.ensure_future(bench.decisions.get_action("e1", "k", {})) for _ in range(PART)]
            await held.begun.wait()
            early.parts.clear()
            early.begun.clear()
            second = [asyncio.ensure_future(bench.decisions.get_action("e1", "k", {})) for _ in range(PART)]
            await early.begun.wait()
            if ends == "refused":
                await bench.learn(other)
            else:
                held.error = StoreUnavailable("the disk is full")
            held.go.set()
            return (
                await asyncio.gather(*first, return_exceptions=True),
                await asyncio.gather(*second, return_exceptions=True),
            )

    first, second = bench.run(two())
    assert early.parts[0] == PART
    if ends == "refused":
        assert [shown(answer) for answer in (*first, *second)] == [1] * 2 * PART
        assert len(bench.log("action")) == 1 + 2 * PART
    else:
        assert {type(answer) for answer in first} == {Unavailable}
        assert [shown(answer) for answer in second] == [0] * PART
        assert len(bench.log("action")) == 1 + PART


def test_many_decisions_are_two_batches_of_which_one_runs_while_the_other_is_committed(
    bench: Bench, held: Held
) -> None:
    async def many() -> list[bool]:
        async with asyncio.timeout(PATIENCE_S):
            calls = [bench.decisions.get_action("e1", "k", {}) for _ in range(2 * LEAST + 1)]
            waiting = [asyncio.ensure_future(call) for call in calls]
            await held.begun.wait()
            await held.twice.wait()
            early = [call.done() for call in waiting]
            held.go.set()
            await asyncio.gather(*waiting)
            return early

    assert not any(bench.run(many()))
    assert held.batches == [LEAST + 1, LEAST]


def test_decisions_that_cost_the_worker_little_are_two_batches_only_if_they_are_more(
    bench: Bench, held: Held, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "ran", lambda pace, worker, calls: setattr(pace, "half", LEAST + 1))
    held.go.set()

    bench.run(decide_at_once(bench, 1))
    held.batches.clear()
    for calls in (2 * LEAST + 2, 2 * LEAST + 1):
        bench.run(decide_at_once(bench, calls))
    assert held.batches == [LEAST + 1, LEAST + 1, 2 * LEAST + 1]


def test_what_ran_early_of_a_batch_stays_in_it_where_it_would_be_two(bench: Bench, held: Held) -> None:
    held.go.set()

    for calls in (2 * LEAST - 1, 2 * LEAST + 4):
        bench.run(decide_at_once(bench, calls))
    ran_early = (2 * LEAST - 1) // PART * PART
    assert held.batches == [2 * LEAST - 1, ran_early, 2 * LEAST + 4 - ran_early]
    assert held.early[1] == ran_early


@pytest.mark.parametrize("learns", [False, True])
def test_those_who_wait_are_joined_by_those_who_are_answered_and_ask_again(
    bench: Bench, held: Held, learns: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Tests take turns with other processes.
    monkeypatch.setattr("streamsim.decisions.queueing._MOMENT_S", PATIENCE_S)
    monkeypatch.setattr("streamsim.decisions.early._AGAIN_S", PATIENCE_S)

    def first() -> Awaitable[bytes]:
        return bench.learn(bench.decisions) if learns else bench.decisions.get_action("e1", "k", {})

    async def again() -> None:
        await first()
        for _ in range(4):  # so long an answer and the next request are on their way
            await asyncio.sleep(0)
        await first()

    async def two_groups() -> None:
        async with asyncio.timeout(PATIENCE_S):
            many = [asyncio.ensure_future(again()) for _ in range(PART)]
            await held.begun.wait()
            few = [asyncio.ensure_future(first()) for _ in range(3)]
            await asyncio.sleep(0)
            held.go.set()
            await asyncio.gather(*many, *few)

    bench.run(two_groups())
    assert held.batches == [PART, PART + 3]


@pytest.mark.parametrize("calls", [2 * LEAST - 1, 2 * LEAST])
def test_few_decisions_and_what_learns_are_one_batch(bench: Bench, held: Held, calls: int) -> None:
    async def many() -> None:
        held.go.set()
        learns = calls == 2 * LEAST
        if learns:
            await bench.learn(bench.decisions)
        held.batches.clear()
        every = [
            bench.learn(bench.decisions) if learns else bench.decisions.get_action("e1", "k", {})
            for _ in range(calls)
        ]
        await asyncio.gather(*every)

    bench.run(many())
    assert held.batches == [calls]
