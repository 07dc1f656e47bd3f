"""What --bind names: an address, a path, or a descriptor that listens already."""

from __future__ import annotations

from typing import Final, Union

# (host, port), the path of a unix socket, a descriptor, or SYSTEMD.
Endpoint = Union[tuple[str, int], str, int, None]

SYSTEMD: Final = None  # the descriptors of LISTEN_FDS

_FORMS: Final = "HOST:PORT, [IPV6]:PORT, :PORT, unix:PATH, fd://N or fd://systemd"


def parse_address(text: str) -> Endpoint:
    """What an address of --bind names; :PORT is every IPv4 address. Raises ValueError saying what
    it is not."""
    if text.startswith("unix:"):
        path = text[len("unix:") :]
        if not path or "\0" in path:
            raise ValueError("no path after unix:")
        return path
    if text.startswith("fd://"):
        return _parse_descriptor(text[len("fd://") :])
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError(f"none of {_FORMS}")
    if host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
    elif ":" in host or "[" in host or "]" in host:
        raise ValueError("an IPv6 address is written [ADDRESS]:PORT")
    # str.isdigit alone takes digits of every script, and int takes signs, spaces and underscores.
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) <= 65535):
        raise ValueError("the port is no number from 0 to 65535")
    return host or "0.0.0.0", int(port)


def _parse_descriptor(text: str) -> Endpoint:
    if text == "systemd":
        return SYSTEMD
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError("after fd:// comes the number of a descriptor, or systemd")
    return int(text)


def shown(endpoint: tuple[str, int] | str) -> str:
    """An address or a path in the words of --bind."""
    if isinstance(endpoint, str):
        return f"unix:{endpoint}"
    host, port = endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
