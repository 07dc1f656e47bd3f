"""Reads wsgi.input as the query says, keeps it for others, meets its errors; what comes of it is
the answer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

from greenlet import greenlet

from apps import App, Environ, StartResponse, answer, by_path, log

Calls = list[tuple[str, str]]


def call_all(file: Any, calls: Calls) -> list[object]:
    """What the methods of file give, one after another; JSON says the same of a file's bytes
    wherever it was read."""

    def plain(value: object) -> object:
        if isinstance(value, list):
            return [plain(item) for item in value]
        return value.decode("latin-1") if isinstance(value, (bytes, bytearray)) else value

    def call(method: str, argument: str) -> object:
        if method == "next":
            return next(file, None)
        if method == "iterate":
            return list(file)
        if method == "readinto":
            room = bytearray(int(argument))
            return room[: file.readinto(room)]
        arguments = [] if not argument else [None if argument == "None" else int(argument)]
        return getattr(file, method)(*arguments)

    return [plain(call(method, argument)) for method, argument in calls]


def calls(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    listed = parse_qsl(environ["QUERY_STRING"], keep_blank_values=True)
    results = call_all(environ["wsgi.input"], listed)
    return answer(start_response, json.dumps(results).encode())


def told(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """What environ says of the body, before it is read."""
    keys = ("CONTENT_LENGTH", "wsgi.input_terminated", "HTTP_TRANSFER_ENCODING")
    return answer(start_response, json.dumps([environ.get(key) for key in keys]).encode())


def refuse(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Says so without reading."""
    start_response("403 Forbidden", [("Content-Length", "2")])
    return [b"no"]


def attempt(read: Callable[[], object]) -> str:
    """What comes of it, in one line."""
    try:
        return repr(read())
    except BaseException as exc:
        return f"{type(exc).__name__}: {exc}"


def caught(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Reads to the end in steps of a few bytes, and then on; tells of it in the log, for the client
    may have left, and in the answer."""
    log("reads")
    body = environ["wsgi.input"]
    line = ""
    while not line.startswith(("b''", "Err", "OSE", "Con", "Time")):
        line = attempt(lambda: body.read(3))
    again = [attempt(call) for call in (body.read, body.readline, lambda: body.read(1))]
    log("\n".join([f"read: {line}", *again]))
    return answer(start_response, line.encode())


def let_through(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    log("reads")
    try:
        return answer(start_response, environ["wsgi.input"].read())
    finally:
        log("read")


def let_through_late(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [])
    yield b"begun"
    yield environ["wsgi.input"].read()


def own_error(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """An OSError, but not of reading."""
    environ["wsgi.input"].read(1)
    raise OSError(5, "on purpose")


def echo(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Answers each line as soon as it has come."""
    start_response("200 OK", [])
    yield from environ["wsgi.input"]


def size(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Reads piece by piece, and keeps none."""
    total = 0
    while piece := environ["wsgi.input"].read(65536):
        total += len(piece)
    return answer(start_response, str(total).encode())


# ---- inputs in other hands

kept: list[Any] = []


def keep(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    kept[:] = [environ["wsgi.input"]]
    return answer(start_response, environ["wsgi.input"].read())


def read_kept(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, attempt(kept[0].read).encode())


def read_kept_raw(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, attempt(lambda: kept[0].raw.read(1)).encode())


def take_apart(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raw = environ.pop("wsgi.input").detach()
    data = raw.read(3)
    raw.close()
    return answer(start_response, data)


def tell_then_read(environ: Environ, start_response: StartResponse, told: str) -> Iterator[bytes]:
    """Tells something at once, and then the body."""
    first = told.encode() + b" "
    length = len(first) + int(environ["CONTENT_LENGTH"])
    start_response("200 OK", [("Content-Length", str(length))])
    yield first
    yield environ["wsgi.input"].read()


def in_thread(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    results: list[str] = []
    read = environ["wsgi.input"].read
    thread = threading.Thread(target=lambda: results.append(attempt(read)))
    thread.start()
    thread.join()
    return tell_then_read(environ, start_response, results[0])


def in_greenlet(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    read = environ["wsgi.input"].read
    told = greenlet(lambda: attempt(read)).switch()
    return tell_then_read(environ, start_response, told)


APPS: dict[str, App] = {
    "/calls": calls,
    "/caught": caught,
    "/echo": echo,
    "/in-greenlet": in_greenlet,
    "/in-thread": in_thread,
    "/keep": keep,
    "/let-through": let_through,
    "/let-through-late": let_through_late,
    "/own-error": own_error,
    "/read-kept": read_kept,
    "/read-kept-raw": read_kept_raw,
    "/refuse": refuse,
    "/size": size,
    "/take-apart": take_apart,
    "/told": told,
}
app = by_path(APPS)
