"""Apps that stream, one a path. Those that are gated read the FIFO named by their query between two
pieces, so they go on only when the test has written there: what the test has by then was sent
before."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from apps import App, Environ, StartResponse, answer, by_path, log

TEXT = [("Content-Type", "text/plain")]
LENGTH_6 = [*TEXT, ("Content-Length", "6")]
LENGTH_11 = [*TEXT, ("Content-Length", "11")]
MEBIBYTE = bytes(range(256)) * 4096


def wait(environ: Environ) -> None:
    Path(environ["QUERY_STRING"]).read_bytes()


# ---- gated


def generator(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b"before"
    wait(environ)
    yield b"after"


def with_length(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", LENGTH_11)
    yield b"before"
    wait(environ)
    yield b"after"


def whole(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """The first piece is all of it, but the generator does not end there."""
    start_response("200 OK", LENGTH_6)
    yield b"before"
    wait(environ)


def after_empty(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b""
    yield b"before"
    yield b""
    wait(environ)
    yield b"after"


class Pieces:
    """An iterator by hand."""

    def __init__(self, environ: Environ) -> None:
        self._environ = environ
        self._count = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        self._count += 1
        if self._count == 1:
            return b"before"
        if self._count == 2:
            wait(self._environ)
            return b"after"
        raise StopIteration


def iterator(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return Pieces(environ)


class Indexed:
    """The iterator protocol of Python before 2.2, which PEP 3333 still mentions."""

    def __init__(self, environ: Environ) -> None:
        self._pieces = Pieces(environ)

    def __getitem__(self, key: int) -> bytes:
        try:
            return next(self._pieces)
        except StopIteration:
            raise IndexError from None


def indexed(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", TEXT)
    return Indexed(environ)


def written(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"before")
    wait(environ)
    write(b"after")
    return []


def written_and_yielded(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"before")
    wait(environ)
    yield b"after"


class SlowToClose:
    """All is there at once, but closing it takes until the test allows it."""

    def __init__(self, environ: Environ, pieces: list[bytes]) -> None:
        self._environ = environ
        self._pieces = pieces

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._pieces)

    def close(self) -> None:
        wait(self._environ)
        log("closed")


class SlowToCloseSized(SlowToClose):
    def __len__(self) -> int:
        return len(self._pieces)


def slow_to_close(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return SlowToClose(environ, [b"before", b"after"])


def slow_to_close_with_length(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", LENGTH_6)
    return SlowToClose(environ, [b"before"])


def slow_to_close_sized(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return SlowToCloseSized(environ, [b"before"])


def slow_to_close_empty(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return SlowToClose(environ, [])


def step_by_step(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """A piece each time that the test allows it."""
    start_response("200 OK", TEXT)
    try:
        while True:
            yield b"piece"
            log("asked")
            wait(environ)
    finally:
        log("ended")


# ---- large


made = 0


def endless(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Pieces of as many bytes as the query says, counted."""
    global made
    piece = bytes(int(environ["QUERY_STRING"]))
    start_response("200 OK", TEXT)
    while True:
        made += 1
        yield piece


def how_many(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    gc.collect()  # PyPy frees what nobody refers to any more when it collects, and not before
    return answer(start_response, b"%d" % made)


def one_large_piece(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """100 MiB, in the way that the query says."""
    piece = b"x" * (100 * 1024 * 1024)
    write = start_response("200 OK", TEXT)
    how = environ["QUERY_STRING"]
    if how == "list":
        return [piece]
    if how == "several":
        return [b"x", piece]
    if how == "generator":
        return (item for item in [piece])
    if how == "sized":
        return {piece: None}
    write(piece)
    return []


def unlike(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Eight pieces of as many bytes as the query says, each unlike all others, which nobody else
    holds."""
    size, _, name = environ["QUERY_STRING"].partition(",")
    start_response("200 OK", TEXT)
    for number in range(8):
        text = f"{name}{number:07}".encode()
        yield (text * (int(size) // len(text) + 1))[: int(size)]


def collected(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Makes a collector move what it can, and fill the place where it was."""
    filler = [bytes([number]) * 65536 for number in range(256)]
    gc.collect()
    return answer(start_response, b"%d" % len(filler))


def cut(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """A large piece that is longer than what was announced."""
    start_response("200 OK", [*TEXT, ("Content-Length", "100000")])
    yield b"x"
    yield MEBIBYTE
    log("asked too much")


APPS: dict[str, App] = {
    "/generator": generator,
    "/with-length": with_length,
    "/whole": whole,
    "/after-empty": after_empty,
    "/iterator": iterator,
    "/indexed": indexed,
    "/written": written,
    "/written-and-yielded": written_and_yielded,
    "/slow-to-close": slow_to_close,
    "/slow-to-close-with-length": slow_to_close_with_length,
    "/slow-to-close-sized": slow_to_close_sized,
    "/slow-to-close-empty": slow_to_close_empty,
    "/step-by-step": step_by_step,
    "/endless": endless,
    "/how-many": how_many,
    "/one-large-piece": one_large_piece,
    "/unlike": unlike,
    "/collected": collected,
    "/cut": cut,
}
app = by_path(APPS)
