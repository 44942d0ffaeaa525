"""Agents in sweeps: their figures as one series each, by the path in the answer of a run at which it is.

A path is `[type, state]` for how many there are, or `[type, state, "properties", property, which]` for the
`max`, `mean`, `min` or `total` of a property.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamsim.models.engines.base import Outputs, ScenarioFound
from streamsim.values import Json, JsonObject

PROPERTY_TYPES = ("max", "mean", "min", "total")


def agent_paths(outputs: Outputs, scenario: ScenarioFound) -> list[list[str]]:
    """The paths of all figures that are asked for; without `agent_states` of the states that are known."""
    paths = []
    for agent in outputs.agents:
        for state in outputs.agent_states or scenario.agents[agent]["states"]:
            if not outputs.agent_properties:
                paths.append([agent, state])
            for name in outputs.agent_properties:
                for kind in outputs.agent_property_types or PROPERTY_TYPES:
                    paths.append([agent, state, "properties", name, kind])
    return paths


class Figures:
    """The series at some paths, over the steps of one run."""

    def __init__(self, paths: Sequence[Sequence[str]]) -> None:
        self._paths = paths
        self.times: list[str] = []
        self.values: list[list[float | None]] = [[] for _ in paths]

    def add(self, answer: JsonObject) -> None:
        """What a step answered of the agents: at each path values by time."""
        for number, (path, series) in enumerate(zip(self._paths, self.values, strict=True)):
            found: Any = answer
            for key in path:
                found = found[key]
            if number == 0:
                self.times += found
            series += found.values()


def nested(paths: Sequence[Sequence[str]], values: Sequence[Json]) -> JsonObject:
    """An object that has each value at its path."""
    result: JsonObject = {}
    for path, value in zip(paths, values, strict=True):
        inner = result
        for key in path[:-1]:
            inner = inner.setdefault(key, {})
        inner[path[-1]] = value
    return result
