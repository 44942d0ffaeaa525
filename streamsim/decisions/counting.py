"""What a batch adds to the numbers of calls by minute and by hour, arm by arm."""

from __future__ import annotations

from typing import Any, Final

from streamsim import values
from streamsim.decisions.arms import arm_of, reward_of
from streamsim.storage.contract.buckets import MINUTE_MS, REST, Counted, Counts
from streamsim.storage.contract.decisions import Experiment, Transaction

MOST_ARMS: Final = 50
"""So many arms of an experiment, those that a process meets first, have rows of their own."""
LABEL: Final = 200
"""Longer labels are cut."""
_LARGEST: Final = 1e100


class Arms:
    """The rows under which a process counts the calls of one experiment."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def row(self, action: Any, field: str | None, probabilities: Any = None) -> str:
        """Of an action; `REST` if it names no arm, or one too many."""
        try:
            arm = action if type(action) is str else arm_of(action, field, probabilities)
        except values.InvalidValue:
            return REST
        arm = arm[:LABEL]
        if arm not in self._known:
            if len(self._known) >= MOST_ARMS:
                return REST
            self._known.add(arm)
        return arm


class Counting:
    """The calls of one batch, counted into its transaction."""

    def __init__(self, transaction: Transaction, experiment: Experiment, now_ms: int, arms: Arms) -> None:
        properties = experiment.properties
        self._id, self._minute_ms, self._arms = experiment.id, now_ms // MINUTE_MS * MINUTE_MS, arms
        self._buckets = transaction.buckets
        self._arm_field = properties.get("arm_field")
        self._reward_field = (properties.get("rewards") or {}).get("field")

    def _at(self, row: str) -> Counts:
        counted = Counted(self._id, self._minute_ms, row)
        found = self._buckets.get(counted)
        if found is None:
            found = self._buckets[counted] = Counts()
        return found

    def decision(self, action: Any, probabilities: Any) -> str:
        """One that is logged; the row that counts it."""
        row = self._arms.row(action, self._arm_field, probabilities)
        self.decided(row)
        return row

    def decided(self, row: str) -> None:
        """One that is logged, in the row of another."""
        self._at(row).decisions += 1

    def reward(self, action: Any, reward: Any, *, once: bool) -> None:
        """One that is logged. `once`: it is what its decision came to, not a part of that nor late."""
        counts = self._at(self._arms.row(action, self._arm_field))
        counts.rewards += 1
        if not once:
            return
        try:
            number = reward_of(reward, self._reward_field)
        except values.InvalidValue:
            return
        if abs(number) <= _LARGEST:
            counts.numbers += 1
            counts.reward_sum += number
            counts.reward_squares += number * number

    def errors(self, count: int = 1) -> None:
        """Calls that the code failed on."""
        self._at(REST).errors += count
