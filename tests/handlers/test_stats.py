"""The stats API: theta, the four logs with paging, and the summary."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from streamsim.dates import HOUR_MS
from streamsim.evaluation.uploads import parse_csv
from streamsim.services import Services
from streamsim.storage.contract.decisions import Committed, Transaction
from streamsim.storage.contract.logs import LogKind, LogRow
from tests.application import Caller

DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
CODE = {
    "get_action": "self.action['arm'] = self.context.get('n', 0) % 2",
    "set_reward": """
self.set_theta({"n": self.get_theta(key="arm", value="a").get("n", 0) + 1}, key="arm", value="a")
self.log_data({"reward": self.reward, "date": "noon"} if self.reward == 3 else {"reward": self.reward})
""",
}
LOGS = ("hourlytheta", "log", "actionlog", "rewardlog")


async def used(client: Caller, calls: int = 3) -> dict[str, Any]:
    """An experiment with so many decisions and rewards, numbered from 1."""
    experiment = await client.experiment(**CODE)
    for n in range(1, calls + 1):
        decided = await client.get(f"/getaction/{experiment['id']}", key=experiment["key"], context={"n": n})
        query = {"context": {"n": n}, "action": decided.body["action"], "reward": n}
        answer = await client.get(f"/setreward/{experiment['id']}", key=experiment["key"], **query)
        assert (decided.status, answer.status) == (200, 200)
    return experiment


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_current_theta_is_a_dict_by_key_and_value(ann: Caller) -> None:
    experiment = await used(ann)
    answer = await ann.get(f"/Stats/{experiment['id']}/CurrentTheta")
    assert (answer.status, answer.body) == (200, {"arm:a": {"n": 3}})


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_current_theta_forms(ann: Caller) -> None:
    experiment = await ann.experiment(
        set_reward="for args in self.context['sets']: self.set_theta({'x': args[0]}, *args[1:])"
    )
    path, key = experiment["id"], experiment["key"]

    async def after(*sets: list[Any]) -> Any:
        await ann.get(f"/exp/{path}/resetexperiment", key=key)
        await ann.get(f"/setreward/{path}", key=key, context={"sets": sets}, reward=1)
        return (await ann.get(f"/stats/{path}/currenttheta")).body

    assert await after() == {}
    assert await after([1]) == {"x": 1}
    assert await after([1], [2, "k", "v"]) == {"": {"x": 1}, "k:v": {"x": 2}}
    assert await after([1, "k"], [2, "k", "v"]) == {"k": {"x": 1}, "k:v": {"x": 2}}
    assert await after([1, "k", "v"], [2, "k", "v", "other"]) == {"k:v": {"x": 1}}
    assert (await ann.get(f"/stats/{path}/currenttheta", name="other")).body == {"k:v": {"x": 2}}


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_action_log_has_context_action_and_date_newest_first(ann: Caller) -> None:
    experiment = await used(ann)
    rows = (await ann.get(f"/stats/{experiment['id']}/actionlog")).body
    assert [row["context"] for row in rows] == [{"n": 3}, {"n": 2}, {"n": 1}]
    assert [row["action"] for row in rows] == [{"arm": 1}, {"arm": 0}, {"arm": 1}]
    dates = [row["date"] for row in rows]
    assert all(DATE.fullmatch(date) for date in dates)
    assert dates == sorted(dates, reverse=True)
    assert {row["exp_id"] for row in rows} == {experiment["id"]}
    assert len({row["id"] for row in rows}) == 3


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_reward_log_has_context_action_reward_and_date(ann: Caller) -> None:
    experiment = await used(ann)
    rows = (await ann.get(f"/stats/{experiment['id']}/rewardlog")).body
    assert [(row["context"], row["action"], row["reward"]) for row in rows] == [
        ({"n": 3}, {"arm": 1}, 3),
        ({"n": 2}, {"arm": 0}, 2),
        ({"n": 1}, {"arm": 1}, 1),
    ]
    assert all(DATE.fullmatch(row["date"]) for row in rows)


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_manual_log_keeps_what_the_code_logged(ann: Caller) -> None:
    experiment = await used(ann)
    rows = (await ann.get(f"/stats/{experiment['id']}/log")).body
    assert [row["reward"] for row in rows] == [3, 2, 1]
    assert rows[0]["date"] == "noon"  # the code's own field
    assert DATE.fullmatch(rows[1]["date"])
    assert {row["exp_id"] for row in rows} == {experiment["id"]}


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize("log", ["actionlog", "rewardlog", "log"])
async def test_pages_of_a_log_hold_every_row_once(ann: Caller, log: str) -> None:
    experiment = await used(ann, 7)
    whole = (await ann.get(f"/stats/{experiment['id']}/{log}")).body
    assert len(whole) == 7
    for limit in (1, 3, 7, 8):
        paged: list[Any] = []
        path = f"/stats/{experiment['id']}/{log}?limit={limit}"
        while path:
            answer = await ann.get(path)
            assert len(answer.body) <= limit
            paged += answer.body
            link = re.fullmatch(r'<(/stats/\S+)>; rel="next"', answer.headers.get("link", ""))
            path = link[1] if link else ""
        assert paged == whole


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_page_does_not_move_when_rows_are_added(ann: Caller) -> None:
    experiment = await used(ann, 4)
    path = f"/stats/{experiment['id']}/actionlog"
    first = await ann.get(path, limit=2)
    link = first.headers["link"].partition(">")[0].lstrip("<")
    await ann.get(f"/getaction/{experiment['id']}", key=experiment["key"], context={"n": 5})
    second = await ann.get(link)
    assert [row["context"]["n"] for row in first.body + second.body] == [4, 3, 2, 1]


@pytest.mark.gen_test
@pytest.mark.parametrize("log", LOGS)
@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": "-5"}, "limit"),
        ({"format": "xml"}, "format"),
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-13-01"}, "to"),
        ({"from": "2026-01-02", "to": "2026-01-02"}, "from"),
        ({"limit": "10001"}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"before": "not a position"}, "before"),
        ({"before": "' OR 1"}, "before"),
    ],
)
async def test_bad_paging_is_refused(ann: Caller, log: str, query: dict[str, str], field: str) -> None:
    experiment = await ann.experiment()
    answer = await ann.get(f"/stats/{experiment['id']}/{log}", **query)
    assert (answer.status, answer.body["error"]["field"]) == (400, field)


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_large_log_comes_in_pages_of_bounded_size(ann: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamsim.experiments.logs._PAGE_BYTES", 40_000)
    experiment = await ann.experiment(get_action="self.action['text'] = 'x' * 5000")
    for _ in range(30):
        await ann.get(f"/getaction/{experiment['id']}", key=experiment["key"])
    path, sizes = f"/stats/{experiment['id']}/actionlog?limit=1000", []
    while path:
        answer = await ann.get(path)
        sizes.append(len(answer.body))
        path = answer.headers.get("link", "").partition(">")[0].lstrip("<")
    assert sum(sizes) == 30
    assert max(sizes) <= 21


async def fill(services: Services, experiment_id: str, dates_ms: Sequence[int], kind: LogKind) -> None:
    """Rows of these dates, numbered from 0, committed in this order."""
    store = services.store.decisions
    for first in range(0, len(dates_ms), 5_000):
        rows = [
            LogRow(experiment_id, kind, f"{kind}-{n}", date_ms, b'{"n":%d}' % n)
            for n, date_ms in enumerate(dates_ms[first : first + 5_000], first)
        ]
        assert isinstance(await store.commit(Transaction("ann", {experiment_id: 1}, logs=rows)), Committed)


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize("limit", [None, 0])
async def test_a_log_without_limit_is_whole(ann: Caller, services: Services, limit: int | None) -> None:
    experiment = await ann.experiment()
    await fill(services, experiment["id"], range(1_100), "manual")
    query = {} if limit is None else {"limit": limit}
    answer = await ann.get(f"/stats/{experiment['id']}/log", **query)
    assert [row["n"] for row in answer.body] == list(reversed(range(1_100)))
    assert "link" not in answer.headers


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize("log", ["actionlog", "rewardlog", "log"])
async def test_a_log_comes_as_json_lines(ann: Caller, log: str) -> None:
    path = f"/stats/{(await used(ann, 4))['id']}/{log}"
    rows, form = (await ann.get(path)).body, "application/x-ndjson"
    for since in (rows[-1]["date"], rows[2]["date"]):
        answer = await ann.request("GET", path, headers={"Accept": form}, query={"from": since})
        assert answer.headers["content-type"] == f"{form}; charset=utf-8"
        told = [json.loads(line) for line in answer.body.splitlines()]
        assert told == [row for row in rows if row["date"] >= since]
    assert (await ann.get(path, format="jsonl", limit=1)).body == rows[0]


@pytest.mark.every_backend
@pytest.mark.gen_test
@pytest.mark.parametrize("ask", ["format", "accept"])
async def test_a_log_comes_as_comma_separated_values(ann: Caller, ask: str) -> None:
    experiment = await used(ann, 4)
    path = f"/stats/{experiment['id']}"

    async def table(log: str, **query: object) -> list[dict[str, str]]:
        headers = {"Accept": "text/csv;q=0.9, */*;q=0.1"} if ask == "accept" else {}
        if ask == "format":
            query["format"] = "csv"
        answer = await ann.request("GET", f"{path}/{log}", query=query, headers=headers)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        return list(csv.DictReader(io.StringIO(answer.body)))

    rows = (await ann.get(f"{path}/rewardlog")).body
    told = await table("rewardlog")
    assert [row["date"] for row in told] == [row["date"] for row in rows]
    for name in ("context", "action", "reward"):
        assert [json.loads(row[name]) for row in told] == [row[name] for row in rows]
    assert [row["advice_id"] for row in told] == [""] * 4
    assert await table("rewardlog", limit=3) == told[:3]
    manual = await table("log")
    assert [json.loads(row["data"]) for row in manual][:2] == [{"reward": 4}, {"reward": 3, "date": "noon"}]
    assert DATE.fullmatch(manual[1]["date"])
    assert await table("errorlog") == []


@pytest.mark.gen_test
async def test_what_a_cell_holds_reads_back_as_the_same_value(ann: Caller) -> None:
    odd = {"text": 'a,b\n"c"', "number": "1", "true": True, "none": None, "list": [1, "é"]}
    experiment = await ann.experiment(get_action=f"self.action = {odd!r}", log_propensity=False)
    await ann.get(f"/getaction/{experiment['id']}", key=experiment["key"])
    answer = await ann.get(f"/stats/{experiment['id']}/actionlog", format="csv")
    (row,) = csv.DictReader(io.StringIO(answer.body))
    assert json.loads(row["action"]) == odd


@pytest.mark.gen_test
async def test_a_downloaded_reward_log_uploads_with_the_same_arms_and_rewards(ann: Caller) -> None:
    experiment = await used(ann, 40)
    path = experiment["id"]
    answer = await ann.get(f"/stats/{path}/rewardlog", format="csv")
    loaded, given = parse_csv(answer.body), (await ann.get(f"/stats/{path}/rewardlog")).body
    assert loaded.actions == [str(row["action"]["arm"]) for row in given]
    assert list(loaded.rewards) == [row["reward"] for row in given]
    assert loaded.contexts == [row["context"] for row in given]


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_a_log_between_two_dates(ann: Caller, services: Services) -> None:
    experiment = await ann.experiment()
    start = 1_767_225_600_000  # 2026-01-01T00:00:00Z
    hours = [*range(1_000), 500, 999]  # the last two came late, by more than an hour the first of them
    await fill(services, experiment["id"], [start + hour * HOUR_MS for hour in hours], "manual")
    path = f"/stats/{experiment['id']}/log"

    async def numbers(**query: object) -> list[int]:
        return [row["n"] for row in (await ann.get(path, **query)).body]

    day = list(range(24, 48))[::-1]
    assert await numbers(**{"from": "2026-01-02", "to": "2026-01-03"}) == day
    assert await numbers(**{"from": "2026-01-02T01:00+01:00", "to": "2026-01-03T00:00:00.000Z"}) == day
    assert await numbers(**{"to": "2026-01-01T02:00"}) == [1, 0]
    assert await numbers(**{"from": "2026-02-11T14:00"}) == [1001, 999, 998]
    paged, where = [], f"{path}?limit=10&from=2026-01-02&to=2026-01-03"
    while where:
        answer = await ann.get(where)
        paged += [row["n"] for row in answer.body]
        where = answer.headers.get("link", "").partition(">")[0].lstrip("<")
    assert paged == day


@pytest.mark.gen_test
async def test_an_answer_that_fails_in_its_middle_is_cut_off_and_never_looks_whole(
    ann: Caller, services: Services, http_port: int
) -> None:
    experiment = await ann.experiment()
    await fill(services, experiment["id"], range(60_000), "manual")
    reader, writer = await asyncio.open_connection("127.0.0.1", http_port)
    cookie = "; ".join(f"{name}={value}" for name, value in ann.cookies.items())
    head = f"GET /stats/{experiment['id']}/log?format=csv HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n"
    writer.write(head.encode())
    received = await reader.readuntil(b"\r\n\r\n")
    assert b"200 OK" in received
    await services.store.close()
    try:
        received += await reader.read()
    except ConnectionResetError:
        pass
    finally:
        writer.close()
        await services.store.open()
    assert not received.endswith(b"0\r\n\r\n")


@pytest.mark.every_backend
@pytest.mark.gen_test
async def test_summary_counts_calls_and_dates_the_last(ann: Caller) -> None:
    experiment = await ann.experiment(**CODE)
    path = f"/stats/{experiment['id']}/summary"
    assert (await ann.get(path)).body == {
        "get_action_calls": 0,
        "last_added_get_action": None,
        "set_reward_calls": 0,
        "last_added_set_reward": None,
    }
    key = experiment["key"]
    for n in range(4):
        await ann.get(f"/getaction/{experiment['id']}", key=key)
        if n < 3:
            await ann.get(f"/setreward/{experiment['id']}", key=key, reward=n)
    summary = (await ann.get(path)).body
    actions = (await ann.get(f"/stats/{experiment['id']}/actionlog")).body
    rewards = (await ann.get(f"/stats/{experiment['id']}/rewardlog")).body
    assert summary == {
        "get_action_calls": 4,
        "last_added_get_action": actions[0]["date"],
        "set_reward_calls": 3,
        "last_added_set_reward": rewards[0]["date"],
    }


@pytest.mark.gen_test
async def test_logs_of_an_unused_experiment_are_empty(ann: Caller) -> None:
    experiment = await ann.experiment()
    for log in LOGS:
        answer = await ann.get(f"/stats/{experiment['id']}/{log}")
        assert (answer.status, answer.body) == (200, [])
