"""The connection to MongoDB. The only module that knows Motor.

Every write waits until a majority of the replica set has it in its journal. Payloads are stored as JSON text,
so names with dots and dollars, 64-bit integers and the order of fields stay as they are; what queries need
stands beside them. Each part describes its collections; indexes are in `schema`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from motor.motor_asyncio import AsyncIOMotorClient
from pymongo import ReadPreference, WriteConcern
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    DocumentTooLarge,
    DuplicateKeyError,
    OperationFailure,
    PyMongoError,
)
from pymongo.uri_parser import parse_uri

from streamsim.errors import TooLarge
from streamsim.storage.contract.errors import StoreUnavailable
from streamsim.storage.mongo.schema import INDEXES, ensure_indexes

DATABASE: Final = "streamsim"

_TOO_LARGE: Final = "what is to be stored is more than one document of MongoDB takes, 16 MiB"
# BSONObjectTooLarge, and its older names of an update and an insert that would make one.
_TOO_LARGE_CODES: Final = frozenset({10334, 17419, 17420})

# What is not in the URL.
_OPTIONS: Final = {
    "serverSelectionTimeoutMS": 3000,
    "connectTimeoutMS": 3000,
    "socketTimeoutMS": 20_000,
    "appname": "streamsim",
}


@asynccontextmanager
async def reaching() -> AsyncIterator[None]:
    """The driver's errors, except those of keys that are taken, as StoreUnavailable.

    :raises TooLarge: what is to be stored is more than a document takes.
    """
    try:
        yield
    except (BulkWriteError, DuplicateKeyError):
        raise
    except DocumentTooLarge:
        raise TooLarge(_TOO_LARGE) from None
    except PyMongoError as error:
        if isinstance(error, OperationFailure) and error.code in _TOO_LARGE_CODES:
            raise TooLarge(_TOO_LARGE) from None
        raise StoreUnavailable(f"MongoDB is away: {_first_line(error)}") from error


class MongoConnection:
    """One database of MongoDB.

    :param url: `mongodb://` or `mongodb+srv://`; its database, if named, is used in place of `streamsim`.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._client: Any = None
        self._db: Any = None
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
            self._client = client_of(self._url)
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


def client_of(url: str) -> Any:
    """A client of all databases of a server, on the running loop."""
    client: Any = AsyncIOMotorClient(url, **_unnamed(url))
    client.get_io_loop = asyncio.get_running_loop
    return client


def _unnamed(url: str) -> dict[str, Any]:
    """Our options, without those that the URL sets."""
    named = {name.lower() for name in parse_uri(url)["options"]} if url.startswith("mongodb://") else set()
    return {name: value for name, value in _OPTIONS.items() if name.lower() not in named}


def _first_line(error: Exception) -> str:
    text = str(error).partition("\n")[0].partition(" (configured timeouts")[0].partition(", Timeout:")[0]
    return text[:300] or type(error).__name__
