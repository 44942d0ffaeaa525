"""The program that tells with which probability a policy takes each arm, on theta that stays as it is.

load      `PropensityLoad`
request   `Decided`
ask       ["open", experiment] -> [`Opened`, theta rows]
result    `Propensities`

The probabilities are those that get_action leaves in `self.action_probabilities`, else the shares of the arms
in repeated runs, whose random numbers follow from the seed and the context's number. Their writes are undone.
What set_reward learns from a decision stays, for all that come after it.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import numpy as np

from streamsim import values
from streamsim.decisions.arms import arm_of
from streamsim.decisions.wire import Opened, WireRows, WireTheta
from streamsim.evaluation.wire import Decided, Propensities, PropensityLoad
from streamsim.programs.experiment import (
    SOURCES,
    Experiment,
    PolicyBatch,
    bound,
    compiled,
    outer_copy,
)
from streamsim.programs.policy import checked_probabilities
from streamsim.programs.theta import ThetaCache, copied
from streamsim.sandbox.worker import failures as errors
from streamsim.sandbox.worker.main import Channel


class Program:
    """One candidate policy."""

    loaded = None

    def __init__(self, load: Any, channel: Channel) -> None:
        load = PropensityLoad(*load)
        self._channel = channel
        self._load = load
        self._rows: dict[tuple[str, ...], bytes] = {}
        self._keep(load.theta)
        self._theta = ThetaCache(self._fetch, 2**62)
        root = compiled(load.experiment_id, load.code, load.properties)
        self._session = PolicyBatch(root, self._theta, self._open)
        self._version = 1
        self._kind: Any = bound(self._session)

    def handle(self, request: Any) -> Propensities:
        decided = Decided(*request)
        result = Propensities()
        clock, calls = self._channel.clock, self._load.runs + decided.learn
        try:
            for place, (context, action, reward) in enumerate(decided.records):
                if place:
                    self._channel.progress(place * calls)
                seeds = np.random.SeedSequence([self._load.seed, decided.first + place])
                first, second = seeds.generate_state(2, np.uint64)
                random.seed(int(first))
                np.random.seed(int(second) & 0xFFFFFFFF)
                taken = True
                if decided.replay:
                    taken = self._draw(context, action, result)
                elif decided.judge:
                    self._judge(context, result, place * calls)
                if decided.learn and taken and reward is not None:
                    clock.start()
                    self._learn(context, action, reward)
                    clock.stop()
        except BaseException as error:
            clock.stop()
            result.failure = errors.describe(error, SOURCES)
        return result

    def _draw(self, context: Any, action: Any, result: Propensities) -> bool:
        """Add the arm that is drawn in a context; whether it is the logged one."""
        clock, field = self._channel.clock, self._load.action_field
        mark = self._theta.mark()
        clock.start()
        try:
            experiment = self._run(context)
            told = checked_probabilities(experiment)
            arm = _arm(values.plain(experiment.action, "action"), field, told)
        finally:
            clock.stop()
            self._theta.undo(mark)
            self._session.logs.clear()
        result.rows.append({arm: 1.0})
        result.exact.append(True)
        return arm == _arm(action, field, told)

    def _judge(self, context: Any, result: Propensities, done: int) -> None:
        """Add the probabilities in a context. :param done: calls before those of this one."""
        clock, runs = self._channel.clock, self._load.runs
        counts: dict[str, float] = {}
        given = None
        for run in range(runs):
            if run:
                self._channel.progress(done + run)
            mark = self._theta.mark()
            clock.start()
            try:
                experiment = self._run(context)
                given = checked_probabilities(experiment)
                if given is None:
                    arm = _arm(values.plain(experiment.action, "action"), self._load.action_field)
                    counts[arm] = counts.get(arm, 0.0) + 1.0 / runs
            finally:
                clock.stop()
                self._theta.undo(mark)
                self._session.logs.clear()
            if given is not None:
                break
        result.rows.append(counts if given is None else given)
        result.exact.append(given is not None)

    def _learn(self, context: Any, action: Any, reward: Any) -> None:
        experiment: Experiment = self._kind.__new__(self._kind)
        experiment._set_up(self._session.root)
        self._session.depth = 0
        experiment.run_reward_code(outer_copy(context), copied(action), copied(reward))
        self._session.logs.clear()
        self._version += 1
        for row, data in self._theta.writes.items():
            if data is None:
                self._rows.pop(row, None)
            else:
                self._rows[row] = values.dump(data)
        self._theta.committed(dict.fromkeys(self._session.used, self._version))

    def _run(self, context: Any) -> Experiment:
        experiment: Experiment = self._kind.__new__(self._kind)
        experiment._set_up(self._session.root)
        self._session.depth = 0
        experiment.run_action_code(outer_copy(context))
        return experiment

    def _fetch(self, experiment_id: str, name: str, key: str | None, value: str | None) -> WireRows:
        found = [
            (k, v, data, self._version)
            for (e, n, k, v), data in self._rows.items()
            if (e, n) == (experiment_id, name) and key in (None, k) and value in (None, v)
        ]
        return (self._version if found else 0), found

    def _open(self, experiment_id: str) -> Opened:
        opened, rows = self._channel.ask(("open", experiment_id))
        self._keep(rows)
        return Opened(*opened)

    def _keep(self, rows: Iterable[WireTheta]) -> None:
        for experiment_id, name, key, value, data in rows:
            self._rows[experiment_id, name, key, value] = data


def _arm(action: Any, field: str | None, told: dict[str, float] | None = None) -> str:
    """Of a field that only the log has, as the columns of an upload are, the action need not have one."""
    only = isinstance(action, dict) and field not in action and len(action.keys() - {"propensity"}) == 1
    return arm_of(action, None if only else field, told)
