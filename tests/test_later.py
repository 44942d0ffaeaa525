"""A module that is imported later is not there before, and the same as the module then."""

from __future__ import annotations

import statistics
import subprocess
import sys

from streamsim.later import later

FIRST_ASKED = """
import sys
from streamsim.later import later
module = later("wave")
assert "wave" not in sys.modules
opened = module.open
assert "wave" in sys.modules
import wave
assert opened is wave.open is module.open and later("wave") is wave
assert not hasattr(module, "nothing_of_this_name")
print("done")
"""


def test_nothing_is_imported_until_something_is_asked_for() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_ASKED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("done\n", "")


def test_a_module_that_is_there_is_itself() -> None:
    assert later("statistics") is statistics
