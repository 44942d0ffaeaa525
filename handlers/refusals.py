"""Requests that no handler answers: of a path that is none, or with a body over the limit."""

from __future__ import annotations

from functools import cache
from typing import ClassVar

from handlers.base import Access, BaseHandler
from streamsim.config import Settings
from streamsim.errors import NotFound, StreamsimError, TooLarge, Unavailable


def body_too_large(settings: Settings) -> TooLarge:
    """The error for a request body over the limit."""
    return TooLarge(f"a request body has at most {settings.server.max_body_bytes} bytes", field="body")


def no_room() -> Unavailable:
    """The error for a body beside which there are too many others."""
    return Unavailable("too many large bodies are under way (server.bodies_bytes); try again soon")


class NotFoundHandler(BaseHandler):
    """Every path that no route has."""

    access: ClassVar[Access] = "public"

    async def prepare(self) -> None:
        path = self.request.path[:200]
        raise NotFound(f"nothing has the path {path}; GET /openapi.json lists all paths")


class _Refused(BaseHandler):
    def initialize(self, error: StreamsimError) -> None:  # type: ignore[override]
        super().initialize()
        self.error = error

    async def prepare(self) -> None:
        raise self.error


@cache
def refused(handler: type[BaseHandler]) -> type[BaseHandler]:
    """What answers in place of a handler with the error that it is given, in the same form."""
    return type("Refused", (_Refused, handler), {})


class _Unread(_Refused):
    async def prepare(self) -> None:
        begun = super(_Refused, self).prepare()
        if begun is not None:  # a handler's own need not be a coroutine
            await begun
        raise self.error


@cache
def unread(handler: type[BaseHandler]) -> type[BaseHandler]:
    """Likewise, after what the handler does before it reads a body."""
    return type("Unread", (_Unread, handler), {})
