"""The gateway of PEP 3333: calls the application for each request, and sends what it answers.

A Gateway serves one run. For a request without a body the application is called from its
MHPY_REQUEST; one with a body is kept as an Upload until the body is complete. What is kept for a
request, here by its name: an Upload, a Parking of a response that waits for its client, a body that
the C half has borrowed. All of them ask for MHPY_FINISH, which clears what is left. A request for
which nothing is kept ends without a word."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Optional, Union, cast

from meinheld._environ import Environ, Place, Plan, Plans, fill, take, unescape
from meinheld._input import NO_INPUT, Memory, Upload
from meinheld._loop import TORN, VERSION, Loop, Parking
from meinheld._native import lib

if TYPE_CHECKING:
    from meinheld._native import Hub

ExcInfo = tuple[type[BaseException], BaseException, Optional[TracebackType]]
Headers = list[tuple[str, str]]
Write = Callable[[bytes], None]
Application = Callable[[Environ, Any], Iterable[bytes]]
ErrorLog = Callable[[str, Optional[ExcInfo]], None]

# A body from this size on is lent to the C half until it has been sent; copying a smaller one costs
# less.
_BORROW: Final = 16384

# List items are joined up to this size in all; above it they are sent one by one.
_JOIN: Final = 65536

_BAD_REQUEST: Final = (b"400 Bad Request\nContent-Type\ntext/plain", b"Bad Request\n")
_TOO_LARGE: Final = (b"413 Content Too Large\nContent-Type\ntext/plain", b"Content Too Large\n")
_FAILED: Final = (
    b"500 Internal Server Error\nContent-Type\ntext/plain",
    b"Internal Server Error\n",
)

# Responses whose body is never sent, whatever the method (RFC 9110 15.3.5, 15.4.5).
_BODYLESS: Final = (b"204", b"304")


class NothingMore(Exception):
    """No more of the response can be sent: its client has gone, or its length is reached. Never
    leaves this file."""


class Response:
    """One response: start_response, write, and how far it has come."""

    __slots__ = ("_gateway", "ended", "environ", "head", "name", "pieces", "sent")

    def __init__(self, gateway: Gateway, name: int, environ: Environ) -> None:
        self._gateway = gateway
        self.name = name
        self.environ = environ
        self.head: bytes | None = None  # as mhpy_answer takes it; None before start_response
        self.pieces = 0  # strings in head
        self.sent = False  # the head has gone
        self.ended = False  # all has gone, or nothing more can

    def start(self, status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Write:
        """start_response of PEP 3333.

        Raises TypeError or ValueError for what is no status or header, AssertionError when called
        again without exc_info, and exc_info's own exception when the head has gone."""
        if exc_info is not None:
            try:
                if self.sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None  # no cycle through this frame
        elif self.head is not None:
            raise AssertionError("start_response was called a second time, without exc_info")
        parts = [status]
        try:
            for header in headers:
                name, value = header
                if type(header) is not tuple:
                    raise TypeError
                parts.append(name)
                parts.append(value)
            self.head = "\n".join(parts).encode("latin-1")
        except (TypeError, ValueError):
            _complain(status, headers)
            raise
        self.pieces = len(parts)
        return self.write

    def write(self, data: bytes) -> None:
        """write of PEP 3333: sends data, after the head if that has not gone. Waits while the
        client reads too slowly."""
        if type(data) is not bytes:
            raise TypeError(f"a response body is made of bytes, not of {type(data).__name__}")
        if self.ended:
            return
        try:
            self.send_head()
            self._gateway.send(self, data, True)
        except NothingMore:
            self.ended = True

    def send_head(self) -> None:
        """Sends the head, if it has not gone. Raises NothingMore, or ValueError if it may not be
        sent."""
        if self.sent:
            return
        if self.head is None:
            raise AssertionError("the application sent a body before it called start_response")
        code = lib.mhpy_head(self._gateway.hub, self.name, self.head, len(self.head), self.pieces)
        if code < 0:
            raise self.refusal(code)
        self.sent = True

    def refusal(self, code: int) -> Exception:
        """What a negative result for the head means."""
        if code == lib.MH_EINVAL:
            return ValueError(f"status or headers that may not be sent: {self.head!r}")
        if code == lib.MH_ENOMEM:
            return MemoryError("no memory for the response")
        return NothingMore()

    def announced(self) -> int | None:
        """The Content-Length among the headers."""
        head = self.head or b""
        _, found, rest = head.lower().partition(b"\ncontent-length\n")
        number = rest.partition(b"\n")[0]
        return int(number) if found and number.isdigit() else None

    def bodyless(self) -> bool:
        """Whether no body is sent whatever the application makes."""
        method = self.environ["REQUEST_METHOD"]
        return method == "HEAD" or (self.head is not None and self.head.startswith(_BODYLESS))


def _complain(status: object, headers: object) -> None:
    """Raises the error that says what is wrong with start_response's arguments."""
    if not isinstance(status, str):
        raise TypeError(f"status must be a str, not {type(status).__name__}")
    if not isinstance(headers, list):
        raise TypeError(f"headers must be a list, not {type(headers).__name__}")
    for item in headers:
        if not isinstance(item, tuple) or len(item) != 2:
            raise TypeError(f"a header must be a tuple (name, value), not {item!r}")
        if not isinstance(item[0], str) or not isinstance(item[1], str):
            raise TypeError(f"a header's name and value must be str: {item!r}")
        if not all(ord(char) < 256 for text in item for char in text):
            raise ValueError(f"a header has characters that are not in latin-1: {item!r}")
    if not all(ord(char) < 256 for char in status):
        raise ValueError(f"status has characters that are not in latin-1: {status!r}")


class Gateway:
    """Serves one application in one loop."""

    def __init__(self, app: Application, places: list[Place], log: ErrorLog, buffer: int) -> None:
        """places: the loop's listeners in their order; buffer: bytes of a body above which it goes
        to a file."""
        self._app = app
        self._log = log
        self._buffer = buffer
        self._memory = Memory()
        self._uploads: dict[int, Upload] = {}
        self._waits: dict[int, Parking] = {}
        self._lent: dict[int, bytes] = {}
        self._plans = Plans(
            places,
            {
                "wsgi.version": (1, 0),
                "wsgi.url_scheme": "http",
                "wsgi.input": NO_INPUT,
                "wsgi.input_terminated": True,
                "wsgi.errors": sys.stderr,
                "wsgi.multithread": False,
                "wsgi.multiprocess": True,
                "wsgi.run_once": False,
                "wsgi.file_wrapper": _file_wrapper(),
                "SERVER_SOFTWARE": f"meinheld/{VERSION}",
                "SCRIPT_NAME": "",
            },
        )
        self._plan = self._plans.get
        self.shape = self._plans.learn
        self.forget = self._plans.forget

    def attach(self, loop: Loop) -> None:
        """The loop that runs it; to be called before that runs."""
        self._loop = loop

    @property
    def hub(self) -> Hub:
        """The C half; NULL once the loop has ended."""
        return self._loop.hub

    # ---- the loop's events

    def request(
        self, name: int, number: int, flags: int, length: int, pieces: int, texts: Iterator[str]
    ) -> None:
        """A request's head has come."""
        plan = self._plan(number)
        if plan is None or flags or pieces != plan[2]:
            self._unusual(name, number, flags, pieces, texts)
            return
        base, keys, _ = plan
        environ = base.copy()
        environ.update(zip(keys, texts))  # type: ignore[arg-type]
        environ["REQUEST_URI"] = environ["RAW_URI"]
        self._serve(name, environ)

    def _unusual(
        self, name: int, number: int, flags: int, pieces: int, texts: Iterator[str]
    ) -> None:
        """A request that is not the plainest: an escaped path, a body, fields to be joined or left
        out..."""
        environ = None if pieces == TORN else self._environ(number, flags, take(texts, pieces))
        if environ is None:
            self._log("a request head did not come in the right number of pieces", None)
            self._refuse(name, _BAD_REQUEST)
        elif flags & lib.MHPY_HAS_BODY:
            chunked = flags & lib.MHPY_CHUNKED != 0
            upload = Upload(name, environ, chunked, self._buffer, self._memory)
            self._uploads[name] = upload
            self._receive(upload)
        else:
            self._serve(name, environ)

    def _environ(self, number: int, flags: int, texts: list[str]) -> Environ | None:
        """environ from a request's strings; None if they are not as many as they should be."""
        if flags & lib.MHPY_NAMED:
            # Too few strings of a name, a value, and what is fixed make the count below differ.
            n = (len(texts) - bool(flags & lib.MHPY_ABSOLUTE) - self._plans.fixed(number)) // 2
            plan: Plan | None = self._plans.build(number, texts[:n])
            texts = texts[n:]
        else:
            plan = self._plan(number) or self._plans.make(number)
        if plan is None:
            return None
        extra = 1 if flags & lib.MHPY_ABSOLUTE else 0
        if len(texts) != len(plan.keys) + extra:
            return None
        environ = plan.base.copy()
        fill(environ, plan, iter(texts))
        environ["REQUEST_URI"] = environ["RAW_URI"]
        if flags & lib.MHPY_ESCAPED:
            environ["PATH_INFO"] = unescape(environ["PATH_INFO"])
        if extra:
            environ["HTTP_HOST"] = texts[-1]
        return environ

    def readable(self, name: int) -> None:
        """More of a body has come."""
        upload = self._uploads.get(name)
        if upload is not None:
            self._receive(upload)

    def writable(self, name: int) -> None:
        """A client has caught up."""
        parking = self._waits.pop(name, None)
        if parking is not None:
            parking.resume(True)

    def finish(self, name: int, why: int, sent: int) -> None:
        """A request has ended, its client gone if it was not done."""
        self._lent.pop(name, None)
        upload = self._uploads.pop(name, None)
        if upload is not None:
            upload.close()
        parking = self._waits.pop(name, None)
        if parking is not None:
            parking.resume(False)

    # ---- request bodies

    def _receive(self, upload: Upload) -> None:
        """Takes what there is of a body, and serves the request if that was all."""
        while True:
            data, state = self._loop.read(upload.name)
            try:
                upload.write(data)
            except OSError:
                self._log("a request body could not be kept", _exc_info())
                state = lib.MH_ESYS
            if state == lib.MHPY_READ_WAIT:
                return
            if state != lib.MHPY_READ_FULL:
                break
        del self._uploads[upload.name]
        try:
            if state == lib.MHPY_READ_END:
                upload.complete()
                self._serve(upload.name, upload.environ)
            elif state == lib.MH_ESYS:
                self._refuse(upload.name, _FAILED)
            elif state == lib.MH_ETOOBIG:
                self._refuse(upload.name, _TOO_LARGE)
            elif state == lib.MH_EBODY:
                self._refuse(upload.name, _BAD_REQUEST)
            else:  # its client has left, maybe by a half-close: there is nobody to answer
                lib.mhpy_abort(self.hub, upload.name)
        finally:
            upload.close()

    def _refuse(self, name: int, answer: tuple[bytes, bytes]) -> None:
        """Answers for the application. Nothing comes of it if the client has gone."""
        head, body = answer
        lib.mhpy_answer(self.hub, name, head, len(head), 3, body, len(body), 0)

    # ---- the application

    def _serve(self, name: int, environ: Environ) -> None:
        """Calls the application, and sends what it answers."""
        response = Response(self, name, environ)
        try:
            result = self._app(environ, response.start)
            # The plainest answer, and the most frequent: [body].
            if type(result) is list and len(result) == 1 and not response.sent:
                body = result[0]
                head = response.head
                if type(body) is bytes and head is not None and len(body) < _BORROW:
                    code = lib.mhpy_answer(
                        self._loop.hub, name, head, len(head), response.pieces, body, len(body), 0
                    )
                    if code:
                        self._look_into(response, code)
                    return
            self._send_all(response, result)
        except NothingMore:
            pass
        except Exception:
            self._fail(response, _exc_info())
        except BaseException:
            # KeyboardInterrupt, SystemExit, GreenletExit: the request is lost, and run() hears of
            # it.
            if not response.ended:
                lib.mhpy_abort(self.hub, name)
            raise

    def _fail(self, response: Response, exc_info: ExcInfo) -> None:
        """The application failed: 500 if nothing has gone yet, else nothing more can be said."""
        environ = response.environ
        self._log(f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} failed", exc_info)
        if response.ended:
            return
        if response.sent:
            lib.mhpy_abort(self.hub, response.name)
        else:
            self._refuse(response.name, _FAILED)

    def _send_all(self, response: Response, result: Iterable[bytes]) -> None:
        """Sends what the application returned, and closes it, whatever happens."""
        try:
            if type(result) in (list, tuple):
                self._send_items(response, cast(Union[list[bytes], tuple[bytes, ...]], result))
            else:
                self._send_stream(response, result)
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def _send_items(self, response: Response, items: list[bytes] | tuple[bytes, ...]) -> None:
        """Items that are all there already, so that the length is known."""
        for item in items:
            if type(item) is not bytes:
                raise TypeError(f"a response body is made of bytes, not of {type(item).__name__}")
        if response.sent or (len(items) > 1 and sum(map(len, items)) > _JOIN):
            self._send_stream(response, items)
        else:
            self.answer(response, items[0] if len(items) == 1 else b"".join(items))

    def answer(self, response: Response, body: bytes) -> None:
        """Sends head, body and end in one. Raises NothingMore, or ValueError if the head may not be
        sent."""
        head = response.head
        if head is None:
            raise AssertionError("the application returned without having called start_response")
        lend = len(body) >= _BORROW
        if lend:
            self._lent[response.name] = body
        code = lib.mhpy_answer(
            self.hub, response.name, head, len(head), response.pieces, body, len(body), lend
        )
        if lend and code < 0 and lib.mhpy_keep(self.hub, response.name) < 0:
            del self._lent[response.name]  # it has finished already: no event will do it
        if code:
            self._look_into(response, code)
        response.sent = response.ended = True

    def _look_into(self, response: Response, code: int) -> None:
        """mhpy_answer was not content."""
        if code != lib.MH_ERANGE:
            raise response.refusal(code)
        self._report_length(response)

    def _report_length(self, response: Response) -> None:
        environ = response.environ
        self._log(
            f"{environ['REQUEST_METHOD']} {environ['RAW_URI']}: the body is not as long as its"
            f" Content-Length says, {response.announced()}",
            None,
        )

    def _send_stream(self, response: Response, items: Iterable[bytes]) -> None:
        """Items that are made while they are sent: each leaves before the next is asked for."""
        now = type(items) not in (list, tuple)
        for item in items:
            if type(item) is not bytes:
                raise TypeError(f"a response body is made of bytes, not of {type(item).__name__}")
            if not item:
                continue
            if response.ended:
                self._report_length(response)
                return
            if response.sent or response.announced() != len(item):
                response.send_head()
                if response.bodyless():
                    break
                self.send(response, item, now)
            else:
                self.answer(response, item)
        if response.ended:
            return
        if not response.sent:
            self.answer(response, b"")
            return
        response.ended = True
        code = lib.mhpy_end(self.hub, response.name)
        if code == lib.MH_ERANGE:
            self._report_length(response)

    def send(self, response: Response, data: bytes, now: bool) -> None:
        """Sends a piece of a body whose head has gone, and waits while the client has too much
        unread. Raises NothingMore."""
        code = lib.mhpy_write(self.hub, response.name, data, len(data), now)
        if code == lib.MH_FULL:
            parking = self._waits[response.name] = Parking(self._loop)
            if not parking.park():
                raise NothingMore
        elif code == lib.MH_ERANGE:
            self._report_length(response)
            lib.mhpy_end(self.hub, response.name)
            response.ended = True
            raise NothingMore
        elif code < 0:
            raise NothingMore


def _file_wrapper() -> type:
    from wsgiref.util import FileWrapper

    return FileWrapper


def _exc_info() -> ExcInfo:
    """The exception being handled."""
    return cast(ExcInfo, sys.exc_info())
