"""An HTTP client of raw bytes: a test says what goes out; what comes in is held to the grammar.

It is deliberately no library's client. Those repair what they send and forgive what they read, and
a test must do neither. Every call has a deadline; none sleeps for a fixed time.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import re
import select
import socket
import termios
import time
from dataclasses import dataclass, field
from typing import Union

# A TCP peer by (host, port), or the path of a unix socket.
Address = Union[tuple[str, int], str]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9]{2}) ([\t \x21-\x7e\x80-\xff]*)\Z")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,16}\Z")
_RECV = 65536


class WireError(AssertionError):
    """The server sent something that is no HTTP/1.1 response, or closed in the middle of one."""


@dataclass
class Response:
    """One response, as it came."""

    status: int
    reason: str
    fields: list[tuple[str, str]]
    body: bytes = b""
    # The pieces of a chunked body, as the server cut them; empty for other framings.
    chunks: list[bytes] = field(default_factory=list)
    # "none", "length", "chunked" or "close" (RFC 9112 6.3).
    framing: str = "none"

    def all(self, name: str) -> list[str]:
        """Every value of a field, in order."""
        return [value for key, value in self.fields if key.lower() == name.lower()]

    def get(self, name: str) -> str | None:
        """The value of a field that may be there once; a repeated one is an error."""
        values = self.all(name)
        if len(values) > 1:
            raise WireError(f"{name} is there {len(values)} times: {values}")
        return values[0] if values else None

    @property
    def closes(self) -> bool:
        """Whether the response says that the connection ends with it."""
        tokens = [t.strip().lower() for value in self.all("Connection") for t in value.split(",")]
        return "close" in tokens or self.framing == "close"


class CutShort(WireError):
    """The server closed in the middle of a response, or before it."""


def request(
    target: str = "/",
    *,
    method: str = "GET",
    fields: list[tuple[str, str]] | None = None,
    body: bytes | None = None,
    version: str = "HTTP/1.1",
    host: str | None = "test",
) -> bytes:
    """The bytes of a well-formed request; a body gets a Content-Length."""
    lines = [f"{method} {target} {version}"]
    if host is not None:
        lines.append(f"Host: {host}")
    lines += [f"{name}: {value}" for name, value in fields or []]
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join(lines) + "\r\n\r\n"
    return head.encode("latin-1") + (body or b"")


CHUNKED = [("Transfer-Encoding", "chunked")]


def chunked(body: bytes, size: int) -> bytes:
    """body in chunks of size bytes."""
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"


class Client:
    """One connection. Use it as a context manager.

    timeout is the limit of each call in seconds; running over it fails the test that made the call.
    receive_buffer, if given, is SO_RCVBUF, for tests of slow readers.
    """

    def __init__(
        self, address: Address, *, timeout: float = 10.0, receive_buffer: int | None = None
    ) -> None:
        self.timeout = timeout
        self._input = bytearray()
        self._eof = False
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
            self.socket = socket.socket(family, socket.SOCK_STREAM)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(timeout)
        self.socket.connect(address)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    # ---- sending

    def send(self, data: bytes) -> None:
        """Sends all of data."""
        self.socket.settimeout(self.timeout)
        self.socket.sendall(data)

    def send_if_open(self, data: bytes) -> None:
        """Sends data to a server that may rightly have closed already."""
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.send(data)

    def send_separately(self, data: bytes) -> None:
        """Sends data to a unix socket and waits until the server has read it, so that what is sent
        next arrives by itself. An answer or the end of the connection ends the wait as well."""
        self.send_if_open(data)
        unread = array.array("i", [0])
        deadline = time.monotonic() + self.timeout
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        while time.monotonic() < deadline:
            fcntl.ioctl(self.socket, termios.TIOCOUTQ, unread)
            if unread[0] == 0 or poll.poll(0):
                return
        raise TimeoutError(f"the server has not read {data!r}")

    def finish_sending(self) -> None:
        """Half-closes: the server sees the end of our input, we still read (RFC 9112 9.6)."""
        self.socket.shutdown(socket.SHUT_WR)

    def get(self, target: str = "/", **kwargs: object) -> Response:
        """Sends a request (the arguments of request()) and reads its response."""
        self.send(request(target, **kwargs))  # type: ignore[arg-type]
        return self.read_response(method=str(kwargs.get("method", "GET")))

    # ---- receiving

    def _fill(self, deadline: float) -> bool:
        """Receives more input; False at its end."""
        if self._eof:
            return False
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no more input after {bytes(self._input[-200:])!r}")
        self.socket.settimeout(left)
        try:
            data = self.socket.recv(_RECV)
        except socket.timeout:
            raise TimeoutError(f"no more input after {bytes(self._input[-200:])!r}") from None
        self._input += data
        self._eof = not data
        return bool(data)

    def _take(self, count: int) -> bytes:
        data = bytes(self._input[:count])
        del self._input[:count]
        return data

    def _read_exactly(self, count: int, deadline: float) -> bytes:
        while len(self._input) < count:
            if not self._fill(deadline):
                raise CutShort(f"closed after {len(self._input)} of {count} bytes")
        return self._take(count)

    def _read_line(self, deadline: float) -> bytes:
        start = 0
        while (end := self._input.find(b"\r\n", start)) < 0:
            start = max(0, len(self._input) - 1)
            if not self._fill(deadline):
                raise CutShort(f"closed in the middle of a line: {bytes(self._input)!r}")
        line = self._take(end)
        self._take(2)
        if b"\r" in line or b"\n" in line:
            raise WireError(f"a bare CR or LF in {line!r}")
        return line

    def _read_fields(self, deadline: float) -> list[tuple[str, str]]:
        fields = []
        while line := self._read_line(deadline):
            name, colon, value = line.partition(b":")
            if not colon or not _TOKEN.match(name) or _CONTROL.search(value):
                raise WireError(f"no field line: {line!r}")
            fields.append((name.decode("ascii"), value.strip(b" \t").decode("latin-1")))
        return fields

    def _read_chunk(self, deadline: float) -> bytes:
        line = self._read_line(deadline)
        if not _CHUNK_SIZE.match(line):
            raise WireError(f"no chunk size: {line!r}")
        size = int(line, 16)
        if size == 0:
            if trailers := self._read_fields(deadline):
                raise WireError(f"trailers that nobody asked for: {trailers}")
            return b""
        chunk = self._read_exactly(size, deadline)
        if self._read_exactly(2, deadline) != b"\r\n":
            raise WireError("a chunk does not end in CRLF")
        return chunk

    def read_chunk(self) -> bytes:
        """Reads the next piece of a chunked body whose head was read; nothing at its end."""
        return self._read_chunk(time.monotonic() + self.timeout)

    def _read_chunks(self, deadline: float) -> list[bytes]:
        return [*iter(lambda: self._read_chunk(deadline), b"")]

    def read_head(self) -> Response:
        """Reads a status line and fields, and leaves the body where it is."""
        deadline = time.monotonic() + self.timeout
        line = self._read_line(deadline)
        match = _STATUS_LINE.match(line)
        if not match:
            raise WireError(f"no status line: {line!r}")
        response = Response(int(match[1]), match[2].decode("latin-1"), self._read_fields(deadline))
        self._check_framing(response)
        return response

    @staticmethod
    def _check_framing(response: Response) -> None:
        length = response.get("Content-Length")
        coding = response.get("Transfer-Encoding")
        if length is not None and not length.isdigit():
            raise WireError(f"Content-Length: {length}")
        if coding not in (None, "chunked") or (coding and length is not None):
            raise WireError(f"Transfer-Encoding: {coding}, Content-Length: {length}")
        if (response.status < 200 or response.status == 204) and (coding or length is not None):
            raise WireError(f"a {response.status} with a length (RFC 9110 8.6, RFC 9112 6.1)")
        if response.status >= 200 and response.get("Date") is None:
            raise WireError("no Date (RFC 9110 6.6.1)")

    def read_response(self, *, method: str = "GET") -> Response:
        """Reads one response, interim ones included; method is the request's: HEAD has no body."""
        response = self.read_head()
        self.read_body(response, method)
        return response

    def read_body(self, response: Response, method: str = "GET") -> None:
        """Reads the body that belongs to a head, into it."""
        deadline = time.monotonic() + self.timeout
        length = response.get("Content-Length")
        if method == "HEAD" or response.status < 200 or response.status in (204, 304):
            response.framing = "none"
        elif response.get("Transfer-Encoding"):
            response.framing = "chunked"
            response.chunks = self._read_chunks(deadline)
            response.body = b"".join(response.chunks)
        elif length is not None:
            response.framing = "length"
            response.body = self._read_exactly(int(length), deadline)
        else:
            response.framing = "close"
            response.body = self.read_to_end()

    def read_some(self, count: int) -> bytes:
        """Reads exactly count raw bytes."""
        return self._read_exactly(count, time.monotonic() + self.timeout)

    def skip(self, count: int) -> None:
        """Reads exactly count raw bytes, and keeps none: of gigabytes, PyPy's bytearray would."""
        count -= len(self._take(min(count, len(self._input))))
        room = memoryview(bytearray(_RECV))
        self.socket.settimeout(self.timeout)
        while count:
            received = self.socket.recv_into(room[:count])
            if not received:
                raise CutShort(f"closed {count} bytes too early")
            count -= received

    def read_to_end(self) -> bytes:
        """Everything up to an orderly close. A reset is an error."""
        deadline = time.monotonic() + self.timeout
        while self._fill(deadline):
            pass
        return self._take(len(self._input))

    def read_to_abort(self) -> bytes:
        """Everything up to a close of any kind, a reset included."""
        deadline = time.monotonic() + self.timeout
        try:
            while self._fill(deadline):
                pass
        except ConnectionResetError:
            self._eof = True
        return self._take(len(self._input))

    def has_input(self) -> bool:
        """Whether there is more input, which is left unread."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(self._input or poll.poll(0))

    def wait_for_input(self) -> None:
        """Waits until there is more input, and leaves it unread."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        if not poll.poll(self.timeout * 1000):
            raise TimeoutError("no more input")

    def at_end(self) -> bool:
        """Waits for more input; True if none comes, since the server has closed or reset."""
        try:
            return not self._input and not self._fill(time.monotonic() + self.timeout)
        except ConnectionResetError:
            self._eof = True
            return True

    def expect_close(self) -> None:
        """The server closes now, in order, and has nothing more to say."""
        rest = self.read_to_end()
        if rest:
            raise WireError(f"more bytes instead of a close: {rest[:200]!r}")

    def expect_nothing_buffered(self) -> None:
        """No byte beyond the responses that were read has arrived so far."""
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        if self._input or poll.poll(0):
            self.socket.settimeout(0)
            raise WireError(f"unexpected bytes: {bytes(self._input[:200])!r}")
