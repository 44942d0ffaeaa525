"""What the kernel tells about a process: memory, CPU time, whether the machine ran out of memory."""

from __future__ import annotations

import time


def memory_bytes(pid: int) -> int | None:
    """Anonymous and shared-anonymous memory of a process; None if that cannot be told."""
    total = 0
    try:
        with open(f"/proc/{pid}/status", "rb") as lines:
            for line in lines:
                if line.startswith((b"RssAnon:", b"RssShmem:")):
                    total += int(line.split()[1]) * 1024
    except OSError:
        return None
    return total or None


def cpu_s(pid: int) -> float:
    """CPU seconds that the process used; 0.0 if it cannot be told.

    :param pid: 0 is one that has ended already.
    """
    if not pid:
        return 0.0  # to the kernel it is this process
    try:
        # The clock of all its threads, as clock_getcpuclockid(3) names it.
        return time.clock_gettime(~pid << 3 | 2)
    except OSError:
        return 0.0


def oom_kills() -> int:
    """How often the kernel killed a process for want of memory since the machine started."""
    try:
        with open("/proc/vmstat", "rb") as lines:
            for line in lines:
                if line.startswith(b"oom_kill "):
                    return int(line.split()[1])
    except OSError:
        pass
    return 0
