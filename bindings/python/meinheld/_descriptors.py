"""Waiting for descriptors: a request or task waits in its loop, which serves others meanwhile; any
other thread blocks in poll(2), one of the loop's pool too.

A descriptor has one place for who waits to read and one for who waits to write. It is watched only
while there is somebody: who closes it has to end the waits before (cancel)."""

from __future__ import annotations

import errno
import os
import select
import sys
from threading import get_ident
from typing import TYPE_CHECKING, Final

from meinheld._checks import number
from meinheld._exceptions import timeout as timed_out
from meinheld._native import lib
from meinheld._parking import EXPIRED
from meinheld._seat import seats
from meinheld._waiter import Waiter

if TYPE_CHECKING:
    from meinheld._loop import Loop

READ: Final = lib.MH_READ
WRITE: Final = lib.MH_WRITE

# As they are before anything is patched.
_poll: Final = select.poll

_LONGEST: Final = (2**31 - 1) / 1000  # seconds: what poll(2) takes in milliseconds


class Descriptors:
    """Those that one loop waits for. All of it is for the loop's own thread."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        # Who waits, and for what (READ, WRITE or both).
        self._waits: dict[int, list[tuple[Waiter, int]]] = {}

    def wait(self, fd: int, events: int, timeout: float | None, *, shared: bool = False) -> int:
        """Waits until fd is ready for one of events, has an error or was hung up; returns what it
        is ready for, 0 after timeout seconds. Raises OSError naming fd, if it can't be watched,
        or if the wait was cancelled, with the code that cancel() was given; RuntimeError if
        somebody else waits for the same of it, unless that is to be shared, and where no wait is
        possible."""
        waits = self._waits.setdefault(fd, [])
        if not shared and any(wanted & events for _, wanted in waits):
            raise RuntimeError(f"somebody waits for descriptor {fd} already")
        mine = (Waiter(), events)
        waits.append(mine)
        try:
            self._watch(fd)
            found = mine[0].wait(timeout)
        finally:
            if mine in waits:
                waits.remove(mine)
                self._watch(fd)
        return 0 if found is EXPIRED else int(found)  # type: ignore[call-overload]

    def cancel(self, fd: int, code: int = errno.ECANCELED, why: str = "wait cancelled") -> None:
        """Ends all waits for fd by an OSError of that code, and watches it no more; no effect if
        there are none."""
        waits = self._waits.get(fd, [])
        while waits:
            waits.pop()[0].interrupt(OSError(code, f"descriptor {fd}: {why}"))
        self._watch(fd)

    def _watch(self, fd: int) -> None:
        """Watches fd for what those who wait for it want."""
        waits = self._waits.get(fd)
        events = 0
        for _, wanted in waits or ():
            events |= wanted
        if events:
            self._loop.watches.add(fd, self._ready, events)
        else:
            self._waits.pop(fd, None)
            self._loop.watches.remove(fd)

    def _ready(self, fd: int, events: int) -> None:
        """Wakes those who wait for that; an error or a hangup is for all."""
        waits = self._waits.get(fd, [])
        for wait in list(waits):
            waiter, wanted = wait
            found = wanted if events & lib.MH_ERROR else wanted & events
            if found:
                waits.remove(wait)
                waiter.wake(found)
        self._watch(fd)


def wait_for(fd: int, events: int, timeout: float | None = None) -> int:
    """The same as Descriptors.wait(), as whoever calls; any thread."""
    seat = seats.get(get_ident())
    if seat is not None and seat.loop.is_own_thread():
        return seat.loop.descriptors.wait(fd, events, timeout)
    return _block(fd, events, timeout)


def cooperating_loop() -> Loop | None:
    """The loop in which the caller can wait as what it is, a request or a task, while others are
    served. None in all other code, which blocks its thread: threads, those of a pool too; greenlets
    that the application has made; what runs between the requests (a destructor, a signal handler)
    or after a run's end; a forked child; and what runs in a loop of asyncio's, for it is the
    thread's and not the greenlet's, and the next request would find it running."""
    seat = seats.get(get_ident())
    if seat is None or seat.serving is None:
        return None
    loop = seat.loop
    if not loop.is_own_thread() or not loop.may_wait() or loop.over or loop.forked:
        return None
    running = getattr(sys.modules.get("asyncio.events"), "_get_running_loop", None)
    return loop if running is None or running() is None else None


def wait_or_block(fd: int, events: int, timeout: float | None = None) -> int:
    """The same as wait_for(), but blocks whoever can't wait in a loop, and others may wait for the
    same."""
    loop = cooperating_loop()
    if loop is None:
        return _block(fd, events, timeout)
    return loop.descriptors.wait(fd, events, timeout, shared=True)


def _block(fd: int, events: int, timeout: float | None) -> int:
    """Waits in poll(2)."""
    poll = _poll()
    wanted = (select.POLLIN if events & READ else 0) | (select.POLLOUT if events & WRITE else 0)
    poll.register(fd, wanted)
    for _, found in poll.poll(None if timeout is None else min(timeout, _LONGEST) * 1000):
        if found & select.POLLNVAL:
            raise OSError(errno.EBADF, f"descriptor {fd}: {os.strerror(errno.EBADF)}")
        if found & (select.POLLERR | select.POLLHUP):
            return events
        return (READ if found & select.POLLIN else 0) | (WRITE if found & select.POLLOUT else 0)
    return 0


def trampoline(
    fileno: int, read: object = None, write: object = None, timeout: float | None = 0
) -> None:
    """Waits until the descriptor can be read or written (whichever is true), for at most timeout
    seconds if that is not 0, while the loop of the caller serves others; in another thread, it
    blocks that. An error or a hangup counts as ready.

    Raises server.timeout when the time is over; OSError if it can't be waited for, and after
    cancel_wait(); ValueError if neither is true; RuntimeError if somebody waits for the same of it
    already, and in a greenlet that the application has made."""
    events = (READ if read else 0) | (WRITE if write else 0)
    if not events:
        raise ValueError("trampoline() waits for read or for write")
    seconds = number("timeout", timeout or 0)
    if not wait_for(fileno, events, seconds or None):
        raise timed_out(f"descriptor {fileno} was not ready in {seconds:g} seconds")


def cancel_wait(fileno: int) -> None:
    """Ends the waits of the caller's loop for a descriptor, which raise OSError (ECANCELED). To be
    called before it is closed. No effect if there are none, and in other threads."""
    seat = seats.get(get_ident())
    if seat is not None and seat.loop.is_own_thread():
        seat.loop.descriptors.cancel(fileno)
