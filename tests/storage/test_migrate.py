"""A migration copies everything, goes on after an interruption, and notices what differs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamsim.storage.contract.accounts import LoginSession, User
from streamsim.storage.contract.deliveries import Delivery
from streamsim.storage.contract.jobs import Job
from streamsim.storage.contract.logs import LogRow
from streamsim.storage.contract.migration import Migratable, Record, ThetaRecord
from streamsim.storage.contract.revisions import Revision
from streamsim.storage.contract.runs import Append, Filter, Model, Run, RunQuery
from streamsim.storage.contract.store import Store
from streamsim.storage.migrate import MigrationFailed, migrate
from streamsim.storage.sqlite.store import SQLiteStore
from tests.servers import MongoServer, RedisCluster, production_store
from tests.storage.contract.helpers import (
    HOUR,
    NOW,
    ODD,
    ODD_NAMES,
    advice,
    committed,
    experiment,
    group,
    log,
    record,
    redeem,
    row,
    transaction,
    whole,
)

Open = Callable[[str], Awaitable[Any]]


@pytest.fixture
def open_store(
    run: Any,
    make_store: Any,
    tmp_path: Path,
    redis_cluster: RedisCluster,
    mongo_server: MongoServer,
    name: str,
) -> Any:
    """Opens a new installation: `sqlite N`, `production` or `cluster`."""
    opened: list[Store] = []

    async def open_one(kind: str) -> Any:
        if kind.startswith("sqlite"):
            store: Any = SQLiteStore(tmp_path / kind / "streamsim.db")
        elif kind == "cluster":
            store = production_store(redis_cluster.url, mongo_server.url, f"{name}c")
        else:
            return await make_store()
        await store.open()
        opened.append(store)
        return store

    yield open_one
    for store in opened:
        run(store.close())


async def fill(store: Any) -> None:
    """One or more of everything, with what is easily lost: odd names, large integers, closed and archived."""
    assert await store.accounts.secret("cookie", b"\x00\xff secret") == b"\x00\xff secret"
    for name in ("ann", "bob", "Ünal"):
        await store.accounts.create_user(
            User(name=name, password_hash=f"hash of {name}", admin=name == "ann", created_ms=5)
        )
    await store.accounts.set_password("bob", "newer")
    await store.accounts.add_session(session("s1", "ann"))
    await store.accounts.add_session(session("t1", "bob", kind="token", label="é", epoch=2))
    for id, tenant in (("e1", "ann"), ("e2", "ann"), ("b1", "bob"), ("gone", "bob")):
        await store.decisions.create_experiment(experiment(id, tenant=tenant))
    renamed = experiment(
        "e2", name="renamed", properties={"hourly_theta": True, "default_reward": {"v": 1.0}}
    )
    await store.decisions.update_experiment(renamed, (), [saved(1), saved(2, note="é\n")])
    rows = {
        row(name, key, value): b'{"n":1}' for name in ODD_NAMES for key in ("", name) for value in ("", name)
    }
    await committed(store, writes={**rows, row(): ODD})
    for n in range(4):
        logs = [
            log(f"{n}-{i}", kind, date_ms=NOW + n) for i, kind in enumerate(("action", "reward", "manual"))
        ]
        await committed(store, logs=[*logs, log(f"{n}-o", "theta", data=ODD)])
    await committed(
        store, advices=[advice("open"), advice("rewarded"), advice("timed out", expires_ms=NOW - HOUR)]
    )
    await committed(store, redemptions=[redeem("rewarded"), redeem("timed out", "timeout")])
    await committed(store, idempotency=[record("k1"), record("k2", "g", NOW - HOUR)])
    await store.deliveries.enqueue("ann", [message("m1"), message("m2", created_ms=NOW + 1)])
    (sent, *_) = await store.deliveries.take_deliveries(NOW, NOW + HOUR, 1)
    await store.deliveries.settle_delivery(sent, "failed", NOW + 2, error="answered 500: é")
    gone = {"writes": {row(experiment_id="gone"): b"{}"}, "advices": [advice("never", "gone", NOW - HOUR)]}
    await committed(store, "gone", tenant="bob", logs=[log("of gone", experiment_id="gone")], **gone)
    await store.decisions.archive_experiment("bob", "gone", NOW + 7)
    await fill_models(store)


def saved(number: int, note: str = "") -> Revision:
    code = {"get_action": f"é = {number}"}
    return Revision(experiment_id="e2", revision=number, date_ms=NOW, user="ann", note=note, code=code)


async def fill_models(store: Any) -> None:
    for name, managers in (("m1", ("x", "y")), ("m2", ()), ("old", ("z",))):
        await store.runs.put_model(model(name, managers), new=True)
    await store.runs.put_model(model("m1", ("x",)), new=False)
    await store.runs.delete_model("ann", "old")
    await store.runs.create_runs([run_of("r1"), run_of("r2"), run_of("r3")])
    entries = [b'{"step":%d}' % n for n in range(450)]
    variables = {"a.$b": b"1.5", "text": b'"\xc3\xa9"', "list": b"[1]"}
    await store.runs.append(Append(run="r1", expected=0, now_ms=NOW, entries=entries, variables=variables))
    await store.runs.append(Append(run="r2", expected=0, now_ms=NOW, entries=entries[:5]))
    await store.runs.append(Append(run="r2", expected=5, now_ms=NOW, entries=[b'"again"'], restart=True))
    for id in ("j1", "j2"):
        await store.jobs.create_job(job(id))
    claimed = await store.jobs.claim_job("me", NOW, NOW + HOUR, kind="sweep")
    await store.jobs.put_part(claimed.id, 3, b"\x00part")
    await store.jobs.finish_job("j2", None, "failed", NOW, error=b'"why"')


def message(id: str, **changes: Any) -> Delivery:
    fields = {"experiment_id": "e1", "id": id, "event": "state", "url": "https://a", "body": ODD}
    return Delivery(**(fields | {"created_ms": NOW, "due_ms": NOW} | changes))


def session(id: str, user: str, **changes: Any) -> LoginSession:
    fields: dict[str, Any] = {"kind": "cookie", "epoch": 1, "created_ms": NOW, "expires_ms": NOW + HOUR}
    return LoginSession(**({"id": id, "user": user} | fields | changes))


def model(name: str, managers: tuple[str, ...]) -> Model:
    dates: dict[str, Any] = {"created_ms": NOW, "modified_ms": NOW + 1}
    files = {"main.py": "é = 1\n", "a/b.txt": ""}
    return Model(
        tenant="ann", name=name, engine="python", main="main.py", files=files, managers=managers, **dates
    )


def run_of(id: str) -> Run:
    dates: dict[str, Any] = {"created_ms": NOW, "modified_ms": NOW, "expires_ms": NOW + HOUR, "idle_ms": HOUR}
    metadata = b'{"scope": {"a.b": 1}, "saved": true}'
    return Run(id=id, tenant="ann", kind="run", models={"m1": 1}, seed=2**62, metadata=metadata, **dates)


def job(id: str) -> Job:
    return Job(id=id, kind="sweep", tenant="ann", total=9, created_ms=NOW, modified_ms=NOW, spec=b'{"s":1}')


async def everything(store: Any) -> list[str]:
    """All records of a store, as text, in an order of their own."""
    records = [one async for one in store.migration.export()]
    for id in await store.migration.experiments():
        records += [one async for one in store.migration.export_experiment(id)]
    return sorted(repr(one) for one in records)


async def look(store: Any) -> tuple[Any, ...]:
    """What users of a store see, without versions and positions, which are a backend's own."""
    theta = {}
    for id in ("e1", "gone"):
        for name in await store.decisions.theta_names(id):
            found = await store.decisions.read_theta(whole(name, id))
            theta[id, name] = {address: data for address, (data, _) in found.rows.items()}
    kinds = ("action", "reward", "manual", "theta", "simulation")
    return (
        [await store.decisions.get_experiment(id) for id in ("e1", "e2", "b1", "gone", "none")],
        [one.id for one in await store.decisions.list_experiments("ann", limit=9)],
        [one.id for one in await store.decisions.list_experiments("bob", limit=9)],
        [one.id for one in await store.decisions.hourly_experiments(limit=9)],
        await store.deliveries.list_deliveries("e1", limit=9),
        theta,
        [
            [(one.id, one.date_ms, one.data) for one in await store.logs.read_log(id, kind, limit=99)]
            for id in ("e1", "gone")
            for kind in kinds
        ],
        [await store.decisions.summary(id) for id in ("e1", "e2", "gone")],
        await store.decisions.peek("e1", ["open", "rewarded", "timed out"], ["k1", "k2"], 0),
        await store.decisions.due_advices(NOW + 2 * HOUR, 9),
        await store.deliveries.list_deliveries("e1", limit=9),
        await store.accounts.list_users(limit=9),
        [
            await store.revisions.get_revision("e2", one.revision)
            for one in await store.revisions.list_revisions("e2")
        ],
        [await store.accounts.get_session(id, NOW) for id in ("s1", "t1")],
        await store.accounts.secret("cookie", b"another"),
        await store.runs.list_models("ann"),
        [await store.runs.get_model("ann", name, version) for name in ("m1", "old") for version in (0, 1, 2)],
        await store.runs.list_runs(run_query()),
        [await store.runs.entries(id, 0) for id in ("r1", "r2", "r3")],
        await store.runs.variables(["r1", "r2"]),
        [await store.jobs.get_job(id) for id in ("j1", "j2")],
        [one.id for one in await store.jobs.list_jobs("ann", "e1", limit=9)],
        await store.jobs.parts("j1"),
    )


def run_query() -> RunQuery:
    return RunQuery(tenant="ann", kind="run", filters=(Filter("variables.a.$b", ">", (1,)),))


def test_there_and_back_gives_the_same_installation(run: Any, open_store: Open) -> None:
    async def body() -> None:
        stores = [await open_store(kind) for kind in ("sqlite 1", "production", "sqlite 2", "cluster")]
        await fill(stores[0])
        before, seen = await everything(stores[0]), await look(stores[0])
        said: list[str] = []
        for source, target in pairwise(stores):
            await source.forget(
                0, 0, 99
            )  # which stores away the theta of archived experiments, where it does
            counts = await migrate(source.migration, target.migration, said.append)
            assert sum(counts.values()) == len(before)
            assert await everything(target) == before
            assert await look(target) == seen
        assert counts["ThetaRecord"] == 4 * len(ODD_NAMES) + 2
        assert counts["LogRow"] == 17
        assert counts["Revision"] == 2
        assert counts["RunRecord"] == 3
        assert said[-1] == f"compared {len(before)} records"

    run(body())


@pytest.mark.parametrize("kind", ["sqlite", "production"])
def test_a_migrated_installation_goes_on(run: Any, open_store: Open, kind: str) -> None:
    async def body() -> None:
        source, target = await open_store("sqlite 1"), await open_store(kind)
        await fill(source)
        await migrate(source.migration, target.migration, lambda _: None)
        version = (await target.decisions.read_theta(row())).version
        stored = await target.decisions.commit(
            transaction(
                reads={row(): version, group(key="new"): 0},
                writes={row(): b'{"n":2}'},
                logs=[log("later"), log("3-0")],
                redemptions=[redeem("open")],
            )
        )
        assert stored.versions["e1"] > version
        assert [one.id for one in await target.logs.read_log("e1", "action", limit=2)] == ["later", "3-0"]
        assert (await target.decisions.summary("e1")).action_calls == 5
        assert await target.decisions.due_advices(NOW + 2 * HOUR, 9) == []
        assert await target.forget(NOW, 0, 99) == 3
        change = Append(run="r1", expected=450, now_ms=NOW, entries=[b"1"])
        assert (await target.runs.append(change)).length == 451
        assert (await target.runs.put_model(model("old", ("z",)), new=True)).version == 2
        await target.decisions.create_experiment(experiment("fresh", tenant="bob", name="name of gone"))

    run(body())


class Interrupted(Exception):
    pass


class Breaking:
    """A target that fails at the n-th call of `restore`, halfway."""

    def __init__(self, target: Migratable, after: int) -> None:
        self._target = target
        self._left = after
        self.experiments, self.export = target.experiments, target.export
        self.export_experiment, self.note = target.export_experiment, target.note

    async def restore(self, records: Sequence[Record]) -> None:
        self._left -= 1
        if self._left < 0:
            await self._target.restore(records[: len(records) // 2])
            raise Interrupted
        await self._target.restore(records)


@pytest.mark.parametrize("kind", ["sqlite", "production"])
def test_an_interrupted_migration_goes_on(
    run: Any, open_store: Open, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamsim.storage.migrate._AT_ONCE_RECORDS", 7)

    async def body() -> None:
        source, target = await open_store("sqlite 1"), await open_store(kind)
        await fill(source)
        said: list[str] = []
        for after in range(0, 60, 3):
            try:
                await migrate(source.migration, Breaking(target.migration, after), said.append)
            except Interrupted:
                continue
            break
        assert sum("going on" in one for one in said) > 2
        assert await everything(target) == await everything(source)
        assert await look(target) == await look(source)
        assert await target.migration.note() == ""

    run(body())


class Forging:
    """A target in which one record is not what it was, or is not there."""

    def __init__(self, target: Migratable, forge: Callable[[Record], Record | None]) -> None:
        self._target = target
        self._forge = forge
        self.experiments, self.export = target.experiments, target.export
        self.export_experiment, self.note = target.export_experiment, target.note

    async def restore(self, records: Sequence[Record]) -> None:
        forged = [self._forge(one) for one in records]
        await self._target.restore([one for one in forged if one is not None])


def other_data(one: Record) -> Record:
    if isinstance(one, ThetaRecord) and one.key == "" and one.name == "_theta":
        return msgspec.structs.replace(one, data=one.data.replace(b"807", b"806"))
    return one


def swapped(one: Record) -> Record:
    if isinstance(one, LogRow) and one.kind == "action" and int(one.position) < 3:
        return msgspec.structs.replace(
            one, id=f"{2 - int(one.position)}-0", date_ms=NOW + 2 - int(one.position)
        )
    return one


FORGERIES: dict[str, tuple[Callable[[Record], Record | None], str]] = {
    "theta": (other_data, "experiment e1: the ThetaRecord"),
    "order of a log": (swapped, "experiment e1: the LogRow"),
    "lost row": (
        lambda one: None if isinstance(one, LogRow) and one.experiment_id == "gone" else one,
        r"experiment gone: the LogRow records differ \(1 in the source, 0 in the target\)",
    ),
    "user": (
        lambda one: msgspec.structs.replace(one, admin=True) if isinstance(one, User) else one,
        "users, models, runs and jobs: the User",
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_copy_that_differs_is_noticed(run: Any, open_store: Open, forgery: str) -> None:
    forge, message = FORGERIES[forgery]

    async def body() -> None:
        source, target = await open_store("sqlite 1"), await open_store("sqlite 2")
        await fill(source)
        with pytest.raises(MigrationFailed, match=message):
            await migrate(source.migration, Forging(target.migration, forge), lambda _: None)

    run(body())


@pytest.mark.parametrize("kind", ["sqlite", "production"])
def test_a_target_in_use_is_refused_and_left_alone(run: Any, open_store: Open, kind: str) -> None:
    async def body() -> None:
        source, target = await open_store("sqlite 1"), await open_store(kind)
        await fill(source)
        await target.accounts.create_user(User(name="admin", password_hash="x", created_ms=1))
        before = await everything(target)
        with pytest.raises(MigrationFailed, match="has a user"):
            await migrate(source.migration, target.migration, lambda _: None)
        await target.accounts.remove_user("admin")
        await target.decisions.create_experiment(experiment("other"))
        with pytest.raises(MigrationFailed, match="has experiments"):
            await migrate(source.migration, target.migration, lambda _: None)
        assert len(before) == 1
        assert await target.migration.experiments() == ["other"]

    run(body())


def test_an_empty_installation_can_be_copied(run: Any, open_store: Open) -> None:
    async def body() -> None:
        source, target = await open_store("production"), await open_store("sqlite 1")
        assert await migrate(source.migration, target.migration, lambda _: None) == {}

    run(body())
