"""Iterables that say on stderr when they are closed, one a path: each ends in another way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from meinheld import server

from apps import App, Environ, StartResponse, answer, by_path, log

TEXT = [("Content-Type", "text/plain")]
PIECE = bytes(65536)


class Closing:
    """Hands on the iterator of pieces, and says when it is closed."""

    def __init__(self, pieces: Any) -> None:
        self._pieces = pieces
        self._closed = 0

    def __iter__(self) -> Any:
        return iter(self._pieces)

    def close(self) -> None:
        self._closed += 1
        log(f"closed {self._closed} times")


class ClosingSized(Closing):
    """One that knows its length."""

    def __len__(self) -> int:
        return len(self._pieces)


class ClosingBadly(Closing):
    """One whose close() fails."""

    def close(self) -> None:
        super().close()
        raise ValueError("in close")


class NoIterator(Closing):
    """One whose __iter__ returns what is no iterator."""

    def __iter__(self) -> Any:
        return 1


class BadIter(Closing):
    """One whose __iter__ fails."""

    def __iter__(self) -> Any:
        raise ValueError("in __iter__")


def endless() -> Iterator[bytes]:
    while True:
        yield PIECE


begun: list[str] = []


def empties() -> Iterator[bytes]:
    begun.append("empties")
    while True:
        yield b""


def then_fail(*pieces: bytes, error: BaseException | None = None) -> Iterator[bytes]:
    yield from pieces
    raise error or ValueError("in the iteration")


def starting_badly(start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("X", "a\nb")])
    yield b"never sent"


def stubborn() -> Iterator[bytes]:
    """A generator that does not end when it is closed."""
    try:
        while True:
            yield PIECE
    except GeneratorExit:
        log("closed 1 times")
        yield b"more"


LENGTH_4 = [*TEXT, ("Content-Length", "4")]

# What is returned after start_response with these headers, for each path.
RESULTS: dict[str, tuple[list[tuple[str, str]], Any]] = {
    "/complete": (TEXT, lambda: Closing([b"a", b"b"])),
    "/complete-in-one": (LENGTH_4, lambda: Closing([b"1234"])),
    "/sized": (TEXT, lambda: ClosingSized([b"1234"])),
    "/nothing": (TEXT, lambda: Closing([])),
    "/nothing-but-empty": (TEXT, lambda: Closing([b"", b""])),
    "/endless": (TEXT, lambda: Closing(endless())),
    "/empties": (TEXT, lambda: Closing(empties())),
    "/fails-first": (TEXT, lambda: Closing(then_fail())),
    "/fails-later": (TEXT, lambda: Closing(then_fail(b"a"))),
    "/fails-after-its-length": (LENGTH_4, lambda: Closing(then_fail(b"1234"))),
    "/fails-twice": (TEXT, lambda: ClosingBadly(then_fail(b"a"))),
    "/exits": (TEXT, lambda: Closing(then_fail(b"a", error=SystemExit(3)))),
    "/exits-and-fails": (TEXT, lambda: ClosingBadly(then_fail(b"a", error=SystemExit(3)))),
    "/text-piece": (TEXT, lambda: Closing([b"a", "text"])),
    "/too-long": (LENGTH_4, lambda: Closing([b"12", b"345", b"6"])),
    "/too-long-at-once": (LENGTH_4, lambda: Closing([b"1234", b"5", b"6"])),
    "/too-short": (LENGTH_4, lambda: Closing([b"12"])),
    "/bad-iter": (TEXT, lambda: BadIter([])),
    "/no-iterator": (TEXT, lambda: NoIterator([])),
    "/closes-badly": (TEXT, lambda: ClosingBadly([b"a", b"b"])),
    "/endless-closes-badly": (TEXT, lambda: ClosingBadly(endless())),
    "/stubborn": (TEXT, stubborn),
}


def _app(path: str) -> App:
    headers, make = RESULTS[path]

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        start_response("200 OK", headers)
        result: Iterable[bytes] = make()
        return result

    return app


def never_started(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return Closing([b"a"])


def started_badly(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return Closing(starting_badly(start_response))


def no_content(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return Closing(endless())


def written(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Writes until its client has gone, and then goes on for a while."""
    write = start_response("200 OK", TEXT)
    for _ in range(1000):
        write(PIECE)
    return Closing([b"returned"])


def stop(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    server.shutdown()
    server.shutdown()  # does not wait for those who are open
    return answer(start_response, b"never sent")


def well(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, b"well")


def count_begun(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Of those that send nothing, how many have begun."""
    return answer(start_response, str(len(begun)).encode())


app = by_path(
    {
        **{path: _app(path) for path in RESULTS},
        "/never-started": never_started,
        "/started-badly": started_badly,
        "/no-content": no_content,
        "/written": written,
        "/stop": stop,
        "/begun": count_begun,
        "/well": well,
    }
)
