"""A server with things to look at, and a browser that tells what went wrong on a page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from weakref import WeakKeyDictionary

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.chromium import executable
from tests.console.things import Things, make
from tests.patience import PATIENCE_S
from tests.support import PASSWORD, ROOT, Server

BUILT = ROOT / "streamsim" / "server" / "console" / "index.html"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """`streamsim serve` with the console."""
    if not BUILT.is_file():
        pytest.skip("the console is not built: make install does it, with Node.js or with pip's")
    with Server(tmp_path_factory.mktemp("console")) as running:
        yield running


@pytest.fixture(scope="module")
def things(server: Server) -> Things:
    """What the screens show."""
    with_admin = server.admin()
    return make(with_admin)


class Running:
    """Chromium, from the first test here that asks for it to the last one in a row.

    Not longer: meanwhile Playwright's event loop runs in this thread, and others could not have theirs.
    """

    def __init__(self) -> None:
        self._held = ExitStack()
        self._browser: Browser | None = None
        self._context: BrowserContext | None = None

    def browser(self, program: str) -> Browser:
        if self._browser is None:
            playwright = self._held.enter_context(sync_playwright())
            # Pages share a process, which has compiled the console: half of what a page takes otherwise.
            arguments = ["--process-per-site", "--renderer-process-limit=1"]
            # Chromium's own sandbox does not run as root.
            arguments += ["--disable-gpu", "--disable-dev-shm-usage"]
            arguments += ["--no-sandbox"] if os.geteuid() == 0 else []
            self._browser = playwright.chromium.launch(executable_path=program, args=arguments)
            self._held.callback(self._browser.close)
        return self._browser

    def context(self, browser: Browser, url: str) -> BrowserContext:
        """One profile, logged in here alone. What a page stored stays with its server's address."""
        if self._context is None:
            self._context = browser.new_context(
                viewport={"width": 1280, "height": 900}, reduced_motion="reduce"
            )
            self._context.set_default_timeout(PATIENCE_S * 1000)
            expect.set_options(timeout=PATIENCE_S * 1000)
            # It stays, or the pages' process would end with each test's page; it has nothing to do.
            self._context.new_page().goto(f"{url}/healthy")
        self._context.clear_cookies()
        page = self._context.new_page()
        log_in(page, url)
        page.close()
        return self._context

    def end(self) -> None:
        self._browser = self._context = None
        self._held.close()


RUNNING = Running()
_next: list[pytest.Item | None] = []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(nextitem: pytest.Item | None) -> None:
    _next[:] = [nextitem]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium."""
    program = executable()
    if program is None:
        pytest.skip("Debian's package chromium is not installed")
    yield RUNNING.browser(program)
    if not any("browser" in getattr(one, "fixturenames", ()) for one in _next):
        RUNNING.end()


class Watch:
    """What goes wrong on a page beside what a test looks at. `expected`: refusals that the test provokes."""

    def __init__(self, page: Page, origin: str) -> None:
        self.wrong: list[str] = []
        self.expected: list[tuple[int, str]] = []
        self._failed: list[tuple[int, str]] = []
        page.on("pageerror", lambda error: self.wrong.append(f"exception: {error}"))
        page.on("console", self._said)
        page.on("request", lambda one: self._asked(one.url, origin))
        page.on("response", self._answered)
        page.on("requestfailed", self._broken)

    def _said(self, message: Any) -> None:
        # What is answered with an error is looked at below.
        if message.type in ("error", "warning") and not message.text.startswith("Failed to load resource"):
            self.wrong.append(f"console: {message.text}")

    def _asked(self, url: str, origin: str) -> None:
        if not url.startswith((origin + "/", "data:", "blob:")):
            self.wrong.append(f"left the origin: {url}")

    def _answered(self, response: Any) -> None:
        if response.status >= 400:
            self._failed.append((response.status, response.url))

    def _broken(self, request: Any) -> None:
        # A screen that is left gives up what it asked for.
        if request.failure != "net::ERR_ABORTED":
            self.wrong.append(f"{request.method} {request.url}: {request.failure}")

    def check(self) -> None:
        """Nothing went wrong but what was expected."""
        assert self.wrong == []
        for status, path in self.expected:
            self._failed = [one for one in self._failed if one[0] != status or path not in one[1]]
        assert self._failed == []


WATCHES: WeakKeyDictionary[Page, Watch] = WeakKeyDictionary()


def log_in(page: Page, url: str) -> None:
    """As the administrator, with the form."""
    page.goto(url + "/")
    page.get_by_label("User name").fill("admin")
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("navigation", name="Areas").wait_for()


@pytest.fixture(scope="module")
def context(browser: Browser, server: Server) -> BrowserContext:
    """The browser's profile, logged in."""
    return RUNNING.context(browser, server.url)


@pytest.fixture
def page(context: BrowserContext, server: Server) -> Iterator[Page]:
    """A page of the console; the test fails if anything on it went wrong."""
    made = context.new_page()
    watch = Watch(made, server.url)
    WATCHES[made] = watch
    yield made
    made.close()
    watch.check()


def expect_failure(page: Page, status: int, path: str) -> None:
    """This answer is what the test is about."""
    WATCHES[page].expected.append((status, path))


@pytest.fixture(scope="session")
def axe() -> str:
    """The checker of accessibility; `npm ci` in console/ brings it."""
    found = ROOT / "console" / "node_modules" / "axe-core" / "axe.min.js"
    if not found.is_file():
        pytest.skip("axe-core is not installed: run npm ci in console/")
    return found.read_text(encoding="utf-8")
