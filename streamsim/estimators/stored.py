"""Reading estimators' state back from theta, also where numbers and lists were stored as text."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamsim.later import later

lapack = later("scipy.linalg.lapack")

Floats = NDArray[np.float64]

MAX_OBSERVATION: Final = 1e100
"""Observations beyond it are refused: sums of their squares would leave the range of floats, and a state that
holds such a sum can take no observation any more."""


def observation(value: Any) -> float:
    """One observed number, as a float. Text that reads as a number is accepted.

    :raises ValueError: NaN, or above 1e100 in size. :raises ValueError, TypeError: no number.

    >>> observation(True)
    1.0
    """
    x = float(value)
    if not -MAX_OBSERVATION <= x <= MAX_OBSERVATION:
        raise ValueError(f"an observation is a number from -1e100 to 1e100, not {value!r:.40}")
    return x


def number(value: Any) -> float:
    """A stored number; text such as "3" or "0.25" is accepted.

    :raises ValueError: if it is not a number.

    >>> number("0.25")
    0.25
    """
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not a number") from None


def parsed(value: Any) -> Any:
    """A stored list or dict; its JSON text, or its Python text as StreamingBandit stored it, is accepted.

    :raises ValueError: for text that is neither.

    >>> parsed("[1, 2]"), parsed("{'n': 3}")
    ([1, 2], {'n': 3})
    """
    if not isinstance(value, str | bytes):
        return value
    text = value.decode() if isinstance(value, bytes) else value
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"{text[:80]!r} is not a list or dict of numbers") from None


def field(state: Mapping[str, Any], name: str, owner: str) -> Any:
    """The field of a stored state.

    :raises ValueError: naming estimator and field if it is absent.
    """
    try:
        return state[name]
    except KeyError:
        group = all(isinstance(value, Mapping) for value in state.values())
        hint = "; it is a group of dicts, get one with get_theta(key=.., value=..)" if group else ""
        raise ValueError(
            f"{owner} needs {name!r} in its stored dict, which has {list(state)}{hint}"
        ) from None


def vector(value: Any) -> Floats:
    """A stored vector as a float array of shape (p,); a 1 x p or p x 1 matrix is accepted.

    :raises ValueError: for what is no list of numbers.
    """
    return np.array(parsed(value), dtype=float).reshape(-1)


def square(value: Any, size: int, owner: str) -> Floats:
    """A stored matrix as a float array of shape (size, size).

    :raises ValueError: for another shape.
    """
    matrix: Floats = np.array(parsed(value), dtype=float)
    if matrix.shape != (size, size):
        raise ValueError(f"{owner} needs a {size} x {size} matrix, not one of shape {matrix.shape}")
    return matrix


def regressors(x: Any, size: int, owner: str, *, intercept: bool = False) -> Floats:
    """One observation's regressors as a float array of shape (size,).

    :raises ValueError: if their number differs from the model's, or one is NaN or above 1e100 in size.
    """
    row: Floats = np.asarray(x, dtype=float).reshape(-1)
    if intercept:
        row = np.concatenate(([1.0], row))
    if row.size != size:
        raise ValueError(f"{owner} has {size} coefficients, but x gives {row.size} values")
    if not (np.abs(row) <= MAX_OBSERVATION).all():
        raise ValueError(f"{owner} takes regressors from -1e100 to 1e100")
    return row


@cache
def _upper(size: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(size)


def packed(matrix: Floats) -> list[float]:
    """The upper triangle of a p x p matrix, row by row: p (p + 1) / 2 numbers."""
    triangle: list[float] = matrix[_upper(len(matrix))].tolist()
    return triangle


def unpacked(value: Any, size: int, owner: str, name: str) -> Floats:
    """The upper triangular matrix, of shape (size, size), that `packed` made the list of.

    :raises ValueError: for another number of values.
    """
    triangle = vector(value)
    if triangle.size != size * (size + 1) // 2:
        raise ValueError(f"{owner} with {size} coefficients has {triangle.size} values in {name!r}")
    matrix: Floats = np.zeros((size, size))
    matrix[_upper(size)] = triangle
    return matrix


def stacked(states: Sequence[Mapping[str, Any]], name: str, size: int) -> Floats | None:
    """A field of several stored states as one float array of shape (states, size); None where one of them is
    not a list of so many numbers, or text.
    """
    try:
        result = np.array([state[name] for state in states], dtype=np.float64)
    except (KeyError, ValueError, TypeError):
        return None
    result = result.reshape(len(states), -1)
    return result if result.shape == (len(states), size) else None


def roots(triangles: Floats, size: int) -> Floats:
    """The upper triangular matrices, (n, size, size), of n packed ones."""
    result: Floats = np.zeros((len(triangles), size, size))
    result[:, *_upper(size)] = triangles
    return result


def root(matrix: Floats) -> Floats:
    """The upper triangular R with R' R = matrix, which is symmetric and definite but for rounding.

    Where rounding has left it indefinite, the eigenvalues below its accuracy are raised to that.
    """
    lower: Floats
    try:
        lower = np.asarray(np.linalg.cholesky(matrix), np.float64)
        return lower.T
    except np.linalg.LinAlgError:
        figures, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        least = max(float(figures.max()) * 1e-14, 1e-200)
        return rotated(np.sqrt(np.maximum(figures, least))[:, None] * vectors.T)


def substituted(upper: Floats, right: Floats, *, transposed: bool = False) -> Floats:
    """The x with R x = right, or R' x = right, for an upper triangular R without a 0 on its diagonal."""
    solution: Floats
    solution, _ = lapack.dtrtrs(upper, right, trans=int(transposed))
    return solution


def rotated(rows: Floats) -> Floats:
    """The upper triangular R, its diagonal not negative, with R' R = rows' rows, by reflections."""
    upper: Floats = np.asarray(np.linalg.qr(rows, mode="r"))
    upper *= np.where(np.diagonal(upper) < 0, -1.0, 1.0)[:, None]
    return upper


def grown(upper: Floats, row: Floats) -> Floats:
    """The upper triangular root of R' R + row row'. It is never closer to singular than R is.

    Each diagonal element of the root of a sum is at least that of the first term. Rounding may break this
    where a row is large against R; it is restored, so that what was definite stays definite.
    """
    after = rotated(np.vstack((upper, row)))
    place = np.arange(len(after))
    before = np.zeros(len(after))
    before[: len(upper)] = np.diagonal(upper)
    after[place, place] = np.maximum(after[place, place], before)
    return after
