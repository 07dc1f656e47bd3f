"""Who watches a loop: a thread that tells of what holds it up; and what it calls once a second, by
which others see that it goes on.

Whatever begins, waits or goes on in a loop says so to its seat. So a watched seat knows since when
the same has held its loop, and one that is not watched costs nothing."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread, get_ident
from time import monotonic
from typing import Any, Final

from meinheld._loop import Loop
from meinheld._seat import Seat
from meinheld._tasks import Task

# Seconds between two calls of a watchdog.
_EVERY: Final = 1.0


class WatchedSeat(Seat):
    """The seat of a loop that is watched."""

    __slots__ = ("_told", "hold", "seconds")

    def __init__(self, loop: Loop, seconds: float) -> None:
        """seconds: what is longer is told."""
        self.seconds = seconds
        self._told: list[tuple[str, float]] = []
        super().__init__(loop)

    @property
    def serving(self) -> Any:
        """What holds the loop."""
        return self.hold[0]

    @serving.setter
    def serving(self, value: object) -> None:
        self.hold = (value, monotonic())  # and since when
        if self._told:
            self._let_go()

    def _let_go(self) -> None:
        """Tells the end of what was told of, from whichever thread finds it first."""
        try:
            what, since = self._told.pop()
        except IndexError:
            return
        self.loop.log(f"{what} has let go of the loop after {monotonic() - since:.3g} s", None)

    def look(self, ident: int, told: object) -> object:
        """Tells of what has held the loop, whose thread that is, for too long, but not of what was
        told already; returns what was told last."""
        hold: tuple[Any, float] = self.hold
        served, since = hold
        if served is None or hold is told or monotonic() - since < self.seconds:
            return told
        ended = getattr(served, "ended", False)  # and environ has gone, which has its title
        what = "what follows a request" if ended else served.title()
        stack = "".join(traceback.format_stack(sys._current_frames().get(ident)))
        if self.hold is not hold:  # the stack may be another's
            return told
        self.loop.log(f"{what} holds the loop for over {self.seconds:g} s\n{stack.rstrip()}", None)
        self._told.append((what, since))
        if self.hold is not hold:
            self._let_go()
        return hold


@contextmanager
def watched(loop: Loop) -> Iterator[None]:
    """Has a thread look at a loop that is to run here, if its seat is watched."""
    seat = loop.seat
    if not isinstance(seat, WatchedSeat):
        yield
        return
    over = Event()
    thread = Thread(target=_watch, args=(seat, get_ident(), over), name="meinheld-watch")
    thread.daemon = True
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _watch(seat: WatchedSeat, ident: int, over: Event) -> None:
    told: object = None
    while not over.wait(seat.seconds / 4):
        told = seat.look(ident, told)


# ---- once a second


class Heartbeat:
    """What gunicorn knows its workers to be alive by, up to version 19.x: the mode of a file."""

    def __init__(self, loop: Loop, fd: int, ppid: int, timeout: float) -> None:
        """fd: of the file; ppid: without that parent the loop ends, in timeout seconds."""
        self._loop = loop
        self._fd = fd
        self._ppid = ppid
        self._timeout = timeout
        self._mode = 0
        self._left = False

    def beat(self) -> None:
        """Changes the mode. Raises OSError."""
        if os.getppid() != self._ppid and not self._left:
            self._left = True
            self._loop.log("the parent process has gone: the server stops", None)
            self._loop.drain(self._timeout)
        self._mode ^= 1
        os.fchmod(self._fd, self._mode)


def call_each(loop: Loop, function: Callable[[], object], seconds: float = _EVERY) -> None:
    """Has function called when loop begins to run, or soon, and then so many seconds after it has
    returned, also while it drains. What it raises is logged."""

    def call() -> None:
        Task(function).begin(loop)
        loop.calls.add(monotonic() + seconds, call, False)

    loop.post(call)
