"""Simulations: what is simulated, one closed loop in a worker, and the curves that replications make."""

from __future__ import annotations

import hashlib
import time
from bisect import bisect_right
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
        self, draws: int, *, records: bool = False, points: Sequence[int] | None = None, theta: bool = False
    ) -> AsyncGenerator[Draws, None]:
        """Go on by so many draws, some at a time.

        :param points: rising numbers of draws since the start, after which there is a point of a curve.
        :param theta: the last piece has all theta.
        :raises Broken: the code failed. :raises WorkerDied:
        """
        left = draws
        while left:
            size = min(self._at_once, left)
            told = None if points is None else _within(points, self.draws, size)
            request = SimulationRequest(size, records, told, theta and size == left)
            began = time.monotonic()
            body = await self._worker.exchange(request, calls=size, ask=self._ask)
            seconds = time.monotonic() - began
            result = _checked(body, request)
            left -= result.draws
            self.draws += result.draws
            if result.draws or result.failure is None:
                yield result
            if result.failure is not None:
                raise Broken(policy_error(result.failure), self.draws)
            growth = min(4.0, _EXCHANGE_S / max(seconds, 1e-6))
            self._at_once = max(1, self._at_once // 2, min(int(size * growth), _MOST_AT_ONCE))


def _within(points: Sequence[int], draws: int, size: int) -> list[int]:
    """Those of the points that are in the next draws, counted from the first of these."""
    some = points[bisect_right(points, draws) : bisect_right(points, draws + size)]
    return [point - draws for point in some]


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


def _checked(body: msgspec.Raw, asked: SimulationRequest) -> Draws:
    """An answer of the agreed form. What it says is the tenant's own affair, not how much or of what type."""
    try:
        result = _draws.decode(body)
        for record in result.records:
            _object.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
        raise _untrustworthy() from None
    if not 0 <= result.draws <= asked.draws or (result.draws == 0 and result.failure is None):
        raise _untrustworthy()
    if asked.records and len(result.records) < result.draws:
        raise _untrustworthy()
    if len(result.points) != bisect_right(asked.points or (), result.draws):
        raise _untrustworthy()
    whole = not asked.records and asked.points is None
    if whole and result.failure is None and result.draws != asked.draws:
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
    async for draws in player.play(points[-1], points=points):
        for point in draws.points:
            curve.reward.append(point.reward)
            curve.regret.append(point.regret)
            curve.arms.append(point.arms)
        progress(draws.draws)
    return curve


def with_seed(load: SimulationLoad, seed: int) -> SimulationLoad:
    """The same simulation from another seed."""
    return msgspec.structs.replace(load, seed=seed)


def arrays(curves: Sequence[Curve], name: Literal["reward", "regret"]) -> Any:
    """Sums of all replications: replications x points."""
    return np.array([getattr(curve, name) for curve in curves], dtype=np.float64)
