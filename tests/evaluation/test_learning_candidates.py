"""A candidate that learned from a log is judged on other decisions, or the answer says that it was not."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from streamsim import values
from streamsim.evaluation.estimation import Estimation
from streamsim.evaluation.wire import EstimatesLoad
from streamsim.programs.propensity import Program
from tests.application import Caller
from tests.programs.test_simulate import Channel

ARMS, TRUTH, N = 10, 0.3, 300
# Plays the arm with the best mean so far: any policy earns TRUTH, for all arms are alike.
GREEDY = {
    "get_context": "",
    "get_action": f"""
arms = [str(arm) for arm in range({ARMS})]
best = base.List(self.get_theta(key="arm"), base.Mean, arms).argmax()
self.action["arm"] = random.choice(best)
self.action_probabilities = dict.fromkeys(arms, 0.0) | dict.fromkeys(best, 1 / len(best))
""",
    "get_reward": "",
    "set_reward": """
mean = base.Mean(self.get_theta(key="arm", value=self.action["arm"]))
mean.update(self.reward["value"])
self.set_theta(mean, key="arm", value=self.action["arm"])
""",
}


def log(seed: int) -> list[bytes]:
    rng = np.random.default_rng(seed)
    return [
        values.dump(
            {
                "action": {"arm": str(rng.integers(ARMS))},
                "reward": {"value": int(rng.random() < TRUTH)},
                "propensity": 1 / ARMS,
            }
        )
        for _ in range(N)
    ]


def judged(theta: str, seed: int) -> dict[str, Any]:
    """SNIPS of the candidate. :param theta: "current" is what it learned from the whole log."""
    estimation = Estimation(EstimatesLoad("jsonl", "arm", None, N, ["snips"], 0))
    estimation.add_text(b"\n".join(log(seed)))
    n = estimation.read()
    program = Program(("e", GREEDY, {}, 5, [], 2, "arm"), Channel())  # type: ignore[arg-type]

    def ask(first: int, last: int, *, judge: bool, learn: bool) -> None:
        records = estimation.records(first, last - first, 1 << 30)
        answer = program.handle((first, records, judge, learn))
        assert answer.failure is None
        if judge:
            estimation.add_probabilities(answer.rows, sum(answer.exact))

    half = estimation.split() if theta == "split" else 0
    if theta != "progressive":
        ask(0, half or n, judge=False, learn=True)
    ask(half, n, judge=True, learn=theta == "progressive")
    answer = estimation.answer(2, theta)  # type: ignore[arg-type]
    assert answer["candidate"]["exact_rows"] == n - half
    estimate: dict[str, Any] = answer["estimates"][0]
    return estimate


@cache
def repeated(theta: str) -> list[dict[str, Any]]:
    return [judged(theta, seed) for seed in range(60)]


def covered(theta: str) -> float:
    return float(
        np.mean([one["interval"]["low"] <= TRUTH <= one["interval"]["high"] for one in repeated(theta)])
    )


def bias(theta: str) -> float:
    return float(np.mean([one["value"] for one in repeated(theta)])) - TRUTH


def test_judged_on_its_own_lessons_a_candidate_looks_better_than_it_is() -> None:
    # Why "current" has a warning.
    assert bias("current") > 0.1
    assert covered("current") < 0.9


@pytest.mark.parametrize("theta", ["split", "progressive"])
def test_judged_on_other_decisions_a_candidate_is_what_it_is(theta: str) -> None:
    spread = float(np.std([one["value"] for one in repeated(theta)])) / 60**0.5
    assert abs(bias(theta)) < 3 * spread
    assert covered(theta) >= 0.85


@pytest.mark.gen_test
async def test_an_own_log_is_split_by_default_and_a_candidate_judged_on_its_own_lessons_has_a_warning(
    ann: Caller,
) -> None:
    code = GREEDY | {
        "get_action": GREEDY["get_action"].replace("random.choice(best)", "random.choice(arms)")
        + "self.action_probabilities = dict.fromkeys(arms, 0.1)\n"
    }
    experiment = await ann.experiment("learning", **code)
    key = experiment["key"]
    for place in range(40):
        decided = (await ann.get(f"/getaction/{experiment['id']}", key=key)).body
        assert (
            await ann.get(
                f"/setreward/{experiment['id']}",
                key=key,
                action=values.dump(decided["action"]).decode(),
                reward=values.dump({"value": place % 2}).decode(),
            )
        ).status == 200
    path = f"/eval/{experiment['id']}/offpolicy"
    candidate = {"candidate": {"code": {"get_action": GREEDY["get_action"]}}, "estimators": ["snips"]}
    answer = await ann.post(path, candidate)
    assert answer.status == 200, answer.body
    assert (answer.body["candidate"]["theta"], answer.body["candidate"]["learnt_from"]) == ("split", 20)
    assert answer.body["log"]["rows"] == 20
    assert "judged on the same ones" not in str(answer.body)
    same = await ann.post(path, candidate | {"theta": "current"})
    assert same.body["log"]["rows"] == 40
    assert "judged on the same ones" in same.body["estimates"][0]["warnings"][0]
    each = await ann.post(path, candidate | {"theta": "progressive"})
    assert (each.body["candidate"]["learnt_from"], each.body["log"]["rows"]) == (40, 40)
    # Code that cannot learn from the log: by default said, and refused where it was asked for.
    broken = {"candidate": {"code": {"get_action": GREEDY["get_action"], "set_reward": "1 / 0"}}}
    fallen = await ann.post(path, broken | {"estimators": ["snips"]})
    assert fallen.status == 200
    assert fallen.body["candidate"]["theta"] == "current"
    assert "could not learn anew" in fallen.body["estimates"][0]["warnings"][0]
    refused = await ann.post(path, broken | {"theta": "split"})
    assert refused.status == 422
    assert (await ann.post(path, candidate | {"theta": "half"})).body["error"]["field"] == "theta"
