"""The times of answers: a session's step answers for the model's last time up to its own, and says which."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from streamsim.models.engines.base import RULES, Outputs, Refused, ScenarioSettings, Source
from streamsim.models.session import Begin, StepSession, whole
from tests.models.conftest import EXAMPLES
from tests.models.engines.vensim import MODELS as VENSIM
from tests.models.engines.xmile import MODELS as XMILE

pytest.importorskip("BPTK_Py.sdcompiler.compile")
pytest.importorskip("pysd")
from streamsim.models.engines.bptk import BptkEngine
from streamsim.models.engines.pysd import PysdEngine

pytestmark = pytest.mark.filterwarnings("ignore")

WRITTEN = """
import BPTK_Py
from BPTK_Py import Model

def bptk_factory():
    model = Model(starttime=0.0, stoptime=3.0, dt=0.4, name="written")
    goods = model.stock("goods")
    goods.initial_value = 0.0
    goods.equation = model.flow("flow")
    model.flow("flow").equation = 1.0
    bptk = BPTK_Py.bptk()
    bptk.register_scenario_manager({"m": {"model": model}})
    bptk.register_scenarios({"base": {}}, "m")
    return bptk
"""
COMPILED = XMILE["stocks"].replace("<stop>8</stop><dt>0.5</dt>", "<stop>3</stop><dt>0.4</dt>")
ENGINES: dict[str, tuple[Any, str]] = {
    "written": (BptkEngine(Source("m", "bptk", "m.py", {"m.py": WRITTEN})), "goods"),
    "compiled": (BptkEngine(Source("m", "bptk", "m.stmx", {"m.stmx": COMPILED})), "people"),
    "vensim": (PysdEngine(Source("m", "pysd", "m.mdl", {"m.mdl": VENSIM["odd_step"]})), "population"),
}
MARKET = "agent_market"


@pytest.mark.parametrize(
    ("stop", "dt"), [(3, 0.4), (3.2, 0.1), (2, 0.25), (1, 3), (1.7, 0.17), (0, 1), (5, 1 / 3)]
)
def test_whole_runs_of_bptk_have_the_librarys_times(
    stop: float, dt: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    text = WRITTEN.replace("stoptime=3.0, dt=0.4", f"stoptime={stop}, dt={dt}")
    space: dict[str, Any] = {}
    exec(text, space)
    answer = space["bptk_factory"]().run_scenarios(
        scenarios=["base"], scenario_managers=["m"], equations=["goods"], return_format="json"
    )
    engine = BptkEngine(Source("m", "bptk", "m.py", {"m.py": text}))
    ours = whole(Begin([("m", "base", Outputs(equations=["goods"]))], rules=RULES), engine.start)
    assert ours == json.loads(answer)


def test_what_began_before_ends_where_it_did() -> None:
    engine, name = ENGINES["written"]
    begin = Begin([("m", "base", Outputs(equations=[name]))], rules=1)
    assert list(whole(begin, engine.start)["m"]["base"]["equations"][name])[-1] == "2.8"


def session(engine: Any, name: str, size: float, **settings: Any) -> StepSession:
    given = {"m": {"base": ScenarioSettings(**settings)}} if settings else {}
    begin = Begin([("m", "base", Outputs(equations=[name]))], settings=given, step_size=size, rules=RULES)
    return StepSession(begin, engine.start)


def labels(one: StepSession, name: str, count: int) -> list[dict[str, float]]:
    return [one.step({}, False)["m"]["base"][name] for _ in range(count)]


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize(
    ("size", "times"),
    [
        (1.0, ["0.0", "0.8", "2.0", "2.8"]),
        (0.4, ["0.0", "0.4", "0.8", "1.2", "1.6", "2.0", "2.4", "2.8"]),
        (0.0, ["0.0", "0.4", "0.8", "1.2", "1.6", "2.0", "2.4", "2.8"]),
        (0.25, ["0.0", "0.0", "0.4", "0.4", "0.8", "1.2", "1.2", "1.6", "2.0"]),
        (1.2, ["0.0", "1.2", "2.4"]),
    ],
)
def test_a_step_is_named_by_the_models_own_time_with_the_value_of_the_whole_run(
    kind: str, size: float, times: list[str]
) -> None:
    engine, name = ENGINES[kind]
    begin = Begin([("m", "base", Outputs(equations=[name]))], rules=RULES)
    series = whole(begin, engine.start)["m"]["base"]["equations"][name]
    # Both libraries go on to the first time that is not before the stop.
    assert list(series) == ["0.0", "0.4", "0.8", "1.2", "1.6", "2.0", "2.4", "2.8", "3.2"]
    rows = labels(session(engine, name, size), name, len(times))
    assert rows == [{time: pytest.approx(series[time])} for time in times]


@pytest.mark.parametrize("kind", ENGINES)
def test_times_that_are_asked_for_have_the_same_rule(kind: str) -> None:
    engine, name = ENGINES[kind]
    one = session(engine, name, 0.5, runspecs={"starttime": 1.0, "stoptime": 2.0, "dt": 0.3})
    assert [next(iter(row)) for row in labels(one, name, 3)] == ["1.0", "1.3", "1.9"]
    assert one.ended


def market(size: float, rules: int = RULES, **settings: Any) -> StepSession:
    file = "agent_market.py"
    engine = BptkEngine(Source("m", "bptk", file, {file: (EXAMPLES / file).read_text()}))
    outputs = Outputs(agents=["consumer"], agent_states=["unaware", "aware", "customer"])
    given = {MARKET: {"base": ScenarioSettings(**settings)}} if settings else {}
    begin = Begin([(MARKET, "base", outputs)], settings=given, step_size=size, rules=rules)
    return StepSession(begin, engine.start)


def counts(one: StepSession, settings: dict[str, Any] | None = None) -> dict[str, int]:
    given = {MARKET: {"base": ScenarioSettings(**settings)}} if settings else {}
    found: dict[str, int] = one.step(given, False)[MARKET]["base"]["agents"]["consumer"]["aware"]
    return found


def test_a_session_of_agents_leaves_out_no_round() -> None:
    one = market(3.0, properties={"advertising": 1})
    assert list(counts(one)) == ["1"]
    assert list(counts(one)) == ["2", "3", "4"]
    # What is set at a step holds from its own round on.
    before = counts(one, {"properties": {"advertising": 0}})
    assert list(before) == ["5", "6", "7"]
    assert list(counts(market(0.0))) == ["1"]


def test_a_session_of_agents_steps_by_whole_rounds() -> None:
    with pytest.raises(Refused, match=r"stepSize: agents advance by rounds of 1\.0"):
        market(0.5)
    assert list(counts(market(0.5, rules=1))) == ["1"]
