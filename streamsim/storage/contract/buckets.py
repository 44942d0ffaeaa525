"""Numbers of calls by minute and by hour: what a commit adds to them, and how they are read.

A bucket is a stretch of time of one experiment, and holds a row for each arm. Minutes are kept for days and
hours for a year, whatever the length of the logs.
"""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

import msgspec

from streamsim.dates import HOUR_MS

Step = Literal["minute", "hour"]

MINUTE_MS: Final = 60_000
STEP_MS: Final[dict[Step, int]] = {"minute": MINUTE_MS, "hour": HOUR_MS}
KEPT_MS: Final[dict[Step, int]] = {"minute": 72 * HOUR_MS, "hour": 400 * 24 * HOUR_MS}
"""How long buckets are kept at least, after they began."""
MOST_READ: Final = 20_000
"""So many buckets are read at once at most."""
REST: Final = ""
"""The row of what no other row of its bucket counts: errors, calls that name no arm, arms beyond the most."""


class Counts(msgspec.Struct, gc=False):
    """What was counted. `numbers`: rewards that are one number and count once, which alone are in
    `reward_sum` and `reward_squares` (the sum of their squares)."""

    decisions: int = 0
    rewards: int = 0
    numbers: int = 0
    reward_sum: float = 0.0
    reward_squares: float = 0.0
    errors: int = 0


class Counted(NamedTuple):
    """Where a commit counts: the experiment, the beginning of a minute in ms, the row (an arm, or `REST`)."""

    experiment_id: str
    minute_ms: int
    arm: str


class Bucket(NamedTuple):
    """One row of a bucket that begins at `start_ms`."""

    start_ms: int
    arm: str
    counts: Counts


class Buckets(msgspec.Struct, frozen=True):
    """Rows in order of time and arm. `since_ms`: all calls from this date on are counted; 0: all that there
    were; None: there were calls, and none of them is counted yet."""

    since_ms: int | None
    rows: list[Bucket]


def check_range(step: Step, from_ms: int, to_ms: int) -> None:
    """Refuse what a store would look for bucket by bucket without an end. :raises ValueError:"""
    if to_ms - from_ms > MOST_READ * STEP_MS[step]:
        raise ValueError(f"at most {MOST_READ:,} buckets are read at once")
