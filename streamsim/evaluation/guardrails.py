"""Guardrails: an arm that does harm in a metric is switched off, or the experiment falls back.

Every process looks at the experiments that it serves, a few times a second, and reads what came to their logs
since its last look. Two may find the same harm: the edit that acts on it goes through once, by the
experiment's revision, and what is logged about it has an id that is the same for both.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from streamsim import values
from streamsim.decisions.arms import arm_of, label
from streamsim.decisions.decisions import Decisions
from streamsim.decisions.declared import Guardrail, labels_of
from streamsim.evaluation.following import Follower
from streamsim.evaluation.inference.guarding import Difference, Differences
from streamsim.evaluation.promotion import Apprentice
from streamsim.storage.contract.decisions import Experiment, Transaction
from streamsim.storage.contract.logs import LogRow, LogStore
from streamsim.storage.contract.store import Store
from streamsim.webhooks.events import Event, messages, state_changed

log = logging.getLogger(__name__)

ALPHA: Final = 0.05
"""The chance that any guardrail of an experiment without harm ever trips."""
_MOST_OPEN: Final = 1_000_000
"""So many decisions may wait for their metrics; the oldest are forgotten."""
_MOST_WATCHED: Final = 200
_SUM: Final = 1e-3


class _Row(msgspec.Struct):
    """What is read of a row of either log."""

    action: Any = None
    advice_id: str | None = None
    propensity: Any = None
    probabilities: dict[str, float] | None = None
    decided_by: str | None = None
    metrics: dict[str, float] | None = None
    part: bool = False
    late: bool = False


_parse = msgspec.json.Decoder(_Row).decode


class _Open(NamedTuple):
    """A decision without metrics so far: the place of its arm, and the probabilities of all."""

    taken: int
    chances: tuple[float, ...]


class _Watch:
    """What is known of one experiment under what it declares."""

    def __init__(self, logs: LogStore, experiment: Experiment, most: int, *, whole: bool) -> None:
        properties = experiment.properties
        self.rails = [msgspec.convert(one, Guardrail) for one in properties["guardrails"]]
        self.arms = labels_of(properties)
        self.control = self.arms.index(label(properties["control"]))
        self._field: str | None = properties.get("arm_field")
        self._places = {arm: place for place, arm in enumerate(self.arms)}
        self._found = {
            metric: Differences(len(self.arms), self.control) for metric in {one.metric for one in self.rails}
        }
        self._decisions = Follower(logs, experiment.id, "action", most, whole=whole)
        self._rewards = Follower(logs, experiment.id, "reward", most, whole=whole)
        self._open: dict[str, _Open] = {}
        self.alpha = ALPHA / (len(self.rails) * max(len(self.arms) - 1, 1))

    async def read(self, now_ms: Callable[[], int]) -> None:
        """Count what came since the last time. Rewards first: the decisions of all of them are there then."""
        rewards = await self._rewards.fresh(now_ms())
        for row in await self._decisions.fresh(now_ms()):
            self._decide(_parse(row.data))
        while len(self._open) > _MOST_OPEN:
            del self._open[next(iter(self._open))]
        for row in rewards:
            self._reward(_parse(row.data))

    def _decide(self, row: _Row) -> None:
        if row.advice_id is None or row.decided_by is not None:
            return
        try:
            taken = self._places.get(arm_of(row.action, self._field))
        except values.InvalidValue:
            return
        chances = self._chances(row, taken)
        if taken is not None and chances is not None and chances[taken] > 0:
            self._open[row.advice_id] = _Open(taken, chances)

    def _chances(self, row: _Row, taken: int | None) -> tuple[float, ...] | None:
        """The probabilities of all arms; None where they are not known."""
        told = row.probabilities
        if told is not None:
            chances = tuple(told.get(arm, 0.0) for arm in self.arms)
            return chances if abs(sum(chances) - 1) <= _SUM and min(chances) >= 0 else None
        if type(row.propensity) not in (int, float) or taken is None or len(self.arms) != 2:
            return None
        own = float(row.propensity)
        return (own, 1 - own) if taken == 0 else (1 - own, own)

    def _reward(self, row: _Row) -> None:
        if row.part or row.late or not row.metrics or row.advice_id is None:
            return
        decision = self._open.pop(row.advice_id, None)
        if decision is not None:
            for metric, found in self._found.items():
                if metric in row.metrics:
                    found.add(decision.taken, decision.chances, row.metrics[metric])

    def harm(self, rail: Guardrail, place: int) -> Difference | None:
        """The difference that trips a guardrail for an arm, if it does."""
        found = self._found[rail.metric].of(place, self.alpha)
        if found is None:
            return None
        harmful = found.low > rail.bound if rail.harm == "increase" else found.high < -rail.bound
        return found if harmful else None


class Guardrails:
    """The guardrails of the experiments that this process serves.

    :param most: rows of a log that are read at first.
    """

    def __init__(self, store: Store, decisions: Decisions, most: int, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._decisions = decisions
        self._most = most
        self._now_ms = now_ms
        self._watched: dict[str, tuple[bytes, _Watch]] = {}
        self._apprentices: dict[str, tuple[bytes, Apprentice]] = {}

    async def look(self) -> int:
        """Look at every experiment that has had calls since the last time; how many guardrails tripped.

        :raises StoreUnavailable: what was not looked at is the next time.
        """
        tripped = 0
        for experiment_id in list(self._decisions.guarded):
            self._decisions.guarded.discard(experiment_id)
            try:
                tripped += await self._look(experiment_id)
            except BaseException:
                self._decisions.guarded.add(experiment_id)
                raise
        return tripped

    async def _look(self, experiment_id: str) -> int:
        experiment = await self._store.decisions.get_experiment(experiment_id)
        if experiment is None or experiment.archived:
            self._watched.pop(experiment_id, None)
            self._apprentices.pop(experiment_id, None)
            return 0
        shadow = experiment.properties.get("shadow")
        if isinstance(shadow, dict) and shadow["auto_promote"]:
            return await self._promote(experiment)
        self._apprentices.pop(experiment_id, None)
        if not experiment.properties.get("guardrails") or shadow:
            self._watched.pop(experiment_id, None)
            return 0
        watch = await self._watch(experiment)
        await watch.read(self._now_ms)
        properties = experiment.properties
        tripped = 0
        for rail in watch.rails:
            for place, arm in enumerate(watch.arms):
                if place == watch.control or arm in (properties.get("off") or ()):
                    continue
                found = watch.harm(rail, place)
                if found is None or (rail.then == "fallback" and properties.get("state") == "paused"):
                    continue
                changed = _changed(properties, rail, arm)
                said = msgspec.to_builtins(rail) | {"arm": arm, **found._asdict()}
                id = f"guardrail-{experiment.id}-{experiment.revision}-{rail.metric}-{arm}"[:200]
                if not await self._act(experiment, changed, id, "guardrail", {"guardrail": said}):
                    return tripped
                tripped += 1
                experiment = msgspec.structs.replace(
                    experiment, properties=changed, revision=experiment.revision + 1
                )
                properties = changed
        return tripped

    async def _short(self, experiment_id: str) -> bool:
        """Whether its logs are read from their first rows on."""
        found = await self._store.decisions.summary(experiment_id)
        return max(found.action_calls, found.reward_calls) <= self._most

    async def _watch(self, experiment: Experiment) -> _Watch:
        names = ("guardrails", "arms", "arm_field", "control")
        key = values.dump([experiment.properties.get(name) for name in names])
        known = self._watched.get(experiment.id)
        if known is None or known[0] != key:
            whole = await self._short(experiment.id)
            known = key, _Watch(self._store.logs, experiment, self._most, whole=whole)
            self._watched.pop(experiment.id, None)
            self._watched[experiment.id] = known
            if len(self._watched) > _MOST_WATCHED:
                del self._watched[next(iter(self._watched))]
        return known[1]

    async def _promote(self, experiment: Experiment) -> int:
        """Let the code of an experiment decide, if it surely earns more than the present system; whether."""
        names = ("arm_field", "rewards", "shadow")
        key = values.dump([experiment.properties.get(name) for name in names])
        known = self._apprentices.get(experiment.id)
        if known is None or known[0] != key:
            whole = await self._short(experiment.id)
            known = key, Apprentice(self._store.logs, experiment, self._most, whole=whole)
            self._apprentices[experiment.id] = known
        beside = await known[1].read(self._now_ms)
        found = beside.difference(ALPHA)
        if found is None or found.low <= 0 or beside.uncovered(ALPHA):
            return 0
        said = {"promoted": {"difference": found._asdict(), "baseline": beside.baseline}}
        changed = {name: one for name, one in experiment.properties.items() if name != "shadow"}
        id = f"promoted-{experiment.id}-{experiment.revision}"
        return int(await self._act(experiment, changed, id, "winner", said))

    async def _act(
        self, experiment: Experiment, changed: dict[str, Any], id: str, event: Event, said: dict[str, Any]
    ) -> bool:
        """Log it, and edit the experiment with messages to its webhooks; whether nobody edited it meanwhile,
        else it is looked at again."""
        row = LogRow(experiment.id, "manual", id, self._now_ms(), values.dump(said))
        revisions = {experiment.id: experiment.revision}
        await self._store.decisions.commit(Transaction(experiment.tenant, revisions, logs=[row]))
        now_ms = self._now_ms()
        edited = msgspec.structs.replace(experiment, properties=changed, modified_ms=now_ms)
        told = messages(edited, event, id, said, now_ms) + state_changed(experiment, edited, now_ms)
        stored = await self._store.decisions.update_experiment(edited, told)
        self._decisions.forget(experiment.id)
        if stored is None:
            self._decisions.guarded.add(experiment.id)
        else:
            log.warning("experiment %s was changed by itself: %s", experiment.id, said)
        return stored is not None


def _changed(properties: Mapping[str, Any], rail: Guardrail, arm: str) -> dict[str, Any]:
    """The properties after a guardrail has tripped."""
    if rail.then == "fallback":
        return {**properties, "state": "paused"}
    return {**properties, "off": sorted({*(properties.get("off") or ()), arm})}
