"""A model of agents in the player."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from tests.support import ROOT, Server


def test_the_player_draws_how_many_agents_are_in_each_state(page: Page, server: Server) -> None:
    client = server.admin()
    text = (ROOT / "examples" / "agent_market.py").read_text(encoding="utf-8")
    asked = {"name": "market", "engine": "bptk", "files": {"market.py": text}}
    assert client.post("/models", asked).status == 201
    page.goto(f"{server.url}/#/models/market")
    page.get_by_label("consumer: customer").check()
    page.get_by_role("button", name="Step").click()
    expect(page.get_by_text("Time 1", exact=True)).to_be_visible()
    legend = page.get_by_role("list", name="at time of the model 1")
    # All consumers begin unaware, and none is a customer.
    expect(legend.get_by_role("listitem").filter(has_text="consumer: unaware")).to_contain_text("100")
    expect(legend.get_by_role("listitem").filter(has_text="consumer: customer")).to_contain_text("0")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("At the stop time 20")).to_be_visible()
    drawn = legend.or_(page.get_by_role("list", name="at time of the model 20")).get_by_role("listitem")
    counts = [int(text.split()[-1]) for text in drawn.all_inner_texts()]
    assert len(counts) == 3
    assert sum(counts) == 100
