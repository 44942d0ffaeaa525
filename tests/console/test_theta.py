"""What an analyst does with what was learned: looks at it, forgets it, and has it back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import BUILT
from tests.console.things import CHANCES, decide
from tests.servers import wait_until
from tests.support import Server

NAME = "remembers"
CODE = {
    "get_action": "self.action['arm'] = random.choice(['a', 'b'])",
    "set_reward": "arm = self.action['arm']\n"
    "self.set_theta({'n': self.get_theta(key=arm).get('n', 0) + 1}, key=arm)",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One that looks often whether a snapshot is due."""
    if not BUILT.is_file():
        pytest.skip("the console is not built: make install does it, with Node.js or with pip's")
    settings = {"upkeep.snapshot_interval_s": 1}
    with Server(tmp_path_factory.mktemp("console"), settings=settings) as running:
        yield running


def confirm(page: Page, label: str) -> None:
    """Press what asks for the name of the thing, and type it."""
    page.get_by_role("button", name=label, exact=True).click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label(f"Type {NAME} to confirm").fill(NAME)
    dialog.get_by_role("button", name=label, exact=True).click()
    expect(dialog).to_have_count(0)


def test_theta_that_was_forgotten_comes_back_by_undo_and_from_a_snapshot(page: Page, server: Server) -> None:
    client = server.admin()
    made = client.post("/exp", {"name": NAME, "arm_field": "arm", **CODE}).body
    theta = f"/stats/{made['id']}/currenttheta"
    decide(client, made, 10, CHANCES)
    learned = client.get(theta).body
    assert sum(row["n"] for row in learned.values()) == 10
    client.put(f"/exp/{made['id']}", {"hourly_theta": True})
    wait_until(lambda: bool(client.get(f"/stats/{made['id']}/hourlytheta").body), "the first snapshot")
    decide(client, made, 5, CHANCES)
    later = client.get(theta).body

    page.goto(f"{server.url}/#/experiments/{made['id']}/theta")
    expect(page.get_by_text("Theta: 2 of 2 values")).to_be_visible()
    confirm(page, "Forget")
    expect(page.get_by_text("Nothing learned yet")).to_be_visible()
    assert client.get(theta).body == {}
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("Theta: 2 of 2 values")).to_be_visible()
    assert client.get(theta).body == later
    expect(page.get_by_role("button", name="Undo")).to_have_count(0)

    confirm(page, "Bring it back")
    for key, row in learned.items():
        shown = page.get_by_role("row").filter(has=page.get_by_role("cell", name=key, exact=True))
        expect(shown).to_contain_text(str(row["n"]))
    assert client.get(theta).body == learned


def test_delays_of_rewards_are_those_of_the_newest_decisions(page: Page, server: Server) -> None:
    client = server.admin()
    made = client.post("/exp", {"name": "later", "advice_id": True, "delta_hours": 1, **CODE}).body
    page.goto(f"{server.url}/#/experiments/{made['id']}")
    expect(page.get_by_text("There are no decisions yet.").first).to_be_visible()
    asked = {"key": made["key"], "contexts": [{}] * 3}
    advices = [one["advice_id"] for one in client.post(f"/getaction/{made['id']}", asked).body["results"]]
    for advice in advices[:2]:
        reward = {"key": made["key"], "advice_id": advice, "reward": {"value": 1}}
        assert client.post(f"/setreward/{made['id']}", reward).status == 200
    panel = page.locator("section").filter(has=page.get_by_role("heading", name="Delay of rewards"))
    expect(panel).to_contain_text("2 of the newest 3 decisions (67 %) have a reward.")
    rows = client.get(f"/stats/{made['id']}/decisions").body
    longest = max(row["delay_ms"] for row in rows if "delay_ms" in row)
    shown = f"{longest / 1000:.3g} s" if longest >= 2000 else f"{longest} ms"
    expect(panel.locator("dl > div").filter(has_text="Longest")).to_contain_text(shown)
