"""A server's processes as the kernel shows them, while hostile code runs in some of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from streamsim.sandbox.host.vitals import cpu_s, memory_bytes

GROWTH_BYTES = 200 << 20
WATCH_S = 0.05
COMMANDS = {"streamsim-zygo", "streamsim-work"}


class Auditor:
    """Looks at the server's processes from outside, as the kernel shows them."""

    def __init__(self, server: int, workers: int, victims: list[int], wrong: list[str]) -> None:
        self.over = False
        self._server, self._workers, self._wrong = server, workers, wrong
        self._zygote = {pid for pid in _descendants(server) if _command(pid) == "streamsim-zygo"}
        self._kept = [server, *sorted(self._zygote)]
        self._victims = victims
        self._before = [_facts(pid) for pid in self._kept]
        self._victims_before = [_facts(pid) for pid in self._victims]
        self._bytes_before = memory_bytes(server) or 0

    def find_names(self) -> dict[str, Any]:
        """Process ids for the attacks, as a worker sees them."""
        own = _field(self._victims[0], "NSpid").split()
        namespace = len(own) > 1
        return {
            "victim_pid": int(own[-1]),
            "host_pid": 1 if namespace else self._server,
            "pid": int(own[-1]) + 1,
        }

    async def watch(self) -> None:
        """Until the end: nothing but workers below the zygote, and nothing below them."""
        while not self.over:
            for pid in _descendants(self._server):
                command = _command(pid)
                if command and pid not in self._zygote and command != "streamsim-work":
                    await asyncio.sleep(0.05)  # it may have been in the middle of its own start
                    if _command(pid) not in ("", *COMMANDS):
                        self._note(f"a process appeared: {command}")
                if command == "streamsim-work" and (children := _children(pid)):
                    self._note(f"a worker has children: {children}")
            await asyncio.sleep(WATCH_S)

    async def last_look(self) -> None:
        """The server, its zygote and the bystanders' workers are what they were; no worker still runs."""
        left = working(self._server)
        if len(left) > self._workers:
            self._note(f"{len(left)} workers live; {self._workers} may")
        used = {pid: cpu_s(pid) for pid in left}
        await asyncio.sleep(0.5)
        busy = [pid for pid in left if cpu_s(pid) - used[pid] > 0.1]
        if busy:
            self._note(f"{len(busy)} workers still run code that nobody waits for")
        grown = (memory_bytes(self._server) or 0) - self._bytes_before
        if grown > GROWTH_BYTES:
            self._note(f"the server grew by {grown >> 20} MiB")
        if [_facts(pid) for pid in self._kept] != self._before:
            self._note("the server or its zygote was replaced, or its limits, priority or signals changed")
        for pid, before in zip(self._victims, self._victims_before, strict=True):
            if (now := _facts(pid)) != before:
                changed = [(one, other) for one, other in zip(before, now, strict=False) if one != other]
                self._note(f"a bystander's worker was replaced, or its limits or signals: {changed}")

    def _note(self, text: str) -> None:
        if text not in self._wrong:
            self._wrong.append(text)


def working(server: int) -> dict[int, int]:
    """The workers that a server has, and how often each has waited for something since it started."""
    found = [pid for pid in _descendants(server) if _command(pid) == "streamsim-work"]
    return {pid: int(_field(pid, "voluntary_ctxt_switches") or 0) for pid in found}


def _facts(pid: int) -> tuple[str, ...]:
    """What an attack on a process could change, and when it started."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        limits = Path(f"/proc/{pid}/limits").read_text()
    except OSError:
        return ("gone",)
    priority, nice, started = fields[15], fields[16], fields[19]
    signals = [_field(pid, name) for name in ("SigIgn", "SigCgt")]
    return (limits, priority, nice, started, *signals)


def _field(pid: int, name: str) -> str:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return line.partition(":")[2].strip()
    return ""


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:
        return []


def _descendants(pid: int) -> list[int]:
    found = []
    for child in _children(pid):
        found += [child, *_descendants(child)]
    return found
