"""What came to experiments by minute and by hour, as their owner gets it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Sequence
from typing import Any, Final

from streamsim.dates import HOUR_MS
from streamsim.errors import BadRequest
from streamsim.experiments.experiments import Experiments
from streamsim.storage.contract.buckets import REST, STEP_MS, Bucket, Buckets, Counts, Step
from streamsim.storage.contract.decisions import Experiment, Summary
from streamsim.storage.contract.store import Store
from streamsim.webhooks.events import state_of

MOST: Final = 1_500
"""So many buckets are told at most."""
DEFAULT: Final[dict[Step, int]] = {"minute": 180, "hour": 168}
HOURS: Final = 24
"""So many hours of each experiment are in a list of several."""
_Z: Final = 1.959963984540054


class Traffic:
    """What came to the experiments of all tenants. :param now_ms: the wall clock, in ms since 1970 UTC."""

    def __init__(self, store: Store, experiments: Experiments, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._experiments = experiments
        self._now_ms = now_ms
        self._iso = experiments.iso

    async def buckets(
        self, tenant: str, experiment_id: str, step: Step, from_ms: int | None, to_ms: int | None
    ) -> dict[str, Any]:
        """What came to one by minute or hour: `shown`. :raises BadRequest: :raises Unauthorized:"""
        begin, end = span(step, from_ms, to_ms, self._now_ms())
        await self._experiments.get(tenant, experiment_id)
        found = await self._store.decisions.buckets([experiment_id], step, begin, end)
        return shown(found[experiment_id], step, begin, end, self._iso)

    async def overview(
        self, tenant: str, *, limit: int, after: str = ""
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Live experiments in order of id, each as `listed`; and the last id, if there are more."""
        page = await self._store.decisions.list_experiments(tenant, limit=limit + 1, after=after)
        begin, end = hours_before(self._now_ms())
        ids = [one.id for one in page[:limit]]
        found, summaries = await asyncio.gather(
            self._store.decisions.buckets(ids, "hour", begin, end),
            asyncio.gather(*(self._store.decisions.summary(id) for id in ids)),
        )
        told = [
            listed(one, summary, found[one.id], begin, self._iso)
            for one, summary in zip(page, summaries, strict=False)
        ]
        return told, ids[-1] if len(page) > limit else None


def span(step: Step, from_ms: int | None, to_ms: int | None, now_ms: int) -> tuple[int, int]:
    """The beginning of the first bucket and the end of the last one, in ms.

    :raises BadRequest: they are in the wrong order, or so far apart that there are more than `MOST`.
    """
    length = STEP_MS[step]
    end = -(-(now_ms + 1 if to_ms is None else to_ms) // length) * length
    begin = end - DEFAULT[step] * length if from_ms is None else from_ms // length * length
    if begin >= end:
        raise BadRequest("from must be an earlier date than to", field="from")
    if (end - begin) // length > MOST:
        raise BadRequest(f"from and to may be at most {MOST:,} {step}s apart", field="from")
    return begin, end


def shown(buckets: Buckets, step: Step, begin: int, end: int, iso: Callable[[int], str]) -> dict[str, Any]:
    """Those buckets of one experiment in which something came, oldest first."""
    by_start: dict[int, list[Bucket]] = {}
    for row in buckets.rows:
        by_start.setdefault(row.start_ms, []).append(row)
    told = []
    for start_ms, rows in by_start.items():
        arms = {row.arm: _figures(row.counts) for row in rows if row.arm != REST}
        whole = total(row.counts for row in rows)
        told.append({"start": iso(start_ms), **_figures(whole), "errors": whole.errors, "arms": arms})
    since = buckets.since_ms
    return {
        "step": step,
        "from": iso(begin),
        "to": iso(end),
        "since": iso(end) if since is None else iso(since) if since else None,
        "buckets": told,
    }


def total(counts: Any) -> Counts:
    """The sum of several."""
    result = Counts()
    for one in counts:
        result.decisions += one.decisions
        result.rewards += one.rewards
        result.numbers += one.numbers
        result.reward_sum += one.reward_sum
        result.reward_squares += one.reward_squares
        result.errors += one.errors
    return result


def listed(
    experiment: Experiment, summary: Summary, buckets: Buckets, begin: int, iso: Callable[[int], str]
) -> dict[str, Any]:
    """An experiment in a list: its state, its counters, and what came in the last `HOURS`."""
    hours = [Counts() for _ in range(HOURS)]
    for row in buckets.rows:
        place = (row.start_ms - begin) // HOUR_MS
        hours[place] = total((hours[place], row.counts))
    whole = total(hours)
    mean, low, high = _interval(whole)
    action_ms, reward_ms = summary.last_action_ms, summary.last_reward_ms
    return {
        "id": experiment.id,
        "name": experiment.name,
        "state": state_of(experiment),
        "get_action_calls": summary.action_calls,
        "last_added_get_action": None if action_ms is None else iso(action_ms),
        "set_reward_calls": summary.reward_calls,
        "last_added_set_reward": None if reward_ms is None else iso(reward_ms),
        "decisions": [one.decisions for one in hours],
        "rewards": [one.rewards for one in hours],
        "errors": whole.errors,
        "mean": mean,
        "low": low,
        "high": high,
    }


def hours_before(now_ms: int) -> tuple[int, int]:
    """The last `HOURS` up to the present one."""
    end = (now_ms // HOUR_MS + 1) * HOUR_MS
    return end - HOURS * HOUR_MS, end


def _figures(counts: Counts) -> dict[str, Any]:
    return {
        "decisions": counts.decisions,
        "rewards": counts.rewards,
        "numbers": counts.numbers,
        "reward_sum": counts.reward_sum,
        "reward_squares": counts.reward_squares,
    }


def _interval(counts: Counts) -> Sequence[float | None]:
    """Mean of rewards and its 95 % interval by the normal distribution; None where there is none."""
    n = counts.numbers
    if not n:
        return None, None, None
    mean = counts.reward_sum / n
    if n == 1:
        return mean, None, None
    spread = max(counts.reward_squares / n - mean * mean, 0.0) * n / (n - 1)
    reach = _Z * math.sqrt(spread / n)
    return mean, mean - reach, mean + reach
