"""The pictures of docs/console.md (`make pictures`): what the tests make, and an experiment that learned."""

from __future__ import annotations

import io
import os
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, ViewportSize, sync_playwright

from tests.chromium import executable
from tests.console.conftest import log_in
from tests.console.things import PIECES, decide, make
from tests.support import ROOT, Server

INTO = ROOT / "docs" / "pictures"
CHANCES = {"1": 0.2, "2": 0.4, "3": 0.6, "4": 0.8}
SIZE: ViewportSize = {"width": 1100, "height": 800}


def learned(server: Server) -> str:
    """An experiment that has had traffic; its id."""
    client = server.admin()
    policy = client.get("/exp/defaults/bernoulli-thompson").body
    code = {piece: policy[piece] for piece in PIECES}
    made = client.post("/exp", {"name": "headline", "arm_field": "arm", "log_propensity": True, **code}).body
    for seed in range(12):
        decide(client, made, 30, CHANCES, seed)
        # So that there is something over time to see.
        time.sleep(0.8)
    return str(made["id"])


def take(page: Page, server: Server, name: str, address: str, text: str, dark: bool = False) -> None:
    """One picture of the top of a screen, once this text is there."""
    page.emulate_media(color_scheme="dark" if dark else "light")
    page.goto(f"{server.url}/{address}")
    page.get_by_text(text).first.wait_for()
    page.locator(".waiting").first.wait_for(state="detached")
    if name == "player":
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_text("At the stop time").wait_for()
    if name == "policy":
        page.locator("div.code").first.wait_for()
        page.get_by_label("Reward for it").fill("1")
        page.get_by_role("button", name="Try", exact=True).click()
        page.get_by_text("Theta that would be written").wait_for()
    page.mouse.move(0, 0)
    taken = Image.open(
        io.BytesIO(page.screenshot(clip={"x": 0, "y": 0, "width": SIZE["width"], "height": SIZE["height"]}))
    )
    taken.convert("RGB").save(INTO / f"{name}.webp", quality=60, method=6)
    print(f"docs/pictures/{name}.webp  {(INTO / f'{name}.webp').stat().st_size:,} bytes")


def main() -> None:
    """Take them all."""
    program = executable()
    if program is None:
        sys.exit("Debian's package chromium is not installed")
    INTO.mkdir(exist_ok=True)
    arguments = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with (
        tempfile.TemporaryDirectory() as folder,
        Server(Path(folder)) as server,
        sync_playwright() as playwright,
    ):
        make(server.admin())
        exp_id = learned(server)
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        page = browser.new_page(viewport=SIZE, reduced_motion="reduce")
        log_in(page, server.url)
        take(page, server, "live", f"#/experiments/{exp_id}/live", "Share of each arm")
        take(page, server, "policy", f"#/experiments/{exp_id}/policy", "From the catalogue", dark=True)
        take(page, server, "player", "#/models/tea?beside=winter", "Before the first step")
        browser.close()


if __name__ == "__main__":
    main()
