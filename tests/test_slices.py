"""Time slices that processes ask for are those that the kernel gives them."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamsim import slices
from tests.support import Server

GET_ATTRIBUTES = {"x86_64": 315, "aarch64": 275}
KERNEL = tuple(int(part) for part in platform.release().split(".")[:2])
USUAL_NS = range(500_000, 20_000_000)

pytestmark = pytest.mark.skipif(KERNEL < (6, 12), reason="this kernel does not tell the slices of processes")


def slice_ns(pid: int) -> int:
    """What sched_getattr(2) says of a process's first thread."""
    words = (ctypes.c_uint64 * 6)()
    call = ctypes.c_long(GET_ATTRIBUTES[platform.machine()])
    assert ctypes.CDLL(None).syscall(call, pid, ctypes.byref(words), ctypes.sizeof(words), 0) == 0
    # size and policy; flags; nice and priority; the slice
    return int(words[3])


@pytest.fixture
def process() -> Iterator[int]:
    """Another process of this user."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as sleeping:
        yield sleeping.pid


def test_a_process_has_the_slice_that_was_asked_for_until_the_kernels_own_is_asked_for(process: int) -> None:
    before = slice_ns(process)
    assert before in USUAL_NS
    os.setpriority(os.PRIO_PROCESS, process, 7)
    slices.ask(0.0003, process)
    assert slice_ns(process) == 300_000
    slices.ask(0, process)
    assert slice_ns(process) == before
    assert os.getpriority(os.PRIO_PROCESS, process) == 7


def test_one_of_another_policy_is_left_as_it_is(process: int) -> None:
    os.sched_setscheduler(process, os.SCHED_BATCH, os.sched_param(0))
    slices.ask(0.0003, process)
    assert os.sched_getscheduler(process) == os.SCHED_BATCH
    assert slice_ns(process) in USUAL_NS


def test_a_process_that_is_not_there_is_told() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    with pytest.raises(OSError, match="No such process"):
        slices.ask(0.0003, ended.pid)


def test_a_server_hurries_and_its_sandbox_does_not(tmp_path: Path) -> None:
    with Server(tmp_path, executed_zygotes=True) as server:
        assert server.process is not None
        zygotes = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        assert slice_ns(server.process.pid) == 100_000
        assert zygotes
        assert all(slice_ns(int(pid)) in USUAL_NS for pid in zygotes)
