"""Streaming moments against NumPy on the whole sample."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any, ClassVar

import numpy as np
import pytest
from scipy import stats

from streamsim import values
from streamsim.estimators import base


def stored(estimator: Any) -> Any:
    """The state as it comes back from theta."""
    return json.loads(values.dump(values.plain(estimator.get_dict(), "theta")))


def fed(kind: Any, observations: Any) -> Any:
    """An estimator that is rebuilt from its JSON state before each observation."""
    estimator = kind({})
    for observation in observations:
        estimator = kind(stored(estimator))
        estimator.update(observation)
    return estimator


SAMPLES = {
    "small": np.random.default_rng(1).normal(3, 2, 257),
    "large mean, small spread": np.random.default_rng(2).normal(1e9, 1e-2, 400),
    "heavy tail": np.random.default_rng(3).standard_cauchy(300),
    "constant": np.full(20, 0.1),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_mean_and_variance_equal_those_of_the_whole_sample(name: str) -> None:
    sample = SAMPLES[name]
    mean, variance = fed(base.Mean, sample), fed(base.Variance, sample)
    assert mean.get_value() == pytest.approx(sample.mean(), rel=1e-12)
    assert mean.get_count() == variance.get_count() == len(sample)
    assert variance.get_value() == pytest.approx(sample.var(ddof=1), rel=1e-6, abs=1e-30)
    assert variance.get_dict()["x_bar"] == pytest.approx(sample.mean(), rel=1e-12)
    assert variance.get_dict()["s"] == pytest.approx(sample.var() * len(sample), rel=1e-6, abs=1e-30)


@pytest.mark.parametrize("offset", [0.0, 1e8])
@pytest.mark.parametrize("slope", [-2.0, 0.0, 0.5])
def test_covariance_and_correlation_equal_those_of_the_whole_sample(offset: float, slope: float) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(offset, 1, 300)
    y = slope * (x - offset) + rng.normal(-offset, 0.3, 300)
    pairs = [{"x": a, "y": b} for a, b in zip(x, y, strict=True)]
    covariance, correlation = fed(base.Covariance, pairs), fed(base.Correlation, pairs)
    assert covariance.get_value() == pytest.approx(np.cov(x, y)[0, 1], rel=1e-6)
    assert correlation.get_value() == pytest.approx(np.corrcoef(x, y)[0, 1], rel=1e-6)
    state = correlation.get_dict()
    assert state["cov"] == pytest.approx(np.cov(x, y)[0, 1], rel=1e-6)
    assert (state["x_v"], state["y_v"]) == pytest.approx((x.var(ddof=1), y.var(ddof=1)), rel=1e-6)


def test_correlation_of_a_line_is_one_and_of_a_constant_zero() -> None:
    line = fed(base.Correlation, [{"x": i, "y": -3 * i} for i in range(50)])
    assert line.get_value() == pytest.approx(-1)
    assert -1 <= line.get_value() <= 1
    assert fed(base.Correlation, [{"x": i, "y": 7} for i in range(5)]).get_value() == 0


def test_proportion_equals_the_share_of_successes() -> None:
    sample = np.random.default_rng(5).random(300) < 0.3
    proportion = fed(base.Proportion, sample)
    assert proportion.get_value() == pytest.approx(sample.mean(), rel=1e-12)
    assert proportion.get_dict()["n"] == 300


@pytest.mark.parametrize("value", [-0.1, 1.5, float("nan")])
def test_proportion_refuses_what_is_no_share_and_stays_as_it_was(value: float) -> None:
    proportion = base.Proportion({"n": 4, "p": 0.5})
    with pytest.raises(ValueError, match="from 0 to 1"):
        proportion.update(value)
    assert proportion.get_dict() == {"n": 4, "p": 0.5}


def test_count_counts() -> None:
    count = base.Count({})
    count.update()
    count.update(4)
    count.increment()
    assert count.get_dict() == {"n": 6}
    assert type(count.get_dict()["n"]) is int


@pytest.mark.parametrize("kind", [base.Count, base.Mean, base.Variance, base.Proportion])
def test_numbers_stored_as_text_are_numbers(kind: Any) -> None:
    estimator = kind({})
    for observation in (1, 0, 1):
        estimator.update(observation)
    as_text = kind({name: str(value) for name, value in estimator.get_dict().items()})
    assert as_text.get_dict() == pytest.approx(estimator.get_dict())
    estimator.update("1")
    as_text.update("1")
    assert as_text.get_value() == pytest.approx(estimator.get_value())


def test_a_state_of_another_estimator_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="Variance needs 'x_bar'"):
        base.Variance({"n": 3, "m": 1.0})
    with pytest.raises(ValueError, match="a group of dicts, get one with get_theta"):
        base.Mean({"control": {"n": 3, "m": 1.0}})
    with pytest.raises(ValueError, match="is not a number"):
        base.Mean({"n": 3, "m": "high"})


def test_building_an_estimator_leaves_the_stored_dict_alone() -> None:
    state = {"n": 1, "m": 2.0}
    base.Mean(state).update(5)
    assert state == {"n": 1, "m": 2.0}
    base.Mean({}).update(5)
    assert base.Mean({}).get_dict() == {"n": 0, "m": 0}


def test_operators_change_the_main_figure_in_place_and_return_it() -> None:
    mean: Any = base.Mean({"n": 2, "m": 1.5})
    assert mean + 1 == 2.5
    assert mean - 0.5 == 2.0
    assert mean * 3 == 6.0
    assert mean / 4 == 1.5
    mean += 1
    assert isinstance(mean, base.Mean)
    assert mean.get_dict() == {"n": 2, "m": 2.5}
    count = base.Count({"n": 2})
    count + 3
    assert count.get_dict() == {"n": 5}


@pytest.mark.parametrize(
    ("estimator", "change"),
    [(base.Variance({}), -1), (base.Proportion({}), 1.5), (base.Correlation({}), -2)],
    ids=["variance", "proportion", "correlation"],
)
def test_operators_keep_a_figure_in_its_bounds(estimator: Any, change: float) -> None:
    with pytest.raises(ValueError, match="lies from"):
        estimator + change
    assert estimator.get_value() == 0
    negative = base.Covariance({})
    assert negative - 2 == -2, "a covariance may be negative"


def test_a_changed_variance_is_where_later_updates_start() -> None:
    variance = fed(base.Variance, [1.0, 2.0, 4.0])
    doubled = variance * 2
    assert variance.get_dict()["s"] == pytest.approx(doubled * 2)


class TestList:
    THETA: ClassVar[dict[str, dict[str, float]]] = {
        "a": {"n": 3, "m": 1.0}, "b": {"n": 5, "m": 4.0}, "c": {"n": 2, "m": -1.0},
    }  # fmt: skip

    def test_extremes_counts_values_and_states(self) -> None:
        means = base.List(self.THETA, base.Mean, ["a", "b", "c"])
        assert (means.max(), means.min(), means.count()) == ("b", "c", 10)
        assert means.get_value() == {"a": 1.0, "b": 4.0, "c": -1.0}
        assert means.get_dict() == self.THETA
        assert (means.size, means.num_values, means.value_names) == (3, 3, ["a", "b", "c"])
        assert means.random() in "abc"

    def test_the_greatest_of_negative_figures_is_found(self) -> None:
        means = base.List({"a": {"n": 1, "m": -5.0}, "b": {"n": 1, "m": -2.0}}, base.Mean, ["a", "b"])
        assert {means.max() for _ in range(20)} == {"b"}

    def test_ties_break_evenly_at_random(self) -> None:
        random.seed(6)
        tied = base.List({"c": {"n": 1, "m": -1.0}}, base.Mean, ["a", "b", "c", "d"])
        assert tied.argmax() == ["a", "b", "d"]
        chosen = Counter(tied.max() for _ in range(3000))
        assert set(chosen) == {"a", "b", "d"}
        assert stats.chisquare(list(chosen.values())).pvalue > 0.001

    def test_an_added_name_starts_fresh_and_a_dropped_one_is_not_chosen(self) -> None:
        means = base.List(self.THETA, base.Mean, ["a", "new"])
        assert means.get_value() == {"a": 1.0, "new": 0.0}
        assert means.max() == "a"
        assert means.count() == 3

    def test_names_that_are_numbers_find_their_stored_text(self) -> None:
        means = base.List({"1": {"n": 2, "m": 3.0}}, base.Mean, [1, 2])
        assert means.max() == 1
        assert means.get_dict() == {"1": {"n": 2, "m": 3.0}, "2": {"n": 0, "m": 0}}

    def test_nothing_stored_gives_any_name(self) -> None:
        random.seed(7)
        empty = base.List({}, base.Proportion, ["x", "y"])
        assert {empty.max() for _ in range(50)} == {"x", "y"}
        assert empty.count() == 0


def test_a_list_draws_a_random_number_only_to_break_a_tie() -> None:
    arms = base.List({"a": {"n": 1, "m": 1.0}, "b": {"n": 1, "m": 2.0}}, base.Mean, ["a", "b"])
    random.seed(1)
    before = random.getstate()
    assert (arms.max(), arms.min()) == ("b", "a")
    assert random.getstate() == before
