"""`streamsim doctor`: what this machine gives, and whether that is enough to serve."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version

import msgspec

from streamsim.config import Settings
from streamsim.sandbox.host.pool import Sandbox, SandboxUnavailable
from streamsim.server.compose import make_store
from streamsim.storage.contract.errors import StoreUnavailable

PACKAGES = ("streamsim", "tornado", "numpy", "scipy", "msgspec", "bcrypt", "redis", "motor", "uvloop")


async def examine(settings: Settings) -> int:
    """Print versions, store and sandbox layers; 0 if `streamsim serve` would start, else 1."""
    well = True
    _section("versions", [("python", platform.python_version()), ("kernel", platform.release())])
    _section("", ((name, _installed(name)) for name in PACKAGES))

    store = make_store(settings)
    try:
        await store.open()
        await store.ping()
        _section("store", store.describe().items())
    except StoreUnavailable as error:
        well = False
        _section("store", [("unavailable", str(error))])
    finally:
        await store.close()

    sandbox = Sandbox(workers=1, allow_degraded=True, preload=settings.sandbox.preload)
    try:
        await sandbox.start()
        layers = msgspec.to_builtins(sandbox.report())
        missing = layers.pop("missing")
        _section("sandbox", ((name, _text(value)) for name, value in layers.items()))
        _section("missing sandbox layers", missing.items() or [("none", "")])
        well = well and (not missing or settings.sandbox.allow_degraded)
    except SandboxUnavailable as error:
        well = False
        _section("sandbox", [("unavailable", str(error))])
    finally:
        await sandbox.close()
    print("\nstreamsim serve would start" if well else "\nstreamsim serve would refuse to start")
    return 0 if well else 1


def _section(title: str, rows: Iterable[tuple[str, str]]) -> None:
    if title:
        print(f"\n{title}")
    for name, value in rows:
        print(f"  {name:<14} {value}".rstrip())


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _text(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "none"
    return str(value)
