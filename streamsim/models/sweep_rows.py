"""The runs of a sweep: which value each parameter has in each, and the seed of each."""

from __future__ import annotations

import itertools
import math
from typing import Final

import numpy as np

from streamsim.errors import BadRequest, TooLarge
from streamsim.models import requests
from streamsim.models.distributions import DISCRETE, DISTRIBUTIONS, BadDistribution, Draw, distribution
from streamsim.values import Json, JsonObject

MAX_RANGE: Final = 10_000
"""Values of one range."""
MAX_ROW_VALUES: Final = 2_000_000
"""Values of parameters that one sweep holds, over all its runs."""
_WHOLE: Final = ("poisson", "binomial")

Row = list[int | float]


def rows(body: JsonObject, seed: int, most: int, *, keep_whole: bool) -> tuple[list[Row], list[int]]:
    """The runs: a grid of all lists and ranges; where something is drawn, `runs` draws along it; each with
    each of the `seeds`.

    :param body: of the request, with `parameters`, and maybe `runs` and `seeds`.
    :param seed: of the draws, and what the runs' own seeds follow from where none are given.
    :param most: runs of one sweep. :param keep_whole: what is counted stays an integer: code of agents may
        count with it.
    :returns: a value for each parameter by run, in the order of `parameters`; the seed of each run.
    :raises BadRequest: :raises TooLarge:
    """
    parameters = body["parameters"]
    seeds = _seeds(body, seed, most)
    each = len(seeds or (0,))
    listed = {name: _values(name, given) for name, given in _few(parameters).items()}
    lists = {name: numbers for name, numbers in listed.items() if numbers is not None}
    draws = {name: _draw(name, given) for name, given in parameters.items() if name not in lists}
    size = math.prod(map(len, lists.values()))
    if "runs" in body or draws:
        count = requests.count(body, "runs", most)
        if not draws and count != size:
            raise BadRequest(f"runs: the values given make {size} runs; leave it out", field="runs")
    else:
        count = size
    if not 0 < count * each <= most:
        raise TooLarge(f"a sweep has at most {most} runs", field="runs")
    if count * each * len(parameters) > MAX_ROW_VALUES:
        raise TooLarge(f"runs x parameters may be at most {MAX_ROW_VALUES}", field="runs")
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = {name: _drawn(name, draw, generator, count) for name, draw in draws.items()}
    for name, values in drawn.items():
        if keep_whole and _counts(parameters[name]):
            drawn[name] = [int(value) for value in values]
    grid = itertools.cycle(itertools.product(*lists.values()))
    points = [dict(zip(lists, point, strict=True)) for point in itertools.islice(grid, count)]
    found: list[Row] = [
        [drawn[name][index] if name in drawn else point[name] for name in parameters]
        for index, point in enumerate(points)
        for _ in range(each)
    ]
    if not keep_whole:
        found = [[float(value) for value in row] for row in found]
    if seeds is None:
        return found, [(seed + number) % 2**63 for number in range(1, len(found) + 1)]
    return found, seeds * count


def _seeds(body: JsonObject, seed: int, most: int) -> list[int] | None:
    """The seeds that each point of the grid is run with; None if each run has its own."""
    if "seeds" not in body:
        return None
    given = body["seeds"]
    if type(given) is int and 1 <= given <= most:
        return [(seed + number) % 2**63 for number in range(1, given + 1)]
    listed = given if isinstance(given, list) and 0 < len(given) <= most else []
    good = all(type(one) is int and 0 <= one < 2**63 for one in listed)
    if listed and good and len(set(listed)) == len(listed):
        return listed
    raise BadRequest(
        f"seeds must be how many each point is run with, from 1 to {most}, or a list of different integers "
        "from 0 to 2^63 - 1",
        field="seeds",
    )


def _counts(given: JsonObject) -> bool:
    """Whether all that is drawn is integers."""
    kind = given["distribution"]
    return kind in _WHOLE or (kind == DISCRETE and all(type(value) is int for value in given["values"]))


def _few(parameters: JsonObject) -> JsonObject:
    """The parameters, which list and count few enough values to be held. :raises TooLarge:"""
    total = 0
    for given in parameters.values():
        if isinstance(given, list):
            total += len(given)
        elif isinstance(given, dict) and "distribution" not in given:
            number = given.get("count")
            total += number if type(number) is int and number > 0 else 1
            if "step" in given:
                total += MAX_RANGE
    if total > MAX_ROW_VALUES:
        raise TooLarge(f"parameters list more than {MAX_ROW_VALUES} values", field="parameters")
    return parameters


def _drawn(name: str, draw: Draw, generator: np.random.Generator, count: int) -> list[int] | list[float]:
    """So many draws. :raises BadRequest: the distribution has values beyond what a number can be."""
    try:
        with np.errstate(all="ignore"):
            values = draw(generator, count)
    except (OverflowError, ValueError) as error:
        raise BadRequest(f"parameters.{name}: nothing can be drawn: {error}", field="parameters") from None
    return _finite(name, values)


def _finite(name: str, values: np.typing.NDArray[np.float64]) -> list[float]:
    if not np.isfinite(values).all():
        raise BadRequest(
            f"parameters.{name}: there are values beyond 1.8e308, the largest number", field="parameters"
        )
    numbers: list[float] = values.tolist()
    return numbers


def _values(name: str, given: Json) -> list[int | float] | list[float] | None:
    """Values of a list or a range `{"from", "to", "count" or "step"}`; None for a distribution."""
    form = (
        f"parameters.{name} must be a list of numbers, {{from, to, count}}, {{from, to, step}}, or "
        f"{{distribution, ...}} with one of {', '.join((*DISTRIBUTIONS, DISCRETE))}"
    )
    if isinstance(given, dict) and "distribution" in given:
        return None
    if isinstance(given, dict) and given.keys() in ({"from", "to", "count"}, {"from", "to", "step"}):
        if not all(type(value) in (int, float) for value in given.values()):
            raise BadRequest(form, field="parameters")
        first, last = given["from"], given["to"]
        if "count" in given:
            with np.errstate(all="ignore"):
                return _finite(name, np.linspace(first, last, requests.count(given, "count", MAX_RANGE)))
        steps = (last - first) / given["step"] if given["step"] else -1.0
        if not 0 <= steps < MAX_RANGE:
            raise BadRequest(form, field="parameters")
        return [first + given["step"] * index for index in range(int(steps + 1e-9) + 1)]
    if not isinstance(given, list) or not given or not all(type(value) in (int, float) for value in given):
        raise BadRequest(form, field="parameters")
    return given


def _draw(name: str, given: JsonObject) -> Draw:
    try:
        return distribution(given)
    except BadDistribution as error:
        raise BadRequest(f"parameters.{name}: {error}", field="parameters") from None
