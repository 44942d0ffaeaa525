"""An off-policy evaluation from the bytes of a log to the answer: what a process of its own computes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
import numpy as np

from streamsim import values
from streamsim.errors import BadRequest
from streamsim.evaluation import differences, learning_replay, missing, scale, units
from streamsim.evaluation.intervals import Floats
from streamsim.evaluation.logs import MAX_ARMS, NO_REWARD, DecisionLog, predicted
from streamsim.evaluation.offpolicy import Evaluation, evaluate
from streamsim.evaluation.own_log import Logged, Window, from_logs, oldest_first, with_rewards
from streamsim.evaluation.packed import Unpacked
from streamsim.evaluation.reward_model import RewardModel
from streamsim.evaluation.sample import Sample, prepare
from streamsim.evaluation.uploads import Columns, parse_csv, parse_json_lines
from streamsim.evaluation.wire import EstimatesLoad, Record, Theta

RESAMPLES: Final = 1000
FORMATS: Final[dict[str, Callable[..., DecisionLog]]] = {"csv": parse_csv, "jsonl": parse_json_lines}
NO_REWARDS: Final = "the experiment has no logged rewards: let it serve, or upload a log"


@dataclass
class Judged:
    """What a candidate would do in the decisions from `first` on; `exact` of them are as its code told them.

    `runs` are behind each other probability; `theta` is what it decided on; `warnings` are of all estimates.
    """

    first: int = 0
    probabilities: list[dict[str, float]] = field(default_factory=list)
    exact: int = 0
    name: str = ""
    runs: int = 0
    theta: Theta = "current"
    warnings: Sequence[str] = ()


class Estimation:
    """One evaluation, step by step: the log, what the candidates would have done, the estimates."""

    def __init__(self, load: EstimatesLoad) -> None:
        self._load = load
        self._text: list[bytes] = []
        self._unpacked = Unpacked(load.max_bytes)
        self._rows: dict[str, list[Logged]] = {"action": [], "reward": []}
        self._data: DecisionLog | None = None
        self._now = Judged()
        self._judged: list[Judged] = []

    @property
    def data(self) -> DecisionLog:
        """The log, once it was read."""
        assert self._data is not None
        return self._data

    def add_text(self, part: bytes) -> None:
        """Some more of an uploaded log, as it is or as gzip. :raises BadRequest: :raises TooLarge:"""
        self._text += self._unpacked.add(part)

    def text(self) -> bytes:
        """The uploaded log, unpacked; it is forgotten here. :raises BadRequest: it ends early."""
        text = b"".join([*self._text, self._unpacked.end()])
        self._text = []
        return text

    def add_rows(self, kind: str, rows: Iterable[Logged]) -> None:
        """Some more rows of an own log, newest first."""
        self._rows[kind] += rows

    def read(self) -> int:
        """Read the log; how many decisions it has. :raises BadRequest: :raises TooLarge:"""
        load = self._load
        fields: dict[str, Any] = {"action_field": load.action_field, "reward_field": load.reward_field}
        if load.form is None:
            decisions, rewards = (oldest_first(self._rows.pop(kind)) for kind in ("action", "reward"))
            decisions = with_rewards(decisions, rewards, load.max_rows)
            window = Window(load.window_hours, load.default_reward, load.now_ms)
            self._data = _with_predictions(
                from_logs(decisions, rewards, window=window, **fields), load.predictions_field
            )
            if len(self._data) and not self._data.rewarded.any():
                raise BadRequest(NO_REWARDS, field="log")
        else:
            fields["columns"] = Columns(
                load.action_field,
                load.reward_field,
                load.propensity_field,
                load.predictions_field,
                tuple(load.context_fields),
            )
            self._data = FORMATS[load.form](self.text(), max_rows=load.max_rows, **fields)
        return len(self._data)

    def split(self) -> int:
        """Judge the candidate on the second half alone; how many decisions the first one has.

        :raises BadRequest: there are too few to split.
        """
        rewarded = np.flatnonzero(self.data.rewarded)
        if len(rewarded) < 2:
            raise BadRequest("a log is split from 2 rewarded decisions on", field="theta")
        self._now.first = int(rewarded[len(rewarded) // 2])
        return self._now.first

    def forget(self) -> None:
        """Forget what the candidate would do, and judge it on all decisions."""
        self._now = Judged()

    def records(self, first: int, most: int, budget: int, replay: bool = False) -> list[Record]:
        """The decisions from `first` on: at most so many, and one at least, of so many bytes in all.

        :param replay: leave out the rewards of those that a replay does not count.
        """
        data, some = self.data, list[Record]()
        kept = learning_replay.kept(data, self._load.seed) if replay else data.rewarded
        for place in range(first, min(first + most, len(data))):
            action, reward = data.given[place]
            known = reward is not NO_REWARD and kept[place]
            record = (data.contexts[place], action, reward if known else None)
            budget -= len(values.dump(record)) + 64
            if some and budget < 0:
                break
            some.append(record)
        return some

    def add_probabilities(self, rows: list[dict[str, float]], exact: int) -> None:
        """What the candidate would do in the next decisions; `exact` of them are as its code told them."""
        self._now.probabilities += rows
        self._now.exact += exact

    def keep(self, name: str, runs: int, theta: Theta, warnings: Sequence[str] = ()) -> None:
        """Go on to the next candidate, and keep what this one would do."""
        self._judged.append(replace(self._now, name=name, runs=runs, theta=theta, warnings=warnings))
        self._now = Judged()

    def answer(self, runs: int, theta: Theta = "current", warnings: Sequence[str] = ()) -> dict[str, Any]:
        """The estimates of the candidate, and what they rest on.

        :param runs: behind each probability that was not told.
        :param theta: what the candidate decided on. :param warnings: about every estimate.
        :raises BadRequest: :raises TooLarge:
        """
        self.keep("", runs, theta, warnings)
        judged = self._judged.pop()
        if theta == "replay":
            return self._replayed(judged)
        arms = _arms(self.data, judged.probabilities)
        return self._estimated(judged, judged.first, arms)[0]

    def answers(self) -> dict[str, Any]:
        """The estimates of all candidates that were kept, on the same decisions, and their differences.

        :raises BadRequest: :raises TooLarge:
        """
        plain = [one for one in self._judged if one.theta != "replay"]
        first = max((one.first for one in plain), default=0)
        arms = _arms(self.data, *[one.probabilities for one in plain])
        shown, samples = dict[str, Any](), dict[str, Sample]()
        for one in self._judged:
            if one.theta == "replay":
                shown[one.name] = self._replayed(one)
            else:
                shown[one.name], samples[one.name] = self._estimated(one, first, arms)
        found = differences.between(samples, {name: shown[name]["estimates"] for name in samples})
        return {"candidates": shown, "differences": msgspec.to_builtins(found)}

    def _estimated(self, one: Judged, first: int, arms: list[str]) -> tuple[dict[str, Any], Sample]:
        data, seed, unit = self.data, self._load.seed, self._load.unit
        if first:
            data = data.take(np.arange(first, len(data)))
        target = _target(one.probabilities[first - one.first :], arms)
        estimated = one.runs if one.exact < len(self.data) - one.first else None
        known = data.rewarded
        rewarded = data if known.all() else data.take(np.flatnonzero(known))
        sample = prepare(rewarded, arms, target[known], runs=estimated, seed=seed, unit_field=unit)
        found = evaluate(sample, self._load.estimators, resamples=RESAMPLES, seed=seed)
        if not known.all():
            found = missing.bounded(found, data, arms, target, seed=seed)
        shown = self._shown(found, one, data, arms, target, estimated)
        model = sample.model
        shown["reward_model"] = model.columns if isinstance(model, RewardModel) else None
        warnings = [*one.warnings, *self._of_rows(rewarded)]
        for estimate in shown["estimates"]:
            estimate["warnings"] = [*warnings, *estimate["warnings"]]
        return shown, sample

    def _of_rows(self, data: DecisionLog) -> list[str]:
        """What is to be said of every estimate on these rows."""
        said = []
        if self.data.aside:
            said.append(
                f"{self.data.aside:,} decisions that a fallback, the ramp or the holdout took are left out: "
                "no other arm could have been drawn."
            )
        if self.data.copies:
            said.append(
                f"{self.data.copies:,} of {len(self.data):,} rows are exact copies of others: if they are "
                "the same decisions, they count twice, and intervals are too narrow."
            )
        if self._load.unit is None and (doubt := units.doubt(data)) is not None:
            said.append(doubt)
        return said

    def _replayed(self, one: Judged) -> dict[str, Any]:
        found = learning_replay.estimate(self.data, one.probabilities, self._load.seed)
        found["warnings"] = [*one.warnings, *found["warnings"]]
        learnt = found["events"]
        candidate = {"theta": "replay", "learnt_from": learnt, "arms": _arms(self.data, one.probabilities)}
        return {"estimates": [found], "log": self._log(self.data), "candidate": candidate}

    def _learnt_from(self, one: Judged) -> int | None:
        """How many decisions of the log the candidate learned from before it was judged on others."""
        if one.theta == "progressive":
            return int(self.data.rewarded.sum())
        return int(self.data.rewarded[: one.first].sum()) if one.theta == "split" else None

    def _log(self, data: DecisionLog) -> dict[str, Any]:
        return {
            "rows": int(data.rewarded.sum()),
            "unrewarded": data.unrewarded,
            "waiting": data.waiting,
            "defaulted": data.defaulted,
            "unusable": data.unusable,
            "matched": data.matched,
            "copies": data.copies,
            "ignored": list(data.ignored),
            "mean_reward": scale.mean(data.rewards[data.rewarded]),
        }

    def _shown(
        self,
        estimates: Evaluation,
        one: Judged,
        data: DecisionLog,
        arms: list[str],
        target: Floats,
        runs: int | None,
    ) -> dict[str, Any]:
        means = target.mean(axis=0).tolist()
        return {
            **msgspec.to_builtins(estimates),
            "log": self._log(data),
            "candidate": {
                "arms": arms,
                "mean_probabilities": dict(zip(arms, means, strict=True)),
                "exact_rows": one.exact,
                "runs": runs,
                "probability_error": estimates.overlap.probability_error,
                "theta": one.theta,
                "learnt_from": self._learnt_from(one),
            },
        }


def _arms(data: DecisionLog, *probabilities: list[dict[str, float]]) -> list[str]:
    """All arms of the log and of candidates. :raises BadRequest: they are too many."""
    arms = sorted(set(data.actions).union(*[row for rows in probabilities for row in rows]))
    if len(arms) > MAX_ARMS:
        raise BadRequest(
            f"log and candidate have {len(arms)} different actions; off-policy evaluation takes at most "
            f"{MAX_ARMS}: choose the field of the action that names the arm",
            field="action_field",
        )
    return arms


def _target(rows: list[dict[str, float]], arms: list[str]) -> Floats:
    places = {arm: place for place, arm in enumerate(arms)}
    target = np.zeros((len(rows), len(arms)))
    for number, row in enumerate(rows):
        for arm, probability in row.items():
            target[number, places[arm]] = probability
    return target


def _with_predictions(data: DecisionLog, name: str | None) -> DecisionLog:
    """An own log with the predictions that a field of its contexts holds, which is no feature then."""
    if name is None:
        return data
    try:
        found = [None if name not in one else predicted(one[name]) for one in data.contexts]
    except values.InvalidValue as error:
        raise BadRequest(f"context.{name} {error.why}", field="predictions_field") from None
    if not any(found):
        raise BadRequest(f"no context has the field {name!r}", field="predictions_field")
    contexts = [{key: value for key, value in one.items() if key != name} for one in data.contexts]
    return replace(data, predictions=found, contexts=contexts)
