"""Replications: one seed gives the same numbers here, in a terminal, and on a Dask cluster."""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from streamsim.cli.main import main
from streamsim.config import EvaluationSettings, SandboxSettings
from streamsim.errors import StreamsimError
from streamsim.evaluation.pools import LocalPool, Nest, Pool
from streamsim.evaluation.replicated import replicated
from streamsim.evaluation.requests import Replications
from streamsim.evaluation.simulation import Curve, replication_seed
from streamsim.evaluation.wire import SimulationLoad
from streamsim.evaluation.workers import BatchWorkers
from streamsim.experiments import catalogue
from streamsim.sandbox.host.pool import Limits
from streamsim.storage.contract.decisions import Experiment
from streamsim.storage.sqlite.store import SQLiteStore

ENTRIES = {entry.slug: entry for entry in catalogue.entries()}
REQUEST = Replications(draws=200, replications=4, seed=11, theta="empty", points=10)
# Without libraries that these policies do not use.
BOX = SandboxSettings(preload=())


def experiment(id: str, code: dict[str, str]) -> Experiment:
    return Experiment(
        id=id,
        key=secrets.token_hex(4),
        tenant="ann",
        name=id,
        code=dict.fromkeys(("get_context", "get_action", "get_reward", "set_reward"), "") | code,
        properties={},
        created_ms=1,
        modified_ms=1,
    )


@pytest.fixture
def store(tmp_path: Path, run: Any) -> Iterator[SQLiteStore]:
    """An e-greedy experiment, and one that nests it."""
    store = SQLiteStore(tmp_path / "data" / "streamsim.db")
    (tmp_path / "data").mkdir()
    run(store.open())
    nesting = ENTRIES["nested-policies"]
    run(store.decisions.create_experiment(experiment("greedy", ENTRIES["e-greedy"].code)))
    names = {need.parameter: "greedy" for need in nesting.description.needs}
    run(store.decisions.create_experiment(experiment("nested", nesting.edited(names))))
    yield store
    run(store.close())


async def curves(pool: Pool, store: SQLiteStore, id: str) -> list[Curve]:
    found = await store.decisions.get_experiment(id)
    assert found is not None
    load = SimulationLoad(found.id, found.code, {}, 0, action_field="arm")
    nest = Nest(store, "ann", current=False)
    found_curves = (await replicated(pool, {id: load}, nest, REQUEST, identity="test"))[id]
    for curve in found_curves:
        assert all(math.isfinite(regret) for regret in curve.regret)
    return found_curves


async def local(store: SQLiteStore, workers: int, id: str) -> list[Curve]:
    batch = BatchWorkers(EvaluationSettings(workers=workers), Limits(), box=BOX)
    try:
        return await curves(LocalPool(batch), store, id)
    finally:
        await batch.close()


def test_the_numbers_do_not_depend_on_how_many_work(store: SQLiteStore, run: Any) -> None:
    one, two = run(local(store, 1, "nested")), run(local(store, 2, "nested"))
    assert one == two
    assert len({tuple(curve.reward) for curve in one}) == 4


def test_replications_have_seeds_of_their_own() -> None:
    seeds = {replication_seed(seed, number) for seed in range(50) for number in range(50)}
    assert len(seeds) == 2500
    assert all(0 <= seed < 2**63 for seed in seeds)


@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_gives_the_numbers_of_the_local_pool(store: SQLiteStore, run: Any) -> None:
    from distributed import LocalCluster

    from streamsim.evaluation.dask_pool import DaskPool
    from streamsim.jobs.cluster import Cluster

    async def remote(scheduler: str) -> None:
        joined = Cluster(scheduler)
        with_cluster = DaskPool(joined, EvaluationSettings(), Limits(), box=BOX)
        try:
            for id in ("greedy", "nested"):
                assert await curves(with_cluster, store, id) == await local(store, 2, id)
            failing = SimulationLoad("x", {"get_action": "self.action['arm'] = 1 / 0"}, {}, 1)
            with pytest.raises(StreamsimError, match="ZeroDivisionError") as caught:
                await with_cluster.replicate(failing, Nest(store, "ann", current=False), [1], identity="x")
            assert (caught.value.status, caught.value.code) == (422, "policy_error")
        finally:
            await joined.close()

    with closing(
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, host="127.0.0.1")  # type: ignore[no-untyped-call]
    ) as cluster:
        run(remote(cluster.scheduler_address))


def test_the_terminal_gives_the_same_numbers(
    store: SQLiteStore,
    run: Any,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("STREAMSIM_SANDBOX_PRELOAD", "")  # libraries that these policies do not use
    arguments = ["simulate", "greedy", "--n", "200", "--replications", "4", "--seed", "11", "--json"]
    arguments += ["--action-field", "arm", "--data", str(tmp_path / "data")]
    assert main(arguments) == 0
    printed = capfd.readouterr()
    found = json.loads(printed.out)
    assert "100%" in printed.err
    expected = run(local(store, 2, "greedy"))
    mean = sum(curve.reward[-1] for curve in expected) / 4
    assert found["reward"]["mean"][-1] == pytest.approx(mean)
    assert (found["seed"], found["points"][-1]) == (11, 200)
    assert main([part for part in arguments if part != "--json"]) == 0
    assert "cumulative reward" in capfd.readouterr().out


def test_the_terminal_says_what_is_wrong(
    store: SQLiteStore, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(tmp_path / "data")]
    assert main(["simulate", "unknown", *data]) == 1
    assert "no experiment unknown" in capfd.readouterr().err
    assert main(["simulate", "greedy", "--n", "0", *data]) == 1
    assert "N must be an integer" in capfd.readouterr().err
