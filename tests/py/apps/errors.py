"""Apps that fail, one a path, each in one way that a server must survive."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from apps import App, Environ, StartResponse, answer, by_path

TEXT = [("Content-Type", "text/plain")]


def before(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise ValueError("before start_response")


def cancelled(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise asyncio.CancelledError("of a task of the application's own")


def generator_exit(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise GeneratorExit("out of place")


def after_start(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    raise ValueError("after start_response")


def first_piece(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    if environ["PATH_INFO"]:
        raise ValueError("before the first piece")
    yield b"never sent"


def second_piece(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b"first"
    raise ValueError("after the first piece")


def second_piece_with_length(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Length", "10")])
    yield b"first"
    raise ValueError("after the first piece")


def after_write(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)(b"first")
    raise ValueError("after write")


def pieces_without_memory(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Pieces until no copy can be made of one. They are small, or they would be lent."""
    start_response("200 OK", TEXT)
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + 16 * 1024 * 1024, limits[1]))
    piece = bytes(60_000)
    try:
        while True:
            yield piece
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)


class BadClose:
    def __iter__(self) -> Iterator[bytes]:
        return iter([b"all of it"])

    def close(self) -> None:
        raise ValueError("in close")


def in_close(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "9")])
    return BadClose()


def never_started(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return [b"a body without a head"]


def never_started_empty(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return []


def returns_none(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", TEXT)
    return None


def text_piece(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", TEXT)
    return ["text"]


def exits(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    sys.exit(3)


def interrupted(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise KeyboardInterrupt


def logs(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    environ["wsgi.errors"].write("to wsgi.errors, caf\xe9 \u2713\n")
    environ["wsgi.errors"].writelines(["line 1\n", "line 2\n"])
    environ["wsgi.errors"].flush()
    print("printed", file=environ["wsgi.errors"])
    return answer(start_response, b"logged")


def logs_a_line(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    environ["wsgi.errors"].write("a line\n")
    return answer(start_response, b"logged")


def logs_wrongly(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    what: dict[str, Any] = {"bytes": b"text\n", "none": None, "int": 1}
    environ["wsgi.errors"].write(what[environ["QUERY_STRING"]])
    return answer(start_response, b"logged")


def replace_stderr(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """A file that is buffered by the block takes its place."""
    sys.stderr = open(environ["QUERY_STRING"], "w")  # noqa: SIM115 - as long as the server runs
    return answer(start_response, b"replaced")


def cleared(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    environ.clear()
    raise ValueError("after clearing environ")


class NoText:
    """What no message can be made of."""

    def __str__(self) -> str:
        raise ValueError("in __str__")


def spoilt(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    environ["REQUEST_METHOD"] = environ["RAW_URI"] = NoText()
    raise ValueError("after spoiling environ")


def cleared_and_short(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    environ.clear()
    start_response("200 OK", [("Content-Length", "1")])
    return [b"too long"]


APPS: dict[str, App] = {
    "/cleared": cleared,
    "/spoilt": spoilt,
    "/cleared-and-short": cleared_and_short,
    "/before": before,
    "/cancelled": cancelled,
    "/generator-exit": generator_exit,
    "/after-start": after_start,
    "/first-piece": first_piece,
    "/second-piece": second_piece,
    "/second-piece-with-length": second_piece_with_length,
    "/pieces-without-memory": pieces_without_memory,
    "/after-write": after_write,
    "/in-close": in_close,
    "/never-started": never_started,
    "/never-started-empty": never_started_empty,
    "/none": returns_none,
    "/text-piece": text_piece,
    "/exits": exits,
    "/interrupted": interrupted,
    "/logs": logs,
    "/logs-a-line": logs_a_line,
    "/logs-wrongly": logs_wrongly,
    "/replace-stderr": replace_stderr,
    "/well": lambda environ, start_response: answer(start_response, b"well"),
}
app = by_path(APPS)
