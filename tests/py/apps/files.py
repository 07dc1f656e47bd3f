"""Files through wsgi.file_wrapper, in every shape that an application may hand over.

A query is PATH, or NAME=VALUE pairs. What is closed says so on stderr, once each time.
"""

from __future__ import annotations

import gzip
import io
import os
import resource
import socket
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from contextvars import ContextVar
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile as Spooled
from typing import Any
from urllib.parse import parse_qsl

from apps import App, Environ, StartResponse, answer, by_path, log

TEXT = [("Content-Type", "text/plain")]


def opened(path: str, mode: str = "rb", buffering: int = -1) -> Any:
    """What open() returns."""
    return open(path, mode, buffering)


class Logged:
    """A file that says on stderr each time it is closed."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.read = file.read  # the file's own

    def close(self) -> None:
        log("closed")
        self._file.close()


class LoggedReader(io.BufferedReader):
    """The same as a subclass that changes nothing of its reading."""

    def close(self) -> None:
        if not self.closed:
            log("closed")
        super().close()


# ---- kinds of files ------------------------------------------------------------------------------


class Shouting(io.BufferedReader):
    """Reads otherwise than its descriptor."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(size).upper()


class ShoutingRaw(io.FileIO):
    def readinto(self, buffer: Any, /) -> int:
        block = (self.read(len(buffer)) or b"").upper()
        buffer[: len(block)] = block
        return len(block)


class Liar:
    """Has the descriptor of something else."""

    def __init__(self, path: str) -> None:
        self._content = io.BytesIO(Path(path).read_bytes())
        self._other = opened("/proc/version")
        self.fileno = self._other.fileno

    def read(self, size: int) -> bytes:
        return self._content.read(size)

    def close(self) -> None:
        self._other.close()


class ReadAlone:
    """All that PEP 3333 asks for."""

    def __init__(self, path: str) -> None:
        self._content = io.BytesIO(Path(path).read_bytes())

    def read(self, size: int) -> bytes:
        return self._content.read(size)


class Refusing(io.BytesIO):
    def fileno(self) -> int:
        raise OSError("no descriptor for anybody")


def filled(make: Callable[[], Any], path: str) -> Any:
    """A temporary file with the content of another: written, maybe not flushed, and wound back."""
    file = make()
    file.write(Path(path).read_bytes())
    file.seek(0)
    return file


def written_behind(path: str) -> Any:
    """What has been written is still in its buffer."""
    content = Path(path).read_bytes()
    with open(path + ".written", "wb") as file:
        file.write(content[:-10] + b"0123456789")
    random = opened(path + ".written", "r+b")
    random.seek(len(content) - 10)
    random.write(content[-10:])
    random.seek(0)
    return random


def appended(path: str) -> Any:
    file = opened(path, "a+b")
    file.seek(0)
    return file


def shouted(path: str) -> Any:
    file = opened(path)
    read = file.read
    file.read = lambda size: read(size).upper()
    return file


def pipe(path: str) -> Any:
    reading, writing = os.pipe()
    content = Path(path).read_bytes()[:60_000]  # as much as fits
    os.write(writing, content)
    os.close(writing)
    return open(reading, "rb")


def over_socket(path: str) -> Any:
    ours, theirs = socket.socketpair()
    with theirs:
        theirs.sendall(Path(path).read_bytes()[:60_000])
    with ours:
        return ours.makefile("rb")


def zip_member(path: str) -> Any:
    with zipfile.ZipFile(path + ".zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "member")
    return zipfile.ZipFile(path + ".zip").open("member")


def gzipped(path: str) -> Any:
    with gzip.open(path + ".gz", "wb") as file:
        file.write(Path(path).read_bytes())
    return gzip.open(path + ".gz")


class Field:
    """Passes a file's methods on, as Django's File does."""

    def __init__(self, file: Any) -> None:
        self._file = file

    read = property(lambda self: self._file.read)
    fileno = property(lambda self: self._file.fileno)
    close = property(lambda self: self._file.close)


# Whether each is sent by its descriptor, and how it is made of a path.
KINDS: dict[str, tuple[bool, Callable[[str], Any]]] = {
    "buffered": (True, opened),
    "unbuffered": (True, lambda path: opened(path, "rb", 0)),
    "random": (True, lambda path: opened(path, "r+b")),
    "appended": (True, appended),
    "temporary": (True, lambda path: filled(tempfile.TemporaryFile, path)),
    "named temporary": (True, lambda path: filled(tempfile.NamedTemporaryFile, path)),
    "written behind": (True, written_behind),
    "a field": (True, lambda path: Field(opened(path))),
    "a subclass that logs": (True, lambda path: LoggedReader(io.FileIO(path))),
    "a proxy": (True, lambda path: Logged(opened(path))),
    "spooled in memory": (False, lambda path: filled(partial(Spooled, 2**30), path)),
    "spooled to a file": (False, lambda path: filled(partial(Spooled, 1), path)),
    "in memory": (False, lambda path: io.BytesIO(Path(path).read_bytes())),
    "read alone": (False, ReadAlone),
    "a liar": (False, Liar),
    "without a descriptor": (False, lambda path: Refusing(Path(path).read_bytes())),
    "a zip member": (False, zip_member),
    "gzip": (False, gzipped),
    "a pipe": (False, pipe),
    "a socket": (False, over_socket),
    "shouting": (False, lambda path: Shouting(io.FileIO(path))),
    "shouting at its bottom": (False, lambda path: io.BufferedReader(ShoutingRaw(path))),
    "shouting by itself": (False, shouted),
}

# What can't be read as bytes: each is an error of the application's.
UNREADABLE: dict[str, Callable[[str], Any]] = {
    "text": lambda path: opened(path, "r"),
    "for writing": lambda path: opened(path + ".new", "wb"),
    "a place": lambda path: os.fdopen(os.open(path, os.O_PATH), "rb"),
    "no file": lambda path: object(),
}


def closed(path: str) -> Any:
    with open(path, "rb") as file:
        return file


UNREADABLE["closed"] = closed


def _query(environ: Environ) -> dict[str, str]:
    return dict(parse_qsl(environ["QUERY_STRING"]))


def kind(environ: Environ, start_response: StartResponse) -> Any:
    query = _query(environ)
    make = UNREADABLE.get(query["kind"]) or KINDS[query["kind"]][1]
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](make(query["path"]), 1000)


# ---- what is said of a file ----------------------------------------------------------------------


def a_file(environ: Environ, start_response: StartResponse) -> Any:
    """path; status, length, offset, and kind as above. It says when it is closed."""
    query = _query(environ)
    file = KINDS[query.get("kind", "buffered")][1](query["path"])
    file.seek(int(query.get("offset", 0)))
    fields = [(name[2:], value) for name, value in query.items() if name.startswith("X-")]
    if "length" in query:
        fields.append(("Content-Length", query["length"]))
    start_response(query.get("status", "200 OK"), fields)
    return environ["wsgi.file_wrapper"](Logged(file))


def half_read(environ: Environ, start_response: StartResponse) -> Any:
    """Ten bytes were read, through a buffer that took many more."""
    file = opened(_query(environ)["path"])
    file.read(10)
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](file)


def written_before(environ: Environ, start_response: StartResponse) -> Any:
    write = start_response("200 OK", [])
    write(b"written,")
    return environ["wsgi.file_wrapper"](Logged(opened(_query(environ)["path"])))


def wrapped_again(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """A middleware changes what it has read."""
    result = environ["wsgi.file_wrapper"](opened(_query(environ)["path"]))
    start_response("200 OK", [])
    try:
        for piece in result:
            yield piece.upper()
    finally:
        result.close()


def sought(environ: Environ, start_response: StartResponse) -> Any:
    """A middleware seeks in it, as Werkzeug does for a range."""
    result = environ["wsgi.file_wrapper"](opened(_query(environ)["path"]))
    assert result.seekable() and not hasattr(result, "write")
    result.seek(100)
    assert result.tell() == 100
    start_response("200 OK", [])
    return result


def not_started(environ: Environ, start_response: StartResponse) -> Any:
    return environ["wsgi.file_wrapper"](Logged(opened(_query(environ)["path"])))


def started_badly(environ: Environ, start_response: StartResponse) -> Any:
    with suppress(ValueError):
        start_response("200 OK", [("Transfer-Encoding", "chunked")])
    return environ["wsgi.file_wrapper"](Logged(opened(_query(environ)["path"])))


def no_descriptor_left(environ: Environ, start_response: StartResponse) -> Any:
    """The process may open no more when the file is to be sent."""
    file = opened(_query(environ)["path"])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))

    class Restoring(Logged):
        def close(self) -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            super().close()

    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](Restoring(file))


# ---- what happens while it is sent ---------------------------------------------------------------

_given: list[Any] = []


def given_away(environ: Environ, start_response: StartResponse) -> Any:
    """Kept, so that /taken-back can close it while it is being sent."""
    _given.append(opened(_query(environ)["path"]))
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](_given[-1])


def taken_back(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Closes it, and opens another file under its number."""
    number = _given[-1].fileno()
    _given[-1].close()
    other = os.open(_query(environ)["path"], os.O_RDONLY)
    _given.append(other)
    return answer(start_response, b"same" if other == number else b"another")


class Failing(Logged):
    def close(self) -> None:
        super().close()
        raise OSError("closing failed on purpose")


def fails_to_close(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](Failing(opened(_query(environ)["path"])))


class Interrupting(Logged):
    def close(self) -> None:
        super().close()
        raise KeyboardInterrupt


def interrupts(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](Interrupting(opened(_query(environ)["path"])))


_asked: ContextVar[str] = ContextVar("asked", default="nobody")


class Asking(Logged):
    def close(self) -> None:
        log(f"closed for {_asked.get()}")
        self._file.close()


def in_context(environ: Environ, start_response: StartResponse) -> Any:
    """Its close() sees the context variables that its request has set."""
    query = _query(environ)
    assert _asked.get() == "nobody"
    _asked.set(query["name"])
    start_response("200 OK", [])
    return environ["wsgi.file_wrapper"](Asking(opened(query["path"])))


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, b"hello")


APPS: dict[str, App] = {
    "/kind": kind,
    "/file": a_file,
    "/half-read": half_read,
    "/written-before": written_before,
    "/wrapped-again": wrapped_again,
    "/sought": sought,
    "/not-started": not_started,
    "/started-badly": started_badly,
    "/no-descriptor-left": no_descriptor_left,
    "/given-away": given_away,
    "/taken-back": taken_back,
    "/fails-to-close": fails_to_close,
    "/interrupts": interrupts,
    "/in-context": in_context,
    "/hello": hello,
}
app = by_path(APPS)
