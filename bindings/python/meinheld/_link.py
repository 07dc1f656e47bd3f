"""The socket of a WebSocket, from the handshake to its end.

What comes is read by the loop, so that pings are answered and closes seen whatever the application
does; it waits in the inbox, and while that is full nothing is read. What goes is written at once
by whoever sends it, as far as the socket takes it; the loop does the rest.

    OPEN --> CLOSING --> CLOSED
      |                    ^
      +--------------------+

OPEN: messages go both ways.
CLOSING: our Close is on its way, be it the first of the two or the answer. No message goes any
    more. It ends when ours has left and the peer's has come. If the peer is not understood any
    more, our half of the connection is shut then, and what comes is dropped until the peer ends its
    own: a socket that is closed with input unread may take back what was sent last (RST).
CLOSED: it is over. From CLOSING in order, or when that takes too long; from OPEN when the peer
    vanishes, or takes nothing.

A lock guards it all. What the C half is to know of it, which is watches and timers, is brought up
to date in the loop's thread (_apply), which also closes the socket."""

from __future__ import annotations

import os
import sys
from _socket import socket as Socket  # socket's own may have been replaced by another
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from socket import SHUT_WR
from threading import RLock, get_ident
from time import monotonic
from typing import Final, NamedTuple, cast

from meinheld._calls import Call
from meinheld._exceptions import WebSocketClosed
from meinheld._loop import Loop
from meinheld._messages import Broken, Bytes, Close, Message, Messages, Ping, Pong
from meinheld._native import lib
from meinheld._response import ExcInfo, Response
from meinheld._seat import seats
from meinheld._waiter import Waiter

# Bytes of output at which a sender has to wait, and at which it goes on.
HIGH: Final = 65536
LOW: Final = 16384

# Bytes of the inbox at which nothing more is read; each message counts for some more.
FULL: Final = 65536
_EACH: Final = 64

# Bytes that are read in a turn: 2730 messages at the most.
_READ: Final = 16384

# Of send(2), on every Linux; PyPy's socket module does not name it.
_NO_SIGNAL: Final = 0x4000

# Close codes (RFC 6455 7.4.1).
NORMAL: Final = 1000
GOING_AWAY: Final = 1001
NO_CODE: Final = 1005
ABNORMAL: Final = 1006
POLICY: Final = 1008
FAILED: Final = 1011


class State(Enum):
    """See above."""

    OPEN = 0
    CLOSING = 1
    CLOSED = 2


class Times(NamedTuple):
    """Limits, in seconds."""

    write: float  # without the peer's taking a byte of what is sent
    close: float  # from our Close to the peer's end
    ping: float  # between two pings, and for their answers; 0: there are none


class _Timer:
    """A call by the loop, in whose thread it belongs."""

    __slots__ = ("_call", "_function", "_loop")

    def __init__(self, loop: Loop, function: Callable[[], None]) -> None:
        self._loop = loop
        self._function = function
        self._call: Call | None = None

    def set(self, seconds: float | None) -> None:
        """Makes it in so many seconds, if it is not to be made already; None: not at all."""
        if seconds is None:
            call, self._call = self._call, None
            if call is not None:
                self._loop.calls.cancel(call)
        elif self._call is None:
            self._call = self._loop.calls.add(monotonic() + seconds, self._make, False)

    def end(self) -> None:
        """Makes none any more, and lets go of whom it would call."""
        self.set(None)
        self._function = _nothing

    def _make(self) -> None:
        self._call = None
        self._function()


class Link:
    """One of a loop."""

    def __init__(self, loop: Loop, name: int, fd: int, messages: Messages, times: Times) -> None:
        """name: of the request that it was; fd: closed in the end, or now if this raises
        OSError."""
        self._loop = loop
        self._name = name
        self._fd = fd
        try:
            self._socket = Socket(fileno=fd)
        except OSError:
            os.close(fd)
            raise
        self._socket.setblocking(False)
        self._messages = messages
        self._times = times
        self._lock = RLock()
        self.state = State.OPEN
        self.close_code: int | None = None
        self.close_reason = ""
        self._inbox: deque[Message] = deque()
        self._inbox_size = 0
        self._readers: deque[Waiter] = deque()
        self._out = bytearray()
        self._writers: deque[Waiter] = deque()
        self._moved = 0.0  # when the socket last took some of it, or when it began
        self._late_pong: bytes | None = None  # to be sent when there is room
        self._pinged: bytes | None = None  # payload of a ping without an answer
        self._pings = 0
        self._broken = False  # nothing of the peer is understood any more
        self._heard_all = False  # nothing comes: after its Close, or the end of its half
        self._shut = False  # our half has ended
        self._served = False  # the application is done with it
        self._gone = False  # the socket is closed
        self._watched = 0
        self._posted = False
        self._write_timer = _Timer(loop, lambda: self._turn(self._look_at_output))
        self._close_timer = _Timer(loop, lambda: self._turn(self._drop))
        self._ping_timer = _Timer(loop, lambda: self._turn(self._ping))

    # ---- in the loop's thread

    def begin(self, head: bytes, early: bytes) -> None:
        """Sends the answer to the handshake, and takes what came right behind that."""

        def begin() -> None:
            self._put(head)
            if early:
                self._receive(early)

        self._turn(begin)

    def is_open(self) -> bool:
        """Whether messages go. From any thread."""
        return self.state is State.OPEN

    def drain(self) -> None:
        """The server drains."""
        self.close(GOING_AWAY, "the server is stopping")

    def end(self, in_child: bool) -> None:
        """The run is over; in_child: that of the process from which this one was forked."""
        if in_child:  # where others may have held the lock
            self._socket.close()
            return
        with self._lock:
            if self.state is State.OPEN:
                self._leave_open(GOING_AWAY, "", GOING_AWAY)
            self._drop()
            self._close_socket()

    def _turn(self, work: Callable[[], None]) -> None:
        """Does some work, and brings the C half up to date. A failure ends this connection alone,
        and not the run."""
        try:
            with self._lock:
                if not self._gone:
                    work()
                self._apply()
        except Exception:
            self._loop.log("a WebSocket failed", cast(ExcInfo, sys.exc_info()))
            with self._lock:
                self._drop()
                self._close_socket()

    def _apply(self) -> None:
        """Has the C half watch and time what is to be. Raises OSError and MemoryError."""
        self._posted = False
        state = self.state
        if state is State.CLOSED:
            self._close_socket()
        if self._gone:
            if self._served:
                self._loop.upgrades.leave(self._name)
            return
        wanted = self._wanted()
        if wanted != self._watched:
            self._watched = wanted
            if wanted:
                self._loop.watches.add(self._fd, self._ready, wanted)
            else:
                self._loop.watches.remove(self._fd)
        times = self._times
        self._write_timer.set(times.write if self._out else None)
        self._close_timer.set(times.close if state is State.CLOSING else None)
        self._ping_timer.set(times.ping if times.ping and state is State.OPEN else None)

    def _wanted(self) -> int:
        reads = not self._heard_all and (self.state is State.CLOSING or self._inbox_size < FULL)
        return (lib.MH_READ if reads else 0) | (lib.MH_WRITE if self._out else 0)

    def _close_socket(self) -> None:
        if self._gone:
            return
        self._gone = True
        for timer in (self._write_timer, self._close_timer, self._ping_timer):
            timer.end()
        self._loop.watches.remove(self._fd)
        self._socket.close()

    def _ready(self, fd: int, events: int) -> None:
        def exchange() -> None:
            if events & (lib.MH_WRITE | lib.MH_ERROR):
                self._flush()
            if events & (lib.MH_READ | lib.MH_ERROR) and self.state is not State.CLOSED:
                self._read()

        self._turn(exchange)

    def _look_at_output(self) -> None:
        """The peer has had all the time that it may take for a byte, unless it took one."""
        left = self._moved + self._times.write - monotonic()
        if left > 0:
            self._write_timer.set(left)
        else:
            self._drop()

    def _ping(self) -> None:
        """The time of a ping, by which the last must have been answered; an answer that nobody
        reads, since the application does not, can't be asked for."""
        if self._pinged is None:
            self._pings += 1
            self._pinged = self._pings.to_bytes(8, "big")
            self._put(self._messages.ping(self._pinged))
        elif self._inbox_size < FULL:
            self._drop()

    # ---- what comes

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._drop()
            return
        if data:
            if not self._broken:
                self._receive(data)
        elif self.state is State.OPEN:
            self._drop()  # half a close looks like a whole one
        else:
            self._heard_all = True
            self._go_on_closing()

    def _receive(self, data: bytes) -> None:
        try:
            for item in self._messages.receive(data):
                self._take(item)
        except Broken as exc:
            self._broken = True
            if self.state is State.OPEN:
                self._leave_open(exc.code, exc.reason, exc.code)
            else:
                self._go_on_closing()

    def _take(self, item: Message | Ping | Pong | Close) -> None:
        if isinstance(item, Close):
            self._heard_all = True
            if self.state is State.OPEN:
                answer = None if item.code == NO_CODE else item.code
                self._leave_open(item.code, item.reason, answer)
            else:
                self._go_on_closing()
        elif self.state is not State.OPEN:
            pass
        elif isinstance(item, Ping):
            if len(self._out) <= HIGH:
                self._put(self._messages.pong(item.payload))
            else:  # the last of several is enough (RFC 6455 5.5.3)
                self._late_pong = item.payload
        elif isinstance(item, Pong):
            if item.payload == self._pinged:
                self._pinged = None
        else:
            self._deliver(item)

    def _deliver(self, message: Message) -> None:
        while self._readers:
            if self._readers.popleft().wake(message):
                return
        self._inbox.append(message)
        self._inbox_size += len(message) + _EACH

    # ---- what goes

    def _put(self, data: Bytes) -> None:
        if not self._out:
            self._moved = monotonic()
        self._out += data
        self._flush()

    def _flush(self) -> None:
        """Sends what the socket takes."""
        out = self._out
        while out:
            try:
                sent = self._socket.send(out, _NO_SIGNAL)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                self._drop()
                return
            del out[:sent]
            self._moved = monotonic()
            if len(out) <= HIGH and self._late_pong is not None:
                payload, self._late_pong = self._late_pong, None
                if self.state is State.OPEN:
                    out += self._messages.pong(payload)
        if len(out) <= LOW:
            _wake_all(self._writers)
        self._go_on_closing()

    # ---- the end

    def _leave_open(self, code: int, reason: str, said: int | None) -> None:
        """Closes it; said: the code that the peer is told. OPEN -> CLOSING."""
        self.state = State.CLOSING
        self.close_code, self.close_reason = code, reason
        self._put(self._messages.close(said, reason))
        self._tell()

    def _go_on_closing(self) -> None:
        if self.state is not State.CLOSING or self._out:
            return
        if self._heard_all:
            self._drop()
        elif self._broken and not self._shut:
            self._shut = True
            try:
                self._socket.shutdown(SHUT_WR)
            except OSError:
                self._drop()

    def _drop(self) -> None:
        """Nothing more is read or written. -> CLOSED."""
        if self.state is State.OPEN:
            self.close_code = ABNORMAL
        self.state = State.CLOSED
        self._out.clear()
        self._tell()

    def _tell(self) -> None:
        """It is open no more: tells those who wait."""
        _wake_all(self._readers)
        _wake_all(self._writers)
        self._loop.holder.client_left(self._name)

    def _soon(self) -> None:
        """Has the C half brought up to date. From any thread."""
        if self._loop.is_own_thread():
            self._turn(_nothing)
        elif not self._posted:
            self._posted = True
            self._loop.post(lambda: self._turn(_nothing))

    # ---- from any thread

    def receive(self, timeout: float | None) -> object:
        """The next message; None once there will be no more; EXPIRED after timeout seconds."""
        with self._lock:
            if self._inbox:
                return self._take_out()
            if self.state is not State.OPEN:
                return None
            waiter = Waiter()
            self._readers.append(waiter)
        return self._wait(waiter, self._readers, timeout)

    def _take_out(self) -> Message:
        message = self._inbox.popleft()
        was_full = self._inbox_size >= FULL
        self._inbox_size -= len(message) + _EACH
        if was_full and self._inbox_size < FULL:
            self._soon()
        return message

    def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Sends a message, and waits while there is too much that the peer has not taken. Raises
        WebSocketClosed; TypeError and ValueError for what is no message."""
        sent = False
        while True:
            with self._lock:
                if self.state is State.CLOSED or (self.state is State.CLOSING and not sent):
                    raise WebSocketClosed(f"the WebSocket is closed ({self.close_code})")
                if not sent and len(self._out) <= HIGH:
                    self._put(self._messages.message(message))
                    sent = True
                    if self._out or self.state is not State.OPEN:
                        self._soon()
                if sent and (len(self._out) <= HIGH or self.state is State.CLOSING):
                    return
                waiter = Waiter()
                self._writers.append(waiter)
            self._wait(waiter, self._writers, None)

    def _wait(self, waiter: Waiter, waiters: deque[Waiter], timeout: float | None) -> object:
        seat = seats.get(get_ident())
        serving = seat.serving if seat is not None else None
        own = isinstance(serving, Response) and serving.name == self._name
        try:
            if own or waiters is self._writers:  # they hear of the end in any case
                return waiter.wait(timeout)
            return waiter.wait_for_event(timeout)
        finally:
            with self._lock, suppress(ValueError):
                waiters.remove(waiter)

    def close(self, code: int, reason: str) -> None:
        """Closes it, if it is open; what has come before can still be received."""
        with self._lock:
            if self.state is State.OPEN:
                self._leave_open(code, reason, code)
                self._soon()

    def discard(self) -> None:
        """Forgets what has come and was not received."""
        with self._lock:
            self._inbox.clear()
            self._inbox_size = 0
            self._soon()

    def leave(self, code: int, reason: str) -> None:
        """The application is done with it."""
        self.close(code, reason)
        with self._lock:
            self._served = True
        self.discard()


def _wake_all(waiters: deque[Waiter]) -> None:
    while waiters:
        waiters.popleft().wake(None)


def _nothing() -> None:
    """Only what _turn() does anyway."""
