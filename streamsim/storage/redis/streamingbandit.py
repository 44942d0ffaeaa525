"""What a StreamingBandit has in Redis, as `streamsim migrate` reads it. Nothing is written.

admin:experiments              set   ids of the experiments
exp:<id>:properties            hash  name, key, user_id, the four pieces of code, and properties as text
exp:<id>:<name>                hash  theta without key; `_theta` is the default name
exp:<id>:<name>:<key>          hash  theta of a key without value
exp:<id>:<name>:<key>:<value>  hash  theta of a key and a value; every field is text
"""

from __future__ import annotations

from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import RedisError

from streamsim.storage.contract.errors import StoreUnavailable

_PROPERTIES: Final = "properties"
_AT_ONCE: Final = 1000


class StreamingBanditRedis:
    """Reads experiments and theta. :param url: of the database that StreamingBandit uses."""

    def __init__(self, url: str) -> None:
        self._redis: Any = Redis.from_url(url, decode_responses=True)

    async def open(self) -> None:
        """:raises StoreUnavailable:"""
        try:
            await self._redis.ping()
        except RedisError as error:
            raise StoreUnavailable(f"StreamingBandit's Redis is away: {error}") from error

    async def close(self) -> None:
        await self._redis.aclose()

    async def experiments(self) -> dict[str, dict[str, str]]:
        """Properties by id, in order of id. :raises StoreUnavailable:"""
        try:
            ids = sorted(await self._redis.smembers("admin:experiments"))
            found = {id: await self._redis.hgetall(f"exp:{id}:{_PROPERTIES}") for id in ids}
        except RedisError as error:
            raise StoreUnavailable(f"StreamingBandit's Redis: {error}") from error
        return {id: properties for id, properties in found.items() if properties}

    async def theta_keys(self) -> dict[str, list[str]]:
        """By experiment, what follows its id in the keys of theta, sorted. :raises StoreUnavailable:"""
        found: dict[str, list[str]] = {}
        try:
            async for key in self._redis.scan_iter(match="exp:*", count=_AT_ONCE):
                _, id, *rest = key.split(":", 2)
                if rest and rest[0] != _PROPERTIES:
                    found.setdefault(id, []).append(rest[0])
        except RedisError as error:
            raise StoreUnavailable(f"StreamingBandit's Redis: {error}") from error
        # A scan may give a key twice.
        return {id: sorted(set(keys)) for id, keys in found.items()}

    async def theta(self, id: str, key: str) -> dict[str, str]:
        """The fields of a hash of theta. :raises StoreUnavailable:"""
        try:
            fields: dict[str, str] = await self._redis.hgetall(f"exp:{id}:{key}")
        except RedisError as error:
            raise StoreUnavailable(f"StreamingBandit's Redis: {error}") from error
        return fields
