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
import os
import random
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, Final

import msgspec
import numpy as np

from streamsim import values
from streamsim.decisions.arms import arm_of, labelled, reward_of
from streamsim.decisions.wire import Opened, WireTheta, theta_labels
from streamsim.evaluation.wire import Draws, Point, SimulationLoad, SimulationRequest
from streamsim.programs.experiment import (
    SOURCES,
    Experiment,
    Pieces,
    PolicyBatch,
    bound,
    compiled,
    outer_copy,
)
from streamsim.programs.memory_theta import Group, MemoryTheta
from streamsim.sandbox.worker import failures as errors
from streamsim.sandbox.worker.main import Channel
from streamsim.values import MAX_INT, MIN_INT

ANSWER_BYTES: Final = 256 << 10
"""An answer with records or points ends early rather than grow much beyond this."""
MAX_ARMS: Final = 1000
CONTINUOUS: Final = 100
"""From so many different arms on, numbers with a fraction are counted by their first digit."""
GROUP_S: Final = 0.01
"""Draws that together take about this long are one call for the time limits."""
YIELDS_S: Final = 0.0005
"""So often the processor is left, between draws of a curve, to who has become ready to run on it: the kernel
looks at that every 4 ms only."""
_AHEAD: Final = 1024

_NOTHING: Final = compile("", "", "exec").co_code
_parse = msgspec.json.Decoder(dict[str, Any]).decode


class Simulated(Experiment):
    """`self` of policy code, with short ways to theta in memory for what simulations do all the time."""

    _groups: dict[str, Group]
    expected_rewards: Any = None

    def _set_up(self, pieces: Pieces) -> None:
        super()._set_up(pieces)
        theta: Any = self._session.theta
        self._groups = theta.groups(pieces.experiment_id, "_theta")

    def get_theta(
        self, key: object = None, value: object = None, name: str = "_theta", all_float: bool = False
    ) -> dict[str, Any]:
        if type(key) is str and name == "_theta" and not (all_float or self._pieces.reads_text):
            group = self._groups.get(key)
            if group is not None:
                rows, copy = group.rows, group.copy
                if value is None:
                    if "" not in rows or len(rows) > 1:
                        found = {}
                        for at in rows:
                            found[at] = copy(rows[at])
                        return found
                elif type(value) is str and value in rows:
                    return copy(rows[value])
        return super().get_theta(key, value, name, all_float)

    def set_theta(
        self, thetas: object, key: object = None, value: object = None, name: str = "_theta"
    ) -> bool:
        if type(key) is str and type(value) is str and name == "_theta":
            group = self._groups.get(key)
            if group is not None and value in group.rows:
                rows = group.rows
                if type(thetas) is not dict and (get_dict := getattr(thetas, "get_dict", None)) is not None:
                    thetas = get_dict()
                if type(thetas) is dict:
                    stored = rows[value]
                    for field, item in thetas.items():
                        kind = type(item)
                        if field not in stored or not (
                            (kind is float and item - item == 0.0)  # neither NaN nor infinite
                            or (kind is int and MIN_INT <= item <= MAX_INT)
                        ):
                            break
                    else:
                        # Nobody else holds the stored dict, and of equal keys it keeps its own, checked ones.
                        stored.update(thetas)
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
        self._action_field, self._reward_field = load.action_field, load.reward_field
        self._theta = MemoryTheta()
        self._keep(load.theta)
        root = compiled(load.experiment_id, load.code, load.properties)
        self._environment = None if load.environment is None else compiled(*load.environment)
        self._session = PolicyBatch(root, self._theta, self._open)
        kind: Any = bound(self._session, Simulated)
        self._kind = kind
        self._seeds = Seeds(load.seed) if load.common else None
        self._group = 1
        self._reward = self._regret = 0.0
        self._arms: set[str] = set()
        self._chosen: dict[str, int] = {}  # how often, since the last point
        if not load.common:
            # One stream, seeded as code that says numpy.random.seed(seed) would be.
            random.seed(load.seed)
            np.random.seed(load.seed % 2**32)

    def handle(self, request: Any) -> Draws:
        request = SimulationRequest(*request)
        result, records, curve = Draws(), request.records, request.points is not None
        points = iter(request.points or ())
        point = next(points, 0)
        clock, channel = self._channel.clock, self._channel
        draws, done, size, yields = self._draws(), 0, 0, 0.0
        try:
            while done < request.draws and size <= ANSWER_BYTES:
                if done:
                    channel.progress(done)
                # Draws that take no time are one call for the clocks.
                group = 1 if records else min(self._group, request.draws - done)
                began = time.monotonic()
                clock.start()
                try:
                    for environment, context, action, reward in islice(draws, group):
                        if curve:
                            self._count(environment, action, reward)
                            if time.monotonic() > yields:
                                os.sched_yield()
                                yields = time.monotonic() + YIELDS_S
                        if records:
                            result.records.append(self._record(context, action, reward))
                            size += len(result.records[-1])
                        done += 1
                        if done == point:
                            point = next(points, 0)
                            size += self._tell(result)
                            if size > ANSWER_BYTES:
                                break
                finally:
                    clock.stop()
                seconds = time.monotonic() - began
                self._group = max(1, self._group // 2) if seconds > GROUP_S else min(self._group * 2, 1024)
        except BaseException as error:
            clock.stop()
            result.failure = errors.describe(error, SOURCES)
        result.draws = done
        if request.theta:
            rows = self._theta.snapshot(self._session.root.experiment_id)
            result.theta = [(*row, values.dump(data)) for row, data in rows.items()]
        return result

    def _draws(self) -> Iterator[tuple[Any, Any, Any, Any]]:
        """One draw after the other, as the four `run_..._code` methods do it, without their overhead."""
        session, seeds, root = self._session, self._seeds, self._session.root
        foreign, blank, logs = self._environment or root, session.namespace, session.logs
        new, own, other = self._kind.__new__, _ready(self._kind, root), _ready(self._kind, foreign)
        get_context, get_reward = foreign.compiled["get_context"], foreign.compiled["get_reward"]
        get_action, set_reward = root.compiled["get_action"], root.compiled["set_reward"]
        has_context = get_context.co_code != _NOTHING
        session.depth = 1
        while True:
            if logs:
                logs.clear()
            experiment = new(own)
            experiment.action, experiment.reward = {}, {}
            environment = experiment
            if foreign is not root:
                environment = new(other)
                environment.context, environment.reward = {}, {}
            if seeds is not None:
                seeds.next()
            context: Any = {}
            if has_context:
                environment.context, environment.action = context, {}
                namespace = blank.copy()
                namespace["self"] = environment
                exec(get_context, namespace)
                namespace.clear()
                given = environment.context
                context = given.copy() if type(given) is dict else outer_copy(given)

            experiment.context = context
            namespace = blank.copy()
            namespace["self"] = experiment
            exec(get_action, namespace)
            namespace.clear()
            action = experiment.action
            action = action.copy() if type(action) is dict else outer_copy(action)

            environment.context, environment.action = context, action
            if seeds is not None:
                seeds.next()
            namespace = blank.copy()
            namespace["self"] = environment
            exec(get_reward, namespace)
            namespace.clear()
            reward = environment.reward
            reward = reward.copy() if type(reward) is dict else outer_copy(reward)

            experiment.context, experiment.action, experiment.reward = context, action, reward
            namespace = blank.copy()
            namespace["self"] = experiment
            exec(set_reward, namespace)
            namespace.clear()
            yield environment, context, action, reward

    def _record(self, context: Any, action: Any, reward: Any) -> bytes:
        root = self._session.root.experiment_id
        rows = self._theta.group(root, "_theta", None)
        labels = theta_labels((row[2], row[3]) for row in rows)
        theta = dict(zip(labels, rows.values(), strict=True))
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

    def _tell(self, result: Draws) -> int:
        """A point of the curve; about how many bytes it takes."""
        result.points.append(Point(self._reward, self._regret, self._chosen))
        size = sum(map(len, self._chosen)) + 4 * len(self._chosen)
        self._chosen = {}
        return size

    def _count(self, environment: Any, action: Any, reward: Any) -> None:
        chosen = arm = _arm(action, self._action_field)
        arms = self._chosen
        if arm not in self._arms and len(self._arms) >= CONTINUOUS:
            arm = _binned(arm)
        if arm not in self._arms:
            if len(self._arms) >= MAX_ARMS:
                raise values.InvalidValue(
                    "action",
                    f"more than {MAX_ARMS} different arms; name the field of the action that is the arm",
                )
            self._arms.add(arm)
        self._reward += _number(reward, self._reward_field)
        expected = environment.expected_rewards
        self._regret += _regret(expected, chosen) if expected else math.nan
        arms[arm] = arms.get(arm, 0) + 1

    def _keep(self, rows: list[WireTheta]) -> None:
        for experiment, name, key, value, data in rows:
            self._theta.write((experiment, name, key, value), _parse(data))

    def _open(self, experiment_id: str) -> Opened:
        opened, rows = self._channel.ask(("open", experiment_id))
        self._keep(rows)
        return Opened(*opened)


def _ready(kind: Any, pieces: Pieces) -> Any:
    """A class whose instances lack nothing but context, action and reward."""
    one = kind.__new__(kind)
    one._set_up(pieces)
    return type("Experiment", (kind,), vars(one))


def _arm(action: Any, field: str | None) -> str:
    """As `arm_of`, with a short way to an arm that is text, alone or beside its propensity."""
    arm: Any = None
    if type(action) is dict:
        if field is not None:
            arm = action.get(field)
        elif len(action) == 1:
            (arm,) = action.values()
        elif len(action) == 2 and "propensity" in action:
            one, other = action
            arm = action[other if one == "propensity" else one]
    return arm if type(arm) is str and arm.isascii() else arm_of(values.plain(action, "action"), field)


def _number(reward: Any, field: str | None) -> float:
    """As `reward_of`, with a short way to a number that is alone or named."""
    number: Any = None
    if type(reward) is dict:
        if field is not None:
            number = reward.get(field)
        elif len(reward) == 1:
            (number,) = reward.values()
    if type(number) in (int, float) and math.isfinite(number):
        return float(number)
    return reward_of(values.plain(reward, "reward"), field)


def _binned(arm: str) -> str:
    """A number with a fraction as the bin that it falls into, by its first digit; any other arm as it is."""
    try:
        number = float(arm)
    except ValueError:
        return arm
    return arm if number.is_integer() or not math.isfinite(number) else f"about {number:.1g}"


def _regret(expected: Any, arm: str) -> float:
    if not isinstance(expected, Mapping):
        raise values.InvalidValue("expected_rewards", "must be a dict of arm -> expected reward")
    figures = values.plain(labelled(expected, "expected_rewards"), "expected_rewards")
    if not all(type(figure) in (int, float) for figure in figures.values()):
        raise values.InvalidValue("expected_rewards", "must be a dict of arm -> expected reward")
    if arm not in figures:
        raise values.InvalidValue("expected_rewards", f"lacks the arm {arm!r}")
    return float(max(figures.values()) - figures[arm])
