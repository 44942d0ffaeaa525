"""One description of every call, seen from two sides.

A call is a method of a `Group`, written once as a coroutine, or as an asynchronous generator if it gives
many things. `@call` and `@each` make of it what the group's sender needs: on `Group[Blocking]` a plain
function and an iterator, on `Group[Asyncio]` a coroutine function and an asynchronous iterator. Type checkers
see the same.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from contextlib import aclosing
from functools import wraps
from types import MethodType
from typing import Any, Concatenate, Generic, ParamSpec, TypeVar, overload
from urllib.parse import quote

from streamsim_client.answers import JobEvent
from streamsim_client.reading import checked, content, events
from streamsim_client.retries import Repeat
from streamsim_client.sending import Asyncio, Blocking, Parameter, Request, Sender
from streamsim_client.values import Json, Object

P = ParamSpec("P")
T = TypeVar("T")
S = TypeVar("S", bound=Sender)


class Group(Generic[S]):
    """Calls that belong together."""

    def __init__(self, sender: S) -> None:
        self._sender = sender

    async def _ask(
        self,
        kind: type[T],
        method: str,
        path: str,
        *,
        query: Mapping[str, Parameter] | None = None,
        body: object = None,
        repeat: Repeat | None = None,
    ) -> T:
        """The JSON value of an answer, which the documents say is of this kind.

        :param repeat: by default a GET is safe to send again, and nothing else.
        """
        return content(await self._sender.ask(_request(method, path, query, body, repeat)), kind)

    async def _pages(
        self, kind: type[T], path: str, query: Mapping[str, Parameter]
    ) -> AsyncGenerator[T, None]:
        """The JSON values of a list's pages, as far as the header `Link` leads."""
        more: Mapping[str, Parameter] | None = query
        while more is not None:
            response = await self._sender.ask(_request("GET", path, more, None, None))
            yield content(response, kind)
            link = response.links.get("next")
            # Only its query: before a proxy, the service may have another path.
            more = None if link is None else dict(response.url.join(link["url"]).params)

    async def _items(
        self, kind: type[T], path: str, query: Mapping[str, Parameter]
    ) -> AsyncGenerator[T, None]:
        """The elements, which are of this kind, of a list in pages."""
        async for page in self._pages(list[Json], path, query):
            for item in page:
                yield checked(item, kind)

    async def _events(self, path: str) -> AsyncGenerator[JobEvent, None]:
        """The state and progress of a job at each of its events."""
        texts = self._sender.stream(Request("GET", path, repeat="safe", endless=True))
        async with aclosing(events(texts)) as found:
            async for event, data in found:
                progress = {name: data.get(name) for name in ("id", "state", "progress")}
                yield checked({"event": event, **progress}, JobEvent)


def _request(
    method: str,
    path: str,
    query: Mapping[str, Parameter] | None,
    body: object,
    repeat: Repeat | None,
) -> Request:
    again: Repeat = repeat or ("safe" if method == "GET" else "never")
    return Request(method, path, query or {}, body, repeat=again)


class call(Generic[P, T]):  # noqa: N801 -- a decorator
    """A method that gives one thing."""

    def __init__(self, method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]) -> None:
        self.__wrapped__ = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, group: Group[Blocking], owner: object = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, group: Group[Asyncio], owner: object = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, group: None, owner: object = None) -> call[P, T]: ...
    def __get__(self, group: Group[Any] | None, owner: object = None) -> Any:
        if group is None:
            return self
        method: Callable[..., Coroutine[Any, Any, T]] = MethodType(self.__wrapped__, group)

        @wraps(method)
        def called(*args: P.args, **kwargs: P.kwargs) -> Any:
            return group._sender.finished(method(*args, **kwargs))

        return called


class each(Generic[P, T]):  # noqa: N801 -- a decorator
    """A method that gives many things, one after the other."""

    def __init__(self, method: Callable[Concatenate[Any, P], AsyncGenerator[T, None]]) -> None:
        self.__wrapped__ = method
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, group: Group[Blocking], owner: object = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(
        self, group: Group[Asyncio], owner: object = None
    ) -> Callable[P, AsyncGenerator[T, None]]: ...
    @overload
    def __get__(self, group: None, owner: object = None) -> each[P, T]: ...
    def __get__(self, group: Group[Any] | None, owner: object = None) -> Any:
        if group is None:
            return self
        method: Callable[..., AsyncGenerator[T, None]] = MethodType(self.__wrapped__, group)

        @wraps(method)
        def called(*args: P.args, **kwargs: P.kwargs) -> Any:
            return group._sender.iterated(method(*args, **kwargs))

        return called


def path(*parts: str) -> str:
    """A percent-encoded path. :raises ValueError: a part that would lead elsewhere.

    >>> path("stats", "4b1e", "a/b")
    '/stats/4b1e/a%2Fb'
    """
    for part in parts:
        if part in ("", ".", ".."):
            raise ValueError(f"{part!r} is no id or name")
    return "".join(f"/{quote(part, safe='')}" for part in parts)


def given(**fields: object) -> Object:
    """The fields that are not None.

    >>> given(seed=0, theta=None)
    {'seed': 0}
    """
    return {name: value for name, value in fields.items() if value is not None}
