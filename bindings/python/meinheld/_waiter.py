"""One wait for one event: whoever comes first ends it, be it who brings the event, the time, the
client that leaves, or the server's end. Later ones are told that they are late, so that nothing is
handed to who has gone on already.

A signal handler may wake as well, in the middle of any line here. So who ends a wait deletes what
can be deleted but once, which no handler divides; and the lock, by which other threads see the
outcome whole, is re-entrant."""

from __future__ import annotations

import os
from threading import RLock, get_ident
from typing import Final

from meinheld._parking import EXPIRED, Parking, ThreadParking
from meinheld._response import Response
from meinheld._seat import seats

_NOTHING: Final = object()
_lock = RLock()


def _renew_lock() -> None:
    """In a child, where the thread that holds it may not be."""
    global _lock
    _lock = RLock()


os.register_at_fork(after_in_child=_renew_lock)


class Waiter:
    """A wait of whoever makes it: a request, a task, or a thread that no loop knows. To be used
    once."""

    __slots__ = ("_error", "_open", "_outcome", "_place")

    def __init__(self) -> None:
        seat = seats.get(get_ident())
        self._place = ThreadParking() if seat is None else Parking(seat.loop)
        self._open = True  # deleted once it has ended
        self._outcome: object = _NOTHING
        self._error: BaseException | None = None

    def wake(self, value: object) -> bool:
        """Ends the wait with value. Returns False if it has ended already. From any thread or
        signal handler."""
        return self._end(value, None)

    def interrupt(self, error: BaseException) -> bool:
        """Ends it with an exception, likewise."""
        return self._end(None, error)

    def _end(self, value: object, error: BaseException | None) -> bool:
        with _lock:
            if not self._take():
                return False
            self._error = error
            self._outcome = value
        self._place.resume()
        return True

    def _take(self) -> bool:
        """Returns whether it is for the caller to end it."""
        try:
            del self._open
        except AttributeError:
            return False
        return True

    def wait(self, timeout: float | None = None) -> object:
        """The value; EXPIRED after timeout seconds. Raises the exception that it was ended with,
        and what Parking.park() raises; then it has ended as well."""
        try:
            if self._outcome is _NOTHING:
                self._place.park(timeout)
        finally:
            with _lock:
                if self._take():
                    self._outcome = EXPIRED
        if self._error is not None:
            raise self._error
        return self._outcome

    def wait_for_event(self, timeout: float | None = None, half_close: bool = False) -> object:
        """The same for what may never come. In a request it raises ClientDisconnected as soon as
        the client closes its connection (half_close: only once that is not open any more, and not
        when it says that it sends nothing more, which is how a close begins), ServerStopping when
        the server drains, and ServerBusy if too many wait already."""
        seat = seats.get(get_ident())
        request = seat.serving if seat is not None else None
        if seat is None or not isinstance(request, Response):
            return self.wait(timeout)
        loop, name = seat.loop, request.name
        refusal = loop.call(loop.holder.hold, (name, self, half_close))
        if refusal is not None:
            self.interrupt(refusal)
        try:
            return self.wait(timeout)
        finally:
            loop.holder.waits.pop(name, None)
