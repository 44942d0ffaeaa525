"""The names by which policy code finds the estimators, and old NumPy names."""

from __future__ import annotations

import subprocess
import sys
import types

import numpy as np

from streamsim import estimators
from streamsim.estimators import compat, thompson, thompson_bayesian_linear


def python(code: str) -> str:
    run = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_policy_code_sees_every_estimator_by_its_names() -> None:
    names = estimators.namespace()
    assert set(names) == {
        "base", "lm", "thompson", "thmp", "tbl", "thompson_bayesian_linear", "bts", "lif", "scikit", "inputs",
    }  # fmt: skip
    assert names["thmp"] is names["thompson"] is thompson
    assert names["tbl"] is thompson_bayesian_linear


def test_importing_the_package_has_no_effect_beyond_it() -> None:
    python(
        "import sys, threading, numpy as np, streamsim.estimators\n"
        "assert 'libs' not in sys.modules and 'sklearn' not in sys.modules\n"
        "assert not hasattr(np, 'asscalar') and threading.active_count() == 1"
    )


def test_libs_imports_work_after_the_aliases_are_installed() -> None:
    python(
        "from streamsim import estimators\n"
        "estimators.install_aliases()\n"
        "import libs.base as base, libs.thompson as thmp, libs.lm, libs.bts\n"
        "import libs.lif as lf, libs.scikit as skl\n"
        "import libs.thompson_bayesian_linear as tbl\n"
        "from libs.base import *\n"
        "assert libs.lm.LM is estimators.namespace()['lm'].LM and Mean is base.Mean\n"
        "assert lf.Lif is lf.LiF and skl.SKLModel and tbl.ThompsonBayesianLinear and thmp.BBThompsonList\n"
        "assert libs.base is base is estimators.namespace()['base']"
    )


def test_names_that_numpy_dropped_come_back() -> None:
    out = python(
        "import numpy as np\n"
        "from streamsim import estimators\n"
        "estimators.restore_numpy_names(np)\n"
        "m = np.array([[3.5]])\n"
        "print(np.asscalar(m), np.asscalar(np.float64(2)), np.int(3.9), np.float(2), np.float_(1),\n"
        "      np.Inf, np.NaN, np.product([2, 3]), np.alltrue([1, 0]), np.in1d([1, 2], [2]).tolist(),\n"
        "      np.asfarray([1]).dtype, np.trapz([1, 1]), np.zeros(1, dtype=np.bool).dtype)"
    )
    assert out.strip() == "3.5 2.0 3 2.0 1.0 inf nan 6 False [False, True] float64 1.0 bool"


def test_names_that_numpy_has_are_left_alone() -> None:
    own = types.SimpleNamespace(**vars(np))
    own.asscalar = "as it was"
    compat.restore_numpy_names(own)
    assert own.asscalar == "as it was"
    assert own.bool is np.bool
    assert own.sum is np.sum
