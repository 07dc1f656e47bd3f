"""Addresses and networks of who may speak for others, as settings name them."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Union

Named = Union[str, IPv4Address, IPv6Address, IPv4Network, IPv6Network]
Network = Union[IPv4Network, IPv6Network]


def parse_network(named: Named) -> Network:
    """The network, of an address that of itself alone. Raises ValueError saying what is wrong."""
    if "%" in str(named):  # the zone of an IPv6 address, which no peer's has
        raise ValueError(f"{str(named)!r} has a zone")
    return ip_network(named)
