"""The lane on a real sandbox and real storage, each backend in turn: I1 to I5 within and across processes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
from typing import Any

import pytest

from streamsim.decisions.calls import Reward
from streamsim.errors import (
    PolicyCrashed,
    PolicyError,
    PolicyMemory,
    PolicyRejected,
    PolicyTimeout,
    TooManyRequests,
    Unauthorized,
)
from tests.decisions.conftest import Bench
from tests.decisions.helpers import COUNT, SHOW, count

pytestmark = pytest.mark.every_backend


def test_a_decision_is_answered_and_logged(bench: Bench) -> None:
    bench.experiment('self.action["arm"] = self.context["x"] * 2; self.action["propensity"] = 0.25')
    assert bench.decide({"x": 21}) == {"action": {"arm": 42, "propensity": 0.25}}
    assert bench.log("action") == [
        {"context": {"x": 21}, "action": {"arm": 42, "propensity": 0.25}, "propensity": 0.25}
    ]


def test_concurrent_rewards_lose_no_update(bench: Bench) -> None:
    bench.experiment(SHOW, COUNT)
    other = bench.more()

    async def hammer() -> None:
        await asyncio.gather(*(bench.learn([bench.decisions, other][i % 2]) for i in range(600)))

    rewards = 0
    while not bench.refused:  # else the two processes never met, and this shows nothing
        bench.run(hammer())
        rewards += 600
        assert count(bench) == len(bench.log("reward")) == rewards < 6000


def test_a_reward_is_seen_by_the_next_decision_of_another_process(bench: Bench) -> None:
    bench.experiment(SHOW, COUNT)
    other = bench.more()
    for expected in range(1, 20):
        bench.run(bench.learn([bench.decisions, other][expected % 2]))
        answer = bench.run([other, bench.decisions][expected % 2].get_action("e1", "k", {}))
        assert json.loads(answer) == {"action": {"n": expected}}


def test_one_bad_call_hurts_only_itself(bench: Bench) -> None:
    bench.experiment(
        SHOW,
        COUNT
        + """
bad = self.reward
if bad == "raise": raise ValueError("no such reward")
if bad == "loop":
    while True: pass
if bad == "memory": x = bytearray(1 << 30)
if bad == "crash":
    import ctypes; ctypes.string_at(0)
if bad == "nan": self.set_theta({"n": float("nan")}, key="n", value="all")
""",
    )
    kinds: dict[str, type[BaseException]] = {
        "raise": PolicyError,
        "loop": PolicyTimeout,
        "memory": PolicyMemory,
        "crash": PolicyCrashed,
        "nan": PolicyError,
    }

    async def mixed() -> list[Any]:
        rewards = [bad if i % 2 else 1 for i in range(4) for bad in kinds]
        calls = [bench.learn(bench.decisions, reward) for reward in rewards]
        return list(zip(rewards, await asyncio.gather(*calls, return_exceptions=True), strict=True))

    ends = bench.run(mixed())
    for reward, end in ends:
        if reward in kinds:
            assert type(end) is kinds[reward], (reward, end)
        else:
            assert end == b'{"status":"success"}'
    good = sum(1 for reward, _ in ends if reward == 1)
    assert count(bench) == good == len(bench.log("reward"))


def test_an_error_names_piece_line_type_and_message(bench: Bench) -> None:
    bench.experiment("x = 1\ny = self.context['price'] / 0\n")
    with pytest.raises(PolicyError) as caught:
        bench.decide({"price": 3})
    assert caught.value.detail == {
        "piece": "get_action",
        "line": 2,
        "type": "ZeroDivisionError",
        "message": "division by zero",
    }
    assert bench.log("action") == []


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        ("self.context['z'] = {1}", PolicyError, "TypeError: context.z: "),
        ("self.context = None", PolicyError, "TypeError: context must not become None"),
        ("self.action['z'] = {1}", PolicyRejected, "InvalidValue: action.z: "),
    ],
)
def test_a_spoiled_context_is_an_error_of_the_code_and_a_spoiled_action_is_refused(
    bench: Bench, code: str, kind: type[PolicyError], text: str
) -> None:
    bench.experiment(code)
    with pytest.raises(PolicyError, match=re.escape(text)) as caught:
        bench.decide({"x": 1})
    assert type(caught.value) is kind
    assert bench.log("action") == []


def test_effects_of_a_call_that_fails_late_are_undone(bench: Bench) -> None:
    bench.experiment("", COUNT + 'self.log_data({"a": 1})\nif self.reward == 0: raise RuntimeError("late")\n')
    bench.reward(1)
    with pytest.raises(PolicyError):
        bench.reward(0)
    bench.reward(1)
    assert count(bench) == 2
    assert bench.log("manual") == [{"a": 1}, {"a": 1}]


def test_wrong_key_and_unknown_experiment_look_the_same(bench: Bench) -> None:
    bench.experiment(SHOW)
    errors = []
    for id, key in (("e1", "wrong"), ("e2", "k"), ("e" * 500, "k")):
        with pytest.raises(Unauthorized) as caught:
            bench.run(bench.decisions.get_action(id, key, {}))
        errors.append(caught.value.message)
    assert len(set(errors)) == 1


def test_edits_and_archiving_in_another_process_are_seen_at_once(bench: Bench) -> None:
    bench.experiment('self.action["v"] = 1')
    other = bench.more()
    assert json.loads(bench.run(other.get_action("e1", "k", {}))) == {"action": {"v": 1}}
    stored = bench.run(bench.store.decisions.get_experiment("e1"))
    code = stored.code | {"get_action": 'self.action["v"] = 2'}
    fields = {f: getattr(stored, f) for f in stored.__struct_fields__} | {"code": code}
    bench.run(bench.store.decisions.update_experiment(type(stored)(**fields)))
    assert json.loads(bench.run(other.get_action("e1", "k", {}))) == {"action": {"v": 2}}
    bench.run(bench.store.decisions.archive_experiment("ann", "e1", bench.now_ms))
    with pytest.raises(Unauthorized):
        bench.run(other.get_action("e1", "k", {}))
    assert len(bench.log("action")) == 2


# ---- advice ids


# ---- idempotency keys


# ---- nesting


def test_a_nested_experiment_shares_the_transaction(bench: Bench) -> None:
    bench.experiment(SHOW, COUNT, id="inner")
    bench.experiment(
        'inner = Experiment("inner"); self.action = inner.run_action_code(self.context)',
        'inner = Experiment("inner"); inner.run_reward_code(self.context, self.action, self.reward)\n'
        "if self.reward == 0: raise ValueError('undone')",
    )
    other = bench.more()
    bench.reward(1)
    with pytest.raises(PolicyError, match="undone"):
        bench.reward(0)
    bench.run(bench.learn(other, 1, "inner"))
    bench.reward(1)
    assert bench.decide() == {"action": {"n": 3}}
    assert count(bench, "inner") == 3


def test_another_tenants_experiment_cannot_be_opened(bench: Bench) -> None:
    bench.experiment(SHOW, COUNT, id="bobs", tenant="bob")
    bench.experiment('Experiment("bobs").run_action_code({})', id="e1")
    bench.experiment('Experiment("none").run_action_code({})', id="e2")
    for id, name in (("e1", "bobs"), ("e2", "none")):
        with pytest.raises(PolicyError, match=f"there is no experiment '{name}'"):
            bench.decide(id=id)


def test_an_edit_of_a_nested_experiment_is_seen(bench: Bench) -> None:
    bench.experiment('self.action["v"] = 1', id="inner")
    bench.experiment('self.action = Experiment("inner").run_action_code({})')
    assert bench.decide() == {"action": {"v": 1}}
    stored = bench.run(bench.store.decisions.get_experiment("inner"))
    fields = {f: getattr(stored, f) for f in stored.__struct_fields__}
    fields["code"] = stored.code | {"get_action": 'self.action["v"] = 2'}
    bench.run(bench.store.decisions.update_experiment(type(stored)(**fields)))
    assert bench.decide() == {"action": {"v": 2}}


# ---- bounds


def test_beyond_the_queue_bound_calls_are_refused_and_the_others_answered(bench: Bench) -> None:
    bench.experiment("", COUNT)
    narrow = bench.more(queue=10, batch=4)

    async def flood() -> list[Any]:
        calls = (bench.learn(narrow) for _ in range(50))
        return await asyncio.gather(*calls, return_exceptions=True)

    ends = bench.run(flood())
    answered = sum(isinstance(end, bytes) for end in ends)
    assert answered == count(bench) >= 10
    assert all(isinstance(end, bytes | TooManyRequests) for end in ends)


def test_a_caller_that_went_away_harms_nobody(bench: Bench) -> None:
    bench.experiment("", COUNT)

    async def leave() -> None:
        tasks = [asyncio.ensure_future(bench.learn(bench.decisions)) for _ in range(10)]
        await asyncio.sleep(0)
        for task in tasks[::2]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await bench.learn(bench.decisions)

    bench.run(leave())
    assert count(bench) == len(bench.log("reward"))


def test_code_that_does_not_compile_is_named(bench: Bench) -> None:
    from streamsim.errors import BadRequest

    good = {"get_context": "", "get_action": "a = 1", "get_reward": "", "set_reward": ""}
    bench.run(bench.decisions.check_code("ann", good))
    with pytest.raises(BadRequest) as caught:
        bench.run(bench.decisions.check_code("ann", good | {"set_reward": "a = 1\nif:\n"}))
    assert caught.value.field == "set_reward"
    assert caught.value.detail["line"] == 2


def test_rewards_of_one_batch_see_each_other(bench: Bench) -> None:
    bench.experiment("", COUNT)

    async def together() -> None:
        await bench.decisions.find("e1")
        calls = [Reward(1) for _ in range(30)]
        await asyncio.gather(*(bench.decisions.set_reward("e1", "k", call) for call in calls))

    bench.run(together())
    assert count(bench) == 30


def test_calls_outlive_the_process_that_workers_come_from(bench: Bench) -> None:
    bench.experiment("", "import time; time.sleep(0.2)" + COUNT)

    async def lose() -> list[bytes]:
        await bench.learn(bench.decisions)
        calls = [asyncio.ensure_future(bench.learn(bench.decisions)) for _ in range(3)]
        await asyncio.wait(calls, timeout=0.1)  # into the middle of the first
        os.kill(bench.sandbox.zygotes[0], signal.SIGKILL)
        return await asyncio.gather(*calls)

    assert bench.run(lose()) == [b'{"status":"success"}'] * 3
    assert count(bench) == 4
