"""What travels over a WebSocket, without any I/O: bytes become messages, pings, pongs and closes,
and those become bytes. The frames (RFC 6455 5) are wsproto's; what its own permessage-deflate (RFC
7692) lacks is here: a limit to what a message may inflate to, pings between the fragments of a
message, and offers that are to be declined.

Nothing is kept from one message to the next ("no context takeover"), so that a connection that is
idle holds no compressor. To be imported only when WebSockets are used: wsproto may be missing."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any, Final, NamedTuple, Union

from wsproto.extensions import Extension
from wsproto.frame_protocol import (
    CloseReason,
    FrameDecoder,
    FrameProtocol,
    Opcode,
    ParseFailed,
    RsvBits,
)

Message = Union[str, bytes]
Bytes = Union[bytes, bytearray]
_Decoder = Union[FrameDecoder, FrameProtocol]

# Bytes below which compressing a message is not worth it.
_WORTH: Final = 64

# What a sender leaves out at the end of a message (RFC 7692 7.2.1).
_TAIL: Final = b"\x00\x00\xff\xff"

_NAME: Final = "permessage-deflate"
_WINDOW: Final = 15  # bits, as long as nobody wants less
_FLAGS: Final = ("server_no_context_takeover", "client_no_context_takeover")
_BITS: Final = ("server_max_window_bits", "client_max_window_bits")


class Ping(NamedTuple):
    """To be answered by a pong of the same payload."""

    payload: bytes


class Pong(NamedTuple):
    """The answer to a ping, or none that was asked for."""

    payload: bytes


class Close(NamedTuple):
    """The peer sends nothing more. 1005: it has given no code."""

    code: int
    reason: str


class Broken(Exception):
    """The peer has sent what it must not; nothing that follows can be understood."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Messages:
    """Both directions of one connection, seen from the server."""

    def __init__(self, max_size: int, window: int | None = None) -> None:
        """max_size: bytes of a message, inflated; window: the bits of our compressor's, None if
        there is no compression."""
        self._max_size = max_size
        self._frames = FrameProtocol(client=False, extensions=[_Payloads(max_size, window)])
        self._parts: list[Any] = []  # of a message: all bytes, or all str

    def receive(self, data: bytes) -> Iterator[Message | Ping | Pong | Close]:
        """What comes to an end with these bytes; nothing after a Close. Raises Broken."""
        self._frames.receive_bytes(data)
        try:
            for frame in self._frames.received_frames():
                payload: Any = frame.payload
                if frame.opcode is Opcode.PING:
                    yield Ping(bytes(payload))
                elif frame.opcode is Opcode.PONG:
                    yield Pong(bytes(payload))
                elif frame.opcode is Opcode.CLOSE:
                    yield Close(int(payload[0]), payload[1])
                else:
                    if payload:
                        self._parts.append(payload)
                    if frame.message_finished:
                        yield self._whole(frame.opcode)
        except ParseFailed as exc:
            code = int(exc.code)
            big = code == CloseReason.MESSAGE_TOO_BIG
            reason = f"a message of over {self._max_size} bytes" if big else str(exc)
            raise Broken(code, reason) from None

    def _whole(self, opcode: Opcode) -> Message:
        parts, self._parts = self._parts, []
        message: Message = ("" if opcode is Opcode.TEXT else b"").join(parts)
        return message

    def message(self, data: str | bytes | bytearray | memoryview) -> Bytes:
        """A message, as a text if it is a str. Raises TypeError for what is none, and ValueError
        for a str that UTF-8 has no bytes for."""
        return self._frames.send_data(data)  # type: ignore[arg-type]

    def ping(self, payload: bytes) -> Bytes:
        """A ping, of up to 125 bytes."""
        return self._frames.ping(payload)

    def pong(self, payload: bytes) -> Bytes:
        """The answer to one."""
        return self._frames.pong(payload)

    def close(self, code: int | None, reason: str) -> Bytes:
        """The last that is sent; without a code there is no reason either."""
        return self._frames.close(code, reason if code is not None else None)


class _Payloads(Extension):
    """Inflates and deflates, and holds messages to their limit; wsproto calls it for each frame."""

    name = _NAME

    def __init__(self, max_size: int, window: int | None) -> None:
        self._max_size = max_size
        self._window = window
        self._size = 0  # bytes of the message that is coming, without the frame in hand
        self._frame = 0  # that one's
        self._control = False  # the frame in hand is none of its
        self._inflater: Any = None  # if that is compressed

    def enabled(self) -> bool:
        return True

    def offer(self) -> bool | str:
        return False

    def frame_inbound_header(
        self, proto: _Decoder, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        self._control = opcode.iscontrol()
        first = opcode in (Opcode.TEXT, Opcode.BINARY)
        may_compress = first and self._window is not None
        if first:
            self._size = 0
            compressed = rsv.rsv1 and may_compress
            self._inflater = zlib.decompressobj(-_WINDOW) if compressed else None
        if not self._control and self._inflater is None:
            # It is added at the frame's end, for a header that comes in pieces is seen twice.
            self._frame = payload_length
            if self._size + payload_length > self._max_size:
                return CloseReason.MESSAGE_TOO_BIG
        return RsvBits(may_compress, False, False)

    def frame_inbound_payload_data(self, proto: _Decoder, data: bytes) -> bytes | CloseReason:
        if self._control or self._inflater is None:
            return data
        return self._inflate(data)

    def frame_inbound_complete(self, proto: _Decoder, fin: bool) -> bytes | CloseReason | None:
        if self._control:
            return None
        if self._inflater is None:
            self._size += self._frame
            return None
        if not fin:
            return None
        rest = self._inflate(_TAIL)
        self._inflater = None
        return rest

    def _inflate(self, data: bytes) -> bytes | CloseReason:
        inflater = self._inflater
        try:
            found: bytes = inflater.decompress(data, self._max_size - self._size + 1)
        except zlib.error:
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        self._size += len(found)
        if self._size > self._max_size:
            return CloseReason.MESSAGE_TOO_BIG
        # After a block that says it is the last, there may be a byte to fill up (RFC 7692 7.2.3.4).
        if len(inflater.unused_data) > 1 + len(_TAIL):
            return CloseReason.INVALID_FRAME_PAYLOAD_DATA
        return found

    def frame_outbound(
        self, proto: _Decoder, opcode: Opcode, rsv: RsvBits, data: bytes, fin: bool
    ) -> tuple[RsvBits, bytes]:
        if self._window is None or opcode.iscontrol() or len(data) < _WORTH:
            return rsv, data
        deflater = zlib.compressobj(wbits=-self._window)
        small = deflater.compress(data) + deflater.flush(zlib.Z_SYNC_FLUSH)
        small = small[: -len(_TAIL)]
        return (RsvBits(True, False, False), small) if len(small) < len(data) else (rsv, data)


def agree(offers: str) -> tuple[str, int] | None:
    """The first of a client's offers (Sec-WebSocket-Extensions) that can be taken: the answer, and
    the bits of our compressor's window. None: there is no compression (RFC 7692 7.1)."""
    for offer in offers.split(","):
        name, *parameters = (part.strip() for part in offer.split(";"))
        if name == _NAME:
            window = _window(parameters)
            if window is not None:
                bits = f"; {_BITS[0]}={window}" if window != _WINDOW else ""
                return f"{_NAME}; {'; '.join(_FLAGS)}{bits}", window
    return None


def _window(parameters: list[str]) -> int | None:
    """The window that an offer leaves us; None if it is to be declined."""
    window = _WINDOW
    seen = set()
    for parameter in parameters:
        name, _, value = (text.strip(' \t"') for text in parameter.partition("="))
        if name in seen or name not in _FLAGS + _BITS:
            return None
        seen.add(name)
        if name in _FLAGS or (name == _BITS[1] and not value):
            if "=" in parameter:
                return None
        elif value not in ("8", "9", "10", "11", "12", "13", "14", "15"):
            return None
        elif name == _BITS[0]:
            if value == "8":  # zlib makes a window of 9 of it
                return None
            window = int(value)
    return window
