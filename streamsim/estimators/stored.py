"""Reading estimators' state back from theta, also where numbers and lists were stored as text."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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

    :raises ValueError: if their number differs from the model's.
    """
    row: Floats = np.asarray(x, dtype=float).reshape(-1)
    if intercept:
        row = np.concatenate(([1.0], row))
    if row.size != size:
        raise ValueError(f"{owner} has {size} coefficients, but x gives {row.size} values")
    return row
