"""Reading request bodies out of the C half."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from meinheld._native import ffi, lib

if TYPE_CHECKING:
    from meinheld._loop import Loop

# Bytes that are read at once.
READ_SIZE: Final = 65536

# Whether a buffer of Python's stays where it is, so that C can write to it: PyPy moves most.
_HAS_ADDRESSES: Final = sys.implementation.name == "cpython"


class Reader:
    """Reads for one loop, in its own thread."""

    __slots__ = ("_buffer", "_buffer_c", "_loop")

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._buffer = bytearray(READ_SIZE)
        self._buffer_c = ffi.from_buffer("char[]", self._buffer)

    def read(self, name: int, most: int, whole: bool) -> tuple[memoryview, int]:
        """At most so many bytes of a request's body, in a buffer that is valid until the next call,
        and an MHPY_READ_* or MH_E* that says what follows them. whole: as many as there are, else
        only until there are any, so that nobody seems to wait for more."""
        result = lib.mhpy_read(self._loop.hub, name, self._buffer_c, min(most, READ_SIZE), whole)
        if result < 0:
            return memoryview(b""), result
        return memoryview(self._buffer)[: result >> 2], result & 3

    def read_into(self, name: int, view: memoryview, whole: bool) -> tuple[int, int]:
        """The same, straight to where they are wanted: their number, and what follows."""
        if not _HAS_ADDRESSES:
            data, state = self.read(name, len(view), whole)
            view[: len(data)] = data
            return len(data), state
        with ffi.from_buffer("char[]", view) as buffer:
            result = lib.mhpy_read(self._loop.hub, name, buffer, len(view), whole)
        return (0, result) if result < 0 else (result >> 2, result & 3)
