"""Random sequences of commits, edits and archivings: every backend does what the model does."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamsim.storage.contract.decisions import (
    Amendment,
    Committed,
    IdempotencyRecord,
    NewAdvice,
    Redemption,
    Stale,
    ThetaAddress,
    Transaction,
)
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.contract.store import Store
from tests.storage.contract.helpers import HOUR, NOW, experiment
from tests.storage.contract.model import Model

# Experiments are numbered in the plans: 0 and 1 are ann's, 2 is bob's, 3 does not exist.
OWN, OTHERS, UNKNOWN = (0, 1), 2, 3
KINDS = ("action", "reward", "manual", "theta", "simulation")


class Plan(NamedTuple):
    """A transaction without what is known only when it runs."""

    foreign: set[int]
    wrong_revision: bool
    careful: bool  # leaves out redemptions and records that would be refused
    reads: dict[tuple[int, str, str | None, str | None], str]
    deletes: list[tuple[int, str, str | None, str | None]]
    writes: dict[tuple[int, str, str, str], bytes]
    logs: list[tuple[int, str]]
    advices: list[tuple[int, str]]
    redemptions: dict[tuple[int, str], str]
    records: dict[tuple[int, str], int]
    now_ms: int
    drops: list[tuple[int]]
    at_most: dict[int, int]
    amended: dict[tuple[int, str], tuple[str, bytes]]  # what is expected, what is gathered then
    bound: str  # what redemptions expect


def seldom(common: Any, *rare: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from([common] * 19 + list(rare))


names, keys, values = (
    st.sampled_from(["_theta", "n.$"]),
    st.sampled_from(["", "a", "b"]),
    st.sampled_from(["", "x"]),
)
own = st.sampled_from(OWN)
rows = st.tuples(own, names, keys, values)
scopes = st.one_of(rows, st.tuples(own, names, keys, st.none()), st.tuples(own, names, st.none(), st.none()))
ids = st.sampled_from("pqrs")
plans = st.builds(
    Plan,
    foreign=seldom(set(), {OTHERS}, {UNKNOWN}),
    wrong_revision=seldom(False, True),
    careful=st.sampled_from([True, True, False]),
    reads=st.dictionaries(scopes, st.sampled_from(["now"] * 6 + ["zero", "old"]), max_size=3),
    deletes=st.lists(scopes, max_size=2),
    writes=st.dictionaries(
        rows, st.sampled_from([b"{}", b'{"n": 1}', b'{"a.b":"\xf0\x9f\x98\x80"}']), max_size=3
    ),
    logs=st.lists(st.tuples(own, st.text("ab", max_size=4)), max_size=4),
    advices=st.lists(st.tuples(own, ids), max_size=2),
    redemptions=st.dictionaries(st.tuples(own, ids), st.sampled_from(["reward", "timeout"]), max_size=2),
    records=st.dictionaries(
        st.tuples(own, st.sampled_from("pq")), st.sampled_from([HOUR, 2 * HOUR]), max_size=2
    ),
    now_ms=st.sampled_from([0, NOW, NOW + HOUR, NOW + 3 * HOUR]),
    drops=seldom([], *([(number,)] for number in OWN)),
    amended=st.dictionaries(
        st.tuples(own, ids),
        st.tuples(
            st.sampled_from(["now"] * 6 + ["none", "other"]), st.sampled_from([b"", b"1:2,3", b"\0:o"])
        ),
        max_size=2,
    ),
    bound=st.sampled_from(["any", "any", "now", "other"]),
    at_most=st.one_of(st.just({}), st.dictionaries(own, st.integers(0, 8), max_size=2)),
)
edits = st.tuples(st.sampled_from(["edit"] * 9 + ["archive"]), own)
steps = st.lists(st.one_of(*[plans] * 15, edits), min_size=5, max_size=20)
examples = itertools.count()


@given(steps=steps)
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_random_commits_do_what_the_model_does(run: Any, store: Store, steps: list[Any]) -> None:
    prefix = f"example{next(examples)}-"

    async def body() -> None:
        model = Model()
        for number, tenant in ((0, "ann"), (1, "ann"), (2, "bob")):
            one = experiment(f"{prefix}{number}", tenant=tenant)
            await store.decisions.create_experiment(one)
            model.tenants[one.id], model.revisions[one.id] = tenant, 1
        for step in steps:
            if isinstance(step, Plan):
                await play(store, model, transaction(step, prefix, model))
            else:
                number, change = step
                await edit(store, model, number, change, prefix)
        await compare(store, model)

    run(body())


async def play(store: Store, model: Model, transaction: Transaction) -> None:
    expected = model.refusal(transaction)
    for id in transaction.at_most:
        await store.logs.read_log(id, "action", limit=1)  # rows appended twice are counted once from then on
    answer = await store.decisions.commit(transaction)
    if expected is None:
        assert isinstance(answer, Committed), answer
        model.apply(transaction, answer)
    else:
        assert isinstance(answer, Stale), expected
        gone = tuple(sorted(answer.experiments))
        full = tuple(sorted(answer.full))
        expected = msgspec.structs.replace(expected, full=tuple(sorted(expected.full)))
        assert Stale(gone, answer.theta, answer.advices, answer.idempotency, full) == expected


async def edit(store: Store, model: Model, what: str, number: int, prefix: str) -> None:
    id = f"{prefix}{number}"
    live = id not in model.archived
    if what == "archive":
        answer = await store.decisions.archive_experiment("ann", id, NOW)
        model.archived.add(id)
    else:
        answer = await store.decisions.update_experiment(experiment(id, revision=model.revisions[id]))
    assert (answer is not None) == live
    model.revisions[id] += live
    assert answer is None or answer.revision == model.revisions[id]


async def compare(store: Store, model: Model) -> None:
    for id in model.tenants:
        sets = {row.name for row in model.rows if row.experiment_id == id}
        assert await store.decisions.theta_names(id) == sorted(sets)
        for name in ("_theta", "n.$"):
            for key in (None, "", "a", "b"):
                scope = ThetaAddress(id, name, key, None)
                assert await store.decisions.read_theta(scope) == model.read(scope)
        for kind in KINDS:
            found = await store.logs.read_log(id, kind, limit=1000)  # type: ignore[arg-type]
            assert [(r.id, r.date_ms, r.data) for r in found] == [
                (r.id, r.date_ms, r.data) for r in model.log(id, kind)
            ]
        assert await store.decisions.summary(id) == model.summary(id)
        advices, records = await store.decisions.peek(id, "pqrs", "pqrs", NOW)
        assert advices == {one.id: one for (owner, _), one in model.advices.items() if owner == id}
        assert records == {one.key: one for (owner, _), one in model.records.items() if owner == id}


def transaction(plan: Plan, prefix: str, model: Model) -> Transaction:
    def scope(at: tuple[int, str, str | None, str | None]) -> ThetaAddress:
        return ThetaAddress(f"{prefix}{at[0]}", *at[1:])

    def version(at: ThetaAddress, which: str) -> int:
        now = model.read(at).version
        return {"now": now, "zero": 0, "old": max(now - 1, 0)}[which]

    def gathered(number: int, id: str, which: str) -> bytes | None:
        found = model.advices.get((f"{prefix}{number}", id))
        now = found.gathered if found else b""
        return {"now": now, "none": b"", "other": b"else", "any": None}[which]

    redeemed = {at: by for at, by in plan.redemptions.items() if (at[0],) not in plan.drops}
    amended = {at: to for at, to in plan.amended.items() if at not in redeemed and (at[0],) not in plan.drops}
    parts = (
        plan.reads,
        plan.deletes,
        plan.writes,
        plan.logs,
        plan.advices,
        redeemed,
        amended,
        plan.records,
        plan.drops,
        [(number,) for number in plan.at_most],
    )
    used = {at[0] for part in parts for at in part} | plan.foreign
    revisions = {f"{prefix}{n}": model.revisions.get(f"{prefix}{n}", 1) + plan.wrong_revision for n in used}
    data = b'{"id": 1}'
    made = Transaction(
        tenant="ann",
        revisions=revisions,
        reads={scope(at): version(scope(at), which) for at, which in plan.reads.items()},
        deletes=[scope(at) for at in plan.deletes],
        writes={scope(at): data for at, data in plan.writes.items()},
        logs=[log_row(prefix, n, id) for n, id in plan.logs],
        advices=[NewAdvice(f"{prefix}{n}", id, NOW, b"{}", data) for n, id in plan.advices],
        redemptions=[
            Redemption(f"{prefix}{n}", id, by, gathered(n, id, plan.bound))  # type: ignore[arg-type]
            for (n, id), by in redeemed.items()
        ],
        amendments=[
            Amendment(f"{prefix}{n}", id, gathered(n, id, before) or b"", then)
            for (n, id), (before, then) in amended.items()
        ],
        idempotency=[
            IdempotencyRecord(f"{prefix}{n}", id, "f", data, NOW + after)
            for (n, id), after in plan.records.items()
        ],
        now_ms=plan.now_ms,
        drops=[f"{prefix}{n}" for (n,) in plan.drops],
        at_most={f"{prefix}{n}": most for n, most in plan.at_most.items()},
    )
    refusal = model.refusal(made)
    if refusal and plan.careful:
        made.redemptions = [one for one in made.redemptions if one.id not in refusal.advices]
        made.amendments = [one for one in made.amendments if one.id not in refusal.advices]
        made.idempotency = [one for one in made.idempotency if one.key not in refusal.idempotency]
    return made


def log_row(prefix: str, number: int, id: str) -> LogRow:
    """The row of this id: appended again, it is the same one."""
    kind: Any = KINDS[id.count("a")]
    return LogRow(
        f"{prefix}{number}",
        kind,
        f"{prefix}{number}{id}",
        NOW + int(f"0{id}", 16),
        b'{"id": "%s"}' % id.encode(),
    )
