"""What hostile code aims at, and what tells that it was reached."""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import sys
from pathlib import Path

# A part that no snippet holds itself, so that what finds it has found the real thing.
SECRET = secrets.token_hex(6)


def token(place: str) -> str:
    """The secret that is planted in a place."""
    return f"CANARY-{place}-{SECRET}"


class Targets:
    """What the attacks aim at: a secret file, and three listeners that answer a token to whoever connects."""

    def __init__(self, folder: Path, wrong: list[str]) -> None:
        self.wrong = wrong
        folder.chmod(0o755)
        self.secret = folder / "secret"
        self.secret.write_text(token("FILE"))
        self.secret.chmod(0o600)
        self.unix_path = str(folder / "socket")
        self.abstract = f"streamsim-attacks-{os.getpid()}"
        self.tcp_port = 0
        self.reached = 0
        self._listeners: list[asyncio.Server] = []
        self._before: os.stat_result | None = None
        self._stray = set(_stray())

    async def __aenter__(self) -> Targets:
        tcp = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.tcp_port = tcp.sockets[0].getsockname()[1]
        unix = await asyncio.start_unix_server(self._answer, self.unix_path)
        os.chmod(self.unix_path, 0o777)
        abstract = socket.socket(socket.AF_UNIX)
        abstract.bind("\0" + self.abstract)
        self._listeners = [tcp, unix, await asyncio.start_unix_server(self._answer, sock=abstract)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._before = self.secret.stat()
        for listener in self._listeners:
            listener.close()

    async def _answer(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reached += 1
        writer.write(token("NET").encode())
        writer.close()

    def look(self) -> None:
        """Notes what was reached or changed."""
        if self.reached:
            self.wrong.append(f"listeners were reached {self.reached} times")
        if self.secret.read_text() != token("FILE") or self.secret.stat().st_mode & 0o777 != 0o600:
            self.wrong.append("the secret file was changed")
        stray = set(_stray()) - self._stray
        if stray:
            self.wrong.append(f"files appeared: {sorted(stray)[:9]}")
            for path in stray:
                shutil.rmtree(path, ignore_errors=True)


def _stray() -> list[str]:
    """Files that the snippets try to make."""
    found = [str(path) for place in ("/tmp", "/dev/shm", "/var/tmp") for path in Path(place).glob("sa_pwn*")]
    return found + [str(path) for path in Path(sys.prefix).rglob("*sa_pwn*")]
