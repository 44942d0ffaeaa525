"""Theta that lives and dies with a simulation: `Theta` on plain dicts."""

from __future__ import annotations

from typing import Any

from streamsim.decisions.theta import Row


class MemoryTheta:
    """Rows by experiment, name and key. A write replaces a row for good: nothing is undone."""

    def __init__(self, rows: dict[Row, dict[str, Any]] | None = None) -> None:
        self._groups: dict[tuple[str, str, str], dict[Row, dict[str, Any]]] = {}
        self._rows: dict[Row, dict[str, Any]] = {}
        for row, data in (rows or {}).items():
            self.write(row, data)

    def row(self, row: Row) -> dict[str, Any] | None:
        """As `Theta.row`."""
        return self._rows.get(row)

    def group(self, experiment: str, name: str, key: str | None) -> dict[Row, dict[str, Any]]:
        """As `Theta.group`."""
        if key is not None:
            return self._groups.get((experiment, name, key), {})
        return {row: data for row, data in self._rows.items() if row[0] == experiment and row[1] == name}

    def write(self, row: Row, data: dict[str, Any] | None) -> None:
        """As `Theta.write`."""
        experiment, name, key, _ = row
        if data is None:
            self._rows.pop(row, None)
            self._groups.get((experiment, name, key), {}).pop(row, None)
            return
        group = self._groups.get((experiment, name, key))
        if group is None:
            group = self._groups[experiment, name, key] = {}
        self._rows[row] = group[row] = data

    def snapshot(self, experiment: str) -> dict[Row, dict[str, Any]]:
        """All rows of an experiment now; the dicts are shared and never changed in place."""
        return {row: data for row, data in self._rows.items() if row[0] == experiment}
