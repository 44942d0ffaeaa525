"""The servers that are attacked."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Literal

import pytest

from streamsim.sandbox.zygote import kernel
from tests.attacks.harness import Kind, Server, serving
from tests.effort import LONG

MODELS: Literal["models"] = "models"
Attacked = Kind | Literal["models"]
CAP_SYS_ADMIN = 21


def impossible(kind: Kind) -> str | None:
    """Why this process cannot start a server of that kind, if it cannot."""
    root = os.geteuid() == 0
    if kind in ("root", "container") and not root:
        return "needs root"
    if kind.endswith("user") and root and not kernel.capabilities()[0] >> CAP_SYS_ADMIN & 1:
        return "as root without CAP_SYS_ADMIN, an ordinary user may not reach this Python"
    return None


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[dict[Attacked, Server]]:
    """One for each kind of machine that is attacked, and that of the attacks as models.

    All are begun at once: while one server starts, a processor has nothing to do.
    """
    wanted = dict.fromkeys(_attacked(item) for item in request.session.items if _needs_server(item))
    with ExitStack() as stack:
        found = dict[Attacked, Server]()
        for name in wanted:
            own: Kind = "root" if os.geteuid() == 0 else "user"
            kind = own if name == "models" else name
            if impossible(kind) is None:
                # In short the workers of one campaign alone share scikit-learn from the start, as is the
                # default: every fork pays for it.
                found[name] = stack.enter_context(serving(kind, preload=LONG or name == "root"))
        yield found


def _needs_server(item: pytest.Item) -> bool:
    return "servers" in getattr(item, "fixturenames", ())


def _attacked(item: pytest.Item) -> Attacked:
    callspec = getattr(item, "callspec", None)
    named: Attacked = MODELS if callspec is None else callspec.params.get("kind", MODELS)
    return named
