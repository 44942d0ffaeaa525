"""Every call of the run groups, end to end: both kinds, both backends."""

from __future__ import annotations

from typing import Any

import pytest

from streamsim_client import BadRequest, NotFound
from streamsim_client.runs import Project, Runs
from tests.client.conftest import Called, Shown, public_calls

GROUPS = (Project, Runs)
SHOP = """
from epicenter import Epicenter

price = 3.0
stock = {"apples": 20, "pears": 5, "50% off / a;b": 1}
sold = []

def sell(fruit, count):
    stock[fruit] -= count
    sold.append(count * price)
    Epicenter.record("income", sum(sold))
    return sold[-1]

def label(text):
    Epicenter.record("label", text)
"""
WEIRD = 'stock["50% off / a;b"]'

PRICE = {
    "name": "price",
    "type": "float",
    "dataType": "NUMBER",
    "access": "ALWAYS",
    "subscripts": None,
    "saved": False,
}


@pytest.fixture
def fair(user: Shown, name: str) -> Shown:
    """A project of a user who has the model."""
    user.models.push("shop", {"shop.py": SHOP}, engine="python")
    project: Shown = user.project(name, "fair")
    return project


def test_a_run_is_made_played_and_changed(user: Shown, fair: Shown, name: str) -> None:
    made = fair.create("shop", scope={"trackingKey": "monday"}, ephemeral=True)
    run = made["id"]
    assert (made["account"], made["project"], made["model"]) == (name, "fair", "shop")
    assert (made["scope"], made["ephemeral"]) == ({"trackingKey": "monday"}, True)
    for group in (fair, user.runs):
        assert group.operate(run, "sell", "apples", 4) == 12.0
        assert group.operate(run, "label", "3") is None
        assert group.variable(run, "price") == 3.0
        assert group.set(run, {"stock.apples": 16, WEIRD: 2}) == {"stock.apples": 16, WEIRD: 2}
        assert group.variable(run, WEIRD) == 2
        assert group.variables(run, "stock.apples", WEIRD, "sold[0]") == {
            "stock.apples": 16,
            WEIRD: 2,
            "sold[0]": 12.0,
        }
        with pytest.raises(BadRequest) as nothing_set:
            group.set(run, {"price": 100.0, "nothing": 1})
        assert nothing_set.value.code == "invalid_variable"
        assert group.variable(run, "price") == 3.0
    changes = {"saved": True, "scope.team": "red", "variables": {"price": 5}}
    assert fair.patch(run, changes) == changes
    assert fair.unload(run) is None
    there = fair.get(run, include=["income"])
    assert (there["active"], there["variables"]) == (False, {"income": 24.0})
    back = fair.get(run, include=["price", WEIRD], restore=True)
    assert (back["active"], back["variables"]) == (True, {"price": 5, WEIRD: 2})
    assert (back["saved"], back["scope"]) == (True, {"trackingKey": "monday", "team": "red"})


def test_an_operation_that_fails_says_where(fair: Shown) -> None:
    run = fair.create("shop")["id"]
    with pytest.raises(BadRequest) as failed:
        fair.operate(run, "sell", "plums", 1)
    error = failed.value
    assert (error.status, error.code, error.message) == (400, "invalid_proc", "KeyError: 'plums'")
    assert error.detail["run_id"] == run
    assert error.detail["fault"]["information"]["class"] == "KeyError"
    assert error.request_id
    assert fair.variable(run, "sold") == []


def test_runs_are_found_and_their_recorded_variables_read(user: Shown, fair: Shown, name: str) -> None:
    runs = [fair.create("shop", scope={"team": n % 2})["id"] for n in range(5)]
    for count, run in enumerate(runs):
        fair.operate(run, "sell", "apples", count)
        fair.operate(run, "label", str(count))
    fair.patch(runs[0], {"saved": True, "group": "3"})
    other = user.runs.create(name, "elsewhere", "shop", scope={"team": 1})["id"]

    def ids(*filters: Any, **options: Any) -> list[str]:
        return [one["id"] for one in fair.all(*filters, **options)]

    assert ids() == runs
    assert ids(limit=2) == runs
    assert ids(sort="variables.income", descending=True, limit=3) == runs[::-1]
    assert ids(("variables.income", ">", 3), ("variables.income", "<=", 9)) == runs[2:4]
    assert ids(("id", "=", runs[1]), ("id", "=", runs[3])) == [runs[1], runs[3]]
    assert ids(("saved", "=", True)) == ids(("group", "=", "3")) == runs[:1]
    assert ids(("group", "=", 3)) == []
    # What is text is not taken for the number.
    assert ids(("variables.label", "=", "3")) == [runs[3]]
    assert ids(("variables.label", "=", 3)) == []
    assert ids(("scope.team", "!=", 1), ("created", "<", "2000-01-01T00:00:00Z")) == []
    page = fair.page(("scope.team", "=", 0), include=["income"], first=1, limit=1)
    assert (page.first, page.total) == (1, 3)
    assert [one["variables"] for one in page.records] == [{"income": 6.0}]
    nothing = fair.page(("variables.income", ">", 1000))
    assert (nothing.records, nothing.total) == ([], 0)
    several = [("id", "=", runs[1]), ("id", "=", runs[4])]
    expected = [
        {"run": runs[1], "variables": {"income": 3.0}},
        {"run": runs[4], "variables": {"income": 12.0}},
    ]
    assert fair.recorded(["income"], *several) == expected
    assert user.runs.recorded(["income"], *several) == expected
    for group in (fair, user.runs):
        with pytest.raises(BadRequest):
            group.recorded(["income"])
    with pytest.raises(NotFound):
        fair.get(other)


def test_runs_are_described_replayed_and_cloned(user: Shown, nobody: Shown, fair: Shown, name: str) -> None:
    introspected = fair.introspect("shop")
    parameter = {"dataType": None, "default": None, "optional": False}
    signature = [{"name": "fruit", **parameter}, {"name": "count", **parameter}]
    assert {"name": "sell", "signature": signature, "returnType": None} in introspected["functions"]
    assert introspected["ranges"] is None
    assert PRICE in introspected["variables"]
    run = user.runs.create(name, "fair", "shop")["id"]
    assert user.runs.introspect(run) == introspected
    for count in (1, 2):
        user.runs.operate(run, "sell", "apples", count)
    user.runs.set(run, {"price": 1.0})
    copy = user.runs.clone(run, exclude=["sell"])
    assert copy != run
    assert user.runs.variables(copy, "sold", "price") == {"sold": [], "price": 1.0}
    assert user.runs.replay(run) == run
    assert user.runs.variables(run, "sold", "price") == {"sold": [3.0, 6.0], "price": 1.0}
    assert user.runs.rewind(run, 2) == run
    assert user.runs.variables(run, "sold", "price") == {"sold": [3.0], "price": 3.0}
    sale = {"type": "operation", "name": "sell", "arguments": ["apples", 1]}
    assert user.runs.history(run) == [sale]
    user.runs.replay(run, stop_before="sell")
    assert user.runs.variables(run, "sold", "price") == {"sold": [], "price": 3.0}
    with pytest.raises(NotFound):
        user.runs.introspect("0" * 32)
    assert "POST" in nobody.runs.describe("operation")["methods"]
    assert "PATCH" in nobody.runs.describe("variable")["methods"]
    assert set(nobody.runs.describe("run")["properties"]) > {"account", "project", "model"}
    assert set(nobody.project(name, "fair").describe()["methods"]) == {"GET", "HEAD", "POST"}


def test_no_id_leads_to_another_path(user: Shown) -> None:
    for bad in ("", ".", ".."):
        with pytest.raises(ValueError, match="no id"):
            user.experiments.get(bad)
    with pytest.raises(NotFound):
        user.models.get("../exp")


def test_every_call_of_these_groups_was_made(request: pytest.FixtureRequest, called: Called) -> None:
    if request.config.option.keyword or any("::" in argument for argument in request.config.args):
        pytest.skip("only some of the tests run")
    assert set.union(*map(public_calls, GROUPS)) - called == set()
