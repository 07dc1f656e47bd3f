"""Reads request bodies in every way that PEP 3333 names; answers the bytes or their digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from wsgiref.validate import validator

from apps import App, Environ, StartResponse, answer, by_path


def _pieces(environ: Environ, size: int) -> Iterator[bytes]:
    while piece := environ["wsgi.input"].read(size):
        yield piece


def digest(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    total = 0
    sha = hashlib.sha256()
    for piece in _pieces(environ, 65536):
        total += len(piece)
        sha.update(piece)
    return answer(start_response, f"{total} {sha.hexdigest()}".encode())


def read_all(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    assert environ["wsgi.input"].read() == b""
    assert environ["wsgi.input"].read(1) == b""
    return answer(start_response, body)


def read_minus_one(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, environ["wsgi.input"].read(-1))


def read_zero(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    assert environ["wsgi.input"].read(0) == b""
    return answer(start_response, environ["wsgi.input"].read())


def read_small(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, b"".join(_pieces(environ, 3)))


def _as_json(start_response: StartResponse, lines: Iterable[bytes]) -> Iterable[bytes]:
    return answer(start_response, json.dumps([line.decode("latin-1") for line in lines]).encode())


def readline(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _as_json(start_response, iter(environ["wsgi.input"].readline, b""))


def readline_sized(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _as_json(start_response, iter(lambda: environ["wsgi.input"].readline(3), b""))


def readlines(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _as_json(start_response, environ["wsgi.input"].readlines())


def readlines_hint(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _as_json(start_response, environ["wsgi.input"].readlines(1))


def iterate(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return _as_json(start_response, environ["wsgi.input"])


_buffers = []


def keep_buffer(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    _buffers.append(environ["wsgi.input"].getbuffer())
    return answer(start_response, b"kept")


def detach(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    with environ["wsgi.input"].detach() as raw:
        return answer(start_response, raw.read(4))


def ignore(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, b"not read")


APPS: dict[str, App] = {
    "/digest": digest,
    "/read": read_all,
    "/read-minus-one": read_minus_one,
    "/read-zero": read_zero,
    "/read-small": read_small,
    "/readline": readline,
    "/readline-sized": readline_sized,
    "/readlines": readlines,
    "/readlines-hint": readlines_hint,
    "/iterate": iterate,
    "/ignore": ignore,
    "/keep-buffer": keep_buffer,
    "/detach": detach,
}
app = by_path(APPS)


def _typed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = b"".join(_pieces(environ, 100))
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    return [body[:2], body[2:]]


validated = validator(_typed)
