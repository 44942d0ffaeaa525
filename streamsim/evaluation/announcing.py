"""What webhooks are told of that no call does: states by date and number, drift, and winners.

Any process may look; what it finds has an id that is the same for all, so that it is told once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, Final

import msgspec

from streamsim import dates
from streamsim.dates import HOUR_MS
from streamsim.decisions.mechanism import Mechanism
from streamsim.errors import BadRequest
from streamsim.evaluation import live_health
from streamsim.evaluation.inference.asked import Asked
from streamsim.evaluation.offline import Offline
from streamsim.storage.contract.decisions import Experiment
from streamsim.storage.contract.store import Store
from streamsim.webhooks.events import Event, messages

SURE: Final = 1e-6
"""Drift is told once there is so little doubt: 10,000 looks where there is none then err in 1 % at most."""
_RECENT_MS: Final = 24 * HOUR_MS
"""A date that has passed longer ago is not told any more."""
_DRIFTS: Final = ("reward_drift", "context_drift", "shares")
_REMEMBERED: Final = 10_000


class Announcer:
    """Looks for what is to be told.

    :param owner: this process, as it claims work. :param check_ms: between looks for drift and winners.
    """

    def __init__(
        self, store: Store, offline: Offline, owner: str, now_ms: Callable[[], int], check_ms: int
    ) -> None:
        self._store = store
        self._offline = offline
        self._owner = owner
        self._now_ms = now_ms
        self._check_ms = check_ms
        self._looked: dict[str, int] = {}

    async def look(self, experiment: Experiment) -> bool:
        """Look for drift and a winner of an experiment that has webhooks, if it is time; whether there was
        something to tell."""
        wanted = _wanted(experiment) & {"drift", "winner"}
        now_ms, work = self._now_ms(), f"announce:{experiment.id}"
        # The owner of a claim may take it again at once, which others may not.
        if not wanted or now_ms < self._looked.get(experiment.id, 0) + self._check_ms:
            return False
        until_ms = now_ms + self._check_ms
        if not await self._store.decisions.claim(work, self._owner, now_ms, until_ms):
            return False
        if len(self._looked) >= _REMEMBERED:
            recent = self._looked.items()
            self._looked = {id: at for id, at in recent if now_ms < at + self._check_ms}
        self._looked[experiment.id] = now_ms
        told = await self._drift(experiment) if "drift" in wanted else 0
        told += await self._winner(experiment) if "winner" in wanted else 0
        return told > 0

    async def _tell(self, experiment: Experiment, event: Event, id: str, data: dict[str, Any]) -> int:
        some = messages(experiment, event, id, data, self._now_ms())
        return await self._store.deliveries.enqueue(experiment.tenant, some)

    async def schedule(self, experiment: Experiment) -> bool:
        """Tell dates that have come, and that there were all decisions that may be; whether there was one."""
        declared = experiment.properties
        if "state" not in _wanted(experiment) or declared.get("state") not in (None, "running"):
            return False
        now_ms, told = self._now_ms(), 0
        count = 0
        if "max_decisions" in declared:
            count = (await self._store.decisions.summary(experiment.id)).action_calls
        why = Mechanism(experiment).resting(count, now_ms)
        for name, state in (("starts", "running"), ("ends", "stopped")):
            date_ms = dates.parse_iso(declared[name]) if name in declared else now_ms + 1
            if date_ms <= now_ms < date_ms + _RECENT_MS and (state == "stopped") == (why is not None):
                id = f"state-{experiment.id}-{name}-{date_ms}"
                data = {"state": state, name: declared[name], "revision": experiment.revision}
                told += await self._tell(experiment, "state", id, data)
        most = declared.get("max_decisions")
        if most is not None and count >= most:
            data = {"state": "stopped", "max_decisions": most, "revision": experiment.revision}
            told += await self._tell(experiment, "state", f"state-{experiment.id}-full-{most}", data)
        return told > 0

    async def _drift(self, experiment: Experiment) -> int:
        text = await self._offline.health(experiment.tenant, experiment.id, live_health.DEFAULT_ROWS)
        told = 0
        for check in msgspec.json.decode(text)["checks"]:
            if check["name"] not in _DRIFTS or check["ok"]:
                continue
            if check["p_value"] is not None and check["p_value"] > SURE:
                continue
            named = ",".join(one["name"] for one in (check.get("detail") or {}).get("changed", ()))
            mark = hashlib.sha256(named.encode()).hexdigest()[:12]
            id = f"drift-{experiment.id}-{experiment.revision}-{check['name']}-{mark}"
            told += await self._tell(experiment, "drift", id, {"check": check})
        return told

    async def _winner(self, experiment: Experiment) -> int:
        """The answer of inference as it is declared, once it is sure."""
        try:
            text = await self._offline.inference(experiment.tenant, experiment.id, Asked(), "json")
        except BadRequest:
            return 0  # what is declared does not fit what was logged: there is no answer
        found = msgspec.json.decode(text)
        if not found["segments"] or not found["rows"]["complete"]:
            return 0
        part = found["segments"][0]
        arm = winner_of(part["differences"], found["control"])
        if arm is None:
            return 0
        id = f"winner-{experiment.id}-{experiment.revision}-{hashlib.sha256(arm.encode()).hexdigest()[:12]}"
        data = {
            "arm": arm,
            "control": found["control"],
            "differences": part["differences"],
            "sentence": part["sentence"],
        }
        return await self._tell(experiment, "winner", id, data)


def _wanted(experiment: Experiment) -> set[str]:
    """The events that any of its webhooks is told of."""
    return {event for hook in experiment.properties.get("webhooks") or [] for event in hook["events"]}


def winner_of(differences: list[dict[str, Any]], control: str) -> str | None:
    """The arm that surely earns more than the control, the one with the highest lower end; the control, if
    all others surely earn less; None otherwise."""
    sure = [one for one in differences if one["low"] is not None and one["high"] is not None]
    better = [one for one in sure if one["low"] > 0]
    if better:
        return str(max(better, key=lambda one: float(one["low"]))["arm"])
    if differences and len(sure) == len(differences) and all(one["high"] < 0 for one in sure):
        return control
    return None
