"""XMILE through bptk-py's compiler: each function of the language beside the library called directly."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from streamsim.models.engines.base import KINDS, RULES, Outputs, Source
from streamsim.models.session import Begin, whole
from streamsim.sandbox.worker.failures import Described

pytest.importorskip("BPTK_Py")
pytest.importorskip("BPTK_Py.sdcompiler.compile")
from BPTK_Py.sdcompiler import compile_xmile
from BPTK_Py.sdcompiler.generator.py import py as generator

from streamsim.models.engines.bptk import BptkEngine

FUNCTIONS = {
    "abs": "ABS(x)", "arccos": "ARCCOS(0.5)", "arcsin": "ARCSIN(0.5)", "arctan": "ARCTAN(x)",
    "beta": "BETA(2, 3)", "binomial": "BINOMIAL(10, 0.5)", "combinations": "COMBINATIONS(5, 2)",
    "cos": "COS(x)", "coswave": "COSWAVE(2, 5)", "counter": "COUNTER(1, 5)", "delay": "DELAY(x, 2, 1)",
    "delay1": "DELAY1(x, 2, 1)", "delay3": "DELAY3(x, 2, 1)", "delayn": "DELAYN(x, 2, 2, 1)",
    "derivn": "DERIVN(x, 1)", "dt": "DT", "endval": "ENDVAL(x, 1)", "exp": "EXP(x / 10)",
    "exprnd": "EXPRND(2)", "factorial": "FACTORIAL(5)", "fv": "FV(0.1, 5, 10, 100)",
    "gamma": "GAMMA(2, 1)", "gammaln": "GAMMALN(5)", "geometric": "GEOMETRIC(0.3)",
    "history": "HISTORY(x, 2)", "if": "IF x > 4 THEN 1 ELSE 2", "init": "INIT(x)", "int": "INT(x / 3)",
    "invnorm": "INVNORM(0.3)", "irr": "IRR(x, one)", "ln": "LN(x)", "log10": "LOG10(x)",
    "logistic": "LOGISTIC(1, 2)", "lognormal": "LOGNORMAL(1, 0.5)", "max": "MAX(x, 3)", "min": "MIN(x, 3)",
    "montecarlo": "MONTECARLO(50)", "nan": "NAN", "negbinomial": "NEGBINOMIAL(3, 0.5)",
    "normal": "NORMAL(0, 1)", "normalcdf": "NORMALCDF(-1, 1, 0, 1)", "npv": "NPV(x, 0.1)",
    "pareto": "PARETO(2, 1)", "percent": "PERCENT(0.25)", "permutations": "PERMUTATIONS(5, 2)", "pi": "PI",
    "pmt": "PMT(0.1, 5, 100, 0)", "poisson": "POISSON(3)", "previous": "PREVIOUS(x, 1)",
    "pulse": "PULSE(2, 3, 4)", "pv": "PV(0.1, 5, 10, 100)", "random": "RANDOM(0, 1)",
    "rootn": "ROOTN(x, 3)", "round": "ROUND(x / 3)", "safediv": "SAFEDIV(1, x - 4, 7)", "sin": "SIN(x)",
    "sinwave": "SINWAVE(2, 5)", "smth1": "SMTH1(x, lag, one)", "smth3": "SMTH3(x, 2, 1)",
    "smthn": "SMTHN(x, 2, 2, 1)", "sqrt": "SQRT(x)", "starttime": "STARTTIME", "step": "STEP(3, 4)",
    "stoptime": "STOPTIME", "tan": "TAN(x / 10)", "time": "TIME", "trend": "TREND(x, lag, one)",
    "triangular": "TRIANGULAR(0, 1, 2)", "uniform": "UNIFORM(0, 1)", "weibull": "WEIBULL(1, 2)",
    "inf": "INF", "ramp": "RAMP(1, 3)", "cgrowth": "CGROWTH(2)", "forcst": "FORCST(x, 2, 3, 0)",
}  # fmt: skip
"""What the language calls by name -> an expression with it; `x` is 2 + TIME."""
OF_ARRAYS = {"size", "stddev", "sum", "mean", "rank", "interpolate", "prod"}
OF_TABLES = {"lookup", "lookupinv", "lookuparea"}
CLOCK = {"clocktime"}
FAIL_THERE = ("combinations", "forcst", "history")
"""What the library itself cannot compile or run in this form."""

FILE = """<?xml version="1.0" encoding="utf-8"?>
<xmile version="1.0" xmlns="http://docs.oasis-open.org/xmile/ns/XMILE/v1.0"
 xmlns:isee="http://iseesystems.com/XMILE">
<header><name>f</name><vendor>streamsim</vendor><product version="1.0" lang="en">streamsim</product></header>
<sim_specs method="Euler" time_units="Days"><start>0</start><stop>8</stop><dt>0.5</dt></sim_specs>
<model><variables>
<aux name="x"><eqn>2 + TIME</eqn></aux>
<aux name="lag"><eqn>2</eqn></aux><aux name="one"><eqn>1</eqn></aux>
{variables}
</variables></model></xmile>
"""


def file(variables: str) -> str:
    return FILE.format(variables=variables)


def ours(text: str) -> dict[str, dict[str, float]]:
    """Every variable's series, from the engine."""
    engine = BptkEngine(Source("m", "bptk", "m.stmx", {"m.stmx": text}))
    equations = engine.found.managers["m"]["base"].equations
    names = [name for kind in KINDS if kind != "points" for name in equations[kind]]
    begin = Begin([("m", "base", Outputs(equations=names))], rules=RULES)
    series: dict[str, dict[str, float]] = whole(begin, engine.start)["m"]["base"]["equations"]
    return series


def theirs(text: str, folder: Path, names: list[str]) -> dict[str, list[Any]]:
    """The same from what the library compiles, by its own memo, in the same order."""
    (folder / "m.stmx").write_text(text)
    compile_xmile(str(folder / "m.stmx"), str(folder / "m.py"), "py")
    space: dict[str, Any] = {}
    exec((folder / "m.py").read_text(), space)
    model = space["simulation_model"]()
    series: dict[str, list[Any]] = {name: [] for name in names}
    for step in range(17):
        for name in names:
            series[name].append(model.equation(name, step / 2))
    return series


def seeded() -> None:
    random.seed(5)
    np.random.seed(5)


def the_same(text: str, folder: Path) -> dict[str, dict[str, float]]:
    seeded()
    found = ours(text)
    seeded()
    for name, values in theirs(text, folder, list(found)).items():
        # What is not finite has no number in JSON.
        numbers = [np.nan if value is None else value for value in found[name].values()]
        values = [None if v is None or np.isinf(v) else v for v in values]
        assert numbers == pytest.approx(
            [np.nan if v is None else float(v) for v in values], abs=1e-9, nan_ok=True
        ), name
    return found


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(FUNCTIONS.keys() - set(FAIL_THERE)))
def test_every_function_of_the_language_is_the_librarys(name: str, tmp_path: Path) -> None:
    found = the_same(file(f'<aux name="y"><eqn>{FUNCTIONS[name].replace("<", "&lt;")}</eqn></aux>'), tmp_path)
    assert len(found["y"]) == 17


def test_every_function_that_the_library_compiles_is_tried_here() -> None:
    source = Path(generator.__file__).read_text()
    known = set(re.findall(r"^    '([a-z0-9]+)'\s*:\s*lambda", source, re.MULTILINE))
    assert known - OF_ARRAYS - OF_TABLES - CLOCK <= FUNCTIONS.keys()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FAIL_THERE)
def test_what_fails_in_the_library_fails_here(name: str, tmp_path: Path) -> None:
    text = file(f'<aux name="y"><eqn>{FUNCTIONS[name]}</eqn></aux>')
    kinds = (TypeError, KeyError)
    with pytest.raises((*kinds, Described)) as here:
        ours(text)
    with pytest.raises(kinds) as there:
        theirs(text, tmp_path, ["y"])
    failed = type(there.value)
    assert type(here.value) is failed or f"{failed.__name__}: " in str(here.value)
