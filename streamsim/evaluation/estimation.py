"""An off-policy evaluation from the bytes of a log to the answer: what a process of its own computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from streamsim import values
from streamsim.errors import BadRequest
from streamsim.evaluation import missing, scale, units
from streamsim.evaluation.intervals import Floats
from streamsim.evaluation.logs import MAX_ARMS, NO_REWARD, DecisionLog
from streamsim.evaluation.offpolicy import Evaluation, evaluate
from streamsim.evaluation.own_log import Window, from_logs
from streamsim.evaluation.sample import prepare
from streamsim.evaluation.uploads import Columns, parse_csv, parse_json_lines
from streamsim.evaluation.wire import EstimatesLoad, Record, Theta

RESAMPLES: Final = 1000
FORMATS: Final[dict[str, Callable[..., DecisionLog]]] = {"csv": parse_csv, "jsonl": parse_json_lines}
NO_REWARDS: Final = "the experiment has no logged rewards: let it serve, or upload a log"
Logged = tuple[bytes, int]
"""A row of an experiment's own log as JSON text, and its date in ms."""


class Estimation:
    """One evaluation, step by step: the log, what the candidate would have done, the estimates."""

    def __init__(self, load: EstimatesLoad) -> None:
        self._load = load
        self._text: list[bytes] = []
        self._rows: dict[str, list[Logged]] = {"action": [], "reward": []}
        self._data: DecisionLog | None = None
        self._probabilities: list[dict[str, float]] = []
        self._exact = self._first = 0

    @property
    def data(self) -> DecisionLog:
        """The log, once it was read."""
        assert self._data is not None
        return self._data

    def add_text(self, part: bytes) -> None:
        """Some more of an uploaded log."""
        self._text.append(part)

    def add_rows(self, kind: str, rows: Iterable[Logged]) -> None:
        """Some more rows of an own log, newest first."""
        self._rows[kind] += rows

    def read(self) -> int:
        """Read the log; how many decisions it has. :raises BadRequest: :raises TooLarge:"""
        load = self._load
        fields: dict[str, Any] = {"action_field": load.action_field, "reward_field": load.reward_field}
        if load.form is None:
            decisions, rewards = (_parsed(self._rows.pop(kind)) for kind in ("action", "reward"))
            if len(rewards) == load.max_rows:
                # Rewards of decisions before the oldest of these are not here.
                decisions = [row for row in decisions if row["date_ms"] >= rewards[0]["date_ms"]]
            window = Window(load.window_hours, load.default_reward, load.now_ms)
            self._data = from_logs(decisions, rewards, window=window, **fields)
            if len(self._data) and not self._data.rewarded.any():
                raise BadRequest(NO_REWARDS, field="log")
        else:
            text = b"".join(self._text)
            self._text = []
            if load.form == "csv":
                fields["columns"] = Columns(
                    load.action_field, load.reward_field, load.propensity_field, tuple(load.context_fields)
                )
            self._data = FORMATS[load.form](text, max_rows=load.max_rows, **fields)
        return len(self._data)

    def split(self) -> int:
        """Judge the candidate on the second half alone; how many decisions the first one has.

        :raises BadRequest: there are too few to split.
        """
        rewarded = np.flatnonzero(self.data.rewarded)
        if len(rewarded) < 2:
            raise BadRequest("a log is split from 2 rewarded decisions on", field="theta")
        self._first = int(rewarded[len(rewarded) // 2])
        return self._first

    def forget(self) -> None:
        """Forget what the candidate would do, and judge it on all decisions."""
        self._first = self._exact = 0
        self._probabilities = []

    def records(self, first: int, most: int, budget: int) -> list[Record]:
        """The decisions from `first` on: at most so many, and one at least, of so many bytes in all."""
        data, some = self.data, list[Record]()
        for place in range(first, min(first + most, len(data))):
            action, reward = data.given[place]
            record = (data.contexts[place], action, None if reward is NO_REWARD else reward)
            budget -= len(values.dump(record)) + 64
            if some and budget < 0:
                break
            some.append(record)
        return some

    def add_probabilities(self, rows: list[dict[str, float]], exact: int) -> None:
        """What the candidate would do in the next decisions; `exact` of them are as its code told them."""
        self._probabilities += rows
        self._exact += exact

    def answer(self, runs: int, theta: Theta = "current", warnings: Sequence[str] = ()) -> dict[str, Any]:
        """The estimates, and what they rest on.

        :param runs: behind each probability that was not told.
        :param theta: what the candidate decided on. :param warnings: about every estimate.
        :raises BadRequest: :raises TooLarge:
        """
        data, seed = self.data, self._load.seed
        if self._first:
            data = data.take(np.arange(self._first, len(data)))
        arms, target = self._target(data)
        estimated = runs if self._exact < len(data) else None
        known = data.rewarded
        rewarded = data if known.all() else data.take(np.flatnonzero(known))
        unit = self._load.unit
        sample = prepare(rewarded, arms, target[known], runs=estimated, seed=seed, unit_field=unit)
        if unit is None and (field := units.repeated(rewarded)) is not None:
            warnings = [
                *warnings,
                f"Decisions with the same context.{field} all have the same arm, though arms were drawn at "
                "random: they are no independent decisions, and intervals are too narrow. Name the field as "
                "unit.",
            ]
        found = evaluate(sample, self._load.estimators, resamples=RESAMPLES, seed=seed)
        if not known.all():
            found = missing.bounded(found, data, arms, target, seed=seed)
        shown = self._shown(found, data, arms, target, estimated)
        for estimate in shown["estimates"]:
            estimate["warnings"] = [*warnings, *estimate["warnings"]]
        shown["candidate"] |= {"theta": theta, "learnt_from": self._learnt_from(theta)}
        return shown

    def _learnt_from(self, theta: Theta) -> int | None:
        """How many decisions of the log the candidate learned from before it was judged on others."""
        if theta == "progressive":
            return int(self.data.rewarded.sum())
        return int(self.data.rewarded[: self._first].sum()) if theta == "split" else None

    def _target(self, data: DecisionLog) -> tuple[list[str], Floats]:
        rows = self._probabilities
        arms = sorted(set(data.actions).union(*rows))
        if len(arms) > MAX_ARMS:
            raise BadRequest(
                f"log and candidate have {len(arms)} different actions; off-policy evaluation takes at most "
                f"{MAX_ARMS}: choose the field of the action that names the arm",
                field="action_field",
            )
        places = {arm: place for place, arm in enumerate(arms)}
        target = np.zeros((len(data), len(arms)))
        for number, row in enumerate(rows):
            for arm, probability in row.items():
                target[number, places[arm]] = probability
        return arms, target

    def _shown(
        self, estimates: Evaluation, data: DecisionLog, arms: list[str], target: Floats, runs: int | None
    ) -> dict[str, Any]:
        return {
            **msgspec.to_builtins(estimates),
            "log": {
                "rows": int(data.rewarded.sum()),
                "unrewarded": data.unrewarded,
                "waiting": data.waiting,
                "defaulted": data.defaulted,
                "unusable": data.unusable,
                "matched": data.matched,
                "ignored": list(data.ignored),
                "mean_reward": scale.mean(data.rewards[data.rewarded]),
            },
            "candidate": {
                "arms": arms,
                "mean_probabilities": dict(zip(arms, target.mean(axis=0).tolist(), strict=True)),
                "exact_rows": self._exact,
                "runs": runs,
                "probability_error": estimates.overlap.probability_error,
            },
        }


def _parsed(rows: list[Logged]) -> list[dict[str, Any]]:
    """Rows oldest first, with `date_ms`."""
    return [msgspec.json.decode(data) | {"date_ms": date_ms} for data, date_ms in reversed(rows)]
