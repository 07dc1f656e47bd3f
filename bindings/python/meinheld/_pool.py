"""The threads that run an application: N of them, and a queue of what is to be done.

They live as long as a run. At its end no more is taken from the queue, and the run waits for what
they are at, as it waits for an application that it calls itself; who does not want to wait any
longer gives them up (:meth:`Pool.give_up`), and they end by themselves when they can, or with the
process: they are daemons.

A thread that forks is the only one of its child. If it does not leave the child by itself but comes
back here, it has nothing to come back to: the child ends."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread, get_ident
from time import monotonic
from typing import TYPE_CHECKING, Final
from weakref import WeakSet

from greenlet import getcurrent, greenlet

from meinheld._seat import Seat, seats

if TYPE_CHECKING:
    from meinheld._loop import Loop

# Seconds that threads which are given up have to come to an end: those that wait for something here
# are told of it, and need no more.
_GRACE: Final = 1.0

_ENDED: Final = True
_GIVEN_UP: Final = False


class Pool:
    """Calls a function for each item that is put, in one of its threads."""

    def __init__(
        self, count: int, work: Callable[[int], None], in_child: Callable[[], None]
    ) -> None:
        """count: of threads; work: the function; in_child: called in each child that is forked."""
        self._count = count
        self._work = work
        self._in_child = in_child
        self._queue: SimpleQueue[int | None] = SimpleQueue()
        self._news: SimpleQueue[bool] = SimpleQueue()  # of threads that have ended
        self._alive = 0
        self._greenlets: dict[int, greenlet] = {}  # of the threads, by get_ident()
        self.forked = False  # in a child: none of the threads is here, but one that forked
        self.put = self._queue.put

    def start(self, loop: Loop, fail: Callable[[BaseException], None]) -> None:
        """Starts the threads, which work for loop. fail gets what work raises, in the thread.
        Raises RuntimeError if there can't be so many."""
        self._loop = loop
        self._fail = fail
        _pools.add(self)
        for number in range(self._count):
            Thread(target=self._run, name=f"meinheld-{number + 1}", daemon=True).start()
            self._alive += 1

    def has_current(self) -> bool:
        """Whether the caller is one of the threads, and in no greenlet of its own making."""
        return self._greenlets.get(get_ident()) is getcurrent()

    def clear(self) -> None:
        """Takes back what no thread has begun."""
        with suppress(Empty):
            while True:
                self._queue.get_nowait()

    def close(self) -> None:
        """Lets the threads end, after what has been put."""
        for _ in range(self._alive):
            self._queue.put(None)

    def join(self) -> None:
        """Waits until the threads have ended, or have been given up."""
        deadline: float | None = None
        while self._alive:
            left = None if deadline is None else max(0.0, deadline - monotonic())
            try:
                ended = self._news.get(timeout=left)
            except Empty:
                return
            if ended:
                self._alive -= 1
            elif deadline is not None:
                return
            else:
                deadline = monotonic() + _GRACE

    def give_up(self) -> None:
        """Lets join() return in a second, now or when it is called, and at once the second time.
        From any thread or signal handler."""
        self._news.put(_GIVEN_UP)

    def _run(self) -> None:
        """What each thread does."""
        me = self._greenlets[get_ident()] = getcurrent()
        seats[get_ident()] = Seat(self._loop)
        get, work = self._queue.get, self._work
        try:
            while True:
                item = get()
                if item is None:
                    return
                if me.gr_context is not None:  # the last one's: each begins with an empty one
                    me.gr_context = None
                try:
                    work(item)
                except BaseException as exc:
                    if self.forked:
                        leave_child(exc)
                    self._fail(exc)
                if self.forked:
                    leave_child(None)
        finally:
            del seats[get_ident()]
            del self._greenlets[get_ident()]
            self._news.put(_ENDED)


_pools: Final[WeakSet[Pool]] = WeakSet()


def leave_child(exc: BaseException | None) -> None:
    """Ends a child that came back from its fork in a thread. Nothing below it can be unwound, for
    the thread's stack is all that there is."""
    status = 1
    with suppress(BaseException):
        if isinstance(exc, SystemExit):
            status = exc.code if isinstance(exc.code, int) else int(exc.code is not None)
            if exc.code is not None and not isinstance(exc.code, int):
                print(exc.code, file=sys.stderr)
        elif exc is not None:
            traceback.print_exception(type(exc), exc, exc.__traceback__)
        else:
            print("meinheld: a child came back from its fork in a request", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status & 0xFF)


def _in_child() -> None:
    for pool in list(_pools):
        pool.forked = True
        pool._in_child()


os.register_at_fork(after_in_child=_in_child)
