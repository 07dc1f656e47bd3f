"""Request bodies on their way in: collected by events, each handed on when it is complete; or read
by the application while they come."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from tempfile import TemporaryFile
from threading import Lock
from typing import BinaryIO, Final, cast

from meinheld._environ import Environ
from meinheld._input import AHEAD, coming_input
from meinheld._loop import Loop
from meinheld._native import lib
from meinheld._parking import Parking
from meinheld._response import ErrorLog, ExcInfo, Responses
from meinheld._sender import BAD_REQUEST, FAILED, TOO_LARGE

# Bodies of one loop in memory, all together; above it any more goes to a file.
MAX_IN_MEMORY: Final = 64 * 1024 * 1024

# Bodies in memory of up to so many bytes are common enough to be made quick, and some at a time.
_LARGE: Final = 1024 * 1024
_SEVERAL: Final = 8

# Why the rest of a body will not come, as the arguments of OSError, which makes of them what it has
# a class for.
_LEFT: Final = (errno.ECONNRESET, "the connection ended before the request body was complete")
_LATE: Final = (errno.ETIMEDOUT, "the client was too slow to send its request body")
_REASONS: Final = {
    lib.MH_EBODY: (errno.EBADMSG, "the request body is malformed"),
    lib.MH_ETOOBIG: (errno.EFBIG, "the request body is larger than max_body"),
    lib.MH_ENOMEM: (errno.ENOMEM, "no memory to read the request body"),
}


def _keep_large_blocks(size: int) -> None:
    """Makes glibc keep freed blocks of up to so many bytes for the next bodies, and of double that
    in all. It hands what is larger than any block freed before to the kernel, and what is free at
    the heap's end beyond double of that, and gets it back as pages that each cost a fault when they
    are first written (mallopt(3), M_MMAP_THRESHOLD, M_TRIM_THRESHOLD): so it is shown a larger
    block, of pages that nobody writes."""
    bytes(size)


class Memory:
    """How many bytes of bodies a loop holds in memory. Any thread gives them back."""

    __slots__ = ("_lock", "used")

    def __init__(self) -> None:
        self._lock = Lock()
        self.used = 0

    def count(self, n: int) -> None:
        """Counts n bytes more, or less."""
        with self._lock:
            self.used += n


class Upload:
    """A body on its way in. Memory grows with what arrives, never with what was announced. What
    follows the first bytes is read straight to where it stays, but in chunks, of which one never
    knows how much follows."""

    __slots__ = ("_limit", "_memory", "_room", "chunked", "environ", "file", "name", "size")

    def __init__(
        self, name: int, environ: Environ, chunked: bool, limit: int, memory: Memory
    ) -> None:
        """limit: bytes above which it goes to a file; memory: what it counts against."""
        self.name = name
        self.environ = environ
        self.chunked = chunked
        self.size = 0
        self.file: BinaryIO = BytesIO()
        self._limit = limit
        self._memory = memory
        self._room = 0  # bytes that the file has in memory, as counted there; -1: it is on disk

    def receive(self, loop: Loop) -> int:
        """Takes some of what there is. Returns an MHPY_READ_* or MH_E* that says what follows.
        Raises OSError when the disk is full, and MemoryError."""
        if 0 < self._room == self.size and not self.chunked:
            self._make_room()
        if self._room > self.size and isinstance(self.file, BytesIO):
            with self.file.getbuffer() as whole, whole[self.size :] as room:
                n, state = loop.reader.read_into(self.name, room, True)
            self.size += n
            return state
        data, state = loop.reader.read(self.name, AHEAD, True)
        if data:
            self.write(data)
        return state

    def write(self, data: memoryview) -> None:
        """Appends. Raises as receive() does."""
        end = self.size + len(data)
        if self._room >= 0:
            if end > self._limit or self._memory.used + end - self._room > MAX_IN_MEMORY:
                self._spool()
            else:
                self._count(end)
                self.file.seek(self.size)
        self.file.write(data)
        self.size = end

    def _make_room(self) -> None:
        """Lets the file in memory grow to double of what has come, but not beyond what may."""
        most = min(int(self.environ["CONTENT_LENGTH"]), self._limit)
        room = min(2 * self.size, most, self._room + MAX_IN_MEMORY - self._memory.used)
        if room > self._room:
            self.file.seek(room - 1)
            self.file.write(b"\0")
            self._count(room)

    def _count(self, room: int) -> None:
        self._memory.count(room - self._room)
        self._room = room

    def _spool(self) -> None:
        file = TemporaryFile()  # noqa: SIM115 - closed with the request, or by its end
        try:
            file.write(self.file.getvalue())  # type: ignore[attr-defined]
        except BaseException:
            with suppress(OSError):
                file.close()
            raise
        self.file = file
        self._release()

    def _release(self) -> None:
        self._count(0)
        self._room = -1

    def complete(self) -> None:
        """The body has ended: makes it environ's wsgi.input, to be read from its start. A chunked
        body's CONTENT_LENGTH is what was counted."""
        if isinstance(self.file, BytesIO) and self.size > AHEAD:
            # One that is made of bytes gives them all out by read() without a copy.
            self.file = BytesIO(self.file.getvalue())
        self.file.seek(0)
        self.environ["wsgi.input"] = self.file
        if self.chunked:
            self.environ["CONTENT_LENGTH"] = str(self.size)

    def close(self) -> None:
        """The request is over, or will never be: gives memory and file back."""
        if self._room > 0:
            self._release()
        # It writes what it still holds, and the disk may be full; or the application holds its
        # buffer (BytesIO.getbuffer), or has detached it.
        with suppress(OSError, BufferError, ValueError):
            self.file.close()


class Stream:
    """A body that the application reads while it comes. What it has not asked for stays where it
    is, and so holds up the client."""

    __slots__ = (
        "_ahead",
        "_complete",
        "_ended",
        "_loop",
        "_name",
        "_parking",
        "_why",
        "error",
        "reason",
    )

    def __init__(self, loop: Loop, name: int, ahead: bytes) -> None:
        """ahead: its beginning, as far as that was read already."""
        self._loop = loop
        self._name = name
        self._ahead = ahead
        self._complete = False
        self._ended = False
        self._parking: Parking | None = None  # of who waits for more
        self._why = -1  # MH_FINISH_*, once the request has ended
        self.error = 0  # the MH_E* for which the rest will not come, and
        self.reason: tuple[int, str] | None = None  # what the application is told of it

    def fill(self, view: memoryview) -> int:
        """Puts the next bytes there, as Fill says; waits by suspending the request. Raises
        RuntimeError anywhere but in a request's own greenlet or thread, and while another waits;
        ValueError after end()."""
        self._loop.check_request()
        if self._parking is not None:
            raise RuntimeError("somebody is waiting for this request body already")
        if self._ended:
            raise ValueError("the response has ended, and the request body with it")
        if self._ahead:
            data = self._ahead[: len(view)]
            self._ahead = self._ahead[len(data) :]
            view[: len(data)] = data
            return len(data)
        while not self._complete and self.reason is None:
            n, state, parking = self._loop.call(self._read, view)
            self._complete = state == lib.MHPY_READ_END
            if n:
                return n
            if parking is not None:
                try:
                    parking.park()
                finally:
                    self._parking = None
            elif state < 0:
                self._fail(state)
        if self.reason is not None:
            raise OSError(*self.reason)
        return 0

    def _read(self, view: memoryview) -> tuple[int, int, Parking | None]:
        """Reads what there is, in the loop's thread: the bytes, what follows them, and where to
        wait for more."""
        n, state = self._loop.reader.read_into(self._name, view, False)
        if not n and state == lib.MHPY_READ_WAIT:
            self._parking = Parking(self._loop)
        return n, state, self._parking

    def _fail(self, error: int) -> None:
        if error == lib.MH_ESTATE:
            raise ValueError("the response has ended, and the request body with it")
        if error == lib.MH_ECLOSED and self._why < 0:
            self._loop.pause()  # if it ended just now, that is told in the next step
        self.error = error
        if error in _REASONS:
            self.reason = _REASONS[error]
        elif self._why == lib.MH_FINISH_TIMEOUT:
            self.reason = _LATE
        else:  # maybe by a half-close, and then the request has not ended
            self.reason = _LEFT

    def readable(self) -> None:
        """More of it has come."""
        parking = self._parking  # which a thread of the pool may take away meanwhile
        if parking is not None:
            parking.resume()

    def finish(self, why: int) -> None:
        """The request has ended."""
        self._why = why
        self.readable()

    def end(self) -> None:
        """The application is done with it."""
        self._ended = True
        self.readable()


class Uploads:
    """The bodies of one loop. A request with one is kept here, by its name, until it is complete,
    or has been answered if the application reads it while it comes. MHPY_FINISH is asked for, in
    case its client leaves before."""

    def __init__(
        self,
        sender: Responses,
        log: ErrorLog,
        buffer: int,
        stream: bool,
        ready: Callable[[int, Environ, Callable[[], None]], None],
    ) -> None:
        """buffer: bytes of a body above which it goes to a file; stream: whether no body is waited
        for; ready: called with a request's name and environ, its wsgi.input set, to serve it, and
        to call what it is given when the body is no longer needed, from any thread."""
        self._sender = sender
        self._log = log
        self._buffer = buffer
        self._stream = stream
        self._ready = ready
        self._memory = Memory()
        _keep_large_blocks(_SEVERAL * min(buffer, _LARGE))
        self._uploads: dict[int, Upload] = {}
        self._streams: dict[int, Stream] = {}

    def attach(self, loop: Loop) -> None:
        """The loop that runs it; to be called before that runs."""
        self._loop = loop

    # ---- the loop's events

    def begin(self, name: int, environ: Environ, flags: int) -> None:
        """A request has come that has a body; flags are the MHPY_* of its head.

        Its client may wait to be told whether to send the body: then the application decides. But
        of a chunked one it would not learn the length, without which some read nothing, so that is
        collected like any other unless all are to be streamed."""
        chunked = flags & lib.MHPY_CHUNKED != 0
        expects = flags & lib.MHPY_EXPECTS != 0
        upload = Upload(name, environ, chunked, self._buffer, self._memory)
        if self._stream or (expects and not chunked):
            self._begin_stream(upload, expects)
        else:
            self._uploads[name] = upload
            self._receive(upload)

    def readable(self, name: int) -> None:
        """More of a body has come."""
        upload = self._uploads.get(name)
        if upload is not None:
            self._receive(upload)
            return
        stream = self._streams.get(name)
        if stream is not None:
            stream.readable()

    def finish(self, name: int, why: int) -> None:
        """A request has ended."""
        upload = self._uploads.pop(name, None)
        if upload is not None:
            upload.close()
            return
        stream = self._streams.get(name)
        if stream is not None:
            stream.finish(why)

    # ---- bodies that are collected

    def _receive(self, upload: Upload) -> None:
        """Takes what there is of a body, and hands the request on if that was all."""
        state: int = lib.MHPY_READ_FULL
        while state == lib.MHPY_READ_FULL:
            state = self._keep(upload, None)
        if state != lib.MHPY_READ_WAIT:
            del self._uploads[upload.name]
            self._hand_on(upload, state)

    def _hand_on(self, upload: Upload, state: int) -> None:
        """Serves a request whose body is complete; state may be the error for which it is not."""
        if state == lib.MHPY_READ_END:
            self._ready(upload.name, upload.environ, upload.close)
        else:
            upload.close()
            self.refuse(upload.name, state)

    def _keep(self, upload: Upload, whole: memoryview | None) -> int:
        """Takes some of a body, or is given the whole, and makes it ready if it is complete.
        Returns what Upload.receive() does, or MH_ESYS if there is no room for it, on disk or in
        memory: that ends the request, not the server."""
        try:
            if whole is None:
                state = upload.receive(self._loop)
            else:
                upload.write(whole)
                state = lib.MHPY_READ_END
            if state == lib.MHPY_READ_END:
                upload.complete()
        except (OSError, MemoryError):
            self._log("a request body could not be kept", cast(ExcInfo, sys.exc_info()))
            return lib.MH_ESYS
        return state

    # ---- bodies that are read while they come

    def _begin_stream(self, upload: Upload, expects: bool) -> None:
        """Serves a request whose body may still be coming. One that has come with its head is given
        whole; who expects to be told to go on is told by reading, so that is left to the
        application."""
        ahead = memoryview(b"")
        if not expects:
            ahead, state = self._loop.reader.read(upload.name, AHEAD, False)
            if state == lib.MHPY_READ_END:
                state = self._keep(upload, ahead)
            if state == lib.MHPY_READ_END or state < 0:
                self._hand_on(upload, state)
                return
        self._serve_stream(upload.name, upload.environ, bytes(ahead))

    def _serve_stream(self, name: int, environ: Environ, ahead: bytes) -> None:
        if lib.mhpy_keep(self._loop.hub, name) < 0:
            return  # its client has left already
        stream = Stream(self._loop, name, ahead)
        environ["wsgi.input"] = coming_input(stream.fill)
        self._streams[name] = stream

        def done() -> None:
            del self._streams[name]
            stream.end()

        self._ready(name, environ, done)

    # ---- requests that fail by their body

    def error(self, name: int, exc: BaseException) -> int:
        """The MH_E* of which reading a request's body has told its application by exc; 0 if that
        comes from elsewhere."""
        stream = self._streams.get(name)
        if stream is None or not isinstance(exc, OSError) or exc.args != stream.reason:
            return 0
        return stream.error

    def refuse(self, name: int, error: int) -> None:
        """Answers a request whose body can't be had."""
        if error in (lib.MH_ESYS, lib.MH_ENOMEM):
            self._sender.refuse(name, FAILED)
        elif error == lib.MH_ETOOBIG:
            self._sender.refuse(name, TOO_LARGE)
        elif error == lib.MH_EBODY:
            self._sender.refuse(name, BAD_REQUEST)
        else:  # its client has left, maybe by a half-close: there is nobody to answer
            self._sender.abort(name)
