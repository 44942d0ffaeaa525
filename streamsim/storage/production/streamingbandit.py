"""A StreamingBandit installation as the source of a migration: its Redis and MongoDB read as our records."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Final, cast

from streamsim import values
from streamsim.dates import HOUR_MS
from streamsim.storage.contract.accounts import User
from streamsim.storage.contract.decisions import Advice, Experiment, Summary
from streamsim.storage.contract.logs import LogKind, LogRow
from streamsim.storage.contract.migration import ExperimentRecord, Owned, Shared, ThetaRecord
from streamsim.storage.mongo.streamingbandit import Document, StreamingBanditMongo
from streamsim.storage.redis.streamingbandit import StreamingBanditRedis

_NOTHING: Final[dict[str, Any]] = {"context": {}, "action": {}, "reward": {}}
_LONGEST_HOURS: Final = 99_999
_PIECES: Final = ("get_context", "get_action", "get_reward", "set_reward")
_TRUE: Final = ("true", "yes", "y", "1")
_KINDS: Final[tuple[LogKind, ...]] = ("action", "reward", "manual", "theta")


class StreamingBanditSource:
    """Reads what a migration copies. Ids, keys, advice ids and password hashes stay as they are.

    Experiments get `compat: "streamingbandit"`, since all of their theta is text. Users are the tenants of
    their experiments, by name; experiments of a user who is gone belong to `user-<user_id>`.

    :param readable: whether a default reward, which is text, can be read.
    :param say: is told in a sentence what could not be taken over.
    """

    def __init__(
        self, redis_url: str, mongo_url: str, readable: Callable[[str], bool], say: Callable[[str], None]
    ) -> None:
        self._redis = StreamingBanditRedis(redis_url)
        self._mongo = StreamingBanditMongo(mongo_url)
        self._readable = readable
        self._say = say
        self._found: dict[str, Experiment] = {}
        self._theta: dict[str, list[str]] = {}

    async def open(self) -> None:
        """:raises StoreUnavailable: one of the two cannot be reached or read."""
        await self._redis.open()
        await self._mongo.open()
        self._theta = await self._redis.theta_keys()
        users = {user_id: name for user_id, name, _, _ in await self._mongo.users()}
        taken: set[tuple[str, str]] = set()
        for id, properties in (await self._redis.experiments()).items():
            tenant = users.get(properties.get("user_id", ""), f"user-{properties.get('user_id', '')}")
            experiment = await self._experiment(id, tenant, properties, taken)
            self._found[id] = experiment
        lost = await self._mongo.advices_of_nobody()
        if lost:
            self._say(f"left out {lost} advices that do not say of which experiment they are")

    async def close(self) -> None:
        await self._redis.close()
        await self._mongo.close()

    async def experiments(self) -> list[str]:
        """As `Migratable.experiments`."""
        return sorted(self._found)

    async def export(self) -> AsyncGenerator[Shared, None]:
        """As `Migratable.export`: users."""
        for _, name, password_hash, created_ms in await self._mongo.users():
            yield User(name=name, password_hash=password_hash, created_ms=created_ms)

    async def export_experiment(self, experiment_id: str) -> AsyncGenerator[Owned, None]:
        """As `Migratable.export_experiment`."""
        experiment = self._found[experiment_id]
        yield ExperimentRecord(experiment, await self._summary(experiment_id))
        for key in self._theta.get(experiment_id, []):
            fields = await self._redis.theta(experiment_id, key)
            name, at, value = [*key.split(":", 2), "", ""][:3]
            yield ThetaRecord(experiment_id, name, at, value, values.dump(fields))
        if experiment.properties["advice_id"]:
            hours = cast("int", experiment.properties["delta_hours"])
            async for found in self._mongo.advices(experiment_id):
                context = {
                    name: part for name, part in found.fields.items() if name not in ("date", "action")
                }
                action = values.dump(found.fields.get("action", {}))
                expires_ms = found.date_ms + hours * HOUR_MS
                yield Advice(experiment_id, found.id, expires_ms, values.dump(context), action)
        for kind in _KINDS:
            number = 0
            async for row in self._mongo.log(kind, experiment_id):
                number += 1
                data = values.dump(_logged(kind, row))
                yield LogRow(experiment_id, kind, row.id, row.date_ms, data, str(number))
        number = 0
        async for logged in self._simulated(experiment_id):
            number += 1
            yield LogRow(*logged, str(number))

    # ---- inside

    async def _experiment(
        self, id: str, tenant: str, properties: dict[str, str], taken: set[tuple[str, str]]
    ) -> Experiment:
        name, number = properties.get("name") or id, 1
        while (tenant, name) in taken:
            number += 1
            name = f"{properties.get('name') or id} ({number})"
        taken.add((tenant, name))
        advised = properties.get("advice_id", "").lower() in _TRUE
        hours = properties.get("delta_hours", "")
        reward: str | None = properties.get("default_reward") or None
        if reward is not None and not self._readable(reward):
            self._say(f"experiment {id}: its default reward is no dict and was left out: {reward[:100]}")
            reward = None
        created_ms = 0
        async for first in self._mongo.log("action", id):
            created_ms = first.date_ms
            break
        return Experiment(
            id=id,
            key=properties.get("key", ""),
            tenant=tenant,
            name=name,
            code={piece: properties.get(piece, "") for piece in _PIECES},
            properties={
                "advice_id": advised,
                "hourly_theta": properties.get("hourly_theta", "").lower() in _TRUE,
                "delta_hours": _hours(hours) if hours or advised else None,
                "default_reward": reward,
                "compat": "streamingbandit",
            },
            created_ms=created_ms,
            modified_ms=created_ms,
        )

    async def _summary(self, experiment_id: str) -> Summary:
        counts: list[int | None] = []
        for kind in ("action", "reward"):
            calls, last_ms = 0, None
            async for row in self._mongo.log(kind, experiment_id):
                calls, last_ms = calls + 1, max(last_ms or row.date_ms, row.date_ms)
            counts += [calls, last_ms]
        return Summary(*counts)  # type: ignore[arg-type]

    async def _simulated(self, experiment_id: str) -> AsyncIterator[tuple[str, LogKind, str, int, bytes]]:
        async for file_id, date_ms, text in self._mongo.simulations(experiment_id):
            try:
                draws = values.plain(json.loads(text), "simulation", finite=False)
            except (ValueError, RecursionError):
                draws = None
            if not isinstance(draws, dict) or not all(isinstance(draw, dict) for draw in draws.values()):
                self._say(f"experiment {experiment_id}: left out simulation {file_id}, which has no draws")
                continue
            for number, (draw, record) in enumerate(draws.items()):
                shown = int(draw) if draw.isascii() and draw.isdecimal() and len(draw) < 16 else number
                row = {
                    "simulation": file_id,
                    "draw": shown,
                    "context": {},
                    "action": {},
                    "reward": {},
                } | record
                yield experiment_id, "simulation", f"{file_id}{number:08x}", date_ms, values.dump(row)


def _logged(kind: LogKind, row: Document) -> dict[str, Any]:
    """The fields of a row as ours has them; the date stands beside them."""
    if kind == "manual":
        return row.fields
    fields = {name: value for name, value in row.fields.items() if name != "date"}
    return {"theta": fields} if kind == "theta" else {"context": {}, "action": {}, **fields}


def _hours(text: str) -> int:
    try:
        hours = int(float(text))
    except (ValueError, OverflowError):
        return _LONGEST_HOURS
    return min(max(hours, 0), _LONGEST_HOURS)
