"""Sweeps on a Dask cluster have the numbers of the local pool, and are sandboxed there too."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from streamsim.config import ModelSettings
from streamsim.errors import StreamsimError
from streamsim.models.runners import Runners
from streamsim.models.sweep_pools import LocalSweeps, SweepPool
from streamsim.models.workers import ModelWorkers
from streamsim.storage.contract.runs import Model
from tests.models.conftest import MANAGER, example

FILE = "customer_acquisition.py"
ENTRY = {
    "op": "sweep",
    "begin": {"scenarios": [(MANAGER, "base", {"equations": ["customers"]})], "seed": 3},
    "names": ["contact_rate"],
    "rows": [[1.0], [10.0], [20.0]],
}
SPY = """
import os

def bptk_factory():
    raise RuntimeError(f"uid {os.getuid()}, folder {os.listdir('/root')}")
"""


def model(files: dict[str, str]) -> Model:
    return Model(
        tenant="ann",
        name="customers",
        version=1,
        engine="bptk",
        main=FILE,
        files=files,
        created_ms=0,
        modified_ms=0,
    )


async def computed(pool: SweepPool) -> bytes:
    return bytes(await pool.run(model(example(FILE)), ENTRY, 3))


@pytest.mark.filterwarnings("ignore")
def test_a_dask_cluster_sweeps_with_the_numbers_of_the_local_pool(run: Any) -> None:
    from distributed import LocalCluster

    from streamsim.jobs.cluster import Cluster
    from streamsim.models.dask_sweeps import DaskSweeps

    async def local() -> bytes:
        workers = ModelWorkers(ModelSettings())
        runners = Runners(workers, 1)
        try:
            return await computed(LocalSweeps(runners))
        finally:
            runners.close()
            await workers.close()

    async def remote(scheduler: str) -> bytes:
        cluster = Cluster(scheduler)
        pool = DaskSweeps(cluster, ModelSettings())
        try:
            answer = await computed(pool)
            # What the model's code is refused here it is refused there.
            with pytest.raises(StreamsimError, match=r"PermissionError|FileNotFoundError") as caught:
                await pool.run(model({FILE: SPY}), ENTRY, 3)
            assert (caught.value.status, caught.value.detail["file"]) == (422, FILE)
            return answer
        finally:
            await cluster.close()

    with closing(
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None, host="127.0.0.1")  # type: ignore[no-untyped-call]
    ) as cluster:
        assert run(remote(cluster.scheduler_address)) == run(local())
