"""Streaming estimators of one number, and a list of them by name.

Each is built from a stored dict (`{}` = fresh), takes one observation at a time with `update`, and gives back
its state with `get_dict` and its main figure with `get_value`. Moments follow Welford's recurrence
(Technometrics 4(3), 1962) and its extension to two variables, which stay accurate when the mean is large
against the spread. The dicts have the fields of StreamingBandit's `libs.base`.
"""

from __future__ import annotations

import math
import random as _random
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from streamsim.estimators import stored

__all__ = ["Correlation", "Count", "Covariance", "List", "Mean", "Proportion", "Variance", "greatest"]

_ROUNDING = 1e-12


class Estimator:
    """What all estimators of this module share.

    The operators `+ - * /` change the main figure in place, as they do in StreamingBandit, and return it.
    They raise ValueError for a figure outside the estimator's range.

    :param default: a stored dict; numbers may be given as text. Empty or None: a fresh estimator.
    :raises ValueError: naming the field that is missing or not a number.
    """

    main: ClassVar[str]
    fresh: ClassVar[dict[str, float]]
    least: ClassVar[float] = -math.inf
    most: ClassVar[float] = math.inf

    def __init__(self, default: Mapping[str, Any] | None = None) -> None:
        if not default:
            self.value: dict[str, Any] = self.fresh.copy()
            return
        self.value = value = default.copy() if type(default) is dict else dict(default)
        for name in self.fresh:
            kind = type(value.get(name))
            if kind is int or (kind is float and name != "n"):
                continue
            figure = stored.number(stored.field(value, name, type(self).__name__))
            value[name] = int(figure) if name == "n" else figure

    def get_value(self) -> float:
        """The main figure; that of a fresh estimator is 0."""
        return float(self.value[self.main])

    def get_dict(self) -> dict[str, Any]:
        """The state, ready for `set_theta`."""
        return self.value

    def get_count(self) -> int:
        """Number of observations."""
        return int(self.value["n"])

    def _change(self, figure: float) -> float:
        if not self.least <= figure <= self.most:
            bounds = f"{self.least:g} to {self.most:g}"
            raise ValueError(f"{type(self).__name__} lies from {bounds}, not at {figure:g}")
        self.value[self.main] = figure
        return figure

    def __add__(self, other: float) -> float:
        return self._change(self.value[self.main] + stored.number(other))

    def __sub__(self, other: float) -> float:
        return self._change(self.value[self.main] - stored.number(other))

    def __mul__(self, other: float) -> float:
        return self._change(self.value[self.main] * stored.number(other))

    def __truediv__(self, other: float) -> float:
        return self._change(self.value[self.main] / stored.number(other))

    def __iadd__(self, other: float) -> Estimator:
        self.__add__(other)
        return self

    def __isub__(self, other: float) -> Estimator:
        self.__sub__(other)
        return self

    def __imul__(self, other: float) -> Estimator:
        self.__mul__(other)
        return self

    def __itruediv__(self, other: float) -> Estimator:
        self.__truediv__(other)
        return self

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.value})"


class Count(Estimator):
    """A counter: {n}.

    >>> clicks = Count({"n": 41})
    >>> clicks.increment()
    >>> clicks.get_dict()
    {'n': 42}
    """

    main = "n"
    fresh: ClassVar[dict[str, float]] = {"n": 0}

    # Beyond it floats skip whole numbers, and one more would change nothing.
    least, most = -(2.0**53), 2.0**53

    def _change(self, figure: float) -> float:
        return super()._change(int(figure) if float(figure).is_integer() else figure)

    def update(self, value: float = 1) -> None:
        """Count `value` more, 1 by default; it stops at 2^53, as far as floats count.

        :raises ValueError, TypeError: no number.
        """
        self._change(min(max(self.value["n"] + stored.observation(value), self.least), self.most))

    def increment(self) -> None:
        """Count one more."""
        self.update()


class Mean(Estimator):
    """The arithmetic mean: {n, m}: how many observations, and their mean in their own unit.

    >>> revenue = Mean({})
    >>> for euros in (4.0, 1.0, 1.0):
    ...     revenue.update(euros)
    >>> revenue.get_value(), revenue.get_dict()
    (2.0, {'n': 3, 'm': 2.0})
    """

    main = "m"
    fresh: ClassVar[dict[str, float]] = {"n": 0, "m": 0}

    def update(self, value: float) -> None:
        """Take in one observation, a finite number. :raises ValueError, TypeError: it is no number."""
        state = self.value
        x = stored.observation(value)
        n = state["n"] = state["n"] + 1
        state["m"] = _mean(state["m"], n, x)

    def increment(self) -> None:
        """Count one more observation that leaves the mean as it is."""
        self.value["n"] += 1


class Variance(Estimator):
    """The sample variance: {n, x_bar, s, v}: size, mean, sum of squared deviations, s / (n - 1).

    `v` is in the square of the observations' unit, at least 0, and 0 for fewer than two. Follows Welford,
    "Note on a method for calculating corrected sums of squares and products", Technometrics 4(3), 1962.

    >>> seconds = Variance({})
    >>> for value in (2.0, 4.0, 6.0):
    ...     seconds.update(value)
    >>> seconds.get_value(), seconds.get_dict()["x_bar"]
    (4.0, 4.0)
    """

    main = "v"
    fresh: ClassVar[dict[str, float]] = {"n": 0, "x_bar": 0, "s": 0, "v": 0}
    least = 0.0

    def update(self, value: float) -> None:
        """Take in one observation, a finite number. :raises ValueError, TypeError: it is no number."""
        state = self.value
        x = stored.observation(value)
        n = state["n"] = state["n"] + 1
        before = x - state["x_bar"]
        state["x_bar"] += before / n
        state["s"] += before * (x - state["x_bar"])
        if n > 1:
            state["v"] = state["s"] / (n - 1)

    def _change(self, figure: float) -> float:
        super()._change(figure)
        # Later updates start from the sum of squares, so it has to follow.
        self.value["s"] = figure * max(self.value["n"] - 1, 0)
        return figure


class Proportion(Estimator):
    """The share of successes: {p, n}: the share, from 0 to 1, and of how many.

    >>> clicked = Proportion({"n": 3, "p": 0.0})
    >>> clicked.update(True)
    >>> clicked.get_value()
    0.25
    """

    main = "p"
    fresh: ClassVar[dict[str, float]] = {"p": 0, "n": 0}
    least, most = 0.0, 1.0

    def update(self, value: float) -> None:
        """Take in one observation: 1 or True for a success, 0 for a failure, or a share in between.

        :raises ValueError: outside 0 to 1.
        """
        x = float(value)
        if not 0.0 <= x <= 1.0:
            raise ValueError(f"a proportion takes values from 0 to 1, not {value!r}")
        state = self.value
        n = state["n"] = state["n"] + 1
        state["p"] = min(_mean(state["p"], n, x), 1.0)


class Covariance(Estimator):
    """The sample covariance: {n, x_bar, y_bar, cov}; `cov` is the sum of co-deviations / (n - 1).

    It is in the product of both units, and 0 for fewer than two pairs.

    >>> together = Covariance({})
    >>> for x, y in ((1, 2), (2, 4), (3, 6)):
    ...     together.update({"x": x, "y": y})
    >>> together.get_value()
    2.0
    """

    main = "cov"
    fresh: ClassVar[dict[str, float]] = {"n": 0, "x_bar": 0, "y_bar": 0, "cov": 0}

    def update(self, value: Mapping[str, float]) -> None:
        """Take in one pair {"x": .., "y": ..} of numbers. :raises KeyError: one of the two is missing."""
        state = self.value
        n = state["n"] = state["n"] + 1
        dx = stored.observation(value["x"]) - state["x_bar"]
        dy = stored.observation(value["y"]) - state["y_bar"]
        state["x_bar"] += dx / n
        state["y_bar"] += dy / n
        if n > 1:
            state["cov"] += dx * dy / n - state["cov"] / (n - 1)


class Correlation(Estimator):
    """Pearson's correlation: {n, x_bar, y_bar, x_s, y_s, x_v, y_v, cov, c}.

    `x_s`, `y_s`: sums of squared deviations; `x_v`, `y_v`, `cov`: sample variances and covariance (n - 1);
    `c` = cov / sqrt(x_v y_v), from -1 to 1, and 0 while either variance is 0.

    >>> linked = Correlation({})
    >>> for x, y in ((1, 6), (2, 4), (3, 2)):
    ...     linked.update({"x": x, "y": y})
    >>> linked.get_value()
    -1.0
    """

    main = "c"
    fresh: ClassVar[dict[str, float]] = {
        "n": 0, "x_bar": 0, "y_bar": 0, "x_s": 0, "y_s": 0, "x_v": 0, "y_v": 0, "cov": 0, "c": 0,
    }  # fmt: skip
    least, most = -1.0, 1.0

    def update(self, value: Mapping[str, float]) -> None:
        """Take in one pair {"x": .., "y": ..} of numbers. :raises KeyError: one of the two is missing."""
        state = self.value
        n = state["n"] = state["n"] + 1
        x, y = stored.observation(value["x"]), stored.observation(value["y"])
        dx, dy = x - state["x_bar"], y - state["y_bar"]
        state["x_bar"] += dx / n
        state["y_bar"] += dy / n
        state["x_s"] += dx * (x - state["x_bar"])
        state["y_s"] += dy * (y - state["y_bar"])
        if n > 1:
            state["x_v"] = state["x_s"] / (n - 1)
            state["y_v"] = state["y_s"] / (n - 1)
            state["cov"] += dx * dy / n - state["cov"] / (n - 1)
            spread = math.sqrt(state["x_v"]) * math.sqrt(state["y_v"])
            # Rounding may carry the quotient past its bounds by an ulp.
            state["c"] = max(-1.0, min(1.0, state["cov"] / spread)) if spread > 0 else 0.0

    def _change(self, figure: float) -> float:
        super()._change(figure)
        self.value["cov"] = figure * math.sqrt(self.value["x_v"]) * math.sqrt(self.value["y_v"])
        return figure


class List:
    """One estimator per name, e.g. per arm.

    Only the names asked for are kept: a name that has no stored state starts fresh, and the state of a name
    that is no longer asked for is left alone. Ties are broken at random, with Python's `random`.

    :param objects: stored dicts by name, as `get_theta(key=...)` gives them.
    :param _t: the estimator's class, e.g. `base.Mean`.
    :param value_names: the names; if there are none, those of `objects`.
    :raises ValueError: a stored state lacks a field, or is no dict.

    >>> arms = List({"short": {"n": 9, "m": 0.2}, "gone": {"n": 1, "m": 9.0}}, Mean, ["short", "long"])
    >>> arms.max(), arms.count(), arms.get_value()
    ('short', 9, {'short': 0.2, 'long': 0.0})
    """

    def __init__(self, objects: Mapping[Any, Any] | None, _t: type[Any], value_names: Iterable[Any]) -> None:
        found = objects or {}
        self.value_names: list[Any] = list(value_names) or list(found)
        self.num_values = len(self.value_names)
        self.base_list: dict[Any, Any] = {}
        for name in self.value_names:
            state = found.get(name)
            if state is None and type(name) is not str:
                # Theta addresses are text, names in code may be numbers.
                state = found.get(str(name))
            if type(state) is not dict:
                state = stored.parsed(state) if state else {}
            self.base_list[name] = _t(state)
        self.size = len(self.base_list)

    def get_dict(self) -> dict[str, dict[str, Any]]:
        """States by name, names as text."""
        return {str(name): estimator.get_dict() for name, estimator in self.base_list.items()}

    def get_value(self) -> dict[Any, float]:
        """Main figures by name."""
        return {name: estimator.get_value() for name, estimator in self.base_list.items()}

    def argmax(self) -> list[Any]:
        """All names whose main figure is the greatest, but for rounding, in their order.

        :raises ValueError: there are none.
        """
        return greatest(self.get_value())

    def max(self) -> Any:
        """A name whose main figure is the greatest, at random among several. :raises ValueError: none."""
        return _any(self.argmax())

    def min(self) -> Any:
        """A name whose main figure is the least, at random among several. :raises ValueError: none."""
        return _any(greatest({name: -figure for name, figure in self.get_value().items()}))

    def random(self) -> Any:
        """Any of the names, with equal probability. :raises IndexError: there are none."""
        return _random.choice(self.value_names)

    def count(self) -> int:
        """Number of observations of all names together."""
        return sum(int(estimator.get_dict().get("n", 0)) for estimator in self.base_list.values())


def greatest(figures: Mapping[Any, float]) -> list[Any]:
    """All names whose figure is the greatest, in their order. Figures that differ by no more than rounding
    does tie: the same rewards in another order may give another last digit.

    :raises ValueError: there are none.

    >>> greatest({"a": 0.1 + 0.2, "b": 0.3, "c": 0.29})
    ['a', 'b']
    """
    top = max(figures.values())
    least = top - abs(top) * _ROUNDING if math.isfinite(top) else top
    return [name for name, figure in figures.items() if figure >= least]


def _mean(mean: float, n: int, x: float) -> float:
    """The mean of n observations, x the last of them and `mean` that of those before.

    The sum of whole numbers is told exactly, so that equal counts give equal means in any order.
    """
    total = mean * (n - 1)
    whole = round(total) if abs(total) < 1e12 else 0
    # No more than what a product and a quotient may be off: so nothing that was added is ever taken off.
    if abs(total - whole) <= 1e-15 * abs(total):
        return (whole + x) / n
    return mean + (x - mean) / n


def _any(names: list[Any]) -> Any:
    # No draw without a tie, as in StreamingBandit: so seeded runs repeat there what they did here.
    return names[0] if len(names) == 1 else _random.choice(names)
