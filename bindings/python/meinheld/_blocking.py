"""What would block a loop's thread and has no descriptor to wait for: functions of C that are made
in other threads, and sleeping."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, TypeVar

from meinheld._descriptors import cooperating_loop
from meinheld._limits import LONGEST
from meinheld._parking import Parking
from meinheld._waiter import Waiter

Result = TypeVar("Result")

# How many of such calls are made at once.
_THREADS: Final = 10

# As it is before anything is patched.
_sleep: Final = time.sleep

_executor: ThreadPoolExecutor | None = None


def _forget_executor() -> None:
    """In a child, which has none of its threads."""
    global _executor
    _executor = None


os.register_at_fork(after_in_child=_forget_executor)


def offload(function: Callable[[], Result]) -> Result:
    """What function returns or raises. In a request or a task of a loop's own thread it is called
    in another thread, and the loop serves others meanwhile."""
    global _executor
    if cooperating_loop() is None:
        return function()
    if _executor is None:
        _executor = ThreadPoolExecutor(_THREADS, "meinheld-offload")
    waiter = Waiter()

    def done(_future: Future[Result]) -> None:
        waiter.wake(None)

    future = _executor.submit(function)
    future.add_done_callback(done)
    waiter.wait()
    return future.result()


def sleep(seconds: float, /) -> None:
    """time.sleep(), during which the loop serves others if the caller is a request or a task of its
    own thread."""
    loop = cooperating_loop()
    if loop is None or not isinstance(seconds, (int, float)) or not 0 <= seconds <= LONGEST:
        _sleep(seconds)  # which knows what to say of what is no time
    else:
        Parking(loop).park(seconds)
