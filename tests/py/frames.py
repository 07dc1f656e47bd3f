"""A WebSocket client of raw frames (RFC 6455 5), for those that no library would send."""

from __future__ import annotations

import base64
import hashlib
import struct
import zlib
from typing import NamedTuple, Protocol

from rawclient import Client, Response, request

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
RSV1 = 0x40

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # that of RFC 6455 1.3
DEFLATE = ("Sec-WebSocket-Extensions", "permessage-deflate")


class Frame(NamedTuple):
    """One that has come."""

    first: int  # FIN, RSV and opcode
    payload: bytes

    @property
    def opcode(self) -> int:
        return self.first & 15


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, rsv: int = 0) -> bytes:
    """A client's, masked."""
    size = len(payload)
    head = bytes([opcode | rsv | (0x80 if fin else 0)])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 65536:
        head += bytes([0x80 | 126]) + struct.pack("!H", size)
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", size)
    mask = b"\x37\xfa\x21\x3d"
    key = int.from_bytes((mask * (size // 4 + 1))[:size], "big")
    return head + mask + (int.from_bytes(payload, "big") ^ key).to_bytes(size, "big")


def close(code: int, reason: bytes = b"") -> bytes:
    """A Close."""
    return frame(CLOSE, struct.pack("!H", code) + reason)


def asking(path: str = "/echo", *more: tuple[str, str], **changed: str | None) -> bytes:
    """A handshake; with fields more, and with those of it changed (their names' "-" is "_") or left
    out (None)."""
    fields = {
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": KEY,
        "Sec-WebSocket-Version": "13",
    }
    version = changed.pop("version", None) or "HTTP/1.1"
    method = changed.pop("method", None) or "GET"
    for name in list(fields):
        value = changed.pop(name.replace("-", "_").lower(), fields[name])
        if value is None:
            del fields[name]
        else:
            fields[name] = value
    assert not changed, changed
    return request(path, method=method, version=version, fields=[*fields.items(), *more])


def accept_of(key: str) -> str:
    digest = hashlib.sha1(key.encode() + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()
    return base64.b64encode(digest).decode()


def deflated(data: bytes) -> bytes:
    """A message as RFC 7692 has it."""
    deflater = zlib.compressobj(wbits=-15)
    return (deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH))[:-4]


def inflated(data: bytes, window: int = 15) -> bytes:
    """The message that was."""
    return zlib.decompressobj(wbits=-window).decompress(data + b"\0\0\xff\xff")


class Connecting(Protocol):
    """What connects to a server."""

    def connect(self, *, receive_buffer: int | None = None) -> Client: ...


class Socket:
    """A WebSocket to a server, open once it is made; sends lies on request, and reads frames."""

    def __init__(
        self,
        server: Connecting,
        path: str = "/echo",
        *more: tuple[str, str],
        early: bytes = b"",
        receive_buffer: int | None = None,
    ) -> None:
        """more: fields of the handshake; early: sent right behind it."""
        self.client: Client = server.connect(receive_buffer=receive_buffer)
        self.client.send(asking(path, *more) + early)
        self.response: Response = self.client.read_head()
        assert self.response.status == 101, self.response
        assert self.response.get("Sec-WebSocket-Accept") == accept_of(KEY)

    def __enter__(self) -> Socket:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.client.close()

    def send(self, *frames: bytes) -> None:
        self.client.send(b"".join(frames))

    def read(self) -> Frame:
        """The next, which must not be masked, and as short as can be (5.1, 5.2)."""
        first, size = self.client.read_some(2)
        assert size < 128, "a server masks nothing"
        if size == 126:
            (size,) = struct.unpack("!H", self.client.read_some(2))
            assert size > 125
        elif size == 127:
            (size,) = struct.unpack("!Q", self.client.read_some(8))
            assert size > 65535
        return Frame(first, self.client.read_some(size))

    def read_close(self, *, answer: bool = False) -> tuple[int, str]:
        """The next is a Close, with this code (1005: none) and reason, and nothing follows; answer:
        whether it is to have one."""
        found = self.read()
        assert found.first == 0x80 | CLOSE, found
        if answer:
            self.send(frame(CLOSE, found.payload))
        rest = self.client.read_to_end()
        assert rest == b"", rest
        if not found.payload:
            return 1005, ""
        return struct.unpack("!H", found.payload[:2])[0], found.payload[2:].decode()

    def expect(self, opcode: int, payload: bytes) -> None:
        """The next is a whole message, or a control frame."""
        assert self.read() == (0x80 | opcode, payload)
