"""Signals while a loop runs in the main thread.

An interrupted wait alone loses a signal that comes just before it, or in another thread. So the
interpreter's C handler writes a byte into a socketpair (signal.set_wakeup_fd), which the loop
watches: the wait ends, and the interpreter calls the Python handlers. What was there before is
restored afterwards; until then its wakeup fd gets the bytes too, and its handlers are called first.
Signals that were ignored stay ignored.

A handler here raises only where an application is running: at any other moment it would leave half
done what a run does when it begins and ends, this restoring among it."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, Optional

from greenlet import getcurrent, greenlet

from meinheld._loop import Loop
from meinheld._native import lib
from meinheld._wsgi import Gateway

Handler = Callable[[int, Optional[FrameType]], Any]

_active: list[Signals] = []

# What calls applications, and what a loop greenlet runs at its bottom.
_SERVE = Gateway._serve.__code__
_TURN = Loop._turn.__code__


def is_served(frame: FrameType | None, main: greenlet) -> bool:
    """Whether an application is what frame, which a signal has interrupted, runs: it was called to
    serve, or it is in a greenlet that it has made itself. main: that of the run (those of its loop
    are its children)."""
    while frame is not None:
        if frame.f_code in (_SERVE, _TURN):
            return frame.f_code is _SERVE
        frame = frame.f_back
    current = getcurrent()
    return main not in (current, current.parent)


class Signals:
    """A context in which SIGINT ends loop's run with KeyboardInterrupt, and SIGTERM drains it (a
    second one stops it). In another thread than the main one nothing is changed."""

    def __init__(self, loop: Loop, graceful_timeout: float) -> None:
        """graceful_timeout: seconds that the drain may take, 0 for any time."""
        self.interrupted = False  # SIGINT has come
        self._loop = loop
        self._graceful_timeout = graceful_timeout
        self._main = getcurrent()
        self._pair: tuple[socket.socket, socket.socket] | None = None
        self._previous_fd = -1
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> Signals:
        if threading.current_thread() is not threading.main_thread():
            return self
        ours, theirs = self._pair = socket.socketpair()
        ours.setblocking(False)
        theirs.setblocking(False)
        self._loop.watches.add(ours.fileno(), self._received, lib.MH_READ)
        self._previous_fd = signal.set_wakeup_fd(theirs.fileno(), warn_on_full_buffer=False)
        self._install(signal.SIGINT, self._on_interrupt)
        self._install(signal.SIGTERM, self._on_terminate)
        _active.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._pair is None:
            return
        ours, theirs = self._pair
        if self in _active:  # else forked: restored already
            _active.remove(self)
            self._restore()
            self._loop.watches.remove(ours.fileno())
        ours.close()
        theirs.close()
        if self.interrupted and kind is None:  # it came while the run was ending
            raise KeyboardInterrupt

    def _install(self, number: int, handler: Handler) -> None:
        previous = signal.getsignal(number)
        # None: a handler that Python knows nothing of, and could not put back.
        if previous is not signal.SIG_IGN and previous is not None:
            self._previous[number] = previous
            signal.signal(number, handler)

    def _restore(self) -> None:
        """Puts back what has not been changed meanwhile by others."""
        assert self._pair is not None
        for number, previous in self._previous.items():
            if signal.getsignal(number) in (self._on_interrupt, self._on_terminate):
                signal.signal(number, previous)
        try:
            current = signal.set_wakeup_fd(self._previous_fd)
        except (OSError, ValueError):  # its owner has closed it meanwhile; PyPy's is a ValueError
            current = signal.set_wakeup_fd(-1)
        if current != self._pair[1].fileno():
            signal.set_wakeup_fd(current)

    def _received(self, fd: int, events: int) -> None:
        """Empties the pair; the handlers have been, or are about to be, called by the
        interpreter."""
        assert self._pair is not None
        with suppress(BlockingIOError):
            numbers = self._pair[0].recv(4096)
            if self._previous_fd >= 0:
                with suppress(OSError):
                    os.write(self._previous_fd, numbers)

    def _chain(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(number)
        if callable(previous) and previous is not signal.default_int_handler:
            previous(number, frame)

    def _on_interrupt(self, number: int, frame: FrameType | None) -> None:
        self._chain(number, frame)
        if not self.interrupted:
            self.interrupted = True
            self._loop.post(_interrupt)
            self._loop.hurry()
        elif is_served(frame, self._main):  # it holds the loop, and somebody is pressing Ctrl-C
            raise KeyboardInterrupt
        else:
            self._loop.give_up()

    def _on_terminate(self, number: int, frame: FrameType | None) -> None:
        self._chain(number, frame)
        self._loop.post(self._drain)
        self._loop.hurry()

    def _drain(self) -> None:
        self._loop.drain(self._graceful_timeout)

    def forked(self) -> None:
        """In a child that was forked while the loop ran: signals are the child's own, and mean what
        they did before."""
        with suppress(ValueError):  # not in the main thread
            self._restore()


def _interrupt() -> None:
    raise KeyboardInterrupt


def _in_child() -> None:
    while _active:
        _active.pop().forked()


os.register_at_fork(after_in_child=_in_child)
