"""What an operator does with a running experiment: looks at all, pauses, sets dates, takes an arm back."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.console.conftest import expect_failure
from tests.console.things import HTML, decide
from tests.support import Server

CODE = {"get_action": "self.action['arm'] = random.choice(['a', 'b'])"}


def test_the_list_and_the_charts_of_a_time_count_every_call(page: Page, server: Server) -> None:
    client = server.admin()
    made = client.post("/exp", {"name": "counted", "arm_field": "arm", **CODE}).body
    for seed in range(3):  # more than the newest rows that a stream tells
        decide(client, made, 500, {"a": 0.0, "b": 1.0}, seed)
    page.goto(f"{server.url}/#/experiments")
    row = page.get_by_role("row").filter(has_text="counted")
    expect(row.get_by_role("img", name="1,500 decisions in 24 hours")).to_be_visible()
    expect(row).to_contain_text("running")
    row.get_by_role("link", name="counted").click()
    page.get_by_label("Time range").select_option(label="the last 3 hours")
    table = page.get_by_role("table").filter(has_text="95 % interval")
    buckets = client.get(f"/stats/{made['id']}/buckets").body["buckets"]
    for arm in "ab":
        decisions = sum(bucket["arms"][arm]["decisions"] for bucket in buckets)
        earned = table.get_by_role("row").filter(has=page.get_by_role("cell", name=arm, exact=True))
        expect(earned).to_contain_text(f"{decisions:,}")
    assert sum(bucket["decisions"] for bucket in buckets) == 1500


def test_an_experiment_is_paused_and_started_and_gets_dates_and_its_arm_back(
    page: Page, server: Server
) -> None:
    client = server.admin()
    rail = {"metric": "ms", "harm": "increase", "bound": 5, "then": "arm"}
    declared = {"arms": ["a", "b", HTML], "control": "a", "advice_id": True, "delta_hours": 1}
    declared |= {"guardrails": [rail], "off": ["b", HTML]}
    made = client.post("/exp", {"name": "cared for", "arm_field": "arm", **CODE, **declared}).body
    page.goto(f"{server.url}/#/experiments/{made['id']}/lifecycle")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("heading", name="State: paused")).to_be_visible()
    assert client.get(f"/exp/{made['id']}").body["state"] == "paused"
    page.get_by_role("button", name="Start", exact=True).click()
    expect(page.get_by_role("heading", name="State: running")).to_be_visible()

    page.get_by_label("Most decisions").fill("1000")
    page.get_by_label("Floor").fill("0.9")
    expect_failure(page, 400, f"/exp/{made['id']}")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert").first).to_contain_text("floor")
    page.get_by_label("Floor").fill("0.1")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_text("1,000", exact=True)).to_be_visible()
    found = client.get(f"/exp/{made['id']}").body
    assert (found["max_decisions"], found["traffic"]["floor"]) == (1000, 0.1)

    page.get_by_role("button", name="Switch b on").click()
    expect(page.get_by_text("b is switched off")).to_have_count(0)
    expect(page.get_by_text(f"{HTML} is switched off")).to_be_visible()
    assert client.get(f"/exp/{made['id']}").body["off"] == [HTML]
