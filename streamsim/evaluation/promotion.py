"""Code in the shadow of a present system: what it would have earned, as rewards come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from streamsim import values
from streamsim.decisions.arms import reward_of
from streamsim.evaluation.following import Follower
from streamsim.evaluation.inference.beside import Beside, Choice, choice_of
from streamsim.storage.contract.decisions import Experiment
from streamsim.storage.contract.logs import LogStore

_MOST_OPEN: Final = 1_000_000


class _Row(msgspec.Struct):
    """What is read of a row of either log."""

    action: Any = None
    advice_id: str | None = None
    propensity: Any = None
    shadow: dict[str, Any] | None = None
    reward: Any = None
    part: bool = False
    late: bool = False


_parse = msgspec.json.Decoder(_Row).decode


class Apprentice:
    """What is known of an experiment whose code is in the shadow.

    :param most: rows of a log that are read at first; :param whole: whether they are all.
    """

    def __init__(self, logs: LogStore, experiment: Experiment, most: int, *, whole: bool = False) -> None:
        self._field: str | None = experiment.properties.get("arm_field")
        self._reward_field: str | None = (experiment.properties.get("rewards") or {}).get("field")
        self._decisions = Follower(logs, experiment.id, "action", most, whole=whole)
        self._rewards = Follower(logs, experiment.id, "reward", most, whole=whole)
        self._open: dict[str, Choice] = {}
        self._beside = Beside()

    async def read(self, now_ms: Callable[[], int]) -> Beside:
        """Count what came since the last time."""
        rewards = await self._rewards.fresh(now_ms())
        for row in await self._decisions.fresh(now_ms()):
            decision = _parse(row.data)
            if decision.shadow is not None and decision.advice_id is not None:
                parts = decision.action, decision.propensity, decision.shadow
                try:
                    self._open[decision.advice_id] = choice_of(*parts, self._field)
                except values.InvalidValue:
                    continue
        while len(self._open) > _MOST_OPEN:
            del self._open[next(iter(self._open))]
        for row in rewards:
            came = _parse(row.data)
            if came.advice_id is None or came.part or came.late:
                continue
            choice = self._open.pop(came.advice_id, None)
            if choice is None:
                continue
            try:
                self._beside.add(*choice, reward_of(came.reward, self._reward_field))
            except values.InvalidValue:
                continue
        return self._beside
