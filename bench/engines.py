"""`python -m bench.engines`: what whole runs of models cost beside the libraries called directly.

Both sides have loaded the model, and give every variable at every saved time as JSON text: ours in the
program that sandboxed workers run, the library by its own `run` (`run_scenarios` of bptk-py), in one process,
timed in turn by CPU time. The numbers must be equal. The last one is a market of 100,000 agents.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import random
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from bench.simulation import Silent
from streamsim.models.engines.base import KINDS, RULES
from streamsim.programs.model import Program

EXAMPLES = Path(__file__).parents[1] / "examples"
AGENTS = 100_000
CONTROL = """
FINAL TIME = {stop} ~~|
INITIAL TIME = 0 ~~|
SAVEPER = TIME STEP ~~|
TIME STEP = {step} ~~|
"""
PLAIN = """
births = population * birth rate * effect of crowding ~~|
birth rate = 0.04 ~~|
deaths = population / lifetime ~~|
lifetime = 60 + SMOOTH(food, 5) ~~|
population = INTEG(births - deaths, 100) ~~|
crowding = population / land ~~|
land = 50 ~~|
effect of crowding = table(crowding) ~~|
table((0,1.2),(2,1),(4,0.6),(10,0.1)) ~~|
food = harvest / population ~~|
harvest = DELAY3(planted, 2) ~~|
planted = land * yield * (1 + 0.1 * SIN(Time)) ~~|
yield = 30 + STEP(5, 20) ~~|
stored = INTEG(harvest - eaten, 100) ~~|
eaten = MIN(stored, population * 10) ~~|
"""
REGIONS = """
Region : (r1 - r42) ~~|
birth rate[Region] = 0.03 ~~|
lifetime[Region] = 60 ~~|
people[Region] = INTEG(births[Region] - deaths[Region] + moves[Region], 100) ~~|
births[Region] = people[Region] * birth rate[Region] ~~|
deaths[Region] = people[Region] / lifetime[Region] ~~|
wealth[Region] = INTEG(income[Region] - people[Region], 500) ~~|
income[Region] = people[Region] * (1 + share[Region]) ~~|
share[Region] = people[Region] / all ~~|
moves[Region] = (all / 42 - people[Region]) / 20 ~~|
all = SUM(people[Region!]) ~~|
"""
"""Ten variables of 42 elements."""
THREE = """
Region : (r1 - r5) ~~|
Age : young, middle, old ~~|
Skill : (s1 - s4) ~~|
k[Region] = 0.1, 0.2, 0.3, 0.4, 0.5 ~~|
w[Age, Skill] = 1, 2, 3, 4; 4, 5, 6, 7; 7, 8, 9, 10; ~~|
level[Region, Age, Skill] = INTEG(inflow[Region, Age, Skill] - outflow[Region, Age, Skill], 1) ~~|
inflow[Region, Age, Skill] = k[Region] * w[Age, Skill] ~~|
outflow[Region, Age, Skill] = level[Region, Age, Skill] * part[Region] ~~|
part[Region] = k[Region] / (1 + total[Region]) ~~|
total[Region] = SUM(level[Region, Age!, Skill!]) ~~|
all = SUM(total[Region!]) ~~|
"""
XMILE = """<?xml version="1.0" encoding="utf-8"?>
<xmile version="1.0" xmlns="http://docs.oasis-open.org/xmile/ns/XMILE/v1.0">
<header><name>f</name><vendor>streamsim</vendor><product version="1.0" lang="en">streamsim</product></header>
<sim_specs method="Euler" time_units="Days"><start>0</start><stop>400</stop><dt>0.25</dt></sim_specs>
<model><variables>
<stock name="susceptible"><eqn>990</eqn><outflow>infection</outflow></stock>
<stock name="infected"><eqn>10</eqn><inflow>infection</inflow><outflow>recovery</outflow></stock>
<stock name="recovered"><eqn>0</eqn><inflow>recovery</inflow></stock>
<flow name="infection"><eqn>susceptible * infected / everyone * contacts * risk</eqn></flow>
<flow name="recovery"><eqn>infected / duration</eqn></flow>
<aux name="everyone"><eqn>susceptible + infected + recovered</eqn></aux>
<aux name="contacts"><eqn>IF infected &gt; 100 THEN 4 ELSE 8</eqn></aux>
<aux name="risk"><eqn>0.05</eqn></aux>
<aux name="duration"><eqn>6 + SMTH1(load, lag, none)</eqn></aux>
<aux name="lag"><eqn>5</eqn></aux><aux name="none"><eqn>0</eqn></aux>
<aux name="load"><eqn>MAX(0, infected / everyone - 0.1)</eqn></aux>
</variables></model></xmile>
"""


def vensim(equations: str, stop: float, step: float) -> str:
    """A Vensim file of equations, each `name = expression ~~|`."""
    return "{UTF-8}\n" + (equations + CONTROL.format(stop=stop, step=step)).replace(
        "~~|", "\n\t~\n\t~\n\t|\n"
    )


class Model(NamedTuple):
    """A model file. `about`: as it is printed. `stop`: when it is to end, if not as the file says."""

    about: str
    engine: str
    file: str
    text: str
    stop: float | None = None


def models() -> list[Model]:
    """Five models, of both libraries."""
    customers = (EXAMPLES / "customer_acquisition.py").read_text()
    return [
        Model("Vensim, 15 variables, 1,601 times", "pysd", "plain.mdl", vensim(PLAIN, 200, 0.125)),
        Model("Vensim, 10 of 42 elements, 91 times", "pysd", "regions.mdl", vensim(REGIONS, 90, 1)),
        Model("Vensim, 3 subscripts, 401 times", "pysd", "three.mdl", vensim(THREE, 100, 0.25)),
        Model("Python, 15 equations, 2,001 times", "bptk", "customers.py", customers, 2001),
        Model("XMILE compiled, 1,601 times", "bptk", "epidemic.stmx", XMILE),
    ]


def loaded(model: Model) -> Program:
    """The program of workers with a model."""
    source = {"name": "m", "engine": model.engine, "main": model.file, "files": {model.file: model.text}}
    return Program({"models": [source]}, Silent())  # type: ignore[arg-type]


def ours(program: Program, stop: float | None) -> tuple[Callable[[], bytes], list[str]]:
    """A run in the program of workers; and the equations that it answers."""
    manager, scenarios = next(iter(program.loaded["m"].managers.items()))
    scenario, found = next(iter(scenarios.items()))
    names = [name for kind in KINDS if kind != "points" for name in found.equations[kind]]
    outputs = {"equations": names, "agents": list(found.agents)}
    settings = {manager: {scenario: {"runspecs": {"stoptime": stop}}}} if stop else {}
    begin = {"scenarios": [[manager, scenario, outputs]], "settings": settings, "seed": 1, "rules": RULES}
    return lambda: bytes(program.handle([{"op": "run", "begin": begin}])), names


def theirs(model: Model, names: list[str], folder: Path) -> Callable[[], str]:
    """A run of the library called directly, with the same equations."""
    path = folder / model.file
    path.write_text(model.text)
    if model.engine == "pysd":
        import pysd

        loaded = pysd.read_vensim(str(path))
        return lambda: str(loaded.run().to_json())
    if model.file.endswith(".py"):
        space: dict[str, Any] = {"__name__": "model"}
        exec(model.text, space)
        bptk = space["bptk_factory"]()
    else:
        bptk = compiled(path)
    manager, held = next(iter(bptk.scenario_manager_factory.scenario_managers.items()))
    scenario = next(iter(held.scenarios))
    if model.stop is not None:
        held.scenarios[scenario].stoptime = held.scenarios[scenario].model.stoptime = model.stop

    def run() -> str:
        bptk.reset_scenario_cache(manager, scenario)
        return str(
            bptk.run_scenarios(
                scenarios=[scenario], scenario_managers=[manager], equations=names, return_format="json"
            )
        )

    return run


def compiled(path: Path) -> Any:
    """An XMILE file as the library's own object, in the way of its documentation: compiled into a file."""
    import BPTK_Py
    from BPTK_Py.scenariomanager import ScenarioManagerSd
    from BPTK_Py.scenariomanager.scenario import SimulationScenario
    from BPTK_Py.sdcompiler import compile_xmile

    target = path.with_suffix(".py")
    compile_xmile(str(path), str(target), "py")
    space: dict[str, Any] = {}
    exec(target.read_text(), space)
    model = space["simulation_model"]()
    held = ScenarioManagerSd(scenarios={}, name="m")
    held.scenarios["base"] = SimulationScenario({"points": model.points}, "base", model, "m")
    bptk = BPTK_Py.bptk()
    bptk.scenario_manager_factory.scenario_managers["m"] = held
    return bptk


def market(program: Program, text: str) -> tuple[Callable[[], bytes], Callable[[], str]]:
    """A market of many consumers: ours and theirs, each made anew."""
    states = ["unaware", "aware", "customer"]
    outputs = {"agents": ["consumer"], "agent_states": states}
    begin = {"scenarios": [["agent_market", "campaign", outputs]], "seed": 1, "rules": RULES}

    def library() -> str:
        random.seed(1)
        space: dict[str, Any] = {"__name__": "market"}
        exec(text, space)
        bptk = space["bptk_factory"]()
        return str(
            bptk.run_scenarios(
                scenarios=["campaign"],
                scenario_managers=["agent_market"],
                agents=["consumer"],
                agent_states=states,
                return_format="json",
            )
        )

    return lambda: bytes(program.handle([{"op": "run", "begin": begin}])), library


def compare(rounds: int) -> None:
    """Measure each, and print the least times, and the median of the ratios of neighbours in time."""
    with tempfile.TemporaryDirectory(prefix="streamsim-bench-") as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        print(f"{'one whole run, CPU seconds':38}{'ours':>8}{'library':>9}{'ratio':>7}")
        for model in models():
            with closing(loaded(model)) as program:
                run, names = ours(program, model.stop)
                row(model.about, run, theirs(model, names, Path(folder)), rounds)
            gc.collect()
        text = (EXAMPLES / "agent_market.py").read_text().replace('"count": 100}', f'"count": {AGENTS}}}')
        with closing(loaded(Model("", "bptk", "market.py", text))) as program:
            row(f"Python, {AGENTS:,} agents, 20 rounds", *market(program, text), 1)


def row(about: str, run: Callable[[], bytes], library: Callable[[], str], rounds: int) -> None:
    """Measure one model, and print its line. :raises SystemExit: the numbers differ."""
    found = []
    for _ in range(rounds):
        spent, answers = [], []
        for call in (run, library):
            began = time.process_time()
            text = call()
            spent.append(time.process_time() - began)
            answers.append(series(json.loads(text)))
        if not equal(*answers):
            raise SystemExit(f"{about}: the numbers differ")
        found.append(spent)
    one, other = (min(spent[place] for spent in found) for place in range(2))
    ratio = statistics.median(spent[0] / spent[1] for spent in found)
    print(f"{about:38}{one:8.2f}{other:9.2f}{ratio:7.2f}", flush=True)


def series(answer: Any, name: str = "") -> dict[str, list[float | None]]:
    """The values of each series by name; a series is what has no objects below it."""
    if not any(isinstance(value, dict) for value in answer.values()):
        return {name.replace(", ", ","): list(answer.values())}
    return {key: values for name, below in answer.items() for key, values in series(below, name).items()}


def equal(ours: dict[str, list[float | None]], theirs: dict[str, list[float | None]]) -> bool:
    """Whether all series of theirs are ours, to the digits that a data frame prints."""
    return all(
        len(ours[name]) == len(values)
        and all(
            one == other
            or (
                one is not None and other is not None and math.isclose(one, other, rel_tol=1e-8, abs_tol=1e-9)
            )
            for one, other in zip(ours[name], values, strict=True)
        )
        for name, values in theirs.items()
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.engines", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each; medians are printed")
    compare(parser.parse_args().rounds)


if __name__ == "__main__":
    main()
