"""Users, sessions and secrets in MongoDB.

users           _id: name, uid (of this account alone), password_hash, admin, session_epoch, created_ms
sessions        _id: id, uid, user, kind, label, epoch, created_ms, expires_ms
secrets         _id: name, value
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from bson import Binary, ObjectId
from pymongo import ASCENDING
from pymongo.errors import DuplicateKeyError

from streamsim.storage.contract.accounts import LoginSession, User
from streamsim.storage.contract.errors import DuplicateName
from streamsim.storage.mongo.connection import MongoConnection, reaching
from streamsim.storage.mongo.values import plain


class MongoAccounts:
    """An `AccountStore` on a connection."""

    def __init__(self, connection: MongoConnection) -> None:
        self._connection = connection

    @property
    def _db(self) -> Any:
        return self._connection.database

    async def secret(self, name: str, proposal: bytes) -> bytes:
        async with reaching():
            try:
                await self._db.secrets.insert_one({"_id": name, "value": Binary(proposal)})
                return proposal
            except DuplicateKeyError:
                return bytes((await self._db.secrets.find_one({"_id": name}))["value"])

    async def create_user(self, user: User) -> None:
        async with reaching():
            try:
                await self._db.users.insert_one(user_document(user))
            except DuplicateKeyError:
                raise DuplicateName(user.name) from None

    async def get_user(self, name: str) -> User | None:
        async with reaching():
            document = await self._db.users.find_one({"_id": name})
        return None if document is None else to_user(document)

    async def list_users(self, *, limit: int, after: str = "") -> list[User]:
        if limit <= 0:
            return []
        async with reaching():
            found = self._db.users.find({"_id": {"$gt": after}}).sort("_id", ASCENDING).limit(limit)
            return [to_user(document) async for document in found]

    async def set_password(self, name: str, password_hash: str) -> bool:
        change = {"$set": {"password_hash": password_hash}, "$inc": {"session_epoch": 1}}
        async with reaching():
            return bool((await self._db.users.update_one({"_id": name}, change)).matched_count)

    async def remove_user(self, name: str) -> bool:
        async with reaching():
            user = await self._db.users.find_one({"_id": name}, {"uid": 1})
            if user is None:
                return False
            removed = await self._db.users.delete_one(user)
            # Should this process end here, what is left belongs to no account and is never live.
            await self._db.sessions.delete_many({"uid": user["uid"]})
        return bool(removed.deleted_count)

    async def add_session(self, session: LoginSession) -> None:
        async with reaching():
            user = await self._db.users.find_one({"_id": session.user}, {"uid": 1})
            uid = None if user is None else user["uid"]
            await self._db.sessions.insert_one(session_document(session, uid))

    async def get_session(self, session_id: str, now_ms: int) -> tuple[LoginSession, User] | None:
        async with reaching():
            document = await self._db.sessions.find_one({"_id": session_id})
            if document is None:
                return None
            owner = await self._db.users.find_one({"_id": document["user"]})
        if owner is None or not _is_live(document, owner, now_ms):
            return None
        return to_session(document), to_user(owner)

    async def list_sessions(
        self, user: str, kind: Literal["cookie", "token"], now_ms: int
    ) -> list[LoginSession]:
        async with reaching():
            owner = await self._db.users.find_one({"_id": user})
            if owner is None:
                return []
            query = {"uid": owner["uid"], "kind": kind}
            found = self._db.sessions.find(query).sort("created_ms", ASCENDING)
            documents = [document async for document in found]
        return [to_session(document) for document in documents if _is_live(document, owner, now_ms)]

    async def remove_session(self, user: str, session_id: str) -> bool:
        async with reaching():
            removed = await self._db.sessions.delete_one({"_id": session_id, "user": user})
        return bool(removed.deleted_count)

    async def forget_sessions(self, now_ms: int, limit: int) -> int:
        """Drop up to `limit` expired sessions; the number dropped."""
        if limit <= 0:
            return 0
        async with reaching():
            expired = self._db.sessions.find({"expires_ms": {"$lte": now_ms}}, {"_id": 1}).limit(limit)
            ids = [document["_id"] async for document in expired]
            if not ids:
                return 0
            return int((await self._db.sessions.delete_many({"_id": {"$in": ids}})).deleted_count)


def _is_live(session: Mapping[str, Any], user: Mapping[str, Any], now_ms: int) -> bool:
    if session["uid"] != user["uid"] or session["expires_ms"] <= now_ms:
        return False
    return bool(session["kind"] != "cookie" or session["epoch"] == user["session_epoch"])


def user_document(user: User) -> dict[str, Any]:
    """`uid` is the account's alone: one of the same name that comes later has another."""
    return {
        "_id": user.name,
        "uid": str(ObjectId()),
        "password_hash": user.password_hash,
        "admin": user.admin,
        "session_epoch": user.session_epoch,
        "created_ms": user.created_ms,
    }


def session_document(session: LoginSession, uid: str | None) -> dict[str, Any]:
    """:param uid: of the account; None if there is none."""
    return {
        "_id": session.id,
        "uid": uid,
        "user": session.user,
        "kind": session.kind,
        "label": session.label,
        "epoch": session.epoch,
        "created_ms": session.created_ms,
        "expires_ms": session.expires_ms,
    }


def to_user(document: Mapping[str, Any]) -> User:
    return User(
        name=document["_id"],
        password_hash=document["password_hash"],
        admin=document["admin"],
        session_epoch=plain(document["session_epoch"]),
        created_ms=plain(document["created_ms"]),
    )


def to_session(document: Mapping[str, Any]) -> LoginSession:
    return LoginSession(
        id=document["_id"],
        user=document["user"],
        kind=document["kind"],
        label=document["label"],
        epoch=plain(document["epoch"]),
        created_ms=plain(document["created_ms"]),
        expires_ms=plain(document["expires_ms"]),
    )
