"""From which size on half a batch is worth a commit of its own."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from streamsim.decisions.pace import LEAST, MOST, Pace


@dataclass
class Clock:
    """The processor time of a worker."""

    cpu_s: float = 0.0


def after(pace: Pace, clock: Clock, call_s: float, batches: int = 100, calls: int = 16) -> int:
    for _ in range(batches):
        clock.cpu_s += calls * call_s
        pace.ran(clock, calls)
    return pace.half


@pytest.mark.parametrize(
    ("call_us", "half"), [(25, LEAST), (12, 50), (6, 100), (1, MOST), (5000, LEAST), (0, LEAST)]
)
def test_the_more_a_call_costs_the_fewer_are_half_a_batch(call_us: int, half: int) -> None:
    assert after(Pace(), Clock(), call_us / 1e6) == half


def test_a_few_calls_change_nothing() -> None:
    assert after(Pace(), Clock(), 12e-6, batches=10) == LEAST


def test_a_change_of_the_cost_is_followed() -> None:
    pace, clock = Pace(), Clock(3.0)  # what it has used until now is no matter
    assert [after(pace, clock, us / 1e6, batches=200) for us in (12, 30, 10)] == [50, LEAST, 60]


def test_a_new_worker_is_not_measured_by_the_one_before() -> None:
    pace = Pace()
    assert after(pace, Clock(5.0), 12e-6) == 50
    assert after(pace, Clock(), 12e-6, batches=10) == 50
    assert after(pace, Clock(), 30e-6) == LEAST
