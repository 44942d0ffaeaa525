"""What the rewards that are missing may do to an estimate.

Those that came may be others than those that did not: whoever posts conversions only has a log of successes.
So every estimate gets the bounds between which it lies whatever the missing rewards are, as long as they are
within the range of those that came (Manski, "Nonparametric bounds on treatment effects", AER 80, 1990).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np

from streamsim.evaluation.intervals import Floats, Interval
from streamsim.evaluation.logs import DecisionLog
from streamsim.evaluation.offpolicy import Evaluation, values

_TOLD = 0.001


def bounded(
    found: Evaluation, data: DecisionLog, arms: Sequence[str], target: Floats, *, seed: int
) -> Evaluation:
    """The estimates of a log with missing rewards (NaN), each with its `bounds` and a warning that says so.

    :param target: the candidate's probabilities for all decisions, n x K.
    """
    known = data.rewarded
    n, without = len(data), int((~known).sum())
    names = [one.estimator for one in found.estimates]
    lowest, highest = _range(data)
    ends = [
        values(replace(data, rewards=np.where(known, data.rewards, end)), arms, target, names, seed=seed)
        for end in (lowest, highest)
    ]
    share = without / n
    start = f"{without:,} of {n:,} decisions ({share:.1%}) have no reward"
    estimates = []
    for one, low, high in zip(found.estimates, *ends, strict=True):
        if one.value is None or low is None or high is None:
            bounds = None
            text = f"{start}; what they may be is not in the estimate."
        else:
            bounds = Interval(min(low, high), max(low, high))
            text = (
                f"{start}: the estimate holds if those would be like the others. With {lowest:g} or "
                f"{highest:g} in their place it goes from {bounds.low:.4g} to {bounds.high:.4g}."
            )
        warnings = (text, *one.warnings) if share > _TOLD else one.warnings
        estimates.append(msgspec.structs.replace(one, bounds=bounds, warnings=warnings))
    return Evaluation(tuple(estimates), found.overlap, found.level)


def _range(data: DecisionLog) -> tuple[float, float]:
    """The lowest and the highest reward that is known, the default reward included; 0 and 1 where all are
    one of the two."""
    figures = data.rewards[data.rewarded]
    if not np.isnan(data.default):
        figures = np.append(figures, data.default)
    low, high = float(figures.min()), float(figures.max())
    return (0.0, 1.0) if low == high and low in (0.0, 1.0) else (low, high)
