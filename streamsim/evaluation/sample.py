"""Logged decisions beside what a candidate would have done: the input of every off-policy estimator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec
import numpy as np

from streamsim import values
from streamsim.errors import BadRequest, TooLarge
from streamsim.evaluation import adaptive, units
from streamsim.evaluation.few_events import effective_size
from streamsim.evaluation.intervals import Floats, Ints
from streamsim.evaluation.logs import DecisionLog, is_propensity
from streamsim.evaluation.reward_model import RewardModel
from streamsim.evaluation.scale import LEAST_PROPENSITY, unit_of

MAX_CELLS = 50_000_000
_SUM_TOLERANCE = 1e-3
_REPEATED = 20
_RUNS = 5


@dataclass(frozen=True)
class Sample:
    """n logged decisions over K arms, those that the log lacks but the candidate uses included.

    :param action: n places in `arms`: the logged arms.
    :param reward: n finite numbers.
    :param propensity: n logged propensities in (0, 1], or None where they are not known.
    :param target: n x K probabilities of the candidate; rows sum to 1 within 0.001 and are scaled to 1.
    :param model: a `RewardModel` of these rows, or n x K predictions from elsewhere, whose own error is then
        no part of any interval.
    :param arms: K labels, for messages.
    :param runs: independent runs behind each row of `target`, if it was estimated by repeated runs.
    :param left_out: rows that are not here because they lack a propensity, for messages.
    :param adaptive: whether the log was collected by a policy that changed meanwhile.
    :param logging: n x K, the logging policy's probability of every arm; None where that is not known.
    :param units: n numbers from 0 on: decisions of one unit depend on each other. None: all are independent.
    :param groups: n numbers from 0 on, the same for the same context; None where contexts hardly repeat.
    :param propensity_runs: n numbers of runs that each propensity was estimated from, 0 where it was told.
    :param unit: in which `reward` and `model` are counted, see `scale`; answers are in the rewards' own.
    :raises BadRequest: naming the argument that does not fit.
    """

    action: Ints
    reward: Floats
    propensity: Floats | None
    target: Floats
    model: RewardModel | Floats | None = None
    arms: tuple[str, ...] = ()
    runs: int | None = None
    left_out: int = 0
    unit: float = 1.0
    adaptive: bool = False
    logging: Floats | None = None
    units: Ints | None = None
    groups: Ints | None = None
    propensity_runs: Ints | None = None

    def __post_init__(self) -> None:
        n = len(self.action)
        if n == 0:
            raise BadRequest("there are no logged decisions to evaluate on", field="log")
        if self.target.ndim != 2 or len(self.target) != n:
            raise BadRequest(f"target must have one row for each of the {n} decisions", field="target")
        if not isinstance(self.model, RewardModel | None) and self.model.shape != self.target.shape:
            raise BadRequest(f"the model must have {self.target.shape} predictions, as target", field="model")
        sums = self.target.sum(axis=1)
        wrong = np.flatnonzero((self.target < 0).any(axis=1) | ~(np.abs(sums - 1) <= _SUM_TOLERANCE))
        if len(wrong):
            raise BadRequest(
                "the candidate's probabilities must not be negative and must sum to 1; for decision "
                f"{wrong[0] + 1} they are {self.target[wrong[0]].tolist()[:10]}",
                field="target",
            )
        object.__setattr__(self, "target", self.target / sums[:, None])
        if self.propensity is not None and not ((self.propensity > 0) & (self.propensity <= 1)).all():
            raise BadRequest("propensities must be above 0 and at most 1", field="propensity")

    def __len__(self) -> int:
        return len(self.action)

    @cached_property
    def match(self) -> Floats:
        """The candidate's probability of the logged arm."""
        return self.target[np.arange(len(self)), self.action]

    @cached_property
    def tiny(self) -> int:
        """How many decisions that the candidate could take have a propensity too small to weigh by."""
        if self.propensity is None:
            return 0
        return int(((self.propensity < LEAST_PROPENSITY) & (self.match > 0)).sum())

    @cached_property
    def weighed(self) -> bool:
        """Whether there are weights."""
        return self.propensity is not None and not self.tiny

    @cached_property
    def weight(self) -> Floats:
        """Importance weights w. :raises BadRequest: there are none."""
        if self.propensity is None or self.tiny:
            raise BadRequest("needs the propensity of each logged decision", field="propensity")
        return np.divide(self.match, self.propensity, out=np.zeros(len(self)), where=self.match > 0)

    @cached_property
    def unseen_share(self) -> float:
        """The share of all weight on propensities that are too small for the runs they were estimated from.

        Of R runs (the decision's own one counts) an arm of probability p has the weight 1 / p on average but
        for a factor 1 - (1 - p)^R: what is rarer than a few runs is hardly ever seen, its weight is missing.
        """
        if self.propensity_runs is None or self.propensity is None or not self.weighed:
            return 0.0
        small = (self.propensity_runs > 0) & (self.propensity * self.propensity_runs < _RUNS)
        whole = float(self.weight.sum())
        return float(self.weight[small].sum()) / whole if whole else 0.0

    @cached_property
    def predictions(self) -> Floats:
        """q(x, a): n x K."""
        if self.model is None:
            raise BadRequest("needs a reward model", field="model")
        return self.model.predictions if isinstance(self.model, RewardModel) else self.model

    @cached_property
    def modelled(self) -> Floats:
        """q_pi(x): what the reward model expects of the candidate."""
        result: Floats = (self.target * self.predictions).sum(axis=1)
        return result

    @cached_property
    def error(self) -> Floats:
        """r - q(x, a) of the logged arm."""
        return self.reward - self.predictions[np.arange(len(self)), self.action]

    @cached_property
    def _modelled_influence(self) -> Floats:
        model = self.model
        return model.influence(self.target) if isinstance(model, RewardModel) else np.zeros(len(self))

    def fit_influence(self, weight: Floats | None = None) -> Floats:
        """Influence of the rows, as training data of the model, on E[q_pi + weight (r - q)]; of mean 0."""
        result: Floats = self._modelled_influence - self._modelled_influence.mean()
        if weight is not None and isinstance(self.model, RewardModel):
            logged = self.model.influence_of_logged(weight)
            result -= logged - logged.mean()
        return result


def prepare(
    data: DecisionLog,
    arms: Sequence[str],
    target: Floats,
    *,
    runs: int | None = None,
    folds: int = 5,
    seed: int = 0,
    unit_field: str | None = None,
) -> Sample:
    """Logged data and the candidate's probabilities as a sample with the default reward model.

    Where some rows have a propensity the others are left out, so that all estimators use the same rows.

    :param arms: labels of the columns of `target`; every logged arm is among them.
    :param target: len(data) x len(arms).
    :param unit_field: of the contexts, that names the unit.
    :raises BadRequest: no rows, or `target` or `unit_field` do not fit.
    :raises TooLarge: over `MAX_CELLS` probabilities.
    """
    if len(data) * len(arms) > MAX_CELLS:
        raise TooLarge(
            f"{len(data)} decisions over {len(arms)} arms are too many: at most {MAX_CELLS} in all"
        )
    known = ~np.isnan(data.propensities)
    left_out = int((~known).sum()) if known.any() else 0
    if left_out:
        data, target = data.take(np.flatnonzero(known)), target[known]
    action = data.index(arms)
    unit = unit_of(data.rewards)
    rewards = data.rewards / unit
    # A single row can have no cross-fitted model.
    model: RewardModel | Floats | None = (
        _given(data, arms, unit)
        if data.predictions
        else RewardModel(
            _without(data.contexts, unit_field), action, rewards, len(arms), folds=folds, seed=seed
        )
        if len(data) > 1
        else None
    )
    propensity = data.propensities if known.any() else None
    return Sample(
        action,
        rewards,
        propensity,
        target,
        model,
        tuple(arms),
        runs,
        left_out,
        unit,
        adaptive.moves(data),
        _logging(data, arms, action),
        None if unit_field is None else units.of(data, unit_field),
        _groups(data),
        np.array(data.runs, dtype=np.int64) if data.runs else None,
    )


def _given(data: DecisionLog, arms: Sequence[str], unit: float) -> Floats:
    """The predictions that the log has. :raises BadRequest: one is missing."""
    result = np.empty((len(data), len(arms)))
    for row, found in enumerate(data.predictions):
        for place, arm in enumerate(arms):
            if found is None or arm not in found:
                raise BadRequest(
                    f"decision {row + 1} has no prediction for the arm {arm!r}: each needs one for every arm",
                    field="predictions_field",
                )
            result[row, place] = found[arm]
    return result / unit


def _without(contexts: Sequence[dict[str, Any]], field: str | None) -> Sequence[dict[str, Any]]:
    """The contexts without the unit's name: a model that knew it would take a unit's luck for its arm's."""
    if field is None:
        return contexts
    return [{name: value for name, value in context.items() if name != field} for context in contexts]


def _groups(data: DecisionLog) -> Ints | None:
    numbers: dict[bytes, int] = {}
    found = [numbers.setdefault(values.dump_sorted(context), len(numbers)) for context in data.contexts]
    return np.array(found, dtype=np.int64) if len(numbers) <= len(found) / _REPEATED else None


def _logging(data: DecisionLog, arms: Sequence[str], action: Ints) -> Floats | None:
    """The logging policy's probabilities of all arms, if every decision told them and its own among them;
    with two arms, one tells the other."""
    n, p = len(data), data.propensities
    if np.isnan(p).any():
        return None
    result = np.zeros((n, len(arms)))
    if len(arms) == 2 and not data.told:
        result[np.arange(n), action] = p
        result[np.arange(n), 1 - action] = 1 - p
        return result
    if len(data.told) < n or not all(data.told):
        return None
    places = {arm: place for place, arm in enumerate(arms)}
    for row, told in enumerate(data.told):
        for arm, chance in (told or {}).items():
            if arm in places and is_propensity(chance):
                result[row, places[arm]] = chance
    same = np.abs(result[np.arange(n), action] - p) <= _SUM_TOLERANCE
    return result if same.all() else None


class Overlap(msgspec.Struct, frozen=True):
    """How much the log says about the candidate. None where the propensities are not known, or too small.

    `effective_sample_size`: (sum w)^2 / sum w^2, the number of equally weighted decisions that would be as
    precise (Kish 1965). `largest_weight`, and `largest_share`, the part of all weight that it has.
    `mean_weight` is 1, but for chance, if the propensities are right and the log covers the candidate.
    `could_take`: share of the logged actions to which the candidate gives a positive probability.
    `never_logged`: share of the candidate's choices that fall on arms absent from the log, and those arms.
    `probability_error`: root mean square standard error of the candidate's probabilities of the logged arms,
    where they were estimated by repeated runs; being independent from row to row, it is in the intervals.
    """

    decisions: int
    effective_sample_size: float | None
    largest_weight: float | None
    largest_share: float | None
    mean_weight: float | None
    could_take: float
    never_logged: float
    never_logged_arms: tuple[str, ...]
    probability_error: float | None


def overlap(sample: Sample) -> Overlap:
    """The figures of `Overlap` for a sample."""
    largest = share = mean = size = None
    if sample.weighed:
        w = sample.weight
        largest, mean = float(w.max()), float(w.mean())
        share = largest / float(w.sum()) if largest else None
        size = effective_size(w)
    unseen = np.ones(sample.target.shape[1], dtype=bool)
    unseen[sample.action] = False
    used = sample.target.sum(axis=0) > 0
    arms = sample.arms or tuple(map(str, range(len(unseen))))
    error = None
    if sample.runs is not None and sample.runs > 1:
        error = float(np.sqrt((sample.match * (1 - sample.match)).mean() / (sample.runs - 1)))
    return Overlap(
        len(sample),
        size,
        largest,
        share,
        mean,
        float((sample.match > 0).mean()),
        float(sample.target[:, unseen].sum(axis=1).mean()),
        tuple(arms[place] for place in np.flatnonzero(unseen & used)),
        error,
    )
