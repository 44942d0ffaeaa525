"""Published off-policy estimates, each from its log sent over HTTP, to the digits that were published."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

from tests.application import Caller
from tests.support import Answer

PUBLISHED = Path(__file__).parent.parent / "evaluation" / "published"


async def send(ann: Caller, id: str, log: bytes, type: str, query: str, **headers: str) -> Any:
    path = f"/eval/{id}/offpolicy?candidate={id}&{query}"
    answer: Answer = await ann.request("POST", path, body=log, headers={"Content-Type": type, **headers})
    assert answer.status == 200, answer.body
    return answer.body


def lines(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


@pytest.mark.parametrize("settings", [{"server.max_body_bytes": 8192}], indirect=True)
@pytest.mark.gen_test
async def test_raw_rows_of_the_open_bandit_dataset_give_the_published_gain_of_thompson_sampling(
    ann: Caller,
) -> None:
    drawn = json.loads((PUBLISHED / "bernoulli_thompson.json").read_text())
    code = f"""
counts = {drawn["counts_by_position"]!r}[self.context['position'] - 1]
self.action_probabilities = {{item: n / {drawn["runs"]} for item, n in enumerate(counts)}}
self.action['arm'] = random.choices(range(80), counts)[0]
"""
    id = (await ann.experiment("thompson", get_action=code))["id"]
    query = (
        "estimators=ips&action_field=item_id&reward_field=click&propensity_field=propensity_score"
        "&context_fields=position"
    )
    raw = (PUBLISHED / "open_bandit_random_all.csv.gz").read_bytes()
    whole = gzip.decompress(raw)
    assert len(whole) > 500 * 8192  # far over the limit of other bodies
    answer = await send(ann, id, whole, "text/csv", query)
    log, (ips,) = answer["log"], answer["estimates"]
    assert log["rows"] == 10_000
    assert log["mean_reward"] == pytest.approx(0.0038, rel=1e-12)
    assert round(ips["value"], 6) == 0.004553
    assert ips["value"] / log["mean_reward"] == pytest.approx(1.1981263157894735, rel=1e-12)
    coded = {"Content-Encoding": "gzip"}
    assert await send(ann, id, raw, "text/csv", query, **coded) == answer


@pytest.mark.gen_test
async def test_digits_give_the_published_relative_error_to_all_digits(ann: Caller) -> None:
    x, y = load_digits(return_X_y=True)
    train, test, known, truth = train_test_split(x, y, test_size=0.7, random_state=12345)
    n = len(truth)
    logging = np.full((n, 10), (1 - 0.8) / 10)
    chosen = LogisticRegression(random_state=12345, max_iter=10_000).fit(train, known).predict(test)
    logging[np.arange(n), chosen] = 0.8 + (1 - 0.8) / 10
    rng = np.random.RandomState(12345)
    arms = [int(rng.choice(10, p=p, replace=False)) for p in logging]
    evaluated = RandomForestClassifier(random_state=12345).fit(train, known).predict(test)
    right = float((evaluated == truth).mean())
    assert right == 0.9634340222575517
    code = f"self.action['arm'] = '{''.join(map(str, evaluated))}'[self.context['row']]\n"
    id = (
        await ann.experiment(
            "digits", get_action=code + "self.action_probabilities = {self.action['arm']: 1}"
        )
    )["id"]
    rows = [
        {
            "context": {"row": row},
            "action": arm,
            "reward": int(arm == truth[row]),
            "propensity": logging[row, arm],
        }
        for row, arm in enumerate(arms)
    ]
    answer = await send(ann, id, lines(rows), "application/x-ndjson", "estimators=ips")
    assert answer["log"]["rows"] == 1258
    value = answer["estimates"][0]["value"]
    assert abs(value - right) / right == pytest.approx(0.01827255896321327, rel=1e-11)


def synthetic(n: int) -> tuple[np.ndarray, ...]:
    """The log of `SyntheticBanditDataset` of Open Bandit Pipeline with 10 arms, logistic rewards, a linear
    logging policy and seed 12345: arms, rewards, propensities, expected rewards."""
    rng, first, second = (np.random.RandomState(12345) for _ in range(3))
    x = rng.normal(size=(n, 5))
    logits = (x @ first.uniform(size=5))[:, None] + first.uniform(size=10)
    logits = np.exp(logits - logits.max(axis=1, keepdims=True))
    chances = logits / logits.sum(axis=1, keepdims=True)
    arms = np.array([rng.choice(10, p=p) for p in chances])
    expected = 1 / (1 + np.exp(-(x @ second.uniform(size=(10, 5)).T + second.uniform(size=10))))
    rewards = rng.binomial(1, expected[np.arange(n), arms])
    return arms, rewards, chances[np.arange(n), arms], expected


@pytest.mark.gen_test
async def test_the_synthetic_log_gives_the_values_that_its_package_computes(ann: Caller) -> None:
    n = 3000
    arms, rewards, propensities, expected = synthetic(n)
    # As its documentation prints them.
    assert expected[0, :3] == pytest.approx([0.80210203, 0.73828559, 0.83199558], abs=5e-9)
    assert {0.05423855, 0.10339675, 0.14065505} <= set(propensities.round(8).tolist())
    best = "".join(map(str, expected.argmax(axis=1)))
    code = f"""
best = '{best}'[self.context['row']]
self.action_probabilities = {{arm: 0.82 if arm == best else 0.02 for arm in '0123456789'}}
self.action['arm'] = best
"""
    id = (await ann.experiment("greedy", get_action=code))["id"]
    rows = [
        {
            "row": row,
            "chosen": int(arms[row]),
            "click": int(rewards[row]),
            "pscore": propensities[row],
            "q": dict(zip("0123456789", expected[row].tolist(), strict=True)),
        }
        for row in range(n)
    ]
    query = (
        "action_field=chosen&reward_field=click&propensity_field=pscore&predictions_field=q&context_fields=row"
        "&estimators=ips,snips,dm,dr"
    )
    answer = await send(ann, id, lines(rows), "application/x-ndjson", query)
    found = [one["value"] for one in answer["estimates"]]
    published = [0.7014323692696999, 0.7205995165890401, 0.7481207973447648, 0.7207249749323458]
    assert found == pytest.approx(published, rel=1e-12)
    assert answer["log"]["ignored"] == []
