"""Scenarios in JSON files, as the bptk-py library reads them from a folder: checked, and what is ignored.

A file has by scenario manager `model`, `source`, `base_constants`, `base_points` and `scenarios`. The library
takes any other name and leaves it alone; one that its own code misses is a `KeyError` there.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable
from typing import Final

from streamsim.models.engines.base import LibraryObject, Refused, ScenarioFound
from streamsim.models.engines.folder import Folder

MAX_SAID: Final = 50
FIELDS: Final = ("constants", "points", "runspecs", "properties", "agents", "strategy", "name")


class Said(io.StringIO):
    """What the library writes to its log file; kept without the time, each once."""

    def __init__(self, kept: list[str]) -> None:
        super().__init__()
        self._kept = kept

    def close(self) -> None:
        text = self.getvalue().strip().partition(", ")[2][:500]
        if text and text not in self._kept and len(self._kept) < MAX_SAID:
            self._kept.append(text)
        super().close()


def check(folder: Folder) -> None:
    """Read the scenario files of a folder. :raises Refused: naming file, line and what was expected."""
    for name in folder.files:
        place, _, file = name.rpartition("/")
        if place == "scenarios" and file.lower().endswith(".json"):
            _check(name, folder.text(name))


def _check(name: str, text: str) -> None:
    try:
        managers = json.loads(text)
    except ValueError as broken:
        line = f", line {broken.lineno}" if isinstance(broken, json.JSONDecodeError) else ""
        what = broken.msg if isinstance(broken, json.JSONDecodeError) else str(broken)
        raise Refused(f"{name}{line}: this is no JSON: {what}") from None
    if not isinstance(managers, dict):
        raise Refused(f"{name}: expecting an object of scenario manager -> its model and scenarios")
    for manager, parts in managers.items():
        if manager == "type":
            continue
        if not isinstance(parts, dict):
            raise Refused(f"{name}: scenario manager {manager}: expecting an object")
        for part, kind, form in (
            ("scenarios", dict, "an object of name -> scenario"),
            ("model", str, "text"),
        ):
            if not isinstance(parts.get(part), kind):
                raise Refused(
                    f"{name}: scenario manager {manager}: expecting {part}, {form}; bptk-py needs it"
                )
        for scenario, fields in parts["scenarios"].items():
            if not isinstance(fields, dict):
                raise Refused(f"{name}: scenario {scenario} of {manager}: expecting an object")


def constants(scenario: LibraryObject) -> frozenset[str]:
    """Names that a scenario of the library gives values to; empty for one of agents."""
    given = getattr(scenario, "constants", None)
    return frozenset(given) if isinstance(given, dict) else frozenset()


def points(manager: LibraryObject, scenario: LibraryObject) -> frozenset[str]:
    """Tables that a scenario gives and its model, which is made of XMILE, does not have.

    Equations in Python may look up a table that scenarios alone have.
    """
    given = getattr(scenario, "points", None)
    if manager.type == "abm" or getattr(manager, "model", None) is not None or not given:
        return frozenset()
    return frozenset(given) - frozenset(type(scenario.model)().points)


def ignored(scenario: LibraryObject, manager: str, found: ScenarioFound, tables: Iterable[str]) -> list[str]:
    """Warnings for what a scenario sets and its model does not have. `tables`: as `points` tells."""
    where = f"scenario {scenario.name} of {manager}"
    known = {name for names in found.equations.values() for name in names} | set(found.more)
    result = [
        f"{where}: the model has no constant {name}; it is ignored"
        for name in constants(scenario)
        if name not in known and name.partition("[")[0] not in known
    ]
    result += [f"{where}: the model has no points {name}; they are ignored" for name in tables]
    fields = getattr(scenario, "dictionary", None)
    result += [
        f"{where}: bptk-py ignores {name}"
        for name in (fields if isinstance(fields, dict) else ())
        if name not in FIELDS or name == "strategy"
    ]
    return result[:MAX_SAID]
