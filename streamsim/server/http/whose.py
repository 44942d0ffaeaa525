"""Whose a request is, as its head tells before anybody checked it. Only who waits for whom depends on it."""

from __future__ import annotations

from typing import Final

from tornado.httputil import HTTPHeaders

from handlers.addresses import forwarded_address
from handlers.base import bearer
from handlers.short import PATH
from streamsim.server.http.head import Head
from streamsim.services import Services

_MANY: Final = 10_000
_END_BYTES: Final = 256
"""Of a body's beginning and of its end, where a key is looked for."""


class Whose:
    """Tenants by what their requests carry; addresses stand for whoever is not known by it."""

    def __init__(self, services: Services) -> None:
        self._services = services
        # Not the secrets themselves, only what they hash to.
        self._tenants: dict[int, str] = {}

    def learn(self, headers: HTTPHeaders, tenant: str) -> None:
        """A request with these headers was found to be a tenant's."""
        authorization = headers.get("Authorization", "")
        if bearer(authorization) is None:
            authorization = headers.get("Cookie", "")
        if len(self._tenants) >= _MANY:
            self._tenants.clear()
        self._tenants[hash(authorization)] = tenant

    def of(self, head: Head, body: bytes, address: str) -> str:
        """The tenant of a request, or the address that it comes from.

        :param body: what is there of it. :param address: who connected.
        """
        path, _, query = head.target.partition(b"?")
        called = PATH.fullmatch(path)
        if called is not None and called[2]:
            given = b"&".join((query, body[:_END_BYTES], body[_END_BYTES:][-_END_BYTES:]))
            tenant = self._services.decisions.tenant(called[2].decode(), given)
            if tenant is not None:
                return tenant
        for field in (b"authorization", b"cookie"):
            tenant = self._tenants.get(hash(head.given(field)))
            if tenant is not None:
                return tenant
        proxies = self._services.settings.server.trusted_proxies
        return anonymous(forwarded_address(address, head.given(b"x-forwarded-for"), proxies))


def anonymous(address: str) -> str:
    """What stands for those at an address who are nobody's."""
    # No tenant's name has a space.
    return f"at {address}"
