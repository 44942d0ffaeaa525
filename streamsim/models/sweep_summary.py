"""What a sweep is asked for, and its runs summarised over time; see `sweeps`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamsim.models import answers
from streamsim.models.engines.base import Outputs, Refused, time_text
from streamsim.models.sweep_agents import nested
from streamsim.models.sweep_rows import Row
from streamsim.values import JsonObject


class Plan(msgspec.Struct, frozen=True):
    """A sweep that was checked: its runs as rows of constants, so many of them in a part.

    `seeds`: by run; in plans that have none they follow from `seed`, so that parts of any size have the same
    numbers. `outputs`: what each run answers, and `paths`: where in that the figures of agents are; in plans
    without them the equations alone.
    """

    model: str
    version: int
    manager: str
    scenario: str
    equations: list[str]
    names: list[str]
    rows: list[Row]
    seed: int
    quantiles: list[float]
    settings: JsonObject
    every_run: bool
    size: int
    rules: int = 0
    seeds: list[int] = []
    outputs: Outputs | None = None
    paths: list[list[str]] = []

    def seeds_of(self, first: int, count: int) -> list[int]:
        """The seeds of so many runs from one on."""
        if self.seeds:
            return self.seeds[first : first + count]
        return [(self.seed + number) % 2**63 for number in range(first + 1, first + count + 1)]


TIMES_MOVE: Final = "sweep: the values of a parameter move the model's own times"
_PLAN: Final = msgspec.json.Decoder(Plan)


def summary(plan_text: bytes, parts: Iterable[bytes]) -> JsonObject:
    """Bands over all runs: mean, extremes and quantiles by equation and time.

    :param plan_text: the `Plan` as JSON. :param parts: what workers answered, in order.
    :raises Refused: runs have different times.
    """
    plan = _PLAN.decode(plan_text)
    decoded = [answers.decoded(answers.sweep_part, msgspec.Raw(data)) for data in parts]
    times = [time_text(time) for time in decoded[0].times]
    agent_times = decoded[0].agent_times
    if any((part.times, part.agent_times) != (decoded[0].times, agent_times) for part in decoded):
        raise Refused(TIMES_MOVE)
    # Each is runs x series x times.
    table = np.array([run for part in decoded for run in part.values], dtype=float)
    agents = np.array([run for part in decoded for run in part.agents], dtype=float)
    del decoded
    result: JsonObject = {
        "scenario_manager": plan.manager,
        "scenario": plan.scenario,
        "runs": len(plan.rows),
        "seed": plan.seed,
        "bands": dict(zip(plan.equations, _bands(table, times, plan.quantiles), strict=True))
        if plan.equations
        else {},
    }
    if plan.paths:
        result["agents"] = nested(plan.paths, _bands(agents, agent_times, plan.quantiles))
    if plan.every_run:
        result["every_run"] = [
            {"parameters": dict(zip(plan.names, row, strict=True)), "seed": seed}
            for row, seed in zip(plan.rows, plan.seeds_of(0, len(plan.rows)), strict=True)
        ]
        for index, one in enumerate(result["every_run"]):
            if plan.equations:
                one["equations"] = dict(zip(plan.equations, _series(table[index], times), strict=True))
            if plan.paths:
                one["agents"] = nested(plan.paths, _series(agents[index], agent_times))
    return result


def _series(rows: NDArray[np.float64], times: list[str]) -> list[JsonObject]:
    return [dict(zip(times, row.tolist(), strict=True)) for row in rows]


def _bands(table: NDArray[np.float64], times: list[str], quantiles: list[float]) -> list[JsonObject]:
    """Of each series of runs x series x times."""
    with warnings.catch_warnings():
        # Where no run has a finite value, neither has the band.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = _series(np.nanmean(table, axis=0), times)
        low, high = _series(np.nanmin(table, axis=0), times), _series(np.nanmax(table, axis=0), times)
        cuts = [_series(cut, times) for cut in np.nanquantile(table, quantiles, axis=0)]
    return [
        {
            "mean": mean[index],
            "min": low[index],
            "max": high[index],
            "quantiles": {repr(q): cut[index] for q, cut in zip(quantiles, cuts, strict=True)},
        }
        for index in range(len(mean))
    ]
