"""The corpus of hostile code: the first part, and what another tester found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def _read(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path(__file__).with_name(name).read_text())
    return found


FIRST, MORE = _read("corpus.json"), _read("corpus2.json")
FILES = [snippet for snippet in MORE if "engine" in snippet]
"""Of models, whose file is the attack: see test_model_files."""
POLICIES = [snippet for snippet in FIRST + MORE if snippet not in FILES]
