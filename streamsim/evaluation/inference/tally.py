"""What an answer rests on, of decisions with advice ids that come in parts; it does not grow with them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np

from streamsim.evaluation.inference import live
from streamsim.evaluation.inference.asked import Asked
from streamsim.evaluation.inference.moments import Moments
from streamsim.evaluation.inference.report import Inference
from streamsim.evaluation.inference.running import Running
from streamsim.evaluation.logs import DecisionLog
from streamsim.evaluation.own_log import Before, Window, from_logs, unusable_rewards

VERSION: Final = 1
"""Of what is kept, and of what it means: raise it with every change, and all is made anew."""
Row = Mapping[str, Any]


class OtherArms(Exception):
    """There are arms that were not known: all has to begin anew with `arms`."""

    def __init__(self, arms: list[str]) -> None:
        super().__init__("there are other arms")
        self.arms = arms


class Counts(msgspec.Struct):
    """Rows by what became of them.

    `read`: decisions, with or without a reward; `usable`: those with a reward that came; `rewards` and
    `rewarded`: reward rows, and those that have the metric that is asked for. `lead`: the first ones,
    without probabilities; `decisions`: those after; `lacking`: all without probabilities. `runs`: the fewest
    that estimated a probability, 0 if none did.
    """

    read: int = 0
    rewards: int = 0
    rewarded: int = 0
    several: bool = False
    usable: int = 0
    decisions: int = 0
    lead: int = 0
    lacking: int = 0
    unrewarded: int = 0
    defaulted: int = 0
    unusable: int = 0
    aside: int = 0
    kept: int = 0
    runs: int = 0
    fault: tuple[str, str] | None = None


def suits(asked: Asked) -> bool:
    """Whether what is asked can be told of parts: of all decisions, at every look."""
    return asked.by is None and asked.until_ms is None


def name_of(asked: Asked) -> str:
    """A name for what is asked: of all that figures depend on but the rows."""
    plain = msgspec.structs.replace(asked, most=0, now_ms=0)
    return hashlib.sha256(msgspec.msgpack.encode((VERSION, plain))).hexdigest()[:32]


class Tally:
    """Decisions in order, with their rewards, as they come in parts.

    :param arms: all that are known so far; the declared ones are added.
    """

    def __init__(self, asked: Asked, arms: Sequence[str]) -> None:
        self._asked = asked
        self.arms = sorted({*arms, *asked.arms})
        self._counts = Counts()
        self._moments = [Moments() for _ in self.arms]
        self._log: DecisionLog | None = None
        self._waiting = 0
        places = {arm: place for place, arm in enumerate(self.arms)}
        control = asked.control if asked.control in places else asked.usual_control
        self._running = Running(
            self.arms,
            places.get(control or "", 0),
            live.levels_of(asked, self.arms),
            asked.bounds,
            asked.horizon,
        )

    def add(self, decisions: Sequence[Row], rewards: Sequence[Row]) -> None:
        """Count the next decisions, oldest first, and all rewards of theirs that there are.

        :raises OtherArms: nothing is right any more. :raises BadRequest: naming the parameter.
        """
        asked, counts = self._asked, self._counts
        counts.rewards += len(rewards)
        if asked.metric is not None:
            rewards = live.with_metric(rewards, asked.metric)
        counts.rewarded += len(rewards)
        log = from_logs(
            decisions,
            rewards,
            action_field=asked.arm_field,
            reward_field=asked.reward_field,
            window=Window(asked.window_hours, None if asked.metric else asked.default_reward, asked.now_ms),
            before=Before(counts.read, counts.several),
        )
        counts.read += len(decisions)
        counts.several |= log.several
        counts.usable += int(log.rewarded.sum()) - log.defaulted
        counts.fault = counts.fault or log.fault
        self._waiting = log.waiting
        for name in ("defaulted", "unusable", "aside"):
            setattr(counts, name, getattr(counts, name) + getattr(log, name))
        log, kept, unrewarded = live.drawn(log, decisions)
        counts.kept += kept
        counts.unrewarded += unrewarded
        arms = live.arms_of(log, self.arms)
        if len(arms) > len(self.arms):
            raise OtherArms(arms)
        live.check(log.rewards, asked)
        self._add_drawn(log)

    def _add_drawn(self, log: DecisionLog) -> None:
        counts = self._counts
        chance = live.chances(log, self.arms)
        lacking = np.isnan(chance.sum(axis=1))
        counts.lacking += int(lacking.sum())
        first = 0
        if not counts.decisions:
            first = len(log) if lacking.all() else int(lacking.argmin())
            counts.lead += first
        log, chance = log.take(np.arange(first, len(log))), chance[first:]
        counts.decisions += len(log)
        told = [run for run in log.runs if run]
        if told:
            counts.runs = min(told) if not counts.runs else min(counts.runs, *told)
        self._log = log
        if counts.lacking > counts.lead:
            return  # nothing is told any more
        action = log.index(self.arms)
        self._running.add(action, log.rewards, chance)
        for place, one in enumerate(self._moments):
            one.add(log.rewards[action == place])

    def answer(self, read: int) -> Inference:
        """The whole answer. :param read: so many rows were read for it. :raises BadRequest:"""
        asked, counts = self._asked, self._counts
        if asked.metric is not None and counts.rewards and not counts.rewarded:
            raise live.no_metric(asked.metric)
        if counts.fault is not None and not counts.usable:
            raise unusable_rewards(*counts.fault)
        control = live.control_of(asked.control, asked.usual_control, self.arms)
        levels = live.levels_of(asked, self.arms)
        log = self._log or DecisionLog([], [], np.zeros(0), np.zeros(0))
        log = replace(log, aside=counts.aside, matched=0, runs=(counts.runs,))
        found = live.answer_of(
            asked,
            control,
            levels,
            rows={
                "decisions": counts.decisions,
                "without_probabilities": counts.lacking,
                "unrewarded": counts.unrewarded,
                "waiting": self._waiting,
                "defaulted": counts.defaulted,
                "unusable": counts.unusable,
                "read": read,
                "complete": True,
            },
            fixed_time=live.NO_END,
            warnings=live.warnings_of(log, asked, counts.unrewarded, counts.kept, complete=True),
        )
        n = counts.lead + counts.decisions
        if (why := live.why_none(counts.lacking, counts.lead, n)) is not None:
            found.warnings.insert(0, why)
        elif control is not None:
            running = self._running
            places = range(len(self.arms))
            means = [running.mean(place) for place in places]
            differences = [running.difference(place) for place in places if place != running.control]
            part = live.segment_of(
                None, counts.decisions, means, differences, self._moments, control, asked, complete=True
            )
            found.segments.append(part)
        return found

    def kept(self) -> bytes:
        """What `restored` needs."""
        moments = [one.kept() for one in self._moments]
        return msgspec.msgpack.encode((self.arms, self._counts, moments, self._running.kept()))


_kept = msgspec.msgpack.Decoder(tuple[list[str], Counts, list[list[float]], dict[str, Any]])


def restored(asked: Asked, data: bytes) -> Tally:
    """A tally that goes on from what was kept of the same question."""
    arms, counts, moments, running = _kept.decode(data)
    tally = Tally(asked, arms)
    tally._counts = counts
    for one, sums in zip(tally._moments, moments, strict=True):
        one.restore(sums)
    tally._running.restore(running)
    return tally
