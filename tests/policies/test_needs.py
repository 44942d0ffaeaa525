"""Policies of the catalogue that are said to need NumPy alone import nothing else while they learn."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from streamsim.decisions.needs import only_numpy
from tests.policies.play import ENTRIES

ROOT = Path(__file__).parents[2]
PLAYED = """
import sys
from tests.policies.play import ENTRIES, Player, play, seed
for slug in sys.argv[1:]:
    seed(7)
    assert len(play(Player(ENTRIES[slug]), 60)) == 60
print([name for name in ("scipy", "sklearn", "pandas") if name in sys.modules])
"""


def test_what_is_said_to_need_numpy_alone_imports_no_other_library() -> None:
    plain = [slug for slug, entry in ENTRIES.items() if only_numpy(entry.code.values())]
    assert {"e-greedy", "ucb1", "ab-test", "exp3"} <= set(plain)
    command = [sys.executable, "-c", PLAYED, *plain]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
