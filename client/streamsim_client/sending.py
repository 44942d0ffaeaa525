"""How a request becomes an answer: the loop of attempts, once, over httpx's blocking and asyncio clients.

Everything that waits is written as a coroutine. `Asyncio` hands it to the caller's event loop. `Blocking`
waits inside of each step, so that its coroutines never suspend and one `send(None)` runs them to their end.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

from streamsim_client.errors import ClientError, Disconnected, TimedOut, Unreadable, told
from streamsim_client.retries import Repeat, Retries

T = TypeVar("T")

Parameter = str | int | float | bool | Sequence[str] | None
"""In a query; None is left out, a sequence repeats the parameter."""

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


@dataclass(frozen=True)
class Request:
    """One HTTP request. `path` is percent-encoded; `body` goes as JSON, None is no body.

    `endless`: an answer that may pause longer than the client's timeout.
    """

    method: str
    path: str
    query: Mapping[str, Parameter] = field(default_factory=dict)
    body: object = None
    headers: Mapping[str, str] = field(default_factory=dict)
    repeat: Repeat = "never"
    endless: bool = False


class Sender(ABC):
    """Sends requests to one server as one user. `token` is the bearer token, if one is used."""

    def __init__(
        self, http: httpx.Client | httpx.AsyncClient, url: str, token: str | None, retries: Retries
    ) -> None:
        self.token = token
        self._url = url.rstrip("/")
        self._retries = retries
        self._build = http.build_request
        self._timeout = http.timeout

    async def ask(self, request: Request) -> httpx.Response:
        """The answer, read to its end. :raises ClientError:"""
        return await self._answered(request, stream=False)

    async def stream(self, request: Request) -> AsyncGenerator[str, None]:
        """Text of the answer as it comes. Retried until it begins. :raises ClientError:"""
        response = await self._answered(request, stream=True)
        try:
            async for text in self._texts(response):
                yield text
        except httpx.TransportError as error:
            raise _failure(error, request) from error
        finally:
            await self._end(response)

    async def _answered(self, request: Request, *, stream: bool) -> httpx.Response:
        attempt = 0
        while True:
            attempt += 1
            try:
                response = await self._send(self._built(request), stream)
                if response.is_success:
                    return response
                if stream:
                    await self._read(response)
                failure: ClientError = told(response)
            except httpx.TransportError as error:
                failure = _failure(error, request)
            except httpx.HTTPError as error:
                raise Unreadable(f"{request.method} {request.path}: {error}") from error
            pause_s = self._retries.pause_s(attempt, request.repeat, failure)
            if pause_s is None:
                raise failure
            await self._sleep(pause_s)

    def _built(self, request: Request) -> httpx.Request:
        headers = dict(request.headers)
        if self.token is not None:
            headers["Authorization"] = f"Bearer {self.token}"
        usual = self._timeout
        patient = httpx.Timeout(connect=usual.connect, read=None, write=usual.write, pool=usual.pool)
        return self._build(
            request.method,
            self._url + request.path,
            params={name: value for name, value in request.query.items() if value is not None},
            json=request.body,
            headers=headers,
            timeout=patient if request.endless else usual,
        )

    # ---- what differs

    @abstractmethod
    async def _send(self, request: httpx.Request, stream: bool) -> httpx.Response: ...

    @abstractmethod
    async def _read(self, response: httpx.Response) -> None: ...

    @abstractmethod
    def _texts(self, response: httpx.Response) -> AsyncIterator[str]: ...

    @abstractmethod
    async def _end(self, response: httpx.Response) -> None: ...

    @abstractmethod
    async def _sleep(self, seconds: float) -> None: ...

    @abstractmethod
    def finished(self, work: Coroutine[Any, Any, T]) -> Any:
        """What a caller gets for a coroutine: its result, or itself."""

    @abstractmethod
    def iterated(self, items: AsyncGenerator[T, None]) -> Any:
        """What a caller gets for many results: an iterator, or an asynchronous one."""


class Blocking(Sender):
    """For code without an event loop. Threads may share it."""

    def __init__(self, http: httpx.Client, url: str, token: str | None, retries: Retries) -> None:
        super().__init__(http, url, token, retries)
        self._http = http

    async def _send(self, request: httpx.Request, stream: bool) -> httpx.Response:
        return self._http.send(request, stream=stream)

    async def _read(self, response: httpx.Response) -> None:
        response.read()

    async def _texts(self, response: httpx.Response) -> AsyncIterator[str]:
        for text in response.iter_text():
            yield text

    async def _end(self, response: httpx.Response) -> None:
        response.close()

    async def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)  # noqa: ASYNC251 -- nobody else waits for this coroutine

    def finished(self, work: Coroutine[Any, Any, T]) -> T:
        """The coroutine's result."""
        try:
            work.send(None)
        except StopIteration as end:
            result: T = end.value
            return result
        raise AssertionError("a blocking client waited for an event loop")

    def iterated(self, items: AsyncGenerator[T, None]) -> Iterator[T]:
        """The generator's items, as an iterator that closes it at its end."""
        try:
            while True:
                try:
                    item = self.finished(items.asend(None))
                except StopAsyncIteration:
                    return
                yield item
        finally:
            self.finished(items.aclose())


class Asyncio(Sender):
    """For code in an event loop of asyncio."""

    def __init__(self, http: httpx.AsyncClient, url: str, token: str | None, retries: Retries) -> None:
        super().__init__(http, url, token, retries)
        self._http = http

    async def _send(self, request: httpx.Request, stream: bool) -> httpx.Response:
        return await self._http.send(request, stream=stream)

    async def _read(self, response: httpx.Response) -> None:
        await response.aread()

    def _texts(self, response: httpx.Response) -> AsyncIterator[str]:
        return response.aiter_text()

    async def _end(self, response: httpx.Response) -> None:
        await response.aclose()

    async def _sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def finished(self, work: Coroutine[Any, Any, T]) -> Coroutine[Any, Any, T]:
        """The coroutine, for the caller to await."""
        return work

    def iterated(self, items: AsyncGenerator[T, None]) -> AsyncGenerator[T, None]:
        """The generator itself."""
        return items


def _failure(error: httpx.TransportError, request: Request) -> Disconnected:
    what = f"{request.method} {request.path}: {error or type(error).__name__}"
    sent = not isinstance(error, _UNSENT)
    kind = TimedOut if sent and isinstance(error, httpx.TimeoutException) else Disconnected
    failure = kind(what, sent=sent)
    failure.__cause__ = error
    return failure
