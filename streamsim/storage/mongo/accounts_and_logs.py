"""MongoDB: users, sessions, secrets, and the logs. The only module that knows Motor.

Every write waits until a majority of the replica set has it in its journal. Payloads are stored as JSON text,
so names with dots and dollars, 64-bit integers and the order of fields stay as they are; what queries need
stands beside them.

    users           _id: name, uid (of this account alone), password_hash, admin, session_epoch, created_ms
    sessions        _id: id, uid, user, kind, label, epoch, created_ms, expires_ms
    secrets         _id: name, value
    log_<kind>      _id: row id, experiment, position, date_ms, data
    archived_*      see `archived`
    jobs, job_parts see `mongo_jobs`
    schema          see `schema`
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final, Literal, NamedTuple, get_args

from bson import Binary, ObjectId
from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ASCENDING, DESCENDING, IndexModel, ReadPreference, WriteConcern
from pymongo.errors import BulkWriteError, ConfigurationError, DuplicateKeyError, PyMongoError
from pymongo.uri_parser import parse_uri

from streamsim.storage.contract.decisions import (
    DuplicateName,
    LogKind,
    Session,
    StoredLogRow,
    StoreUnavailable,
    User,
)
from streamsim.storage.mongo import jobs as mongo_jobs
from streamsim.storage.mongo import runs as mongo_runs
from streamsim.storage.mongo.jobs import MongoJobs
from streamsim.storage.mongo.schema import ensure_indexes
from streamsim.storage.mongo.values import plain, readable, to_bytes

DATABASE: Final = "streamsim"
_DUPLICATE_KEY: Final = 11000
_MAX_POSITION: Final = 2**63 - 1

# What is not in the URL.
_OPTIONS: Final = {
    "serverSelectionTimeoutMS": 3000,
    "connectTimeoutMS": 3000,
    "socketTimeoutMS": 20_000,
    "appname": "streamsim",
}


class ArchivedRow(NamedTuple):
    """A log row on its way in, with the position that its commit gave it."""

    experiment: str
    kind: LogKind
    id: str
    position: int
    date_ms: int
    data: bytes


def log_collection(kind: LogKind) -> str:
    return f"log_{kind}"


INDEXES: Final = {
    "sessions": [
        IndexModel([("uid", ASCENDING), ("kind", ASCENDING), ("created_ms", ASCENDING)]),
        IndexModel([("expires_ms", ASCENDING)]),
    ],
    **{
        log_collection(kind): [IndexModel([("experiment", ASCENDING), ("position", DESCENDING)])]
        for kind in get_args(LogKind)
    },
    "archived_theta": [IndexModel([("experiment", ASCENDING)])],
    **mongo_jobs.INDEXES,
    **mongo_runs.INDEXES,
}


@asynccontextmanager
async def reaching() -> AsyncIterator[None]:
    """The driver's errors, except those of keys that are taken, as StoreUnavailable."""
    try:
        yield
    except (BulkWriteError, DuplicateKeyError):
        raise
    except PyMongoError as error:
        raise StoreUnavailable(f"MongoDB is away: {_first_line(error)}") from error


class MongoArchive:
    """The part of the production store that may be slower.

    :param url: `mongodb://` or `mongodb+srv://`; its database, if named, is used in place of `streamsim`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Any = None
        self._db: Any = None
        self.jobs = MongoJobs(lambda: self._db, reaching)
        self.runs = mongo_runs.MongoRuns(lambda: self._db, reaching)
        self.version = "?"

    @property
    def database(self) -> Any:
        """The open database."""
        return self._db

    @property
    def place(self) -> str:
        """Host and database, without credentials."""
        hosts = self._url.partition("://")[2].partition("/")[0].rpartition("@")[2]
        return f"{hosts}/{'' if self._db is None else self._db.name}"

    async def open(self) -> None:
        """Connect; a database gets the indexes that it lacks.

        :raises StoreUnavailable: MongoDB is away, or the URL is none.
        """
        try:
            self._client = AsyncIOMotorClient(self._url, **_unnamed(self._url))
            self._client.get_io_loop = asyncio.get_running_loop
            self._db = self._client.get_default_database(DATABASE).with_options(
                read_preference=ReadPreference.PRIMARY,
                write_concern=WriteConcern("majority", j=True, wtimeout=20_000),
            )
        except (ConfigurationError, ValueError) as error:
            raise StoreUnavailable(f"the URL of MongoDB: {_first_line(error)}") from error
        try:
            async with reaching():
                self.version = (await self._client.server_info()).get("version", "?")
                await ensure_indexes(self._db, INDEXES)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    # Accounts.

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

    async def add_session(self, session: Session) -> None:
        async with reaching():
            user = await self._db.users.find_one({"_id": session.user}, {"uid": 1})
            uid = None if user is None else user["uid"]
            await self._db.sessions.insert_one(session_document(session, uid))

    async def get_session(self, session_id: str, now_ms: int) -> tuple[Session, User] | None:
        async with reaching():
            document = await self._db.sessions.find_one({"_id": session_id})
            if document is None:
                return None
            owner = await self._db.users.find_one({"_id": document["user"]})
        if owner is None or not _is_live(document, owner, now_ms):
            return None
        return to_session(document), to_user(owner)

    async def list_sessions(self, user: str, kind: Literal["cookie", "token"], now_ms: int) -> list[Session]:
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

    # Logs.

    async def append(self, rows: Iterable[ArchivedRow]) -> list[ArchivedRow]:
        """Store rows; safe to repeat. The rows whose id another row had before, which are not stored."""
        by_kind: dict[LogKind, list[ArchivedRow]] = {}
        for row in rows:
            by_kind.setdefault(row.kind, []).append(row)
        repeated: list[ArchivedRow] = []
        async with reaching():
            for kind, some in by_kind.items():
                repeated += await self._append(self._db[log_collection(kind)], some)
        return repeated

    async def _append(self, collection: Any, rows: list[ArchivedRow]) -> list[ArchivedRow]:
        try:
            await collection.insert_many([_log_document(row) for row in rows], ordered=False)
            return []
        except BulkWriteError as error:
            known = [rows[index] for index in only_repeated(error)]
        found = collection.find({"_id": {"$in": [row.id for row in known]}}, {"position": 1})
        positions = {document["_id"]: document["position"] async for document in found}
        # A row that is there with its own position was stored by an earlier attempt.
        return [row for row in known if positions[row.id] != row.position]

    async def read_log(
        self, experiment: str, kind: LogKind, *, limit: int, before: str = ""
    ) -> list[StoredLogRow]:
        """Rows that are in MongoDB, newest first; see the contract."""
        query: dict[str, Any] = {"experiment": experiment}
        if before:
            if not (
                before.isascii() and before.isdecimal() and len(before) < 20 and int(before) <= _MAX_POSITION
            ):
                raise ValueError(f"{before!r} is no position in a log")
            query["position"] = {"$lt": int(before)}
        if limit <= 0:
            return []
        async with reaching():
            found = self._db[log_collection(kind)].find(query).sort("position", DESCENDING).limit(limit)
            return [log_row(document) async for document in found]


def only_repeated(error: BulkWriteError) -> list[int]:
    """Which documents of an unordered insertion were there before.

    :raises StoreUnavailable: others were refused for another reason.
    """
    details = error.details
    failed = [one for one in details["writeErrors"] if one["code"] != _DUPLICATE_KEY]
    if failed or details.get("writeConcernErrors"):
        reason = (failed or details["writeConcernErrors"])[0].get("errmsg", "unknown")
        raise StoreUnavailable(f"MongoDB refuses rows: {reason[:300]}") from error
    return [one["index"] for one in details["writeErrors"]]


def _unnamed(url: str) -> dict[str, Any]:
    """Our options, without those that the URL sets."""
    named = {name.lower() for name in parse_uri(url)["options"]} if url.startswith("mongodb://") else set()
    return {name: value for name, value in _OPTIONS.items() if name.lower() not in named}


def _first_line(error: Exception) -> str:
    text = str(error).partition("\n")[0].partition(" (configured timeouts")[0].partition(", Timeout:")[0]
    return text[:300] or type(error).__name__


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


def session_document(session: Session, uid: str | None) -> dict[str, Any]:
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


def to_session(document: Mapping[str, Any]) -> Session:
    return Session(
        id=document["_id"],
        user=document["user"],
        kind=document["kind"],
        label=document["label"],
        epoch=plain(document["epoch"]),
        created_ms=plain(document["created_ms"]),
        expires_ms=plain(document["expires_ms"]),
    )


def _log_document(row: ArchivedRow) -> dict[str, Any]:
    return {
        "_id": row.id,
        "experiment": row.experiment,
        "position": row.position,
        "date_ms": row.date_ms,
        "data": readable(row.data),
    }


def log_row(document: Mapping[str, Any]) -> StoredLogRow:
    return StoredLogRow(
        str(document["position"]),
        document["_id"],
        plain(document["date_ms"]),
        to_bytes(document["data"]),
    )
