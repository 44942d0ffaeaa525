"""Lock-in feedback against a direct computation of the paper's two algorithms."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from streamsim import values
from streamsim.estimators import lif


def trajectory(
    version: int, outcomes: Any, *, x0: float, a: float, t: int, gamma: float, omega: float
) -> Any:
    """Centres before each step, computed from the arrays as a whole."""
    centres, products = [x0], []
    for step in range(1, 121):
        x = centres[-1] + a * np.cos(omega * step)
        products.append(a * np.cos(omega * step) * outcomes(x))
        move = 0.0
        if (version == 1 and step % t == 0) or (version == 2 and step >= t):
            move = gamma * np.sum(products[-t:])
        centres.append(centres[-1] + move)
    return centres


OPTIONS: dict[str, Any] = {"x0": 3.0, "a": 0.5, "t": 20, "gamma": 0.01, "omega": 2 * np.pi / 10}


@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("stores_suggestion", [True, False])
def test_centres_follow_the_paper(version: int, stores_suggestion: bool) -> None:
    def outcome(x: float) -> float:
        return 10 - (x - 5) ** 2

    theta: Any = {}
    centres = []
    for step in range(1, 121):
        deciding = lif.LiF(theta, **OPTIONS, lifversion=version)
        suggestion = deciding.suggest()
        assert suggestion["t"] == step
        centres.append(suggestion["x0"])
        if stores_suggestion:
            theta = json.loads(values.dump(values.plain(deciding.get_dict(), "theta")))
        learning = lif.LiF(theta, **OPTIONS, lifversion=version)
        learning.update(suggestion["t"], suggestion["x"], outcome(suggestion["x"]), suggestion["x0"])
        theta = json.loads(values.dump(values.plain(learning.get_dict(), "theta")))
    assert centres == pytest.approx(trajectory(version, outcome, **OPTIONS)[:-1], rel=1e-9)
    assert (
        learning.get_value()
        == learning.get_x0()
        == pytest.approx(trajectory(version, outcome, **OPTIONS)[-1], rel=1e-9)
    )


@pytest.mark.parametrize("version", [1, 2])
def test_centre_climbs_to_the_maximum_under_noise(version: int) -> None:
    rng = np.random.default_rng(50)
    model = lif.LiF({}, x0=0.0, a=1.0, t=20, gamma=0.005 if version == 1 else 0.0005, omega=np.pi / 5)
    model.lifversion = version
    for _ in range(3000):
        s = model.suggest()
        model.update(s["t"], s["x"], -((s["x"] - 5) ** 2) + rng.normal(0, 1))
    assert model.get_value() == pytest.approx(5, abs=0.5)


def test_the_mean_product_over_whole_periods_is_half_the_squared_amplitude_times_the_slope() -> None:
    model = lif.LiF({}, x0=2.0, a=0.5, t=40, gamma=1 / 40, omega=np.pi / 10, lifversion=1)
    for _ in range(40):
        s = model.suggest()
        model.update(s["t"], s["x"], 7 + 3 * s["x"])
    assert model.get_value() - 2.0 == pytest.approx(0.5**2 / 2 * 3)


def test_a_late_outcome_does_not_bring_an_old_centre_back() -> None:
    model = lif.LiF({"Yw": [], "t": 50, "x0": 4.0}, t=20)
    model.update(3, 1.1, 0.0, 1.0)
    assert (model.theta["x0"], model.theta["t"]) == (4.0, 50)


def test_states_that_streamingbandit_stored_are_read() -> None:
    window = json.dumps([[1.0, 2.5, 0.25], [float("nan")] * 3])
    model = lif.Lif({"Yw": window, "t": "1", "x0": "2.0"}, A=0.5, T=2, gamma=1, omega=0.0)
    assert model.get_dict() == {"Yw": [[1.0, 2.5, 0.25]], "t": 1, "x0": 2.0, "due": False}
    model.update(2, 2.5, 0.5)
    assert model.get_value() == pytest.approx(2.0 + 0.25 + 0.5 * 0.5)
    assert lif.LiF(None).get_dict() == {"Yw": [], "t": 0, "x0": 1.0, "due": False}


def test_a_state_of_before_goes_on_with_the_mean_of_the_window() -> None:
    model = lif.LiF({"Yw": [[1, 2.5, 0.25]], "t": 1, "x0": 2.0}, a=0.5, t=2, gamma=1, omega=0.0, lifversion=1)
    model.update(2, 2.5, 0.5)
    assert model.get_dict() == {"Yw": [], "t": 2, "x0": pytest.approx(2.0 + (0.25 + 0.25) / 2)}


@pytest.mark.parametrize("stores_suggestion", [True, False])
def test_it_learns_as_fast_as_streamingbandits(stores_suggestion: bool) -> None:
    # The centres that StreamingBandit had stored after so many draws, on -(x - 5)^2.
    expected = {200: 4.23, 400: 4.73, 999: 4.99}
    options: Any = {"x0": 3.0, "a": 0.5, "t": 20, "gamma": 0.02, "omega": 2 * np.pi / 20, "lifversion": 1}
    theta: Any = {}
    for draw in range(1, 1000):
        deciding = lif.LiF(theta, **options)
        suggestion = deciding.suggest()
        theta = deciding.get_dict() if stores_suggestion else theta
        learning = lif.LiF(theta, **options)
        learning.update(suggestion["t"], suggestion["x"], -((suggestion["x"] - 5) ** 2))
        theta = json.loads(json.dumps(learning.get_dict()))
        if draw in expected:
            assert theta["x0"] == pytest.approx(expected[draw], abs=0.006)


def test_bad_options_are_refused() -> None:
    with pytest.raises(ValueError, match="lifversion"):
        lif.LiF({}, lifversion=3)
    with pytest.raises(ValueError, match="window"):
        lif.LiF({}, t=0)
