"""A forked server is what an executed one would be."""

from __future__ import annotations

import os
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

from streamsim.decisions.records import row_id
from tests.support import Server


def facts(server: Server) -> dict[str, Any]:
    """What a process is given at its start."""
    assert server.process is not None
    pid = server.process.pid
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "parent": int(fields[1]),
        "leads its group": int(fields[2]) == pid,
        "leads its session": int(fields[3]) == pid,
        "folder": os.readlink(f"/proc/{pid}/cwd"),
        "streams": [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)],
        "signals": [status[name] for name in ("SigIgn", "SigCgt", "SigBlk")],
        "answers": server.admin().get("/exp").body,
    }


@pytest.mark.parametrize("executed", [True, False])
def test_it_has_the_parent_session_folder_streams_and_signals_of_one(tmp_path: Path, executed: bool) -> None:
    with Server(tmp_path, executed=executed) as server:
        found = facts(server)
        signals = found.pop("signals")
        assert found == {
            "parent": os.getpid(),
            "leads its group": True,
            "leads its session": True,
            "folder": str(tmp_path),
            "streams": ["/dev/null", str(server.log), str(server.log)],
            "answers": {},
        }
        assert server.stop() == 0
    with Server(tmp_path, executed=not executed) as other:
        assert facts(other)["signals"] == signals


def test_a_forked_process_gives_other_row_ids() -> None:
    before = row_id()
    with get_context("fork").Pool(2) as pool:
        theirs = pool.map(_row_id, range(2))
    assert before[:16] not in {one[:16] for one in theirs}
    assert row_id()[:16] == before[:16]


def _row_id(_number: int) -> str:
    return row_id()
