"""Sweeps with numbers at the ends of what numbers are, and of any size: refused with the reason, not 500."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from streamsim.errors import TooLarge
from streamsim.models.sweep_rows import MAX_ROW_VALUES, rows
from tests.application import Caller
from tests.models.conftest import MANAGER, error

BASE = {"scenario_manager": MANAGER, "scenario": "base", "equations": ["customers"]}
HUGE = {
    "uniform": {"distribution": "uniform", "low": -1e308, "high": 1e308},
    "triangular": {"distribution": "triangular", "low": -1e308, "mode": 0, "high": 1e308},
    "normal": {"distribution": "normal", "mean": 1e308, "sd": 1e308},
    "lognormal": {"distribution": "lognormal", "mu": 1e300, "sigma": 1},
    "range": {"from": -1e308, "to": 1e308, "count": 5},
}


def asked(**changes: Any) -> dict[str, Any]:
    return {**BASE, "parameters": {"contact_rate": [5, 6]}, "seed": 1, **changes}


def specs(**runspecs: float) -> dict[str, Any]:
    return {"settings": {MANAGER: {"base": {"runspecs": runspecs}}}}


@pytest.mark.gen_test
@pytest.mark.parametrize("kind", HUGE)
async def test_numbers_beyond_the_largest_are_refused_by_the_parameters_name(
    customers: Caller, kind: str
) -> None:
    runs = {} if kind == "range" else {"runs": 40}
    answer = await customers.post("/sweep", asked(parameters={"contact_rate": HUGE[kind]}, **runs))
    status, text = error(answer)
    assert status == 400
    assert "parameters.contact_rate" in text


@pytest.mark.gen_test
async def test_the_bound_on_size_counts_the_times_that_are_asked_for(customers: Caller) -> None:
    for runspecs in ({"stoptime": 1e9}, {"dt": 1e-9}, {"starttime": -1e12}, {"dt": 5e-324}):
        status, text = error(await customers.post("/sweep", asked(**specs(**runspecs))))
        assert status == 413, runspecs
        assert "runs x equations x times" in text
    shorter = await customers.post("/sweep", asked(**specs(stoptime=3)))
    assert shorter.status == 200
    assert list(shorter.body["bands"]["customers"]["mean"]) == ["1.0", "2.0", "3.0"]


@pytest.mark.gen_test
async def test_an_answer_with_every_run_has_a_bound_of_its_own(customers: Caller) -> None:
    draws = {"contact_rate": {"distribution": "uniform", "low": 1, "high": 2}}
    # 10,000 runs of 401 times are more than four million values.
    body = asked(parameters=draws, runs=10_000, **specs(starttime=0, stoptime=400))
    status, text = error(await customers.post("/sweep", {**body, "everyRun": True}))
    assert (status, text) == (413, "with everyRun runs x equations x times may be at most 4000000")
    job = await customers.post("/sweep", {**body, "background": True})
    assert job.status == 202
    await customers.delete(f"/jobs/{job.body['id']}")


@pytest.mark.gen_test
async def test_runspecs_that_make_no_run_are_refused(customers: Caller) -> None:
    for runspecs in ({"dt": 0}, {"dt": -1}, {"stoptime": -5}):
        status, text = error(await customers.post("/sweep", asked(**specs(**runspecs))))
        assert status == 400, runspecs
        assert "runspecs" in text


@pytest.mark.gen_test
async def test_a_grid_of_any_size_is_refused_before_it_is_made(customers: Caller) -> None:
    wide = {"from": 1, "to": 2, "count": 10_000}
    grid = {f"customers{' ' * number}": wide for number in range(300)}
    status, text = error(await customers.post("/sweep", asked(parameters=grid)))
    assert status == 400, "a name that the model does not have comes first"
    two = {"contact_rate": wide, "advertising_success": wide}
    status, text = error(await customers.post("/sweep", asked(parameters=two)))
    assert (status, "at most" in text) == (413, True)


def test_a_sweep_holds_two_million_values_of_parameters_and_no_more() -> None:
    most, drawn = MAX_ROW_VALUES, {"distribution": "uniform", "low": 0, "high": 1}
    runs = 10_000
    just = {f"p{number}": drawn for number in range(most // runs)}
    found, seeds = rows({"parameters": just, "runs": runs}, 1, runs, keep_whole=False)
    assert len(found) * len(found[0]) == most
    assert len(seeds) == runs
    with pytest.raises(TooLarge, match=f"at most {most}"):
        rows({"parameters": {**just, "more": drawn}, "runs": runs}, 1, runs, keep_whole=False)
    with pytest.raises(TooLarge, match=f"at most {most}"):
        rows({"parameters": {**just, "more": [1]}, "seeds": runs, "runs": 1}, 1, runs, keep_whole=False)


@pytest.mark.parametrize(
    "wide",
    [
        {"from": 0, "to": 1, "count": MAX_ROW_VALUES // 200},
        {"from": 0, "to": 1, "step": 1e-9},
        [0.5] * (MAX_ROW_VALUES // 200),
    ],
)
def test_lists_and_ranges_are_counted_before_they_are_made(wide: Any) -> None:
    many = {f"p{number}": wide for number in range(201)}
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge, match=f"more than {MAX_ROW_VALUES} values"):
            rows({"parameters": many}, 1, 10_000, keep_whole=False)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
