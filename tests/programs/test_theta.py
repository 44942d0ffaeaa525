"""The worker's theta cache: several of them on one store lose no update and see no half of one."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamsim.decisions.wire import WireAddress, WireRow, WireRows
from streamsim.programs.theta import ThetaCache, copied, merged
from streamsim.values import InvalidValue

E, N = "exp", "_theta"


class Model:
    """The storage contract's theta in a few lines of dicts: rows, and a version of every scope."""

    def __init__(self) -> None:
        self.rows: dict[WireRow, tuple[bytes, int]] = {}
        self.versions: dict[WireAddress, int] = {}
        self.counter = 0

    def version(self, scope: WireAddress) -> int:
        if scope[3] is not None:
            return self.rows.get(scope, (b"", 0))[1]  # type: ignore[arg-type]
        return self.versions.get(scope, 0) if self.members(scope) else 0

    def members(self, scope: WireAddress) -> list[WireRow]:
        return [row for row in self.rows if all(s is None or s == r for s, r in zip(scope, row, strict=True))]

    def read(self, experiment_id: str, name: str, key: str | None, value: str | None) -> WireRows:
        scope = (experiment_id, name, key, value)
        return self.version(scope), [(row[2], row[3], *self.rows[row]) for row in self.members(scope)]

    def commit(self, cache: ThetaCache) -> bool:
        """Validate and apply, or refresh what was stale, as the store and the lane do together."""
        stale = [scope for scope, version in cache.reads.items() if version != self.version(scope)]
        if stale:
            cache.refused()
            for scope in stale:
                cache.refresh(scope, self.read(*scope))
            return False
        if cache.writes:
            self.counter += 1
            for row, data in cache.writes.items():
                if data is None:
                    self.rows.pop(row, None)
                else:
                    self.rows[row] = (json.dumps(data).encode(), self.counter)
                for scope in (row, (*row[:3], None), (row[0], row[1], None, None)):
                    self.versions[scope] = self.counter
        cache.committed({E: self.counter})
        return True


def state(cache: ThetaCache, key: str | None) -> dict[tuple[str, str], Any]:
    return {(row[2], row[3]): data for row, data in cache.group(E, N, key).items()}


operations = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "sum group", "sum set", "delete", "fail", "blind"]),
        st.sampled_from("ab"),
        st.sampled_from("xyz"),
    ),
    max_size=4,
)


def act(cache: ThetaCache, operation: tuple[str, str, str]) -> None:
    """A call of policy code: reads, and writes that depend on what it read."""
    what, key, value = operation
    row = (E, N, key, value)
    if what == "add":
        stored = cache.row(row) or {"n": 0}
        cache.write(row, {"n": stored["n"] + 1})
    elif what == "blind":
        cache.row(row)
        cache.write(row, {"n": 5})
    elif what == "delete":
        if cache.row(row) is not None:
            cache.write(row, None)
    elif what == "fail":
        mark = cache.mark()
        act(cache, ("add", key, value))
        act(cache, ("delete", key, value))
        cache.undo(mark)
    else:
        total = sum(data["n"] for data in cache.group(E, N, key if what == "sum group" else None).values())
        target = (E, N, "total", what)
        cache.row(target)
        cache.write(target, {"n": total})


@settings(max_examples=300, deadline=None)
@given(
    batches=st.lists(st.tuples(st.integers(0, 2), operations), max_size=25),
    max_rows=st.sampled_from([0, 3, 1000]),
    seed=st.integers(0, 2**16),
)
def test_caches_on_one_store_are_serializable(
    batches: list[tuple[int, list[tuple[str, str, str]]]], max_rows: int, seed: int
) -> None:
    """Whatever three caches do, the store ends as if the committed batches ran one after the other."""
    store, rng = Model(), random.Random(seed)
    caches = [ThetaCache(store.read, max_rows) for _ in range(3)]
    serial = Model()
    serial_cache = ThetaCache(serial.read, 1000)
    running: dict[int, list[tuple[str, str, str]]] = {}

    def finish(index: int) -> None:
        operations = running.pop(index)
        while not store.commit(caches[index]):
            for operation in operations:
                act(caches[index], operation)
        for operation in operations:
            act(serial_cache, operation)
        assert serial.commit(serial_cache)

    for index, operations_of_batch in batches:
        if index in running:
            finish(index)
        running[index] = operations_of_batch
        for operation in operations_of_batch:
            act(caches[index], operation)
        if rng.random() < 0.5:
            finish(rng.choice(sorted(running)))
    for index in sorted(running):
        finish(index)

    assert {row: data for row, (data, _) in store.rows.items()} == {
        row: data for row, (data, _) in serial.rows.items()
    }
    for cache in caches:
        for key in ("a", "b", "total", None):
            fresh = ThetaCache(store.read, 1000)
            seen = state(cache, key)
            if store.commit(cache):
                assert seen == state(fresh, key)


def test_a_failed_call_leaves_the_calls_before_it_in_place() -> None:
    cache = ThetaCache(Model().read, 100)
    act(cache, ("add", "a", "x"))
    mark = cache.mark()
    act(cache, ("add", "a", "x"))
    act(cache, ("add", "a", "y"))
    cache.undo(mark)
    assert cache.writes == {(E, N, "a", "x"): {"n": 1}}
    assert state(cache, "a") == {("a", "x"): {"n": 1}}


def test_what_a_call_read_counts_although_it_failed() -> None:
    """An exception may be the consequence of stale theta, so it has to be validated like an answer."""
    store = Model()
    cache = ThetaCache(store.read, 100)
    mark = cache.mark()
    cache.row((E, N, "a", "x"))
    cache.undo(mark)
    assert cache.reads == {(E, N, "a", "x"): 0}


def test_copies_are_deep() -> None:
    value = {"a": [1, {"b": [2]}], "c": {"d": 1}, "e": [[1.0], [2.0]]}
    copy = copied(value)
    assert copy == value
    copy["a"][1]["b"].append(3)
    copy["c"]["d"] = 2
    copy["e"][0][0] = 9.0
    assert value == {"a": [1, {"b": [2]}], "c": {"d": 1}, "e": [[1.0], [2.0]]}


def test_set_theta_merges_fields_and_takes_estimators() -> None:
    class Mean:
        def get_dict(self) -> dict[str, float]:
            return {"m": 0.5, "n": 2}

    assert merged({"n": 1, "k": "3"}, Mean()) == {"n": 2, "k": "3", "m": 0.5}
    assert merged(None, {1: 2, "m": {-3: {}}}) == {"1": 2, "m": {"-3": {}}}  # as JSON writes them
    for bad in (float("nan"), {"m": float("inf")}, [1], {"m": {1, 2}}, {(1,): 2}):
        with pytest.raises(InvalidValue):
            merged(None, bad)
