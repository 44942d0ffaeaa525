"""Inference goes on from what it kept: it reads what came since, and tells what the whole log tells."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from streamsim import dates, values
from streamsim.dates import HOUR_MS
from streamsim.evaluation import kept_inference
from streamsim.evaluation.inference import keeping
from streamsim.evaluation.inference.asked import Asked, with_declared
from streamsim.evaluation.inference.live import examine
from streamsim.services import Services
from streamsim.storage.contract.decisions import Committed, Transaction
from streamsim.storage.contract.logs import LogKind, LogRow
from tests.application import Caller, Clock
from tests.effort import LONG
from tests.evaluation.inference.test_tally import close

# In short a tenth of all: of what is read at a time and of what is always read anew, so of the decisions too,
# which come ten times as slowly.
PART = 1 if LONG else 10
SIZES = (8_000 // PART, 24_000 // PART)
LAST = keeping.LAST // PART
SOME = 500 // PART
SECOND_MS = 1000 * PART
GIVEN: dict[str, Any] = {
    "arm_field": "arm",
    "arms": ["a", "b"],
    "control": "a",
    "advice_id": True,
    "delta_hours": 1,
    "rewards": {"family": "bernoulli"},
}


class Log:
    """An experiment's logs, written as commits do, and read as inference does, with the rows counted."""

    def __init__(self, services: Services, experiment: Any, seed: int) -> None:
        self._services, self.experiment = services, experiment
        self._rng = random.Random(seed)
        self.n = self.read = 0
        self.rows: dict[str, list[dict[str, Any]]] = {"action": [], "reward": []}

    async def commit(self, *logs: LogRow) -> None:
        for start in range(0, len(logs), 1000):
            some = list(logs[start : start + 1000])
            revisions = {self.experiment.id: self.experiment.revision}
            transaction = Transaction(self.experiment.tenant, revisions, logs=some)
            assert isinstance(await self._services.store.decisions.commit(transaction), Committed)
        for row in logs:
            self.rows[row.kind].append(msgspec.json.decode(row.data) | {"date_ms": row.date_ms})

    def row(self, kind: LogKind, number: int, date_ms: int, **fields: Any) -> LogRow:
        data = values.dump({"context": {"n": number % 7}, "advice_id": f"advice{number}", **fields})
        return LogRow(self.experiment.id, kind, f"{self.experiment.id}-{kind}-{number}", date_ms, data)

    def decision(self, date_ms: int) -> tuple[LogRow, int, dict[str, Any]]:
        """The next decision, its number and action."""
        told = {"a": 0.3, "b": 0.7} if self.n % 3 else {"a": 0.5, "b": 0.5}
        action = {"arm": self._rng.choices(list(told), list(told.values()))[0]}
        number, self.n = self.n, self.n + 1
        fields = {"action": action, "propensity": told[action["arm"]], "probabilities": told}
        return self.row("action", number, date_ms, **fields), number, action

    def reward(self, number: int, action: dict[str, Any], date_ms: int) -> LogRow:
        figure = int(self._rng.random() < (0.4 if action["arm"] == "a" else 0.5))
        return self.row("reward", number, date_ms, action=action, reward=figure)

    async def write(self, n: int, from_ms: int, *, every_ms: int = SECOND_MS, open: int = 0) -> list[LogRow]:
        """So many decisions with rewards a minute later; the rewards of the first `open` are given back."""
        decisions, rewards = [], []
        for place in range(n):
            date_ms = from_ms + place * every_ms
            row, number, action = self.decision(date_ms)
            decisions.append(row)
            rewards.append(self.reward(number, action, date_ms + 60_000))
        await self.commit(*decisions)
        await self.commit(*rewards[open:])
        return rewards[:open]

    def expected(self, now_ms: int, asked: Asked) -> Any:
        """What the whole log tells."""
        whole = msgspec.structs.replace(
            with_declared(asked, self.experiment.properties),
            arm_field="arm",
            window_hours=self.experiment.properties["delta_hours"],
            most=10**9,
            now_ms=now_ms,
        )
        return examine(self.rows["action"], self.rows["reward"], whole)


class Counted:
    """The store's logs, with the rows counted that are read."""

    def __init__(self, logs: Any) -> None:
        self._logs = logs
        self.rows = 0

    async def _count(self, found: list[LogRow]) -> list[LogRow]:
        self.rows += len(found)
        return found

    async def read_log(self, *given: Any, **named: Any) -> list[LogRow]:
        return await self._count(await self._logs.read_log(*given, **named))

    async def follow_log(self, *given: Any, **named: Any) -> list[LogRow]:
        return await self._count(await self._logs.follow_log(*given, **named))


@pytest.fixture
def counted(services: Services) -> Iterator[Counted]:
    store: Any = services.store
    found = store.logs = Counted(store.logs)
    yield found
    store.logs = found._logs


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps so small that short logs take several."""
    monkeypatch.setattr(kept_inference, "STEP", 3000 // PART)
    monkeypatch.setattr(kept_inference, "PAGE", kept_inference.PAGE // PART)
    monkeypatch.setattr(kept_inference, "LAST", LAST)


async def make(ann: Caller, services: Services, seed: int, **fields: Any) -> tuple[Log, str]:
    made = await ann.experiment(f"kept {seed}", get_action="self.action['arm'] = 'a'", **GIVEN | fields)
    experiment = await services.store.decisions.get_experiment(made["id"])
    return Log(services, experiment, seed), f"/stats/{made['id']}/inference"


async def look(
    ann: Caller, path: str, log: Log, clock: Clock, asked: Asked | None = None, **query: Any
) -> Any:
    """The answer, which must be that of the whole log."""
    answer = await ann.get(path, **query)
    assert answer.status == 200, answer.body
    expected = msgspec.to_builtins(log.expected(clock(), asked or Asked()))
    close(answer.body, expected)
    return answer.body


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_second_look_reads_what_came_since_however_long_the_log_is(
    ann: Caller, services: Services, clock: Clock, counted: Counted, small: None
) -> None:
    reads = {}
    for size in SIZES:
        log, path = await make(ann, services, size)
        start = dates.now_ms() - 30 * HOUR_MS
        await log.write(size, start, every_ms=24 * HOUR_MS // size)
        found = []
        for more in (0, 0, SOME):
            await log.write(more, clock() - 3 * HOUR_MS)
            before = counted.rows
            await look(ann, path, log, clock)
            found.append(counted.rows - before)
        reads[size] = found
    print(f"rows read by three looks at logs of so many decisions: {reads}")
    for size, (first, second, third) in reads.items():
        assert first >= 2 * size
        # The newest decisions and their rewards are always read, and those of an hour.
        assert second <= 4 * LAST * 2
        assert third <= second + 2 * SOME + 2 * LAST
    few, many = (reads[size][1] for size in SIZES)
    assert abs(many - few) <= 4 * LAST


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_what_is_kept_survives_another_process_and_is_not_used_for_other_questions(
    ann: Caller, services: Services, clock: Clock, counted: Counted, small: None
) -> None:
    log, path = await make(ann, services, 2)
    size = 7_000 // PART
    await log.write(size, dates.now_ms() - 30 * HOUR_MS, every_ms=10 * SECOND_MS)
    await look(ann, path, log, clock)
    # Another process has what is stored, and nothing else.
    services.offline._kept = kept_inference.KeptInference(services.store, services.offline._workers, clock)
    before = counted.rows
    await look(ann, path, log, clock)
    assert counted.rows - before < size * 9 / 7
    for query, asked in (
        ({"alpha": 0.2}, Asked(alpha=0.2)),
        ({"control": "b"}, Asked(control="b")),
        ({"horizon": 77}, Asked(horizon=77)),
        ({"rewards": "gaussian"}, Asked(rewards="gaussian")),
        ({"low": -1, "high": 3}, Asked(bounds=(-1.0, 3.0))),
    ):
        before = counted.rows
        await look(ann, path, log, clock, asked, **query)
        assert counted.rows - before >= 2 * size
    # A declaration that changes what counts begins anew, one that does not goes on.
    for change, anew in (({"delta_hours": 2}, True), ({"name": "other", "state": "paused"}, False)):
        await ann.put(f"/exp/{log.experiment.id}", change)
        log.experiment = await services.store.decisions.get_experiment(log.experiment.id)
        before = counted.rows
        await look(ann, path, log, clock)
        assert (counted.rows - before >= 2 * size) == anew


@pytest.mark.gen_test
async def test_rewards_of_decisions_that_were_counted_throw_away_what_was_kept(
    ann: Caller, services: Services, clock: Clock, counted: Counted, small: None
) -> None:
    log, path = await make(ann, services, 3)
    start = dates.now_ms() - 40 * HOUR_MS
    first, more, late = 9_000 // PART, 3_000 // PART, 5 if LONG else 2
    held = await log.write(first, start, every_ms=10 * SECOND_MS, open=late)
    await look(ann, path, log, clock)
    await log.write(more, clock() - 5 * HOUR_MS)
    await look(ann, path, log, clock)
    # They were written late, as after a time without any server.
    for row in held:
        await log.commit(msgspec.structs.replace(row, date_ms=clock()))
        await look(ann, path, log, clock)
    # Once that is long ago, all is as before.
    clock.ahead_ms += 100 * HOUR_MS
    await look(ann, path, log, clock)
    before = counted.rows
    await look(ann, path, log, clock)
    assert counted.rows - before <= 6 * LAST < 2 * (first + more)


@pytest.mark.gen_test
async def test_an_interrupted_first_look_is_gone_on_from(
    ann: Caller, services: Services, clock: Clock, counted: Counted, small: None
) -> None:
    log, path = await make(ann, services, 4)
    await log.write(15_000 // PART, dates.now_ms() - 50 * HOUR_MS, every_ms=10 * SECOND_MS)
    store: Any = services.store
    kept = store.statistics.put_statistics
    calls = []

    async def put(*given: Any) -> None:
        await kept(*given)
        calls.append(1)
        if len(calls) == 2:
            raise TimeoutError  # as the end of the request's time would

    store.statistics.put_statistics = put
    answer = await ann.get(path)
    assert answer.status == 400
    assert "request_s" in answer.body["error"]["message"]
    before = counted.rows
    await look(ann, path, log, clock)
    assert counted.rows - before < 26_000 // PART


@pytest.mark.gen_test
async def test_other_arms_are_found_though_they_were_not_declared(
    ann: Caller, services: Services, clock: Clock, small: None
) -> None:
    log, path = await make(ann, services, 5, arms=None, control=None)
    await log.write(7_000 // PART, dates.now_ms() - 40 * HOUR_MS, every_ms=10 * SECOND_MS)
    await look(ann, path, log, clock)
    date_ms = clock() - 5 * HOUR_MS
    row, number, _ = log.decision(date_ms)
    told = {"a": 0.2, "b": 0.4, "c": 0.4}
    action = {"arm": "c"}
    row = log.row("action", number, date_ms, action=action, propensity=0.4, probabilities=told)
    await log.commit(row)
    await log.commit(log.reward(number, action, date_ms))
    found = await look(ann, path, log, clock)
    assert [one["arm"] for one in found["segments"][0]["arms"]] == ["a", "b", "c"]


@pytest.mark.gen_test
async def test_logs_with_rows_that_do_not_suit_are_read_whole(
    ann: Caller, services: Services, clock: Clock
) -> None:
    log, path = await make(ann, services, 6)
    await log.write(300, dates.now_ms() - 40 * HOUR_MS)
    data = values.dump({"context": {}, "action": {"arm": "a"}, "reward": 1})
    await log.commit(LogRow(log.experiment.id, "reward", "without advice id", clock(), data))
    answer = await ann.get(path)
    assert answer.status == 200
    assert answer.body["rows"]["decisions"] >= 300
