"""Linear regression, one observation at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamsim.estimators import stored
from streamsim.estimators.stored import Floats

__all__ = ["LM", "RLS", "Model"]


class Coefficients(np.ndarray[Any, np.dtype[np.float64]]):
    """A vector of p numbers that also takes the index of a p x 1 matrix: b[i, 0] is b[i].

    >>> b = np.array([3.0, 2.0]).view(Coefficients)
    >>> float(b[0]), float(b[1, 0]), float(np.dot(b, [1.0, 2.0]))
    (3.0, 2.0, 7.0)
    """

    def __getitem__(self, index: Any) -> Any:
        if self.ndim == 1 and type(index) is tuple and len(index) == 2 and type(index[1]) is int:
            if index[1] not in (0, -1):
                raise IndexError(f"a vector of coefficients has one column, not a column {index[1]}")
            index = index[0]
        return super().__getitem__(index)


class Matrix(np.ndarray[Any, np.dtype[np.float64]]):
    """A matrix whose `*` with another array is their product, as that of NumPy's matrices is; `.I` inverts.

    >>> a, b = (np.array(rows).view(Matrix) for rows in ([[2.0, 0.0], [0.0, 4.0]], [[1.0, 2.0]]))
    >>> (np.linalg.inv(a) * b.T).tolist(), (2 * b).tolist()
    ([[0.5], [0.5]], [[2.0, 4.0]])
    """

    def __mul__(self, other: Any) -> Any:
        return np.matmul(self, other) if np.ndim(other) else np.multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return np.matmul(other, self) if np.ndim(other) else np.multiply(other, self)

    @property
    def I(self) -> Any:  # noqa: E743, N802 -- its name in NumPy
        """The inverse."""
        return np.linalg.inv(self)


class LM:
    """Least squares from running sums: {b, A, n} with A = I + sum of x x', b = sum of x y.

    The identity in A is a ridge penalty of 1 on every coefficient; it makes the first steps well posed. The
    coefficients solve A beta = b.

    :param default: a stored dict, lists may be given as text; empty: a fresh model.
    :param p: number of coefficients of a fresh model, an intercept included. Left out, the first `update`
        decides.
    :param add_intercept: put a 1 in front of every x.
    :raises ValueError: a stored dict without a field, or with matrices of other shapes.

    `value["A"]` and `value["b"]` are matrices, p x p and 1 x p, for code that solves by `inv(A) * b.T`.

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
            self.value: dict[str, Any] = {**default, **_matrices(a, b), "n": n}
        else:
            size = 2 if p is None else p
            self.value = {**_matrices(np.eye(size), np.zeros(size)), "n": 0}

    @property
    def p(self) -> int:
        """Number of coefficients."""
        return int(self.value["b"].size)

    def get_dict(self) -> dict[str, Any]:
        """The state, ready for `set_theta`: b as a 1 x p list of lists, A as p x p, n."""
        return {**self.value, "b": self.value["b"].tolist(), "A": self.value["A"].tolist()}

    def get_coefs(self) -> Coefficients:
        """The coefficients as a vector of shape (p,), which takes b[i, 0] for b[i] as well."""
        return self._beta().view(Coefficients)

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
            self.value.update(_matrices(np.eye(size), np.zeros(size)))
            self._undecided = False
        row = stored.regressors(x, self.p, "LM", intercept=self.intercept)
        self.value["A"] += discount * np.outer(row, row)
        self.value["b"] += discount * stored.observation(y) * row
        self.value["n"] += 1

    def predict(self, x: Any) -> float:
        """The expected y at x, which is as for `update`. :raises ValueError: if x has another length."""
        row = stored.regressors(x, self.p, "LM", intercept=self.intercept)
        return float(row @ self._beta())

    def _beta(self) -> Floats:
        a, b = np.asarray(self.value["A"]), np.asarray(self.value["b"]).reshape(-1)
        beta: Floats
        try:
            beta = np.linalg.solve(a, b)
        except np.linalg.LinAlgError:
            # Regressors above about 1e8 in size drown the penalty; then the shortest solution is its limit.
            beta = np.linalg.lstsq(a, b, rcond=None)[0]
        return beta


def _matrices(a: Floats, b: Floats) -> dict[str, Any]:
    return {"b": b.reshape(1, -1).view(Matrix), "A": a.view(Matrix)}


Model = LM


class RLS:
    """Recursive least squares in its square root form: {n, R, z}.

    With A = ridge I + sum of x x' and b = sum of x y, R is the upper triangular root of A, R' R = A, kept row
    by row, and z solves R' z = b. Each observation is rotated into both (O(p^3), by a QR decomposition). The
    coefficients solve R beta = z. A root stays accurate and definite where A or its inverse would not, as
    with features of very different sizes, and gives a prediction with its uncertainty by one substitution.

    :param default: a stored dict; empty: a fresh model, which needs `p`. {n, b, inverse}, the form of
        versions before, with the upper triangle of A^-1 row by row, is read as well.
    :param p: number of coefficients.
    :param ridge: penalty of a fresh model, above 0.
    :param anew: start afresh where the stored dict is of another size than `p`, rather than refuse it.
    :raises ValueError: a fresh model without `p`, a ridge that is not above 0, a stored dict of another size.

    Golub and Van Loan, "Matrix computations", 4th edition, 6.5; Li, Chu, Langford and Schapire, "A
    contextual-bandit approach to personalized news article recommendation" (LinUCB), arXiv:1003.0146.

    >>> arm = RLS({}, p=2)
    >>> for _ in range(99):
    ...     arm.update(1.0, [1.0, 0.0])
    >>> [round(figure, 2) for figure in arm.estimate([1.0, 0.0])]
    [0.99, 0.01]
    """

    def __init__(
        self,
        default: Mapping[str, Any] | None = None,
        p: int | None = None,
        ridge: float = 1.0,
        anew: bool = False,
    ) -> None:
        self._emptied: dict[str, Any] = {}
        if default and not (anew and p is not None and p != self._size(default)):
            size = self._size(default)
            if p is not None and p != size:
                raise ValueError(f"RLS has {size} coefficients in its stored dict, not {p}")
            if "R" not in default and "inverse" in default:
                upper = stored.unpacked(default["inverse"], size, "RLS", "inverse")
                inverse = upper + np.triu(upper, 1).T
                self._root = stored.root(np.asarray(np.linalg.inv(inverse), np.float64))
                self._z = stored.substituted(self._root, stored.vector(default["b"]), transposed=True)
                # set_theta merges: the fields of the form before are emptied, not left beside the new ones.
                self._emptied = {"b": [], "inverse": []}
            else:
                self._root = stored.unpacked(stored.field(default, "R", "RLS"), size, "RLS", "R")
                self._z = stored.vector(default["z"])
            self.n = int(stored.number(stored.field(default, "n", "RLS")))
        else:
            if p is None or ridge <= 0:
                raise ValueError("a fresh RLS needs p, the number of coefficients, and a ridge above 0")
            self._root, self._z, self.n = np.eye(p) * ridge**0.5, np.zeros(p), 0

    @staticmethod
    def _size(default: Mapping[str, Any]) -> int:
        field = "b" if "R" not in default and "inverse" in default else "z"
        return stored.vector(stored.field(default, field, "RLS")).size

    def get_dict(self) -> dict[str, Any]:
        """The state, ready for `set_theta`."""
        return {"n": self.n, "R": stored.packed(self._root), "z": self._z.tolist(), **self._emptied}

    def get_value(self) -> list[float]:
        """The coefficients, which solve A beta = b."""
        values: list[float] = stored.substituted(self._root, self._z).tolist()
        return values

    def update(self, y: float, x: Any) -> None:
        """Take in one observation: y, a number, at p regressors x. :raises ValueError: another length."""
        p = self._z.size
        row = stored.regressors(x, p, "RLS")
        wider = np.append(row, stored.observation(y))
        after = stored.grown(np.column_stack((self._root, self._z)), wider)
        self._root, self._z = after[:p, :p], after[:p, p]
        self.n += 1

    @classmethod
    def estimates(
        cls, states: Mapping[str, Any], names: Sequence[str], x: Any, ridge: float = 1.0
    ) -> tuple[NDArray[np.int64], Floats, Floats]:
        """For each name (number of observations, expected y at x, x' A^-1 x), as three arrays.

        As `estimate` of the model of each name; a name without a state, or with one of another size than x,
        counts as a fresh model. All are computed together, which takes a fraction of the time.
        """
        p = len(x)
        row = stored.regressors(x, p, "RLS")
        n = np.zeros(len(names), dtype=np.int64)
        mean, variance = np.zeros(len(names)), np.full(len(names), float(row @ row) / ridge)
        places, known = [], []
        for place, name in enumerate(names):
            state = states.get(name)
            if type(state) is dict and len(state.get("z", ())) == p and type(state.get("n")) is int:
                places.append(place)
                known.append(state)
            elif state:
                model = cls(state, p=p, ridge=ridge, anew=True)
                n[place] = model.n
                mean[place], variance[place] = model.estimate(x)
        if known:
            triangles = stored.stacked(known, "R", p * (p + 1) // 2)
            z = stored.stacked(known, "z", p)
            if triangles is None or z is None:
                alone = [cls(state, p=p, ridge=ridge, anew=True).estimate(x) for state in known]
                mean[places], variance[places] = np.array(alone).T
            else:
                lower = stored.roots(triangles, p).transpose(0, 2, 1)
                half = np.linalg.solve(lower, np.broadcast_to(row[:, None], (len(z), p, 1)))[..., 0]
                mean[places], variance[places] = (half * z).sum(axis=1), (half * half).sum(axis=1)
            n[places] = [state["n"] for state in known]
        return n, mean, variance

    def predict(self, x: Any) -> float:
        """The expected y at p regressors x. :raises ValueError: if x has another length."""
        return self.estimate(x)[0]

    def estimate(self, x: Any) -> tuple[float, float]:
        """(expected y at x, x' A^-1 x): the second times the noise variance is the variance of the first.

        :raises ValueError: if x has another length than p.
        """
        row = stored.regressors(x, self._z.size, "RLS")
        half = stored.substituted(self._root, row, transposed=True)
        return float(half @ self._z), float(half @ half)
