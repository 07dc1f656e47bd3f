"""One response: start_response and write of PEP 3333, and what is learned from a head that comes
again and again."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Final, Optional, Protocol

from meinheld._environ import Environ
from meinheld._native import ffi, lib

if TYPE_CHECKING:
    from meinheld._native import Made

ExcInfo = tuple[type[BaseException], BaseException, Optional[TracebackType]]
ErrorLog = Callable[[str, Optional[ExcInfo]], None]
Headers = list[tuple[str, str]]
Write = Callable[[bytes], None]
Head = tuple[bytes, int]  # as mhpy_answer takes it: the text, and the number of its strings

# What a stream may send before the loop has a turn, in bytes, each piece counting for some more: a
# generator that never ends, with a client that reads all of it, must not starve the others.
SHARE: Final = 262144

# How far a response has come.
NOTHING: Final = 0
HEAD: Final = 1
ALL: Final = 2

# Responses whose body is never sent, whatever the method (RFC 9110 15.3.5, 15.4.5).
_BODYLESS: Final = (b"204", b"304")


class NothingMore(Exception):
    """No more of the response can be sent: its client has gone, or its length is reached. Never
    leaves the gateway."""


class Pieces(Protocol):
    """Who sends a response in pieces: a Sender."""

    def head(self, response: Response) -> None:
        """Sends the head, if it has not gone. Raises NothingMore."""

    def send(self, response: Response, data: bytes, now: bool) -> None:
        """Sends a piece of a body whose head has gone. Raises NothingMore."""


class Known:
    """What was learned from a request head: what environ it leads to, and how it was answered
    lately, since the same question is mostly answered alike.

    The answer's head is kept beside the very arguments of start_response, whose types were all
    right. A repetition costs a comparison of lists, in place of a join, an encoding and a parsing
    in the C half; and it is made ready for that (Made) only when it comes, for most heads that
    change do so each time."""

    __slots__ = ("environ", "head", "headers", "made", "sender", "status")

    def __init__(self, sender: Pieces, environ: Environ) -> None:
        """sender: of its responses; environ: pristine, and never handed out."""
        self.sender = sender
        self.environ = environ
        self.status: str | None = None  # None: not answered yet
        self.headers: Headers = []
        self.head: Head = (b"", 0)
        self.made: Made | None = None  # head, once made ready

    def learn(self, status: str, headers: Headers, head: Head) -> None:
        """An answer's head, for which start_response got these."""
        if type(status) is str and type(headers) is list and all(map(_is_plain, headers)):
            self.status = status
            self.headers = headers.copy()
            self.head = head
            self.made = None

    def make(self) -> None:
        """Makes the head ready to be sent many times."""
        text, pieces = self.head
        made = lib.mhpy_make(text, len(text), pieces)
        if made:
            self.made = ffi.gc(made, lib.mhpy_unmake)


def _is_plain(header: tuple[str, str]) -> bool:
    """Whether this is a tuple of two str, and nothing that only looks like it."""
    return type(header) is tuple and len(header) == 2 and {*map(type, header)} == {str}


class Response:
    """One response: start_response, write, and how far it has come.

    It has no __init__: type.__call__ takes longer to reach one than to do all else that is done
    here. Gateway._serve, which alone makes any, sets what has no value yet."""

    __slots__ = (
        "environ",
        "gen",
        "head",  # None before start_response
        "known",  # what its request led to the last time
        "share",  # of the loop: what may be sent before others have a turn
        "slot",
        "stage",  # NOTHING, HEAD or ALL: what has gone
    )

    environ: Environ
    gen: int
    head: Head | None
    known: Known
    share: int
    slot: int
    stage: int

    @property
    def name(self) -> int:
        """What the C half calls the request, in one."""
        return self.gen << 32 | self.slot

    @property
    def text(self) -> bytes:
        """The head; nothing before start_response."""
        return self.head[0] if self.head else b""

    @property
    def ended(self) -> bool:
        """All has gone, or nothing more can."""
        return self.stage == ALL

    def start(self, status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Write:
        """start_response of PEP 3333.

        Raises TypeError or ValueError for what is no status or header, AssertionError when called
        again without exc_info, and exc_info's own exception when the head has gone."""
        if exc_info is not None:
            try:
                if self.stage:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no cycle through this frame
        elif self.head is not None:
            raise AssertionError("start_response was called a second time, without exc_info")
        known = self.known
        # Types are looked at as well, for what is no str may say that it equals one.
        if (
            headers == known.headers
            and (status is known.status or (type(status) is str and status == known.status))
            and type(headers) is list
        ):
            for header, plain in zip(headers, known.headers):
                if header is plain:
                    continue
                if type(header) is not tuple:
                    break
                name, value = header
                if type(name) is not str or type(value) is not str:
                    break
            else:
                if known.made is None:
                    known.make()
                self.head = known.head
                return self.write
        self._encode(status, headers)
        return self.write

    def _encode(self, status: str, headers: Headers) -> None:
        """Makes the head."""
        parts = [status]
        try:
            for header in headers:
                name, value = header
                if type(header) is not tuple:
                    raise TypeError("a header must be a tuple")
                parts.append(name)
                parts.append(value)
            self.head = head = ("\n".join(parts).encode("latin-1"), len(parts))
        except (TypeError, ValueError) as exc:
            raise _complaint(status, headers) or exc from None
        self.known.learn(status, headers, head)

    def write(self, data: bytes) -> None:
        """write of PEP 3333: sends data, after the head if that has not gone. Waits while the
        client reads too slowly."""
        if type(data) is not bytes:
            raise TypeError(f"a response body is made of bytes, not of {type(data).__name__}")
        if self.ended:
            return
        sender = self.known.sender
        try:
            sender.head(self)
            sender.send(self, data, True)
        except NothingMore:
            self.stage = ALL

    def refusal(self, code: int) -> Exception:
        """What a negative result for the head means."""
        if code == lib.MH_EINVAL:
            return ValueError(f"status or headers that may not be sent: {self.text!r}")
        if code == lib.MH_ENOMEM:
            return MemoryError("no memory for the response")
        return NothingMore()

    def announced(self) -> int | None:
        """The Content-Length among the headers."""
        parts = self.text.split(b"\n")
        for name, value in zip(parts[1::2], parts[2::2]):
            if name.lower() == b"content-length" and value.isdigit():
                return int(value)
        return None

    def headers(self) -> list[tuple[str, str]]:
        """The application's headers; none before start_response."""
        parts = self.text.decode("latin-1").split("\n")
        return list(zip(parts[1::2], parts[2::2]))

    def bodyless(self) -> bool:
        """Whether no body is sent whatever the application makes."""
        method = self.environ.get("REQUEST_METHOD")  # the application may have taken it out
        return method == "HEAD" or self.text.startswith(_BODYLESS)

    def title(self) -> str:
        """What the log calls its request, whatever the application has done to environ."""
        texts = map(self.environ.get, ("REQUEST_METHOD", "RAW_URI"))
        return " ".join(text if type(text) is str else "?" for text in texts)


def _complaint(status: object, headers: object) -> Exception | None:
    """The error that says what is wrong with start_response's arguments."""
    if not isinstance(status, str):
        return TypeError(f"status must be a str, not {type(status).__name__}")
    if not isinstance(headers, list):
        return TypeError(f"headers must be a list, not {type(headers).__name__}")
    for item in headers:
        if type(item) is not tuple or len(item) != 2:
            return TypeError(f"a header must be a tuple (name, value), not {item!r}")
        if not isinstance(item[0], str) or not isinstance(item[1], str):
            return TypeError(f"a header's name and value must be str: {item!r}")
        if not all(ord(char) < 256 for text in item for char in text):
            return ValueError(f"a header has characters that are not in latin-1: {item!r}")
    if not all(ord(char) < 256 for char in status):
        return ValueError(f"status has characters that are not in latin-1: {status!r}")
    return None
