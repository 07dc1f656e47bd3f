"""Responses of every shape that PEP 3333 allows, one a path."""

from __future__ import annotations

import gc
import io
import os
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.validate import validator

from apps import App, Environ, StartResponse, answer, by_path, log

MEBIBYTE = bytes(range(256)) * 4096
TEXT = [("Content-Type", "text/plain")]


def one_piece(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"one piece"]


def pieces(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return [b"", b"several ", b"", b"pieces", b""]


def pieces_with_length(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("Content-Length", "14")])
    return (piece for piece in [b"several ", b"", b"pieces"])


def large_pieces(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Two that are there already, and together are over high water."""
    start_response("200 OK", TEXT)
    return [b"a" * 40_000, b"b" * 40_000]


def nothing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return []


def nothing_generated(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield from ()


def generated(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b""
    for number in range(3):
        yield f"piece {number}\n".encode()
        yield b""


def tuple_of_pieces(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return (b"a", b"b")


def plain_bytes(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", TEXT)
    return b"ab"  # an iterable of int: an error of the app's


def written(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", TEXT)
    write(b"written ")
    write(b"")
    write(b"and ")
    return [b"returned"]


def large(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, MEBIBYTE * 10)


def repeated(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """64 KiB of the query, which no other request has in memory."""
    query = environ["QUERY_STRING"].encode()
    return answer(start_response, query * (65536 // len(query)))


def collected(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Makes a collector move what it can, and fill the place where it was."""
    filler = [bytes([number]) * 65536 for number in range(256)]
    gc.collect()
    return answer(start_response, b"%d" % len(filler))


def large_generated(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    for _ in range(10):
        yield MEBIBYTE


produced = 0


def endless(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    global produced
    start_response("200 OK", TEXT)
    try:
        for _ in range(256):
            produced += 1
            yield MEBIBYTE
    finally:
        log("endless ended")


_calls: set[str] = set()


def empty_until_called(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Nothing but empty pieces, until /call has been asked for with the same query."""
    start_response("200 OK", TEXT)
    try:
        while environ["QUERY_STRING"] not in _calls:
            yield b""
        yield b"called"
    finally:
        log("empty ended")


def call(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    _calls.add(environ["QUERY_STRING"])
    return answer(start_response, b"")


def how_many(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, str(produced).encode())


def no_content(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


def no_content_with_body(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", [("Content-Length", "4")])
    return [b"body"]


def not_modified(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("304 Not Modified", [("ETag", '"x"')])
    return []


def not_modified_with_body(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("304 Not Modified", [("ETag", '"x"')])
    return iter([b"bo", b"dy"])


def too_long(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "4")])
    return [b"1234567"]


def too_long_generated(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "4")])
    return iter([b"123", b"4567", b"89"])


def too_short(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "10")])
    return [b"1234"]


def too_short_generated(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "10")])
    return iter([b"12", b"34"])


def own_fields(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    fields = [
        *TEXT,
        ("Date", "Thu, 01 Jan 1970 00:00:00 GMT"),
        ("Server", "other"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("X-Latin", "caf\xe9"),
        ("X-Empty", ""),
    ]
    start_response("299 Own words, caf\xe9", fields)
    return [b"x"]


class Closing:
    """An iterable that says on stderr when it is closed."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._closed = 0

    def __iter__(self) -> Iterator[bytes]:
        return self._pieces

    def close(self) -> None:
        self._closed += 1
        log(f"closed {self._closed} times")


def closing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return Closing([b"a", b"b"])


def closing_large(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return Closing(MEBIBYTE for _ in range(64))


def written_large(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", TEXT)
    for _ in range(10):
        write(MEBIBYTE)
    return Closing([b"returned"])


class LoggedFile(io.BufferedReader):
    """A file that says on stderr when it is closed."""

    def close(self) -> None:
        if not self.closed:
            log("file closed")
        super().close()


def file(environ: Environ, start_response: StartResponse) -> Any:
    """QUERY_STRING is PATH or PATH,OFFSET."""
    path, _, offset = environ["QUERY_STRING"].partition(",")
    opened = LoggedFile(io.FileIO(path))
    opened.seek(int(offset or 0))
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](opened, 8192)


def file_with_length(environ: Environ, start_response: StartResponse) -> Any:
    opened = LoggedFile(io.FileIO(environ["QUERY_STRING"]))
    length = os.stat(opened.fileno()).st_size
    start_response("200 OK", [("Content-Length", str(length))])
    return environ["wsgi.file_wrapper"](opened)


def part_of_file(environ: Environ, start_response: StartResponse) -> Any:
    """A Content-Length that ends before the file does, as for a range."""
    opened = LoggedFile(io.FileIO(environ["QUERY_STRING"]))
    opened.seek(1000)
    start_response("206 Partial Content", [("Content-Length", "5000")])
    return environ["wsgi.file_wrapper"](opened)


def file_in_memory(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", TEXT)
    return environ["wsgi.file_wrapper"](io.BytesIO(MEBIBYTE), 1000)


APPS: dict[str, App] = {
    "/one-piece": one_piece,
    "/pieces": pieces,
    "/pieces-with-length": pieces_with_length,
    "/large-pieces": large_pieces,
    "/nothing": nothing,
    "/nothing-generated": nothing_generated,
    "/generated": generated,
    "/tuple": tuple_of_pieces,
    "/plain-bytes": plain_bytes,
    "/written": written,
    "/written-large": written_large,
    "/large": large,
    "/repeated": repeated,
    "/collected": collected,
    "/large-generated": large_generated,
    "/endless": endless,
    "/empty-until-called": empty_until_called,
    "/call": call,
    "/how-many": how_many,
    "/no-content": no_content,
    "/no-content-with-body": no_content_with_body,
    "/not-modified": not_modified,
    "/not-modified-with-body": not_modified_with_body,
    "/too-long": too_long,
    "/too-long-generated": too_long_generated,
    "/too-short": too_short,
    "/too-short-generated": too_short_generated,
    "/own-fields": own_fields,
    "/closing": closing,
    "/closing-large": closing_large,
    "/file": file,
    "/file-with-length": file_with_length,
    "/part-of-file": part_of_file,
    "/file-in-memory": file_in_memory,
}
app = by_path(APPS)
validated = by_path({path: validator(one) for path, one in APPS.items()})
