"""Where an application runs: which loop a thread works for, and what that thread serves now."""

from __future__ import annotations

from threading import get_ident
from typing import TYPE_CHECKING, Final

from greenlet import greenlet

if TYPE_CHECKING:
    from meinheld._loop import Loop


class Seat:
    """A thread in which a loop's application runs: the loop's own, or one of its pool."""

    __slots__ = ("loop", "serving")

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        # The Response or Task that the code in this thread works for; None between them. It may be
        # one that has ended, until the next begins.
        self.serving: object = None


# By thread. A loop's threads enter themselves, and leave with the run.
seats: Final[dict[int, Seat]] = {}

# By greenlet: those of the loops that run. Whichever of them runs in a thread is its loop.
loop_seats: Final[dict[greenlet, Seat]] = {}


def current_seat() -> Seat | None:
    """That of the calling code, if what runs is the loop's own: None in threads that no loop has
    made, and in greenlets that the application has."""
    seat = seats.get(get_ident())
    return seat if seat is not None and seat.loop.may_wait() else None
