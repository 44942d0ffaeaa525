"""Logs sent alone: packed or plain, by other names, in the background; and what they may not be."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import Any

import numpy as np
import pytest

from handlers.uploads import AT_ONCE, UploadHandler
from streamsim.services import Services
from streamsim.storage.contract.jobs import Job
from tests.application import Caller
from tests.support import Answer

FAIR = "self.action['arm'] = random.choice('ab'); self.action_probabilities = {'a': 0.3, 'b': 0.7}"
CSV, LINES, GZIP = "text/csv", "application/x-ndjson", "application/gzip"


def rows(n: int, seed: int = 1) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    return [
        {
            "item": "ab"[rng.integers(2)],
            "click": int(rng.random() < 0.4),
            "p": 0.5,
            "age": int(rng.integers(90)),
        }
        for _ in range(n)
    ]


def table(n: int) -> bytes:
    found = rows(n)
    lines = [",".join(found[0]), *(",".join(map(str, row.values())) for row in found)]
    return ("\n".join(lines) + "\n").encode()


async def sent(
    ann: Caller, id: str, log: bytes, type: str, query: str = "", coding: str | None = None
) -> Answer:
    named = "action_field=item&reward_field=click&propensity_field=p&context_fields=age&estimators=ips,dr"
    headers = {"Content-Type": type} | ({} if coding is None else {"Content-Encoding": coding})
    path = f"/eval/{id}/offpolicy?candidate={id}&{named}{query}"
    return await ann.request("POST", path, body=log, headers=headers)


@pytest.mark.gen_test
async def test_one_log_in_every_form_has_one_answer(ann: Caller) -> None:
    id = (await ann.experiment(get_action=FAIR))["id"]
    plain = await sent(ann, id, table(300), CSV)
    assert plain.status == 200, plain.body
    assert plain.body["log"]["rows"] == 300
    assert plain.body["reward_model"] == ["1", "age"]
    lines = "".join(json.dumps(row) + "\n" for row in rows(300)).encode()
    members = gzip.compress(table(300)[:700]) + gzip.compress(table(300)[700:])
    for log, type, query, coding in (
        (lines, LINES, "", None),
        (gzip.compress(table(300)), CSV, "", "gzip"),
        (gzip.compress(table(300)), CSV, "", None),  # a .gz file sent as what it holds
        (gzip.compress(lines), GZIP, "&format=jsonl", None),
        (members, GZIP, "&format=csv", None),
    ):
        assert (await sent(ann, id, log, type, query, coding)).body == plain.body


@pytest.mark.parametrize(
    "settings", [{"server.max_body_bytes": 2048, "evaluation.log_bytes": 100_000}], indirect=True
)
@pytest.mark.gen_test
async def test_a_log_is_bounded_packed_and_unpacked_and_other_bodies_as_ever(ann: Caller) -> None:
    id = (await ann.experiment(get_action=FAIR))["id"]
    assert (await sent(ann, id, table(1000), CSV)).body["log"][
        "rows"
    ] == 1000  # over the limit of other bodies
    bomb = gzip.compress(b"a" * 50_000_000)
    assert len(bomb) < 100_000
    for log in (b"a" * 100_001, bomb):
        refused = await sent(ann, id, log, CSV)
        assert (refused.status, refused.body["error"]["field"]) == (413, "log")
        assert "evaluation.log_bytes" in refused.body["error"]["message"]
    for body in (b" " * 3000, gzip.compress(b" " * 3000)):
        coding = {"Content-Encoding": "gzip"} if body.startswith(b"\x1f") else {}
        refused = await ann.request("POST", f"/eval/{id}/offpolicy", body=body, headers=coding)
        assert (refused.status, refused.body["error"]["code"]) == (413, "too_large")


@pytest.mark.parametrize(
    ("log", "type", "coding", "field", "said"),
    [
        (gzip.compress(table(50))[:-9], CSV, "gzip", "log", "ends early"),
        (b"\x1f\x8bnothing of the kind", CSV, None, "log", "gzip"),
        (gzip.compress(table(50)), GZIP, None, "format", "format"),
        (table(50), CSV, "br", "Content-Encoding", "gzip"),
        (b"", CSV, None, "propensity_field", "no column 'p'"),
        (b'{"item": "a", "click": 1, "age": 3}\n', LINES, None, "propensity_field", "no column 'p'"),
        (b'{"item": "a", "click": 1, "p": 0.5}\n', LINES, None, "context_fields", "no column 'age'"),
        (b'{"click": 1, "p": 0.5, "age": 3}\n', LINES, None, "action", "is missing"),
    ],
)
@pytest.mark.gen_test
async def test_what_is_wrong_with_a_log_is_said(
    ann: Caller, log: bytes, type: str, coding: str | None, field: str, said: str
) -> None:
    id = (await ann.experiment(get_action=FAIR))["id"]
    refused = await sent(ann, id, log, type, "", coding)
    assert refused.status == 400
    assert refused.body["error"]["field"] == field
    assert said in refused.body["error"]["message"]


@pytest.mark.gen_test
async def test_who_is_not_logged_in_sends_no_log(ann: Caller, nobody: Caller) -> None:
    id = (await ann.experiment(get_action=FAIR))["id"]
    assert (await sent(nobody, id, table(5000), CSV)).status == 401


@pytest.mark.gen_test
async def test_senders_that_leave_in_the_middle_make_room_for_others(ann: Caller) -> None:
    id = (await ann.experiment(get_action=FAIR))["id"]
    host, port = ann.url.removeprefix("http://").split(":")
    cookie = "; ".join(f"{name}={value}" for name, value in ann.cookies.items())
    head = (
        f"POST /eval/{id}/offpolicy?candidate={id} HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\n"
        "Content-Type: text/csv\r\nContent-Length: 1000000\r\n\r\naction,reward\n"
    )
    writers: list[asyncio.StreamWriter] = []
    while (await sent(ann, id, table(30), CSV)).status == 200:
        assert len(writers) <= AT_ONCE
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode())
        await writer.drain()
        writers.append(writer)
    assert (await sent(ann, id, table(30), CSV)).status == 429
    for writer in writers:
        writer.close()
        await writer.wait_closed()
    while (await sent(ann, id, table(30), CSV)).status != 200:
        pass  # until the server has seen them leave
    assert UploadHandler._under_way == 0


@pytest.mark.gen_test
async def test_an_evaluation_as_a_job_has_the_answer_of_a_request_and_tells_how_far_it_is(
    ann: Caller, services: Services
) -> None:
    services.jobs.start(0.05)
    id = (await ann.experiment(get_action=FAIR))["id"]
    expected = await sent(ann, id, table(400), CSV)
    made = await sent(ann, id, gzip.compress(table(400)), CSV, "&background=true")
    assert made.status == 202, made.body
    assert made.headers["location"] == f"/jobs/{made.body['id']}"
    assert (made.body["kind"], made.body["experiment"]) == ("offpolicy", id)
    assert made.body["progress"] == {"done": 0, "total": 401}
    done = await finished(ann, made.body["id"])
    assert done["state"] == "done", done
    assert done["result"] == expected.body
    assert done["progress"] == {"done": 401, "total": 401}
    listed = await ann.get(f"/eval/{id}/simulations")
    assert listed.body == []
    failing = await sent(ann, id, table(400) + b"z\n", CSV, "&background=true")
    error = (await finished(ann, failing.body["id"]))["error"]
    assert error["message"].startswith("line 402, row")


@pytest.mark.gen_test
async def test_a_job_whose_log_did_not_arrive_whole_fails_and_says_so(
    ann: Caller, services: Services
) -> None:
    id = (await ann.experiment(get_action=FAIR))["id"]
    made = await sent(ann, id, table(400), CSV, "&background=true")
    stored = await services.store.jobs.get_job(made.body["id"])
    assert stored is not None
    # As a process that ends between two parts leaves it.
    torn = Job(**{**{f: getattr(stored, f) for f in stored.__struct_fields__}, "id": "0" * 32})
    await services.store.jobs.create_job(torn)
    services.jobs.start(0.05)
    assert (await finished(ann, "0" * 32))["error"][
        "message"
    ] == "the log did not arrive whole; send it again"


async def finished(ann: Caller, job: str) -> Any:
    """The job, once its events have ended."""
    await ann.get(f"/jobs/{job}/events")
    return (await ann.get(f"/jobs/{job}")).body
