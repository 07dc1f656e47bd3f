"""The access log: where its lines go, and what those take that are made in Python.

Lines in the combined format and in JSON are made by the C half, of which nothing is seen here. A
%-format and an access logger take environ: Ends keeps it, with the response, from the call of the
application until MHPY_ENDED. Without them nothing here takes part in a request."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, Protocol, Union, cast

from greenlet import GreenletExit

from meinheld._environ import Environ, field_key, unescape
from meinheld._logformat import RAW_LINE, Entry, Format, local_time
from meinheld._loop import Loop
from meinheld._native import lib
from meinheld._response import ErrorLog, ExcInfo, Response

App = Callable[[Environ, Any], Iterable[bytes]]

File = Union[str, "os.PathLike[str]", int]

# The formats of the C half.
_NATIVE: Final = {"combined": lib.MH_ACCESS_COMBINED, "json": lib.MH_ACCESS_JSON}

_STDOUT: Final = 1


class AccessLog(NamedTuple):
    """What set_access_log() sets: a file, and how its lines are made."""

    file: File
    native: int  # MH_ACCESS_*
    format: Format | None  # of lines that are made in Python

    def open(self) -> OpenLog:
        """Opens the file, for one run. Raises OSError."""
        if isinstance(self.file, int):
            return OpenLog(self, self.file, owned=False)
        if self.file == "-":
            return OpenLog(self, _STDOUT, owned=False)
        return OpenLog(self, _open(self.file), owned=True)


def parse_format(format: str) -> tuple[int, Format | None]:
    """MH_ACCESS_*, and what makes its lines if that is Python. Raises ValueError naming format."""
    native = _NATIVE.get(format, lib.MH_ACCESS_LINES)
    if native != lib.MH_ACCESS_LINES:
        return native, None
    if "%(" not in format:
        raise ValueError(f"access log format {format!r}: neither combined, json, nor a %-format")
    return native, Format(format)


def access_log(file: File, format: str) -> AccessLog:
    """An access log, whose file has been tried.

    Raises OSError naming the file, TypeError, and ValueError for a format that is none."""
    native, made = parse_format(format)
    if isinstance(file, bool) or not isinstance(file, (str, os.PathLike, int)):
        raise TypeError(f"an access log's file must be a path or a descriptor, not {file!r}")
    log = AccessLog(file, native, made)
    opened = log.open()
    try:
        os.fstat(opened.fd)
    except (OSError, OverflowError):  # what is opened next would get its number, and the lines
        raise OSError(errno.EBADF, f"descriptor {opened.fd} is not open") from None
    finally:
        opened.close()
    return log


def _open(path: str | os.PathLike[str]) -> int:
    """For appending; a fifo without a reader is an error, not waited for."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    return os.open(path, flags, 0o644)


class OpenLog:
    """The file of an access log, while a run writes to it."""

    def __init__(self, log: AccessLog, fd: int, owned: bool) -> None:
        """owned: fd is to be closed."""
        self.log = log
        self.fd = fd
        self._owned = owned

    def reopen(self) -> None:
        """Goes on with a new file of that name, where the old one has been moved away. The
        descriptor stays, so a run that uses it need not be told. Raises OSError."""
        if self._owned:
            new = _open(cast(str, self.log.file))
            try:
                os.dup2(new, self.fd, inheritable=False)
            finally:
                os.close(new)

    def close(self) -> None:
        """Closes the file, if it was opened here. A second call has no effect."""
        if self._owned:
            self._owned = False
            os.close(self.fd)


def _environ_of(texts: list[str]) -> Environ:
    """What a logger may want to know of a request by the pieces of MHPY_SERVED."""
    address, port, method, target, path, query, protocol, *fields = texts
    environ = {
        "REMOTE_ADDR": address,
        "REMOTE_PORT": port,
        "REQUEST_METHOD": method,
        "RAW_URI": target,
        "REQUEST_URI": target,
        "SCRIPT_NAME": "",
        "PATH_INFO": unescape(path),
        "QUERY_STRING": query,
        "SERVER_PROTOCOL": protocol,
    }
    for name, value in zip(fields[::2], fields[1::2]):
        key = field_key(name)
        if key in environ:
            environ[key] += ("; " if key == "HTTP_COOKIE" else ",") + value
        elif key is not None:
            environ[key] = value
    return environ


class End(NamedTuple):
    """The end of a request."""

    environ: Environ  # the application's
    response: Response | None  # None: the application was never called, or it is a static file
    status: int
    sent: int  # bytes of the body, as the kernel has taken them
    taken_us: int


class Observer(Protocol):
    """Who hears of the end of each request."""

    def ended(self, end: End) -> None:
        """A request has ended. What this raises is logged."""


class Ends:
    """Tells of the ends of one loop's requests: an access logger, a %-format, an observer."""

    def __init__(
        self,
        errors: ErrorLog,
        access: Callable[[Environ], object] | None,
        format: Format | None,
        observer: Observer | None = None,
    ) -> None:
        """errors: hears of a logger that fails."""
        self._errors = errors
        self._access = access
        self._format = format
        self._observer = observer
        # The response is put in later, perhaps by another thread, when this may have been told.
        self._open: dict[int, tuple[Environ, list[Response]]] = {}
        self._copies = False  # environ is another thread's, which may still be at it
        self._second = -1  # that _time is of
        self._time = ""

    def attach(self, loop: Loop) -> None:
        """The loop that runs it; to be called before that runs."""
        self._loop = loop

    def begin(self, name: int, environ: Environ) -> None:
        """A request has come for which the application may never be called."""
        self._open[name] = environ, []

    def wrap(self, app: App) -> App:
        """app, with each of its requests seen on its way."""
        begun = self._open

        def seen(environ: Environ, start_response: Any) -> Iterable[bytes]:
            response: Response = start_response.__self__
            begun[response.name] = environ, [response]
            return app(environ, start_response)

        return seen

    def follow(self, app: App) -> App:
        """The same for an app that runs in other threads, of which each request has been begun."""
        begun = self._open
        self._copies = True

        def seen(environ: Environ, start_response: Any) -> Iterable[bytes]:
            response: Response = start_response.__self__
            known = begun.get(response.name)  # it may have ended already
            if known is not None:
                known[1].append(response)
            return app(environ, start_response)

        return seen

    def names(self) -> list[int]:
        """The requests that have not ended."""
        return list(self._open)

    def ended(self, name: int, status: int, sent: int, taken_us: int) -> None:
        """A request has ended."""
        known = self._open.pop(name, None)
        if known is None:
            return  # its head did not come in the right number of pieces
        environ, responses = known
        self._tell(environ, responses, status, sent, taken_us)

    def served(self, texts: list[str], status: int, sent: int, taken_us: int) -> None:
        """A request has ended that no application has seen."""
        self._tell(_environ_of(texts), [], status, sent, taken_us)

    def _tell(
        self, environ: Environ, responses: list[Response], status: int, sent: int, taken_us: int
    ) -> None:
        if self._copies:  # a key that is added breaks off whoever iterates over it
            environ = environ.copy()
        if self._observer is not None:
            end = End(environ, responses[0] if responses else None, status, sent, taken_us)
            self._guard(self._observer.ended, end)
        time = self._now()
        if self._format is not None:
            told = self._format.tells_headers and responses
            headers = responses[0].headers() if told else ()
            self._guard(self._write, Entry(environ, headers, status, sent, taken_us, time))
        if self._access is not None:
            environ["STATUS_CODE"] = status
            environ["SEND_BYTES"] = sent
            environ["REQUEST_TIME"] = taken_us // 1000
            environ["LOCAL_TIME"] = time
            self._guard(self._access, environ)

    def refused(self, texts: list[str], status: int, sent: int, taken_us: int) -> None:
        """A request was refused before it had an environ: it has RAW_LINE instead."""
        address, port, *line = texts
        environ: Environ = {"REMOTE_ADDR": address, "REMOTE_PORT": port, RAW_LINE: "\0".join(line)}
        if self._observer is not None:
            end = End(environ, None, status, sent, taken_us)
            self._guard(self._observer.ended, end)
        if self._format is not None:
            self._guard(self._write, Entry(environ, (), status, sent, taken_us, self._now()))

    def _write(self, entry: Entry) -> None:
        assert self._format is not None
        line = self._format.line(entry).encode("ascii", "backslashreplace")
        lib.mhpy_log_line(self._loop.hub, line, len(line))

    def _guard(self, function: Callable[[Any], object], argument: object) -> None:
        """Calls function; what it raises goes to the error log, but for what is meant for run()."""
        try:
            function(argument)
        except (KeyboardInterrupt, SystemExit, GreenletExit):
            raise
        except BaseException:
            self._errors("the access log failed", cast(ExcInfo, sys.exc_info()))

    def _now(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._second = now
            self._time = local_time(now)
        return self._time
