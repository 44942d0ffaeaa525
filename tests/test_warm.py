"""A forked server, or zygote, is what an executed one would be."""

from __future__ import annotations

import os
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamsim.decisions.records import row_id
from streamsim.sandbox.host import zygote
from streamsim.sandbox.host.pool import Limits, Sandbox
from streamsim.sandbox.report import Report
from tests.conftest import Run
from tests.support import Server

STATUS = (
    *("Name", "Umask", "Uid", "Gid", "Groups", "Threads", "NoNewPrivs", "Seccomp"),
    *("SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"),
)
MODULES = """
import sys

def handle(request, channel):
    return sorted(sys.modules)
"""


def facts(server: Server) -> dict[str, Any]:
    """What the process that was started is given."""
    assert server.process is not None
    return {**given(server.process.pid), "answers": server.admin().get("/exp").body}


def given(pid: int) -> dict[str, Any]:
    """What a process is given at its start."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "parent": int(fields[1]),
        "leads its group": int(fields[2]) == pid,
        "folder": os.readlink(f"/proc/{pid}/cwd"),
        "streams": [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)],
        "signals": [status[name] for name in ("SigIgn", "SigCgt", "SigBlk")],
    }


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[Server, dict[str, Any]]]:
    """A server that was executed, and one that was not, with their facts; they have stopped well."""
    found = {}
    for executed in (True, False):
        with Server(tmp_path_factory.mktemp("warm"), executed=executed) as server:
            found[executed] = server, facts(server)
            assert server.stop() == 0
    return found


@pytest.mark.parametrize("executed", [True, False])
def test_it_has_the_parent_group_folder_streams_and_signals_of_one(
    both: dict[bool, tuple[Server, dict[str, Any]]], executed: bool
) -> None:
    server, found = both[executed]
    assert found == {
        "parent": os.getpid(),
        "leads its group": True,
        "folder": str(server.folder),
        "streams": ["/dev/null", str(server.log), str(server.log)],
        "signals": both[not executed][1]["signals"],
        "answers": {},
    }


def test_server_processes_of_several_are_given_what_executed_ones_are(tmp_path: Path) -> None:
    found: list[list[dict[str, Any]]] = []
    for executed in (True, False):
        with Server(tmp_path, processes=2, executed=executed) as server:
            assert server.process is not None
            children = [given(pid) for pid in server.children()]
            assert {child.pop("parent") for child in children} == {server.process.pid}
            found.append(children)
            assert server.stop() == 0
    assert found[0] == found[1]
    assert len(found[0]) == 2


def seen(number: int) -> dict[str, Any]:
    """What a process is given, and what it keeps."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{number}/status").read_text().splitlines())
    fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
    return {
        "status": {name: status[name] for name in STATUS},
        "leads its group": int(fields[2]) == number,
        "folder": os.readlink(f"/proc/{number}/cwd"),
        "environment": Path(f"/proc/{number}/environ").read_bytes(),
        "descriptors": sorted(int(name) for name in os.listdir(f"/proc/{number}/fd")),
        "streams": [os.readlink(f"/proc/{number}/fd/{stream}") for stream in range(3)],
        # Those of memory are above what is in use, which is never the same to the byte.
        "limits": [
            line
            for line in Path(f"/proc/{number}/limits").read_text().splitlines()
            if not line.startswith(("Max data size", "Max address space"))
        ],
    }


@pytest.mark.parametrize(("plain", "more"), [(True, ()), (False, ()), (False, ("dask.array",))])
def test_a_forked_zygote_and_its_workers_are_as_those_of_an_executed_one(
    monkeypatch: pytest.MonkeyPatch, run: Run, plain: bool, more: tuple[str, ...]
) -> None:
    async def look() -> tuple[Report, list[dict[str, Any]], Any]:
        sandbox = Sandbox(workers=1, preload=more)
        await sandbox.start()
        try:
            worker = await sandbox.spawn("probe", {"code": MODULES}, Limits(), identity="t/e", plain=plain)
            modules = msgspec.msgpack.decode(await worker.exchange(None))
            return (
                sandbox.report(),
                [seen(pid) for pid in (sandbox.zygotes[0 if plain else -1], worker.pid)],
                modules,
            )
        finally:
            await sandbox.close()

    forked = run(look())
    monkeypatch.setattr(zygote, "start", zygote.execute)
    executed = run(look())
    for (report, processes, modules), other in ((forked, executed), (executed, forked)):
        assert msgspec.structs.replace(report, start_ms=0) == msgspec.structs.replace(other[0], start_ms=0)
        assert processes == other[1]
        assert set(modules) - set(other[2]) <= {"__main__", "runpy"}


def test_a_forked_process_gives_other_row_ids() -> None:
    before = row_id()
    with get_context("fork").Pool(2) as pool:
        theirs = pool.map(_row_id, range(2))
    assert before[:16] not in {one[:16] for one in theirs}
    assert row_id()[:16] == before[:16]


def _row_id(_number: int) -> str:
    return row_id()
