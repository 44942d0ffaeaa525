"""The console by keyboard alone: no test here moves the mouse or puts the focus anywhere."""

from __future__ import annotations

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.patience import PATIENCE_S
from tests.support import PASSWORD, Server

# The label or text of what has the focus, in an editor too.
FOCUSED = """() => {
  let at = document.activeElement;
  while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  return (at.getAttribute("aria-label") || at.labels?.[0]?.innerText || at.innerText || "").trim();
}"""
expect.set_options(timeout=PATIENCE_S * 1000)


def tab_to(page: Page, name: str, most: int = 60) -> None:
    """Press Tab until what has this label or text has the focus."""
    for _ in range(most):
        # In an editor Tab indents, but after Escape; a dialog would close by it.
        if page.evaluate("document.querySelector('dialog[open]') === null"):
            page.keyboard.press("Escape")
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED).startswith(name):
            return
    pytest.fail(f"no Tab leads to {name}")


def press(page: Page, name: str, key: str = "Enter") -> None:
    tab_to(page, name)
    page.keyboard.press(key)


def test_from_the_login_to_a_policy_that_was_changed_tried_and_simulated(
    browser: Browser, server: Server
) -> None:
    context = browser.new_context()
    page = context.new_page()
    keys = page.keyboard
    page.goto(server.url)
    page.get_by_role("heading", name="Log in to streamsim").wait_for()
    tab_to(page, "User name")
    keys.type("admin")
    keys.press("Tab")
    keys.type(PASSWORD)
    keys.press("Enter")
    page.get_by_role("heading", name="Experiments").wait_for()

    # From a template; the policy is chosen as in any list: by typing its name.
    press(page, "New experiment")
    page.get_by_role("dialog").wait_for()
    tab_to(page, "Name")
    keys.type("typed alone")
    tab_to(page, "Policy")
    keys.type("A/B")
    page.get_by_text("Parameters, at the top of its code").wait_for()
    press(page, "Make it")
    page.get_by_role("heading", name="typed alone").wait_for()

    # An error is shown at its line, and mended where the focus is.
    press(page, "Policy")
    page.locator("div.code").first.wait_for()
    tab_to(page, "get_action")
    keys.press("Control+End")
    keys.press("Enter")
    keys.insert_text("if True")
    press(page, "Save")
    expect(page.locator(".editor p[role=alert]")).to_contain_text("SyntaxError")
    tab_to(page, "get_action")
    keys.press("Control+End")
    keys.insert_text(": pass")
    keys.press("Control+s")
    expect(page.get_by_text("revision 2 is saved and decides")).to_be_visible()

    press(page, "Try")
    expect(page.get_by_text("Context afterwards")).to_be_visible()
    tab_to(page, "Draws")
    keys.press("Control+a")
    keys.type("60")
    press(page, "Simulate")
    expect(page.get_by_text("Mean reward in the simulation")).to_be_visible()
    press(page, "Changes since revision 1")
    expect(page.get_by_role("region", name="Changes of get_action")).to_be_visible()

    # A token is made and revoked; the question is answered by Enter, as browsers have it.
    page.on("dialog", lambda one: one.accept())
    keys.press("g")
    keys.press("a")
    page.get_by_role("heading", name="Account of admin").wait_for()
    tab_to(page, "Label of a new token")
    keys.type("by keys")
    keys.press("Enter")
    expect(page.get_by_text("This is the only time that it is shown")).to_be_visible()
    press(page, "Revoke by keys")
    expect(page.get_by_text("No token.")).to_be_visible()
    press(page, "Log out")
    page.get_by_role("heading", name="Log in to streamsim").wait_for()
    context.close()


def test_everything_can_be_reached_by_keyboard_alone(page: Page, server: Server) -> None:
    client = server.admin()
    made = client.post("/exp", {"name": "by keyboard", "get_action": "self.action['arm'] = 'a'"}).body
    keys = page.keyboard
    page.goto(server.url)
    page.get_by_role("heading", name="Experiments").wait_for()
    keys.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    keys.press("Escape")
    keys.press("g")
    keys.press("m")
    page.get_by_role("heading", name="Models").wait_for()
    keys.press("g")
    keys.press("e")
    page.get_by_role("heading", name="Experiments").wait_for()
    keys.press("/")
    keys.type("by keyb")
    expect(page.get_by_role("table")).to_contain_text("1 of ")

    tab_to(page, "by keyboard")
    keys.press("Enter")
    page.get_by_role("heading", name="by keyboard").wait_for()
    tab_to(page, "Policy")
    keys.press("Enter")
    page.locator("div.code").first.wait_for()
    tab_to(page, "get_action")
    keys.press("Control+a")
    keys.type("self.action['arm'] = 'b'")
    tab_to(page, "Save")
    keys.press("Enter")
    expect(page.get_by_text("revision 2 is saved and decides")).to_be_visible()
    assert client.get(f"/exp/{made['id']}").body["get_action"] == "self.action['arm'] = 'b'"
    keys.press("c")
    expect(page.get_by_role("dialog")).to_contain_text(
        f'-X PUT -H "Authorization: Bearer $TOKEN" \'{server.url}/exp/'
    )
