"""What tests of one folder share."""

from __future__ import annotations

import json

from streamsim.storage.contract.decisions import ThetaAddress
from tests.decisions.conftest import Bench

COUNT = """
stored = self.get_theta(key="n", value="all")
self.set_theta({"n": stored.get("n", 0) + 1}, key="n", value="all")
"""


SHOW = 'self.action["n"] = self.get_theta(key="n", value="all").get("n", 0)'


def count(bench: Bench, id: str = "e1") -> int:
    rows = bench.run(bench.store.decisions.read_theta(ThetaAddress(id, "_theta", "n", "all"))).rows
    return sum(json.loads(data)["n"] for data, _ in rows.values())
