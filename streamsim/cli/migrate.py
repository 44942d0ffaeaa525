"""`streamsim migrate --from URL --to URL`: copy a whole installation between backends."""

from __future__ import annotations

import argparse
import asyncio
import re
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from streamsim.config import ConfigError, Settings
from streamsim.errors import Conflict
from streamsim.server.compose import make_store
from streamsim.storage.contract.migration import Migratable
from streamsim.storage.migrate import MigrationFailed, migrate

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
    parser.add_argument("--from", dest="source", metavar="URL", required=True, help=FORMS)
    parser.add_argument("--to", dest="target", metavar="URL", required=True, help="likewise")


def run(settings: Settings, options: argparse.Namespace) -> int:
    """Copy, and print what was done.

    :raises ConfigError: a URL of no known form, or a source that is not there.
    :raises Conflict: the target is in use, or differs at last. :raises StoreUnavailable:
    """
    sides = [_placed(settings, options.source, "--from"), _placed(settings, options.target, "--to")]
    if _place(sides[0]) == _place(sides[1]):
        raise ConfigError("--from and --to are the same installation")
    if not sides[0].storage.redis and not Path(_place(sides[0])).is_file():
        raise ConfigError(f"--from: there is no file {_place(sides[0])}")
    for kind, number in sorted(asyncio.run(_copy(sides)).items()):
        print(f"{kind.removesuffix('Record').removesuffix('Row').lower()}: {number}")
    return 0


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


def _place(settings: Settings) -> str:
    storage = settings.storage
    if storage.redis:
        return f"{storage.redis},{storage.mongo}"
    return str(Path(storage.url.removeprefix("sqlite:///")).absolute())
