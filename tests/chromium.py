"""A headless Chromium, driven over its DevTools protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

from tornado.httpclient import AsyncHTTPClient
from tornado.websocket import WebSocketClientConnection, websocket_connect

from tests.patience import PATIENCE_S
from tests.support import die_with_parent


def executable() -> str | None:
    """Where it is installed, if it is."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Page:
    """One page of a browser of its own, with a fresh profile in `folder`; an asynchronous context."""

    def __init__(self, program: str, folder: Path) -> None:
        self._command = [
            *(program, "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={folder}"),
            *("--no-first-run", "--disable-gpu", "--disable-dev-shm-usage", "--window-size=900,1000"),
            # Chromium's own sandbox does not run as root.
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
            "about:blank",
        ]
        self._numbers = iter(range(1, 1_000_000))

    async def __aenter__(self) -> Page:
        self._process = await asyncio.create_subprocess_exec(
            *self._command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        try:
            async with asyncio.timeout(PATIENCE_S):
                port = await self._port()
            assert self._process.stderr is not None
            self._drained = asyncio.create_task(self._process.stderr.read())
            found = await AsyncHTTPClient().fetch(f"http://127.0.0.1:{port}/json/list")
            [address] = [
                one["webSocketDebuggerUrl"] for one in json.loads(found.body) if one["type"] == "page"
            ]
            self._socket: WebSocketClientConnection = await websocket_connect(
                address, max_message_size=64 << 20
            )
            await self.send("Page.enable")
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._socket.close()
        await self._end()
        await self._drained

    async def _port(self) -> int:
        assert self._process.stderr is not None
        said = b""
        while line := await self._process.stderr.readline():
            said += line
            found = re.search(rb"DevTools listening on ws://[^:]+:(\d+)/", line)
            if found is not None:
                return int(found[1])
        raise AssertionError(f"chromium ended: {said.decode(errors='replace')}")

    async def _end(self) -> None:
        if self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        await self._process.wait()

    async def send(self, method: str, *, until: str = "", **params: Any) -> dict[str, Any]:
        """Give a command; its result, after the event `until`, if one is to be awaited."""
        number = next(self._numbers)
        await self._socket.write_message(json.dumps({"id": number, "method": method, "params": params}))
        result: dict[str, Any] | None = None
        happened = not until
        async with asyncio.timeout(PATIENCE_S):
            while result is None or not happened:
                text = await self._socket.read_message()
                assert text is not None, "chromium ended"
                message = json.loads(text)
                happened = happened or message.get("method") == until
                if message.get("id") == number:
                    assert "error" not in message, message
                    result = message["result"]
        return result

    async def open(self, url: str) -> None:
        """Go to a page, and wait until it is loaded."""
        await self.send("Page.navigate", url=url, until="Page.loadEventFired")

    async def reload(self) -> None:
        """Load the page anew."""
        await self.send("Page.reload", until="Page.loadEventFired")

    async def run(self, script: str) -> Any:
        """The value of a JavaScript expression, which may be a promise."""
        found = await self.send(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until a JavaScript expression holds, looking whenever the document changes."""
        script = f"""new Promise(done => {{
            const look = () => {{ if ({condition}) {{ watch.disconnect(); done(); }} }};
            const watch = new MutationObserver(look);
            const all = {{subtree: true, childList: true, attributes: true, characterData: true}};
            watch.observe(document, all);
            look();
        }})"""
        try:
            await self.run(script)
        except TimeoutError:
            shown = await self.run("document.body.innerText")
            raise AssertionError(f"not within {PATIENCE_S} s: {condition}\n{shown}") from None

    async def type(self, selector: str, text: str) -> None:
        """Put text into a field as a user does: choose all, then type."""
        await self.run(f"document.querySelector({json.dumps(selector)}).select()")
        await self.send("Input.insertText", text=text)

    async def click(self, selector: str) -> None:
        """Press a button."""
        await self.run(f"document.querySelector({json.dumps(selector)}).click()")

    async def screenshot(self) -> bytes:
        """What the page looks like, as a PNG."""
        found = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(found["data"])
