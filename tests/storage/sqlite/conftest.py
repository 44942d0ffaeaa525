"""What tests of the SQLite file share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from streamsim.storage.sqlite.store import SQLiteStore


@contextmanager
def opened(path: Path, run: Any, **options: Any) -> Iterator[SQLiteStore]:
    store = SQLiteStore(path, **options)
    run(store.open())
    try:
        yield store
    finally:
        run(store.close())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "data" / "streamsim.db"
