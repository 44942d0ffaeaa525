"""Every screen, light and dark, wide and narrow: readable by everybody, and text is text."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import Dialog, Page, Route

from tests.console.things import HTML, Things
from tests.support import ROOT, Server

BUNDLE = ROOT / "streamsim" / "server" / "console"
FIRST_LOAD = 150_000
GRAVE = ("serious", "critical")


def screens(things: Things) -> dict[str, tuple[str, str]]:
    """The address of each screen, and the heading or text that is there once it is whole."""
    return {
        "experiments": ("#/experiments", "an empty one"),
        "live": (f"#/experiments/{things.hostile}/live", "Mean reward of each arm"),
        "live of none": (f"#/experiments/{things.empty}/live", "Nothing in this time"),
        "policy": (f"#/experiments/{things.hostile}/policy", "From the catalogue"),
        "theta": (f"#/experiments/{things.hostile}/theta", "Theta:"),
        "logs": (f"#/experiments/{things.hostile}/logs", "The newest 40 rows"),
        "counted by time": (f"#/experiments/{things.hostile}/live?range=3h", "Mean reward of each arm"),
        "life cycle": (f"#/experiments/{things.hostile}/lifecycle", "Schedule and traffic"),
        "errors": (f"#/experiments/{things.hostile}/logs?kind=error", "The newest row"),
        "compare": ("#/evaluate", "Experiments to compare"),
        "off-policy": ("#/evaluate?view=offpolicy", "Decisions logged by"),
        "jobs": ("#/jobs", "No job."),
        "models": ("#/models", "2 models"),
        "player": ("#/models/tea?beside=winter", "Before the first step"),
        "sweep": ("#/models/tea/sweep", "Sweep tea"),
        "runs": ("#/runs", "1 run in console"),
        "run": (f"#/runs/{things.run}?project=console", "Operations"),
        "account": ("#/account", "No token."),
        "users": ("#/users?of=admin", "Logins and tokens of admin"),
        "server": ("#/server", "Limits:"),
    }


def grave(page: Page, axe: str, where: str) -> list[str]:
    """What axe-core calls serious or critical on the page as it is now."""
    if not page.evaluate("typeof axe === 'object'"):
        # Playwright evaluates over DevTools, where the page's Content-Security-Policy does not count.
        page.evaluate(axe + ";0")
    found: dict[str, Any] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{where}: {one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary']}"
        for one in found["violations"]
        if one["impact"] in GRAVE
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_screen_is_accessible_narrow_enough_and_shows_html_as_text(
    page: Page, server: Server, things: Things, axe: str, scheme: str
) -> None:
    dialogs: list[str] = []

    def asked(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", asked)
    page.emulate_media(color_scheme="light" if scheme == "light" else "dark")
    wrong, wide, shown = [], [], 0
    for name, (address, text) in screens(things).items():
        page.set_viewport_size({"width": 1280, "height": 900})
        page.goto(f"{server.url}/{address}")
        page.get_by_text(text, exact=False).first.wait_for()
        page.locator(".waiting").first.wait_for(state="detached")
        wrong += grave(page, axe, f"{name}, {scheme}")
        # As an element it would be there; as text it is in what the page says.
        assert page.locator("img").count() == 0, name
        shown += HTML in page.locator("main").inner_text()
        page.set_viewport_size({"width": 390, "height": 844})
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(name)
    assert wrong == []
    assert wide == []
    assert dialogs == []
    assert shown >= 7


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_login_page_is_accessible_and_explains_the_first_visit(
    browser: Any, server: Server, axe: str, scheme: str
) -> None:
    context = browser.new_context(color_scheme=scheme)
    page = context.new_page()
    page.goto(server.url)
    page.get_by_role("heading", name="Log in to streamsim").wait_for()
    assert page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
    assert grave(page, axe, f"login, {scheme}") == []
    assert f"{server.url}/getaction/" in page.get_by_label("The two calls in curl").inner_text()
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password", exact=True).fill("wrong")
    page.get_by_role("button", name="Log in").click()
    alert = page.get_by_role("alert")
    alert.wait_for()
    assert "password" in alert.inner_text()
    # What was typed is still there.
    assert page.get_by_label("User name").input_value() == "admin"
    context.close()


def test_a_slow_answer_is_waited_for_in_words_and_then_shown(
    page: Page, server: Server, things: Things, axe: str
) -> None:
    held: list[Route] = []
    page.route("**/stats/*/actionlog*", lambda route: held.append(route))
    page.goto(f"{server.url}/#/experiments/{things.hostile}/logs")
    waiting = page.get_by_role("status").filter(has_text="Reading decisions")
    # The seconds are said once it takes longer than one expects.
    waiting.filter(has_text="for 2 s").wait_for()
    assert grave(page, axe, "a slow answer") == []
    # What was asked before the answer can be changed meanwhile.
    assert page.get_by_label("Log", exact=True).is_enabled()
    for one in held:
        one.continue_()
    page.get_by_text("The newest 40 rows").wait_for()
    waiting.wait_for(state="detached")


def test_the_first_load_is_small_and_the_editor_comes_when_it_is_needed(
    page: Page, server: Server, things: Things
) -> None:
    loaded: dict[str, int] = {}
    packed = {path.name.removesuffix(".gz"): path.stat().st_size for path in BUNDLE.glob("*.gz")}
    page.on("response", lambda one: loaded.update({one.url.rpartition("/")[2] or "index.html": one.status}))
    page.goto(f"{server.url}/#/experiments")
    page.get_by_role("heading", name="Experiments").wait_for()
    first = [name for name in loaded if name in packed]
    assert len(first) >= 3
    sizes = {name: packed[name] for name in first}
    assert sum(sizes.values()) <= FIRST_LOAD, sizes
    assert not any("codemirror" in name for name in loaded)
    page.goto(f"{server.url}/#/experiments/{things.hostile}/policy")
    page.locator("div.code").first.wait_for()
    assert any("codemirror" in name for name in loaded)
