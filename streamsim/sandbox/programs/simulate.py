"""The program that simulates an experiment: get_context, get_action, get_reward, set_reward, in sequence, on
theta that lives in this process alone (I11) and with random numbers that follow from a seed (I12).

load      {"experiment", "code", "properties", "seed": int, "theta": [[experiment, name, key, value, JSON]],
           "common": bool, "reward_field": str|nil, "action_field": str|nil}
request   [draws, records wanted, curves wanted, theta wanted]
ask       ["open", experiment] -> `Opened`; a nested experiment starts from what `theta` holds of it
result    `Draws`

With `common`, contexts and rewards draw from a stream of random numbers of their own, so that they are the
same for every policy that is simulated in this environment with this seed.

An environment declares the expected reward of each arm by setting `self.expected_rewards` to a dict of arm ->
number in get_context or get_reward.
"""

from __future__ import annotations

import math
import random
from typing import Any

import msgspec
import numpy as np

from streamsim import values
from streamsim.decisions.memory_theta import MemoryTheta
from streamsim.decisions.wire import PIECES, Draws, Opened
from streamsim.evaluation.logs import arm_of, reward_of
from streamsim.sandbox import errors
from streamsim.sandbox.programs.policy import Experiment, Pieces, Session, bound
from streamsim.sandbox.worker import Channel

_parse = msgspec.json.Decoder(dict[str, Any]).decode


class Streams:
    """Two streams of random numbers behind the global generators: the policy's, and the environment's."""

    def __init__(self, seed: int, common: bool) -> None:
        environment, policy = np.random.SeedSequence(seed).spawn(2)
        self._common = common
        self._other: Any = None
        if common:
            self._seed(environment)
            self._other = random.getstate(), np.random.get_state()
            self._seed(policy)
        else:
            # One stream, seeded as code that says numpy.random.seed(seed) would be.
            random.seed(seed)
            np.random.seed(seed % 2**32)

    @staticmethod
    def _seed(sequence: np.random.SeedSequence) -> None:
        words = sequence.generate_state(8)
        random.seed(words.tobytes())
        np.random.seed(words)

    def switch(self) -> None:
        """To the other stream, if there are two."""
        if self._common:
            other, self._other = self._other, (random.getstate(), np.random.get_state())
            random.setstate(other[0])
            np.random.set_state(other[1])


class Program:
    """One simulation, as far as it has come."""

    loaded = None

    def __init__(self, load: dict[str, Any], channel: Channel) -> None:
        self._channel = channel
        self._names = {f"<{piece}>": piece for piece in PIECES}
        self._action_field, self._reward_field = load["action_field"], load["reward_field"]
        self._theta = MemoryTheta({(e, n, k, v): _parse(data) for e, n, k, v, data in load["theta"]})
        try:
            root = Pieces(load["experiment"], load["code"], load["properties"])
        except BaseException as error:
            raise errors.Described(errors.describe(error, self._names)) from None
        self._session = Session(root, self._theta, self._open)
        kind = bound(self._session)
        self._experiment = kind.__new__(kind)
        self._experiment._set_up(root)
        self._streams = Streams(load["seed"], load["common"])
        self._drawn = 0

    def handle(self, request: Any) -> Draws:
        draws, records, curves, theta = request
        result = Draws(0, [], [], [], [], [])
        clock, session = self._channel.clock, self._session
        for index in range(draws):
            if index:
                self._channel.progress(index)
            session.logs.clear()
            session.depth = 0
            try:
                clock.start()
                try:
                    context, action, reward = self._draw()
                    if records:
                        result.records.append(self._record(context, action, reward))
                    if curves:
                        self._curve(result, action, reward)
                finally:
                    clock.stop()
            except BaseException as error:
                clock.stop()
                result.failure = errors.describe(error, self._names)
                break
            result.draws += 1
        self._drawn += result.draws
        if theta:
            rows = self._theta.snapshot(self._session.root.experiment)
            result.theta = [(*row, values.dump(data)) for row, data in rows.items()]
        return result

    def _draw(self) -> tuple[Any, Any, Any]:
        experiment, streams = self._experiment, self._streams
        streams.switch()
        context = experiment.run_context_code()
        streams.switch()
        action = experiment.run_action_code(context)
        streams.switch()
        reward = experiment.run_get_reward_code(context, action)
        streams.switch()
        experiment.run_reward_code(context, action, reward)
        return context, action, reward

    def _record(self, context: Any, action: Any, reward: Any) -> bytes:
        root = self._session.root.experiment
        theta = {
            f"{row[2]}:{row[3]}" if row[3] else row[2]: data
            for row, data in self._theta.group(root, "_theta", None).items()
        }
        return values.dump(
            {
                "context": values.plain(context, "context", finite=False),
                "action": values.plain(action, "action"),
                "reward": values.plain(reward, "reward", finite=False),
                "theta": theta,
            }
        )

    def _curve(self, result: Draws, action: Any, reward: Any) -> None:
        arm = arm_of(values.plain(action, "action"), self._action_field)
        result.arms.append(arm)
        result.rewards.append(reward_of(values.plain(reward, "reward"), self._reward_field))
        result.regrets.append(_regret(self._experiment, arm))

    def _open(self, experiment: str) -> Opened:
        return Opened(*self._channel.ask(("open", experiment)))


def _regret(experiment: Experiment, arm: str) -> float:
    expected = getattr(experiment, "expected_rewards", None)
    if not expected:
        return math.nan
    expected = values.plain(expected, "expected_rewards")
    if arm not in expected:
        raise values.InvalidValue("expected_rewards", f"lacks the arm {arm!r}")
    return float(max(expected.values()) - expected[arm])
