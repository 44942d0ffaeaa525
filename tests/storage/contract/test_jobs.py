"""Jobs: every backend keeps their records, and gives each to one owner at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from streamsim.storage.contract.jobs import Job, JobStore

KIND = "simulation"


def job(id: str, tenant: str = "ann", experiment_id: str = "e1", now_ms: int = 1000, kind: str = KIND) -> Job:
    return Job(
        id=id,
        kind=kind,
        tenant=tenant,
        experiment_id=experiment_id,
        total=100,
        created_ms=now_ms,
        modified_ms=now_ms,
        spec=b'{"N": 100}',
    )


@pytest.fixture
def jobs(store: Any) -> JobStore:
    found: JobStore = store.jobs
    return found


def test_a_job_is_kept_as_it_was_made(jobs: JobStore, run: Any) -> None:
    run(jobs.create_job(job("a")))
    assert run(jobs.get_job("a")) == job("a")
    assert run(jobs.get_job("b")) is None


def test_the_oldest_waiting_job_is_claimed_and_only_once(jobs: JobStore, run: Any) -> None:
    for id in ("a", "b"):
        run(jobs.create_job(job(id)))
    claimed = [run(jobs.claim_job(owner, 2000, 3000, kind=KIND)) for owner in ("p", "q", "r")]
    assert [(one.id, one.owner, one.attempts) if one else None for one in claimed] == [
        ("a", "p", 1),
        ("b", "q", 1),
        None,
    ]
    assert (claimed[0].state, claimed[0].lease_ms, claimed[0].spec) == ("running", 3000, b'{"N": 100}')


def test_concurrent_claims_share_out_the_jobs(
    make_store: Callable[[], Any], run: Any, jobs: JobStore
) -> None:
    import asyncio

    other: JobStore = make_store().jobs
    for number in range(10):
        run(jobs.create_job(job(f"j{number}")))

    async def claim() -> list[str]:
        claims = [store.claim_job(f"p{i}", 1, 2**40, kind=KIND) for i in range(8) for store in (jobs, other)]
        return sorted(one.id for one in await asyncio.gather(*claims) if one is not None)

    assert run(claim()) == sorted(f"j{number}" for number in range(10))


def test_a_job_whose_lease_ran_out_goes_to_another_owner_with_its_parts(jobs: JobStore, run: Any) -> None:
    run(jobs.create_job(job("a")))
    run(jobs.claim_job("p", 1000, 2000, kind=KIND))
    run(jobs.put_part("a", 3, b"three"))
    run(jobs.put_part("a", 3, b"again"))
    assert run(jobs.report("a", "p", 40, 1500, 2500))
    assert run(jobs.claim_job("q", 2499, 9000, kind=KIND)) is None
    taken = run(jobs.claim_job("q", 2500, 9000, kind=KIND))
    assert (taken.owner, taken.done, taken.attempts) == ("q", 40, 2)
    assert run(jobs.parts("a")) == {3: b"three"}
    # The old owner can no longer say anything about it.
    assert not run(jobs.report("a", "p", 50, 2600, 9999))
    assert not run(jobs.finish_job("a", "p", "done", 2600, result=b"{}"))
    assert run(jobs.get_job("a")).state == "running"


def test_a_finished_job_has_its_result_and_no_parts_and_stays_finished(jobs: JobStore, run: Any) -> None:
    run(jobs.create_job(job("a")))
    run(jobs.claim_job("p", 1000, 2000, kind=KIND))
    run(jobs.put_part("a", 0, b"part"))
    assert run(jobs.finish_job("a", "p", "done", 1500, result=b'{"x":1}'))
    found = run(jobs.get_job("a"))
    assert (found.state, found.result, found.done, found.error) == ("done", b'{"x":1}', 100, None)
    assert run(jobs.parts("a")) == {}
    assert not run(jobs.finish_job("a", None, "cancelled", 1600))
    assert run(jobs.claim_job("q", 99_999, 100_000, kind=KIND)) is None
    run(jobs.put_part("a", 1, b"late"))
    assert run(jobs.parts("a")) == {}


def test_cancelling_takes_a_running_job_from_its_owner(jobs: JobStore, run: Any) -> None:
    run(jobs.create_job(job("a")))
    run(jobs.claim_job("p", 1000, 2000, kind=KIND))
    run(jobs.report("a", "p", 7, 1100, 2000))
    assert run(jobs.finish_job("a", None, "cancelled", 1200))
    assert not run(jobs.report("a", "p", 8, 1300, 2000))
    assert (run(jobs.get_job("a")).state, run(jobs.get_job("a")).done) == ("cancelled", 7)


def test_a_released_job_waits_again(jobs: JobStore, run: Any) -> None:
    run(jobs.create_job(job("a")))
    run(jobs.claim_job("p", 1000, 9000, kind=KIND))
    assert run(jobs.release_job("a", "p", 1100))
    assert not run(jobs.release_job("a", "p", 1100))
    assert run(jobs.claim_job("q", 1200, 9000, kind=KIND)).owner == "q"


def test_jobs_are_listed_newest_first_by_page_and_only_their_owners(jobs: JobStore, run: Any) -> None:
    for id in ("a", "b", "c"):
        run(jobs.create_job(job(id)))
    run(jobs.create_job(job("x", experiment_id="e2")))
    run(jobs.create_job(job("y", tenant="bob")))
    listed = run(jobs.list_jobs("ann", "e1", limit=2))
    assert [(one.id, one.spec) for one in listed] == [("c", b""), ("b", b"")]
    assert [one.id for one in run(jobs.list_jobs("ann", "e1", limit=2, before="b"))] == ["a"]
    assert run(jobs.count_jobs("ann")) == 4
    run(jobs.finish_job("a", None, "cancelled", 1))
    assert run(jobs.count_jobs("ann")) == 3


def test_only_its_tenant_deletes_a_job(jobs: JobStore, run: Any) -> None:
    run(jobs.create_job(job("a")))
    assert not run(jobs.delete_job("bob", "a"))
    assert run(jobs.delete_job("ann", "a"))
    assert run(jobs.get_job("a")) is None


def test_a_kind_of_jobs_is_claimed_apart_and_all_are_listed_together(jobs: JobStore, run: Any) -> None:
    run(jobs.create_job(job("a")))
    run(jobs.create_job(job("b", experiment_id="", kind="sweep")))
    claimed = run(jobs.claim_job("p", 1000, 2000, kind="sweep"))
    assert (claimed.id, claimed.kind) == ("b", "sweep")
    assert run(jobs.claim_job("p", 1000, 2000, kind="sweep")) is None
    assert run(jobs.claim_job("q", 2000, 3000, kind=KIND)).id == "a"
    assert run(jobs.claim_job("q", 2000, 3000, kind="sweep")).id == "b"
    assert run(jobs.claim_job("q", 3000, 4000, kind="sweep")).id == "b"
    assert run(jobs.claim_job("q", 3000, 4000, kind="sweep")) is None
    assert [(one.id, one.kind) for one in run(jobs.list_jobs("ann", None, limit=9))] == [
        ("b", "sweep"),
        ("a", "simulation"),
    ]
    assert [one.id for one in run(jobs.list_jobs("ann", None, limit=9, before="b"))] == ["a"]
    assert [one.id for one in run(jobs.list_jobs("ann", "", limit=9))] == ["b"]


def test_tenants_have_their_jobs_claimed_in_turn(jobs: JobStore, run: Any) -> None:
    for number in range(4):
        run(jobs.create_job(job(f"a{number}", "ann")))
    run(jobs.create_job(job("b0", "bob")))
    first = [run(jobs.claim_job("p", 1000, 9000, kind=KIND)).id for _ in range(3)]
    assert first == ["a0", "b0", "a1"]
    # Who comes now had no turn yet; and to end or remove a job gains none.
    run(jobs.finish_job("a0", None, "done", 1500))
    run(jobs.delete_job("ann", "a0"))
    run(jobs.create_job(job("b1", "bob")))
    run(jobs.create_job(job("c0", "cem")))
    assert [run(jobs.claim_job("p", 1000, 9000, kind=KIND)).id for _ in range(4)] == ["c0", "b1", "a2", "a3"]
    assert run(jobs.claim_job("p", 1000, 9000, kind=KIND)) is None


def test_tenants_that_have_their_share_are_passed_over(jobs: JobStore, run: Any) -> None:
    run(jobs.create_job(job("a0", "ann")))
    run(jobs.create_job(job("b0", "bob")))
    assert run(jobs.claim_job("p", 1000, 9000, kind=KIND, but=["ann"])).id == "b0"
    assert run(jobs.claim_job("p", 1000, 9000, kind=KIND, but=["ann"])) is None
    assert run(jobs.claim_job("p", 1000, 9000, kind=KIND, but=["bob"])).id == "a0"
