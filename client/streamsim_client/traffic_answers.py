"""Answers with what came by minute and by hour."""

from __future__ import annotations

from typing import TypedDict

from streamsim_client.answers import Summary


class Overview(Summary):
    """An experiment among all. `decisions`, `rewards`: in each of the last 24 hours, oldest first; `errors`:
    in all of them; `mean`, `low`, `high`: of rewards in this time, with a 95 % interval for one look."""

    id: str
    name: str
    state: str
    decisions: list[int]
    rewards: list[int]
    errors: int
    mean: float | None
    low: float | None
    high: float | None


class Figures(TypedDict):
    """What came in a stretch of time. `numbers`: rewards that are one number and count once, whose sum and
    sum of squares the others are."""

    decisions: int
    rewards: int
    numbers: int
    reward_sum: float
    reward_squares: float


class Bucket(Figures):
    """A minute or an hour, that begins at `start`. `arms`: the same for each arm."""

    start: str
    errors: int
    arms: dict[str, Figures]


# "from" is no name in Python.
Buckets = TypedDict(
    "Buckets",
    {"step": str, "from": str, "to": str, "since": str | None, "buckets": list[Bucket]},
)
