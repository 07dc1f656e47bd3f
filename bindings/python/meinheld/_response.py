"""One response: start_response and write of PEP 3333, and what is learned from a head that comes
again and again."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Optional, Protocol

from meinheld._environ import Environ
from meinheld._files import FileWrapper
from meinheld._native import ffi, lib

if TYPE_CHECKING:
    from greenlet import greenlet as Greenlet

    from meinheld._native import Made, Stream

ExcInfo = tuple[type[BaseException], BaseException, Optional[TracebackType]]
ErrorLog = Callable[[str, Optional[ExcInfo]], None]
Headers = list[tuple[str, str]]
Write = Callable[[bytes], None]

# What a stream may send before the loop has a turn, in bytes, each piece counting for some more: a
# generator that never ends, with a client that reads all of it, must not starve the others.
SHARE: Final = 262144

# How far a response has come.
NOTHING: Final = 0
HEAD: Final = 1
BODYLESS: Final = 2  # the head has gone, and no body will: HEAD, 204, 304
ALL: Final = 3

_check: Final = lib.mhpy_check


class NothingMore(Exception):
    """No more of the response can be sent, since its client has gone. Never leaves the gateway."""


class TooLong(NothingMore):
    """No more can be sent, since the Content-Length is reached. What is over was cut."""


class Responses(Protocol):
    """Who sends responses: a Sender, or a MailSender."""

    @property
    def over(self) -> bool:
        """The run has ended, or is about to."""

    def check_thread(self) -> None:
        """Raises RuntimeError if the calling thread may not send."""

    def refuse(self, name: int, answer: tuple[bytes, bytes]) -> None:
        """Answers for the application."""

    def abort(self, name: int) -> None:
        """Ends an exchange and its connection."""

    def answer(self, response: Response, body: bytes, now: bool) -> None:
        """Sends head, body and end in one; now: at once, for the application goes on. Raises
        NothingMore, or ValueError."""

    def file(self, response: Response, file: FileWrapper) -> bool:
        """Sends head, file and end in one, and closes the file in the end; False if it can't.
        Raises NothingMore, or ValueError."""

    def report_length(self, response: Response) -> None:
        """Tells the log of a body that is not as long as it was to be."""

    def report_failure(self, response: Response, exc_info: ExcInfo) -> None:
        """Tells the log of what the application has raised."""

    def head(self, response: Response) -> None:
        """Sends the head, if it has not gone. Raises NothingMore, or ValueError."""

    def send(self, response: Response, data: bytes, now: bool) -> None:
        """Sends a piece of a body whose head has gone. Raises NothingMore."""

    def end(self, response: Response, now: bool) -> None:
        """Ends a response whose head has gone; now as for answer()."""

    def skip(self, response: Response) -> None:
        """The application has nothing yet. Raises NothingMore."""


class Head:
    """The head of a response, as mhpy_answer takes it. It has no __init__, as Response has none."""

    __slots__ = (
        "made",  # the same ready to be sent many times; None: not yet
        "pieces",  # how many strings the text has
        "text",
    )

    made: Made | None
    pieces: int
    text: bytes

    def __bool__(self) -> bool:
        return self.pieces > 0

    def make(self) -> bool:
        """Makes it ready to be sent many times, if there is memory."""
        made = lib.mhpy_make(self.text, len(self.text), self.pieces)
        if made:
            self.made = ffi.gc(made, lib.mhpy_unmake)
        return self.made is not None


# The head after a start_response that failed: another call needs exc_info all the same.
_REFUSED: Final = Head()
_REFUSED.text, _REFUSED.pieces, _REFUSED.made = b"", 0, None


class Known:
    """What was learned from a request head: what environ it leads to, and how it was answered
    lately, since the same question is mostly answered alike.

    The answer's head is kept beside the very arguments of start_response, whose types were all
    right. A repetition costs a comparison of lists, in place of a join, an encoding and a parsing
    in the C half; and it is made ready for that (Made) only when it comes, for most heads that
    change do so each time. Several threads may answer the same question: what they learn is
    replaced as one, and never changed."""

    __slots__ = ("environ", "last", "sender")

    def __init__(self, sender: Responses, environ: Environ) -> None:
        """sender: of its responses; environ: pristine, and never handed out."""
        self.sender = sender
        self.environ = environ
        # What start_response got, and the head that it made of that; None: not answered yet.
        self.last: tuple[str | None, Headers, Head] = (None, [], _REFUSED)

    def learn(self, status: str, headers: Headers, head: Head) -> None:
        """An answer's head, for which start_response got these."""
        if type(status) is str and type(headers) is list and all(map(_is_plain, headers)):
            self.last = (status, headers.copy(), head)


def _is_plain(header: tuple[str, str]) -> bool:
    """Whether this is a tuple of two str, and nothing that only looks like it."""
    return type(header) is tuple and len(header) == 2 and {*map(type, header)} == {str}


class Response:
    """One response: start_response, write, and how far it has come.

    It has no __init__: type.__call__ takes longer to reach one than to do all else that is done
    here. Gateway._serve, which alone makes any, sets what has no value yet."""

    __slots__ = (
        "environ",  # None once it has ended
        "gen",
        "greenlet",  # of environ["meinheld.client"], if the application has set it
        "head",  # None before start_response, _REFUSED after one that failed
        "known",  # what its request led to the last time
        "locals",  # of the application, if it has any (_locals)
        "of_head",  # whether the request is HEAD; known here if it is sent by mail
        "share",  # of the loop: what may be sent before others have a turn
        "slot",
        "stage",  # what has gone
        "stream",  # of the C half, if it is sent by mail
    )
    environ: Environ | None
    gen: int
    greenlet: Greenlet
    head: Head | None
    known: Known
    locals: Any
    of_head: bool
    share: int
    slot: int
    stage: int
    stream: Stream | None

    @property
    def name(self) -> int:
        """What the C half calls the request, in one."""
        return self.gen << 32 | self.slot

    @property
    def text(self) -> bytes:
        """The head; nothing before a start_response that succeeded."""
        return self.head.text if self.head else b""

    @property
    def ended(self) -> bool:
        """All has gone, or nothing more can."""
        return self.stage == ALL

    def start(self, status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Write:
        """start_response of PEP 3333.

        Raises TypeError or ValueError for what is no status or header, or one that may not be sent;
        AssertionError when called again without exc_info, even if the call before has failed; and
        exc_info's own exception when the head has gone."""
        if exc_info:
            try:
                if self.stage:
                    raise _trapped(exc_info)
            finally:
                exc_info = None  # no cycle through this frame
        elif self.head is not None:
            raise AssertionError("start_response was called a second time, without exc_info")
        last_status, last_headers, head = self.known.last
        # Types are looked at as well, for what is no str may say that it equals one.
        if (
            headers == last_headers
            and (status is last_status or (type(status) is str and status == last_status))
            and type(headers) is list
        ):
            for header, plain in zip(headers, last_headers):
                if header is plain:
                    continue
                if type(header) is not tuple:
                    break
                name, value = header
                if type(name) is not str or type(value) is not str:
                    break
            else:
                if head.made is None:
                    head.make()
                self.head = head
                return self.write
        self._encode(status, headers)
        return self.write

    def _encode(self, status: str, headers: Headers) -> None:
        """Makes the head."""
        self.head = _REFUSED
        parts = [status]
        try:
            if not isinstance(headers, list):
                raise TypeError("headers must be a list")
            for header in headers:
                name, value = header
                if not isinstance(header, tuple):
                    raise TypeError("a header must be a tuple")
                parts.append(name)
                parts.append(value)
            text = "\n".join(parts).encode("latin-1")
            code = _check(text, len(text), len(parts))
            if code == lib.MH_ENOMEM:
                raise MemoryError("no memory for the response")
            if code:
                raise ValueError("status and headers that may not be sent together")
        except (TypeError, ValueError) as exc:
            raise _complaint(status, headers) or exc from None
        head = Head()
        head.text = text
        head.pieces = len(parts)
        head.made = None
        self.head = head
        self.known.learn(status, headers, head)

    def write(self, data: bytes) -> None:
        """write of PEP 3333: sends data, after the head if that has not gone. Waits while the
        client reads too slowly, and does nothing once it has gone, or the response has ended.

        Raises ValueError for data beyond the Content-Length, and RuntimeError in a thread that may
        not send."""
        if type(data) is not bytes:
            data = plain(data)
        if self.ended:
            return
        sender = self.known.sender
        sender.check_thread()
        try:
            sender.head(self)
            sender.send(self, data, True)
        except TooLong:
            length = self.announced()
            raise ValueError(f"write() went beyond the Content-Length, {length}") from None
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

    def title(self) -> str:
        """What the log calls its request, whatever the application has done to environ."""
        texts = map((self.environ or {}).get, ("REQUEST_METHOD", "RAW_URI"))
        return " ".join(text if type(text) is str else "?" for text in texts)


def plain(item: object) -> bytes:
    """An item of a body that is not quite bytes: one of a subclass, whose methods may lie about
    what is in it, is copied. Raises TypeError for anything else."""
    if isinstance(item, bytes):
        return b"".join((item,))
    raise TypeError(f"a response body is made of bytes, not of {type(item).__name__}")


def _trapped(exc_info: object) -> BaseException:
    """The exception of an exc_info, to be raised again as it came."""
    if isinstance(exc_info, tuple) and len(exc_info) == 3:
        _, exc, traceback = exc_info
        if isinstance(exc, BaseException) and isinstance(traceback, (TracebackType, type(None))):
            return exc.with_traceback(traceback)
    return AssertionError(
        "start_response was called after the head had gone, with an exc_info that is none:"
        f" {exc_info!r}"
    )


def _complaint(status: object, headers: object) -> Exception | None:
    """The error that says what is wrong with start_response's arguments."""
    if not isinstance(status, str):
        return TypeError(f"status must be a str, not {type(status).__name__}")
    if not isinstance(headers, list):
        return TypeError(f"headers must be a list, not {type(headers).__name__}")
    for item in headers:
        if not isinstance(item, tuple) or len(item) != 2:
            return TypeError(f"a header must be a tuple (name, value), not {item!r}")
        if not isinstance(item[0], str) or not isinstance(item[1], str):
            return TypeError(f"a header's name and value must be str: {item!r}")
    if not _may_be_sent(status):
        return ValueError(f"a status that may not be sent: {status!r}")
    for item in headers:
        if not _may_be_sent(status, *item):
            return ValueError(f"a header that may not be sent: {item!r}")
    return None


def _may_be_sent(*texts: str) -> bool:
    """Whether a status and headers may be sent."""
    try:
        text = "\n".join(texts).encode("latin-1")
    except UnicodeEncodeError:
        return False
    return _check(text, len(text), len(texts)) != lib.MH_EINVAL
