"""The indexes of a database, made once: a document says which version of them is there.

schema    _id: "indexes", version
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, get_args

from pymongo import ASCENDING, DESCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from streamsim.storage.contract.logs import LogKind

SCHEMA_VERSION: Final = 3
"""Raise it with every change of an index: a database with a lower one gets those that it lacks."""
_KEY: Final = {"_id": "indexes"}


def log_collection(kind: LogKind) -> str:
    """Where the rows of one kind of log are."""
    return f"log_{kind}"


INDEXES: Final[dict[str, list[IndexModel]]] = {
    "sessions": [
        IndexModel([("uid", ASCENDING), ("kind", ASCENDING), ("created_ms", ASCENDING)]),
        IndexModel([("expires_ms", ASCENDING)]),
    ],
    **{
        log_collection(kind): [IndexModel([("experiment", ASCENDING), ("position", DESCENDING)])]
        for kind in get_args(LogKind)
    },
    "log_reward": [
        IndexModel([("experiment", ASCENDING), ("position", DESCENDING)]),
        # Rows without it, from before it was there, are in it as null.
        IndexModel([("experiment", ASCENDING), ("advice", ASCENDING)]),
    ],
    "statistics": [IndexModel([("experiment", ASCENDING), ("modified_ms", DESCENDING)])],
    "archived_theta": [IndexModel([("experiment", ASCENDING)])],
    "jobs": [
        IndexModel([("tenant", ASCENDING), ("experiment", ASCENDING), ("number", DESCENDING)]),
        IndexModel([("tenant", ASCENDING), ("number", DESCENDING)]),
        IndexModel([("state", ASCENDING), ("number", ASCENDING)]),
    ],
    "job_parts": [IndexModel([("job", ASCENDING)])],
    "runs": [
        IndexModel(
            [("tenant", ASCENDING), ("kind", ASCENDING), ("project", ASCENDING), ("created_ms", ASCENDING)]
        ),
        IndexModel([("expires_ms", ASCENDING)]),
        IndexModel([("tenant", ASCENDING), ("index.name", ASCENDING), ("index.number", ASCENDING)]),
    ],
    "run_chunks": [IndexModel([("run", ASCENDING), ("at", ASCENDING)])],
    "models": [IndexModel([("tenant", ASCENDING), ("order", ASCENDING)])],
    "model_versions": [IndexModel([("tenant", ASCENDING), ("name", ASCENDING), ("version", ASCENDING)])],
}
"""Collection -> its indexes."""


async def ensure_indexes(db: Any, indexes: Mapping[str, Sequence[IndexModel]]) -> bool:
    """Create the indexes unless the database has this version of them, or a later one.

    Processes may open a new database at the same time, and one may end halfway: creating an index that is
    there does nothing, and the version is written when all are there.

    :param db: a database whose writes wait for a majority.
    :param indexes: collection -> its indexes.
    :return: whether they were created.
    :raises pymongo.errors.PyMongoError: MongoDB is away, or refuses an index.
    """
    found = await db.schema.find_one(_KEY)
    if found is not None and found["version"] >= SCHEMA_VERSION:
        return False
    for name, models in indexes.items():
        await db[name].create_indexes(list(models))
    if found is None:
        try:
            await db.schema.insert_one({**_KEY, "version": SCHEMA_VERSION})
            return True
        except DuplicateKeyError:
            pass  # another process was faster, perhaps one of another version
    await db.schema.update_one(
        {**_KEY, "version": {"$lt": SCHEMA_VERSION}}, {"$set": {"version": SCHEMA_VERSION}}
    )
    return True
