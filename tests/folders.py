"""Where tests keep files: in memory where there is room, on disk for tests of what outlives a process."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

MEMORY = Path("/dev/shm")
ROOM_BYTES = 2 << 30
DISK = tempfile.gettempdir()
_VARIABLE = "PYTEST_DEBUG_TEMPROOT"  # what pytest makes its folders in


def use_memory() -> None:
    """From here on pytest makes its folders in memory, if this machine has enough of it and nobody chose."""
    usable = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
    if usable:
        os.environ.setdefault(_VARIABLE, str(MEMORY))


@contextmanager
def on_disk() -> Iterator[Path]:
    """A new folder on disk, which goes afterwards."""
    with tempfile.TemporaryDirectory(prefix="streamsim-test-", dir=DISK, ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def tmp_path(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Path]:
    """A new folder, as pytest's own is, but on disk for a test that is marked `durable`."""
    if request.node.get_closest_marker("durable") is None:
        yield tmp_path
        return
    with on_disk() as folder:
        yield folder
