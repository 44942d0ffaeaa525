"""People who are faster than the server: what they choose and type counts, whatever has not come yet."""

from __future__ import annotations

import re

from playwright.sync_api import Page, Route, expect

from tests.console.conftest import expect_failure
from tests.console.things import decide
from tests.support import Server


def test_a_policy_that_is_chosen_can_be_made_only_when_its_code_has_come(page: Page, server: Server) -> None:
    client = server.admin()
    numbers = {name: number for number, name in client.get("/exp/defaults").body.items()}
    held: list[Route] = []
    page.route(f"**/exp/defaults/{numbers['UCB1']}", lambda route: held.append(route))
    page.goto(f"{server.url}/#/experiments")
    page.get_by_role("button", name="New experiment").first.click()
    page.get_by_label("Name", exact=True).fill("chosen in a hurry")
    page.get_by_text("Parameters, at the top of its code").wait_for()
    with page.expect_request(f"**/exp/defaults/{numbers['UCB1']}"):
        page.get_by_label("Policy", exact=True).select_option(label="UCB1")
    make = page.get_by_role("button", name="Make it")
    expect(make).to_be_disabled()
    page.get_by_label("Name", exact=True).press("Enter")
    assert "chosen in a hurry" not in {one["name"] for one in client.get("/exp").body.values()}
    held[0].continue_()
    make.click()
    page.wait_for_url(re.compile("#/experiments/[0-9a-f]+"))
    made = client.get(f"/exp/{page.url.rpartition('/')[2]}").body
    assert made["get_action"] == client.get(f"/exp/defaults/{numbers['UCB1']}").body["get_action"]


def test_typing_goes_on_when_the_editor_comes(page: Page, server: Server) -> None:
    made = server.admin().post("/exp", {"name": "typed early", "get_action": "self.action['arm'] = 'a'"}).body
    held: list[Route] = []
    page.route("**/codemirror-*.js", lambda route: held.append(route))
    with page.expect_request("**/codemirror-*.js"):
        page.goto(f"{server.url}/#/experiments/{made['id']}/policy")
    area = page.get_by_role("textbox", name=re.compile("^get_action"))
    area.click()
    page.keyboard.press("Control+Home")
    page.keyboard.insert_text("# early\n")
    held[0].continue_()
    page.locator(".cm-content").first.wait_for()
    page.keyboard.insert_text("# late\n")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("revision 2 is saved and decides")).to_be_visible()
    saved = server.admin().get(f"/exp/{made['id']}").body["get_action"]
    assert saved == "# early\n# late\nself.action['arm'] = 'a'"


def test_a_stream_that_was_refused_once_is_asked_for_again(page: Page, server: Server) -> None:
    client = server.admin()
    code = "self.action['arm'] = random.choice(['a', 'b'])"
    made = client.post("/exp", {"name": "refused once", "arm_field": "arm", "get_action": code}).body
    refused: list[Route] = []

    def refuse_once(route: Route) -> None:
        if refused:
            route.continue_()
            return
        refused.append(route)
        route.fulfill(status=503, json={"error": "the server is going away", "status": 503})

    page.route(f"**/stats/{made['id']}/live?*", refuse_once)
    expect_failure(page, 503, f"/stats/{made['id']}/live")
    page.goto(f"{server.url}/#/experiments/{made['id']}")
    decide(client, made, 7, {"a": 0.5, "b": 0.5}, 1)
    expect(
        page.locator("dl.facts > div").filter(has=page.get_by_text("Decisions", exact=True))
    ).to_contain_text("7")
    assert refused
