"""The program that simulates: what it draws, how it repeats, and known shapes of known policies in it."""

from __future__ import annotations

import json
import math
import os
import random
import time
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from scipy import stats

from streamsim.evaluation.wire import Draws
from streamsim.experiments import catalogue
from streamsim.programs.simulate import ANSWER_BYTES, CONTINUOUS, YIELDS_S, Program, _binned
from streamsim.sandbox.worker.clock import Clock
from tests.policies.play import Player, play

ENTRIES = {entry.slug: entry for entry in catalogue.entries()}


class Channel:
    """Answers no question; time limits are off."""

    clock = Clock()

    def __init__(self) -> None:
        self.finished: list[int] = []

    def progress(self, finished: int) -> None:
        self.finished.append(finished)


def program(
    code: dict[str, str], seed: int = 1, theta: Any = (), common: bool = False, *more: Any
) -> Program:
    return Program(("e", code, {}, seed, list(theta), common, *more), Channel())  # type: ignore[arg-type]


def drawn(simulation: Program, *request: Any) -> Draws:
    result = simulation.handle(request)
    assert result.failure is None, result.failure
    return result


@pytest.mark.parametrize(
    "slug", sorted(slug for slug, entry in ENTRIES.items() if not entry.description.needs)
)
def test_draws_are_those_of_the_live_policy_runtime(slug: str) -> None:
    entry = ENTRIES[slug]
    records: list[Any] = []
    simulation = program(entry.code, seed=5)
    while len(records) < 60:
        records += drawn(simulation, 60 - len(records), True).records
    random.seed(5)
    np.random.seed(5)
    player = Player(entry)
    for record, step in zip(records, play(player, 60), strict=True):
        found = json.loads(record)
        assert (found["context"], found["action"], found["reward"]) == (
            step.context,
            step.action,
            step.reward,
        )
    rows = drawn(simulation, 1, False, None, True).theta
    assert {row[2:4] for row in rows} >= {row[2:4] for row in player.rows}


def test_the_sums_do_not_depend_on_how_draws_are_asked_for() -> None:
    code = ENTRIES["e-greedy"].code
    points = [1, 2, 3, 100, 101, 499]
    whole = drawn(program(code), 500, False, points).points
    parted = program(code)
    # Between the points, at one, and several at once.
    pieces = [(1, [1]), (1, [1]), (40, [1]), (58, [58]), (300, [1]), (100, [99])]
    assert [point for draws, told in pieces for point in drawn(parted, draws, False, told).points] == whole
    assert [sum(point.arms.values()) for point in whole] == np.diff([0, *points]).tolist()
    records = [json.loads(record) for record in drawn(program(code), 500, True).records]
    sums = list(accumulate(record["reward"]["value"] for record in records))
    assert [point.reward for point in whole] == [sums[point - 1] for point in points]


@pytest.mark.parametrize("value", [{"a": 1}, {"a": [1.0, 2.0]}, {"a": [[1]], "b": {"c": 2}}])
def test_what_get_theta_gives_can_be_changed_without_effect(value: dict[str, Any]) -> None:
    code = {
        "get_action": "one, group = self.get_theta(key='k', value='v'), self.get_theta(key='k')\n"
        "for found in (one, group.get('v', {})):\n"
        "    if found:\n"
        "        assert found == " + repr(value) + ", found\n"
        "        found['z'] = 1\n"
        "        for part in found.values():\n"
        "            if isinstance(part, list): part.append(5); part[0] = [7]\n"
        "            if isinstance(part, dict): part['d'] = 5\n",
        "set_reward": f"given = {value!r}\nself.set_theta(given, key='k', value='v')\ngiven['a'] = 'changed'",
    }
    assert drawn(program(code), 5).draws == 5


def test_set_theta_merges_and_delete_theta_removes() -> None:
    code = {
        "set_reward": "n = self.get_theta(key='k', value='v').get('n', 0)\n"
        "self.set_theta({'n': n + 1}, key='k', value='v')\nself.set_theta({'m': [n]}, key='k', value='v')\n"
        "self.set_theta({'x': 1}, key='gone', value='v'); self.delete_theta(key='gone')\n"
        "self.set_theta({'y': 1}, name='other')"
    }
    rows = drawn(program(code), 3, False, None, True).theta
    assert rows == [
        ("e", "_theta", "k", "v", b'{"n":3,"m":[2]}'),
        ("e", "other", "", "", b'{"y":1}'),
    ]


@pytest.mark.parametrize(
    ("bad", "field"),
    [
        ("float('nan')", "theta.n"),
        ("-np.inf", "theta.n"),
        ("2**63", "theta.n"),
        ("-(2**63) - 1", "theta.n"),
        ("{'x': np.inf}", "theta.n.x"),
        ("'\\udc80'", "theta.n"),
        ("object()", "theta.n"),
    ],
)
def test_theta_that_is_stored_already_takes_only_json_values(bad: str, field: str) -> None:
    code = {
        "set_reward": "n = self.get_theta(key='k', value='v').get('n', 0)\n"
        f"self.set_theta({{'n': n + 1 if n < 2 else {bad}}}, key='k', value='v')"
    }
    result = program(code).handle((5, False, None, True))
    assert result.failure is not None
    assert (result.draws, result.failure.type, result.failure.line) == (2, "InvalidValue", 2)
    assert result.failure.message.startswith(field)
    assert result.theta == [("e", "_theta", "k", "v", b'{"n":2}')]


def test_a_failing_draw_keeps_the_sums_of_those_before() -> None:
    code = {
        "get_action": "self.action['arm'] = 'a'",
        "get_reward": "self.reward['value'] = 2",
        "set_reward": "n = self.get_theta().get('n', 0)\nself.set_theta({'n': n + 1})\nif n == 40: 1 / 0",
    }
    result = program(code).handle((100, False, [10, 40, 41]))
    assert result.failure is not None
    assert (result.draws, result.failure.piece, result.failure.line) == (40, "set_reward", 3)
    assert [(point.arms, point.reward) for point in result.points] == [({"a": 10}, 20.0), ({"a": 30}, 80.0)]


def test_the_processor_is_left_to_others_between_draws_of_a_curve(monkeypatch: pytest.MonkeyPatch) -> None:
    left: list[float] = []
    monkeypatch.setattr(os, "sched_yield", lambda: left.append(time.monotonic()))
    simulation = program(ENTRIES["e-greedy"].code)
    drawn(simulation, 1000, False, None)
    assert left == []
    drawn(simulation, 1000, False, [1000])
    assert 1 < len(left) <= 1000
    assert min(np.diff(left)) >= YIELDS_S


def test_points_with_long_names_of_arms_end_an_answer_early_and_nothing_is_lost() -> None:
    code = {
        "get_action": f"self.action['arm'] = random.choice('0123456789') + 'x' * {ANSWER_BYTES // 8}",
        "get_reward": "self.reward['value'] = 2",
    }
    simulation, left, told = program(code), list(range(1, 101)), []
    while left:
        answer = drawn(simulation, 101 - left[0], False, [point - left[0] + 1 for point in left])
        assert 0 < sum(len(arm) for point in answer.points for arm in point.arms) < 2 * ANSWER_BYTES
        told += answer.points
        del left[: len(answer.points)]
    assert [list(point.arms.values()) for point in told] == [[1]] * 100


def test_uniform_regret_is_linear_and_thompsons_is_logarithmic() -> None:
    world = (
        "CHANCES = {'1': 0.2, '2': 0.5, '3': 0.8}\nself.expected_rewards = CHANCES\n"
        "self.reward['value'] = int(random.random() < CHANCES[self.action['arm']])"
    )
    thompson = ENTRIES["bernoulli-thompson"].edited({"ARMS": ["1", "2", "3"]}) | {"get_reward": world}
    uniform = {"get_action": "self.action['arm'] = random.choice('123')", "get_reward": world}

    def regrets(code: dict[str, str], count: int) -> np.ndarray:
        """Of so many runs, at 100, 200, 400, ... 3,200 draws."""
        runs = []
        for seed in range(count):
            answer = drawn(program(code, seed), 3200, False, [100, 200, 400, 800, 1600, 3200])
            runs.append([point.regret for point in answer.points])
        return np.array(runs)

    straight = regrets(uniform, 10)
    # 0.3 a draw on average, with a deviation of 0.245.
    for place, regret in enumerate(straight.mean(axis=0)):
        draws = 100 * 2**place
        assert abs(regret - 0.3 * draws) < 4 * 0.245 * math.sqrt(draws / 10)
    curved = regrets(thompson, 40)
    steps = np.diff(curved)
    # Each doubling of t adds the same, at length ln 2 * sum(gap / KL) = 1.43 (Lai and Robbins, 1985).
    for place in range(5):
        interval = stats.ttest_1samp(steps[:, place], 0).confidence_interval(0.99)
        assert 0.2 < interval.low < interval.high < 2 * 1.43
    # Growth like sqrt(t) would add 4 times as much in the last doubling as in the first, like t 16 times.
    assert stats.ttest_1samp(steps[:, -1] - 4 * steps[:, 0], 0).confidence_interval(0.99).high < 0
    assert curved[:, -1].mean() < 0.02 * straight[:, -1].mean()


def test_continuous_actions_are_counted_by_their_first_digit_from_a_hundred_on() -> None:
    assert CONTINUOUS == 100
    assert [_binned(arm) for arm in ("0.1234", "17.5", "a", "12", "-0.0071", "nan")] == [
        "about 0.1", "about 2e+01", "a", "12", "about -0.007", "nan",
    ]  # fmt: skip


def test_a_long_run_of_continuous_actions_has_few_arms_in_its_answer() -> None:
    code = ENTRIES["online-marketing-experiment"].code
    simulation = program(code, 1, (), False, None, "split")
    arms: set[str] = set()
    for _ in range(4):
        arms |= drawn(simulation, 1000, False, [1000]).points[0].arms.keys()
    assert len(arms) < 200
