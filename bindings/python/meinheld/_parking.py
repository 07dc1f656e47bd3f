"""Places where a request waits to be resumed: its greenlet, or its thread of the pool."""

from __future__ import annotations

from collections import deque
from threading import TIMEOUT_MAX, Lock, get_ident
from typing import TYPE_CHECKING, Final, final

from greenlet import GreenletExit, greenlet

if TYPE_CHECKING:
    from meinheld._loop import Loop

# In place of a timer's name.
NO_TIMER: Final = -1
TIMER_RAN: Final = -2


class Expired:
    """What park() returns when its time is over."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "EXPIRED"


EXPIRED: Final = Expired()


@final
class Blocked:
    """A thread of the pool that waits where a greenlet would be parked."""

    __slots__ = ("_error", "_gate", "_value")

    def __init__(self) -> None:
        self._gate = Lock()
        self._gate.acquire()
        self._value: object = None
        self._error: BaseException | None = None

    def wait(self, timeout: float | None = None) -> object:
        """What give() is given, or raises what throw() is; EXPIRED after timeout seconds."""
        if not self._gate.acquire(timeout=-1 if timeout is None else min(timeout, TIMEOUT_MAX)):
            return EXPIRED
        if self._error is not None:
            raise self._error
        return self._value

    def give(self, value: object) -> None:
        """Lets it go on."""
        self._value = value
        self._gate.release()

    def throw(self, error: BaseException | None = None) -> None:
        """Lets it go on with an exception, GreenletExit as greenlet.throw() has it."""
        self._error = error or GreenletExit()
        self._gate.release()


@final
class Parking:
    """A place where one greenlet at a time can wait to be resumed, or one thread of the pool."""

    __slots__ = ("_greenlet", "_kept", "_loop", "_timer")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._greenlet: greenlet | Blocked | None = None  # parked here
        self._kept: deque[object] | None = None  # resumes that came before their park
        self._timer = NO_TIMER

    def park(self, timeout: float | None = None) -> object:
        """Suspends the calling greenlet, which must be the loop's, or blocks the calling thread, if
        it is one of the loop's pool, until a resume; returns the resume's value at once if one came
        before. After timeout seconds it returns EXPIRED.

        Raises RuntimeError in any other greenlet or thread, when something is parked here already,
        and when the loop has ended (which also wakes whoever is parked, by GreenletExit)."""
        if self._kept:
            return self._kept.popleft()
        if self._greenlet is not None:
            raise RuntimeError("something is parked here already")
        return self._loop._park(self, timeout)

    def resume(self, value: object = None) -> None:
        """Makes park() return value, soon: the caller goes on first. From any thread."""
        loop = self._loop
        loop._ready.append(self if value is None else (self, value))
        # In the loop's own thread this runs before the wait or, as a signal handler, with a byte in
        # the wakeup fd.
        if get_ident() != loop._thread:
            loop._wake()


class ThreadParking:
    """The same for a thread that belongs to no loop, which it blocks. To be used once."""

    __slots__ = ("_blocked",)

    def __init__(self) -> None:
        self._blocked = Blocked()

    def park(self, timeout: float | None = None) -> object:
        """Blocks until a resume, and returns its value; after timeout seconds EXPIRED."""
        return self._blocked.wait(timeout)

    def resume(self, value: object = None) -> None:
        """Makes park() return value. From any thread."""
        self._blocked.give(value)
