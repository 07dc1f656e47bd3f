"""select() and poll() that wait in the loop where their caller can.

A loop waits for one descriptor, so all that a call is about go into an epoll instance, and that one
is waited for (epoll(7): it can be polled itself). What was found is asked of the real function."""

from __future__ import annotations

import select as _standard
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic
from typing import Any, Final, Protocol, TypeVar, Union

from meinheld._blocking import sleep
from meinheld._descriptors import READ, cooperating_loop, wait_or_block

# As they are before anything is patched.
_select: Final = _standard.select
_poll: Final = _standard.poll
_epoll: Final = _standard.epoll

# epoll(7) tells of errors and hangups unasked. Who has not asked, and gets nothing of it, looks
# again after so many seconds.
_UNASKED: Final = 0.01

Found = TypeVar("Found")


class HasFileno(Protocol):
    """What has a descriptor."""

    def fileno(self) -> int: ...


Descriptor = Union[int, HasFileno]


def _number(descriptor: Descriptor) -> int:
    return descriptor if isinstance(descriptor, int) else descriptor.fileno()


def _wait(look: Callable[[], Found], masks: dict[int, int], seconds: float | None) -> Found:
    """What look() returns, once that is true, or after so many seconds. masks: for what to wait,
    by descriptor."""
    deadline = None if seconds is None else monotonic() + seconds
    found = look()
    if found:
        return found
    with _epoll() as epoll:
        for fd, mask in masks.items():
            with suppress(PermissionError):  # a regular file: look() knows all of it
                epoll.register(fd, mask)
        while not found:
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                break
            in_time = wait_or_block(epoll.fileno(), READ, left)
            found = look()
            if in_time and not found:
                sleep(_UNASKED)
    return found


def select(
    rlist: Iterable[Descriptor],
    wlist: Iterable[Descriptor],
    xlist: Iterable[Descriptor],
    timeout: float | None = None,
    /,
) -> tuple[list[Any], list[Any], list[Any]]:
    """The standard library's select.select()."""
    reads, writes, others = list(rlist), list(wlist), list(xlist)
    if cooperating_loop() is None or (timeout is not None and not timeout > 0):
        return _select(reads, writes, others, timeout)
    masks: dict[int, int] = {}
    for descriptors, event in (
        (reads, _standard.EPOLLIN),
        (writes, _standard.EPOLLOUT),
        (others, _standard.EPOLLPRI),
    ):
        for descriptor in descriptors:
            fd = _number(descriptor)
            masks[fd] = masks.get(fd, 0) | event

    def look() -> tuple[list[Any], list[Any], list[Any]] | None:
        found = _select(reads, writes, others, 0)
        return found if any(found) else None

    return _wait(look, masks, timeout) or ([], [], [])


class poll:
    """The standard library's select.poll()."""

    __slots__ = ("_masks", "_poll")

    def __init__(self) -> None:
        self._poll = _poll()
        self._masks: dict[int, int] = {}

    def register(
        self,
        fd: Descriptor,
        eventmask: int = _standard.POLLIN | _standard.POLLPRI | _standard.POLLOUT,
        /,
    ) -> None:
        self._poll.register(fd, eventmask)
        self._masks[_number(fd)] = eventmask

    def modify(self, fd: Descriptor, eventmask: int, /) -> None:
        self._poll.modify(fd, eventmask)
        self._masks[_number(fd)] = eventmask

    def unregister(self, fd: Descriptor, /) -> None:
        self._poll.unregister(fd)
        del self._masks[_number(fd)]

    def poll(self, timeout: float | None = None, /) -> list[tuple[int, int]]:
        """timeout: milliseconds; None or a negative number for ever."""
        if timeout == 0 or cooperating_loop() is None:
            return self._poll.poll(timeout)
        seconds = None if timeout is None or timeout < 0 else timeout / 1000
        return _wait(lambda: self._poll.poll(0), self._masks, seconds)
