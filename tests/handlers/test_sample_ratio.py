"""The sample ratio of bare counts and of logs of any size, by unit; copies of rows."""

from __future__ import annotations

import gzip
import json
from typing import Any

import numpy as np
import pytest
from scipy import stats

from tests.application import Caller
from tests.support import Answer


async def sent(ann: Caller, log: bytes, query: str = "", type: str = "text/csv") -> Answer:
    return await ann.request("POST", f"/eval/sample-ratio{query}", body=log, headers={"Content-Type": type})


@pytest.mark.gen_test
async def test_counts_of_1_637_070_units_give_the_published_figures(ann: Caller) -> None:
    answer = await ann.post("/eval/sample-ratio", {"counts": {"control": 821588, "treatment": 815482}})
    assert answer.status == 200, answer.body
    check = answer.body
    assert round(check["statistic"], 3) == 22.774
    assert check["p_value"] == pytest.approx(1.82e-6, rel=0.005)
    assert check["p_value"] < check["detail"]["sequential_p_value"] < 0.001
    assert check["ok"] is False
    assert check["detail"]["units"] == 1_637_070
    assert check["detail"]["arms"]["control"] == {"count": 821588, "expected": 818535}


@pytest.mark.gen_test
async def test_a_log_of_so_many_units_gives_the_same(ann: Caller) -> None:
    log = gzip.compress(b"arm\n" + b"a\n" * 821_588 + b"b\n" * 815_482, 1)
    answer = await sent(ann, log, "?action_field=arm")
    assert answer.status == 200, answer.body
    assert round(answer.body["statistic"], 3) == 22.774
    assert answer.body["detail"]["rows"] == 1_637_070


@pytest.mark.gen_test
async def test_planned_shares_need_not_be_alike(ann: Caller) -> None:
    counts, shares = {"a": 520, "b": 290, "c": 190}, {"a": 0.5, "b": 0.3, "c": 0.2}
    answer = await ann.post("/eval/sample-ratio", {"counts": counts, "shares": shares})
    expected = stats.chisquare(list(counts.values()), [500, 300, 200])
    assert answer.body["statistic"] == pytest.approx(expected.statistic)
    assert answer.body["p_value"] == pytest.approx(expected.pvalue)
    assert answer.body["ok"] is True
    del counts["c"]  # planned, and never seen
    assert (await ann.post("/eval/sample-ratio", {"counts": counts, "shares": shares})).body["ok"] is False


@pytest.mark.gen_test
async def test_units_that_keep_their_arm_count_once(ann: Caller) -> None:
    rng = np.random.default_rng(4)
    bad = []
    for _ in range(12):
        arms = rng.integers(2, size=60)
        rows = [(f"u{unit}", "ab"[arms[unit]]) for unit in range(60) for _ in range(33)]
        table = ("user,arm\n" + "".join(f"{unit},{arm}\n" for unit, arm in rows)).encode()
        by_unit = await sent(ann, table, "?action_field=arm&unit=user")
        assert by_unit.body["detail"]["units"] == 60
        assert by_unit.body["detail"]["repeated"] == 60 * 32
        assert by_unit.body["ok"] is True
        lines = "".join(json.dumps({"action": {"arm": a}, "context": {"user": u}}) + "\n" for u, a in rows)
        other = await sent(ann, lines.encode(), "?unit=user", "application/x-ndjson")
        assert other.body["statistic"] == by_unit.body["statistic"]
        bad.append((await sent(ann, table, "?action_field=arm")).body["ok"])
    assert not all(bad)  # by rows a healthy assignment looks ill
    moved = await sent(ann, b"user,arm\nu,a\nu,b\nv,b\n", "?action_field=arm&unit=user")
    assert moved.body["detail"]["with_several_arms"] == 1
    assert "more than one arm" in moved.body["sentence"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "counts"),
        ({"counts": {"a": -1, "b": 2}}, "counts"),
        ({"counts": {"a": 3}}, "counts"),
        ({"counts": {"a": 0, "b": 0}}, "counts"),
        ({"counts": {"a": 1, "b": 2}, "shares": {"a": 0.5, "b": 0.6}}, "shares"),
        ({"counts": {"a": 1, "b": 2}, "shares": {"a": 1}}, "shares"),
        ({"counts": {"a": 1, "b": 2}, "shares": [0.5, 0.5]}, "shares"),
        ({"counts": {"a": 1.5, "b": 2}}, "counts"),
    ],
)
@pytest.mark.gen_test
async def test_bad_counts_and_shares_are_named(ann: Caller, body: dict[str, Any], field: str) -> None:
    refused = await ann.post("/eval/sample-ratio", body)
    assert (refused.status, refused.body["error"]["field"]) == (400, field)


@pytest.mark.gen_test
async def test_a_faulty_log_is_named_with_its_line(ann: Caller) -> None:
    for log, query, field in (
        (b"user,arm\nu,a\n,b\n", "?action_field=arm&unit=user", "unit"),
        (b"user,arm\nu,\n", "?action_field=arm", "action"),
        (b"user,arm\nu,a\n", "?action_field=arms", "action_field"),
        (b"user,arm\nu,a\n", "?action_field=arm&unit=id", "unit"),
    ):
        refused = await sent(ann, log, query)
        assert (refused.status, refused.body["error"]["field"]) == (400, field)
        assert refused.body["error"]["message"].startswith("line ")


@pytest.mark.gen_test
async def test_copies_of_rows_are_told_and_rows_that_are_alike_by_chance_are_not(ann: Caller) -> None:
    id = (
        await ann.experiment(get_action="self.action['arm'] = 'a'; self.action_probabilities = {'a': 1.0}")
    )["id"]
    rng = np.random.default_rng(1)

    async def copies(rows: list[str], header: str = "context.x,action,reward,propensity") -> tuple[int, bool]:
        log = "\n".join([header, *rows]) + "\n"
        body = {"candidate": {"experiment": id}, "log": log, "format": "csv", "estimators": ["ips"]}
        answer = (await ann.post(f"/eval/{id}/offpolicy", body)).body
        said = any("exact copies" in text for text in answer["estimates"][0]["warnings"])
        return answer["log"]["copies"], said

    def row(x: object) -> str:
        return f"{x},{'ab'[rng.integers(2)]},{rng.integers(2)},0.5"

    own = [row(x) for x in rng.normal(size=300)]
    assert await copies(own) == (0, False)
    assert await copies([*own, *own[:7]]) == (7, True)
    few = [row(x) for x in rng.integers(4, size=300)]
    assert await copies(few) == (0, False)
    assert await copies([*few, *few]) == (300, True)
    stamped = [f"{number},{line}" for number, line in enumerate(few)]
    assert await copies([*stamped, stamped[5]], "time,context.x,action,reward,propensity") == (1, True)
