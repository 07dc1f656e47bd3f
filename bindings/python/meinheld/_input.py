"""wsgi.input: request bodies, whole in memory or in a temporary file before the application is
called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from io import BytesIO
from tempfile import TemporaryFile
from typing import BinaryIO

from meinheld._environ import Environ

# Bodies of one loop in memory, all together; above it any more goes to a file.
MAX_IN_MEMORY = 64 * 1024 * 1024


class NoInput:
    """The input of every request without a body: one for all of them, so nothing can be changed in
    it."""

    __slots__ = ()

    def read(self, size: int = -1, /) -> bytes:
        """Nothing."""
        return b""

    def readline(self, size: int = -1, /) -> bytes:
        """Nothing."""
        return b""

    def readlines(self, hint: int = -1, /) -> list[bytes]:
        """Nothing."""
        return []

    def __iter__(self) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        """No effect: others use it."""


NO_INPUT = NoInput()


class Memory:
    """How many bytes of bodies a loop holds in memory."""

    __slots__ = ("used",)

    def __init__(self) -> None:
        self.used = 0


class Upload:
    """A body on its way in. Memory grows with what arrives, never with what was announced."""

    __slots__ = ("_held", "_limit", "_memory", "chunked", "environ", "file", "name", "size")

    def __init__(
        self, name: int, environ: Environ, chunked: bool, limit: int, memory: Memory
    ) -> None:
        """limit: bytes above which it goes to a file; memory: what it counts against."""
        self.name = name
        self.environ = environ
        self.chunked = chunked
        self.size = 0
        self.file: BinaryIO = BytesIO()
        self._limit = limit
        self._memory = memory
        self._held = 0  # bytes counted in memory

    def write(self, data: memoryview) -> None:
        """Appends. Raises OSError when the disk is full."""
        n = len(data)
        if self._held == self.size:  # still in memory
            if self.size + n > self._limit or self._memory.used + n > MAX_IN_MEMORY:
                self._spool()
            else:
                self._held += n
                self._memory.used += n
        self.file.write(data)
        self.size += n

    def _spool(self) -> None:
        file = TemporaryFile()  # noqa: SIM115 - closed with the request, or by its end
        try:
            file.write(self.file.getbuffer())  # type: ignore[attr-defined]
        except BaseException:
            with suppress(OSError):
                file.close()
            raise
        self.file = file
        self._release()

    def _release(self) -> None:
        self._memory.used -= self._held
        self._held = -1  # never again equal to a size

    def complete(self) -> None:
        """The body has ended: makes it environ's wsgi.input, to be read from its start. A chunked
        body's CONTENT_LENGTH is what was counted."""
        self.file.seek(0)
        self.environ["wsgi.input"] = self.file
        if self.chunked:
            self.environ["CONTENT_LENGTH"] = str(self.size)

    def close(self) -> None:
        """The request is over, or will never be: gives memory and file back."""
        if self._held > 0:
            self._release()
        # It writes what it still holds, and the disk may be full; or the application holds its
        # buffer (BytesIO.getbuffer), or has detached it.
        with suppress(OSError, BufferError, ValueError):
            self.file.close()
