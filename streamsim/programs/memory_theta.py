"""Theta that lives and dies with a simulation: `Theta` on plain dicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamsim.decisions.wire import WireRow
from streamsim.programs.theta import copied


class Group:
    """The rows of one experiment, name and key, and the cheapest function that copies any of them."""

    __slots__ = ("copy", "level", "rows")

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self.level = 0
        self.copy: Callable[[dict[str, Any]], dict[str, Any]] = dict.copy

    def write(self, value: str, data: dict[str, Any]) -> None:
        self.rows[value] = data
        level = _level(data)
        if level > self.level:
            self.level, self.copy = level, _COPIES[level]


class MemoryTheta:
    """Rows by experiment, name and key. A write replaces a row for good: nothing is undone."""

    def __init__(self) -> None:
        self._named: dict[tuple[str, str], dict[str, Group]] = {}

    def groups(self, experiment_id: str, name: str) -> dict[str, Group]:
        """By key, none empty; the dict stays the same one as rows come and go."""
        return self._named.setdefault((experiment_id, name), {})

    def row(self, row: WireRow) -> dict[str, Any] | None:
        """As `Theta.row`."""
        group = self.groups(*row[:2]).get(row[2])
        return None if group is None else group.rows.get(row[3])

    def group(self, experiment_id: str, name: str, key: str | None) -> dict[WireRow, dict[str, Any]]:
        """As `Theta.group`."""
        return {
            (experiment_id, name, k, value): data
            for k, group in self.groups(experiment_id, name).items()
            if key in (None, k)
            for value, data in group.rows.items()
        }

    def write(self, row: WireRow, data: dict[str, Any] | None) -> None:
        """As `Theta.write`."""
        groups = self.groups(*row[:2])
        group = groups.get(row[2])
        if data is not None:
            if group is None:
                group = groups[row[2]] = Group()
            group.write(row[3], data)
        elif group is not None:
            group.rows.pop(row[3], None)
            if not group.rows:
                del groups[row[2]]

    def snapshot(self, experiment_id: str) -> dict[WireRow, dict[str, Any]]:
        """All rows of an experiment now; the dicts are shared and never changed in place."""
        return {
            (*address, key, value): data
            for address, groups in self._named.items()
            if address[0] == experiment_id
            for key, group in groups.items()
            for value, data in group.rows.items()
        }


def _level(data: dict[str, Any]) -> int:
    """How deep a dict must be copied: itself, its lists too, or all of it."""
    kinds = set(map(type, data.values()))
    if dict in kinds:
        return 2
    if list not in kinds:
        return 0
    within = set[type]().union(*(map(type, item) for item in data.values() if type(item) is list))
    return 2 if dict in within or list in within else 1


def _with_lists(data: dict[str, Any]) -> dict[str, Any]:
    return {name: item.copy() if type(item) is list else item for name, item in data.items()}


_COPIES = (dict.copy, _with_lists, copied)
