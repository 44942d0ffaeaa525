"""Theta that lives and dies with a simulation: `Theta` on plain dicts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from streamsim.decisions.theta import Row, copied


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
    """Rows by experiment, name and key. A write replaces a row for good: nothing is undone.

    `groups`: by (experiment, name, key); none is empty.
    """

    def __init__(self) -> None:
        self.groups: dict[tuple[str, str, str], Group] = {}

    def row(self, row: Row) -> dict[str, Any] | None:
        """As `Theta.row`."""
        group = self.groups.get(row[:3])
        return None if group is None else group.rows.get(row[3])

    def group(self, experiment: str, name: str, key: str | None) -> dict[Row, dict[str, Any]]:
        """As `Theta.group`."""
        return {
            (e, n, k, value): data
            for (e, n, k), group in self.groups.items()
            if e == experiment and n == name and key in (None, k)
            for value, data in group.rows.items()
        }

    def write(self, row: Row, data: dict[str, Any] | None) -> None:
        """As `Theta.write`."""
        address = row[:3]
        group = self.groups.get(address)
        if data is not None:
            if group is None:
                group = self.groups[address] = Group()
            group.write(row[3], data)
        elif group is not None:
            group.rows.pop(row[3], None)
            if not group.rows:
                del self.groups[address]

    def snapshot(self, experiment: str) -> dict[Row, dict[str, Any]]:
        """All rows of an experiment now; the dicts are shared and never changed in place."""
        return {
            (*address, value): data
            for address, group in self.groups.items()
            if address[0] == experiment
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
