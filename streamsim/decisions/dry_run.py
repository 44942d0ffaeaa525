"""A decision, and a reward for it, as they would be made now: run in the sandbox, told, and forgotten.

Nothing is committed: no log row, no theta, no advice. The code runs whatever the state of its experiment is;
floor and switched-off arms are applied to what it decides, and ramp, holdout, burn-in and kept actions, which
decide in place of the code, are not.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec

from streamsim import values
from streamsim.decisions import mechanism
from streamsim.decisions.history import Readable
from streamsim.decisions.transaction import Untrustworthy, check_outcome, theta_effects
from streamsim.decisions.wire import ACTION, REWARD, Call, Outcome
from streamsim.decisions.worker import BatchFailed, PolicyWorker
from streamsim.errors import PolicyCrashed, Unavailable
from streamsim.sandbox.host.pool import SandboxLost
from streamsim.storage.contract.decisions import Experiment, Summary, ThetaAddress, ThetaRows

MAX_SHOWN: Final = 200
"""So many rows of theta are told, of those that were read and of those that would be written."""
MAX_SHOWN_BYTES: Final = 1 << 20


class Effects(NamedTuple):
    """What one call did, checked. `writes`: None for a row that it deletes."""

    outcome: Outcome
    reads: dict[ThetaAddress, int]
    writes: dict[ThetaAddress, bytes | None]
    logged: list[dict[str, Any]]
    ms: float


class Overlay:
    """A store as it would be after some writes, for a worker to read."""

    def __init__(self, store: Readable, writes: dict[ThetaAddress, bytes | None]) -> None:
        self._store = store
        self._writes = writes
        self.touched = set[ThetaAddress]()

    async def read_theta(self, scope: ThetaAddress) -> ThetaRows:
        """As a store's; scopes that hold something of the writes are remembered in `touched`."""
        found = await self._store.read_theta(scope)
        rows, version = dict(found.rows), found.version + 1
        for row, data in self._writes.items():
            if scope in (row, row._replace(value=None), row._replace(key=None, value=None)):
                self.touched.add(scope)
                rows.pop((row.key or "", row.value or ""), None)
                if data is not None:
                    rows[row.key or "", row.value or ""] = (data, version)
        return ThetaRows(version if rows else 0, rows) if scope in self.touched else found

    async def summary(self, experiment_id: str) -> Summary:
        """As a store's."""
        return await self._store.summary(experiment_id)


async def dry_run(
    make_worker: Callable[[Readable], PolicyWorker],
    store: Readable,
    experiment: Experiment,
    context: Any,
    reward: Any = None,
) -> dict[str, Any]:
    """What `experiment`, with the code that it has here, would decide in a context.

    :param make_worker: a new one that reads a store; it is ended. :param reward: what set_reward would learn
        from; None: it is not run.
    :returns: `action`, `propensity`, `probabilities` and `propensity_runs` as the log row would have them,
        `context` as the code leaves it; `read`: rows of theta, `written`: rows that it would write, null for
        a delete; `more`: whether there are more than `MAX_SHOWN` or `MAX_SHOWN_BYTES` of either; `logged`: by
        log_data; `ms`: how long the code took, reading theta included.
    :raises PolicyError: the code does not compile, or failed, with piece and line. :raises Unavailable:
    """
    decided = await _run(make_worker(store), experiment, Call(ACTION, context))
    around = mechanism.of(experiment)
    outcome = decided.outcome if around is None else around.mixed(decided.outcome)
    left = context if decided.outcome.context is None else decided.outcome.context
    reads, writes, logged, ms = decided.reads, decided.writes, decided.logged, decided.ms
    if reward is not None:
        # The reward comes after the decision was committed: it finds what that wrote.
        after = Overlay(store, writes)
        learned = await _run(make_worker(after), experiment, Call(REWARD, left, outcome.action, reward))
        stored = {scope: version for scope, version in learned.reads.items() if scope not in after.touched}
        reads, writes = stored | reads, writes | learned.writes
        logged, ms = logged + learned.logged, ms + learned.ms
    read, more = await _read(store, reads)
    written = [_row(scope, data) for scope, data in writes.items()]
    return {
        "action": outcome.action,
        "propensity": outcome.propensity,
        "probabilities": outcome.probabilities,
        "propensity_runs": outcome.runs,
        "context": left,
        "read": read,
        "written": _shown(written),
        "more": more or len(_shown(written)) < len(written),
        "logged": logged,
        "ms": ms,
    }


async def _run(worker: PolicyWorker, experiment: Experiment, call: Call) -> Effects:
    try:
        await worker.start(experiment)
        began = time.perf_counter()
        done = await worker.run(experiment, [call])
        ms = 1000 * (time.perf_counter() - began)
        (outcome,) = done.outcomes
        error = check_outcome(outcome, action=call.kind == ACTION)
        if error is not None:
            raise error
        reads, deletes, writes = theta_effects(done, worker.opened)
        for _, _, row in done.logs:
            values.check(row, "log_data")
    except BatchFailed as failed:
        raise failed.error from None
    except SandboxLost as lost:
        raise Unavailable(str(lost)) from None
    except (Untrustworthy, values.InvalidValue) as broken:
        raise PolicyCrashed(f"the policy process broke the protocol: {broken}") from None
    finally:
        worker.dismiss()
    return Effects(outcome, reads, dict.fromkeys(deletes) | writes, [row for _, _, row in done.logs], ms)


async def _read(store: Readable, reads: dict[ThetaAddress, int]) -> tuple[list[dict[str, Any]], bool]:
    """The rows of scopes that were read; `changed`: another call wrote there since, and this is newer."""
    found: list[dict[str, Any]] = []
    seen = set[ThetaAddress]()
    for scope, version in reads.items():
        theta = await store.read_theta(scope)
        rows: dict[ThetaAddress, bytes | None] = {
            ThetaAddress(scope.experiment_id, scope.name, *address): data
            for address, (data, _) in theta.rows.items()
        }
        if scope.value is not None and not rows:
            rows[scope] = None
        changed = {"changed": True} if theta.version != version else {}
        found += [_row(address, data) | changed for address, data in rows.items() if address not in seen]
        seen |= rows.keys()
        if len(_shown(found)) < len(found):
            return _shown(found), True
    return found, False


def _row(scope: ThetaAddress, data: bytes | None) -> dict[str, Any]:
    return {
        "exp_id": scope.experiment_id,
        "name": scope.name,
        "key": scope.key,
        "value": scope.value,
        "theta": None if data is None else msgspec.Raw(data),
    }


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first rows, as far as they are told."""
    size, shown = 0, rows[:MAX_SHOWN]
    for number, row in enumerate(shown):
        size += len(row["theta"] or b"")
        if size > MAX_SHOWN_BYTES:
            return shown[:number]
    return shown
