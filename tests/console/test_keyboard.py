"""The console by keyboard alone: no test here moves the mouse or puts the focus anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.console.things import SHOP
from tests.support import PASSWORD, Server
from tests.tea import TEA

# The label or text of what has the focus, in an editor too.
NAMED = """at => (at.getAttribute("aria-label") || at.labels?.[0]?.innerText || at.innerText || "").trim()"""
FOCUSED = f"""() => {{
  let at = document.activeElement;
  while (at.shadowRoot?.activeElement) at = at.shadowRoot.activeElement;
  return ({NAMED})(at);
}}"""
THERE = f"""name => {{
  const named = (one) => one.tabIndex >= 0 && ({NAMED})(one).startsWith(name);
  const within = (root) => [...root.querySelectorAll("*")].some(
    (one) => named(one) || (one.shadowRoot && within(one.shadowRoot)));
  return within(document);
}}"""


def tab_to(page: Page, name: str, most: int = 60) -> None:
    """Press Tab until what has this label or text has the focus, once it is there."""
    page.wait_for_function(THERE, arg=name)
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


def test_a_model_is_uploaded_slid_and_stepped_and_a_run_is_set_and_operated(
    page: Page, server: Server, tmp_path: Path
) -> None:
    keys = page.keyboard
    page.goto(server.url)
    page.get_by_role("heading", name="Experiments").wait_for()
    keys.press("g")
    keys.press("m")
    page.get_by_role("heading", name="Models").wait_for()
    for name, text in (("cup", TEA), ("stall", SHOP)):
        file = tmp_path / f"{name}.py"
        file.write_text(text)
        # The question for files is the system's own, and answered for us.
        with page.expect_file_chooser() as asked:
            press(page, "Drop files here")
        asked.value.set_files(file)
        expect(page.get_by_text(file.name, exact=True)).to_be_visible()
        tab_to(page, "Engine")
        keys.type("python" if text == SHOP else "bptk")
        press(page, "Upload")
        expect(page.get_by_role("status").get_by_text(f"{name}, version 1")).to_be_visible()
    press(page, "cup")
    expect(page.get_by_text("Before the first step", exact=True)).to_be_visible()
    tab_to(page, "room")
    keys.press("Home")
    least = page.get_by_role("slider", name="room").input_value()
    assert page.get_by_role("spinbutton", name="room").input_value() == least
    press(page, "Step")
    expect(page.get_by_text("Time 0", exact=True)).to_be_visible()
    press(page, "Run")
    expect(page.get_by_text("At the stop time 10")).to_be_visible()

    keys.press("g")
    keys.press("r")
    page.get_by_role("heading", name="Runs").wait_for()
    tab_to(page, "Project")
    keys.press("Control+a")
    keys.type("keys")
    keys.press("Tab")
    models = page.get_by_label("Model of a new run")
    expect(models.get_by_role("option", name="stall")).to_be_attached()
    tab_to(page, "Model of a new run")
    keys.type("stall")
    expect(models.locator("option:checked")).to_have_text("stall")
    press(page, "New run")
    tab_to(page, "price")
    keys.press("Control+a")
    keys.type("4.5")
    press(page, "Set")
    expect(page.get_by_role("table", name="Journal")).to_be_visible()
    tab_to(page, "fruit of sell")
    keys.type("apples")
    tab_to(page, "count of sell")
    keys.type("4")
    press(page, "sell")
    expect(page.get_by_text("answered 18")).to_be_visible()
    press(page, "Take back the last change")
    expect(page.get_by_label('stock["apples"]')).to_have_value("20")


def test_two_policies_are_compared(page: Page, server: Server) -> None:
    client = server.admin()
    policy = client.get("/exp/defaults/ab-test").body
    pieces = ("get_context", "get_action", "get_reward", "set_reward")
    for name in ("one of two", "two of two"):
        client.post("/exp", {"name": name, **{piece: policy[piece] for piece in pieces}})
    keys = page.keyboard
    page.goto(server.url)
    page.get_by_role("heading", name="Experiments").wait_for()
    keys.press("g")
    keys.press("v")
    page.get_by_role("heading", name="Evaluate").wait_for()
    for name in ("one of two", "two of two"):
        press(page, name, "Space")
    tab_to(page, "Draws")
    keys.press("Control+a")
    keys.type("60")
    press(page, "Compare")
    expect(page.get_by_text("Cumulative reward of each policy")).to_be_visible()


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
