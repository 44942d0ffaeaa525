"""How a process lets go of its terminal without a session of its own."""

from __future__ import annotations

import fcntl
import os
import termios


def leave() -> None:
    """Lead a process group, and have no controlling terminal.

    Interrupts from the keyboard then do not reach this process, and it is never stopped for what it writes. A
    session would do as much. But each session has the same share of the processors under Linux's autogroups,
    however low the priorities of what is in it (sched(7)): what stands back must be in the session of those
    that it stands back behind.
    """
    if os.getpgid(0) != os.getpid():
        os.setpgid(0, 0)
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return  # there is none
    try:
        fcntl.ioctl(terminal, termios.TIOCNOTTY)
    finally:
        os.close(terminal)
