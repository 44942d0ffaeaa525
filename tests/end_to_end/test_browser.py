"""`examples/coffee_cart.html` in a real browser, served and set up as docs/runs.md says."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chromium import Page, executable
from tests.servers import free_port, wait_until
from tests.support import ADMIN, PASSWORD, ROOT, Client, Server, die_with_parent

CHROMIUM = executable()
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="Debian's package chromium is not installed")
# Where the screenshot goes; by default it is not kept.
KEEP = os.environ.get("STREAMSIM_SCREENSHOT")
SAID = "document.querySelector('#error').innerText"
ROW = "[...document.querySelectorAll('#rows tr')].map(row => [...row.cells].map(cell => cell.textContent))"


def commands() -> list[str]:
    """The commands of the guide's section that go on running: that of the server, and that of the pages."""
    section = (ROOT / "docs" / "runs.md").read_text().split("## A page that plays a run")[1].split("\n## ")[0]
    return re.findall(r"```bash\n(.*?)\n```", section, re.DOTALL)


@pytest.fixture
def pages() -> Iterator[str]:
    """The examples as the guide serves them; their origin."""
    port = free_port()
    words = shlex.split(commands()[1].replace("8000", str(port)))
    assert words.pop(0) == "python3"
    served = subprocess.Popen(
        [sys.executable, *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=die_with_parent,
    )
    client = Client(f"http://127.0.0.1:{port}")

    def answers() -> bool:
        try:
            return client.get("/coffee_cart.html").status == 200
        except OSError:
            return False

    try:
        wait_until(answers, "the pages")
        yield f"http://127.0.0.1:{port}"
    finally:
        client.close()
        served.kill()
        served.wait()


@pytest.fixture
def server(tmp_path: Path, pages: str) -> Iterator[Server]:
    """A server that lets the page call, with the page's model."""
    setting, _, value = shlex.split(commands()[0])[0].partition("=")
    assert value == "http://127.0.0.1:8000"
    with Server(tmp_path / "server", environment={setting: pages}) as server:
        body = {"files": {"coffee_cart.py": (ROOT / "examples" / "coffee_cart.py").read_text()}}
        made = server.admin().post("/models", {"name": "coffee_cart", "engine": "python", **body})
        assert made.status == 201, made
        yield server


Run = Callable[[Coroutine[Any, Any, Any]], Any]


def test_a_page_logs_in_plays_reloads_and_goes_on(
    run: Run, server: Server, pages: str, tmp_path: Path
) -> None:
    pictures: list[bytes] = []

    async def log_in(page: Page, password: str = PASSWORD) -> None:
        await page.type("[name=server]", server.url)
        await page.type("[name=username]", ADMIN)
        await page.type("[name=password]", password)
        await page.click("#login button")

    async def week(page: Page, number: int, price: str, advertising: str) -> None:
        await page.type("[name=price]", price)
        await page.type("[name=advertising]", advertising)
        await page.click("#decide button")
        await page.until(f"document.querySelectorAll('#rows tr').length == {number}")

    async def play() -> None:
        assert CHROMIUM is not None
        async with Page(CHROMIUM, tmp_path / "profile") as page:
            await page.open(f"{pages}/coffee_cart.html")
            await page.until("!document.querySelector('#login').hidden")
            await log_in(page, "a wrong password")
            await page.until("!document.querySelector('#error').hidden")
            assert "wrong username or password" in await page.run(SAID)
            await log_in(page)
            await page.until("document.querySelector('#figures').innerText.includes('0 of 12')")
            assert await page.run("document.querySelector('#error').hidden")
            await week(page, 1, "2.5", "250")
            await week(page, 2, "3.2", "300")
            shown = await page.run(ROW)
            assert [row[:3] for row in shown] == [["1", "2.50", "250.00"], ["2", "3.20", "300.00"]]
            assert await page.run("document.querySelectorAll('#chart circle').length") == 3
            address = await page.run("location.href")

            await page.reload()
            await page.until("document.querySelector('#figures').innerText.includes('2 of 12')")
            assert await page.run("location.href") == address
            assert await page.run(ROW) == shown
            assert await page.run("document.querySelector('[name=price]').value") == "3.2"

            # What the page shows is what the server has.
            run_id = address.partition("#run=")[2]
            cash = server.admin().get(f"/v2/model/variable/{run_id}/cash").body
            assert shown[1][5] == f"{cash:,.2f}"

            await week(page, 3, "2.9", "200")
            await page.type("[name=price]", "-1")
            await page.click("#decide button")
            await page.until("!document.querySelector('#error').hidden")
            assert "the price must be above 0" in await page.run(SAID)
            for number in range(4, 13):
                await week(page, number, "2.9", "150")
            assert await page.run("document.querySelector('#error').hidden")
            pictures.append(await page.screenshot())

            await page.click("#new")
            await page.until("document.querySelector('#figures').innerText.includes('0 of 12')")
            assert await page.run("location.href") != address
            await page.click("#logout")
            await page.until("!document.querySelector('#login').hidden")

    run(play())
    if KEEP:
        Path(KEEP).write_bytes(pictures[0])
