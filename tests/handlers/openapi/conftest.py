"""One real server for the tests of a module: examples make things that may be there once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.handlers.openapi.world import SETTINGS, Make, Tenant, maker
from tests.support import Server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(tmp_path_factory.mktemp("openapi"), settings=SETTINGS) as server:
        yield server


@pytest.fixture(scope="module")
def tenant(server: Server) -> Make:
    """Makes users with things of their own."""
    return maker(server)


@pytest.fixture(scope="module")
def anyone(tenant: Make) -> Tenant:
    """A user for requests that neither need nor change anything."""
    return tenant()
