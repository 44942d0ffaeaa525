"""What a StreamingBandit has in MongoDB, as `streamsim migrate` reads it. Nothing is written.

    userinfo.userinfo    username, password (bytes that bcrypt made), user_id (a number)
    getaction.<id>       of an experiment: context, action, date (ISO text in UTC, without a zone)
    setreward.<id>       context, action, reward, date
    logs.<id>            what log_data was given, with exp_id
    hourly_theta.<id>    theta as get_theta() gives it, with exp_id
    simulations.fs       GridFS: per simulation a file named after the experiment, a JSON object of draws
    advices.advices      open advices: date, action, exp_id, and the fields of the context beside them

Rows without a date have that of their `_id`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from bson import ObjectId

from streamsim import values
from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.mongo.connection import client_of, reaching

LOGS: Final = {"action": "getaction", "reward": "setreward", "manual": "logs", "theta": "hourly_theta"}
"""The database of each kind of log."""


class Document(NamedTuple):
    """A document: its id, its date in ms, and its fields as JSON values."""

    id: str
    date_ms: int
    fields: dict[str, Any]


class StreamingBanditMongo:
    """Reads users, logs and advices. :param url: of the server; its database does not matter."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Any = None

    async def open(self) -> None:
        """:raises StoreUnavailable:"""
        self._client = client_of(self._url)
        async with reaching():
            await self._client.server_info()

    async def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    async def users(self) -> list[tuple[str, str, str, int]]:
        """(user_id, name, password hash, date of creation in ms), in order of name."""
        async with reaching():
            found = await self._client["userinfo"]["userinfo"].find({}).to_list(None)
        users = [
            (str(one["user_id"]), str(one["username"]), _hash(one["password"]), _created_ms(one["_id"]))
            for one in found
        ]
        return sorted(users, key=lambda user: user[1])

    async def log(self, kind: str, experiment_id: str) -> AsyncIterator[Document]:
        """The rows of a log, oldest first. :raises StoreUnavailable:"""
        async with reaching():
            async for found in self._client[LOGS[kind]][experiment_id].find({}).sort("_id", 1):
                yield _document(found)

    async def advices(self, experiment_id: str) -> AsyncIterator[Document]:
        """Open advices of an experiment, oldest first. :raises StoreUnavailable:"""
        same = [experiment_id, int(experiment_id)] if experiment_id.isdecimal() else [experiment_id]
        async with reaching():
            async for found in (
                self._client["advices"]["advices"].find({"exp_id": {"$in": same}}).sort("_id", 1)
            ):
                yield _document(found)

    async def advices_of_nobody(self) -> int:
        """Open advices that an early version stored, which do not say whose they are."""
        async with reaching():
            found: int = await self._client["advices"]["advices"].count_documents(
                {"exp_id": {"$exists": False}}
            )
        return found

    async def simulations(self, experiment_id: str) -> AsyncIterator[tuple[str, int, bytes]]:
        """(id, date in ms, JSON text) of each simulation, oldest first. :raises StoreUnavailable:"""
        database = self._client["simulations"]
        async with reaching():
            files = await database["fs.files"].find({"filename": experiment_id}).sort("_id", 1).to_list(None)
            for file in files:
                chunks = database["fs.chunks"].find({"files_id": file["_id"]}).sort("n", 1)
                text = b"".join([bytes(chunk["data"]) async for chunk in chunks])
                yield str(file["_id"]), _created_ms(file["_id"]), text


def _document(found: Mapping[str, Any]) -> Document:
    fields = {name: _json(value) for name, value in found.items() if name not in ("_id", "exp_id")}
    date_ms = _created_ms(found["_id"])
    given = found.get("date")
    if isinstance(given, datetime):
        date_ms = int(given.replace(tzinfo=UTC).timestamp() * 1000)
    elif isinstance(given, str):
        try:
            date_ms = int(datetime.fromisoformat(given).replace(tzinfo=UTC).timestamp() * 1000)
        except ValueError:
            pass  # the code logged a field of this name that is something else
    try:
        plain: dict[str, Any] = values.plain(fields, "row", finite=False)
    except values.InvalidValue as error:
        raise StoreUnavailable(f"StreamingBandit's document {found['_id']} cannot be read: {error}") from None
    return Document(str(found["_id"]), date_ms, plain)


def _json(value: Any) -> Any:
    """A value of BSON as one of JSON; what JSON has no form for becomes text."""
    if isinstance(value, Mapping):
        return {str(name): _json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return value.isoformat(timespec="milliseconds") if isinstance(value, datetime) else str(value)


def _hash(password: Any) -> str:
    return bytes(password).decode("ascii") if isinstance(password, bytes) else str(password)


def _created_ms(id: Any) -> int:
    return int(id.generation_time.timestamp() * 1000) if isinstance(id, ObjectId) else 0
