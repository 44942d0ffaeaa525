"""Simulations: what is simulated, one closed loop in a worker, and the curves that replications make."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, Final, Literal, Protocol

import msgspec
import numpy as np

from streamsim.decisions.transaction import policy_error
from streamsim.decisions.wire import MAX_ADDRESS, Opened, WireTheta
from streamsim.errors import PolicyCrashed, StreamsimError
from streamsim.evaluation.intervals import thin
from streamsim.evaluation.wire import Draws, SimulationLoad, SimulationRequest
from streamsim.sandbox.host.pool import Worker

Start = Literal["empty", "current"]
Nested = tuple[Opened, list[WireTheta]]

MAX_SEED: Final = 2**63 - 1
MAX_POINTS: Final = 200
_EXCHANGE_S: Final = 0.2
_AT_FIRST: Final = 4
_MOST_AT_ONCE: Final = 50_000

_draws = msgspec.msgpack.Decoder(Draws)
_question = msgspec.msgpack.Decoder(tuple[str, str])
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Find(Protocol):
    """Where nested experiments come from."""

    async def __call__(self, experiment_id: str) -> Nested:
        """An experiment of the same tenant, or the error that says there is none, and its first theta."""


class Curve(msgspec.Struct):
    """One replication at the points: sums since the start of reward and regret (NaN where unknown), and how
    often each arm was chosen since the point before."""

    reward: list[float]
    regret: list[float]
    arms: list[dict[str, int]]


class Broken(StreamsimError):
    """A draw failed: `error` says why, `draws` how many came before; or another `what` than a draw."""

    def __init__(self, error: StreamsimError, draws: int, what: str = "draw") -> None:
        super().__init__(f"{what} {draws + 1}: {error.message}", field=error.field, detail=error.detail)
        self.status, self.code = error.status, error.code


class Player:
    """A closed loop in a worker that has loaded `simulate`.

    :param find: gives nested experiments. `draws`: how many are done.
    """

    def __init__(self, worker: Worker, find: Find) -> None:
        self.draws = 0
        self._worker = worker
        self._ask = nested_answer(find)
        self._at_once = _AT_FIRST

    async def play(
        self, draws: int, *, records: bool = False, curve: bool = False, theta: bool = False
    ) -> AsyncGenerator[Draws, None]:
        """Go on by so many draws, some at a time.

        :param theta: the last piece has all theta.
        :raises Broken: the code failed. :raises WorkerDied:
        """
        left = draws
        while left:
            size = min(self._at_once, left)
            request = SimulationRequest(size, records, curve, theta and size == left)
            began = time.monotonic()
            body = await self._worker.exchange(request, calls=size, ask=self._ask)
            seconds = time.monotonic() - began
            result = _checked(body, size, records)
            left -= result.draws
            self.draws += result.draws
            if result.draws or result.failure is None:
                yield result
            if result.failure is not None:
                raise Broken(policy_error(result.failure), self.draws)
            growth = min(4.0, _EXCHANGE_S / max(seconds, 1e-6))
            self._at_once = max(1, self._at_once // 2, min(int(size * growth), _MOST_AT_ONCE))


def nested_answer(find: Find) -> Callable[[msgspec.Raw], Awaitable[object]]:
    """Answers a program's questions about nested experiments."""

    async def answer(body: msgspec.Raw) -> object:
        try:
            word, experiment_id = _question.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise _untrustworthy() from None
        if word != "open" or len(experiment_id) > MAX_ADDRESS:
            raise _untrustworthy()
        return await find(experiment_id)

    return answer


def _checked(body: msgspec.Raw, size: int, records: bool) -> Draws:
    """An answer of the agreed form. What it says is the tenant's own affair, not how much or of what type."""
    try:
        result = _draws.decode(body)
        for record in result.records:
            _object.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        raise _untrustworthy() from None
    if not 0 <= result.draws <= size or (result.draws == 0 and result.failure is None):
        raise _untrustworthy()
    if records and len(result.records) < result.draws:
        raise _untrustworthy()
    if not records and result.failure is None and result.draws != size:
        raise _untrustworthy()
    return result


def _untrustworthy() -> PolicyCrashed:
    return PolicyCrashed("the policy process broke the protocol")


def points_of(draws: int, most: int = MAX_POINTS) -> list[int]:
    """At most `most` numbers of draws, evenly spread, the first and the last included."""
    return [int(place) + 1 for place in thin(draws, most)]


def replication_seed(seed: int, number: int) -> int:
    """The seed of one replication; the same for every policy that is compared."""
    digest = hashlib.sha256(f"{seed}/{number}".encode()).digest()
    return int.from_bytes(digest[:8]) & MAX_SEED


async def replicate(
    player: Player, points: Sequence[int], progress: Callable[[int], None] = lambda draws: None
) -> Curve:
    """The curve of one replication from its start.

    :param points: rising numbers of draws. :param progress: told how many more draws are done.
    :raises Broken: :raises WorkerDied:
    """
    curve = Curve([], [], [])
    for point in points:
        arms: dict[str, int] = {}
        reward = regret = math.nan
        async for draws in player.play(point - player.draws, curve=True):
            reward, regret = draws.reward, draws.regret
            for arm, count in draws.arms.items():
                arms[arm] = arms.get(arm, 0) + count
            progress(draws.draws)
        curve.reward.append(reward)
        curve.regret.append(regret)
        curve.arms.append(arms)
    return curve


def with_seed(load: SimulationLoad, seed: int) -> SimulationLoad:
    """The same simulation from another seed."""
    return msgspec.structs.replace(load, seed=seed)


def arrays(curves: Sequence[Curve], name: Literal["reward", "regret"]) -> Any:
    """Sums of all replications: replications x points."""
    return np.array([getattr(curve, name) for curve in curves], dtype=np.float64)
