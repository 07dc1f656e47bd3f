"""wsgi.input, as the application reads it: of a request without a body, and of one whose body is
still coming. A body that is complete is a BytesIO or a temporary file (_uploads.py)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from io import BufferedReader, BytesIO, RawIOBase
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Bytes of a body that are read ahead of the application, at the most, and asked for at a time.
AHEAD: Final = 65536

# Where the bytes of a coming body are from: it waits until there are any, puts as many as there are
# into the view and returns their number, 0 at the body's end. Raises OSError if the rest will not
# come, and then each time. It may wait as suits who runs the application: by parking a greenlet, or
# by blocking a thread.
Fill = Callable[[memoryview], int]


class NoInput:
    """The input of every request without a body: one for all of them, so nothing can be changed in
    it."""

    __slots__ = ()

    def read(self, size: int | None = -1, /) -> bytes:
        """Nothing."""
        return b""

    def readline(self, size: int | None = -1, /) -> bytes:
        """Nothing."""
        return b""

    def readlines(self, hint: int | None = -1, /) -> list[bytes]:
        """Nothing."""
        return []

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        raise StopIteration

    def close(self) -> None:
        """No effect: others use it."""


NO_INPUT = NoInput()


class Coming(RawIOBase):
    """A body that is still coming, for a BufferedReader to read from. That has the rest of what a
    file has, keeps what was read ahead, and refuses a second reader while one waits."""

    def __init__(self, fill: Fill) -> None:
        self._fill = fill

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Waits until there are bytes, and puts them there; 0 at the body's end. Raises OSError if
        they will not come."""
        with memoryview(buffer) as view:
            return self._fill(view)

    def readall(self) -> bytes:
        """All that is left. Raises OSError if it will not come."""
        whole = BytesIO()
        with memoryview(bytearray(AHEAD)) as view:
            while n := self._fill(view):
                whole.write(view[:n])
        return whole.getvalue()


def coming_input(fill: Fill) -> BufferedReader:
    """The wsgi.input of a body that is still coming: read(n) waits for n bytes or the end, as a
    file's does, and nothing is read that was not asked for but what has come by then."""
    return BufferedReader(Coming(fill), AHEAD)
