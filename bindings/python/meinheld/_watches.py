"""Descriptors that a loop looks at for others: what is to be called when one is ready."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from meinheld._codes import error_of
from meinheld._native import lib

if TYPE_CHECKING:
    from meinheld._loop import Loop


class Watches:
    """Those of one loop, one for a descriptor. All of it is for the loop's own thread."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._calls: dict[int, Callable[[int, int], None]] = {}

    def add(self, fd: int, ready: Callable[[int, int], None], events: int) -> None:
        """Calls ready(fd, events) in each turn in which fd is ready for one of events (MH_READ,
        MH_WRITE; MH_ERROR comes unasked), until it is removed. In place of any watch of fd before.
        Raises OSError."""
        hub = self._loop.hub
        code = lib.mhpy_watch(hub, fd, events)
        if code < 0:
            self._calls.pop(fd, None)
            raise error_of(code, lib.mhpy_errno(hub), f"watching descriptor {fd}")
        self._calls[fd] = ready

    def remove(self, fd: int) -> None:
        """Ends a watch; no effect if there is none."""
        if self._calls.pop(fd, None):
            lib.mhpy_unwatch(self._loop.hub, fd)

    def call(self, fd: int, events: int) -> None:
        """fd is ready for events."""
        ready = self._calls.get(fd)
        if ready is not None:
            ready(fd, events)

    def clear(self) -> None:
        """Drops all, at the end of the loop; the hub ends what it watches by itself."""
        self._calls.clear()
