"""The storage contract of accounts: users, their sessions and tokens, and the installation's secrets."""

from __future__ import annotations

from typing import Literal, Protocol

import msgspec


class User(msgspec.Struct, frozen=True, kw_only=True):
    """An account. `session_epoch` rises when its sessions end (logout everywhere, a changed password)."""

    name: str
    password_hash: str
    admin: bool = False
    session_epoch: int = 1
    created_ms: int


class LoginSession(msgspec.Struct, frozen=True, kw_only=True):
    """A login session or a bearer token; `id` is the SHA-256 hex of the secret that the client holds."""

    id: str
    user: str
    kind: Literal["cookie", "token"]
    label: str = ""
    epoch: int
    created_ms: int
    expires_ms: int


class AccountStore(Protocol):
    """Users, sessions and secrets, in any backend."""

    async def secret(self, name: str, proposal: bytes) -> bytes:
        """The installation's secret of this name; `proposal` becomes it if there is none yet, atomically."""

    async def create_user(self, user: User) -> None:
        """:raises DuplicateName:"""

    async def get_user(self, name: str) -> User | None: ...

    async def list_users(self, *, limit: int, after: str = "") -> list[User]:
        """In order of name, those greater than `after`."""

    async def set_password(self, name: str, password_hash: str) -> bool:
        """Store it and end all cookie sessions: `session_epoch` rises. False for an unknown user."""

    async def remove_user(self, name: str) -> bool:
        """Remove the account and its sessions and tokens; its experiments stay stored, unreachable."""

    async def add_session(self, session: LoginSession) -> None:
        """A session of an unknown user is never live, not even if an account of this name comes later."""

    async def get_session(self, session_id: str, now_ms: int) -> tuple[LoginSession, User] | None:
        """A live session with its user: not expired, user exists and, for a cookie, the epoch matches."""

    async def list_sessions(
        self, user: str, kind: Literal["cookie", "token"], now_ms: int
    ) -> list[LoginSession]:
        """Live ones, oldest first."""

    async def remove_session(self, user: str, session_id: str) -> bool: ...
