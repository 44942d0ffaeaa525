"""Agent-based and hybrid scenarios of bptk-py: its scheduler's rounds, its collector's statistics."""

from __future__ import annotations

from collections.abc import Callable

from streamsim.models.engines.base import (
    RULES,
    LibraryObject,
    ModelValue,
    Outputs,
    Refused,
    ScenarioSettings,
    named,
    number,
    time_text,
)
from streamsim.values import Json, JsonObject

PROPERTY_TYPES = ("max", "mean", "min", "total")


class AgentSimulation:
    """One scenario with agents. A step is one round, which is 1.0 of model time."""

    rounds = True

    def __init__(
        self,
        library: LibraryObject,
        model: LibraryObject,
        where: str,
        outputs: Outputs,
        rules: int = RULES,
    ) -> None:
        self._model, self._where, self._outputs = model, where, outputs
        self._rules = rules
        self._next: int | None = None  # round
        self.start, self.stop, self.dt = float(model.starttime), float(model.stoptime), float(model.dt)
        self._seen = 0
        named(outputs.equations, model.equations, "equation", where)
        named(outputs.agents, agent_types(model), "agent", where)
        named(list(outputs.individual_agent_properties), model.agent_type_map, "agent", where)
        named(outputs.agent_property_types, PROPERTY_TYPES, "agent_property_type", where)
        if model.data_collector:
            model.data_collector.reset()
        model.scheduler.progress = 0

    def change(self, settings: ScenarioSettings, time: float | None) -> None:
        model = self._model
        for name in settings.constants:
            if name not in model.equations and name not in model.properties:
                raise Refused(f"unknown constant {name} in {self._where}")
        named(list(settings.points), model.points, "points", self._where)
        named(list(settings.properties), model.properties, "property", self._where)
        for spec in settings.agents or []:
            if not isinstance(spec.get("name"), str) or type(spec.get("count")) is not int:
                raise Refused("agents: each needs a name (text) and a count (integer)")
            named([spec["name"]], model.agent_factories, "agent", self._where)
        if settings.stocks or settings.initial:
            raise Refused(
                f"stocks of {self._where} cannot be set: it has agents; set constants or properties"
            )
        if settings.runspecs:
            self._change_specs(settings, time)
        if time is not None and self._rules > 1:
            # What is set holds from this time on.
            self._run(int(time) - 1)
        for name, value in settings.constants.items():
            if name in model.properties:
                model.set_property_value(name, value)
            else:
                model.equations[name] = _fixed(value)
        model.points.update({name: [list(p) for p in v] for name, v in settings.points.items()})
        for name, value in settings.properties.items():
            if isinstance(value, dict) and "value" in value:
                model.configure_properties({name: {**model.properties[name], **value}})
            else:
                model.set_property_value(name, value)
        if settings.agents is not None:
            model.next_agent_id = 0
            model.configure_agents(settings.agents)

    def _change_specs(self, settings: ScenarioSettings, time: float | None) -> None:
        if time is not None:
            raise Refused("runspecs can be set when a simulation begins, not at a step")
        specs = settings.runspecs
        start, stop, dt = specs.get("starttime"), specs.get("stoptime"), specs.get("dt")
        model = self._model
        # Rounds are counted in integers.
        for name, value in (("starttime", start), ("stoptime", stop)):
            if value is not None and value != int(value):
                raise Refused(f"runspecs.{name} of an agent-based scenario must be an integer")
        if dt is not None and not 0 < dt <= 1:
            raise Refused("runspecs.dt of an agent-based scenario must be above 0 and at most 1")
        model.run_specs(
            int(model.starttime if start is None else start),
            int(model.stoptime if stop is None else stop),
            model.dt if dt is None else (1 if dt == 1 else dt),
        )
        if model.stoptime < model.starttime:
            raise Refused(f"runspecs of {self._where}: stoptime must not be before starttime")
        self.start, self.stop, self.dt = float(model.starttime), float(model.stoptime), float(model.dt)

    def points(self, name: str) -> list[list[float]]:
        """A table as it is now."""
        return [[float(x), float(y)] for x, y in self._model.points[name]]

    def step(self, time: float) -> JsonObject:
        model = self._model
        self._run(int(time))
        statistics = model.statistics() or {}
        times = list(statistics)[self._seen :]
        self._seen = len(statistics)
        result: JsonObject = {
            name: number(model.evaluate_equation(name, time)) for name in self._outputs.equations
        }
        if self._outputs.agents:
            result["agents"] = {
                agent: self._agent(agent, {t: statistics[t] for t in times}) for agent in self._outputs.agents
            }
        return result

    def _run(self, last: int) -> None:
        """The rounds up to the last. A session may step over some, or begin later than the agents do."""
        model = self._model
        first = last if self._rules < 2 else int(self.start) if self._next is None else self._next
        for round_ in range(first, last + 1):
            for step in range(round(1 / model.dt)):
                model.scheduler.run_step(model, round_, step, None, True)
            self._next = round_ + 1

    def _agent(self, agent: str, statistics: dict[float, LibraryObject]) -> JsonObject:
        """Of one agent type: `{state: {time: count}}`, or its properties by state."""
        outputs = self._outputs
        states = list(outputs.agent_states)
        if not states:
            states = agent_types(self._model).get(agent, {}).get("states", [])
        result: JsonObject = {}
        for state in states:
            rows = {time_text(t): row.get(agent, {}).get(state, {}) for t, row in statistics.items()}
            if outputs.agent_properties:
                kinds = sorted(outputs.agent_property_types) or PROPERTY_TYPES
                result[state] = {
                    "properties": {
                        name: {
                            kind: {t: number(row.get(name, {}).get(kind, 0)) for t, row in rows.items()}
                            for kind in kinds
                        }
                        for name in outputs.agent_properties
                    }
                }
            else:
                result[state] = {t: row.get("count", 0) for t, row in rows.items()}
        wanted = outputs.individual_agent_properties.get(agent)
        if wanted:
            result["instances"] = {
                str(member.id): {
                    name: _plain(member.properties[name]) for name in wanted if name in member.properties
                }
                for member in self._model.agents
                if member.agent_type == agent
            }
        return result


def agent_types(model: LibraryObject) -> dict[str, dict[str, list[str]]]:
    """States and properties of each agent type: what its agents are in, and what they have handlers for.

    Every type that the model can make is there, also if it has no agent yet. Agents may reach states, and be
    given properties, that are not in these lists.
    """
    types: dict[str, dict[str, list[str]]] = {
        name: {"properties": [], "states": []} for name in (*model.agent_factories, *model.agent_type_map)
    }
    for agent in model.agents:
        entry = types.setdefault(agent.agent_type, {"properties": [], "states": []})
        for state in (agent.state, *agent.eventHandlers):
            if state not in entry["states"]:
                entry["states"].append(state)
        for name in agent.properties:
            if name not in entry["properties"]:
                entry["properties"].append(name)
    return types


def _fixed(value: Json) -> Callable[[float], Json]:
    return lambda t: value


def _plain(value: ModelValue) -> Json:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value if isinstance(value, str) or value is None else number(value)
