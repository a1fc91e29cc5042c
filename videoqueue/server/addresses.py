"""Whose connection or request it is: the address by which clients are told apart."""

from __future__ import annotations

import ipaddress
from typing import Any, Final

#: The longest text that is kept of an address that a proxy wrote and nobody can read.
_LONGEST: Final = 64
#: The part of an IPv6 address that a provider assigns to one customer (RFC 6177).
_IPV6_PREFIX: Final = 64


def address_of(peer: Any) -> str | None:
    """Returns the address of the other end of a connection, as accept(2) has it; None for a Unix socket."""
    return normalized(peer[0]) if isinstance(peer, tuple) else None


def forwarded_for(head: bytes, proxies: int) -> str | None:
    """Returns the client's address in the X-Forwarded-For of a request that came through trusted proxies.

    Each proxy appends the address that it got the request from, so only the last `proxies` values can be
    trusted.

    Args:
        head: the request head.
        proxies: the number of trusted proxies, at least 1.

    Returns:
        The address; None if there are fewer values than proxies.
    """
    values: list[bytes] = []
    for line in head.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"x-forwarded-for":
            values += value.split(b",")
    if len(values) < proxies:
        return None
    return normalized(values[-proxies].decode("latin-1").strip(' \t"'))


def normalized(text: str) -> str:
    """Returns an address without port, zone and brackets; of an IPv6 address its network of 64 bits."""
    plain = text.partition("]")[0].lstrip("[") if text.startswith("[") else text.partition("%")[0]
    if plain.count(":") == 1:
        plain = plain.partition(":")[0]
    try:
        address = ipaddress.ip_address(plain.partition("%")[0])
    except ValueError:
        return text[:_LONGEST]
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((address, _IPV6_PREFIX), strict=False))
        address = address.ipv4_mapped
    return str(address)
