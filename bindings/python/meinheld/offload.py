"""Work that can't wait on this server's loop, done elsewhere while a request or task waits for it:
what blocks, in a thread; what is written for asyncio, in an asyncio loop.

    from meinheld.offload import await_, run_in_thread

    def app(environ, start_response):
        digest = run_in_thread(hashlib.scrypt, password, salt=salt, n=2**14, r=8, p=1)
        rows = await_(connection.fetch("SELECT ..."), timeout=5)
        ...

Its loop serves others meanwhile; in a thread of a pool, or any other, that thread waits. As for all
work under way, a client that leaves and a server that drains do not end the wait, the end of the
run does (GreenletExit). Context variables are those of the caller, and what is set in the work is
not seen outside.

The threads are daemons, made when they are first needed: what still runs when the process ends is
cut off. A child that is forked has its own."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Unfinished
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from threading import RLock, Thread, get_ident
from typing import Any, Final, TypeVar

from meinheld._checks import integer, number
from meinheld._exceptions import timeout as timed_out
from meinheld._parking import EXPIRED
from meinheld._pool import leave_child
from meinheld._seat import current_seat, seats
from meinheld._waiter import Waiter

__all__ = ["await_", "get_max_threads", "run_in_thread", "set_max_threads"]

Result = TypeVar("Result")

_Job = tuple[Future[Any], Callable[[], Any]]

# Seconds that coroutines have to end, when the process does.
_GRACE: Final = 1.0


class _Workers:
    """Threads that do jobs: as many as are needed at once, up to a number."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._lock = RLock()
        self._count = 0
        self._free = 0  # threads that wait for a job; negative: jobs that wait for a thread
        self._idents: set[int] = set()

    def has_current(self) -> bool:
        """Whether the caller is one of the threads."""
        return get_ident() in self._idents

    def do(self, future: Future[Any], call: Callable[[], Any]) -> None:
        """Has call done, and future told of it. Raises RuntimeError if there can't be a thread."""
        with self._lock:
            if self._free > 0 or not self._add_thread():
                self._free -= 1
        self._jobs.put((future, call))

    def _add_thread(self) -> bool:
        """Starts a thread for one job, and then others, if there may be one more."""
        if self._count >= _max_threads:
            return False
        self._count += 1
        try:
            name = f"meinheld-offload-{self._count}"
            Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError:
            self._count -= 1
            if not self._count:
                raise
            return False
        return True

    def _run(self) -> None:
        """What each thread does."""
        self._idents.add(get_ident())
        pid = os.getpid()
        while True:
            future, call = self._jobs.get()
            if future.set_running_or_notify_cancel():
                _fulfil(future, call)
                if os.getpid() != pid:
                    leave_child(future.exception())
            del future, call  # they may be large
            with self._lock:
                self._free += 1


def _fulfil(future: Future[Any], call: Callable[[], Any]) -> None:
    """Makes a call for a future."""
    try:
        result = call()
    except BaseException as exc:
        future.set_exception(exc)
    else:
        future.set_result(result)


class _Asyncio:
    """An asyncio loop in a thread of its own."""

    def __init__(self) -> None:
        """Raises OSError, and RuntimeError if there can't be a thread."""
        import asyncio  # takes long, and most never need it

        self._asyncio = asyncio
        self._loop = asyncio.new_event_loop()
        self._thread = Thread(target=self._run, name="meinheld-asyncio", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:
            self._loop.close()
            raise

    def has_current(self) -> bool:
        """Whether the caller is that thread."""
        return get_ident() == self._thread.ident

    def begin(self, coroutine: Coroutine[Any, Any, Result]) -> Future[Result]:
        """Runs a coroutine, in a copy of the caller's context. Raises TypeError."""
        return self._asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def end(self) -> None:
        """Cancels what runs, and gives it a moment to clean up."""
        with suppress(Unfinished):
            self.begin(self._cancel()).result(_GRACE)

    def _run(self) -> None:
        self._asyncio.set_event_loop(self._loop)
        while True:
            # SystemExit and KeyboardInterrupt of a coroutine come out here too; who waits for it
            # is told.
            with suppress(BaseException):
                self._loop.run_forever()

    async def _cancel(self) -> None:
        tasks = self._asyncio.all_tasks() - {self._asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await self._asyncio.wait(tasks)


_max_threads = 32
_workers = _Workers()
_asyncio: _Asyncio | None = None
_lock = RLock()  # guards _asyncio
_abandoned: Final[list[object]] = []


def _in_child() -> None:
    """The threads are not here. What was the parent's is kept, so that nothing tears it down: a
    selector that is closed tells its kernel half, which is shared."""
    global _workers, _asyncio, _lock
    _abandoned.append((_workers, _asyncio))
    _workers, _asyncio, _lock = _Workers(), None, RLock()


def _at_exit() -> None:
    if _asyncio is not None:
        _asyncio.end()


os.register_at_fork(after_in_child=_in_child)
atexit.register(_at_exit)


def get_max_threads() -> int:
    """How many threads run_in_thread() has at most."""
    return _max_threads


def set_max_threads(count: int) -> None:
    """Has run_in_thread() have so many threads at most, 32 if it is not told; more calls than that
    wait for one. Those that are there stay. Raises TypeError or ValueError."""
    global _max_threads
    _max_threads = integer("count", count, 1)


def run_in_thread(func: Callable[..., Result], /, *args: Any, **kwargs: Any) -> Result:
    """Calls func(*args, **kwargs) in a thread that may block, and waits for it; returns what it
    does, raises what it raises. From a request, a task, or any thread; in one of its own threads
    it calls func itself.

    Raises TypeError if func can't be called, RuntimeError if there can be no thread, and in a
    greenlet that the application has made. When the wait is ended by the end of the run, a call
    that has begun goes on, and its result is dropped."""
    if not callable(func):
        raise TypeError(f"func must be callable, not {type(func).__name__}")
    call = partial(copy_context().run, func, *args, **kwargs)
    if _workers.has_current():
        return call()
    _check_may_wait()
    future: Future[Result] = Future()
    _workers.do(future, call)
    return _result_of(future, None)


def await_(coroutine: Coroutine[Any, Any, Result], timeout: float | None = None) -> Result:
    """Runs a coroutine in an asyncio loop, one for all, and waits for it; returns what it does,
    raises what it raises (concurrent.futures.CancelledError if it was cancelled). What belongs to
    one asyncio loop, such as a pool of connections, can be made by one call and used by others.
    From a request, a task, or any thread.

    Raises server.timeout after timeout seconds; then, and when anything else ends the wait, the
    coroutine is cancelled. Raises TypeError for what is no coroutine, TypeError or ValueError for a
    timeout that is none, and RuntimeError in the asyncio loop itself, which would wait for itself,
    and in a greenlet that the application has made."""
    global _asyncio
    seconds = None if timeout is None else number("timeout", timeout)
    with _lock:
        if _asyncio is None:
            _asyncio = _Asyncio()
        loop = _asyncio
    if loop.has_current():
        raise RuntimeError("await_() was called in its own asyncio loop: await the coroutine")
    _check_may_wait()
    future = loop.begin(coroutine)
    return _result_of(future, seconds)


def _check_may_wait() -> None:
    """Raises RuntimeError where one can't wait, so that nothing is begun there."""
    if get_ident() in seats and current_seat() is None:
        raise RuntimeError("only a request's or a task's own greenlet can wait here")


def _result_of(future: Future[Result], seconds: float | None) -> Result:
    """Waits for a future, and cancels it if it does not come."""
    waiter = Waiter()
    future.add_done_callback(waiter.wake)
    try:
        if waiter.wait(seconds) is EXPIRED:
            raise timed_out(f"the coroutine has not returned in {seconds} seconds")
        return future.result()
    except BaseException:
        future.cancel()  # no effect once it is done
        raise
    finally:
        del future  # its exception leads to this frame
