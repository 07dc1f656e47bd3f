"""Work beside the requests: functions that a loop calls as it calls an application, so that they
can wait as one can. When a run ends they are ended as parked requests are, by GreenletExit."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextvars import copy_context
from functools import partial
from threading import RLock, get_ident
from typing import Any, Final, cast

from greenlet import GreenletExit

from meinheld._body import LEAVING
from meinheld._calls import Call
from meinheld._checks import number
from meinheld._exceptions import timeout as timed_out
from meinheld._locals import forget
from meinheld._loop import Loop
from meinheld._parking import EXPIRED, Parking
from meinheld._response import ExcInfo
from meinheld._seat import current_seat, seats
from meinheld._waiter import Waiter

# The loops that run, the oldest first; and what the next one that begins is to do first.
running: Final[list[Loop]] = []
_early: Final[list[Callable[[Loop], None]]] = []
# Called with each loop that begins to run, before it does.
attendants: Final[list[Callable[[Loop], None]]] = []
_unbegun: Final[set[Task]] = set()
_lock = RLock()


def _renew_lock() -> None:
    """In a child, where the thread that holds it may not be."""
    global _lock
    _lock = RLock()


os.register_at_fork(after_in_child=_renew_lock)


def begin(loop: Loop) -> None:
    """A run begins: it does what was asked for before any did."""
    with _lock:
        running.append(loop)
        early, _early[:] = list(_early), []
        for task in _unbegun:
            task.loop = task.loop or loop
    for attend in attendants:
        attend(loop)
    for function in early:
        loop.post(lambda function=function: function(loop))  # type: ignore[misc]


def end(loop: Loop) -> None:
    """A run is over, and what it has not begun will never be. A second call has no effect."""
    with _lock:
        if loop in running:
            running.remove(loop)
        left = [task for task in _unbegun if task.loop is loop]
    for task in left:
        task.abandon()


def _do(function: Callable[[Loop], None]) -> Loop | None:
    """Calls function in the loop that the caller belongs to, or else in the oldest that runs, or in
    the next that does. From any thread and signal handler. Returns the loop, None for the next."""
    seat = current_seat()
    with _lock:
        loop = seat.loop if seat is not None else running[0] if running else None
        if loop is None:
            _early.append(function)
        else:
            loop.post(lambda: function(loop))
    return loop


class Task:
    """What spawn() has begun."""

    __slots__ = ("_call", "_context", "_error", "_result", "_waiters", "done", "locals", "loop")

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._context = copy_context()
        self._result: object = None
        self._error: BaseException | None = None
        self._waiters: list[Waiter] | None = []  # None once it is done
        self.done = False  # it has returned, or raised, or will never run
        self.loop: Loop | None = None  # that is to run it

    def get(self, timeout: float | None = None) -> Any:
        """Waits until the function has returned, and returns what it did, or raises what it has
        raised. Raises server.timeout after timeout seconds; RuntimeError if the run has ended
        before it began."""
        seconds = None if timeout is None else number("timeout", timeout)
        with _lock:
            waiter = None
            if self._waiters is not None:
                waiter = Waiter()
                self._waiters.append(waiter)
        if waiter is not None and waiter.wait(seconds) is EXPIRED:
            raise timed_out(f"the function has not returned in {seconds} seconds")
        if self._error is not None:
            raise self._error
        return self._result

    def begin(self, loop: Loop) -> None:
        """Runs it, in the loop's greenlet."""
        with _lock:
            _unbegun.discard(self)
        loop.seat.serving = self
        try:
            self._result = self._context.run(self._call)
        except BaseException as exc:
            self._error = exc
            if isinstance(exc, LEAVING) and (loop.over or not isinstance(exc, GreenletExit)):
                raise
            loop.log(f"{_name(self._call)} failed", cast(ExcInfo, sys.exc_info()))
        finally:
            self._end()
            forget(self)

    def abandon(self) -> None:
        """It will never run."""
        self._error = RuntimeError("the server has stopped")
        self._end()

    def title(self) -> str:
        """What the log calls it."""
        return f"the task {_name(self._call)}"

    def _end(self) -> None:
        with _lock:
            _unbegun.discard(self)
            waiters, self._waiters = self._waiters or [], None
            self.done = True
        for waiter in waiters:
            waiter.wake(None)


class Timer:
    """What schedule_call() has scheduled."""

    __slots__ = ("_call", "_function", "_loop", "called")

    def __init__(self, function: Callable[[], object]) -> None:
        self._function: Callable[[], object] | None = function
        self._call: Call | None = None
        self._loop: Loop | None = None
        self.called = False  # it has been called

    def cancel(self) -> None:
        """Has it not be called; no effect if it was. From any thread."""
        self._function = None
        loop = self._loop
        if loop is not None:
            loop.post(lambda: loop.calls.cancel(self._call) if self._call else None)

    def start(self, loop: Loop, due: float) -> None:
        """Has loop call it when it is due, by time.monotonic()."""
        if self._function is not None:
            self._loop = loop
            # A drain does not wait for what is scheduled during it: a call that schedules the next
            # would never let it end.
            self._call = loop.calls.add(due, self._make, not loop.draining)

    def _make(self) -> None:
        function, self._function = self._function, None
        if function is not None:
            assert self._loop is not None
            self.called = True
            Task(function).begin(self._loop)


def spawn(
    func: Callable[..., object],
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
) -> Task:
    """Calls func beside the requests, soon: in the loop of the caller, or else in one that runs, or
    in the next that does. It can sleep and wait as a request can, and holds up the others while it
    does not. It sees a copy of the caller's context variables. What it raises is logged.

    A drain does not wait for it. When the run ends GreenletExit is raised in it, if it waits.
    From any thread. Raises TypeError if func can't be called."""
    task = Task(_bound(func, tuple(args or ()), dict(kwargs or {})))
    with _lock:
        _unbegun.add(task)
        task.loop = _do(task.begin)
    return task


def schedule_call(seconds: float, func: Callable[..., object], *args: Any, **kwargs: Any) -> Timer:
    """Calls func in so many seconds, to the millisecond; 0: in the next turn of the loop. Calls for
    the same time are made in the order in which they were asked for. As spawn() otherwise; but a
    drain waits for those that were scheduled before it began. From any thread.

    Raises TypeError or ValueError."""
    due = time.monotonic() + number("seconds", seconds)
    timer = Timer(_bound(func, args, kwargs))
    _do(lambda loop: timer.start(loop, due))
    return timer


def sleep(seconds: float) -> None:
    """Waits, while the loop of the caller serves others; in another thread, it blocks that. Raises
    TypeError or ValueError, and RuntimeError in a greenlet that the application has made."""
    number("seconds", seconds)
    seat = current_seat()
    if seat is not None:
        Parking(seat.loop).park(seconds)
    elif get_ident() in seats:
        raise RuntimeError("only a request's or a task's own greenlet can sleep here")
    else:
        time.sleep(seconds)


def _bound(
    func: Callable[..., object], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Callable[[], object]:
    if not callable(func):
        raise TypeError(f"func must be callable, not {type(func).__name__}")
    return partial(func, *args, **kwargs)


def _name(call: Callable[[], object]) -> str:
    func = getattr(call, "func", call)
    return str(getattr(func, "__qualname__", repr(func)))
