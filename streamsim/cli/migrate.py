"""`streamsim migrate --from URL --to URL`: copy an installation between backends, or a StreamingBandit's."""

from __future__ import annotations

import argparse
import asyncio
import re
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from streamsim.cli.places import goes_with_the_container
from streamsim.config import ConfigError, Settings
from streamsim.decisions.default_reward import reward_of_text
from streamsim.errors import Conflict
from streamsim.server.compose import make_store
from streamsim.storage.contract.migration import Migratable
from streamsim.storage.migrate import MigrationFailed, migrate
from streamsim.values import InvalidValue

STREAMINGBANDIT = "streamingbandit"
FORMS = "sqlite:///PATH, or redis://...,mongodb://..."


def add_parser(commands: Any, common: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser = commands.add_parser(
        "migrate",
        parents=[common],
        help="copy a whole installation to an empty one, and check the copy; stop all servers first",
        epilog="Names of Redis keys start with storage.redis_prefix, on either side. Started again after an"
        " interruption, it goes on.",
    )
    parser.add_argument(
        "--from", dest="source", metavar="URL", required=True, help=f"{FORMS}; or {STREAMINGBANDIT}"
    )
    parser.add_argument(
        "--to", dest="target", metavar="URL", default="", help="likewise; by default the configured one"
    )
    parser.add_argument("--redis", metavar="URL", help="that of the StreamingBandit")
    parser.add_argument("--mongo", metavar="URL", help="likewise; all of its databases are read")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Copy, and print what was done.

    :raises ConfigError: a URL of no known form, or a source that is not there.
    :raises Conflict: the target is in use, or differs at last. :raises StoreUnavailable:
    """
    if options.source == STREAMINGBANDIT:
        if not options.redis or not options.mongo:
            raise ConfigError("--from streamingbandit: give its --redis and --mongo as well")
        target = _placed(settings, options.target, "--to") if options.target else settings
        _refuse_lost(target)
        return _print(asyncio.run(_take_over(options.redis, options.mongo, target)))
    if options.redis or options.mongo:
        raise ConfigError("--redis and --mongo belong to --from streamingbandit")
    if not options.target:
        raise ConfigError("--to is missing")
    sides = [_placed(settings, options.source, "--from"), _placed(settings, options.target, "--to")]
    if _place(sides[0]) == _place(sides[1]):
        raise ConfigError("--from and --to are the same installation")
    _refuse_lost(sides[1])
    if not sides[0].storage.redis and not Path(_place(sides[0])).is_file():
        raise ConfigError(f"--from: there is no file {_place(sides[0])}")
    return _print(asyncio.run(_copy(sides)))


def _print(counts: dict[str, int]) -> int:
    for kind, number in sorted(counts.items()):
        print(f"{kind.removesuffix('Record').removesuffix('Row').lower()}: {number}")
    return 0


def _readable(reward: str) -> bool:
    try:
        reward_of_text(reward)
    except InvalidValue:
        return False
    return True


async def _take_over(redis_url: str, mongo_url: str, target: Settings) -> dict[str, int]:
    # Its drivers are a third of what every command would import.
    from streamsim.storage.production.streamingbandit import StreamingBanditSource

    def say(text: str) -> None:
        print(text, flush=True)

    async with AsyncExitStack() as stack:
        source = StreamingBanditSource(redis_url, mongo_url, _readable, say)
        stack.push_async_callback(source.close)
        await source.open()
        store = make_store(target)
        await store.open()
        stack.push_async_callback(store.close)
        try:
            return await migrate(source, store.migration, say)
        except MigrationFailed as error:
            raise Conflict(str(error)) from None


async def _copy(sides: list[Settings]) -> dict[str, int]:
    async with AsyncExitStack() as stack:
        stores: list[Migratable] = []
        for side in sides:
            store = make_store(side)
            await store.open()
            stack.push_async_callback(store.close)
            stores.append(store.migration)
        try:
            return await migrate(stores[0], stores[1], lambda text: print(text, flush=True))
        except MigrationFailed as error:
            raise Conflict(str(error)) from None


def _placed(settings: Settings, url: str, argument: str) -> Settings:
    """The settings with another place for storage."""
    if url.startswith("sqlite:///"):
        return replace(settings, storage=replace(settings.storage, url=url, redis="", mongo=""))
    # A comma may also stand between the hosts of a replica set.
    found = re.fullmatch(r"((?:rediss?|unix)://.+?),(mongodb(?:\+srv)?://.+)", url)
    if found is None:
        raise ConfigError(f"{argument}: must be {FORMS}")
    return replace(settings, storage=replace(settings.storage, url="", redis=found[1], mongo=found[2]))


def _refuse_lost(target: Settings) -> None:
    if not target.storage.redis and goes_with_the_container(Path(_place(target))):
        raise ConfigError(
            f"--to: {_place(target)} is in the container's own file system, which goes with it; mount a "
            "folder or a named volume, and write there"
        )


def _place(settings: Settings) -> str:
    storage = settings.storage
    if storage.redis:
        return f"{storage.redis},{storage.mongo}"
    return str(Path(storage.url.removeprefix("sqlite:///")).absolute())
