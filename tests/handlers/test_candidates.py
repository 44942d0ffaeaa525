"""Several candidates in one call, learning ones in replay, given predictions: on logs of known truth."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from streamsim.evaluation import differences
from streamsim.evaluation.learning_replay import estimate, kept
from streamsim.evaluation.logs import DecisionLog
from streamsim.evaluation.offpolicy import evaluate
from streamsim.evaluation.sample import prepare
from tests.application import Caller

TRUTH = {"a": 0.3, "b": 0.5}
LEARNER = {
    "get_action": """
t = self.get_theta()
means = {arm: t.get(arm, [1, 2])[0] / t.get(arm, [1, 2])[1] for arm in 'ab'}
self.action['arm'] = max(means, key=means.get) if random.random() > 0.1 else random.choice('ab')
""",
    "set_reward": """
t, arm = self.get_theta(), self.action['arm']
wins, n = t.get(arm, [1, 2])
t[arm] = [wins + self.reward['value'], n + 1]
self.set_theta(t)
""",
}


def played(first: float) -> dict[str, Any]:
    code = f"self.action['arm'] = 'a'; self.action_probabilities = {{'a': {first}, 'b': {1 - first}}}"
    return {"code": {"get_action": code}}


def drawn(n: int, seed: int, share: float = 0.5) -> tuple[np.ndarray, DecisionLog]:
    rng = np.random.default_rng(seed)
    action = (rng.random(n) >= share).astype(int)
    reward = (rng.random(n) < np.array([0.3, 0.5])[action]).astype(float)
    p = np.where(action == 0, share, 1 - share)
    return action, DecisionLog([{}] * n, ["ab"[k] for k in action], reward, p)


def lines(data: DecisionLog) -> str:
    rows = zip(data.actions, data.rewards.tolist(), data.propensities.tolist(), strict=True)
    return "".join(
        json.dumps({"action": {"arm": a}, "reward": {"value": r}, "propensity": p}) + "\n" for a, r, p in rows
    )


def paired(seed: int, n: int = 800) -> list[differences.Difference]:
    _, data = drawn(n, seed)
    samples, shown = {}, {}
    for name, first in (("A", 0.9), ("B", 0.7), ("C", 0.2)):
        samples[name] = prepare(data, ["a", "b"], np.tile([first, 1 - first], (n, 1)))
        found = evaluate(samples[name], ["ips", "snips", "dr"], resamples=2)
        shown[name] = [{"estimator": one.estimator, "method": one.method} for one in found.estimates]
    return differences.between(samples, shown)


def test_intervals_of_differences_hold_alone_and_together() -> None:
    earned = {"A": 0.32, "B": 0.36, "C": 0.46, "log": 0.4}
    alone, together = [], []
    for seed in range(200):
        found = [one for one in paired(seed) if one.estimator == "snips"]
        assert len(found) == 6
        held = []
        for one in found:
            assert one.interval is not None
            assert one.simultaneous is not None
            truth = earned[one.first] - earned[one.second]
            alone.append(one.interval.low <= truth <= one.interval.high)
            held.append(one.simultaneous.low <= truth <= one.simultaneous.high)
        together.append(all(held))
    assert 0.92 <= np.mean(alone) <= 0.98
    assert np.mean(together) >= 0.93


def test_pairing_tells_candidates_apart_whose_own_intervals_overlap() -> None:
    one = next(
        one for one in paired(3, 2000) if one.estimator == "dr" and (one.first, one.second) == ("A", "B")
    )
    assert one.interval is not None
    width = one.interval.high - one.interval.low
    _, data = drawn(2000, 3)
    own = evaluate(prepare(data, ["a", "b"], np.tile([0.9, 0.1], (2000, 1))), ["dr"], resamples=2).estimates[
        0
    ]
    assert own.interval is not None
    assert width < 0.5 * (own.interval.high - own.interval.low)
    assert one.interval.high < 0


@pytest.mark.gen_test
async def test_one_call_judges_several_candidates_and_their_differences(ann: Caller) -> None:
    id = (await ann.experiment("logging"))["id"]
    _, data = drawn(1000, 5)
    body = {"log": lines(data), "estimators": ["snips"]}
    path = f"/eval/{id}/offpolicy"
    answer = await ann.post(path, body | {"candidates": {"A": played(0.9), "B": played(0.2)}})
    assert answer.status == 200, answer.body
    alone = {
        name: (await ann.post(path, body | {"candidate": played(first)})).body
        for name, first in (("A", 0.9), ("B", 0.2))
    }
    assert answer.body["candidates"] == alone
    values = {name: one["estimates"][0]["value"] for name, one in alone.items()}
    values["log"] = alone["A"]["log"]["mean_reward"]
    pairs = {(one["first"], one["second"]): one for one in answer.body["differences"]}
    assert pairs.keys() == {("A", "B"), ("A", "log"), ("B", "log")}
    for (first, second), one in pairs.items():
        assert one["value"] == pytest.approx(values[first] - values[second])
        assert one["simultaneous"]["low"] < one["interval"]["low"] < one["value"] < one["interval"]["high"]
    # The difference to the log is the gain of the candidate alone.
    gain = alone["A"]["estimates"][0]["gain"]
    assert pairs["A", "log"]["interval"]["low"] == pytest.approx(gain["low"])
    for bad, said in (
        ({"candidates": {}}, "1 to 10"),
        ({"candidates": {"log": played(0.5)}}, "no name"),
        ({"candidates": {"A": played(0.5)}, "candidate": played(0.5)}, "either"),
    ):
        refused = await ann.post(path, body | bad)
        assert (refused.status, refused.body["error"]["field"]) == (400, "candidates")
        assert said in refused.body["error"]["message"]
    failing = {"code": {"get_action": "1 / 0"}}
    refused = await ann.post(path, body | {"candidates": {"A": played(0.5), "B": failing}})
    assert refused.status == 422
    assert refused.body["error"]["message"].startswith("candidate B: ")


@pytest.mark.gen_test
async def test_a_learning_candidate_earns_in_replay_what_it_earns_live(ann: Caller) -> None:
    """E-greedy with 0.1 on coins of 0.3 and 0.5 earns 0.49 once it knows them; a fixed half of each 0.4."""
    id = (await ann.experiment("learner", **LEARNER))["id"]
    for share in (0.5, 0.8):
        _, data = drawn(4000, 7, share)
        body = {"candidate": {"experiment": id}, "log": lines(data), "theta": "replay", "seed": 1}
        answer = await ann.post(f"/eval/{id}/offpolicy", body)
        assert answer.status == 200, answer.body
        (one,) = answer.body["estimates"]
        # Of a log that was not uniform so many are kept that it is.
        expected = 4000 * (0.5 if share == 0.5 else 0.2)
        assert abs(one["events"] - expected) < 5 * expected**0.5
        assert one["interval"]["low"] < 0.49 < one["interval"]["high"]
        assert one["value"] > 0.44
        assert any("course of learning" in text for text in one["warnings"])
        assert answer.body["candidate"]["learnt_from"] == one["events"]


@pytest.mark.gen_test
async def test_a_learning_candidate_learns_from_the_decisions_that_count_and_no_others(ann: Caller) -> None:
    counting = {
        "get_action": "self.action['arm'] = 'a' if self.get_theta().get('n', 0) < 20 else 'b'",
        "set_reward": "self.set_theta({'n': self.get_theta().get('n', 0) + 1})",
    }
    id = (await ann.experiment("counting", **counting))["id"]
    rows = [{"action": {"arm": "ab"[n % 2]}, "reward": {"value": n % 2}} for n in range(100)]
    log = "".join(json.dumps(row) + "\n" for row in rows)
    body = {"candidate": {"experiment": id}, "log": log, "theta": "replay"}
    answer = await ann.post(f"/eval/{id}/offpolicy", body)
    (one,) = answer.body["estimates"]
    # 20 of the first 39 decisions are "a", and teach it to play "b" in the 31 that are left of those.
    assert (one["events"], one["value"]) == (51, pytest.approx(31 / 51))


def test_a_replay_of_a_log_that_was_not_uniform_counts_as_many_of_each_arm_and_is_unbiased() -> None:
    values, counts = [], np.zeros(2)
    for seed in range(200):
        action, data = drawn(1000, seed, 0.8)
        rows = [{"ab"[k]: 1.0} for k in np.random.default_rng(seed + 1000).integers(2, size=1000)]
        counts += np.bincount(action[kept(data, seed)], minlength=2)
        values.append(estimate(data, rows, seed)["value"])
    assert np.mean(values) == pytest.approx(0.4, abs=4 * np.std(values) / 200**0.5)
    assert counts[0] / counts.sum() == pytest.approx(0.5, abs=0.01)


def test_a_replay_without_propensities_says_what_it_assumes() -> None:
    _, data = drawn(100, 1)
    bare = DecisionLog(data.contexts, data.actions, data.rewards, np.full(100, np.nan))
    found = estimate(bare, [{"a": 1.0}] * 100, 0)
    assert found["events"] == data.actions.count("a")
    assert any("uniformly" in text for text in found["warnings"])
    nothing = estimate(bare, [{"z": 1.0}] * 100, 0)
    assert nothing["value"] is None


@pytest.mark.gen_test
async def test_given_predictions_are_the_reward_model(ann: Caller) -> None:
    id = (await ann.experiment("logging"))["id"]
    _, data = drawn(500, 2)
    rows = [json.loads(line) | {"q": {"a": 0.3, "b": 0.5}} for line in lines(data).splitlines()]
    log = "".join(json.dumps(row) + "\n" for row in rows)
    body = {"candidate": played(0.2), "estimators": ["dm", "dr"], "predictions_field": "q"}
    answer = await ann.post(f"/eval/{id}/offpolicy", body | {"log": log})
    assert answer.status == 200, answer.body
    assert answer.body["estimates"][0]["value"] == pytest.approx(0.2 * 0.3 + 0.8 * 0.5)
    figures = np.array([[0.3, 0.5]] * 500)
    sample = prepare(data, ["a", "b"], np.tile([0.2, 0.8], (500, 1)))
    chosen = np.array([["a", "b"].index(arm) for arm in data.actions])
    score = 0.46 + sample.weight * (data.rewards - figures[np.arange(500), chosen])
    assert answer.body["estimates"][1]["value"] == pytest.approx(score.mean())
    rows[3]["q"] = {"a": 0.3}
    lacking = "".join(json.dumps(row) + "\n" for row in rows)
    refused = await ann.post(f"/eval/{id}/offpolicy", body | {"log": lacking})
    assert (refused.status, refused.body["error"]["field"]) == (400, "predictions_field")
    assert "decision 4" in refused.body["error"]["message"]
