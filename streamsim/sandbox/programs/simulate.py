"""The program that simulates an experiment: get_context, get_action, get_reward, set_reward, in sequence, on
theta that lives in this process alone (I11) and with random numbers that follow from a seed (I12).

load      `SimulationLoad`
request   `SimulationRequest`
ask       ["open", experiment] -> [`Opened`, theta rows]: a nested experiment and what it starts from
result    `Draws`

An environment declares the expected reward of each arm by setting `self.expected_rewards` to a dict of arm ->
number in get_context or get_reward.
"""

from __future__ import annotations

import math
import random
import time
from typing import Any, Final

import msgspec
import numpy as np

from streamsim import values
from streamsim.decisions.memory_theta import Group, MemoryTheta
from streamsim.decisions.wire import PIECES, Draws, Opened, SimulationLoad, SimulationRequest, ThetaRow
from streamsim.evaluation.logs import arm_of, reward_of
from streamsim.sandbox import errors
from streamsim.sandbox.programs.policy import Experiment, Pieces, Session, bound
from streamsim.sandbox.worker import Channel

RECORD_BYTES: Final = 256 << 10
"""An answer with records ends early rather than grow much beyond this."""
MAX_ARMS: Final = 1000
GROUP_S: Final = 0.01
"""Draws that together take about this long are one call for the time limits."""
_AHEAD: Final = 1024

_NOTHING: Final = compile("", "", "exec").co_code
_parse = msgspec.json.Decoder(dict[str, Any]).decode


class Simulated(Experiment):
    """`self` of policy code, with short ways to theta in memory for what simulations do all the time."""

    _groups: dict[tuple[str, str, str], Group]

    def get_theta(
        self, key: object = None, value: object = None, name: str = "_theta", all_float: bool = False
    ) -> dict[str, Any]:
        if type(key) is str and type(name) is str and not all_float:
            group = self._groups.get((self.exp_id, name, key))
            if group is not None:
                rows = group.rows
                if value is None:
                    if "" not in rows or len(rows) > 1:
                        return dict(zip(rows, map(group.copy, rows.values()), strict=True))
                elif type(value) is str and value in rows:
                    return group.copy(rows[value])
        return super().get_theta(key, value, name, all_float)

    def set_theta(
        self, thetas: object, key: object = None, value: object = None, name: str = "_theta"
    ) -> bool:
        if type(key) is str and type(value) is str and type(name) is str:
            group = self._groups.get((self.exp_id, name, key))
            if group is not None and value in group.rows:
                if type(thetas) is not dict and callable(get_dict := getattr(thetas, "get_dict", None)):
                    thetas = get_dict()
                if type(thetas) is dict and values.is_flat(thetas):
                    group.rows[value] = {**group.rows[value], **thetas}
                    return True
        return super().set_theta(thetas, key, value, name)


class Seeds:
    """Common random numbers: the global generators are seeded before the context and before the reward of
    each draw, so that these come from the same numbers for every policy, however many it uses itself.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._block = 0
        self._ahead: list[int] = []

    def next(self) -> None:
        """Seed with the next number of the sequence."""
        if not self._ahead:
            sequence = np.random.SeedSequence([self._seed, self._block])
            self._block += 1
            self._ahead = sequence.generate_state(_AHEAD, np.uint64).tolist()
        seed = self._ahead.pop()
        random.seed(seed)
        np.random.seed(seed & 0xFFFFFFFF)


class Program:
    """One simulation, as far as it has come."""

    loaded = None

    def __init__(self, load: Any, channel: Channel) -> None:
        load = SimulationLoad(*load)
        self._channel = channel
        self._names = {f"<{piece}>": piece for piece in PIECES}
        self._action_field, self._reward_field = load.action_field, load.reward_field
        self._theta = MemoryTheta()
        self._keep(load.theta)
        try:
            root = Pieces(load.experiment, load.code, load.properties)
            self._environment = None if load.environment is None else Pieces(*load.environment)
        except BaseException as error:
            raise errors.Described(errors.describe(error, self._names)) from None
        self._has_context = (self._environment or root).compiled["get_context"].co_code != _NOTHING
        self._session = Session(root, self._theta, self._open)
        kind: Any = bound(self._session, Simulated)
        kind._groups = self._theta.groups
        self._kind = kind
        self._seeds = Seeds(load.seed) if load.common else None
        self._group = 1
        self._reward = self._regret = 0.0
        if not load.common:
            # One stream, seeded as code that says numpy.random.seed(seed) would be.
            random.seed(load.seed)
            np.random.seed(load.seed % 2**32)

    def handle(self, request: Any) -> Draws:
        request = SimulationRequest(*request)
        result, records, curve = Draws(), request.records, request.curve
        clock, channel = self._channel.clock, self._channel
        draw, done, size = self._draw, 0, 0
        try:
            while done < request.draws and size <= RECORD_BYTES:
                if done:
                    channel.progress(done)
                # Draws that take no time are one call for the clocks.
                group = 1 if records else min(self._group, request.draws - done)
                began = time.monotonic()
                clock.start()
                try:
                    for _ in range(group):
                        environment, context, action, reward = draw()
                        if curve:
                            self._count(result, environment, action, reward)
                        if records:
                            result.records.append(self._record(context, action, reward))
                            size += len(result.records[-1])
                        done += 1
                finally:
                    clock.stop()
                seconds = time.monotonic() - began
                self._group = max(1, self._group // 2) if seconds > GROUP_S else min(self._group * 2, 1024)
        except BaseException as error:
            clock.stop()
            result.failure = errors.describe(error, self._names)
        result.draws = done
        result.reward, result.regret = self._reward, self._regret
        if request.theta:
            rows = self._theta.snapshot(self._session.root.experiment)
            result.theta = [(*row, values.dump(data)) for row, data in rows.items()]
        return result

    def _draw(self) -> tuple[Any, Any, Any, Any]:
        """As the four `run_..._code` methods do it, without their overhead."""
        kind, session, seeds = self._kind, self._session, self._seeds
        session.depth = 1
        if session.logs:
            session.logs.clear()
        known, codes = session.namespace["__builtins__"], session.root.compiled
        environment = experiment = kind.__new__(kind)
        experiment._set_up(session.root)
        if self._environment is not None:
            environment = kind.__new__(kind)
            environment._set_up(self._environment)
        foreign = environment._pieces.compiled
        if seeds is not None:
            seeds.next()
        if self._has_context:
            namespace = {"__builtins__": known, "__name__": "policy", "self": environment}
            exec(foreign["get_context"], namespace)
            namespace.clear()
            context = dict(environment.context)
        else:
            context = {}

        experiment.context = context
        namespace = {"__builtins__": known, "__name__": "policy", "self": experiment}
        exec(codes["get_action"], namespace)
        namespace.clear()
        action = dict(experiment.action)

        environment.context, environment.action = context, action
        if seeds is not None:
            seeds.next()
        namespace = {"__builtins__": known, "__name__": "policy", "self": environment}
        exec(foreign["get_reward"], namespace)
        namespace.clear()
        reward = dict(environment.reward)

        experiment.context, experiment.action, experiment.reward = context, action, reward
        namespace = {"__builtins__": known, "__name__": "policy", "self": experiment}
        exec(codes["set_reward"], namespace)
        namespace.clear()
        return environment, context, action, reward

    def _record(self, context: Any, action: Any, reward: Any) -> bytes:
        root = self._session.root.experiment
        rows = self._theta.group(root, "_theta", None)
        theta = {f"{row[2]}:{row[3]}" if row[3] else row[2]: data for row, data in rows.items()}
        if list(theta) == [""]:
            theta = theta[""]
        return values.dump(
            {
                "context": values.plain(context, "context", finite=False),
                "action": values.plain(action, "action"),
                "reward": values.plain(reward, "reward", finite=False),
                "theta": theta,
            }
        )

    def _count(self, result: Draws, environment: Experiment, action: Any, reward: Any) -> None:
        arm = arm_of(values.plain(action, "action"), self._action_field)
        arms = result.arms
        if arm not in arms and len(arms) >= MAX_ARMS:
            raise values.InvalidValue(
                "action", f"more than {MAX_ARMS} different arms; name the field of the action that is the arm"
            )
        self._reward += reward_of(values.plain(reward, "reward"), self._reward_field)
        self._regret += _regret(environment, arm)
        arms[arm] = arms.get(arm, 0) + 1

    def _keep(self, rows: list[ThetaRow]) -> None:
        for experiment, name, key, value, data in rows:
            self._theta.write((experiment, name, key, value), _parse(data))

    def _open(self, experiment: str) -> Opened:
        opened, rows = self._channel.ask(("open", experiment))
        self._keep(rows)
        return Opened(*opened)


def _regret(environment: Experiment, arm: str) -> float:
    expected = getattr(environment, "expected_rewards", None)
    if not expected:
        return math.nan
    expected = values.plain(expected, "expected_rewards")
    if arm not in expected:
        raise values.InvalidValue("expected_rewards", f"lacks the arm {arm!r}")
    return float(max(expected.values()) - expected[arm])
