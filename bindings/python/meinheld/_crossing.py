"""What a thread of the pool has the loop's thread do for it, since the C half and who is parked
belong to that one alone: the thread waits for the result, or for what comes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar, cast

from meinheld._parking import Blocked, Parking

if TYPE_CHECKING:
    from meinheld._loop import Loop

Argument = TypeVar("Argument")
Result = TypeVar("Result")


class Crossings:
    """Those of one loop's threads."""

    __slots__ = ("_arriving", "_loop")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._arriving: set[Blocked] = set()  # who waits for the loop's thread

    def call(self, function: Callable[[Argument], Result], argument: Argument) -> Result:
        """Calls function there, and waits for its result. Raises what it raises, and as park()
        does."""
        blocked = Blocked()

        def call() -> None:
            try:
                blocked.give(function(argument))
            except Exception as exc:
                blocked.throw(exc)

        return cast(Result, self._cross(blocked, call))

    def park(self, parking: Parking, timeout: float | None) -> object:
        """Parks the calling thread: the loop does it, so that it happens before or after each
        resume, and not at once. Raises as Parking.park() does."""
        blocked = Blocked()

        def arrive() -> None:
            if parking._kept:
                blocked.give(parking._kept.popleft())
            elif parking._greenlet is not None:
                blocked.throw(RuntimeError("something is parked here already"))
            else:
                try:
                    self._loop.place(parking, blocked, timeout)
                except Exception as exc:
                    blocked.throw(exc)

        return self._cross(blocked, arrive)

    def _cross(self, blocked: Blocked, function: Callable[[], None]) -> object:
        """Has the loop call function, and waits until that, or what comes of it, lets this thread
        go on. Raises GreenletExit at the end of the run, and RuntimeError after it."""

        def arrived() -> None:
            self._arriving.discard(blocked)
            function()

        if not self._loop.admit(lambda: self._arriving.add(blocked)):
            raise RuntimeError("the server has stopped")
        self._loop.post(arrived)
        return blocked.wait()

    def end(self) -> None:
        """The run is over: whoever is on the way gets GreenletExit."""
        while self._arriving:
            self._arriving.pop().throw()
