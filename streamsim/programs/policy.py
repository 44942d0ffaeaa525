"""The program that runs an experiment's policy code in its worker.

load      {"experiment": its id, "code": {piece: source}, "properties", "max_rows": rows that it caches}
request   `Request`: how the last batch ended, what became stale, and the calls of this one; perhaps further
          parts, each `More`, while the calls before them run
ask       ["theta", experiment_id, name, key|nil, value|nil, rows known] -> a page of `WireRows`, and whether
          there are more;  ["open", id] -> `Opened`;  ["summary", id] -> a dict;
          ["log", id, kind, limit] -> `WireLog`
result    `Done`, as JSON text

Calls run one after the other on the same theta; the effects of a call that fails are undone at once.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from streamsim import values
from streamsim.decisions.arms import arm_of, labelled
from streamsim.decisions.wire import ACTION, Call, Done, More, Opened, Outcome, Request
from streamsim.programs.experiment import (
    SOURCES,
    Experiment,
    PolicyBatch,
    bound,
    compiled,
)
from streamsim.programs.theta import ThetaCache, copied
from streamsim.sandbox.worker import failures as errors
from streamsim.sandbox.worker.main import Channel, as_text

_CONTAINERS: Final = frozenset({dict, list})
_NUMBERS: Final = frozenset({int, float})
PROPENSITY_RUNS: Final = 200
PROPENSITY_S: Final = 0.05
_DOSES: Final = 10
"""A propensity is estimated by so many runs of get_action, or those that fit into this time."""


class Program:
    """One experiment's code, its theta cache and its open transaction."""

    loaded = None

    def __init__(self, load: dict[str, Any], channel: Channel) -> None:
        self._channel = channel
        self._theta = ThetaCache(self._fetch, load["max_rows"])
        self._log_propensity = bool(load["properties"].get("log_propensity"))
        self._arm_field: str | None = load["properties"].get("arm_field")
        self._arms = bool(load["properties"].get("arms"))
        root = compiled(load["experiment"], load["code"], load["properties"])
        self._session = PolicyBatch(root, self._theta, self._open, channel.ask)
        self._experiment = bound(self._session)
        self._new = self._experiment.__new__

    def handle(self, request: Any) -> bytes:
        request = Request(*request)
        self._settle(request)
        session = self._session
        session.used = {session.root.experiment_id}
        session.logs = []
        results: list[Outcome] = []
        part: Any = request
        while True:
            for call in part.calls:
                if results:
                    self._channel.progress(len(results))
                results.append(self._call(len(results), Call(*call)))
            if not part.more:
                break
            part = More(*self._channel.more())
        theta = self._theta
        reads = [(*address, version) for address, version in theta.reads.items()]
        writes = [(*row, data) for row, data in theta.writes.items()]
        return as_text(Done(results, sorted(session.used), reads, writes, session.logs))

    def _settle(self, request: Request) -> None:
        theta = self._theta
        if request.committed is None:
            theta.refused()
        else:
            theta.committed(request.committed)
        for experiment_id in request.changed:
            self._session.opened.pop(experiment_id, None)
        for address, version, rows in request.fresh:
            experiment_id, name, key, value = address
            theta.refresh((experiment_id, name, key, value), (version, rows))
        root = self._session.root
        self._session.opened.setdefault(root.experiment_id, root)

    def _call(self, index: int, call: Call) -> Outcome:
        session, theta = self._session, self._theta
        mark, logged = theta.mark(), len(session.logs)
        session.call, session.depth = index, 0
        clock = self._channel.clock
        try:
            experiment = self._new(self._experiment)
            experiment._set_up(session.root)
            context = call.context
            before = context.copy() if type(context) is dict and not _nested(context) else None
            clock.start()
            try:
                if call.kind == ACTION and self._log_propensity:
                    return self._with_propensity(call, mark, logged)
                if call.kind == ACTION:
                    experiment.run_action_code(context)
                else:
                    experiment.run_reward_code(context, call.action, call.reward)
                outcome = self._outcome(experiment, call, context, before)
            finally:
                clock.stop()
            return outcome
        except BaseException as error:
            clock.stop()
            theta.undo(mark)
            del session.logs[logged:]
            return Outcome(errors.describe(error, SOURCES))
        finally:
            self._channel.reset()

    def _with_propensity(self, call: Call, mark: int, logged: int) -> Outcome:
        """A decision with its propensity: what the code tells, else how often other runs take the same arm.

        Those other runs start from the same theta, and what they do is undone. The decision's own run counts
        as one, so that the estimate is never 0.
        """

        def run() -> tuple[Outcome, str | None]:
            experiment = self._new(self._experiment)
            experiment._set_up(self._session.root)
            context = copied(call.context)
            experiment.run_action_code(context)
            outcome = self._outcome(experiment, call, context, call.context)
            return outcome, self._arm(outcome)

        def undo() -> None:
            self._theta.undo(mark)
            del self._session.logs[logged:]

        outcome, arm = run()
        if outcome.propensity is not None or arm is None:
            return outcome
        counts: dict[str | None, int] = {}
        runs, until = 1, time.monotonic() + PROPENSITY_S
        while runs < PROPENSITY_RUNS and time.monotonic() < until:
            undo()
            _, other = run()
            counts[other] = counts.get(other, 0) + 1
            runs += 1
        undo()
        outcome, arm = run()
        # Runs of which no two agree on a number drew it from a density: it has no probability.
        if len(counts) < runs - 1 or runs <= _DOSES or not _fraction(arm):
            counts[arm] = counts.get(arm, 0) + 1
            outcome.propensity, outcome.runs = counts[arm] / runs, runs
            if self._arms and None not in counts:
                outcome.probabilities = {str(one): count / runs for one, count in counts.items()}
        return outcome

    def _outcome(self, experiment: Experiment, call: Call, context: Any, before: Any) -> Outcome:
        changed = None
        if before is None or experiment.context != before:
            changed = _changed_context(experiment.context)
        if call.kind != ACTION:
            return Outcome(None, None, changed)
        action = values.plain(experiment.action, "action")
        if action is None:
            raise values.InvalidValue("action", "must not be None")
        probabilities = checked_probabilities(experiment)
        told = action.get("propensity") if type(action) is dict else None
        propensity = experiment.propensity if told is None else told
        if propensity is not None:
            propensity = values.plain(propensity, "propensity")
            # An action may have a field of this name that is no number: then it is not a propensity.
            propensity = float(propensity) if type(propensity) in (int, float) else None
        outcome = Outcome(None, action, changed, propensity, probabilities)
        if propensity is None and probabilities and (arm := self._arm(outcome)) in probabilities:
            outcome.propensity = float(probabilities[arm])
        return outcome

    def _arm(self, outcome: Outcome) -> str | None:
        try:
            return arm_of(outcome.action, self._arm_field, outcome.probabilities)
        except values.InvalidValue:
            return None  # an action that names no arm has no propensity; health says so

    def _fetch(self, *address: str | None) -> tuple[int, list[tuple[str, str, bytes, int]]]:
        """A scope, page by page where it is larger than one answer may be."""
        version, rows, more = self._channel.ask(("theta", *address, 0))
        while more:
            now, page, more = self._channel.ask(("theta", *address, len(rows)))
            if now == version:
                rows += page
            else:  # it changed between two pages: begin anew, for all rows have to be of one moment
                version, rows, more = self._channel.ask(("theta", *address, 0))
        return version, rows

    def _open(self, experiment_id: str) -> Opened:
        return Opened(*self._channel.ask(("open", experiment_id)))


def checked_probabilities(experiment: Experiment) -> dict[str, float] | None:
    """What the code left in `action_probabilities`, by the arm's label. :raises InvalidValue:"""
    probabilities: Any = experiment.action_probabilities
    if probabilities is None:
        return None
    if type(probabilities) is dict and values.is_flat(probabilities):
        probabilities = probabilities.copy()  # every arm is its own label
    elif isinstance(probabilities, Mapping):
        probabilities = values.plain(labelled(probabilities, "action_probabilities"), "action_probabilities")
    if type(probabilities) is not dict or not _NUMBERS.issuperset(map(type, probabilities.values())):
        raise values.InvalidValue("action_probabilities", "must be a dict of arm -> probability")
    return probabilities


def _fraction(arm: str | None) -> bool:
    try:
        return arm is not None and not float(arm).is_integer()
    except (ValueError, OverflowError):
        return False


def _nested(context: dict[str, Any]) -> bool:
    return not _CONTAINERS.isdisjoint(map(type, context.values()))


def _changed_context(context: Any) -> Any:
    """The context that the code leaves. What it may not be is an error of the code, not a refused answer."""
    try:
        changed = values.plain(context, "context", finite=False)
    except values.InvalidValue as error:
        raise TypeError(str(error)) from None
    if changed is None:
        raise TypeError("context must not become None")
    return changed
