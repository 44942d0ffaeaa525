"""Addresses of callers, as far as trusted proxies tell them."""

from __future__ import annotations

from ipaddress import ip_address, ip_network


def forwarded_address(address: str, forwarded_for: str, proxies: tuple[str, ...]) -> str:
    """The caller's address, as far as trusted proxies tell it. :param address: who connected."""
    if not trusted(address, proxies):
        return address
    for hop in reversed([part.strip() for part in forwarded_for.split(",") if part.strip()]):
        address = hop
        if not trusted(hop, proxies):
            break
    return address


def trusted(address: str, proxies: tuple[str, ...]) -> bool:
    """Whether an address is one of the configured proxies, which are addresses or networks."""
    if not proxies:
        return False
    try:
        ip = ip_address(address)
    except ValueError:
        return False
    return any(ip in ip_network(proxy, strict=False) for proxy in proxies)
