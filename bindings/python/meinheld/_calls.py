"""Calls that a loop makes at a time: in the order in which they are due, and for the same time in
that in which they were asked for. One timer of the C half stands for the earliest."""

from __future__ import annotations

import time
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from meinheld._loop import Loop

# So many seconds too early is in time: the C half counts in milliseconds.
_EARLY: Final = 0.0005

# With more cancelled calls than this, and than others, they are thrown out before their time.
_CANCELLED: Final = 64


class Call:
    """One call to be made."""

    __slots__ = ("counts", "due", "function", "number")

    def __init__(self, due: float, number: int, function: Callable[[], None], counts: bool) -> None:
        self.due = due
        self.number = number
        self.function: Callable[[], None] | None = function  # None: made, or cancelled
        self.counts = counts  # whether a drain waits for it

    def __lt__(self, other: Call) -> bool:
        return (self.due, self.number) < (other.due, other.number)


class Calls:
    """Those of one loop. All of it is for the loop's own thread."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._heap: list[Call] = []
        self._numbers = count()
        self._cancelled = 0
        self._armed: float | None = None  # what the timer is armed for
        self.awaited = 0  # by a drain

    def add(self, due: float, function: Callable[[], None], counts: bool) -> Call:
        """Has function called when that is due (time.monotonic()). counts: a drain waits for
        it. Raises MemoryError."""
        call = Call(due, next(self._numbers), function, counts)
        heappush(self._heap, call)
        self.awaited += counts
        self._arm()
        return call

    def cancel(self, call: Call) -> None:
        """Has it not made; no effect if it was."""
        if call.function is None:
            return
        call.function = None
        self._cancelled += 1
        self._finish(call)
        if self._cancelled > max(_CANCELLED, len(self._heap) // 2):
            self._heap = [call for call in self._heap if call.function is not None]
            heapify(self._heap)
            self._cancelled = 0

    def fire(self) -> None:
        """The timer has run: what is due is made in this turn."""
        self._armed = None
        now = time.monotonic() + _EARLY
        while self._heap and self._heap[0].due <= now:
            call = heappop(self._heap)
            if call.function is None:
                self._cancelled -= 1
            else:
                self._loop.post(lambda call=call: self._make(call))  # type: ignore[misc]
        self._arm()

    def _arm(self) -> None:
        if self._heap and (self._armed is None or self._heap[0].due < self._armed):
            self._armed = self._heap[0].due
            self._loop.arm(max(0.0, self._armed - time.monotonic()))

    def _make(self, call: Call) -> None:
        function, call.function = call.function, None
        if function is not None:
            try:
                function()
            finally:
                self._finish(call)

    def _finish(self, call: Call) -> None:
        if call.counts:
            self.awaited -= 1
            self._loop.end_if_drained()
