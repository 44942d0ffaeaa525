"""Rows of a growing log, counted into a tally as soon as what becomes of them is settled."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from streamsim.evaluation.inference.asked import Asked
from streamsim.evaluation.inference.report import Inference
from streamsim.evaluation.inference.tally import Tally, restored

LAST: Final = 2_000
"""So many of the newest decisions are always read: doubts about units rest on them."""

Logged = tuple[bytes, int, str]
"""A row of an experiment's own log as JSON text, its date in ms, and its position."""


class Unsuited(Exception):
    """There are rows that cannot be told of in parts: without advice id, or with another's decision."""


class Late(Exception):
    """Rewards came for decisions that were counted already."""


class Settled(msgspec.Struct, frozen=True):
    """A tally after a decision, and where its log and that of rewards are read on; the decision's date.

    `n`: decisions counted so far. `open`: marks of rewards that were read, whose decision was not.
    """

    tally: bytes
    actions: str
    rewards: str
    date_ms: int
    n: int
    open: list[int]


class _Decision(NamedTuple):
    row: dict[str, Any]
    advice: str
    date_ms: int
    position: str


class _Reward(NamedTuple):
    data: bytes
    date_ms: int
    number: int
    before: str  # the position of the row before
    fresh: bool


class _Head(msgspec.Struct):
    advice_id: Any = None
    part: bool = False
    late: bool = False


_head = msgspec.json.Decoder(_Head).decode


class Keeping:
    """One look at a log, from where the last one ended.

    :param begun: a tally of what comes before; None: there is nothing. :param rewards: the position in the
        reward log after which it is read. :param seen: that up to which all rewards were read before, but
        those of `unsure` were not counted. :param n: decisions that were counted.
    :param last: so many of the newest decisions are not counted into what is kept.
    """

    def __init__(
        self,
        asked: Asked,
        arms: Sequence[str],
        begun: bytes | None,
        rewards: str,
        seen: str,
        unsure: Iterable[int],
        n: int = 0,
        last: int = LAST,
    ) -> None:
        self._tally = Tally(asked, arms) if begun is None else restored(asked, begun)
        self._seen, self._unsure = seen, frozenset(unsure)
        self._last = last
        self._fresh = rewards == seen
        self._last_reward = rewards
        self._decisions: list[_Decision] = []
        self._known: set[str] = set()
        self._rewards: dict[str, list[_Reward]] = {}
        self._read, self._n = 0, n

    def decisions(self, page: Iterable[Logged]) -> None:
        """The next rows of the action log. :raises Unsuited:"""
        for data, date_ms, position in page:
            row = msgspec.json.decode(data)
            advice = row.get("advice_id")
            if not isinstance(advice, str) or "shadow" in row:
                raise Unsuited
            row["date_ms"] = date_ms
            self._decisions.append(_Decision(row, advice, date_ms, position))
            self._known.add(advice)
            self._read += 1

    def rewards(self, page: Iterable[Logged]) -> None:
        """The next rows of the reward log. :raises Unsuited:"""
        for data, date_ms, position in page:
            head = _head(data)
            if not isinstance(head.advice_id, str):
                raise Unsuited
            if not head.part and not head.late:
                fresh = self._fresh or (bool(self._unsure) and _mark(head.advice_id) in self._unsure)
                one = _Reward(data, date_ms, self._read, self._last_reward, fresh)
                self._rewards.setdefault(head.advice_id, []).append(one)
            self._last_reward = position
            self._fresh = self._fresh or position == self._seen
            self._read += 1

    def settle(self, cut_ms: int) -> Settled | None:
        """Count decisions from before a date into the tally, but never the `last`.

        None if there are fewer than as many again, which is not worth it.
        :raises OtherArms: :raises BadRequest: naming the parameter.
        """
        size = max(len(self._decisions) - self._last, 0)
        place = next((n for n, one in enumerate(self._decisions[:size]) if one.date_ms >= cut_ms), size)
        if place < self._last:
            return None
        last = self._decisions[place - 1]
        self._count(place)
        left = min((rows[0] for rows in self._rewards.values()), key=lambda one: one.number, default=None)
        read_on = self._last_reward if left is None else left.before
        unknown = [_mark(advice) for advice in self._rewards if advice not in self._known]
        return Settled(self._tally.kept(), last.position, read_on, last.date_ms, self._n, unknown)

    def end(self, *, whole: bool) -> None:
        """All decisions of the rewards that were read were read, too.

        :param whole: no decision was counted before this look, nor in it before all rewards were read.
        :raises Late:
        """
        unknown = [advice for advice in self._rewards if advice not in self._known]
        if not whole and any(one.fresh for advice in unknown for one in self._rewards[advice]):
            raise Late
        for advice in unknown:
            del self._rewards[advice]

    def answer(self) -> Inference:
        """What all decisions tell; nothing can be added any more. :raises OtherArms: :raises BadRequest:"""
        self._count(len(self._decisions))
        return self._tally.answer(self._read)

    def _count(self, n: int) -> None:
        """Count the first n of the decisions."""
        some, self._decisions = self._decisions[:n], self._decisions[n:]
        rewards: list[_Reward] = []
        for one in some:
            rewards += self._rewards.pop(one.advice, ())
            self._known.discard(one.advice)
        rewards.sort(key=lambda one: one.number)
        rows = [msgspec.json.decode(one.data) | {"date_ms": one.date_ms} for one in rewards]
        self._tally.add([one.row for one in some], rows)
        self._n += n


def _mark(advice: str) -> int:
    """A number for an advice id."""
    return int.from_bytes(hashlib.blake2b(advice.encode(), digest_size=7).digest())
