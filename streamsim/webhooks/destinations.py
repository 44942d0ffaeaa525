"""Where messages may go: to hosts and networks that the settings name, and to no private one by a name."""

from __future__ import annotations

import asyncio
import ipaddress
import re
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from streamsim.config import ConfigError

MAX_URL: Final = 2000
_URL: Final = re.compile(r"https?://[!-~]+", re.IGNORECASE)
_PATTERN: Final = re.compile(r"\*|(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*", re.IGNORECASE)
# For special uses (RFC 6890), or with an IPv4 address in them, though some Pythons take them for public.
_SPECIAL: Final = tuple(map(ipaddress.ip_network, ("192.0.0.0/24", "64:ff9b::/32", "::/96", "fec0::/10")))
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# Names are looked up apart from other work, which a slow name server would hold up.
_lookups = ThreadPoolExecutor(4, thread_name_prefix="webhook-names")


class Refused(Exception):
    """A destination that is not allowed; the text says why, and no address."""


class Destination(NamedTuple):
    """Where a URL leads."""

    secure: bool
    host: str
    port: int
    target: str

    @property
    def named(self) -> str:
        """As the header Host has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


def parsed(url: str) -> Destination:
    """The parts of a URL. :raises Refused:"""
    why = "must be an http or https URL in ASCII, without credentials or fragment, at most 2000 characters"
    if len(url) > MAX_URL or not _URL.fullmatch(url):
        raise Refused(why)
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Refused(why) from None
    if not host or "@" in parts.netloc or "#" in url or port == 0 or "\\" in url:
        raise Refused(why)
    secure = parts.scheme == "https"
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Destination(secure, host, port or (443 if secure else 80), target)


class Destinations:
    """The hosts and networks that `webhooks.allow` names.

    :param allow: `hooks.example.com`, `*.example.com`, `*` for any host; `10.0.0.0/8`, `127.0.0.1`.
    :raises ConfigError: for an entry that is neither.
    """

    def __init__(self, allow: Sequence[str]) -> None:
        self._hosts: list[str] = []
        self._networks: list[ipaddress.IPv4Network | ipaddress.IPv6Network] = []
        for one in allow:
            try:
                self._networks.append(ipaddress.ip_network(one, strict=False))
            except ValueError:
                if not _PATTERN.fullmatch(one):
                    raise ConfigError(
                        f"webhooks.allow: {one!r} is no host such as hooks.example.com or *.example.com, "
                        "and no network such as 10.0.0.0/8"
                    ) from None
                self._hosts.append(one.lower())

    def check(self, url: str) -> Destination:
        """What can be told of a URL without looking its name up. :raises Refused:"""
        found = parsed(url)
        if not self._hosts and not self._networks:
            raise Refused("no destination is allowed here: the setting webhooks.allow is empty")
        try:
            literal = ipaddress.ip_address(found.host.partition("%")[0])
        except ValueError:
            if not self._names(found.host) and not self._networks:
                raise Refused("the host is not one that the setting webhooks.allow names") from None
        else:
            self._permit(found.host, literal)
        return found

    async def resolve(self, destination: Destination) -> str:
        """The one address to connect to. :raises Refused: :raises OSError: there is no such host."""
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(
            _lookups,
            lambda: socket.getaddrinfo(destination.host, destination.port, type=socket.SOCK_STREAM),
        )
        why: Refused | None = None
        for *_, address in found:
            text = str(address[0])
            try:
                self._permit(destination.host, ipaddress.ip_address(text.partition("%")[0]))
            except Refused as refused:
                why = refused
                continue
            return text
        raise why or OSError("no address")

    def _names(self, host: str) -> bool:
        host = host.lower().rstrip(".")
        return any(
            one == "*" or one == host or (one.startswith("*.") and host.endswith(one[1:]))
            for one in self._hosts
        )

    def _permit(self, host: str, address: Address) -> None:
        address = _plain(address)
        if any(address in network for network in self._networks):
            return
        if not self._names(host):
            raise Refused("the host is not one that the setting webhooks.allow names")
        if not is_public(address):
            raise Refused("the host's address is private: the setting webhooks.allow would have to name it")


def is_public(address: Address) -> bool:
    """Whether an address is one of the whole internet, also as what is written in it."""
    address = _plain(address)
    if isinstance(address, ipaddress.IPv6Address):
        inner: list[ipaddress.IPv4Address] = []
        if address.sixtofour is not None:
            inner.append(address.sixtofour)
        if address.teredo is not None:
            inner += address.teredo
        if not all(is_public(one) for one in inner):
            return False
    if any(address in network for network in _SPECIAL):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _plain(address: Address) -> Address:
    """The IPv4 address that an IPv6 one stands for, if it does."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return address if mapped is None else mapped
