"""What people do with the console, from the login on: each path as a user goes it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.console.conftest import expect_failure
from tests.console.things import CHANCES, SHOP, decide
from tests.patience import PATIENCE_S
from tests.support import Server
from tests.tea import TEA

expect.set_options(timeout=PATIENCE_S * 1000)


def from_template(page: Page, server: Server, name: str, policy: str) -> str:
    """A new experiment from the catalogue, through the dialog; its id."""
    page.goto(f"{server.url}/#/experiments")
    page.get_by_role("button", name="New experiment").first.click()
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Policy", exact=True).select_option(label=policy)
    page.get_by_text("Parameters, at the top of its code").wait_for()
    page.get_by_role("button", name="Make it").click()
    page.wait_for_url(re.compile("#/experiments/[0-9a-f]+"))
    page.get_by_role("heading", name=name).wait_for()
    found = re.search("#/experiments/([0-9a-f]+)", page.url)
    assert found is not None
    return found[1]


def open_view(page: Page, name: str) -> None:
    page.get_by_role("navigation", name="Views of this experiment").get_by_role("link", name=name).click()


def test_an_experiment_is_made_learns_is_changed_simulated_and_compared(page: Page, server: Server) -> None:
    client = server.admin()
    exp_id = from_template(page, server, "headline", "A/B test")
    expect(page.get_by_text("No decision was made yet.")).to_be_visible()

    # Traffic by a script: the screen shows it without a reload.
    made = client.get(f"/exp/{exp_id}").body
    chances = {"control": CHANCES["a"], "treatment": CHANCES["b"]}
    decide(client, made, 300, chances)
    row = page.get_by_role("row", name="treatment")
    row.wait_for()
    counts = {"decisions": client.get(f"/stats/{exp_id}/summary").body["get_action_calls"]}
    expect(page.locator(".facts dd").first).to_have_text(f"{counts['decisions']}")
    decide(client, made, 100, chances, seed=2)
    expect(page.locator(".facts dd").first).to_have_text("400")
    theta = client.get(f"/stats/{exp_id}/currenttheta").body["arm:treatment"]
    expect(row.get_by_role("cell").nth(3)).to_have_text(f"{theta['n']}")
    # The policy's own mean is added up in another order, which may round the other way.
    assert float(row.get_by_role("cell").nth(4).inner_text()) == pytest.approx(theta["p"], abs=0.00051)

    # Code with an error: shown at its line, and kept; mended, it is saved.
    open_view(page, "Policy")
    editor = page.get_by_role("textbox", name=re.compile("^get_action"))
    editor.click()
    page.keyboard.press("Control+End")
    page.keyboard.press("Enter")
    page.keyboard.insert_text("if True")
    last = made["get_action"].count("\n") + 2
    expect_failure(page, 400, f"/exp/{exp_id}")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".editor p[role=alert]")).to_contain_text(f"line {last}: SyntaxError")
    assert page.locator(".cm-lint-marker-error").count() == 1
    assert client.get(f"/exp/{exp_id}").body["revision"] == 1
    editor.click()
    page.keyboard.press("Control+End")
    page.keyboard.insert_text(": pass")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_text("revision 2 is saved and decides")).to_be_visible()
    assert client.get(f"/exp/{exp_id}").body["get_action"].endswith("if True: pass")

    # What was saved is found again, with what differs, and can be put back.
    page.get_by_role("button", name="Changes since revision 1").click()
    changes = page.get_by_role("region", name="Changes of get_action")
    expect(changes).to_contain_text("added: if True: pass")
    page.get_by_role("button", name="Restore revision 1").click()
    expect(page.get_by_role("cell", name="restored from revision 1")).to_be_visible()
    restored = client.get(f"/exp/{exp_id}").body
    assert (restored["revision"], restored["get_action"]) == (3, made["get_action"])
    page.get_by_role("button", name="Changes since revision 2").click()
    page.get_by_role("button", name="Put it into the editors").click()
    page.get_by_label("Note").fill("as it was")
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.get_by_role("cell", name="as it was")).to_be_visible()
    page.get_by_role("button", name="Changes since revision 2").click()

    # One decision of code that is not saved, on theta as it is; an error is shown at its line.
    editor.click()
    page.keyboard.press("Control+End")
    page.keyboard.press("Enter")
    page.keyboard.insert_text("1 / 0")
    expect_failure(page, 422, f"/exp/{exp_id}/dryrun")
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.locator(".editor p[role=alert]")).to_contain_text(f"line {last + 1}: ZeroDivisionError")
    page.get_by_role("button", name="Back to what is saved").click()
    page.get_by_label("Reward for it").fill("1")
    page.get_by_role("button", name="Try", exact=True).click()
    expect(page.get_by_text("Theta that would be written")).to_be_visible()
    assert client.get(f"/stats/{exp_id}/summary").body["get_action_calls"] == 400

    # Simulated, beside the code.
    page.get_by_label("Draws").fill("60")
    page.get_by_role("button", name="Simulate").click()
    expect(page.get_by_text("Mean reward in the simulation")).to_be_visible()
    assert page.locator(".uplot canvas").count() == 2

    # Compared with another policy.
    other = {piece: made[piece] for piece in ("get_context", "get_action", "get_reward", "set_reward")}
    client.post("/exp", {"name": "the same again", **other})
    page.goto(f"{server.url}/#/evaluate")
    for name in ("headline", "the same again"):
        page.get_by_label(name, exact=True).check()
    page.get_by_label("Draws").fill("60")
    page.get_by_label("Replications").fill("4")
    page.get_by_role("button", name="Compare", exact=True).click()
    expect(page.get_by_text("Cumulative regret of each policy")).to_be_visible()
    expect(page.get_by_role("img", name=re.compile("Differences in cumulative reward"))).to_be_visible()


def test_a_draft_outlives_a_reload_and_an_archive_asks_for_the_name(page: Page, server: Server) -> None:
    client = server.admin()
    made = client.post("/exp", {"name": "drafted", "get_action": "self.action['arm'] = 'a'"}).body
    page.on("dialog", lambda one: one.accept())
    page.goto(f"{server.url}/#/experiments/{made['id']}/policy")
    page.get_by_role("textbox", name=re.compile("^get_action")).click()
    page.keyboard.insert_text("# typed\n")
    expect(page.get_by_text("get_action changed; kept in this browser")).to_be_visible()
    page.reload()
    expect(page.get_by_text("get_action changed; kept in this browser")).to_be_visible()
    page.get_by_role("button", name="Back to what is saved").click()
    page.get_by_role("button", name="Archive").click()
    confirm = page.get_by_role("dialog").get_by_role("button", name="Archive")
    expect(confirm).to_be_disabled()
    page.get_by_label("Type drafted to confirm").fill("drafted")
    confirm.click()
    page.wait_for_url(re.compile("#/experiments$"))
    assert made["id"] not in client.get("/exp").body


def test_a_model_is_uploaded_slid_and_stepped(page: Page, server: Server, tmp_path: Path) -> None:
    page.goto(f"{server.url}/#/models")
    broken, good = tmp_path / "broken.py", tmp_path / "tea.py"
    broken.write_text("x = 1\ny = (\n")
    good.write_text(TEA)
    expect_failure(page, 400, "/models")
    page.locator("input[type=file]").set_input_files(broken)
    page.get_by_role("button", name="Upload", exact=True).click()
    expect(page.get_by_role("alert")).to_contain_text("broken.py, line 2")
    page.get_by_label("Name", exact=True).fill("tea")
    page.locator("input[type=file]").set_input_files(good)
    page.get_by_role("button", name="Upload", exact=True).click()
    page.get_by_role("link", name="Play it").click()
    expect(page.get_by_text("Before the first step", exact=True)).to_be_visible()
    slider = page.get_by_role("slider", name="room")
    slider.fill("0")
    page.get_by_role("button", name="Step").click()
    expect(page.get_by_text("Time 0", exact=True)).to_be_visible()
    page.get_by_role("button", name="Step").click()
    # 100 degrees, half of the distance to a room of 0 in each step.
    expect(page.locator(".legend li", has_text="temperature")).to_contain_text("50")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_text("At the stop time 10")).to_be_visible()


def test_a_run_is_made_set_operated_and_taken_back(page: Page, server: Server) -> None:
    client = server.admin()
    client.post("/models", {"name": "shop", "engine": "python", "files": {"shop.py": SHOP}})
    page.goto(f"{server.url}/#/runs?project=fair&model=shop")
    page.get_by_label("Model of a new run").select_option("shop")
    page.get_by_role("button", name="New run").click()
    page.get_by_label("price", exact=True).fill("4.5")
    page.get_by_role("button", name="Set").click()
    expect(page.get_by_role("table", name="Journal")).to_be_visible()
    page.get_by_label("fruit of sell").fill("apples")
    page.get_by_label("count of sell").fill("4")
    page.get_by_role("button", name="sell").click()
    expect(page.get_by_text("answered 18")).to_be_visible()
    expect(page.get_by_label('stock["apples"]')).to_have_value("16")
    expect_failure(page, 400, "/v2/model/operation/")
    page.get_by_label("fruit of sell").fill("plums")
    page.get_by_role("button", name="sell").click()
    expect(page.get_by_role("alert")).to_contain_text("shop.py, line 7")
    page.get_by_role("button", name="Take back the last change").click()
    expect(page.get_by_label('stock["apples"]')).to_have_value("20")


def test_a_token_is_shown_once_counts_and_is_revoked(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/#/account")
    page.get_by_label("Label of a new token").fill("laptop")
    page.get_by_role("button", name="Make a token").click()
    token = page.locator(".note code").inner_text()
    program = server.client()
    program.token = token
    assert program.get("/exp").status == 200
    page.reload()
    page.get_by_role("cell", name="laptop", exact=True).wait_for()
    assert token not in page.content()
    page.on("dialog", lambda one: one.accept())
    page.get_by_role("button", name="Revoke laptop").click()
    expect(page.get_by_text("No token.")).to_be_visible()
    assert program.get("/exp").status == 401


def test_an_administrator_adds_a_user_and_ends_its_login(page: Page, server: Server) -> None:
    page.goto(f"{server.url}/#/users")
    page.get_by_label("User name").fill("zoe")
    page.get_by_label("First password").fill("a good password")
    page.get_by_role("button", name="Add", exact=True).click()
    page.get_by_role("cell", name="zoe", exact=True).wait_for()
    client = server.client()
    client.post("/login", {"username": "zoe", "password": "a good password"})
    page.get_by_role("button", name="Sessions of zoe").click()
    page.on("dialog", lambda one: one.accept())
    page.get_by_role("button", name=re.compile("^End Login")).click()
    expect(page.get_by_text("zoe is not logged in and has no token.")).to_be_visible()
    assert client.get("/exp").status == 401
    page.goto(f"{server.url}/#/server")
    expect(page.get_by_role("cell", name="sandbox.cpu_ms")).to_be_visible()
