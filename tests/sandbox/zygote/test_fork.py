"""A fork into a control group: where its child is, and that it is as whole as one of Python's own forks."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, os, random, sys, threading
from streamsim.sandbox.zygote import cgroup, fork

groups = cgroup.groups()
if groups is None:
    print("no groups")
    sys.exit()
group = groups.make("one", 64 << 20)
random.seed(1)
reader, writer = os.pipe()
pid = fork.into(group)
if pid == fork.FAILED:
    print("not offered")
elif pid == 0:
    with open("/proc/self/cgroup") as file:
        inside = any(line.rstrip().endswith("/one") for line in file)
    kept = ctypes.c_int.from_address(fork._tid()).value
    seeded = random.random() != random.Random(1).random()
    alone = threading.active_count() == 1
    os.write(writer, repr((inside, kept == os.getpid(), seeded, alone)).encode())
    os._exit(7)
else:
    os.close(writer)
    print(os.read(reader, 100).decode(), os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
os.close(group)
groups.close()
"""


def test_a_child_begins_in_its_group_with_the_id_and_the_seeds_of_a_process_of_its_own() -> None:
    said = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    if said.strip() in ("no groups", "not offered"):
        pytest.skip(f"control groups: {said}")
    assert said.strip() == "(True, True, True, True) 7"


def test_without_a_group_of_that_descriptor_there_is_no_child() -> None:
    program = (
        "import os; from streamsim.sandbox.zygote import fork; print(fork.into(os.open('/', 0)), flush=True)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert said.split() == ["-1"]
