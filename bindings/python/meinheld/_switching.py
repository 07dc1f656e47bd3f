"""Switches between the greenlets of a loop, told from those that an application makes by hand.

Before the loop switches it says to whom. Whoever arrives unannounced was switched to by the
application, which has got hold of a request's greenlet: that one's wait is not over, and who did
it would never be switched back to. So it gets an exception in return, and what it has switched to
goes on waiting."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from greenlet import greenlet

if TYPE_CHECKING:
    from meinheld._loop import Loop


class Switches:
    """Those of one loop."""

    __slots__ = ("_announced", "_loop")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._announced: greenlet | None = None

    def switch(self, me: greenlet, target: greenlet) -> None:
        """Leaves me for target, and returns when the loop switches to me; raises what it is thrown
        by throw()."""
        self._announced = target
        try:
            target.switch()
        except BaseException:
            if self._announced is me:
                raise
        while self._announced is not me:
            try:
                self._refusal()()
            except BaseException:
                if self._announced is me:
                    raise

    def throw(self, target: greenlet) -> None:
        """Ends target, which waits, by GreenletExit. Raises what that raises."""
        self._announced = target
        target.throw()

    def leave(self, main: greenlet) -> None:
        """The greenlet that is the loop ends, which leads to main."""
        self._announced = main

    def enter(self, main: greenlet, target: greenlet) -> None:
        """From main to a loop greenlet; returns when one leaves for main, or has ended. Raises what
        one ends with."""
        self._announced = target
        go: Callable[[], object] = target.switch
        while True:
            go()
            if self._announced is main:
                return
            go = self._refusal()

    def _refusal(self) -> Callable[[], object]:
        """Goes back to the greenlet that was the loop, since that has switched by hand."""
        culprit = self._loop.current
        assert culprit is not None
        return partial(
            culprit.throw,
            RuntimeError(
                "a request is told to go on by its continuation, not by a switch to its greenlet"
            ),
        )
