"""Theta larger than one answer to a worker may be is read page by page."""

from __future__ import annotations

import json
from typing import Any

from streamsim.decisions.decisions import Decisions
from tests.decisions.conftest import Bench

GROW = """
arm = self.action["arm"]
self.set_theta({"big": "x" * 100_000}, key="arm", value=arm)
"""
SHOW = """
stored = self.get_theta(key="arm")
self.action["arms"] = len(stored)
self.action["bytes"] = sum(len(one["big"]) for one in stored.values())
"""


def grown(bench: Bench, arms: int) -> None:
    bench.experiment(get_action=SHOW, set_reward=GROW)
    for arm in range(arms):
        bench.reward(action={"arm": str(arm)})


def decide(bench: Bench, decisions: Decisions) -> Any:
    return json.loads(bench.run(decisions.get_action("e1", "k", {})))["action"]


def test_decisions_go_on_when_theta_has_outgrown_one_answer_and_the_worker_is_a_new_one(bench: Bench) -> None:
    grown(bench, 60)
    assert decide(bench, bench.more()) == {"arms": 60, "bytes": 6_000_000}


def test_a_group_that_another_process_changed_is_read_anew_however_large(bench: Bench) -> None:
    grown(bench, 45)
    another = bench.more()
    assert decide(bench, another)["arms"] == 45
    bench.reward(action={"arm": "new"})
    assert decide(bench, another)["arms"] == 46
