"""The program that simulates: what it draws, how it repeats, and known shapes of known policies in it."""

from __future__ import annotations

import json
import math
import random
from typing import Any

import numpy as np
import pytest

from streamsim import catalogue
from streamsim.decisions.wire import Draws
from streamsim.evaluation.testbed import ten_armed
from streamsim.sandbox.clock import Clock
from streamsim.sandbox.programs.simulate import Program

from ..policies.play import Player, play

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
    records = []
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
    rows = drawn(simulation, 1, False, False, True).theta
    assert {row[2:4] for row in rows} >= {row[2:4] for row in player.rows}


def test_the_sums_do_not_depend_on_how_draws_are_asked_for() -> None:
    code = ENTRIES["e-greedy"].code
    whole = drawn(program(code), 500, False, True)
    parted = program(code)
    some = [drawn(parted, draws, False, True) for draws in (1, 2, 97, 400)]
    assert some[-1].reward == whole.reward
    for arm, count in whole.arms.items():
        assert sum(part.arms.get(arm, 0) for part in some) == count


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
    rows = drawn(program(code), 3, False, False, True).theta
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
    result = program(code).handle((5, False, False, True))
    assert (result.draws, result.failure.type, result.failure.line) == (2, "InvalidValue", 2)
    assert result.failure.message.startswith(field)
    assert result.theta == [("e", "_theta", "k", "v", b'{"n":2}')]


def test_a_failing_draw_keeps_the_sums_of_those_before() -> None:
    code = {
        "get_action": "self.action['arm'] = 'a'",
        "get_reward": "self.reward['value'] = 2",
        "set_reward": "n = self.get_theta().get('n', 0)\nself.set_theta({'n': n + 1})\nif n == 40: 1 / 0",
    }
    result = program(code).handle((100, False, True))
    assert (result.draws, result.failure.piece, result.failure.line) == (40, "set_reward", 3)
    assert (result.arms, result.reward) == ({"a": 40}, 80.0)


def test_uniform_regret_is_linear_and_thompsons_is_logarithmic() -> None:
    world = (
        "CHANCES = {'1': 0.2, '2': 0.5, '3': 0.8}\nself.expected_rewards = CHANCES\n"
        "self.reward['value'] = int(random.random() < CHANCES[self.action['treatment']])"
    )
    thompson = ENTRIES["bernoulli-thompson"].edited({"ARMS": ["1", "2", "3"]}) | {"get_reward": world}
    uniform = {"get_action": "self.action['treatment'] = random.choice('123')", "get_reward": world}

    def regrets(code: dict[str, str]) -> np.ndarray:
        runs = []
        for seed in range(20):
            simulation = program(code, seed)
            runs.append([drawn(simulation, draws, False, True).regret for draws in (250, 250, 500, 1000)])
        return np.mean(runs, axis=0)

    straight = regrets(uniform)
    # 0.3 a draw on average, with a deviation of 0.245.
    for draws, regret in zip((250, 500, 1000, 2000), straight, strict=True):
        assert abs(regret - 0.3 * draws) < 4 * 0.245 * math.sqrt(draws / 20)
    curved = regrets(thompson)
    steps = np.diff(curved)
    # Each doubling of t adds about the same: between nothing and twice the step before it.
    assert curved[-1] < 0.05 * straight[-1]
    assert steps[-1] < 2 * steps[0] + 1


def test_e_greedy_explores_on_the_ten_armed_testbed_as_in_sutton_and_barto() -> None:
    problems, steps = 60, 1000
    shares, earned = {}, {}
    for epsilon in (0.1, 0.01, 0.0):
        best, rewards = 0, 0.0
        for number in range(problems):
            environment = ten_armed(number)
            means = dict(zip(environment.arms, environment.means[0].tolist(), strict=True))
            parameters = {"ARMS": list(environment.arms), "EPSILON": epsilon, "MEANS": means}
            code = ENTRIES["e-greedy"].edited(parameters | {"DEVIATIONS": dict.fromkeys(means, 1.0)})
            simulation = program(code, number, (), False, None, "treatment")
            before = drawn(simulation, steps - 200, False, True)
            end = drawn(simulation, 200, False, True)
            best += end.arms.get(environment.arms[environment.best[0]], 0)
            rewards += end.reward - before.reward
        shares[epsilon], earned[epsilon] = best / problems / 200, rewards / problems / 200
    # Figure 2.2 of the second edition; the deviation of a share over 60 problems is about 0.06.
    assert 0.65 < shares[0.1] < 0.9
    assert 0.15 < shares[0.0] < 0.55
    assert shares[0.1] > shares[0.0]
    assert 1.15 < earned[0.1] < 1.6
    assert earned[0.1] > earned[0.0]
