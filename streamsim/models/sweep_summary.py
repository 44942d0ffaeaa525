"""What a sweep is asked for, and its runs summarised over time; see `sweeps`."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamsim.models import answers
from streamsim.models.engines.base import time_text
from streamsim.values import JsonObject


class Plan(msgspec.Struct, frozen=True):
    """A sweep that was checked: its runs as rows of constants, so many of them in a part.

    The runs' seeds are those of their rows, so that parts of any size have the same numbers.
    """

    model: str
    version: int
    manager: str
    scenario: str
    equations: list[str]
    names: list[str]
    rows: list[list[float]]
    seed: int
    quantiles: list[float]
    settings: JsonObject
    every_run: bool
    size: int
    rules: int = 0


_PLAN: Final = msgspec.json.Decoder(Plan)


def summary(plan_text: bytes, parts: Iterable[bytes]) -> JsonObject:
    """Bands over all runs: mean, extremes and quantiles by equation and time.

    :param plan_text: the `Plan` as JSON. :param parts: what workers answered, in order.
    """
    plan = _PLAN.decode(plan_text)
    times: list[str] = []
    tables = []
    for data in parts:
        part = answers.decoded(answers.sweep_part, msgspec.Raw(data))
        times = times or [time_text(time) for time in part.times]
        tables.append(np.array(part.values, dtype=float))
    table = np.concatenate(tables)  # runs x equations x times
    with warnings.catch_warnings():
        # Where no run has a finite value, neither has the band.
        warnings.simplefilter("ignore", RuntimeWarning)
        mean = np.nanmean(table, axis=0)
        low, high = np.nanmin(table, axis=0), np.nanmax(table, axis=0)
        quantiles = np.nanquantile(table, plan.quantiles, axis=0)

    def series(row: NDArray[np.float64]) -> dict[str, float]:
        return dict(zip(times, row.tolist(), strict=True))

    bands = {}
    for index, equation in enumerate(plan.equations):
        bands[equation] = {
            "mean": series(mean[index]),
            "min": series(low[index]),
            "max": series(high[index]),
            "quantiles": {repr(q): series(quantiles[at, index]) for at, q in enumerate(plan.quantiles)},
        }
    result = {
        "scenario_manager": plan.manager,
        "scenario": plan.scenario,
        "runs": len(table),
        "seed": plan.seed,
        "bands": bands,
    }
    if plan.every_run:
        result["every_run"] = [
            {
                "parameters": dict(zip(plan.names, row, strict=True)),
                "equations": {
                    equation: dict(zip(times, row_values.tolist(), strict=True))
                    for equation, row_values in zip(plan.equations, run, strict=True)
                },
            }
            for row, run in zip(plan.rows, table, strict=True)
        ]
    return result
