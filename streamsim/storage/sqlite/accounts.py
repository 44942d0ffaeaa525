"""Accounts, sessions and secrets in the SQLite file."""

from __future__ import annotations

import sqlite3
from typing import Any, Literal

from streamsim.storage.contract.accounts import LoginSession, User
from streamsim.storage.contract.errors import DuplicateName
from streamsim.storage.sqlite.database import Database

_USER = "name, password_hash, admin, session_epoch, created_ms"
MAX_FOUND = 10_000
"""Sessions that a process remembers."""
_SESSION = "s.id, s.user, s.kind, s.label, s.epoch, s.created_ms, s.expires_ms"
_LIVE_SESSION = (
    f"SELECT {_SESSION}, u.name, u.password_hash, u.admin, u.session_epoch, u.created_ms"
    " FROM sessions s JOIN users u ON u.name = s.user"
    " WHERE s.expires_ms > ? AND (s.kind <> 'cookie' OR s.epoch = u.session_epoch)"
)


class SQLiteAccounts:
    """An `AccountStore` on the file."""

    def __init__(self, db: Database) -> None:
        self._db = db
        # Sessions that were found live while so many logins had been ended.
        self._found: dict[str, tuple[LoginSession, User]] = {}
        self._found_at = 0

    async def secret(self, name: str, proposal: bytes) -> bytes:
        def work(db: sqlite3.Connection) -> bytes:
            sql = "INSERT INTO secrets (name, secret) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"
            db.execute(sql, (name, proposal))
            found = db.execute("SELECT secret FROM secrets WHERE name = ?", (name,)).fetchall()
            return bytes(found[0][0])

        return await self._db.write(work)

    async def create_user(self, user: User) -> None:
        def work(db: sqlite3.Connection) -> None:
            sql = f"INSERT INTO users ({_USER}) VALUES (?, ?, ?, ?, ?) ON CONFLICT (name) DO NOTHING"
            row = (user.name, user.password_hash, user.admin, user.session_epoch, user.created_ms)
            if not db.execute(sql, row).rowcount:
                raise DuplicateName(user.name)

        await self._db.write(work)

    async def get_user(self, name: str) -> User | None:
        sql = f"SELECT {_USER} FROM users WHERE name = ?"
        rows = await self._db.read(lambda db: db.execute(sql, (name,)).fetchall())
        return _to_user(rows[0]) if rows else None

    async def list_users(self, *, limit: int, after: str = "") -> list[User]:
        sql = f"SELECT {_USER} FROM users WHERE name > ? ORDER BY name LIMIT max(?, 0)"
        rows = await self._db.read(lambda db: db.execute(sql, (after, limit)).fetchall())
        return [_to_user(row) for row in rows]

    async def set_password(self, name: str, password_hash: str) -> bool:
        sql = "UPDATE users SET password_hash = ?, session_epoch = session_epoch + 1 WHERE name = ?"
        return await self._db.write(
            lambda db: db.execute(sql, (password_hash, name)).rowcount > 0, revokes=True
        )

    async def remove_user(self, name: str) -> bool:
        return await self._db.write(
            lambda db: db.execute("DELETE FROM users WHERE name = ?", (name,)).rowcount > 0, revokes=True
        )

    async def add_session(self, session: LoginSession) -> None:
        sql = (
            "INSERT INTO sessions (id, user, kind, label, epoch, created_ms, expires_ms)"
            " SELECT ?, name, ?, ?, ?, ?, ? FROM users WHERE name = ?"
        )
        row = (
            session.id,
            session.kind,
            session.label,
            session.epoch,
            session.created_ms,
            session.expires_ms,
            session.user,
        )
        await self._db.write(lambda db: db.execute(sql, row))

    async def get_session(self, session_id: str, now_ms: int) -> tuple[LoginSession, User] | None:
        count = self._db.revocations
        if count != self._found_at or len(self._found) >= MAX_FOUND:
            self._found.clear()
            self._found_at = count
        found = self._found.get(session_id)
        if found is not None:
            return found if found[0].expires_ms > now_ms else None
        sql = f"{_LIVE_SESSION} AND s.id = ?"
        rows = await self._db.look_up(lambda db: db.execute(sql, (now_ms, session_id)).fetchall())
        if not rows:
            return None
        found = _to_session(rows[0]), _to_user(rows[0][7:])
        if count % 2 == 0 and count == self._db.revocations == self._found_at:
            self._found[session_id] = found
        return found

    async def list_sessions(
        self, user: str, kind: Literal["cookie", "token"], now_ms: int
    ) -> list[LoginSession]:
        sql = f"{_LIVE_SESSION} AND s.user = ? AND s.kind = ? ORDER BY s.created_ms, s.rowid"
        rows = await self._db.read(lambda db: db.execute(sql, (now_ms, user, kind)).fetchall())
        return [_to_session(row) for row in rows]

    async def remove_session(self, user: str, session_id: str) -> bool:
        sql = "DELETE FROM sessions WHERE user = ? AND id = ?"
        return await self._db.write(lambda db: db.execute(sql, (user, session_id)).rowcount > 0, revokes=True)


def _to_user(row: tuple[Any, ...]) -> User:
    name, password_hash, admin, epoch, created_ms = row
    return User(
        name=name, password_hash=password_hash, admin=bool(admin), session_epoch=epoch, created_ms=created_ms
    )


def _to_session(row: tuple[Any, ...]) -> LoginSession:
    id, user, kind, label, epoch, created_ms, expires_ms = row[:7]
    return LoginSession(
        id=id, user=user, kind=kind, label=label, epoch=epoch, created_ms=created_ms, expires_ms=expires_ms
    )
