"""Evaluations make way for live decisions: real processes, and what the kernel says of them."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from streamsim.sandbox.host.priority import TOGETHER_S, Priority

OWN = os.sched_getaffinity(0)


def _waiting() -> Iterator[int]:
    """A process that waits for its end."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as running:
        yield running.pid
        running.kill()


process = pytest.fixture(_waiting, name="process")
another = pytest.fixture(_waiting, name="another")
third = pytest.fixture(_waiting, name="third")
fourth = pytest.fixture(_waiting, name="fourth")


def test_who_is_waited_for_goes_behind_and_uses_every_processor(process: int) -> None:
    Priority(19, 1, lambda: True).lower(process, "ann")
    assert os.getpriority(os.PRIO_PROCESS, process) == 9
    assert os.sched_getaffinity(process) == OWN


def test_a_tenants_first_process_goes_ahead_of_all_others_that_tenants_have(
    process: int, another: int, third: int, fourth: int
) -> None:
    priority = Priority(19, 1, lambda: False)
    for pid, tenant in ((process, "ann"), (another, "ann"), (third, "bob")):
        priority.lower(pid, tenant)
    assert [os.getpriority(os.PRIO_PROCESS, pid) for pid in (process, another, third)] == [9, 19, 9]
    priority.ended(another)
    priority.lower(another, "ann")
    assert os.getpriority(os.PRIO_PROCESS, another) == 19
    priority.ended(process)
    priority.lower(fourth, "ann")
    assert os.getpriority(os.PRIO_PROCESS, fourth) == 9


def test_what_somebody_waits_for_long_goes_ahead_of_jobs_and_leaves_a_processor(process: int) -> None:
    priority = Priority(19, 1, lambda: True)
    priority.lower(process, "ann")
    priority.takes_long(process)
    assert os.getpriority(os.PRIO_PROCESS, process) == 14
    assert len(os.sched_getaffinity(process)) == max(len(OWN) - 1, 1)


def test_processes_begin_where_live_decisions_are_not() -> None:
    live = [False]
    priority = Priority(19, 1, lambda: live[0])
    assert set(priority.begins("ann")) == OWN
    live[0] = True
    assert set(priority.begins("ann")) == (OWN - {min(OWN)} or OWN)


@pytest.mark.skipif(len(OWN) < 2, reason="one processor")
def test_each_tenants_processes_are_on_processors_of_their_own_while_two_evaluate(
    process: int, another: int
) -> None:
    now = [100.0]
    priority = Priority(19, 1, lambda: False, lambda: now[0])
    assert set(priority.begins("")) == set(priority.begins("ann")) == OWN
    priority.lower(process, "ann")
    parts = set(priority.begins("bob")), os.sched_getaffinity(process)
    assert parts[0] | parts[1] == OWN
    assert not parts[0] & parts[1]
    priority.lower(another, "bob")
    assert set(priority.begins("ann")) == parts[1]
    # A process that goes on needs its part, one that has just ended too, for a while.
    now[0] += 2 * TOGETHER_S
    priority.make_way()
    assert os.sched_getaffinity(process) == parts[1]
    priority.ended(another)
    priority.make_way()
    assert os.sched_getaffinity(process) == OWN


def test_more_tenants_than_processors_share_all_of_them(process: int) -> None:
    priority = Priority(19, 1, lambda: False)
    priority.stand_back(process, "ann")
    for number in range(len(OWN) + 1):
        where = set(priority.begins(f"user {number}"))
    assert where == OWN
    assert os.sched_getaffinity(process) == OWN


def test_what_somebody_waits_for_makes_way_too_when_experiments_become_live(process: int) -> None:
    live = [False]
    priority = Priority(19, 1, lambda: live[0])
    priority.lower(process, "ann")
    live[0] = True
    priority.make_way()
    assert len(os.sched_getaffinity(process)) == max(len(OWN) - 1, 1)


def test_what_takes_long_leaves_a_processor_while_experiments_are_live(process: int) -> None:
    live = [False]
    priority = Priority(19, 1, lambda: live[0])
    priority.stand_back(process, "ann")
    assert os.getpriority(os.PRIO_PROCESS, process) == 19
    assert os.sched_getaffinity(process) == OWN
    live[0] = True
    priority.make_way()
    left = os.sched_getaffinity(process)
    assert left <= OWN
    assert len(left) == max(len(OWN) - 1, 1)
    priority.make_way()
    assert os.sched_getaffinity(process) == left
    live[0] = False
    priority.make_way()
    assert os.sched_getaffinity(process) == OWN


def test_what_was_placed_before_makes_way_with_what_comes_after(process: int, another: int) -> None:
    live = [False]
    priority = Priority(19, 1, lambda: live[0])
    priority.keep_off(process, "ann")
    live[0] = True
    priority.keep_off(another, "ann")
    assert os.sched_getaffinity(process) == os.sched_getaffinity(another)
    assert len(os.sched_getaffinity(process)) == max(len(OWN) - 1, 1)


def test_one_processor_is_used_whatever_is_to_be_left(process: int) -> None:
    Priority(10, 64, lambda: True).keep_off(process, "ann")
    assert len(os.sched_getaffinity(process)) == 1


def test_what_has_ended_is_no_more_moved(process: int) -> None:
    live = [True]
    priority = Priority(10, 1, lambda: live[0])
    priority.keep_off(process, "ann")
    placed = os.sched_getaffinity(process)
    priority.ended(process)
    live[0] = False
    priority.make_way()
    assert os.sched_getaffinity(process) == placed


def test_a_process_that_is_gone_is_no_error() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    priority = Priority(10, 1, lambda: True)
    priority.lower(gone.pid, "ann")
    priority.takes_long(gone.pid)
    priority.stand_back(gone.pid, "ann")


def test_a_process_that_ended_at_once_costs_this_one_nothing() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)
    one = Priority(nice=19, spare=1, live=lambda: True)
    one.lower(0, "ann")
    one.takes_long(0)
    one.stand_back(0, "ann")
    assert (os.getpriority(os.PRIO_PROCESS, 0), os.sched_getaffinity(0)) == before


def test_processors_are_left_to_decisions_while_something_is_under_way_or_began_lately(process: int) -> None:
    live, clock = [True], [100.0]
    priority = Priority(19, 1, lambda: live[0], lambda: clock[0])
    seen = [priority.leaves]
    priority.begins("ann")
    seen.append(priority.leaves)
    clock[0] += 2 * TOGETHER_S
    seen.append(priority.leaves)
    priority.stand_back(process, "ann")
    seen.append(priority.leaves)
    live[0] = False
    seen.append(priority.leaves)
    live[0] = True
    priority.ended(process)
    seen.append(priority.leaves)
    assert seen == [False, True, False, True, False, False]
