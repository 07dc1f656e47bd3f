"""Requests that wait for an event which may never come. They are told if their client leaves, or if
the server drains, and there may be too many of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from meinheld._exceptions import ClientDisconnected, ServerBusy, ServerStopping
from meinheld._native import lib

if TYPE_CHECKING:
    from meinheld._loop import Loop


# Looking one of them up in lib costs as much as a call.
_OK: Final = lib.MH_OK
_keep: Final = lib.mhpy_keep
_wait: Final = lib.mhpy_wait


class Held(Protocol):
    """A request's wait."""

    def interrupt(self, error: BaseException) -> bool:
        """Ends it with an exception, unless it has ended."""


class Holder:
    """Those of one loop. All of it is for the loop's own thread, but client_left() and who takes
    out of waits what waits no more."""

    __slots__ = ("_loop", "_most", "_stopping", "waits")

    def __init__(self, loop: Loop, most: int) -> None:
        """most: how many may wait at once, 0 for any number."""
        self._loop = loop
        self._most = most
        self._stopping = False
        self.waits: dict[int, Held] = {}  # by name

    def hold(self, request: tuple[int, Held, bool]) -> BaseException | None:
        """A request waits from now on, until it is taken out of waits. request: its name, its wait,
        and whether its client may half-close the connection. Returns what it is told at once, if
        so."""
        name, held, half_close = request
        if self._stopping:
            return _stopping()
        if self._most and len(self.waits) >= self._most:
            return ServerBusy(f"{self._most} requests are suspended already")
        code = (_keep if half_close else _wait)(self._loop.hub, name)
        if code != _OK and not self._loop.upgrades.is_open(name):
            return _left()
        self.waits[name] = held
        return None

    def client_left(self, name: int) -> None:
        """A request has lost its client; no effect if it does not wait. From any thread."""
        held = self.waits.get(name)
        if held is not None:
            held.interrupt(_left())

    def stop(self) -> None:
        """The server drains: ends all waits, and lets nobody begin one."""
        self._stopping = True
        for held in list(self.waits.values()):
            held.interrupt(_stopping())


def _left() -> ClientDisconnected:
    return ClientDisconnected("the client has closed its connection")


def _stopping() -> ServerStopping:
    return ServerStopping("the server is stopping")
