"""Checks of a live experiment's health from its logs, each with its statistic and a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from streamsim.evaluation import distributions
from streamsim.evaluation.intervals import Floats, Ints, wilson

ALPHA = 0.001
TOLERATED = 0.1
_SMALL = 5.0
_CONCENTRATIONS = (10.0, 1e3, 1e5)
_SUM_TOLERANCE = 1e-3
_QUANTILES = (0.5, 0.9, 0.95, 0.99)


class Check(msgspec.Struct, frozen=True):
    """One finding. `ok` is False only where the data speak against health; `statistic` is None if unknown."""

    name: str
    statistic: float | None
    p_value: float | None
    ok: bool
    sentence: str
    detail: dict[str, Any] = {}


def sample_ratio_mismatch(action: Ints, probabilities: Floats, arms: Sequence[str]) -> Check:
    """Whether arms were picked as often as the logged probabilities say.

    Pearson's chi-square of arm counts against summed probabilities, with the covariance that these really
    have, sum_t (diag(p_t) - p_t p_t'): the familiar statistic if p_t never changes, and right also if it
    depends on context and history. Arms expected fewer than 5 times are taken together, the rarest first.

    :param action: n places in `arms`.
    :param probabilities: n x K, the policy's probability of each arm at each decision; rows with NaN (not
        logged) or that do not sum to 1 are left out.
    """
    name = "sample_ratio"
    sums = probabilities.sum(axis=1)
    known = np.abs(sums - 1) <= _SUM_TOLERANCE
    action, p = action[known], probabilities[known] / sums[known, None]
    n = len(action)
    if n == 0:
        return Check(
            name,
            None,
            None,
            True,
            "Arm counts cannot be checked: no decision has the probabilities of all arms.",
        )
    impossible = int((p[np.arange(n), action] <= 0).sum())
    if impossible:
        sentence = f"{impossible:,} of {n:,} decisions took an arm whose logged probability was 0."
        return Check(name, None, 0.0, False, sentence)
    counts = np.bincount(action, minlength=len(arms)).astype(np.float64)
    expected = p.sum(axis=0)
    cells = _pooled(expected)
    member = np.zeros((len(arms), cells.max() + 1))
    member[np.arange(len(arms)), cells] = 1.0
    grouped = p @ member
    covariance = np.diag(grouped.sum(axis=0)) - grouped.T @ grouped
    # Scaled to correlations, so that what counts as singular does not depend on n.
    scale = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    free = scale > 1e-6 * np.sqrt(n)
    if free.sum() < 2:
        return Check(
            name,
            None,
            None,
            True,
            f"Arm counts cannot be checked yet: too few of {n:,} decisions were random.",
        )
    gap = ((counts - expected) @ member)[free] / scale[free]
    values, vectors = np.linalg.eigh(covariance[np.ix_(free, free)] / np.outer(scale[free], scale[free]))
    kept = values > 1e-9
    statistic = float(((vectors.T @ gap)[kept] ** 2 / values[kept]).sum())
    p_value = distributions.chi_square_tail(int(kept.sum()), statistic)
    worst = int(np.argmax(np.abs(counts - expected)))
    # Where it can be told, the p-value that holds however often one looks decides.
    constant = bool(np.ptp(p, axis=0).max() <= _SUM_TOLERANCE * p.min(initial=1.0, where=p > 0))
    anytime = sequential_p(counts, p.mean(axis=0)) if constant else None
    deciding = p_value if anytime is None else anytime
    ok = deciding >= ALPHA
    shown = f"p = {p_value:.2g}" + ("" if anytime is None else f", {anytime:.2g} for repeated looks")
    sentence = (
        f"Arms were picked as often as their logged probabilities say ({shown})."
        if ok
        else f"Arms were not picked as their logged probabilities say ({shown}): {arms[worst]!r} "
        f"{counts[worst]:,.0f} times where {expected[worst]:,.0f} were expected."
    )
    detail = {
        arm: {"count": int(c), "expected": float(e)} for arm, c, e in zip(arms, counts, expected, strict=True)
    }
    shares = {"decisions": n, "arms": detail, "sequential_p_value": anytime}
    return Check(name, statistic, p_value, ok, sentence, shares)


def ratio_of_counts(counts: Mapping[str, int], shares: Mapping[str, float]) -> Check:
    """The same for counts of independent units against constant probabilities, which sum to 1."""
    arms = list(counts)
    n, p = sum(counts.values()), np.array([shares[arm] for arm in arms])
    seen = np.array([counts[arm] for arm in arms], dtype=np.float64)
    statistic = float(((seen - n * p) ** 2 / (n * p)).sum())
    p_value = distributions.chi_square_tail(len(arms) - 1, statistic)
    anytime = sequential_p(seen, p)
    sentence = f"p = {p_value:.3g}, and {anytime:.3g} however often one looks."
    detail = {"sequential_p_value": anytime}
    return Check("sample_ratio", statistic, p_value, anytime >= ALPHA, sentence, detail)


def sequential_p(counts: Floats, probabilities: Floats) -> float:
    """A p-value that may be looked at after every unit: the chance that it ever falls under alpha is at most
    alpha, if arms are picked with these probabilities.

    It is the inverse of a Bayes factor, against a Dirichlet distribution around the probabilities (Lindon and
    Malek, "Anytime-valid inference for multinomial count data", NeurIPS 2022).
    """
    used = probabilities > 0
    counts, p = counts[used], probabilities[used] / probabilities[used].sum()
    likelihood = float((counts * np.log(p)).sum())
    factors = [_log_evidence(counts, spread * p) - likelihood for spread in _CONCENTRATIONS]
    # The mean of several is a Bayes factor, too: some see large differences early, others small ones later.
    top = max(factors)
    mean = top + math.log(sum(math.exp(factor - top) for factor in factors) / len(factors))
    return math.exp(-max(mean, 0.0)) if mean < 700 else 0.0


def _log_evidence(counts: Floats, prior: Floats) -> float:
    """Log probability of a sequence with these counts under a Dirichlet prior."""
    gained = sum(map(math.lgamma, (prior + counts).tolist())) - sum(map(math.lgamma, prior.tolist()))
    whole = float(prior.sum())
    return gained + math.lgamma(whole) - math.lgamma(whole + float(counts.sum()))


def _pooled(expected: Floats) -> Ints:
    """A cell for each arm: the rarest share one until every cell is expected at least 5 times."""
    cells = np.zeros(len(expected), dtype=np.int64)
    order = np.argsort(expected, kind="stable")
    total, cell = 0.0, 0
    for place in order:
        if total >= _SMALL:
            total, cell = 0.0, cell + 1
        cells[place] = cell
        total += expected[place]
    if total < _SMALL and cell > 0:
        cells[cells == cell] = cell - 1
    return cells


def constant_probabilities(action: Ints, propensity: Floats, arms: int) -> Floats | None:
    """All arms' probabilities (n x K) where only the taken arm's was logged, if they can be told.

    They can if each arm always has the same propensity and these sum to 1; otherwise None.
    """
    p = np.full(arms, np.nan)
    p[action] = propensity
    if not np.allclose(p[action], propensity) or not abs(p.sum() - 1) <= _SUM_TOLERANCE:
        return None
    return np.broadcast_to(p, (len(action), arms))


def propensities(propensity: Floats, sums: Floats) -> Check:
    """Whether propensities are there and are probabilities.

    :param propensity: n logged propensities, NaN where missing.
    :param sums: n sums of the probabilities of all arms, NaN where these were not logged.

    The statistic is the share of decisions with a fault.
    """
    n = len(propensity)
    if n == 0:
        return Check("propensities", None, None, True, "There are no decisions yet.")
    missing = np.isnan(propensity)
    outside = ~missing & ~((propensity > 0) & (propensity <= 1))
    uneven = ~np.isnan(sums) & ~(np.abs(sums - 1) <= _SUM_TOLERANCE)
    faults = {"missing": int(missing.sum()), "outside": int(outside.sum()), "not_one": int(uneven.sum())}
    share = float((missing | outside | uneven).mean())
    said = {
        "missing": "have no propensity",
        "outside": "have a propensity that is not above 0 and at most 1",
        "not_one": "have probabilities that do not sum to 1",
    }
    parts = [f"{count:,} {said[fault]}" for fault, count in faults.items() if count]
    if parts:
        return Check("propensities", share, None, False, f"Of {n:,} decisions {', '.join(parts)}.", faults)
    return Check("propensities", 0.0, None, True, f"All {n:,} decisions have a valid propensity.", faults)


def rewards(
    decided_ms: Floats,
    rewarded_ms: Floats,
    now_ms: float,
    *,
    due_ms: float | None = None,
    tolerated: float = TOLERATED,
) -> Check:
    """How many decisions wait for a reward, and how long rewards take.

    :param decided_ms: n dates of decisions.
    :param rewarded_ms: n dates of their rewards, NaN where there is none yet.
    :param due_ms: age from which a reward counts as missing; by default the 99 % quantile of the delays.
    :param tolerated: the share missing that is no reason for concern.

    The statistic is the share missing of the decisions of that age; the delays are of those with a reward.
    """
    name, n = "rewards", len(decided_ms)
    if n == 0:
        return Check(name, None, None, True, "There are no decisions yet.")
    delays = (rewarded_ms - decided_ms)[~np.isnan(rewarded_ms)]
    detail: dict[str, Any] = {"decisions": n, "without_reward": n - len(delays), "delay_ms": None}
    if len(delays):
        figures = np.quantile(delays, _QUANTILES)
        detail["delay_ms"] = {
            f"p{round(100 * q)}": float(x) for q, x in zip(_QUANTILES, figures, strict=True)
        }
        detail["delay_ms"]["max"] = float(delays.max())
        due_ms = float(figures[-1]) if due_ms is None else due_ms
    old = now_ms - decided_ms >= (due_ms or 0.0)
    considered, missing = int(old.sum()), int((old & np.isnan(rewarded_ms)).sum())
    detail |= {"due_ms": due_ms, "due": considered, "missing": missing}
    if considered == 0:
        return Check(
            name, None, None, True, f"None of {n:,} decisions is old enough to miss a reward.", detail
        )
    share = missing / considered
    ok = wilson(missing, considered).low <= tolerated
    wait = f" Half of the rewards come within {_duration(detail['delay_ms']['p50'])}." if len(delays) else ""
    sentence = f"{share:.1%} of {considered:,} decisions whose reward is due have none.{wait}"
    return Check(name, share, None, ok, sentence, detail)


def _duration(ms: float) -> str:
    for unit, size in (("days", 86_400_000), ("hours", 3_600_000), ("minutes", 60_000), ("s", 1000)):
        if ms >= 2 * size:
            return f"{ms / size:,.1f} {unit}"
    return f"{ms:,.0f} ms"


def error_rate(errors: int, calls: int, *, tolerated: float = 0.01) -> Check:
    """How often the policy code failed; not ok once that is surely more than `tolerated`.

    The statistic is the share, the detail its 95 % Wilson interval.
    """
    if calls == 0:
        return Check("errors", None, None, True, "The policy code has not been called yet.")
    interval = wilson(errors, calls)
    sentence = (
        f"The policy code failed in {errors:,} of {calls:,} calls: {errors / calls:.2%} "
        f"(95 % interval {interval.low:.2%} to {interval.high:.2%})."
    )
    detail = {"errors": errors, "calls": calls, "low": interval.low, "high": interval.high}
    return Check("errors", errors / calls, None, interval.low <= tolerated, sentence, detail)


def arms_never_picked(counts: Mapping[str, int], probabilities: Floats | None = None) -> Check:
    """Arms that no decision took.

    :param counts: decisions of every known arm, in the order of the columns of `probabilities`.
    :param probabilities: n x K probabilities of the arms at each decision, NaN where not logged.

    The p-value is the chance that the likeliest of them would be missed so: prod_t (1 - p_t), times the
    number of such arms, at most 1. Without probabilities an arm is unhealthy once there are 10 decisions for
    each arm. An arm whose probability always was 0 is unhealthy too: nothing can ever be learnt of it.
    """
    name, n = "arms", sum(counts.values())
    never = [arm for arm, count in counts.items() if count == 0]
    if not never:
        return Check(
            name, 0.0, None, True, f"Each of the {len(counts)} arms was picked.", {"never_picked": []}
        )
    some = ", ".join(map(repr, never[:5])) + (", ..." if len(never) > 5 else "")
    sentence = f"{len(never)} of {len(counts)} arms were never picked in {n:,} decisions: {some}"
    detail: dict[str, Any] = {"never_picked": never}
    p = None if probabilities is None else probabilities[~np.isnan(probabilities).any(axis=1)]
    if p is None or len(p) == 0:
        return Check(name, len(never), None, n < 10 * len(counts), f"{sentence}.", detail)
    columns = p[:, [place for place, count in enumerate(counts.values()) if count == 0]]
    detail["expected"] = {arm: float(e) for arm, e in zip(never, columns.sum(axis=0), strict=True)}
    p_value = min(1.0, len(never) * float((1 - columns).prod(axis=0).min()))
    closed = [arm for arm, most in zip(never, columns.max(axis=0), strict=True) if most <= 0]
    if closed:
        sentence += f"; the policy gave {len(closed)} of them no probability at all"
    elif p_value < ALPHA:
        sentence += f", though the logged probabilities should have shown them (p = {p_value:.2g})"
    return Check(name, len(never), p_value, p_value >= ALPHA and not closed, f"{sentence}.", detail)
