"""Which process code starts in: that with NumPy alone is chosen only where no other library can be meant."""

from __future__ import annotations

import pytest

from streamsim.decisions.needs import only_numpy

PLAIN = [
    "",
    "self.action['arm'] = 'a'",
    "import math",
    "import json, random as r; import time\nx = 1",
    "from collections.abc import Mapping",
    "from numpy.random import default_rng\nimport numpy.linalg as la",
    "def f():\n    yield from range(3)  # from the important ones",
    "mean = base.Mean(self.get_theta(key='a'))\nself.action['x'] = np.argmax([1, 2])",
    "reserve = dict(species=1)  # neither contains the name of SciPy alone",
]
MORE = [
    "import scipy",
    "import scipy.stats as st",
    "import math, scipy",
    "if True:\n    from sklearn.linear_model import SGDClassifier",
    "x = 1; import pandas",
    "import\\\n    pandas",
    "import math as m, pandas as pd",
    "from . import something",
    "draw = sp.stats.beta(1, 2)",
    "model = lm.LM(default={})",
    "arm = thmp.BBThompson(theta)",
    "other = Experiment(1)",
    "__import__('sci' + 'py')",
    "import importlib",
    "exec('im' + 'port scipy')",
    "from libs.thompson import BBThompson",
    "a = 1\n" * 20_000,
]


@pytest.mark.parametrize("code", PLAIN)
def test_code_of_numpy_alone_is_told(code: str) -> None:
    assert only_numpy([code])


@pytest.mark.parametrize("code", MORE)
def test_code_that_may_need_more_is_told(code: str) -> None:
    assert not only_numpy(["import math", code])
