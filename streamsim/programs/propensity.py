"""The program that tells with which probability a policy takes each arm, on theta that stays as it is.

load      `PropensityLoad`
request   [number of the first context, contexts]
ask       ["open", experiment] -> [`Opened`, theta rows]
result    `Propensities`

The probabilities are those that get_action leaves in `self.action_probabilities`, else the shares of the arms
in repeated runs, whose random numbers follow from the seed and the context's number. Their writes are undone.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from streamsim import values
from streamsim.decisions.arms import arm_of
from streamsim.decisions.wire import PIECES, Opened, WireRows, WireTheta
from streamsim.evaluation.wire import Propensities, PropensityLoad
from streamsim.programs.experiment import Experiment, Pieces, PolicyBatch, bound, outer_copy
from streamsim.programs.policy import checked_probabilities
from streamsim.programs.theta import ThetaCache
from streamsim.sandbox.worker import failures as errors
from streamsim.sandbox.worker.main import Channel


class Program:
    """One candidate policy."""

    loaded = None

    def __init__(self, load: Any, channel: Channel) -> None:
        load = PropensityLoad(*load)
        self._channel = channel
        self._load = load
        self._names = {f"<{piece}>": piece for piece in PIECES}
        self._rows: list[WireTheta] = list(load.theta)
        self._theta = ThetaCache(self._fetch, 2**62)
        try:
            root = Pieces(load.experiment_id, load.code, load.properties)
        except BaseException as error:
            raise errors.Described(errors.describe(error, self._names)) from None
        self._session = PolicyBatch(root, self._theta, self._open)
        self._kind: Any = bound(self._session)

    def handle(self, request: Any) -> Propensities:
        first, contexts = request
        result = Propensities()
        clock, runs = self._channel.clock, self._load.runs
        try:
            for place, context in enumerate(contexts):
                if place:
                    self._channel.progress(place * runs)
                seeds = np.random.SeedSequence([self._load.seed, first + place]).generate_state(2, np.uint64)
                random.seed(int(seeds[0]))
                np.random.seed(int(seeds[1]) & 0xFFFFFFFF)
                counts: dict[str, float] = {}
                for run in range(runs):
                    if run:
                        self._channel.progress(place * runs + run)
                    mark = self._theta.mark()
                    clock.start()
                    try:
                        experiment = self._run(context)
                        given = checked_probabilities(experiment)
                        if given is None:
                            arm = arm_of(values.plain(experiment.action, "action"), self._load.action_field)
                            counts[arm] = counts.get(arm, 0.0) + 1.0 / runs
                    finally:
                        clock.stop()
                        self._theta.undo(mark)
                        self._session.logs.clear()
                    if given is not None:
                        break
                result.rows.append(counts if given is None else given)
                result.exact.append(given is not None)
        except BaseException as error:
            clock.stop()
            result.failure = errors.describe(error, self._names)
        return result

    def _run(self, context: Any) -> Experiment:
        experiment: Experiment = self._kind.__new__(self._kind)
        experiment._set_up(self._session.root)
        self._session.depth = 0
        experiment.run_action_code(outer_copy(context))
        return experiment

    def _fetch(self, experiment_id: str, name: str, key: str | None, value: str | None) -> WireRows:
        found = [
            (k, v, data, 1)
            for e, n, k, v, data in self._rows
            if (e, n) == (experiment_id, name) and key in (None, k) and value in (None, v)
        ]
        return (1 if found else 0), found

    def _open(self, experiment_id: str) -> Opened:
        opened, rows = self._channel.ask(("open", experiment_id))
        self._rows += rows
        return Opened(*opened)
