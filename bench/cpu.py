"""Processor time of a server and of the processes under it, from /proc."""

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
    spent: dict[int, float] = {}
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended in between
        spent[int(entry.name)] = (int(fields[11]) + int(fields[12])) * _TICK_S
        children.setdefault(int(fields[1]), []).append(int(entry.name))
    below, waiting = 0.0, list(children.get(pid, ()))
    while waiting:
        child = waiting.pop()
        below += spent[child]
        waiting += children.get(child, ())
    return Used(spent.get(pid, 0.0), below)
