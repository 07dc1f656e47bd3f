"""Sends responses from the loop's own thread, a call to the C half for each part.

What is kept here for a request, by its name: a Parking of a response that waits for its client, a
body, or a piece of one, that the C half has borrowed, and a file that it sends, to be closed in the
end. All ask for MHPY_FINISH, which clears what is left."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Final

from meinheld._files import FileWrapper
from meinheld._kept import Keeper, Sent
from meinheld._loop import Loop
from meinheld._native import ffi, lib
from meinheld._parking import Parking
from meinheld._response import (
    ALL,
    BODYLESS,
    HEAD,
    SHARE,
    ErrorLog,
    NothingMore,
    Response,
    TooLong,
)

if TYPE_CHECKING:
    from meinheld._native import CData, Hub

# A body from this size on is lent to the C half until it has been sent; copying a smaller one costs
# less.
BORROW: Final = 16384

# The same of a piece of a stream, after which the application has to wait until all of it has left,
# and not only most.
LEND: Final = 65536

# What each piece of a stream counts for on top of its bytes (SHARE).
_PIECE: Final = 4096

# Looking it up in lib costs as much as a tenth of the call.
_write: Final = lib.mhpy_write

# What is answered in the application's place: a head as mhpy_answer takes it, and a body.
BAD_REQUEST: Final = (b"400 Bad Request\nContent-Type\ntext/plain", b"Bad Request\n")
TOO_LARGE: Final = (b"413 Content Too Large\nContent-Type\ntext/plain", b"Content Too Large\n")
FAILED: Final = (
    b"500 Internal Server Error\nContent-Type\ntext/plain",
    b"Internal Server Error\n",
)
# RFC 9110 15.6.4, 10.2.3.
UNAVAILABLE: Final = (
    b"503 Service Unavailable\nContent-Type\ntext/plain\nRetry-After\n1",
    b"Service Unavailable\n",
)


class Sender(Keeper):
    """Sends the responses of one loop."""

    def __init__(self, log: ErrorLog) -> None:
        super().__init__(log)
        self._waits: dict[int, Parking] = {}
        self._loans: dict[int, Parking] = {}  # waits for all of a piece to leave

    def attach(self, loop: Loop) -> None:
        """The loop that runs it; to be called before that runs."""
        self._loop = loop

    @property
    def over(self) -> bool:
        """The run has ended, or is about to."""
        return self._loop.over

    @property
    def hub(self) -> Hub:
        """The C half; NULL once the loop has ended."""
        return self._loop.hub

    # ---- the loop's events

    def writable(self, name: int) -> None:
        """A client has caught up."""
        parking = self._waits.pop(name, None)
        if parking is not None:
            parking.resume(True)

    def returned(self, name: int) -> None:
        """A client has taken all of a large piece."""
        parking = self._loans.pop(name, None)
        if parking is not None:
            del self._lent[name]
            parking.resume(True)

    def finish(self, name: int, why: int) -> None:
        """A request has ended, its client gone if it was not done."""
        for waits in (self._waits, self._loans):
            parking = waits.pop(name, None)
            if parking is not None:
                parking.resume(False)
        sent = self.give_back(name, why)
        if sent is not None:
            self.close_file(sent)

    def close(self) -> None:
        """The run is over: closes the files of the requests that were open. Raises what means
        something to run()."""
        raised: BaseException | None = None
        while self._files:
            _, sent = self._files.popitem()
            try:
                self.close_file(sent)
            except BaseException as exc:
                raised = exc
        if raised is not None:
            raise raised

    def check_thread(self) -> None:
        """Raises RuntimeError in any thread but the loop's: the C half bears no other."""
        if get_ident() != self._loop._thread:
            raise RuntimeError("a response can only be sent in the thread of its request")

    # ---- whole responses

    def refuse(self, name: int, answer: tuple[bytes, bytes]) -> None:
        """Answers for the application. Nothing comes of it if the client has gone; without memory
        for it, the connection ends."""
        head, body = answer
        pieces = head.count(b"\n") + 1
        if lib.mhpy_answer(self.hub, name, head, len(head), pieces, body, len(body), 0) < 0:
            self.abort(name)

    def abort(self, name: int) -> None:
        """Ends an exchange and its connection."""
        lib.mhpy_abort(self.hub, name)

    def answer(self, response: Response, body: bytes, now: bool) -> None:
        """Sends head, body and end in one; now: at once, for the application goes on. Raises
        NothingMore, or ValueError if the head may not be sent."""
        head = response.head
        if not head:
            raise AssertionError("the application returned without having called start_response")
        text, pieces = head.text, head.pieces
        lend = len(body) >= BORROW
        data: bytes | CData = body
        if lend:
            # bytes given to a call stay in place for that call alone: PyPy moves them later.
            data = self._lent[response.name] = ffi.from_buffer("char[]", body)
        how = (lend and lib.MHPY_BORROW) | (now and lib.MHPY_NOW)
        code = lib.mhpy_answer(
            self.hub, response.name, text, len(text), pieces, data, len(body), how
        )
        if lend and code < 0 and lib.mhpy_keep(self.hub, response.name) < 0:
            del self._lent[response.name]  # it has finished already: no event will do it
        if code:
            self.look_into(response, code)
        response.stage = ALL

    def look_into(self, response: Response, code: int) -> None:
        """A whole response was not taken as it is: raises what the code means, or reports its
        length."""
        if code != lib.MH_ERANGE:
            raise response.refusal(code)
        self.report_length(response)

    def file(self, response: Response, file: FileWrapper) -> bool:
        """Sends head, file and end in one, if this is a file that can be sent without reading it
        here; it is closed once the response has ended. Returns False if it can't, and nothing has
        been sent. Raises NothingMore, or ValueError if the head may not be sent."""
        if response.stage or not response.head:
            return False
        place = file.descriptor()
        if place is None:
            return False
        text, pieces = response.head.text, response.head.pieces
        code = lib.mhpy_file(self.hub, response.name, text, len(text), pieces, *place)
        if code == lib.MHPY_NO_FILE:
            return False
        if code == lib.MH_OK:
            self._files[response.name] = Sent(response, file)
        else:
            self.look_into(response, code)
        response.stage = ALL
        return code == lib.MH_OK

    # ---- responses in pieces

    def head(self, response: Response) -> None:
        """Sends the head, if it has not gone. Raises NothingMore, or ValueError if it may not be
        sent."""
        if response.stage:
            return
        if not response.head:
            raise AssertionError("the application sent a body before it called start_response")
        text, pieces = response.head.text, response.head.pieces
        code = lib.mhpy_head(self.hub, response.name, text, len(text), pieces)
        if code < 0:
            raise response.refusal(code)
        response.stage = BODYLESS if code == lib.MHPY_BODYLESS else HEAD
        response.share = SHARE

    def send(self, response: Response, data: bytes, now: bool) -> None:
        """Sends a piece of a body whose head has gone, and waits while the client has too much
        unread, or while the others have their turn. Raises NothingMore, and MemoryError after
        which nothing more can be sent."""
        name = response.gen << 32 | response.slot
        size = len(data)
        response.share -= size + _PIECE
        waits = self._waits
        if size < LEND:
            code = _write(self._loop.hub, name, data, size, now)
            if not code and response.share >= 0:
                return
        else:
            waits = self._loans
            if name in waits:  # it could not wait where it was made, and went on all the same
                raise RuntimeError("a piece before this one is still to leave")
            lent = self._lent[name] = ffi.from_buffer("char[]", data)
            code = lib.mhpy_lend(self.hub, name, lent, size)
            if code not in (lib.MH_FULL, lib.MH_ERANGE):  # else returned() or finish() does it
                del self._lent[name]
        if code == lib.MH_FULL:
            parking = waits[name] = Parking(self._loop)
            if not parking.park():
                raise NothingMore
        elif code == lib.MH_ERANGE:
            lib.mhpy_end(self.hub, name, now)
            response.stage = ALL
            raise TooLong
        elif code == lib.MH_ENOMEM:
            self.abort(name)
            raise response.refusal(code)
        elif code < 0:
            raise NothingMore
        elif response.share < 0:
            self._loop.pause()
        if response.share < 0:
            response.share = SHARE

    def end(self, response: Response, now: bool) -> None:
        """Ends a response whose head has gone; now as for answer()."""
        response.stage = ALL
        code = lib.mhpy_end(self.hub, response.name, now)
        if code == lib.MH_ERANGE:
            self.report_length(response)

    def skip(self, response: Response) -> None:
        """The application has nothing yet (an empty piece, PEP 3333): every so often the others
        have their turn. Raises NothingMore if the client has left, or hung up."""
        response.share -= _PIECE
        if response.share < 0:
            response.share = SHARE
            self._loop.pause()
        if lib.mhpy_wait(self.hub, response.name) < 0:
            if not response.ended:
                self.abort(response.name)
            raise NothingMore
