"""What is wrong with a model is told by the variable, its line, and whose limit it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

pytest.importorskip("pysd")
pytest.importorskip("BPTK_Py")

from streamsim.models.engines.base import Engine, Outputs, Source
from streamsim.models.engines.bptk import BptkEngine
from streamsim.models.engines.pysd import PysdEngine
from streamsim.sandbox.wire import Failure
from streamsim.sandbox.worker.failures import Described
from tests.models.engines.vensim import model

XMILE = (Path(__file__).parents[1] / "scenarios" / "models" / "teacup.xmile").read_text()
OTHERS = "first = 1 ~~|\nsecond part = first ~~|\n"
# What stands for `wrong`, the words that are to be in the message, and the kind of the error.
VENSIM = {
    "wrong = first + * 2": (["cannot read", "'+ * 2'", "pysd"], "SyntaxError"),
    "wrong = (first + 2": (["cannot read", "too early"], "SyntaxError"),
    "wrong = ": (["cannot read", "too early"], "SyntaxError"),
    "wrong = first + no such": (["no_such", "does not define"], "KeyError"),
    "wrong = NO SUCH FUNCTION(first)": (["no_such_function", "limit of pysd"], "NotImplementedError"),
    "wrong = PULSE(first)": (["number of arguments", "pysd"], "KeyError"),
    "wrong = ALLOCATE BY PRIORITY(first, first, first, first, first)": (["pysd", "complete"], "IndexError"),
    "wrong = first / 0": (["division by zero"], "ZeroDivisionError"),
    "wrong = 1 ~~|\nwrong = 2": (["defined 2 times"], "ValueError"),
    "other = wrong ~~|\nwrong = other": (["each needs", "other"], "RecursionError"),
    "wrong = wrong + 1": (["its own value"], "RecursionError"),
}


def failing(engine: type[Engine], main: str, text: str) -> Failure | None:
    """The error of a model, when it is loaded or in its first steps."""
    loaded: Engine | None = None
    try:
        loaded = engine(Source("m", main.rpartition(".")[2], main, {main: text}))
        equations = loaded.found.managers["m"]["base"].equations
        names = [name for kind, names in equations.items() if kind != "points" for name in names]
        simulation = loaded.start("m", "base", Outputs(equations=names))
        for time in (0.0, 1.0, 2.0):
            simulation.step(time)
    except Described as described:
        return described.failure
    except Exception as error:
        if loaded is None or (explained := loaded.explain(error)) is None:
            raise
        return explained
    return None


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("equation", VENSIM)
def test_a_variable_of_vensim_is_told_with_its_line(equation: str) -> None:
    words, kind = VENSIM[equation]
    text = model(f"{OTHERS}{equation} ~~|\nlast = second part ~~|\n")
    failure = failing(PysdEngine, "m.mdl", text)
    assert failure is not None
    assert (failure.type, failure.piece) == (kind, "m.mdl")
    told = re.search(r"variable ([^:]+)", failure.message)
    assert told is not None, failure.message
    assert told[1] in ("wrong", "other")
    assert text.splitlines()[failure.line - 1].startswith(told[1])
    for word in words:
        assert word in failure.message, failure.message


@pytest.mark.parametrize("text", ["", "hello world, this is no model", model("t((0,0),(1,x)) ~~|\n")])
def test_what_is_no_model_says_what_is_expected(text: str) -> None:
    failure = failing(PysdEngine, "m.mdl", text)
    assert failure is not None
    assert "m.mdl" in failure.piece + failure.message
    assert "expecting the equations of a Vensim model" in failure.message


def changed(equation: str) -> str:
    """The cup with another equation for its characteristic time."""
    assert "<eqn>10</eqn>" in XMILE
    return XMILE.replace("<eqn>10</eqn>", equation)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("engine", [BptkEngine, PysdEngine])
@pytest.mark.parametrize(
    ("equation", "word"),
    [
        ("<eqn>10 + * 2</eqn>", "equation|cannot read"),
        ("<eqn>10 + no_such_thing</eqn>", "no_?such_?thing"),
        ("<eqn>Characteristic_Time</eqn>", "its own value"),
    ],
)
def test_a_variable_of_xmile_is_told_with_its_line(engine: type[Engine], equation: str, word: str) -> None:
    text = changed(equation)
    failure = failing(engine, "m.xmile", text)
    assert failure is not None
    assert failure.piece == "m.xmile"
    assert "variable characteristic time" in failure.message.lower()
    assert re.search(word, failure.message, re.IGNORECASE), failure.message
    assert 'name="characteristic time"' in text.splitlines()[failure.line - 1].lower()


@pytest.mark.parametrize("engine", [BptkEngine, PysdEngine])
@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("hello", "no XML"),
        ("<html><body/></html>", "not <html>"),
        (re.sub(r"<sim_specs.*?</sim_specs>", "", XMILE, flags=re.DOTALL), "<sim_specs> in <xmile>"),
    ],
)
def test_what_is_no_xmile_says_what_is_expected(engine: type[Engine], text: str, word: str) -> None:
    failure = failing(engine, "m.xmile", text)
    assert failure is not None
    assert (failure.piece, failure.line) == ("m.xmile", 1)
    assert word in failure.message


def test_parts_that_one_library_needs_are_that_ones_limit() -> None:
    text = re.sub(r"<header.*?</header>", "", XMILE, flags=re.DOTALL)
    failure = failing(BptkEngine, "m.xmile", text)
    assert failure is not None
    assert "<header> in <xmile>; bptk-py" in failure.message
    assert failing(PysdEngine, "m.xmile", text) is None
    cut = XMILE[: len(XMILE) // 2]
    failure = failing(BptkEngine, "m.xmile", cut)
    assert failure is not None
    assert failure.line == cut.count("\n") + 1


def test_functions_that_the_library_leaves_out_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    source = Source("m", "bptk", "m.xmile", {"m.xmile": changed("<eqn>10 + NOSUCH(1)</eqn>")})
    assert any("nosuch" in warning for warning in BptkEngine(source).found.warnings)


DSL = """
from BPTK_Py import Model, bptk
from BPTK_Py import sd_functions as sd

def bptk_factory():
    model = Model(starttime=0.0, stoptime=10.0, dt=1.0, name="m")
    first, second = model.converter("first"), model.converter("second")
    {equations}
    made = bptk()
    made.register_scenario_manager({{"m": {{"model": model}}}})
    made.register_scenarios({{"base": {{}}}}, "m")
    return made
"""


@pytest.mark.parametrize(
    ("equations", "word"),
    [
        ("first.equation = sd.lookup(sd.time(), 'nosuch')", "nosuch"),
        ("first.equation, second.equation = second * 1.0, first * 1.0", "each needs the next one's value"),
        ("second.equation = 0.0\n    first.equation = 1.0 / second", "division by zero"),
    ],
)
def test_a_variable_of_python_equations_is_told(equations: str, word: str) -> None:
    failure = failing(BptkEngine, "m.py", DSL.format(equations=equations))
    assert failure is not None
    assert re.search("variable (first|second)", failure.message), failure.message
    assert word in failure.message
