"""The gateway of PEP 3333: calls the application for each request, and sends what it answers.

A Gateway serves one run. For a request without a body the application is called from its
MHPY_REQUEST; one with a body is kept as an Upload until the body is complete. What is kept for a
request, here by its name: an Upload, a Parking of a response that waits for its client, a body that
the C half has borrowed. All of them ask for MHPY_FINISH, which clears what is left. A request for
which nothing is kept ends without a word."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Optional, Union, cast

from greenlet import GreenletExit

from meinheld._environ import Environ, Place, Plans
from meinheld._input import NO_INPUT, Memory, Upload
from meinheld._loop import VERSION, Event, Loop, Parking
from meinheld._native import ffi, lib
from meinheld._response import ALL, NOTHING, SHARE, ExcInfo, Known, NothingMore, Response

if TYPE_CHECKING:
    from meinheld._native import CData, Hub

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

# What each piece of a stream counts for on top of its bytes (SHARE).
_PIECE: Final = 4096

# The part of a request's name that is its slot.
_SLOT: Final = 0xFFFFFFFF

# Looking it up in lib costs as much as a tenth of the call.
_answer_made: Final = lib.mhpy_answer_made


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
        self._lent: dict[int, CData] = {}
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
        self._peers = self._plans.peers
        self._known: dict[int, Known] = {}
        self._anything = Known(self, {})  # for requests that are no known head
        self.shape = self._plans.learn
        self.peer = self._plans.meet

    def attach(self, loop: Loop) -> None:
        """The loop that runs it; to be called before that runs."""
        self._loop = loop

    @property
    def hub(self) -> Hub:
        """The C half; NULL once the loop has ended."""
        return self._loop.hub

    # ---- the loop's events

    def request(self, number: int, slot: int, gen: int, peer: int) -> None:
        """A request whose head is known has come."""
        try:
            known = self._known[number]
            environ = known.environ.copy()
            environ |= self._peers[peer]
        except KeyError:
            self._refuse_torn(gen << 32 | slot)
            return
        self._serve(slot, gen, environ, known)

    def first(self, name: int, plan: int, flags: int, more: Event, texts: list[str] | None) -> None:
        """Any other request has come."""
        _, peer, block, head = more
        environ = None
        if texts is not None:
            if not flags and not block:
                environ = self._plans.short_environ(plan, texts)
            if environ is None:
                environ = self._environ(plan, flags, block, texts)
        met = self._peers.get(peer)
        if environ is None or not met:
            self._refuse_torn(name)
            return
        known = self._anything
        if head:
            known = self._known[head] = Known(self, environ.copy())
        environ |= met
        if flags and flags & lib.MHPY_HAS_BODY:
            chunked = flags & lib.MHPY_CHUNKED != 0
            upload = Upload(name, environ, chunked, self._buffer, self._memory)
            self._uploads[name] = upload
            self._receive(upload)
        else:
            self._serve(name & _SLOT, name >> 32, environ, known)

    def _environ(self, plan: int, flags: int, block: int, texts: list[str]) -> Environ | None:
        """environ of a head that is not of the plainest kind."""
        absolute = flags & lib.MHPY_ABSOLUTE != 0
        if flags & lib.MHPY_BLOCKED:
            return self._plans.environ_of_block(plan, texts, absolute)
        return self._plans.environ(plan, texts, flags & lib.MHPY_NAMED != 0, absolute, block)

    def forget(self, table: int) -> None:
        """All that was learned of a kind is void."""
        if table == lib.MHPY_HEADS:
            self._known.clear()
        elif table == lib.MHPY_BLOCKS:
            self._plans.forget_blocks()
        else:
            self._plans.forget_shapes()

    def _refuse_torn(self, name: int) -> None:
        self._log("a request head did not come in the right number of pieces", None)
        self._refuse(name, _BAD_REQUEST)

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
            if not self._keep(upload, data, state == lib.MHPY_READ_END):
                state = lib.MH_ESYS
            if state == lib.MHPY_READ_WAIT:
                return
            if state != lib.MHPY_READ_FULL:
                break
        del self._uploads[upload.name]
        try:
            if state == lib.MHPY_READ_END:
                name = upload.name
                self._serve(name & _SLOT, name >> 32, upload.environ, self._anything)
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

    def _keep(self, upload: Upload, data: memoryview, complete: bool) -> bool:
        """Adds to a body, and ends it if it is complete. False if there is no room for it, on disk
        or in memory: that ends the request, not the server."""
        try:
            upload.write(data)
            if complete:
                upload.complete()
        except (OSError, MemoryError):
            self._log("a request body could not be kept", _exc_info())
            return False
        return True

    def _refuse(self, name: int, answer: tuple[bytes, bytes]) -> None:
        """Answers for the application. Nothing comes of it if the client has gone; without memory
        for it, the connection ends."""
        head, body = answer
        if lib.mhpy_answer(self.hub, name, head, len(head), 3, body, len(body), 0) < 0:
            lib.mhpy_abort(self.hub, name)

    # ---- the application

    def _serve(self, slot: int, gen: int, environ: Environ, known: Known) -> None:
        """Calls the application, and sends what it answers."""
        response = Response()
        response.slot = slot
        response.gen = gen
        response.environ = environ
        response.known = known
        response.head = None
        response.stage = NOTHING
        app = self._app
        try:
            result = app(environ, response.start)
            # The plainest answer, and the most frequent: [body], with a head that is known.
            if type(result) is list and len(result) == 1 and response.head is known.head:
                body = result[0]  # type: ignore[unreachable]  # start_response sets head
                if type(body) is bytes and not response.stage:
                    made = known.made
                    size = len(body)
                    if made is not None and size < _BORROW:
                        code = _answer_made(self._loop.hub, slot, gen, made, body, size)
                        if code:
                            self._look_into(response, code)
                        return
            self._send_all(response, result)
        except NothingMore:
            pass
        except (KeyboardInterrupt, SystemExit, GreenletExit):
            # The request is lost, and run() hears of it.
            if not response.ended:
                lib.mhpy_abort(self.hub, response.name)
            raise
        except BaseException:  # asyncio.CancelledError and its like mean nothing to run()
            self._fail(response, _exc_info())

    def _fail(self, response: Response, exc_info: ExcInfo) -> None:
        """The application failed: 500 if nothing has gone yet, else nothing more can be said."""
        self._log(f"{response.title()} failed", exc_info)
        if response.ended:
            return
        if response.stage:
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
        if response.stage or (len(items) > 1 and sum(map(len, items)) > _JOIN):
            self._send_stream(response, items)
        else:
            self.answer(response, items[0] if len(items) == 1 else b"".join(items))

    def answer(self, response: Response, body: bytes) -> None:
        """Sends head, body and end in one. Raises NothingMore, or ValueError if the head may not be
        sent."""
        head = response.head
        if head is None:
            raise AssertionError("the application returned without having called start_response")
        text, pieces = head
        lend = len(body) >= _BORROW
        data: bytes | CData = body
        if lend:
            # bytes given to a call stay in place for that call alone: PyPy moves them later.
            data = self._lent[response.name] = ffi.from_buffer("char[]", body)
        code = lib.mhpy_answer(
            self.hub, response.name, text, len(text), pieces, data, len(body), lend
        )
        if lend and code < 0 and lib.mhpy_keep(self.hub, response.name) < 0:
            del self._lent[response.name]  # it has finished already: no event will do it
        if code:
            self._look_into(response, code)
        response.stage = ALL

    def _look_into(self, response: Response, code: int) -> None:
        """mhpy_answer was not content."""
        if code != lib.MH_ERANGE:
            raise response.refusal(code)
        self._report_length(response)

    def _report_length(self, response: Response) -> None:
        self._log(
            f"{response.title()}: the body is not as long as its Content-Length says,"
            f" {response.announced()}",
            None,
        )

    def _send_stream(self, response: Response, items: Iterable[bytes]) -> None:
        """Items that are made while they are sent: each leaves before the next is asked for."""
        now = type(items) not in (list, tuple)
        idle = SHARE
        answered = False
        for item in items:
            if type(item) is not bytes:
                raise TypeError(f"a response body is made of bytes, not of {type(item).__name__}")
            if not item:  # the application has nothing yet (PEP 3333): the others have a turn
                idle -= _PIECE
                if idle < 0:
                    idle = SHARE
                    self._yield(response)
                continue
            if response.ended:
                if answered:  # else by write(), which has reported what there was
                    self._report_length(response)
                return
            if response.stage or response.announced() != len(item):
                response.send_head()
                if response.bodyless():
                    break
                self.send(response, item, now)
            else:
                self.answer(response, item)
                answered = True
        if response.ended:
            return
        if not response.stage:
            self.answer(response, b"")
            return
        response.stage = ALL
        code = lib.mhpy_end(self.hub, response.name)
        if code == lib.MH_ERANGE:
            self._report_length(response)

    def _yield(self, response: Response) -> None:
        """Lets the others have their turn. Raises NothingMore if the client leaves meanwhile."""
        self._loop.pause()
        if lib.mhpy_keep(self.hub, response.name) < 0:
            raise NothingMore

    def send(self, response: Response, data: bytes, now: bool) -> None:
        """Sends a piece of a body whose head has gone, and waits while the client has too much
        unread, or while the others have their turn. Raises NothingMore, and MemoryError after
        which nothing more can be sent."""
        code = lib.mhpy_write(self.hub, response.name, data, len(data), now)
        response.share -= len(data) + _PIECE
        if code == lib.MH_FULL:
            parking = self._waits[response.name] = Parking(self._loop)
            if not parking.park():
                raise NothingMore
        elif code == lib.MH_ERANGE:
            self._report_length(response)
            lib.mhpy_end(self.hub, response.name)
            response.stage = ALL
            raise NothingMore
        elif code == lib.MH_ENOMEM:
            lib.mhpy_abort(self.hub, response.name)
            raise response.refusal(code)
        elif code < 0:
            raise NothingMore
        elif response.share < 0:
            self._loop.pause()
        if response.share < 0:
            response.share = SHARE


def _file_wrapper() -> type:
    from wsgiref.util import FileWrapper

    return FileWrapper


def _exc_info() -> ExcInfo:
    """The exception being handled."""
    return cast(ExcInfo, sys.exc_info())
