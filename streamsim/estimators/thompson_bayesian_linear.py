"""Thompson sampling in Bayesian linear regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from streamsim.estimators import stored
from streamsim.estimators.stored import Floats

__all__ = ["ThompsonBayesianLinear"]

_FEW: Final = 16
"""Of so many coefficients a matrix is looked through faster by hand than by NumPy."""


def _are_floats(row: object, size: int) -> bool:
    return type(row) is list and len(row) == size and set(map(type, row)) == {float}


def _are_independent(precision: Any, size: int) -> bool:
    """Whether a precision matrix in lists has nothing but positive numbers on its diagonal."""
    if type(precision) is not list or len(precision) != size:
        return False
    for place, row in enumerate(precision):
        if not _are_floats(row, size) or not row[place] > 0 or row.count(0.0) != size - 1:
            return False
    return True


class ThompsonBayesianLinear:
    """The conjugate normal model with known noise variance: {J, P, err, R}.

    y = x' beta + noise of variance `err`; beta ~ N(P^-1 J, P^-1), where P is the precision matrix and
    J = P times the mean. Draws come from NumPy's global generator. R is the upper triangular root of P, row
    by row: P = R' R. It stays definite where rounding would leave P without an inverse; a state without it,
    or with a P that was changed since, takes it from P.

    :param default: a stored dict, lists may be given as text; J and P of a new model are its prior. Empty: a
        standard normal prior and err 1; the first `update` decides the number of coefficients.
    :param prior: a state to start from where there is no stored one, or one with another number of
        coefficients.
    :raises ValueError: a stored dict without a field, matrices of other shapes, or err that is not above 0.

    Agrawal and Goyal, "Thompson sampling for contextual bandits with linear payoffs", arXiv:1209.3352.

    >>> curve = ThompsonBayesianLinear({"J": [[0.0, 0.0]], "P": [[1.0, 0.0], [0.0, 1.0]], "err": 1.0})
    >>> for _ in range(999):
    ...     curve.update(2.0, [1.0, 0.0])
    >>> [round(value, 2) for value in curve.get_value()], curve.sample().shape
    ([2.0, 0.0], (2,))
    """

    def __init__(
        self, default: Mapping[str, Any] | None = None, prior: Mapping[str, Any] | None = None
    ) -> None:
        owner = "ThompsonBayesianLinear"
        if prior is not None:
            size = stored.vector(prior["J"]).size
            if not default or stored.vector(stored.field(default, "J", owner)).size != size:
                default = prior
        self._undecided = not default
        if default:
            j = stored.vector(stored.field(default, "J", owner))
            p = stored.square(stored.field(default, "P", owner), j.size, owner)
            err = stored.number(stored.field(default, "err", owner))
            if not err > 0:
                raise ValueError(f"err is a variance, so above 0, not {err:g}")
            self.value: dict[str, Any] = {**default, "J": j, "P": p, "err": err}
            self._root = self._read_root(self.value.pop("R", None), p, owner)
        else:
            self.value = {"J": np.zeros(2), "P": np.eye(2), "err": 1}
            self._root = np.eye(2)

    @staticmethod
    def _read_root(kept: Any, p: Floats, owner: str) -> Floats:
        if kept is not None:
            upper = stored.unpacked(kept, len(p), owner, "R")
            if np.allclose(upper.T @ upper, p, rtol=1e-6, atol=1e-6 * float(np.abs(p).max(initial=0.0))):
                return upper
        return stored.root(p)

    @classmethod
    def predictions(
        cls, states: Mapping[str, Any], names: Sequence[str], x: Any, prior: Mapping[str, Any]
    ) -> tuple[Floats, Floats]:
        """For each name the mean and the standard deviation of x' beta under its posterior, as two arrays.

        A draw from that normal distribution is one of `sample() @ x`. A name without a state, or with one of
        another size than the prior, has the prior. All are computed together, which takes a fraction of the
        time.
        """
        p = len(x)
        places, known = [], []
        for place, name in enumerate(names):
            state = states.get(name)
            if state:
                places.append(place)
                known.append(state)
        result = np.empty((2, len(names))).T
        if len(known) < len(names):
            result[:, 0], result[:, 1] = cls._prior_prediction(x, prior)
        if known:
            result[places] = cls._together(known, x, p) if all(type(s) is dict for s in known) else np.nan
            for place in np.flatnonzero(np.isnan(result[:, 0])).tolist():
                result[place] = cls(states[names[place]], prior)._prediction(x)
        return result[:, 0], result[:, 1]

    @staticmethod
    def _together(states: Sequence[Mapping[str, Any]], x: Any, p: int) -> Floats:
        """Mean and standard deviation at x for each state; NaN for those that need to be read with care."""
        result = np.full((len(states), 2), np.nan)
        triangles, j = stored.stacked(states, "R", p * (p + 1) // 2), stored.stacked(states, "J", p)
        precision = stored.stacked(states, "P", p * p)
        if triangles is None or j is None or precision is None:
            return result
        upper = stored.roots(triangles, p)
        lower = upper.transpose(0, 2, 1)
        gap = np.abs((lower @ upper).reshape(len(states), -1) - precision).max(axis=1)
        sound = gap <= 1e-6 * np.abs(precision).max(axis=1)
        row = stored.regressors(x, p, "ThompsonBayesianLinear")
        right = np.stack((j, np.broadcast_to(row, j.shape)), axis=2)
        half = np.linalg.solve(lower[sound], right[sound])
        result[sound, 0] = (half[..., 0] * half[..., 1]).sum(axis=1)
        result[sound, 1] = np.sqrt((half[..., 1] ** 2).sum(axis=1))
        return result

    @classmethod
    def _prior_prediction(cls, x: Any, prior: Mapping[str, Any]) -> tuple[float, float]:
        """As of a model that has learned nothing. Where a few coefficients are independent it needs no root,
        which takes three quarters of the time."""
        size = len(x)
        j: Any = prior.get("J")
        p: Any = prior.get("P")
        err = prior.get("err")
        plain = size <= _FEW and type(err) is float and err > 0 and _are_floats(j, size)
        if not (plain and _are_floats(x, size) and _are_independent(p, size)):
            return cls({}, prior)._prediction(x)
        mean = variance = 0.0
        for place in range(size):
            value = x[place]
            if not -stored.MAX_OBSERVATION <= value <= stored.MAX_OBSERVATION:
                return cls({}, prior)._prediction(x)
            ratio = value / p[place][place]
            mean += j[place] * ratio
            variance += value * ratio
        return mean, variance**0.5

    def _prediction(self, x: Any) -> tuple[float, float]:
        row = stored.regressors(x, self.value["J"].size, "ThompsonBayesianLinear")
        half = stored.substituted(self._root, row, transposed=True)
        ahead = stored.substituted(self._root, self.value["J"], transposed=True)
        return float(ahead @ half), float(half @ half) ** 0.5

    def get_dict(self) -> dict[str, Any]:
        """The state, ready for `set_theta`: J as a 1 x p list of lists, P as p x p, err, R as a list."""
        return {
            **self.value,
            "J": [self.value["J"].tolist()],
            "P": self.value["P"].tolist(),
            "R": stored.packed(self._root),
        }

    def get_value(self) -> list[float]:
        """The posterior mean of the coefficients."""
        half = stored.substituted(self._root, self.value["J"], transposed=True)
        values: list[float] = stored.substituted(self._root, half).tolist()
        return values

    def update(self, y: float, x: Any, discount: float = 1) -> None:
        """Take in one observation.

        :param y: the outcome, a number.
        :param x: p regressors, an intercept included.
        :param discount: weight of this observation, at least 0.
        :raises ValueError: if x has another length.
        """
        if self._undecided:
            size = np.size(x)
            self.value.update(J=np.zeros(size), P=np.eye(size))
            self._root = np.eye(size)
            self._undecided = False
        row = stored.regressors(x, self.value["J"].size, "ThompsonBayesianLinear")
        weight = discount / self.value["err"]
        self.value["J"] += weight * stored.observation(y) * row
        self.value["P"] += weight * np.outer(row, row)
        self._root = stored.grown(self._root, weight**0.5 * row)

    def sample(self) -> Floats:
        """One draw of the coefficients from their posterior, shape (p,).

        With P = R' R, the draw is the solution of R beta = R'^-1 J + z for standard normal z.
        """
        half = stored.substituted(self._root, self.value["J"], transposed=True)
        return stored.substituted(self._root, half + np.random.standard_normal(half.size))
