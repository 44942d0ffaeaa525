"""What a worker told before is told again, whatever stands around it."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from streamsim.dates import HOUR_MS
from streamsim.decisions.repeated import MOST, Repeated, Told
from tests.decisions.conftest import Bench
from tests.patience import PATIENCE_S

TWO_ARMS = """
n = self.context["n"]
self.action["arm"] = "ab"[n % 2]
self.action_probabilities = {"a": 0.25, "b": 0.75}
"""


def decided(bench: Bench, contexts: list[Any]) -> list[Any]:
    async def decide() -> list[bytes]:
        async with asyncio.timeout(PATIENCE_S):
            return await asyncio.gather(*(bench.decisions.get_action("e1", "k", one) for one in contexts))

    return [json.loads(answer)["action"] for answer in bench.run(decide())]


def logged(bench: Bench) -> list[Any]:
    """The rows of decisions that came at once, in the order of their contexts."""
    return sorted(bench.log("action"), key=lambda row: row["context"]["n"])


def test_answers_and_rows_of_repeated_outcomes_have_their_own_contexts(bench: Bench) -> None:
    bench.experiment(TWO_ARMS)
    contexts = [{"n": n, "more": {"deep": [n, None, "é"]}} for n in range(9)]
    assert decided(bench, contexts) == [{"arm": "ab"[n % 2]} for n in range(9)]
    assert logged(bench) == [
        {
            "context": contexts[n],
            "action": {"arm": "ab"[n % 2]},
            "propensity": (0.25, 0.75)[n % 2],
            "probabilities": {"a": 0.25, "b": 0.75},
        }
        for n in range(9)
    ]
    arms = bench.run(
        bench.store.decisions.buckets(["e1"], "hour", bench.now_ms - HOUR_MS, bench.now_ms + HOUR_MS)
    )["e1"].rows
    assert {row.arm: row.counts.decisions for row in arms} == {"a": 5, "b": 4}


def test_a_context_that_the_code_changed_is_what_is_logged(bench: Bench) -> None:
    bench.experiment('self.action["arm"] = "a"\nself.context["seen"] = True')
    decided(bench, [{"n": n} for n in range(3)])
    assert [row["context"] for row in logged(bench)] == [{"n": n, "seen": True} for n in range(3)]


def test_what_is_logged_of_an_edited_experiment_is_of_its_new_revision(bench: Bench) -> None:
    bench.experiment('self.action["arm"] = "a"', arm_field="arm", arms=["a", "b"])
    decided(bench, [{}, {}])
    stored = bench.run(bench.store.decisions.get_experiment("e1"))
    properties = stored.properties | {"arms": ["a", "b", "c"]}
    edited = msgspec.structs.replace(stored, properties=properties)
    assert bench.run(bench.store.decisions.update_experiment(edited)) is not None
    bench.decisions.forget("e1")
    decided(bench, [{}, {}])
    before, after = stored.revision, stored.revision + 1
    assert [row["revision"] for row in bench.log("action")] == [before, before, after, after]


@pytest.mark.parametrize("action", ["float('nan')", "None", "{'a': {1, 2}}"])
def test_what_is_not_allowed_is_refused_each_time(bench: Bench, action: str) -> None:
    bench.experiment(f"self.action = {action}")
    for _ in range(2):
        with pytest.raises(Exception, match="action"):
            bench.decide()
    assert bench.log("action") == []


def test_no_more_is_remembered_than_that() -> None:
    repeated = Repeated()
    first = repeated.decoded([b'[null,"first"]'])[0]
    repeated.keep(Told(first, b"{}", b"}", "first"))
    assert repeated.told(first) is not None
    for n in range(MOST):
        repeated.decoded([b"[null,%d]" % n])
    assert repeated.told(first) is None
    again = repeated.decoded([b'[null,"first"]'])[0]
    assert again is not first
    long = repeated.decoded([b'[null,"%b"]' % (b"x" * 1000)])[0]
    repeated.keep(Told(long, b"{}", b"}", "x"))
    assert repeated.told(long) is None
