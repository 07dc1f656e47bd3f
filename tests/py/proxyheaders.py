"""PROXY headers, as a proxy sends them (HAProxy's proxy-protocol.txt)."""

from __future__ import annotations

import ipaddress
import struct
from typing import NamedTuple


class Ends(NamedTuple):
    """A connection's two ends: the client, and to where it connected."""

    client: str
    client_port: int
    to: str
    to_port: int

    @property
    def version(self) -> int:
        """4 or 6."""
        return ipaddress.ip_address(self.client).version


IPV4 = Ends("192.0.2.1", 5000, "198.51.100.2", 443)
IPV6 = Ends("2001:db8::1", 5001, "2001:db8::2", 8443)


def line(ends: Ends) -> bytes:
    """A header of version 1."""
    ports = f"{ends.client_port} {ends.to_port}"
    return f"PROXY TCP{ends.version} {ends.client} {ends.to} {ports}\r\n".encode("ascii")


def block(ends: Ends | None, *, command: int = 1, transport: int = 1, rest: bytes = b"") -> bytes:
    """One of version 2; ends None: of an unspecified family. command 0 is LOCAL."""
    family, addresses = 0, b""
    if ends is not None:
        family = {4: 0x10, 6: 0x20}[ends.version] | transport
        addresses = ipaddress.ip_address(ends.client).packed + ipaddress.ip_address(ends.to).packed
        addresses += struct.pack(">HH", ends.client_port, ends.to_port)
    head = struct.pack(">BBH", 0x20 | command, family, len(addresses + rest))
    return b"\r\n\r\n\0\r\nQUIT\n" + head + addresses + rest
