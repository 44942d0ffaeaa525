"""The estimators that policy code sees, and the names it sees them by.

Written from the mathematics, with the constructors, methods and stored dicts of StreamingBandit's `libs`, so
that policy code written for it runs as it is. Importing this package has no effect beyond it. Draws come from
the global generators of `random` and `numpy.random`: seed both to repeat a run.
"""

from __future__ import annotations

import sys
from types import ModuleType

from streamsim.estimators import base, bts, inputs, lif, lm, scikit, thompson, thompson_bayesian_linear
from streamsim.estimators.compat import restore_numpy_names

__all__ = ["install_aliases", "namespace", "restore_numpy_names"]

_MODULES: dict[str, ModuleType] = {
    "base": base,
    "lm": lm,
    "thompson": thompson,
    "thompson_bayesian_linear": thompson_bayesian_linear,
    "bts": bts,
    "lif": lif,
    "scikit": scikit,
}


def namespace() -> dict[str, object]:
    """The estimators by the names that policy code uses as globals: name -> module.

    >>> sorted(namespace())
    ['base', 'bts', 'inputs', 'lif', 'lm', 'scikit', 'tbl', 'thmp', 'thompson', 'thompson_bayesian_linear']
    """
    return {**_MODULES, "inputs": inputs, "thmp": thompson, "tbl": thompson_bayesian_linear}


def install_aliases() -> None:
    """Make `import libs.base as base` and its like work: they are the modules of this package."""
    libs = ModuleType("libs", "The estimators under the names that StreamingBandit gave them.")
    libs.__path__ = []
    for name, module in _MODULES.items():
        setattr(libs, name, module)
        sys.modules[f"libs.{name}"] = module
    sys.modules["libs"] = libs
