"""Sends responses from other threads than the loop's, by the C half's mail: what the Sender is to
the loop's own thread.

Most of it is sent and forgotten: the loop's thread carries it out in C, and a thread goes on to its
next request meanwhile. It waits only for what it has to know: what became of a response that is not
as its head announces, and while it is too far ahead of a client that reads slowly.

What is kept for a request is given back by the loop's thread."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from greenlet import GreenletExit

from meinheld._files import FileWrapper
from meinheld._kept import Keeper, Sent
from meinheld._native import ffi, lib
from meinheld._response import (
    ALL,
    BODYLESS,
    HEAD,
    ErrorLog,
    Head,
    NothingMore,
    Response,
    TooLong,
)
from meinheld._sender import BORROW, LEND

if TYPE_CHECKING:
    from meinheld._loop import Loop
    from meinheld._native import Made, Mail, Stream

# How many empty pieces go by between two turns of the others.
_TURN: Final = 64


# Seconds until what found no memory is tried again.
_RETRY: Final = 0.01


class MailSender(Keeper):
    """Sends the responses of one loop from any thread."""

    def __init__(self, log: ErrorLog) -> None:
        super().__init__(log)
        self._mail: Mail = ffi.NULL

    def attach(self, loop: Loop) -> None:
        """The loop that carries out what is sent; before that runs. Raises MemoryError."""
        mail = lib.mhpy_mail_open(loop.hub)
        if not mail:
            raise MemoryError("no memory for the threads' answers")
        self._loop = loop
        self._mail = ffi.gc(mail, lib.mhpy_mail_drop)

    @property
    def over(self) -> bool:
        """The run has ended, or is about to."""
        return self._loop.over

    def close(self) -> None:
        """In a forked child: sends nothing any more, for there is no loop that takes it."""
        self._mail = ffi.NULL

    def abandon(self) -> list[tuple[int, Sent]]:
        """The run is over: the files of the requests that were open, which are to be closed."""
        files = list(self._files.items())
        self._files.clear()
        return files

    def check_thread(self) -> None:
        """No effect: any thread may send."""

    # ---- whole responses

    def refuse(self, name: int, answer: tuple[bytes, bytes]) -> None:
        """Answers for the application. Nothing comes of it if the client has gone; without memory
        for it, the connection ends."""
        text, body = answer
        made = lib.mhpy_make(text, len(text), text.count(b"\n") + 1)
        if not made:
            self.abort(name)
            return
        code = lib.mhpy_mail_answer(
            self._mail, name & 0xFFFFFFFF, name >> 32, made, body, len(body), 0
        )
        lib.mhpy_unmake(made)
        if code == lib.MH_ENOMEM:
            self.abort(name)

    def abort(self, name: int) -> None:
        """Ends an exchange and its connection."""
        # It must not fail, and takes so little that this thread could do nothing else either.
        while lib.mhpy_mail_abort(self._mail, name) == lib.MH_ENOMEM:
            time.sleep(_RETRY)

    def answer(self, response: Response, body: bytes, now: bool) -> None:
        """Sends head, body and end in one; all by mail leaves at once. Raises NothingMore."""
        head = response.head
        if not head:
            raise AssertionError("the application returned without having called start_response")
        made = head.made or _make(head)
        size = len(body)
        if size < BORROW:
            code = lib.mhpy_mail_answer(
                self._mail, response.slot, response.gen, made, body, size, 0
            )
        else:
            data = self._lent[response.name] = ffi.from_buffer("char[]", body)
            code = lib.mhpy_mail_answer(
                self._mail, response.slot, response.gen, made, data, size, 1
            )
            if code:
                self._lent.pop(response.name, None)  # the client may have left, and it with it
        if code:
            self._look_into(response, code, made, body)
        response.stage = ALL

    def _look_into(self, response: Response, code: int, made: Made, body: bytes) -> None:
        """A whole response was not taken: it is of another length than its head says, which is
        right to HEAD."""
        if code == lib.MH_ERANGE:
            stream = self._stream(response)
            data = ffi.from_buffer("char[]", body)
            code = lib.mhpy_stream_answer(stream, made, data, len(body))
            if code == lib.MH_FULL:
                code = _result(lib.mhpy_stream_wait(stream))
        if code == lib.MH_ERANGE:
            self.report_length(response)
        elif code and code != lib.MH_ECLOSED:
            raise response.refusal(code)

    def file(self, response: Response, file: FileWrapper) -> bool:
        """Sends head, file and end in one, if this is a file that can be sent without reading it
        here; it is closed once the response has ended. Returns False if it can't, and nothing has
        been sent. Raises NothingMore."""
        head = response.head
        if response.stage or not head:
            return False
        place = file.descriptor()
        if place is None:
            return False
        made = head.made or _make(head)
        self._files[response.name] = Sent(response, file)
        code = lib.mhpy_mail_file(self._mail, response.slot, response.gen, made, *place)
        # If it is not there any more its request has ended meanwhile, and it is closed for that.
        if code and self._files.pop(response.name, None) is not None:
            if code == lib.MHPY_NO_FILE:
                return False
            raise response.refusal(code)
        response.stage = ALL
        return True

    # ---- responses in pieces

    def _stream(self, response: Response) -> Stream:
        """The response's stream, which is made when it is first needed."""
        if not self._mail:  # after a fork, when its lock may be held by a thread that is not there
            raise NothingMore
        stream = response.stream
        if stream is None:
            made = lib.mhpy_stream_new(self._mail, response.name)
            if not made:
                raise MemoryError("no memory for the response")
            stream = response.stream = ffi.gc(made, lib.mhpy_stream_drop)
        return stream

    def head(self, response: Response) -> None:
        """Sends the head, if it has not gone. Raises NothingMore."""
        if response.stage:
            return
        head = response.head
        if not head:
            raise AssertionError("the application sent a body before it called start_response")
        made = head.made or _make(head)
        code = lib.mhpy_stream_head(self._stream(response), made)
        if code < 0:
            raise response.refusal(code)
        # 204 and 304: RFC 9110 15.3.5, 15.4.5.
        bodyless = response.of_head or head.text.startswith((b"204", b"304"))
        response.stage = BODYLESS if bodyless else HEAD

    def send(self, response: Response, data: bytes, now: bool) -> None:
        """Sends a piece of a body whose head has gone, and waits while the client has too much
        unread. Raises NothingMore, and MemoryError after which nothing more can be sent."""
        stream = self._stream(response)
        size = len(data)
        if size < LEND:
            code = lib.mhpy_stream_write(stream, data, size, 0)
        else:
            kept = ffi.from_buffer("char[]", data)
            code = lib.mhpy_stream_write(stream, kept, size, 1)
        if code == lib.MH_FULL:
            code = lib.mhpy_stream_wait(stream)
        if code == lib.MH_OK:
            return
        if code == lib.MH_ERANGE:
            response.stage = ALL
            raise TooLong
        if code == lib.MH_ENOMEM:
            self.abort(response.name)
            raise response.refusal(code)
        _result(code)
        raise NothingMore

    def end(self, response: Response, now: bool) -> None:
        """Ends a response whose head has gone."""
        response.stage = ALL
        stream = self._stream(response)
        code = lib.mhpy_stream_end(stream)
        if code == lib.MH_FULL:
            code = lib.mhpy_stream_wait(stream)
        if code == lib.MH_ERANGE:
            self.report_length(response)
        elif code == lib.MH_ENOMEM:
            self.abort(response.name)

    def skip(self, response: Response) -> None:
        """The application has nothing yet (an empty piece, PEP 3333). Raises NothingMore if the
        client has left, or hung up."""
        response.share -= 1
        if response.share < 0:
            response.share = _TURN
            time.sleep(0)  # the others have theirs
        if lib.mhpy_stream_idle(self._stream(response)) < 0:
            if not response.ended:
                self.abort(response.name)
            raise NothingMore


def _make(head: Head) -> Made:
    """Makes a head ready. Raises MemoryError."""
    head.make()
    if head.made is None:  # all else has been checked
        raise MemoryError("no memory for the response")
    return head.made


def _result(code: int) -> int:
    """A code that was waited for. Raises GreenletExit if the run has ended meanwhile."""
    if code == lib.MH_ESTATE:
        raise GreenletExit
    return code
