"""What administrators look at: who has an account, who is logged in, and what the server is."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any, ClassVar

import msgspec

from handlers.base import Access, BaseHandler
from handlers.ops import VERSION
from streamsim.accounts.accounts import session_id
from streamsim.config import Settings
from streamsim.dates import iso
from streamsim.errors import Unauthorized

MAX_LISTED = 1000


class UsersHandler(BaseHandler):
    """`/users`"""

    access: ClassVar[Access] = "admin"

    async def get(self) -> None:
        """Query: limit?, after?. All users, in order of name."""
        limit = self.integer_argument("limit", MAX_LISTED, 1, MAX_LISTED)
        after = self.text_argument("after") or ""
        users = await self.services.accounts.users(limit=limit + 1, after=after)
        if len(users) > limit:
            users = users[:limit]
            self.link_next(limit=limit, after=users[-1].name)
        shown = [{"name": one.name, "admin": one.admin, "created": iso(one.created_ms)} for one in users]
        self.write_json({"users": shown})


class _OfUser(BaseHandler):
    """What concerns one account: for the user itself, and for administrators."""

    access: ClassVar[Access] = "user"

    def check(self, username: str) -> None:
        """:raises Unauthorized: the caller is neither. The answer does not tell whether there is the user."""
        if not self.user.admin and username != self.user.name:
            raise Unauthorized("only an administrator may do this for another user")


class SessionsHandler(_OfUser):
    """`/users/{username}/sessions`"""

    async def get(self, username: str) -> None:
        """The user's live login sessions and bearer tokens, the newest first, without their secrets."""
        self.check(username)
        credential = self.credential()
        own = None if credential is None else session_id(credential[1])
        found = await self.services.accounts.sessions(username, limit=MAX_LISTED)
        shown = [
            {
                "id": one.id,
                "kind": "login" if one.kind == "cookie" else "token",
                "label": one.label,
                "created": iso(one.created_ms),
                "expires": iso(one.expires_ms),
                "current": one.id == own,
            }
            for one in found
        ]
        self.write_json({"sessions": shown})


class SessionHandler(_OfUser):
    """`/users/{username}/sessions/{session_id}`"""

    async def delete(self, username: str, session_id: str) -> None:
        """Ends a login session, or revokes a token."""
        self.check(username)
        await self.services.accounts.end_session(username, session_id)
        self.write_json({"status": "success"})


class ServerHandler(BaseHandler):
    """`/server`"""

    access: ClassVar[Access] = "admin"

    async def get(self) -> None:
        """Versions, the store, the layers of the sandbox, and the limits in force."""
        services = self.services
        layers = msgspec.to_builtins(services.sandbox.report())
        self.write_json(
            {
                "version": VERSION,
                "python": platform.python_version(),
                "kernel": platform.release(),
                "store": services.store.describe(),
                "sandbox": {
                    name: layers[name]
                    for name in ("namespaces", "root", "landlock", "seccomp", "uids", "cgroup")
                }
                | {"missing": layers["missing"], "notes": layers["notes"]},
                "limits": [*limits(services.settings)],
            }
        )


def limits(settings: Settings) -> Iterator[dict[str, Any]]:
    """The settings that are numbers or switches, with their meaning. Texts may hold addresses and secrets."""
    for section in fields(settings):
        part = getattr(settings, section.name)
        if not is_dataclass(part):
            continue
        for one in fields(part):
            value = getattr(part, one.name)
            if isinstance(value, bool | int | float):
                name = f"{section.name}.{one.name}"
                yield {"name": name, "value": value, "meaning": one.metadata["help"]}


routes = [
    ("/users", UsersHandler),
    ("/users/{username:part}/sessions", SessionsHandler),
    ("/users/{username:part}/sessions/{session_id}", SessionHandler),
    ("/server", ServerHandler),
]
