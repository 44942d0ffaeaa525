"""Where messages may go."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any

import pytest

from streamsim.config import ConfigError
from streamsim.webhooks.destinations import Destinations, Refused, is_public, parsed

PRIVATE = [
    *("127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"),
    *("224.0.0.1", "255.255.255.255", "192.0.0.8", "198.18.0.1", "240.0.0.1", "::1", "::", "fe80::1"),
    *("fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::808:808"),
    *("2002:7f00:1::", "2002:a00:1::", "2001:db8::1"),
]
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700:4700::1111", "::ffff:8.8.8.8"]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_address_but_those_of_the_internet_is_public_however_it_is_written(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_addresses_of_the_internet_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    ("allow", "url"),
    [
        (["hooks.example.com"], "https://hooks.example.com/a?b=1"),
        (["*.example.com"], "https://a.b.EXAMPLE.com:8443/"),
        (["*"], "http://anything.example"),
        (["10.0.0.0/8"], "http://10.1.2.3/"),
        (["127.0.0.1"], "http://127.0.0.1:9000/x"),
        (["::1"], "http://[::1]:9000/x"),
        (["8.8.8.0/24"], "http://8.8.8.8/"),
        # Its address is looked at when it is looked up.
        (["10.0.0.0/8"], "http://inside.example/"),
    ],
)
def test_what_is_named_is_allowed(allow: list[str], url: str) -> None:
    Destinations(allow).check(url)


@pytest.mark.parametrize(
    ("allow", "url", "why"),
    [
        ([], "https://example.com", "webhooks.allow is empty"),
        (["example.com"], "https://sub.example.com", "not one that"),
        (["*.example.com"], "https://example.com", "not one that"),
        (["*.example.com"], "https://evilexample.com", "not one that"),
        (["*"], "http://127.0.0.1/", "private"),
        (["*"], "http://169.254.169.254/latest", "private"),
        (["*"], "http://[::1]/", "private"),
        (["*"], "http://[::ffff:127.0.0.1]/", "private"),
        (["10.0.0.0/8"], "http://8.8.8.8/", "not one that"),
    ],
)
def test_nothing_else_is_allowed(allow: list[str], url: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        Destinations(allow).check(url)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com", "example.com", "https://", "https://a:b@example.com", "https://example.com/#x",
        "https://example.com/ x", "https://exämple.com", "https://example.com\r\nX: 1", "http://a:0/",
        "http://a:99999/", "http://[::1", "http://a\\@b/", "https://example.com/" + "a" * 2000,
    ],
)  # fmt: skip
def test_what_is_no_plain_url_is_refused(url: str) -> None:
    with pytest.raises(Refused, match="must be an http or https URL"):
        parsed(url)


@pytest.mark.parametrize(
    "entry", ["https://example.com", "a b", "", "*.*.com", "10.0.0.0/99", "exa*mple.com"]
)
def test_an_entry_that_is_no_host_or_network_ends_the_start(entry: str) -> None:
    with pytest.raises(ConfigError, match=r"webhooks\.allow"):
        Destinations([entry])


def names(*addresses: str) -> Callable[..., list[Any]]:
    """A name server whose answer is the next address each time it is asked."""
    left = list(addresses)

    def look_up(host: str, port: int, **_: object) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (left.pop(0), port))]

    return look_up


def test_a_name_that_leads_to_a_private_address_is_refused(run: Any) -> None:
    # A real look-up: localhost is 127.0.0.1 or ::1.
    destinations = Destinations(["localhost", "*"])
    with pytest.raises(Refused, match="private"):
        run(destinations.resolve(destinations.check("http://localhost/")))


@pytest.mark.parametrize("url", ["http://2130706433/", "http://0x7f.1/", "http://127.1/"])
def test_an_address_that_looks_like_a_name_is_looked_at_as_an_address(run: Any, url: str) -> None:
    destinations = Destinations(["*"])
    with pytest.raises(Refused, match="private"):
        run(destinations.resolve(destinations.check(url)))


def test_a_private_address_is_allowed_where_its_network_is_named(run: Any) -> None:
    destinations = Destinations(["127.0.0.0/8", "::1"])
    assert run(destinations.resolve(destinations.check("http://localhost/"))) in ("127.0.0.1", "::1")


def test_the_address_that_was_looked_at_is_the_one_to_connect_to(
    run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", names("8.8.8.8", "127.0.0.1"))
    destinations = Destinations(["rebound.example"])
    destination = destinations.check("http://rebound.example/")
    assert run(destinations.resolve(destination)) == "8.8.8.8"
    with pytest.raises(Refused, match="private"):
        run(destinations.resolve(destination))
