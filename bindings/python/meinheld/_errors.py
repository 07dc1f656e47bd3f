"""wsgi.errors: one stream for all requests, that writes where sys.stderr is at the moment."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from contextlib import suppress
from typing import TextIO


class ErrorStream:
    """A text stream with what PEP 3333 wants of one. What an application has to say must not be its
    end: whatever the stream behind it can't take is lost, or has escapes in the place of
    characters that its encoding lacks."""

    __slots__ = ()

    def write(self, text: str, /) -> int:
        """Writes text, at once if a line has ended. Returns its length; TypeError for what is none.
        Without a sys.stderr, as in a daemon, or with one that is closed, nothing comes of it."""
        if not isinstance(text, str):
            raise TypeError(f"wsgi.errors takes str, not {type(text).__name__}")
        for stream in self._streams():
            with suppress(Exception):
                try:
                    stream.write(text)
                except UnicodeEncodeError:
                    stream.write(text.encode("ascii", "backslashreplace").decode("ascii"))
                if "\n" in text:
                    stream.flush()
        return len(text)

    def writelines(self, lines: Iterable[str], /) -> None:
        """Writes each; line ends are the caller's."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Writes what has no line end yet."""
        for stream in self._streams():
            with suppress(Exception):
                stream.flush()

    def _streams(self) -> Iterable[TextIO]:
        """What is behind it now."""
        return (sys.stderr,)


ERRORS = ErrorStream()
