"""Processes that let go of their terminal stay in the session of who started them."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

BELOW_A_TERMINAL = """
import fcntl, os, termios
from streamsim import terminal

def of_itself():
    with open("/proc/self/stat") as file:
        parent, group, session, number = file.read().rsplit(")", 1)[1].split()[1:5]
    return [int(group) == os.getpid(), int(session) == leader, int(number) != 0]

leader = os.getpid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
child = os.fork()
if not child:
    print(of_itself(), flush=True)
    terminal.leave()
    print(of_itself(), flush=True)
    terminal.leave()
    print(of_itself(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(of_itself())
"""


def test_a_child_leaves_the_terminal_and_its_group_but_neither_the_session_nor_its_parent() -> None:
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", BELOW_A_TERMINAL],
            stdin=theirs,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=60,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.stderr == ""
    # Each leads a group, is in the parent's session, and has a terminal.
    left = "[True, True, False]"
    assert done.stdout.splitlines() == ["[False, True, True]", left, left, "[True, True, True]"]
