"""The opening handshake of a WebSocket, as far as environ decides it (RFC 6455 4.2)."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from meinheld._environ import Environ

VERSION: Final = 13

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

TEXT: Final = ("Content-Type", "text/plain")


class Refused(Exception):
    """It is answered with this status, these headers and this text."""

    def __init__(self, status: str, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(status)
        self.status = status
        self.headers = [TEXT, *headers]
        self.body = f"{text}\n".encode("ascii")


def asks(environ: Mapping[str, Any]) -> bool:
    """Whether a request asks for a WebSocket. One in HTTP/1.0 can't (RFC 9110 7.8)."""
    return (
        environ.get("SERVER_PROTOCOL") == "HTTP/1.1"
        and "upgrade" in _tokens(environ, "HTTP_CONNECTION")
        and "websocket" in _tokens(environ, "HTTP_UPGRADE")
    )


def key_of(environ: Environ) -> str:
    """The key of a request that asks for one. Raises Refused if it does not do so properly."""
    if environ["REQUEST_METHOD"] != "GET":
        raise _bad("the method must be GET")
    if environ.get("CONTENT_LENGTH", "0") != "0" or "HTTP_TRANSFER_ENCODING" in environ:
        raise _bad("there must be no body")
    version = environ.get("HTTP_SEC_WEBSOCKET_VERSION")
    if version is None:
        raise _bad("Sec-WebSocket-Version is missing")
    if version != str(VERSION):
        raise needed(f"Sec-WebSocket-Version must be {VERSION}")
    key = environ.get("HTTP_SEC_WEBSOCKET_KEY")
    if key is None:
        raise _bad("Sec-WebSocket-Key is missing")
    try:
        size = len(base64.b64decode(key, validate=True))
    except (binascii.Error, ValueError):
        size = -1
    if size != 16:
        raise _bad("Sec-WebSocket-Key must be 16 bytes in Base64")
    return str(key)


def _bad(text: str) -> Refused:
    return Refused("400 Bad Request", text)


def needed(text: str) -> Refused:
    """For who should have asked for a WebSocket, or for one of another version (4.4)."""
    version = ("Sec-WebSocket-Version", str(VERSION))
    return Refused("426 Upgrade Required", text, ("Upgrade", "websocket"), version)


def choose(environ: Environ, protocols: Sequence[str]) -> str | None:
    """The first of these subprotocols that the client offers, if any."""
    offered = _items(environ, "HTTP_SEC_WEBSOCKET_PROTOCOL")
    return next((protocol for protocol in protocols if protocol in offered), None)


def accepting(key: str, protocol: str | None, extension: str | None) -> bytes:
    """The head that begins a WebSocket."""
    digest = hashlib.sha1(key.encode("ascii") + _GUID, usedforsecurity=False).digest()
    lines = [
        "HTTP/1.1 101 Switching Protocols",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Accept: {base64.b64encode(digest).decode('ascii')}",
    ]
    if protocol is not None:
        lines.append(f"Sec-WebSocket-Protocol: {protocol}")
    if extension is not None:
        lines.append(f"Sec-WebSocket-Extensions: {extension}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


def _items(environ: Mapping[str, Any], name: str) -> list[str]:
    return [item.strip(" \t") for item in environ.get(name, "").split(",")]


def _tokens(environ: Mapping[str, Any], name: str) -> list[str]:
    """The same where upper and lower case do not matter."""
    return [item.lower() for item in _items(environ, name)]
