"""Theta as policy code sees it: a cache of rows in the worker, written to as an optimistic transaction.

Reads come from the cache, and a miss asks the host. Writes change the cache at once and are journalled, so
that a failed call or a refused commit is undone. What was read is remembered with its version: the store
accepts the writes only while every one of those versions is still current.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import msgspec

from streamsim import values
from streamsim.decisions.wire import WireAddress, WireRow, WireRows

_ABSENT: tuple[None, int] = (None, 0)
_parse = msgspec.json.Decoder(dict[str, Any]).decode
_pack, _unpack = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode


def copied(value: Any) -> Any:
    """A deep copy of a JSON value."""
    kind = type(value)
    if kind is dict:
        return {key: copied(item) if type(item) in (dict, list) else item for key, item in value.items()}
    if kind is list:
        kinds = set(map(type, value))
        # A list within a list, such as a matrix, is copied faster by writing and reading it.
        return value.copy() if dict not in kinds and list not in kinds else _unpack(_pack(value))
    return value


class Theta(Protocol):
    """What policy code's get_theta, set_theta and delete_theta stand on."""

    def row(self, row: WireRow) -> dict[str, Any] | None:
        """The stored dict of a row, not to be changed; None if there is none."""

    def group(self, experiment_id: str, name: str, key: str | None) -> dict[WireRow, dict[str, Any]]:
        """All rows of (experiment, name, key), or of (experiment, name) for `key=None`."""

    def write(self, row: WireRow, data: dict[str, Any] | None) -> None:
        """Replace a row that was read before, or delete it with None."""


class ThetaCache:
    """Rows of all experiments that one worker has touched, with the versions the store gave them.

    :param fetch: asks the host for a scope: `fetch(experiment, name, key, value) -> Answer`.
    :param max_rows: above this many rows, everything is forgotten between two batches.
    """

    def __init__(self, fetch: Callable[[str, str, str | None, str | None], WireRows], max_rows: int) -> None:
        self._fetch = fetch
        self._max_rows = max_rows
        self._rows: dict[WireRow, tuple[dict[str, Any] | None, int]] = {}
        # Scopes of which every row is known: version, and members; a member may be a row deleted or undone.
        self._whole: dict[WireAddress, tuple[int, dict[WireRow, None]]] = {}
        self._journal: list[tuple[WireRow, tuple[dict[str, Any] | None, int], bool]] = []
        self.reads: dict[WireAddress, int] = {}
        self.writes: dict[WireRow, dict[str, Any] | None] = {}

    # ---- what a call may do

    def row(self, row: WireRow) -> dict[str, Any] | None:
        """As `Theta.row`."""
        data, version = self._known(row)
        if row not in self.writes:
            self.reads.setdefault(row, version)
        return data

    def group(self, experiment_id: str, name: str, key: str | None) -> dict[WireRow, dict[str, Any]]:
        """As `Theta.group`."""
        address = (experiment_id, name, key, None)
        rows = self._rows
        live = {}
        for row in self._whole_scope(address):
            data = rows[row][0]
            if data is not None:
                live[row] = data
        return live

    def write(self, row: WireRow, data: dict[str, Any] | None) -> None:
        """As `Theta.write`; the row must have been read in this batch."""
        before = self._rows[row]
        self._journal.append((row, before, row in self.writes))
        experiment_id, name, key, _ = row
        for address in ((experiment_id, name, key, None), (experiment_id, name, None, None)):
            known = self._whole.get(address)
            if known is not None:
                # Its version moves with this write, so what is known of it must have been current.
                self.reads.setdefault(address, known[0])
                known[1][row] = None
        self._rows[row] = (data, before[1])
        self.writes[row] = data

    # ---- what the program does around calls and batches

    def mark(self) -> int:
        """A point to go back to with `undo`."""
        return len(self._journal)

    def undo(self, mark: int) -> None:
        """Take back all writes since the mark. Reads stay: even an error was decided on what was read."""
        journal = self._journal
        while len(journal) > mark:
            row, before, rewritten = journal.pop()
            self._rows[row] = before
            if rewritten:
                self.writes[row] = before[0]
            else:
                del self.writes[row]

    def committed(self, versions: dict[str, int]) -> None:
        """The store accepted the batch; `versions` holds the new version of each experiment written to."""
        rows = self._rows
        for row, data in self.writes.items():
            version = versions[row[0]]
            rows[row] = (data, version if data is not None else 0)
            for address in ((row[0], row[1], row[2], None), (row[0], row[1], None, None)):
                known = self._whole.get(address)
                if known is not None:
                    members = known[1]
                    if data is None:
                        members.pop(row, None)
                    live = data is not None or any(rows[member][0] is not None for member in members)
                    self._whole[address] = (version if live else 0, members)
        self._begin()

    def refused(self) -> None:
        """The store refused the batch, or it was never sent: nothing of it happened."""
        self.undo(0)
        self._begin()

    def refresh(self, address: WireAddress, answer: WireRows) -> None:
        """Learn the present rows of a scope that was stale. Only between batches."""
        experiment_id, name, key, _ = address
        self._whole.pop((experiment_id, name, None, None), None)
        if key is not None:
            self._whole.pop((experiment_id, name, key, None), None)
        else:
            for known in [a for a in self._whole if a[0] == experiment_id and a[1] == name]:
                del self._whole[known]
        self._learn(address, answer)

    def forget(self, experiment_id: str) -> None:
        """Drop everything known of an experiment. Only between batches."""
        for row in [row for row in self._rows if row[0] == experiment_id]:
            del self._rows[row]
        for address in [address for address in self._whole if address[0] == experiment_id]:
            del self._whole[address]

    # ---- inside

    def _begin(self) -> None:
        self._journal.clear()
        self.reads = {}
        self.writes = {}
        if len(self._rows) > self._max_rows:
            self._rows.clear()
            self._whole.clear()

    def _known(self, row: WireRow) -> tuple[dict[str, Any] | None, int]:
        known = self._rows.get(row)
        if known is not None:
            return known
        experiment_id, name, key, value = row
        whole = self._whole
        if (experiment_id, name, key, None) in whole or (experiment_id, name, None, None) in whole:
            known = _ABSENT
            self._rows[row] = known
        else:
            self._learn(row, self._fetch(experiment_id, name, key, value))
            known = self._rows[row]
        return known

    def _whole_scope(self, address: WireAddress) -> dict[WireRow, None]:
        known = self._whole.get(address)
        if known is None:
            experiment_id, name, key, _ = address
            self._learn(address, self._fetch(experiment_id, name, key, None))
            known = self._whole[address]
        self.reads.setdefault(address, known[0])
        return known[1]

    def _learn(self, address: WireAddress, answer: WireRows) -> None:
        experiment_id, name, key, value = address
        version, rows = answer
        written = self.writes
        if value is not None:
            row: WireRow = (experiment_id, name, key or "", value)
            if rows:
                _, _, text, row_version = rows[0]
                self._rows[row] = (_parse(text), row_version)
            else:
                self._rows[row] = _ABSENT
            return
        members: dict[WireRow, None] = {}
        for row_key, row_value, text, row_version in rows:
            row = (experiment_id, name, row_key, row_value)
            members[row] = None
            if row not in written:
                self._rows[row] = (_parse(text), row_version)
        for row in written:
            # What this batch wrote is newer than what the store knows.
            if row[0] == experiment_id and row[1] == name and (key is None or row[2] == key):
                members[row] = None
        self._whole[address] = (version, members)


def merged(stored: dict[str, Any] | None, thetas: object) -> dict[str, Any]:
    """The dict to store when `thetas` (a dict, or an estimator with `get_dict`) is set over a stored one.

    :raises values.InvalidValue: if it is not a dict of finite JSON values.
    """
    get_dict = getattr(thetas, "get_dict", None)
    fields = values.plain(get_dict() if callable(get_dict) else thetas, "theta")
    if type(fields) is not dict:
        raise values.InvalidValue("theta", "set_theta takes a dict, or an estimator with get_dict()")
    return {**stored, **fields} if stored else fields
