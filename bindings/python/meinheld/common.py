"""Continuations: a request stops in the middle of its code, and is told from anywhere to go on.

    c = environ[CONTINUATION_KEY]   # under ContinuationMiddleware; or Continuation(), in a request
    message = c.suspend(25)         # in the request: waits, for at most 25 seconds
    c.resume("hello")               # in another request, a thread, or a signal handler

While it waits, its loop serves others; in a thread of a pool, that thread waits. A resume never
runs the request's code: it says that the loop is to do so, soon."""

from __future__ import annotations

import os
from threading import RLock, get_ident
from typing import TYPE_CHECKING, Any, Final, NoReturn

from greenlet import getcurrent

from meinheld._checks import number
from meinheld._exceptions import (
    ClientDisconnected,
    Interruption,
    ServerBusy,
    ServerStopping,
    timeout,
)
from meinheld._parking import EXPIRED, Parking
from meinheld._response import ALL, Known, Response
from meinheld._seat import current_seat, seats

# What Request.told may be; see there.
_GIVEN: Final = "it has been resumed"
_THROWN: Final = "it has been resumed with an exception"
_LATE: Final = "its last suspend timed out"
_OVER: Final = "its client has left, or its server has stopped"

# Guards what a Request has been told; signal handlers may come while it is held, hence re-entrant.
_lock = RLock()


def _renew_lock() -> None:
    """In a child, where the thread that holds it may not be."""
    global _lock
    _lock = RLock()


os.register_at_fork(after_in_child=_renew_lock)

# Request has those of the two that it derives from, of which only one may have any.
_NO_SLOTS: Final[tuple[str, ...]] = ()

__all__ = ["ClientDisconnected", "Continuation", "ServerBusy", "ServerStopping"]


class _Found(type):
    """Of a class that finds its object instead of making one."""

    def __call__(cls, client: object = None) -> Continuation:
        """That of the request that calls it. client: environ["meinheld.client"], as the original
        wanted it; nothing is done with it. Raises RuntimeError outside a request."""
        seat = current_seat()
        if seat is None or not isinstance(seat.serving, Request):
            raise RuntimeError("there is no continuation outside a request's own greenlet")
        return seat.serving


class Continuation(metaclass=_Found):
    """Of one request, which it can suspend any number of times, one after another. Called, it is
    that of the request that calls it."""

    __slots__ = _NO_SLOTS

    gen: int
    known: Known
    parking: Parking
    place: Parking | None
    slot: int
    stage: int
    told: object
    value: Any

    if TYPE_CHECKING:  # in place of which _Found.__call__ is called

        def __init__(self, client: object = None) -> None: ...

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
        # What is most often said needs no look.
        seconds = 0.0 if timeout.__class__ is int and not timeout else number("timeout", timeout)
        seat = seats.get(get_ident())
        if seat is None or seat.serving is not self or self.stage == ALL:
            self._refuse()
        loop, name = seat.loop, self.gen << 32 | self.slot
        own = loop._current is getcurrent()
        if not own and not loop.may_wait():
            self._refuse()
        # An exception that is caught here would make an object of this frame, 300 bytes, for as
        # long as it waits.
        parking, self.place = self.place, None
        if parking is None:
            parking = Parking(loop)
        with _lock:  # a resume comes before all of this, or it finds where to resume
            self.parking = parking
            if self.told is _LATE or self.told is _OVER:
                self.told = None
        if self.told is not None:
            self._take()
        else:
            try:
                hold, request = loop.holder.hold, (name, self, half_close)
                refusal = hold(request) if own else loop.call(hold, request)
                if refusal is not None:
                    self.interrupt(refusal)
                if self.told is None and loop._park(parking, seconds or None) is not EXPIRED:
                    self.place = parking
            except BaseException:
                self._take()
                raise
            finally:
                loop.holder.waits.pop(name, None)
            if self.told is None:
                self._expire()
        told = self.told
        if told is _GIVEN or told is _THROWN:
            value, self.value = self.value, None
            self.told = None  # last, as a resume in a signal handler brings the next value
            if told is _GIVEN:
                return value
            raise value
        if told is _LATE:
            raise _timed_out(seconds)
        self.told = None if type(told) is ServerBusy else _OVER
        assert isinstance(told, Interruption)
        raise told

    def _refuse(self) -> NoReturn:
        """Says why its request may not suspend here and now."""
        if hasattr(self, "parking"):
            raise OSError("this continuation is suspended already")
        if self.stage == ALL:
            raise OSError("the request of this continuation has ended")
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
            parking, told = self._take(), self.told
            if told is not None:
                if (told is _GIVEN or told is _THROWN) and not self._is_over():
                    raise OSError("this continuation has been resumed already")
                return False
            if self._is_over() if parking is None else parking._loop._over:
                return False
            self.value = value if error is None else error
            self.told = _GIVEN if error is None else _THROWN
        if parking is not None:
            parking.resume()
        return True

    def _is_over(self) -> bool:
        """Its request has ended, or its server has stopped."""
        return self.stage == ALL or self.known.sender.over

    def _take(self) -> Parking | None:
        """Where it is suspended, for whoever is to end that: what a deletion removes, no other
        does, be it in a signal handler."""
        try:
            parking = self.parking
            del self.parking
        except AttributeError:
            return None
        return parking

    def _expire(self) -> None:
        """Nobody has ended its wait in time. If somebody is just about to, that counts."""
        with _lock:
            if self._take() is not None or self.told is None:
                self.told = _LATE

    def interrupt(self, error: BaseException) -> bool:
        """Ends its wait with an exception; for the loop that holds it. Returns False if it has
        ended."""
        with _lock:
            parking = self._take()
            if parking is None:
                return False
            self.told = error
        parking.resume()
        return True


class _Made(_Found):
    """Of one that makes them all the same, as quick as can be: no code of Python is called."""

    __call__ = type.__call__


class Request(Response, Continuation, metaclass=_Made):
    """What a gateway makes for each request. Both in one, as making another object costs more than
    all else that a continuation costs requests that never wait, and 80 bytes of those that do."""

    __slots__ = (
        "__weakref__",
        "parking",  # where it is suspended, until somebody ends that; else deleted
        # Where it was suspended the last time and may be again, if no resume of it can be on its
        # way there; else None. Each object that is made anew brings a collection of garbage nearer,
        # which looks at all that thousands of suspended requests hold.
        "place",
        # None: it runs, or is suspended; _GIVEN, _THROWN: resumed with what is in value, and it has
        # not taken that yet; an Interruption: that has ended its wait, and it has not gone on yet;
        # _LATE, _OVER: it runs after a wait that has ended so.
        "told",
        "value",
    )


def _timed_out(seconds: float) -> timeout:
    return timeout(f"nothing came in {seconds:g} seconds")
