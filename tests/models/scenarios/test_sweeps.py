"""Sweeps: each run is that of `/run`, bands are NumPy's and draws have the moments of their distributions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from tests.application import Caller
from tests.models.conftest import MANAGER

BASE = {"scenario_manager": MANAGER, "scenario": "base", "equations": ["customers", "market_saturation"]}


@pytest.mark.gen_test
async def test_each_run_of_a_grid_is_the_run_endpoints(customers: Caller) -> None:
    parameters = {
        "contact_rate": {"from": 5, "to": 15, "step": 5},
        "advertising_success": [0.1, 0.2],
    }
    body = {**BASE, "parameters": parameters, "everyRun": True}
    answer = (await customers.post("/sweep", body)).body
    assert answer["runs"] == 6
    assert [one["parameters"] for one in answer["every_run"]] == [
        {"contact_rate": rate, "advertising_success": success}
        for rate in (5.0, 10.0, 15.0)
        for success in (0.1, 0.2)
    ]
    for one in answer["every_run"]:
        run = {
            "scenario_managers": [MANAGER],
            "scenarios": ["base"],
            "equations": BASE["equations"],
            "settings": {MANAGER: {"base": {"constants": one["parameters"]}}},
        }
        whole = (await customers.post("/run", run)).body
        assert one["equations"] == whole[MANAGER]["base"]["equations"]
    series = np.array([list(one["equations"]["customers"].values()) for one in answer["every_run"]])
    band = answer["bands"]["customers"]
    assert list(band["mean"].values()) == pytest.approx(series.mean(axis=0), rel=1e-14)
    assert list(band["max"].values()) == series.max(axis=0).tolist()
    for q in (0.05, 0.25, 0.5, 0.75, 0.95):
        assert list(band["quantiles"][repr(q)].values()) == pytest.approx(np.quantile(series, q, axis=0))


MOMENTS: dict[str, tuple[dict[str, Any], float, float]] = {
    "uniform": ({"low": 2, "high": 6}, 4, 16 / 12),
    "normal": ({"mean": 10, "sd": 2}, 10, 4),
    "triangular": ({"low": 0, "mode": 3, "high": 6}, 3, 54 / 36),
    "lognormal": ({"mu": 1, "sigma": 0.5}, math.exp(1.125), math.exp(2.25) * (math.exp(0.25) - 1)),
    "poisson": ({"mean": 4}, 4, 4),
    "binomial": ({"n": 10, "p": 0.3}, 3, 2.1),
    "beta": ({"alpha": 2, "beta": 3}, 0.4, 0.04),
    "gamma": ({"shape": 2, "scale": 3}, 6, 18),
    "discrete": ({"values": [2, 6], "weights": [3, 1]}, 3, 3),
}


@pytest.mark.gen_test
@pytest.mark.parametrize("distribution", MOMENTS)
async def test_draws_repeat_with_the_seed_and_have_the_moments(customers: Caller, distribution: str) -> None:
    numbers, mean, variance = MOMENTS[distribution]
    runs = 400
    body = {
        **BASE,
        "equations": ["contact_rate"],
        "parameters": {"contact_rate": {"distribution": distribution, **numbers}},
        "settings": {MANAGER: {"base": {"runspecs": {"stoptime": 2}}}},
        "runs": runs,
        "seed": 11,
        "everyRun": True,
    }
    answer = (await customers.post("/sweep", body)).body
    assert (await customers.post("/sweep", body)).body == answer
    assert (await customers.post("/sweep", body | {"seed": 12})).body["every_run"] != answer["every_run"]
    drawn = np.array([one["parameters"]["contact_rate"] for one in answer["every_run"]])
    # Four standard errors; the seed is fixed.
    assert abs(drawn.mean() - mean) < 4 * math.sqrt(variance / runs)
    assert drawn.var() == pytest.approx(variance, rel=0.5)
    assert answer["bands"]["contact_rate"]["mean"]["1.0"] == pytest.approx(drawn.mean())


@pytest.mark.gen_test
@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"parameters": {"nope": [1]}}, "nope"),
        ({"parameters": {}}, "parameters"),
        ({"parameters": {"contact_rate": []}}, "contact_rate"),
        ({"parameters": {"contact_rate": ["x"]}}, "contact_rate"),
        ({"parameters": {"contact_rate": {"from": 1, "to": 0, "step": 1}}}, "contact_rate"),
        ({"parameters": {"contact_rate": {"distribution": "cauchy"}}}, "uniform"),
        ({"parameters": {"contact_rate": {"distribution": "uniform", "low": 2, "high": 1}}}, "contact_rate"),
        ({"parameters": {"contact_rate": {"distribution": "normal", "mean": 1, "sd": 1}}}, "runs"),
        ({"parameters": {"contact_rate": {"distribution": "beta", "alpha": 0, "beta": 1}}}, "contact_rate"),
        ({"runs": 3}, "runs"),
        ({"quantiles": [2]}, "quantiles"),
        ({"equations": ["nope"]}, "nope"),
        ({"wrong": 1}, "wrong"),
    ],
)
async def test_bad_sweeps_are_400_that_names_the_field(
    customers: Caller, change: dict[str, Any], part: str
) -> None:
    answer = await customers.post("/sweep", {**BASE, "parameters": {"contact_rate": [1, 2]}} | change)
    assert (answer.status, part in answer.body["error"]) == (400, True), answer
