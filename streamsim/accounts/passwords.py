"""Password hashes: bcrypt, in threads of its own, and in the same time whether or not there is a hash."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import bcrypt

from streamsim.config import LoginSettings
from streamsim.errors import BadRequest, TooManyRequests, Unavailable

R = TypeVar("R")

MAX_BYTES = 72  # bcrypt reads no further


class Passwords:
    """Hashes and checks passwords off the event loop; `Login` says how costly, and how many at once."""

    def __init__(self, settings: LoginSettings) -> None:
        self._settings = settings
        self._threads = ThreadPoolExecutor(settings.threads, thread_name_prefix="password")
        self._waiting = 0
        self._closed = False
        # A salt, then a hash that no password has: to check against it costs what any other does.
        self._nobodys = bcrypt.gensalt(settings.bcrypt_rounds).decode() + "." * 31

    def accept(self, password: object, field: str, *, new: bool) -> str:
        """A password of an acceptable form.

        :param new: whether it is to be stored, not merely checked.
        :raises BadRequest: naming the field and the accepted form.
        """
        if not isinstance(password, str):
            raise BadRequest(f"{field} must be given as text", field=field)
        size = len(password.encode("utf-8"))
        if size > MAX_BYTES:
            raise BadRequest(
                f"{field} has {size} bytes of UTF-8; at most {MAX_BYTES} are possible", field=field
            )
        least = self._settings.password_min_bytes
        if new and size < least:
            raise BadRequest(f"{field} must have at least {least} bytes of UTF-8", field=field)
        return password

    async def hash(self, password: str) -> str:
        """The hash to store.

        :raises TooManyRequests: when too many wait. :raises Unavailable: once closed.
        """
        salt = bcrypt.gensalt(self._settings.bcrypt_rounds)
        return (await self._run(bcrypt.hashpw, password.encode(), salt)).decode()

    async def verify(self, password: str, password_hash: str | None) -> bool:
        """Whether the hash is of this password. None takes as long as a wrong password.

        :raises TooManyRequests: when too many wait. :raises Unavailable: once closed.
        """
        stored = self._nobodys if password_hash is None else password_hash
        right = await self._run(bcrypt.checkpw, password.encode(), stored.encode())
        return right and password_hash is not None

    def close(self) -> None:
        """Let the threads end; who still waits is refused."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run(self, function: Callable[[bytes, bytes], R], password: bytes, other: bytes) -> R:
        if self._closed:
            raise Unavailable("the server is ending")
        if self._waiting >= self._settings.queue:
            raise TooManyRequests("too many passwords are being checked; try again")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, function, password, other)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise Unavailable("the server is ending") from None
            raise
        finally:
            self._waiting -= 1
