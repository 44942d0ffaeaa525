"""Linear regression, one observation at a time."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsim.estimators import stored
from streamsim.estimators.stored import Floats

__all__ = ["LM", "RLS", "Model"]


class LM:
    """Least squares from running sums: {b, A, n} with A = I + sum of x x', b = sum of x y.

    The identity in A is a ridge penalty of 1 on every coefficient; it makes the first steps well posed. The
    coefficients solve A beta = b.

    :param default: a stored dict, lists may be given as text; empty: a fresh model.
    :param p: number of coefficients of a fresh model, an intercept included. Left out, the first `update`
        decides.
    :param add_intercept: put a 1 in front of every x.
    :raises ValueError: a stored dict without a field, or with matrices of other shapes.

    The penalty is that of ridge regression: Hoerl and Kennard, Technometrics 12(1), 1970.

    >>> line = LM({}, p=2, add_intercept=True)
    >>> for x in [-1.0, 1.0] * 500:
    ...     line.update(3.0 + 2.0 * x, [x])
    >>> [round(value, 2) for value in line.get_value()], round(line.predict([2.0]), 1)
    ([3.0, 2.0], 7.0)
    """

    def __init__(
        self, default: Mapping[str, Any] | None = None, p: int | None = None, add_intercept: bool = False
    ) -> None:
        self.intercept = add_intercept
        self._undecided = not default and p is None
        if default:
            b = stored.vector(stored.field(default, "b", "LM"))
            a = stored.square(stored.field(default, "A", "LM"), b.size, "LM")
            n = int(stored.number(stored.field(default, "n", "LM")))
            self.value: dict[str, Any] = {**default, "b": b, "A": a, "n": n}
        else:
            size = 2 if p is None else p
            self.value = {"b": np.zeros(size), "A": np.eye(size), "n": 0}

    @property
    def p(self) -> int:
        """Number of coefficients."""
        return int(self.value["b"].size)

    def get_dict(self) -> dict[str, Any]:
        """The state, ready for `set_theta`: b as a 1 x p list of lists, A as p x p, n."""
        return {**self.value, "b": [self.value["b"].tolist()], "A": self.value["A"].tolist()}

    def get_coefs(self) -> np.matrix[Any, Any]:
        """The coefficients as a p x 1 matrix."""
        return self._beta().reshape(-1, 1).view(np.matrix)

    def get_value(self) -> list[float]:
        """The coefficients as a list."""
        values: list[float] = self._beta().tolist()
        return values

    def update(self, y: float, x: Any, discount: float = 1) -> None:
        """Take in one observation.

        :param y: the outcome, a number.
        :param x: p regressors, or p - 1 with an added intercept.
        :param discount: weight of this observation, at least 0.
        :raises ValueError: if x has another length.
        """
        if self._undecided:
            size = np.size(x) + self.intercept
            self.value.update(b=np.zeros(size), A=np.eye(size))
            self._undecided = False
        row = stored.regressors(x, self.p, "LM", intercept=self.intercept)
        self.value["A"] += discount * np.outer(row, row)
        self.value["b"] += discount * float(y) * row
        self.value["n"] += 1

    def predict(self, x: Any) -> float:
        """The expected y at x, which is as for `update`. :raises ValueError: if x has another length."""
        row = stored.regressors(x, self.p, "LM", intercept=self.intercept)
        return float(row @ self._beta())

    def _beta(self) -> Floats:
        beta: Floats = np.linalg.solve(self.value["A"], self.value["b"])
        return beta


Model = LM


@cache
def _unpacking(p: int) -> NDArray[np.intp]:
    """Where each element of a symmetric p x p matrix lies in its packed upper triangle (row by row)."""
    index = np.zeros((p, p), dtype=np.intp)
    upper = np.triu_indices(p)
    index[upper] = np.arange(p * (p + 1) // 2)
    return np.maximum(index, index.T)


class RLS:
    """Recursive least squares that keeps the inverse: {n, b, inverse}.

    With A = ridge I + sum of x x' and b = sum of x y, `inverse` is the upper triangle of A^-1, row by row.
    A^-1 follows each observation by the Sherman-Morrison formula in O(p^2), so that prediction and its
    uncertainty need no solve: what linear bandits ask for at every decision.

    :param default: a stored dict; empty: a fresh model, which needs `p`.
    :param p: number of coefficients.
    :param ridge: penalty of a fresh model, above 0.
    :raises ValueError: a fresh model without `p`, a ridge that is not above 0, a stored dict of another size.

    Sherman and Morrison, Annals of Mathematical Statistics 21(1), 1950; Li, Chu, Langford and Schapire, "A
    contextual-bandit approach to personalized news article recommendation" (LinUCB), arXiv:1003.0146.

    >>> arm = RLS({}, p=2)
    >>> for _ in range(99):
    ...     arm.update(1.0, [1.0, 0.0])
    >>> [round(figure, 2) for figure in arm.estimate([1.0, 0.0])]
    [0.99, 0.01]
    """

    def __init__(
        self, default: Mapping[str, Any] | None = None, p: int | None = None, ridge: float = 1.0
    ) -> None:
        if default:
            self._b = stored.vector(stored.field(default, "b", "RLS"))
            packed = stored.parsed(stored.field(default, "inverse", "RLS"))
            index = _unpacking(self._b.size)
            if len(packed) != index[-1, -1] + 1:
                raise ValueError(
                    f"RLS with {self._b.size} coefficients has {len(packed)} values in 'inverse'"
                )
            self._inverse: Floats = np.fromiter(packed, float, len(packed)).take(index)
            self.n = int(stored.number(stored.field(default, "n", "RLS")))
        else:
            if p is None or ridge <= 0:
                raise ValueError("a fresh RLS needs p, the number of coefficients, and a ridge above 0")
            self._b, self._inverse, self.n = np.zeros(p), np.eye(p) / ridge, 0
        if p is not None and p != self._b.size:
            raise ValueError(f"RLS has {self._b.size} coefficients in its stored dict, not {p}")

    def get_dict(self) -> dict[str, Any]:
        """The state, ready for `set_theta`."""
        upper = np.triu_indices(self._b.size)
        return {"n": self.n, "b": self._b.tolist(), "inverse": self._inverse[upper].tolist()}

    def get_value(self) -> list[float]:
        """The coefficients A^-1 b."""
        values: list[float] = (self._inverse @ self._b).tolist()
        return values

    def update(self, y: float, x: Any) -> None:
        """Take in one observation: y, a number, at p regressors x. :raises ValueError: another length."""
        row = stored.regressors(x, self._b.size, "RLS")
        gain = self._inverse @ row
        self._inverse -= np.outer(gain, gain) / (1.0 + row @ gain)
        self._b += float(y) * row
        self.n += 1

    def predict(self, x: Any) -> float:
        """The expected y at p regressors x. :raises ValueError: if x has another length."""
        return self.estimate(x)[0]

    def estimate(self, x: Any) -> tuple[float, float]:
        """(expected y at x, x' A^-1 x): the second times the noise variance is the variance of the first.

        :raises ValueError: if x has another length than p.
        """
        row = stored.regressors(x, self._b.size, "RLS")
        gain = self._inverse @ row
        return float(gain @ self._b), max(float(gain @ row), 0.0)
