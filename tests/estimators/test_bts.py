"""The double-or-nothing bootstrap against the sampling theory it stands for."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np
import pytest
from scipy import stats

from streamsim import values
from streamsim.estimators import base, bts, lm


def stored(model: Any) -> Any:
    return json.loads(values.dump(values.plain(model.get_dict(), "theta")))


def test_each_observation_is_doubled_or_dropped_with_probability_one_half() -> None:
    random.seed(40)
    model = bts.BTS({}, base.Mean, m=400)
    for _ in range(10):
        model = bts.BTS(stored(model), base.Mean, m=400)
        model.update(1.0)
    counts = np.array([state.get("n", 0) for state in stored(model).values()])
    assert (counts % 2 == 0).all()
    observed = np.bincount(counts // 2, minlength=11)
    law = stats.binom(10, 0.5).pmf(range(11)) * 400
    tails = [slice(0, 3), *[slice(i, i + 1) for i in range(3, 8)], slice(8, 11)]
    assert stats.chisquare([observed[t].sum() for t in tails], [law[t].sum() for t in tails]).pvalue > 0.001


def test_spread_of_the_replicates_is_the_standard_error_of_the_mean() -> None:
    random.seed(41)
    sample = np.random.default_rng(41).normal(5, 2, 300)
    model = bts.BTS({}, base.Mean, m=500)
    for value in sample:
        model.update(value)
    assert np.mean(model.get_value()) == pytest.approx(sample.mean(), abs=0.05)
    assert np.std(model.get_value()) == pytest.approx(sample.std() / np.sqrt(300), rel=0.15)


def test_sample_gives_each_replicate_equally_often() -> None:
    random.seed(42)
    model = bts.BTS({str(i): {"n": i, "m": 0.0} for i in range(4)}, base.Mean, m=4)
    drawn = np.bincount([model.sample()["n"] for _ in range(2000)])
    assert stats.chisquare(drawn).pvalue > 0.001


def test_fresh_linear_replicates_differ_by_noise_in_the_vector_alone() -> None:
    np.random.seed(43)
    default = {"b": np.zeros(4).tolist(), "A": np.identity(4).tolist(), "n": 0}
    model = bts.BTS({}, lm.LM, m=300, default_params=default)
    b = np.array([state["b"] for state in stored(model).values()])
    assert stats.kstest(b.ravel() / 0.1, stats.norm.cdf).pvalue > 0.001
    for state in stored(model).values():
        assert (state["A"], state["n"]) == (default["A"], 0)
    quiet = bts.BTS({}, lm.LM, m=2, default_params=default, param_noise=False)
    assert stored(quiet) == {"0": default, "1": default}


def test_linear_replicates_learn_with_update_arguments() -> None:
    random.seed(44)
    rng = np.random.default_rng(44)
    default = {"b": [0, 0, 0], "A": np.identity(3).tolist(), "n": 0}
    model = bts.BTS({}, lm.LM, m=50, default_params=default, noisesd=0.1)
    for _ in range(200):
        x = rng.normal(size=3)
        model.update(x @ [1, 2, 3], x.tolist(), discount=1)
    assert np.mean(model.get_value(), axis=0) == pytest.approx([1, 2, 3], abs=0.05)
    assert lm.LM(default=model.sample()).get_coefs().shape == (3,)


def test_replicates_stored_as_text_are_read() -> None:
    text = {str(i): str({"n": i, "m": 0.5}) for i in range(3)}
    assert bts.BTS(text, base.Mean, m=3).get_dict()["2"] == {"n": 2, "m": 0.5}


def test_another_number_of_replicates_keeps_what_was_learnt() -> None:
    random.seed(45)
    learnt = {str(i): {"n": 6, "m": float(i)} for i in range(5)}
    fewer = bts.BTS(learnt, base.Mean, m=2).get_dict()
    assert fewer == {"0": learnt["0"], "1": learnt["1"]}
    more = bts.BTS(learnt, base.Mean, m=12, default_params={"n": 0, "m": 0}).get_dict()
    assert len(more) == 12
    assert {key: more[key] for key in learnt} == learnt
    assert all(state["n"] == 6 for state in more.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"params": {}}, "update_method"),
        ({"params": {}, "update_method": "LM"}, "update_method"),
        ({"params": [], "update_method": lm.LM}, "params"),
        ({"params": {}, "update_method": lm.LM, "m": 0}, "m, the number"),
    ],
)
def test_bad_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bts.BTS(**arguments)
