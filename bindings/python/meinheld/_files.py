"""wsgi.file_wrapper (PEP 3333, "Optional Platform-Specific File Handling"): a file as a response's
body.

What it wraps is read by the block, unless reading from it is the same as reading from a descriptor:
then the descriptor is what the Sender sends. That holds for the files of io that open() makes, and
for what passes on their read() as it is, as tempfile's and Django's do. It does not hold for what
has a fileno() but does more in its read(): gzip decompresses, text is decoded, and a subclass may
do anything."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from io import BufferedRandom, BufferedReader, FileIO
from typing import Any, Final, Union

_Plain = Union[BufferedReader, BufferedRandom, FileIO]

_PLAIN: Final = (BufferedReader, BufferedRandom, FileIO)
_NAMED: Final[Any] = tempfile._TemporaryFileWrapper


class FileWrapper:
    """wsgi.file_wrapper: what an application returns to send a file from where it stands, to its
    end or to the Content-Length. An application may also iterate over it, or seek in it."""

    __slots__ = ("blksize", "filelike")

    def __init__(self, filelike: Any, blksize: int = 8192) -> None:
        """filelike: has read(size); its close(), if it has one, is called when the response has
        ended. blksize: bytes of a block.

        Raises TypeError for what can't be read, and ValueError for blocks of no size."""
        if not callable(getattr(filelike, "read", None)):
            raise TypeError(f"a file to send needs a method read(size): {filelike!r}")
        if blksize < 1:
            raise ValueError(f"blksize must be at least 1, not {blksize}")
        self.filelike = filelike
        self.blksize = blksize

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        data = self._read(self.blksize)
        if data is None:
            raise StopIteration
        return data

    def __getattr__(self, name: str) -> Any:
        """seek, tell and seekable, by which Werkzeug finds a range: the file's, if it has them."""
        if name in ("seek", "seekable", "tell"):
            return getattr(self.filelike, name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def close(self) -> None:
        """Closes the file, if that can be."""
        close = getattr(self.filelike, "close", None)
        if close is not None:
            close()

    def blocks(self, most: int | None) -> Iterator[bytes]:
        """The file by the block, and at most so many bytes of it."""
        # No "yield from": a generator that is left calls close() of what it delegates to.
        left = sys.maxsize if most is None else most
        while left > 0:
            data = self._read(min(self.blksize, left))
            if data is None:
                return
            left -= len(data)
            yield data

    def _read(self, size: int) -> bytes | None:
        """A block; None at the end. What has nothing yet, a pipe that does not block, is asked
        again after the others' turn: an empty piece says so (PEP 3333)."""
        data: bytes | None = self.filelike.read(size)
        if data is None:
            return b""
        return data or None

    def descriptor(self) -> tuple[int, int] | None:
        """The descriptor that this reads from and nothing else, and where it stands there, which is
        before what has been read into a buffer; None if there is none."""
        source: Any = self.filelike
        if type(source) is _NAMED:
            source = source.file
        read = source.read
        # A proxy's read is that of another object; and an instance can have one of its own.
        plain: Any = getattr(read, "__self__", None)
        for kind in _PLAIN:
            # Without the type, CPython 3.13 crashes where a method takes its class (FileIO.read).
            if isinstance(plain, kind) and read == kind.read.__get__(plain, type(plain)):
                try:
                    return _place(plain, kind)
                except (OSError, ValueError):  # closed, or a pipe; reading says it better
                    return None
        return None


class ReadFileWrapper(FileWrapper):
    """The same where sendfile(2) is not to be used: every file is read by the block."""

    def descriptor(self) -> tuple[int, int] | None:
        """None."""
        return None


def _place(plain: _Plain, kind: Any) -> tuple[int, int] | None:
    """The descriptor and position of a file whose read() is kind's. What a subclass says of these
    does not count, for its read() does not ask it."""
    if kind is not FileIO and type(kind.raw.__get__(plain, kind)) is not FileIO:
        return None
    if kind is BufferedRandom:
        kind.flush(plain)  # what was written is in the file before it is read
    return kind.fileno(plain), kind.tell(plain)
