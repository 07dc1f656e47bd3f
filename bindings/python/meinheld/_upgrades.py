"""What has left HTTP: the sockets that were taken from the C half, which knows no more of them, but
whose applications run on. A loop's drain tells them, and waits for them, as its end does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from meinheld._codes import error_of
from meinheld._native import ffi, lib

if TYPE_CHECKING:
    from meinheld._loop import Loop


class Upgraded(Protocol):
    """What was made of such a socket."""

    def is_open(self) -> bool:
        """Whether its client is still there."""

    def drain(self) -> None:
        """The server drains."""

    def end(self, in_child: bool) -> None:
        """The run is over; in_child: that of the process from which this one was forked."""


class Upgrades:
    """Those of one loop. All of it is for the loop's own thread."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._open: dict[int, Upgraded] = {}  # by the name of their request

    def __len__(self) -> int:
        """How many there are."""
        return len(self._open)

    def take(self, name: int) -> tuple[int, bytes] | None:
        """A request's socket, for which the request has ended: a descriptor, the caller's from then
        on, and what was read beyond the head. None if it can't be had now: the answer before it is
        still to leave, or the server drains. Raises ConnectionError if its client has gone,
        RuntimeError if it has been answered or has a body that is not read, and MemoryError."""
        if self._loop.draining:
            return None
        size = ffi.new("size_t *", 0)
        buffer = ffi.NULL
        fd = lib.mhpy_upgrade(self._loop.hub, name, buffer, size)
        if fd == lib.MH_EINVAL:
            buffer = ffi.new("char[]", size[0])
            fd = lib.mhpy_upgrade(self._loop.hub, name, buffer, size)
        if fd == lib.MH_EAGAIN:
            return None
        if fd == lib.MH_ECLOSED:
            raise ConnectionResetError("the client has closed its connection")
        if fd < 0:
            raise error_of(fd, 0, "taking the socket of a request")
        return fd, ffi.unpack(buffer, size[0]) if size[0] else b""

    def enter(self, name: int, upgraded: Upgraded) -> None:
        """Notes what was made of it."""
        self._open[name] = upgraded

    def leave(self, name: int) -> None:
        """It is over, and so is its application. A second call has no effect."""
        if self._open.pop(name, None) is not None:
            self._loop.end_if_drained()

    def is_open(self, name: int) -> bool:
        """Whether a request has left HTTP, and its client is still there."""
        upgraded = self._open.get(name)
        return upgraded is not None and upgraded.is_open()

    def drain(self) -> None:
        """The server drains."""
        for upgraded in list(self._open.values()):
            upgraded.drain()

    def end(self, in_child: bool) -> None:
        """The run is over."""
        while self._open:
            self._open.popitem()[1].end(in_child)
