"""What would block a loop's thread and has no descriptor to wait for: functions of C that are made
in other threads, and sleeping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, TypeVar

from meinheld._descriptors import cooperating_loop
from meinheld._limits import LONGEST
from meinheld._parking import Parking
from meinheld.offload import run_in_thread

Result = TypeVar("Result")

# As it is before anything is patched.
_sleep: Final = time.sleep


def offload(function: Callable[[], Result]) -> Result:
    """What function returns or raises. In a request or a task of a loop's own thread it is called
    in another thread, and the loop serves others meanwhile; elsewhere at once."""
    return function() if cooperating_loop() is None else run_in_thread(function)


def sleep(seconds: float, /) -> None:
    """time.sleep(), during which the loop serves others if the caller is a request or a task of its
    own thread."""
    loop = cooperating_loop()
    if loop is None or not isinstance(seconds, (int, float)) or not 0 <= seconds <= LONGEST:
        _sleep(seconds)  # which knows what to say of what is no time
    else:
        Parking(loop).park(seconds)
