"""SIGTERM ends the server in time, whatever hostile users do meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.flooding import Flooding
from bench.floods import FLOODS
from tests.support import Server

DRAIN_S = 0.3
SPARE_S = 2.0


@pytest.mark.serial
@pytest.mark.parametrize("name", FLOODS)
def test_the_server_ends_within_its_time_under_a_flood(tmp_path: Path, name: str) -> None:
    with Server(tmp_path, settings={"server.drain_s": DRAIN_S}) as server:
        with Flooding(server, name):
            process = server.process
            assert process is not None
            process.terminate()
            # Raises if it takes longer.
            assert process.wait(DRAIN_S + SPARE_S) == 0
        log = server.log.read_text()
    assert "Traceback" not in log, log[-3000:]
