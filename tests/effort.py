"""How much the tests do: STREAMSIM_TESTS=long is what `make test-all` sets."""

from __future__ import annotations

import os

LONG = os.environ.get("STREAMSIM_TESTS") == "long"
"""Whether draws, kills and backends are as many as there is time for, or as few as show something."""
