"""The examples in the docstrings of estimators give what they show; every class has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import random
from pkgutil import iter_modules

import numpy as np
import pytest

from streamsim import estimators

MODULES = [
    "streamsim.estimators",
    *(f"streamsim.estimators.{one.name}" for one in iter_modules(estimators.__path__)),
]


@pytest.mark.parametrize("name", MODULES)
def test_examples_give_what_they_show(name: str) -> None:
    random.seed(1)
    np.random.seed(1)
    module = importlib.import_module(name)
    kept = set(vars(np))
    try:
        assert doctest.testmod(module).failed == 0
    finally:
        for added in set(vars(np)) - kept:
            delattr(np, added)


@pytest.mark.parametrize("name", MODULES)
def test_every_estimator_has_an_example(name: str) -> None:
    module = importlib.import_module(name)
    found = [one for one in vars(module).values() if inspect.isclass(one) and one.__module__ == name]
    without = [one.__name__ for one in found if ">>> " not in (inspect.getdoc(one) or "")]
    assert without in ([], ["Estimator"])  # the base of others
