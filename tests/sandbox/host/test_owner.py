"""Root in a container moves and lowers processes of other users: real ones, on the real kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.patience import PATIENCE_S
from tests.sandbox.conftest import LAUNCHING

ASKING = """
import json, os, subprocess, sys, time
sys.path.insert(0, ROOT)
from streamsim.sandbox.host import priority

def users():
    return [line for thread in os.listdir("/proc/self/task")
            for line in open(f"/proc/self/task/{thread}/status") if line.startswith(("Uid", "CapEff"))]

def ended():
    # A thread that was waited for is in the kernel's list for a moment yet.
    until = time.monotonic() + PATIENCE_S
    while len(os.listdir("/proc/self/task")) > 1 and time.monotonic() < until:
        os.sched_yield()

before = users()
with subprocess.Popen(["/bin/cat"], stdin=subprocess.PIPE, user=OWNER, group=OWNER, extra_groups=[]) as other:
    moved = priority.place(other.pid, priority.processors.last(1))
    priority.lower(other.pid, 7)
    ended()
    found = {
        "moved": moved,
        "processors": sorted(os.sched_getaffinity(other.pid)),
        "nice": os.getpriority(os.PRIO_PROCESS, other.pid),
        "unchanged": users() == before,
    }
    other.stdin.close()
found["gone"] = priority.place(other.pid, priority.processors.ALL)
print(json.dumps(found))
"""


def _asked(kind: str, owner: int) -> dict[str, Any]:
    root = str(LAUNCHING.parent.parent.parent)
    script = ASKING.replace("ROOT", repr(root)).replace("OWNER", str(owner))
    script = script.replace("PATIENCE_S", str(PATIENCE_S))
    command = [sys.executable, str(LAUNCHING), kind, sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="who is not root has no processes of other users")
@pytest.mark.parametrize("kind", ["root", "container"])
def test_a_process_of_another_user_is_moved_and_lowered_and_nothing_else_changes(kind: str) -> None:
    last = [max(os.sched_getaffinity(0))]
    expected = {"moved": True, "processors": last, "nice": 7, "unchanged": True, "gone": True}
    assert _asked(kind, 61_184) == expected
