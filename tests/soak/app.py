"""The application under soak: a path for each thing that clients.py does to a server, and two by
which the driver looks at it. /open says what is open, /counts what is alive once all that can be
given back has been."""

from __future__ import annotations

import gc
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from typing import Any

from apps import App, Environ, StartResponse, answer, by_path
from apps.bodies import digest
from apps.responses import MEBIBYTE
from greenlet import greenlet
from meinheld import _tasks
from meinheld._loop import Loop
from meinheld._native import ffi, lib
from meinheld.common import Continuation
from meinheld.server import timeout
from meinheld.websocket import WebSocket, WebSocketWSGI

HELLO = b"Hello world!"
PIECE = bytes(range(256))
TEXT = [("Content-Type", "text/plain")]
PAGE = os.sysconf("SC_PAGE_SIZE")

_file = tempfile.NamedTemporaryFile()  # noqa: SIM115 - lives as long as the process
_file.write(MEBIBYTE)
_file.flush()

_waiting: dict[str, Continuation] = {}  # requests that are suspended, by the key in their query
_counts = ffi.new("mhpy_counts *")


class Provoked(Exception):
    """A failure that a client asked for."""


def _loop() -> Loop:
    return _tasks.running[-1]


# ---- plain ones


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, HELLO)


def large(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, MEBIBYTE)


def pieces(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """As many as the query says, all there at once."""
    start_response("200 OK", TEXT)
    return [PIECE] * int(environ["QUERY_STRING"])


def stream(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """As many pieces as the query says, made while they are sent."""
    start_response("200 OK", TEXT)
    for _ in range(int(environ["QUERY_STRING"])):
        yield PIECE


def endless(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    while True:
        yield PIECE * 64


def file(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", [("Content-Length", str(len(MEBIBYTE)))])
    return environ["wsgi.file_wrapper"](open(_file.name, "rb"), 32768)


# ---- failing ones


def fail(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise Provoked("before the head")


def fail_late(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield PIECE
    raise Provoked("after the first piece")


# ---- waiting ones


def wait(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Suspended until /wake with the same key; the timeout is only there to be cancelled."""
    key = environ["QUERY_STRING"]
    continuation = _waiting[key] = Continuation()
    try:
        value = continuation.suspend(600)
    finally:
        del _waiting[key]
    return answer(start_response, str(value).encode())


def is_waiting(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, b"yes" if environ["QUERY_STRING"] in _waiting else b"no")


def wake(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    key = environ["QUERY_STRING"]
    continuation = _waiting.get(key)
    if continuation is not None:
        continuation.resume(f"woken {key}")
    return answer(start_response, b"")


def nap(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Suspended until its timeout, of as many milliseconds as the query says."""
    try:
        Continuation().suspend(max(1, int(environ["QUERY_STRING"])) / 1000)
    except timeout:
        return answer(start_response, b"expired")
    return answer(start_response, b"woken by nobody")


# ---- WebSockets


def echo(socket: WebSocket) -> None:
    for message in socket:
        socket.send(message)


# ---- for the driver


def _count(trim: bool = False) -> dict[str, int]:
    return _loop().call(_count_in_loop, trim)


def _count_in_loop(trim: bool) -> dict[str, int]:
    if trim:
        lib.mhpy_trim(_loop().hub)
    code = lib.mhpy_count(_loop().hub, _counts)
    assert code == lib.MH_OK
    return {
        "connections": _counts.connections,
        "requests": _counts.requests,
        "timers": _counts.timers,
        "suspended": len(_waiting),
        "upgraded": len(_loop().upgrades),
    }


def what_is_open(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, json.dumps(_count()).encode())


def what_is_alive(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """This request and its connection included, which are there at every count."""
    gc.collect()
    _count(trim=True)
    objects = gc.get_objects()
    with open("/proc/self/statm", encoding="ascii") as statm:
        pages = int(statm.read().split()[1])
    counts = {
        "blocks": _counts.blocks,
        "fds": len(os.listdir("/proc/self/fd")),
        # A spare one's frame refers to whom it switched to last, who may be dead by now.
        "greenlets": sum(type(thing) is greenlet and not thing.dead for thing in objects),
        "objects": len(objects),
        "resident": pages * PAGE,
    }
    return answer(start_response, json.dumps(counts).encode())


APPS: dict[str, App] = {
    "/hello": hello,
    "/digest": digest,
    "/large": large,
    "/pieces": pieces,
    "/stream": stream,
    "/endless": endless,
    "/file": file,
    "/fail": fail,
    "/fail-late": fail_late,
    "/wait": wait,
    "/waiting": is_waiting,
    "/wake": wake,
    "/nap": nap,
    "/echo": WebSocketWSGI(echo),
    "/open": what_is_open,
    "/counts": what_is_alive,
}
app = by_path(APPS)
