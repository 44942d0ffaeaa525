"""Processor time and memory of a server and of the processes under it, from /proc."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Used(NamedTuple):
    """Seconds of processor time, of user and kernel, since these processes began."""

    server: float
    workers: float


def used(pid: int) -> Used:
    """What a server process has used, and what all processes under it have that live."""
    spent = _processes()
    return Used(spent.get(pid, (0, 0.0))[1], sum(spent[child][1] for child in _below(pid, spent)))


def below(pid: int) -> list[int]:
    """All processes under one that live."""
    return _below(pid, _processes())


def memory_kib(pid: int) -> float:
    """Memory of a process; what it shares with others is divided by their number."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1])
    raise ValueError(f"/proc/{pid}/smaps_rollup has no Pss")


def memory_below_kib(pid: int) -> float:
    """Memory of all processes under one that live. :raises PermissionError: only root sees confined ones."""
    total = 0.0
    for child in below(pid):
        try:
            total += memory_kib(child)
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended in between
    return total


def _processes() -> dict[int, tuple[int, float]]:
    """Parent, and seconds of processor time, of each process."""
    found: dict[int, tuple[int, float]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended in between
        found[int(entry.name)] = int(fields[1]), (int(fields[11]) + int(fields[12])) * _TICK_S
    return found


def _below(pid: int, processes: dict[int, tuple[int, float]]) -> list[int]:
    children: dict[int, list[int]] = {}
    for child, (parent, _) in processes.items():
        children.setdefault(parent, []).append(child)
    found, waiting = [], list(children.get(pid, ()))
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], ())
    return found


class Threads(NamedTuple):
    """Seconds of processor time of one process: of its first thread, and of all others that live."""

    first: float
    others: float


def threads(pid: int) -> Threads:
    """What the threads of a process have used, as the scheduler counts it."""
    first = others = 0.0
    for entry in Path(f"/proc/{pid}/task").iterdir():
        seconds = int((entry / "schedstat").read_text().split()[0]) / 1e9
        if int(entry.name) == pid:
            first = seconds
        else:
            others += seconds
    return Threads(first, others)
