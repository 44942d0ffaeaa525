"""Policies of the catalogue in the real policy runtime, in this process, against rows of JSON text."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from streamsim.experiments import catalogue
from streamsim import values
from streamsim.experiments.catalogue import CatalogueEntry
from streamsim.programs.theta import ThetaCache
from streamsim.decisions.wire import Opened
from streamsim.programs.experiment import Experiment, Pieces, PolicyBatch, bound

Rows = dict[tuple[str, str, str, str], bytes]
ENTRIES = {entry.slug: entry for entry in catalogue.entries()}


class Step(NamedTuple):
    """One decision and its reward, in JSON values."""

    context: Any
    action: Any
    probabilities: Any
    reward: Any


class Player:
    """One experiment with those that it needs, and the theta of all.

    :param rows: stored theta to go on from.
    :param forgetful: read every row anew from its JSON text in each call.
    :param cached: so many rows of theta are kept in memory.
    """

    def __init__(
        self,
        entry: CatalogueEntry,
        parameters: Mapping[str, Any] | None = None,
        *,
        rows: Rows | None = None,
        forgetful: bool = False,
        cached: int = 10_000,
    ) -> None:
        needs = {need.parameter: need.policy for need in entry.description.needs}
        self.rows: Rows = {} if rows is None else dict(rows)
        self.logged: list[dict[str, Any]] = []
        self._forgetful = forgetful
        self._nested = {slug: ENTRIES[slug].code for slug in needs.values()}
        self._versions = 0
        code = entry.edited({**needs, **(parameters or {})})
        theta = ThetaCache(self._fetch, cached)
        self._session = PolicyBatch(Pieces(entry.slug, code, {}), theta, self._open)
        self._kind = bound(self._session)

    def context(self) -> Any:
        return self._call(lambda self: self.run_context_code())[0]

    def decide(self, context: Any, *, plain: bool = False) -> tuple[Any, Any]:
        """(action, action_probabilities). :param plain: the context is JSON values as they are."""
        given = context if plain else _json(context)
        action, experiment = self._call(lambda self: self.run_action_code(given))
        return action, _json(experiment.action_probabilities)

    def earn(self, context: Any, action: Any) -> Any:
        return self._call(lambda self: self.run_get_reward_code(_json(context), _json(action)))[0]

    def learn(self, context: Any, action: Any, reward: Any) -> None:
        self._call(lambda self: self.run_reward_code(_json(context), _json(action), _json(reward)))

    def theta(self, key: str) -> dict[str, Any]:
        """Stored dicts of a key, by value."""
        return {row[3]: json.loads(text) for row, text in self.rows.items() if row[2] == key}

    def _call(self, run: Any) -> tuple[Any, Experiment]:
        session = self._session
        experiment = self._kind.__new__(self._kind)
        experiment._set_up(session.root)
        assert isinstance(session.theta, ThetaCache)
        try:
            result = _json(run(experiment))
        except Exception:
            session.theta.refused()
            session.logs.clear()
            raise
        self.logged += [row for _, _, row in session.logs]
        session.logs.clear()
        self._commit(session.theta)
        return result, experiment

    def _commit(self, theta: ThetaCache) -> None:
        self._versions += 1
        for row, data in theta.writes.items():
            if data is None:
                del self.rows[row]
            else:
                values.check(data, "theta")
                self.rows[row] = values.dump(data)
        experiments = {row[0] for row in theta.writes}
        theta.committed(dict.fromkeys(experiments, self._versions))
        if self._forgetful:
            for experiment in {row[0] for row in self.rows}:
                theta.forget(experiment)

    def _fetch(self, experiment_id: str, name: str, key: str | None, value: str | None) -> Any:
        found = [
            (row[2], row[3], text, 1)
            for row, text in self.rows.items()
            if row[:2] == (experiment_id, name) and key in (None, row[2]) and value in (None, row[3])
        ]
        return (1 if found else 0), found

    def _open(self, experiment_id: str) -> Opened:
        if experiment_id in self._nested:
            return Opened("", self._nested[experiment_id])
        return Opened(f"no experiment {experiment_id}")


def seed(number: int) -> None:
    """Repeat the draws of both global generators from here on."""
    random.seed(number)
    np.random.seed(number)


def play(player: Player, steps: int) -> list[Step]:
    """The closed loop: context, decision, reward, learning."""
    played = []
    for _ in range(steps):
        context = player.context()
        action, probabilities = player.decide(context)
        reward = player.earn(context, action)
        player.learn(context, action, reward)
        played.append(Step(context, action, probabilities, reward))
    return played


def play_uniformly(entry: CatalogueEntry, steps: int) -> list[float]:
    """Rewards of choosing any arm, or any number of the range, in the policy's own environment."""
    player = Player(entry)
    action, field = entry.description.action, entry.description.reward.field
    rewards = []
    for _ in range(steps):
        context = player.context()
        chosen = random.uniform(*action.range) if action.range else random.choice(entry.description.arms)
        rewards.append(player.earn(context, {action.field: chosen})[field])
    return rewards


def _json(value: Any) -> Any:
    return json.loads(values.dump(values.plain(value, "value")))
