"""Comparisons as jobs: the numbers of a comparison at once, with progress, also after an interruption."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from streamsim.errors import TooLarge
from streamsim.evaluation.comparison_jobs import Comparisons
from streamsim.jobs.jobs import JobDesk
from streamsim.services import Services
from streamsim.storage.contract.jobs import Job
from tests.application import Caller, Clock
from tests.handlers.test_compare import request, three
from tests.handlers.test_simulations import until, working


@pytest.mark.gen_test
async def test_a_job_has_the_numbers_of_a_comparison_at_once(
    ann: Caller, services: Services, clock: Clock
) -> None:
    ids = await three(ann)
    body = request(ids, N=100, replications=4)
    made = await ann.post("/eval/comparisons", body)
    assert made.status == 202, made.body
    job = made.body
    assert made.headers["location"] == f"/jobs/{job['id']}"
    assert (job["kind"], job["state"], job["progress"]) == (
        "comparison",
        "waiting",
        {"done": 0, "total": 1200},
    )
    assert job["experiments"] == list(ids.values())
    assert job["environment"] == ids["uniform"]
    assert (job["N"], job["replications"], job["seed"], job["theta"]) == (100, 4, 4, "empty")
    async with working(services, clock):
        ended = await until(ann, f"/jobs/{job['id']}", "done", "failed")
    assert ended["progress"] == {"done": 1200, "total": 1200}
    assert ended["result"] == (await ann.post("/eval/compare", body)).body
    found = f"/eval/comparisons/{job['id']}"
    assert (await ann.get(found)).body == ended["result"]
    at_once = await ann.post("/eval/compare?format=csv", body)
    shown = await ann.get(found, format="csv")
    assert shown.status == 200
    assert shown.headers["content-type"] == at_once.headers["content-type"]
    assert shown.body.startswith("policy,")
    assert shown.body == at_once.body
    # As of a comparison at once: see test_compare.
    for form, kind, begins in (("svg", "image/svg+xml", "<?xml"), ("png", "image/png", "\x89PNG")):
        shown = await ann.get(found, format=form)
        assert (shown.status, shown.headers["content-type"]) == (200, kind)
        text = shown.body if isinstance(shown.body, str) else shown.body.decode("latin1")
        assert text.startswith(begins)


@pytest.mark.gen_test
async def test_what_is_not_found_out_yet_or_is_no_comparison_is_refused(
    ann: Caller, bob: Caller, services: Services, clock: Clock
) -> None:
    ids = await three(ann)
    made = (await ann.post("/eval/comparisons", request(ids, N=5, replications=1))).body
    assert (await ann.get(f"/eval/comparisons/{made['id']}")).status == 409
    assert (await bob.get(f"/eval/comparisons/{made['id']}")).status == 404
    assert (await ann.get(f"/eval/comparisons/{made['id']}", format="pdf")).status == 400
    other = (await ann.post(f"/eval/{ids['uniform']}/simulations", {"N": 5})).body
    refused = await ann.get(f"/eval/comparisons/{other['id']}")
    assert refused.status == 404
    assert "no comparison" in refused.body["error"]["message"]


@pytest.mark.gen_test
async def test_what_is_stored_of_an_interrupted_job_is_not_done_again(
    ann: Caller, services: Services, clock: Clock
) -> None:
    ids = await three(ann)
    body = request(ids, N=50, replications=3)
    made = (await ann.post("/eval/comparisons", body)).body
    stored = await services.store.jobs.get_job(made["id"])
    assert isinstance(stored, Job)
    kind = services.jobs.kinds["comparison"]
    assert isinstance(kind, Comparisons)

    class Kept(JobDesk):
        """Remembers what is stored."""

        async def keep(self, number: int, data: bytes) -> None:
            kept[number] = data

    kept: dict[int, bytes] = {}
    whole = Kept()
    result = await kind.work(stored, whole)
    assert sorted(kept) == list(range(9))
    parts = {number: kept[number] for number in (0, 4, 8)}
    kept.clear()
    rest = Kept(parts=parts)
    assert await kind.work(stored, rest) == result
    assert sorted(kept) == [1, 2, 3, 5, 6, 7]
    assert (whole.done, rest.done) == (450, 450)


@pytest.mark.gen_test
async def test_a_job_keeps_the_code_of_the_moment_it_was_made(
    ann: Caller, services: Services, clock: Clock
) -> None:
    ids = await three(ann)
    body = request(ids, N=20, replications=2)
    before = (await ann.post("/eval/compare", body)).body
    made = (await ann.post("/eval/comparisons", body)).body
    changed = {"get_action": "self.action['arm'] = 'c'"}
    assert (await ann.put(f"/exp/{ids['always a']}", changed)).status == 200
    async with working(services, clock):
        ended = await until(ann, f"/jobs/{made['id']}", "done", "failed")
    assert ended["result"] == before


@pytest.mark.gen_test
async def test_a_policy_that_fails_is_named(ann: Caller, services: Services, clock: Clock) -> None:
    ids = await three(ann)
    broken = (await ann.experiment("broken", get_action="1 / 0"))["id"]
    made = await ann.post("/eval/comparisons", request({**ids, "broken": broken}, N=5, replications=1))
    async with working(services, clock):
        ended = await until(ann, f"/jobs/{made.body['id']}", "done", "failed")
    assert ended["state"] == "failed"
    assert "experiment broken in the environment of uniform" in ended["error"]["message"]


@pytest.mark.gen_test
async def test_a_job_may_have_more_draws_than_a_request_and_not_any_number(
    ann: Caller, services: Services
) -> None:
    limits = services.evaluations.settings
    services.evaluations.settings = replace(limits, compare_draws=100, job_draws=1000)
    ids = await three(ann)
    assert (await ann.post("/eval/compare", request(ids, N=50, replications=2))).status == 400
    assert (await ann.post("/eval/comparisons", request(ids, N=50, replications=2))).status == 202
    refused = await ann.post("/eval/comparisons", request(ids, N=500, replications=2))
    assert refused.status == 400
    assert "evaluation.job_draws" in refused.body["error"]["message"]


@pytest.mark.gen_test
async def test_what_no_record_of_the_store_takes_makes_no_job(ann: Caller, services: Services) -> None:
    with pytest.raises(TooLarge, match="at most 12000000 are stored"):
        await services.jobs.create("ann", "comparison", {"theta": "x" * 12_000_000}, 1)
    assert await services.store.jobs.count_jobs("ann") == 0


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"experiments": []}, "experiments"), ({"N": 0}, "N"), ({"unknown": 1}, "unknown")],
)
@pytest.mark.gen_test
async def test_bad_fields_are_named(ann: Caller, fields: dict[str, Any], field: str) -> None:
    refused = await ann.post("/eval/comparisons", request(await three(ann), **fields))
    assert refused.status == 400
    assert refused.body["error"]["field"] == field


@pytest.mark.gen_test
async def test_an_experiment_of_somebody_else_is_not_compared(ann: Caller, bob: Caller) -> None:
    ids = await three(ann)
    assert (await bob.post("/eval/comparisons", request(ids))).status == 401
    assert (await bob.get("/jobs")).body == []
