"""Names that policy code written for older NumPy versions expects in `numpy`."""

from __future__ import annotations

from types import ModuleType
from typing import Any


def restore_numpy_names(np: ModuleType | Any) -> None:
    """Add names that NumPy has dropped since 1.10 where they are missing; present ones stay as they are.

    :param np: the module `numpy`, or another object that gets the names.

    >>> import numpy
    >>> restore_numpy_names(numpy)
    >>> numpy.asscalar(numpy.array([3.5]))
    3.5
    """
    renamed: dict[str, Any] = {
        "asscalar": lambda a: np.asarray(a).item(),
        "asfarray": lambda a, dtype=np.float64: np.asarray(a, dtype=dtype),
        "int": int,
        "float": float,
        "complex": complex,
        "object": object,
        "str": str,
        "bool": bool,
        "bool8": np.bool_,
        "unicode": str,
        "float_": np.float64,
        "complex_": np.complex128,
        "cfloat": np.complex128,
        "singlecomplex": np.complex64,
        "string_": np.bytes_,
        "unicode_": np.str_,
        "Inf": np.inf,
        "Infinity": np.inf,
        "infty": np.inf,
        "PINF": np.inf,
        "NINF": -np.inf,
        "PZERO": 0.0,
        "NZERO": -0.0,
        "NaN": np.nan,
        "NAN": np.nan,
        "alltrue": np.all,
        "sometrue": np.any,
        "product": np.prod,
        "cumproduct": np.cumprod,
        "row_stack": np.vstack,
        "round_": np.round,
        "msort": lambda a: np.sort(a, axis=0),
        "mat": np.asmatrix,
        "in1d": lambda ar1, ar2, **options: np.isin(np.ravel(ar1), ar2, **options),
        "rank": np.ndim,
    }
    if hasattr(np, "trapezoid"):
        renamed["trapz"] = np.trapezoid
    for name, value in renamed.items():
        if name not in vars(np):
            setattr(np, name, value)
    if "random_integers" not in dir(np.random):
        np.random.random_integers = lambda low, high=None, size=None: (
            np.random.randint(1, low + 1, size) if high is None else np.random.randint(low, high + 1, size)
        )
