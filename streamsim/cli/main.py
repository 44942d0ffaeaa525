"""The command line: `streamsim serve`, `simulate`, `user ...`, `model ...`, `top`, `doctor`."""

from __future__ import annotations

import argparse
import asyncio
import getpass
import os
import sys
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from streamsim import config, dates
from streamsim.accounts.accounts import Accounts
from streamsim.cli import migrate as migrate_cli
from streamsim.cli import model as model_cli
from streamsim.cli import simulate as terminal
from streamsim.cli import top
from streamsim.cli.doctor import examine
from streamsim.config import ConfigError, Settings
from streamsim.errors import StreamsimError, Unavailable
from streamsim.experiments.departure import Departure
from streamsim.experiments.experiments import Experiments
from streamsim.sandbox.host.pool import SandboxUnavailable
from streamsim.sandbox.zygote.namespaces import exposed
from streamsim.server import logs
from streamsim.server.compose import make_store, running
from streamsim.server.serve import EXIT_REFUSED, CannotServe, serve
from streamsim.storage.contract.errors import StoreUnavailable

CONFIG_FILE = Path("config.yml")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; the exit status: 0 well done, 1 failed, 2 wrong usage, 78 cannot serve as configured."""
    options = _parser().parse_args(arguments)
    logs.configure("text")
    try:
        if options.command == "model":
            return model_cli.run(options)
        if options.command == "top":
            return top.run(options)
        settings = _settings(options)
        logs.configure(settings.server.log)
        if options.command == "serve":
            return serve(settings, options.child)
        if options.command == "doctor":
            return asyncio.run(examine(settings))
        if options.command == "migrate":
            return migrate_cli.run(settings, options)
        if options.command == "simulate":
            return asyncio.run(_simulate(settings, options))
        return asyncio.run(_user(settings, options))
    except (ConfigError, CannotServe) as error:
        print(f"streamsim: {error}", file=sys.stderr)
        return EXIT_REFUSED
    except StreamsimError as error:
        print(f"streamsim: {error.message}", file=sys.stderr)
        return 1
    except StoreUnavailable as error:
        print(f"streamsim: the store cannot be reached: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", metavar="DIR", help="folder of the service's files (storage.data)")
    common.add_argument(
        "--config", metavar="FILE", type=Path, help=f"settings; default {CONFIG_FILE}, if there is one here"
    )
    parser = argparse.ArgumentParser(
        prog="streamsim", description="Bandit experiments and simulations, served."
    )
    parser.add_argument("--version", action="version", version=f"streamsim {version('streamsim')}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    server = commands.add_parser("serve", parents=[common], help="serve the REST API until a signal")
    server.add_argument("--port", type=int, metavar="P", help="server.port")
    server.add_argument("--address", metavar="A", help="server.address")
    server.add_argument("--processes", type=int, metavar="N", help="server.processes")
    server.add_argument("--child", type=_port_and_pipe, help=argparse.SUPPRESS)

    user = commands.add_parser("user", help="manage accounts")
    actions = user.add_subparsers(dest="action", required=True, metavar="ACTION")
    add = actions.add_parser("add", parents=[common], help="add a user")
    add.add_argument("--admin", action="store_true", help="make it an administrator")
    passwd = actions.add_parser("passwd", parents=[common], help="set a password; ends the user's sessions")
    remove = actions.add_parser(
        "remove",
        parents=[common],
        help="remove a user and end what it owns",
    )
    for action in (add, passwd, remove):
        action.add_argument("name", metavar="NAME")
    for action in (add, passwd):
        action.add_argument("--password-stdin", action="store_true", help="read the password from stdin")
    actions.add_parser("list", parents=[common], help="list users")

    model_cli.add_parser(commands)
    migrate_cli.add_parser(commands, common)
    simulation = commands.add_parser(
        "simulate", parents=[common], help="simulate an experiment, with a progress bar"
    )
    terminal.add_arguments(simulation)
    top.add_parser(commands)

    commands.add_parser(
        "doctor", parents=[common], help="say what this machine gives: sandbox, store, versions"
    )
    return parser


def _port_and_pipe(text: str) -> tuple[int, int]:
    port, _, pipe = text.partition(":")
    return int(port), int(pipe)


def _settings(options: argparse.Namespace) -> Settings:
    given = {
        "storage.data": options.data,
        "server.port": getattr(options, "port", None),
        "server.address": getattr(options, "address", None),
        "server.processes": getattr(options, "processes", None),
    }
    file = options.config or (CONFIG_FILE if CONFIG_FILE.exists() else None)
    if file is not None and exposed(str(file)):
        raise ConfigError(
            f"{file}: policy code could read it; keep it out of the folders of Python's libraries"
        )
    return config.load(file, os.environ, {name: value for name, value in given.items() if value is not None})


# ---- simulations


async def _simulate(settings: Settings, options: argparse.Namespace) -> int:
    try:
        async with running(settings, upkeep=False) as services:
            await terminal.simulate(services.evaluations, settings, options)
    except SandboxUnavailable as error:
        raise Unavailable(str(error)) from None
    return 0


# ---- accounts


class _NotServing:
    """In the place of the service that runs experiments, for commands that only archive some."""

    async def check_code(self, tenant: str, code: dict[str, str]) -> None:
        raise Unavailable("code cannot be checked here")

    def forget(self, experiment_id: str) -> None:
        """Nothing is cached here."""

    def leave(self, experiment_id: str) -> None:
        """Nothing runs here."""


@asynccontextmanager
async def _accounts(settings: Settings) -> AsyncIterator[Accounts]:
    store = make_store(settings)
    await store.open()
    try:
        experiments = Experiments(store, _NotServing(), dates.now_ms)
        accounts = Accounts(store, settings.login, end=Departure(store, experiments).of, now_ms=dates.now_ms)
        try:
            yield accounts
        finally:
            accounts.close()
    finally:
        await store.close()


async def _user(settings: Settings, options: argparse.Namespace) -> int:
    actions: dict[str, Callable[[Accounts, argparse.Namespace], Awaitable[None]]] = {
        "add": _add,
        "list": _list,
        "passwd": _passwd,
        "remove": _remove,
    }
    async with _accounts(settings) as accounts:
        await actions[options.action](accounts, options)
    return 0


async def _add(accounts: Accounts, options: argparse.Namespace) -> None:
    user = await accounts.add_user(options.name, _password(options), admin=options.admin)
    print(f"added {'the administrator' if user.admin else 'the user'} {user.name}")


async def _list(accounts: Accounts, _options: argparse.Namespace) -> None:
    after = ""
    while users := await accounts.users(after=after):
        for user in users:
            print(user.name, "admin" if user.admin else "user", dates.iso(user.created_ms), sep="\t")
        after = users[-1].name


async def _passwd(accounts: Accounts, options: argparse.Namespace) -> None:
    await accounts.set_password(options.name, _password(options))
    print(f"set the password of {options.name}; its login sessions have ended")


async def _remove(accounts: Accounts, options: argparse.Namespace) -> None:
    await accounts.remove_user(options.name)
    print(f"removed {options.name}: its experiments are archived, and its models, runs and jobs deleted")


def _password(options: argparse.Namespace) -> str:
    if options.password_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    try:
        with warnings.catch_warnings():
            # Without a terminal getpass would go on, and show what is typed.
            warnings.simplefilter("error", getpass.GetPassWarning)
            password = getpass.getpass(f"Password for {options.name}: ")
            again = getpass.getpass("Once more: ")
    except (EOFError, getpass.GetPassWarning):
        raise StreamsimError("there is no terminal to ask for the password: use --password-stdin") from None
    if password != again:
        raise StreamsimError("the two passwords differ")
    return password


if __name__ == "__main__":
    sys.exit(main())
