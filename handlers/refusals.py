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


class _BodyTooLarge(BaseHandler):
    async def prepare(self) -> None:
        raise body_too_large(self.service_settings)


@cache
def refusing(handler: type[BaseHandler]) -> type[BaseHandler]:
    """What answers in place of a handler when the body was over the limit, with errors in the same form."""
    return type("BodyTooLarge", (_BodyTooLarge, handler), {})


class _Crowded(BaseHandler):
    async def prepare(self) -> None:
        raise no_room()


@cache
def crowded(handler: type[BaseHandler]) -> type[BaseHandler]:
    """What answers in place of a handler when there is no room for the body, with errors in the same form."""
    return type("Crowded", (_Crowded, handler), {})


class _Unread(BaseHandler):
    def initialize(self, error: StreamsimError) -> None:  # type: ignore[override]
        super().initialize()
        self.error = error

    async def prepare(self) -> None:
        begun = super().prepare()
        if begun is not None:  # a handler's own need not be a coroutine
            await begun
        raise self.error


@cache
def unread(handler: type[BaseHandler]) -> type[BaseHandler]:
    """What answers in place of a handler with the error that it is given, whatever is in the body."""
    return type("Unread", (_Unread, handler), {})
