"""What a policy that learns would have earned: its replay on logged decisions.

In each decision, in the order of the log, the candidate draws an arm. Where that is the logged one the reward
counts, and the candidate learns from it; all other decisions are skipped as if they had never been. On a log
of arms that were drawn uniformly at random the decisions that count are those of the candidate itself (Li,
Chu, Langford, Wang, "Unbiased offline evaluation of contextual-bandit-based news article recommendation
algorithms", WSDM 2011). Of other logs with known propensities p, decisions are kept with a probability in
proportion to 1 / p first, which leaves a uniform one.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamsim.evaluation import distributions
from streamsim.evaluation.logs import DecisionLog

LEAST: Final = 30
_SAME: Final = 1e-6


def kept(data: DecisionLog, seed: int) -> NDArray[np.bool_]:
    """Which decisions a replay may count."""
    p = data.propensities
    if np.isnan(p).all():
        return data.rewarded
    known = data.rewarded & ~np.isnan(p)
    if not known.any():
        return known
    least = float(p[known].min())
    chance = np.divide(least, p, out=np.zeros(len(p)), where=known)
    result: NDArray[np.bool_] = np.random.default_rng([seed, 11]).random(len(p)) < chance * (1 + _SAME)
    return result


def estimate(data: DecisionLog, drawn: list[dict[str, float]], seed: int) -> dict[str, Any]:
    """The mean reward of the decisions that count, as an estimate in the answer.

    :param drawn: for each decision the candidate's arm, with probability 1.
    """
    counts = kept(data, seed) & np.array(
        [action in row for action, row in zip(data.actions, drawn, strict=True)]
    )
    rewards = data.rewards[counts]
    n, p = len(rewards), data.propensities
    found: dict[str, Any] = {
        "estimator": "replay",
        "value": None,
        "standard_error": None,
        "interval": None,
        "method": None,
        "events": n,
        "warnings": [],
    }
    warnings: list[str] = found["warnings"]
    if np.isnan(p).all():
        warnings.append(
            "The log has no propensities: the replay of a policy that learns is right only if all arms were "
            "drawn uniformly at random."
        )
    if not n:
        warnings.append("The candidate never drew a logged arm, so the log says nothing about it.")
        return found
    found["value"] = float(rewards.mean())
    if n < LEAST:
        warnings.append(f"Only {n} decisions count: there is no interval.")
        return found
    spread = float(rewards.std(ddof=1)) / n**0.5
    found["standard_error"] = spread
    if not spread:
        warnings.append("All rewards that count are alike: there is no interval.")
        return found
    reach = distributions.student_t(n - 1, 0.975) * spread
    found["interval"] = {"low": found["value"] - reach, "high": found["value"] + reach}
    found["method"] = "asymptotic"
    warnings.append(
        f"This is one course of learning over {n:,} decisions. Its interval is for what such a course earns "
        "after the same lessons; another course may learn faster or more slowly."
    )
    return found
