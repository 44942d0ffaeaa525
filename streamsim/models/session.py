"""Stepping through scenarios, and whole runs of them: what the model program does with its engines.

Answers have the forms of BptkServer. Times are the library's: rounded to the step, as text of a float.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from streamsim.models.engines.base import Outputs, Refused, ScenarioSettings, Simulation, time_text
from streamsim.values import JsonObject

STOPPED = {"msg": "Stoptime reached"}
MAX_STEPS = 1_000_000

Start = Callable[[str, str, Outputs, int], Simulation]
SettingsBy = dict[str, dict[str, ScenarioSettings]]


class Begin(msgspec.Struct, frozen=True):
    """What is simulated: (manager, scenario, its outputs) in order. `step_size`: 0 takes the models' dt.

    `rules`: as `engines.base.RULES`; 0 in journals that do not name them.
    """

    scenarios: list[tuple[str, str, Outputs]]
    settings: SettingsBy = {}
    seed: int = 0
    step_size: float = 1.0
    rules: int = 0


class StepSession:
    """Scenarios that advance together, step by step, and what they answered so far."""

    def __init__(self, begin: Begin, start: Start) -> None:
        self._simulations = started(begin, start)
        simulations = self._simulations.values()
        rounds = begin.rules > 1 and any(hasattr(simulation, "rounds") for simulation in simulations)
        self.size = begin.step_size or (1.0 if rounds else min(one.dt for one in simulations))
        if rounds and self.size != int(self.size):
            raise Refused("stepSize: agents advance by rounds of 1.0, and so does a session with them")
        self.start = max(simulation.start for simulation in simulations)
        self._steps = 0
        self.next = round(self.start, 10)
        """The time of the next step."""
        self._log: list[dict[tuple[str, str], tuple[str, JsonObject]]] = []

    @property
    def stop(self) -> float:
        """The time after which there is no step; a model may move it."""
        return min(simulation.stop for simulation in self._simulations.values())

    @property
    def ended(self) -> bool:
        """Whether the stop time was passed."""
        return self.next > self.stop

    def step(self, settings: SettingsBy, flat: bool) -> JsonObject:
        """Advance by one step; its answer. :raises Refused: nothing was advanced."""
        if self.ended:
            return STOPPED
        time = self.next
        change(self._simulations, settings, time)
        values = {}
        for address, simulation in self._simulations.items():
            row = simulation.step(time)
            # Where the step of the session is no multiple of the model's, the model's own time is the key.
            values[address] = (time_text(getattr(simulation, "now", time)), row)
        self._log.append(values)
        self._steps += 1
        # Rounded, so that 0.1 + 0.2 is 0.3 as a key.
        self.next = round(self.start + self._steps * self.size, 10)
        result: JsonObject = {}
        for (manager, scenario), (text, row) in values.items():
            result.setdefault(manager, {})[scenario] = _at(row, text, flat)
        return result

    def results(self, flat: bool) -> JsonObject:
        """All steps so far by manager, scenario and equation; `{}` before the first."""
        result: JsonObject = {}
        for values in self._log:
            for (manager, scenario), (text, row) in values.items():
                entry = result.setdefault(manager, {}).setdefault(scenario, {})
                _collect(entry, row, text, flat)
        return result


def whole(begin: Begin, start: Start) -> JsonObject:
    """Each scenario from its start to its stop time at its own dt."""
    simulations = started(begin, start)
    result: JsonObject = {}
    for manager, scenario, outputs in begin.scenarios:
        simulation = simulations[manager, scenario]
        entry = result.setdefault(manager, {}).setdefault(scenario, {})
        series: dict[str, JsonObject] = {name: {} for name in outputs.equations}
        for time in times(simulation):
            row = simulation.step(time)
            text = time_text(time)
            for name, values in series.items():
                values[text] = row[name]
            if "agents" in row:
                _merge(entry.setdefault("agents", {}), row["agents"])
        if series:
            entry["equations"] = {name: _one_type(values) for name, values in series.items()}
    return result


def started(begin: Begin, start: Start) -> dict[tuple[str, str], Simulation]:
    """All scenarios of a request at their beginning, with its settings."""
    if not begin.scenarios:
        raise Refused("expecting scenarios to be set")
    simulations = {
        (manager, scenario): start(manager, scenario, outputs, begin.rules)
        for manager, scenario, outputs in begin.scenarios
    }
    change(simulations, begin.settings, None)
    return simulations


def change(simulations: dict[tuple[str, str], Simulation], settings: SettingsBy, time: float | None) -> None:
    """Apply settings to the scenarios that they name. :raises Refused: one is not simulated."""
    for manager, by_scenario in settings.items():
        for scenario, overrides in by_scenario.items():
            if (manager, scenario) not in simulations:
                raise Refused(f"settings: scenario {scenario} of {manager} is not simulated here")
            simulations[manager, scenario].change(overrides, time)


def times(simulation: Simulation) -> Iterator[float]:
    """The times of a whole run: from start to stop by dt, or by rounds where there are agents; the
    simulation's own where it has some."""
    own = getattr(simulation, "times", None)
    if own is not None:
        yield from own()
        return
    dt = 1.0 if hasattr(simulation, "rounds") else simulation.dt
    steps = int((simulation.stop - simulation.start) / dt + 1e-9)
    if steps > MAX_STEPS:
        raise Refused(f"runspecs: at most {MAX_STEPS} steps")
    normalize = getattr(simulation, "normalize", lambda time: round(time, 10))
    for step in range(steps + 1):
        yield normalize(simulation.start + step * dt)


def _at(row: JsonObject, time: str, flat: bool) -> JsonObject:
    return {name: value if flat or name == "agents" else {time: value} for name, value in row.items()}


def _collect(entry: JsonObject, row: JsonObject, time: str, flat: bool) -> None:
    for name, value in row.items():
        if name == "agents":
            _merge(entry.setdefault("agents", {}), value)
            continue
        series = entry.setdefault("equations", {}).setdefault(name, [] if flat else {})
        if flat:
            series.append(value)
        else:
            series[time] = value


def _merge(into: JsonObject, new: JsonObject) -> None:
    for key, value in new.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge(into[key], value)
        else:
            into[key] = value


def _one_type(series: JsonObject) -> JsonObject:
    """Integers among floats become floats, as in a data frame's column."""
    kinds = {type(value) for value in series.values()}
    if int not in kinds or not kinds & {float, type(None)}:
        return series
    return {time: float(value) if type(value) is int else value for time, value in series.items()}
