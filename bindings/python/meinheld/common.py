"""Continuations: a request stops in the middle of its code, and is told from anywhere to go on.

    c = environ[CONTINUATION_KEY]   # under ContinuationMiddleware; or Continuation(), in a request
    message = c.suspend(25)         # in the request: waits, for at most 25 seconds
    c.resume("hello")               # in another request, a thread, or a signal handler

While it waits, its loop serves others; in a thread of a pool, that thread waits. A resume never
runs the request's code: it says that the loop is to do so, soon."""

from __future__ import annotations

import os
from threading import RLock, get_ident
from typing import Any, Final

from meinheld._checks import number
from meinheld._exceptions import ClientDisconnected, ServerBusy, ServerStopping, timeout
from meinheld._parking import EXPIRED
from meinheld._response import Response
from meinheld._seat import Seat, current_seat, seats
from meinheld._waiter import Waiter

# What a Continuation is in.
_FREE: Final = 0  # its request runs, or waits for a resume
_RESUMED: Final = 1  # its request has been told to go on, and has not yet
_LATE: Final = 2  # its last suspend timed out
_OVER: Final = 3  # its client has left, or its server has stopped

# Guards what follows; signal handlers may come while it is held, hence re-entrant.
_lock = RLock()


def _renew_lock() -> None:
    """In a child, where the thread that holds it may not be."""
    global _lock
    _lock = RLock()


os.register_at_fork(after_in_child=_renew_lock)

_new: Final = object.__new__

__all__ = ["ClientDisconnected", "Continuation", "ServerBusy", "ServerStopping"]


class Continuation:
    """Of one request, which it can suspend any number of times, one after another."""

    __slots__ = ("__weakref__", "_kept", "_request", "_seat", "_state", "_waiter")

    _seat: Seat
    _request: Response
    _kept: tuple[object, BaseException | None] | None  # of a resume that came first
    _waiter: Waiter | None  # while it is suspended
    _state: int

    def __init__(self, client: object = None) -> None:
        """That of the request that calls it. client: environ["meinheld.client"], as the original
        wanted it; nothing is done with it. Raises RuntimeError outside a request."""
        seat = current_seat()
        if seat is None or not isinstance(seat.serving, Response):
            raise RuntimeError("there is no continuation outside a request's own greenlet")
        self._enter(seat, seat.serving)

    def _enter(self, seat: Seat, request: Response) -> None:
        self._seat = seat
        self._request = request
        self._kept = None
        self._waiter = None
        self._state = _FREE

    def suspend(self, timeout: float = 0, *, half_close: bool = False) -> Any:
        """Waits until a resume(), for at most timeout seconds if that is not 0, and returns what
        that was given: one argument alone is itself, several are a tuple, none is (); keyword
        arguments are a dict; both are (tuple, dict). If a resume came before, at once.

        Raises server.timeout when the time is over; ClientDisconnected as soon as the client closes
        its connection, or half of it, which is how a close begins; with half_close=True such a
        client is waited for until its connection is not open any more. ServerStopping when a drain
        begins; ServerBusy when set_max_suspended() are suspended already. These three derive from
        BaseException. Also whatever throw() was given.

        Raises OSError if it is suspended already, outside the greenlet and thread of its own
        request, and after that has ended; TypeError or ValueError for a timeout that is none."""
        seconds = number("timeout", timeout)
        self._check()
        state = self._state = _FREE
        self._waiter = waiter = Waiter()  # a signal handler may resume it from here on
        kept, self._kept = self._kept, None
        if kept is not None:
            self._waiter = None
            value, error = kept
            if error is not None:
                raise error
            return value
        try:
            value = waiter.wait_for_event(seconds or None, half_close)
            if value is EXPIRED:
                state = _LATE
        except (ClientDisconnected, ServerStopping):
            state = _OVER
            raise
        finally:
            with _lock:
                self._state = state
                self._waiter = None
        if value is EXPIRED:
            raise _timed_out(seconds)
        return value

    def _check(self) -> None:
        """Raises OSError unless its request may suspend here and now."""
        if self._waiter is not None:
            raise OSError("this continuation is suspended already")
        request = self._request
        if request.ended:
            raise OSError("the request of this continuation has ended")
        seat = seats.get(get_ident())
        if seat is None or seat.serving is not request or not seat.loop.may_wait():
            raise OSError("only its own request, in its own greenlet, can suspend a continuation")

    def resume(self, *args: object, **kwargs: object) -> bool:
        """Has suspend() return what is given here, now or when it is next called. Returns False,
        and has no effect, if there is nobody to get it: the request has ended, or its client has
        left, its suspend() has timed out (until the next), or its server has stopped.

        Raises OSError if the request has been resumed already and has not taken that yet. From any
        thread, signal handler or greenlet; it returns at once, and the request goes on later."""
        if kwargs:
            return self._give((args, kwargs) if args else kwargs, None)
        return self._give(args[0] if len(args) == 1 else args, None)

    def throw(self, exc: BaseException | type[BaseException]) -> bool:
        """The same, but has suspend() raise exc. Raises TypeError for what is no exception."""
        error = exc() if isinstance(exc, type) and issubclass(exc, BaseException) else exc
        if not isinstance(error, BaseException):
            raise TypeError(f"throw() takes an exception, not {type(exc).__name__}")
        return self._give(None, error)

    def _give(self, value: object, error: BaseException | None) -> bool:
        with _lock:
            if self._state >= _LATE or self._request.ended or self._seat.loop.over:
                return False
            if self._kept is not None or self._state == _RESUMED:
                raise OSError("this continuation has been resumed already")
            waiter = self._waiter
            if waiter is None:
                self._kept = (value, error)
                return True
            if not (waiter.interrupt(error) if error is not None else waiter.wake(value)):
                return False
            self._state = _RESUMED
            return True


def continuation_of(seat: Seat) -> Continuation:
    """That of the request which is being served there, as quick as can be."""
    continuation = _new(Continuation)
    continuation._enter(seat, seat.serving)  # type: ignore[arg-type]
    return continuation


def _timed_out(seconds: float) -> timeout:
    return timeout(f"nothing came in {seconds:g} seconds")
