"""Apps that call start_response and write in every way, good and bad, one a path."""

from __future__ import annotations

import gc
import sys
import traceback
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from apps import App, Environ, StartResponse, answer, by_path, log

TEXT = [("Content-Type", "text/plain")]


class Text(str):
    """A str that says that it is another."""

    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = str.__hash__

    def __str__(self) -> str:
        return "wrong"

    def encode(self, *args: Any) -> bytes:
        return b"wrong"


class Headers(list[tuple[str, str]]):
    """A list that is not quite one."""


class Header(tuple[str, str]):
    """A tuple that is not quite one."""


class Data(bytes):
    """Bytes that say that there are more of them."""

    def __len__(self) -> int:
        return 1 << 40

    def __bytes__(self) -> bytes:
        return b"wrong"


# ---- what may not be sent

BAD: dict[str, tuple[Any, Any]] = {
    "status-int": (200, TEXT),
    "status-bytes": (b"200 OK", TEXT),
    "status-none": (None, TEXT),
    "status-empty": ("", TEXT),
    "status-word": ("OK", TEXT),
    "status-short": ("20 OK", TEXT),
    "status-long": ("2000 OK", TEXT),
    "status-space": (" 200 OK", TEXT),
    "status-tab": ("200\tOK", TEXT),
    "status-digits": ("\xb2\xb2\xb2 OK", TEXT),
    "status-100": ("100 Continue", []),
    "status-101": ("101 Switching Protocols", []),
    "status-103": ("103 Early Hints", []),
    "status-lf": ("200 OK\n", TEXT),
    "status-crlf": ("200 OK\r\nX-Smuggled: 1", TEXT),
    "status-nul": ("200 O\0K", TEXT),
    "status-wide": ("200 \u2713", TEXT),
    "fields-none": ("200 OK", None),
    "fields-tuple": ("200 OK", tuple(TEXT)),
    "fields-dict": ("200 OK", dict(TEXT)),
    "fields-iterator": ("200 OK", iter(TEXT)),
    "fields-text": ("200 OK", ["ab"]),
    "fields-list-of-lists": ("200 OK", [["X", "x"]]),
    "fields-tuple-of-one": ("200 OK", [("X",)]),
    "fields-tuple-of-three": ("200 OK", [("X", "x", "y")]),
    "name-int": ("200 OK", [(1, "x")]),
    "name-bytes": ("200 OK", [(b"X", "x")]),
    "name-empty": ("200 OK", [("", "x")]),
    "name-space": ("200 OK", [("X Y", "x")]),
    "name-colon": ("200 OK", [("X:", "x")]),
    "name-crlf": ("200 OK", [("X\r\nY", "x")]),
    "name-latin": ("200 OK", [("caf\xe9", "x")]),
    "name-wide": ("200 OK", [("\u2713", "x")]),
    "value-int": ("200 OK", [("X", 1)]),
    "value-none": ("200 OK", [("X", None)]),
    "value-bytes": ("200 OK", [("X", b"x")]),
    "value-crlf": ("200 OK", [("X", "x\r\nY: z")]),
    "value-lf": ("200 OK", [("X", "x\ny")]),
    "value-lf-last": ("200 OK", [("X", "x\n")]),
    "value-cr": ("200 OK", [("X", "x\ry")]),
    "value-nul": ("200 OK", [("X", "x\0y")]),
    "value-control": ("200 OK", [("X", "x\x1fy")]),
    "value-del": ("200 OK", [("X", "x\x7fy")]),
    "value-wide": ("200 OK", [("X", "\u2713")]),
    "length-word": ("200 OK", [("Content-Length", "five")]),
    "length-negative": ("200 OK", [("Content-Length", "-1")]),
    "length-empty": ("200 OK", [("Content-Length", "")]),
    "length-twice": ("200 OK", [("Content-Length", "1"), ("content-length", "1")]),
    "hop-connection": ("200 OK", [("Connection", "close")]),
    "hop-keep-alive": ("200 OK", [("KEEP-ALIVE", "timeout=5")]),
    "hop-proxy-connection": ("200 OK", [("Proxy-Connection", "close")]),
    "hop-proxy-authenticate": ("407 No", [("Proxy-Authenticate", "Basic")]),
    "hop-proxy-authorization": ("200 OK", [("Proxy-Authorization", "Basic x")]),
    "hop-te": ("200 OK", [("te", "trailers")]),
    "hop-trailer": ("200 OK", [("Trailer", "X")]),
    "hop-trailers": ("200 OK", [("Trailers", "X")]),
    "hop-transfer-encoding": ("200 OK", [("Transfer-Encoding", "chunked")]),
    "hop-upgrade": ("200 OK", [("upgrade", "x")]),
}


def bad(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response(*BAD[environ["QUERY_STRING"]])
    return [b"x"]


def caught(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The same, and the error is the answer: it was raised while the app ran."""
    try:
        start_response(*BAD[environ["QUERY_STRING"]])
    except Exception as exc:
        start_response("299 Caught", TEXT, sys.exc_info())
        return [f"{type(exc).__name__}: {exc}".encode()]
    return [b"no error"]


def again_without_exc_info(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    try:
        start_response("200 OK", [("X", "a\nb")])
    except ValueError:
        start_response("200 OK", TEXT)
    return [b"never sent"]


def failed_and_returned(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    try:
        start_response("200 OK", TEXT)
        start_response("200 OK", [("X", "a\nb")], (ValueError, ValueError(), None))
    except ValueError:
        pass
    return [b"never sent"]


def twice(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    start_response("200 OK", TEXT)
    return [b"x"]


# ---- what may

GOOD: dict[str, tuple[Any, Any]] = {
    "code-alone": ("200", []),
    "no-reason": ("200 ", []),
    "own-reason": ("299 Own words, caf\xe9", []),
    "two-words": ("200  OK ", []),
    "last-code": ("999 Last", []),
    "subclasses": (Text("298 Subclasses"), Headers([Header((Text("X-A"), Text("a")))])),
    "empty-value": ("200 OK", [("X-A", "")]),
    "latin": ("200 OK", [("X-A", "caf\xe9\xff\ta")]),
    "any-name": ("200 OK", [("!#$%&'*+-.^_`|~09azAZ", "a")]),
    "many": ("200 OK", [(f"X-{number}", f"{number}") for number in range(200)]),
}


def good(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response(*GOOD[environ["QUERY_STRING"]])
    return [b"x"]


def keywords(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Not by the PEP, but common: exc_info by its name."""
    start_response("200 OK", TEXT, exc_info=None)
    return [b"x"]


def changed_later(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """The list is changed between start_response and the body, and never by the server."""
    headers = [*TEXT, ("X-A", "before")]
    start_response("200 OK", headers)
    yield b""
    unchanged = headers == [*TEXT, ("X-A", "before")]
    headers[:] = [("X-A", "after")]
    yield str(unchanged).encode()


# ---- exc_info


alive: weakref.WeakSet[Replaced] = weakref.WeakSet()


class Replaced(Exception):
    """What the app has caught."""

    def __init__(self) -> None:
        super().__init__("caught by the app")
        alive.add(self)


def fail() -> None:
    raise Replaced


def replace(start_response: StartResponse) -> None:
    try:
        fail()
    except Replaced:
        start_response("503 Sorry", [*TEXT, ("Content-Length", "5")], sys.exc_info())


def replaced(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [*TEXT, ("X-Old", "1")])
    replace(start_response)
    return [b"sorry"]


def replaced_after_empty_pieces(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [*TEXT, ("X-Old", "1")])
    yield b""
    yield b""
    replace(start_response)
    yield b"sorry"


def replaced_too_late(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b"first"
    replace(start_response)
    yield b"never sent"


def replaced_after_write(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)(b"first")
    replace(start_response)
    return [b"never sent"]


def replaced_after_empty_write(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The head goes with the first write(), whatever is written."""
    start_response("200 OK", TEXT)(b"")
    replace(start_response)
    return [b"never sent"]


def raised_again(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Says what start_response raises after the head has gone."""
    start_response("200 OK", TEXT)
    yield b"first "
    try:
        replace(start_response)
    except Replaced:
        names = {frame.name for frame in traceback.extract_tb(sys.exc_info()[2])}
        yield b"the same" if {"fail", "replace"} <= names else b"without its traceback"


EXC_INFOS: dict[str, Any] = {
    "nothing": (None, None, None),
    "text": "an exception",
    "class": (ValueError, ValueError, None),
    "two": (ValueError, ValueError()),
}


def no_exc_info(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b"first"
    start_response("503 Sorry", [], EXC_INFOS[environ["QUERY_STRING"]])
    yield b"never sent"


def empty_exc_info(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """What is not true is no exc_info, as in the PEP's own server."""
    start_response("200 OK", TEXT, ())
    start_response("200 OK", TEXT, ())
    return [b"never sent"]


gc.disable()  # what is left to it counts as leaked


def how_many_alive(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    if sys.implementation.name == "pypy":  # which counts no references
        gc.collect()
    return answer(start_response, b"%d" % len(alive))


# ---- write


def written(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """One write of what the query names."""
    what: dict[str, Any] = {
        "bytes": b"data",
        "subclass": Data(b"data"),
        "str": "data",
        "bytearray": bytearray(b"data"),
        "memoryview": memoryview(b"data"),
        "int": 4,
        "none": None,
    }
    start_response("200 OK", TEXT)(what[environ["QUERY_STRING"]])
    return []


def written_beyond(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Writes more than it has said, and goes on as if nothing had happened."""
    write = start_response("200 OK", [("Content-Length", "4")])
    write(b"12")
    try:
        write(b"345")
    except ValueError as exc:
        log(exc)
    write(b"6")
    return [b"7"]


def written_beyond_and_failed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    write = start_response("200 OK", [("Content-Length", "4")])
    write(b"12345")
    return []


def write_nothing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Writes nothing, and waits in a FIFO for the test: the head must have gone by then."""
    start_response("200 OK", TEXT)(b"")
    Path(environ["QUERY_STRING"]).read_bytes()
    return []


def start_only(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Nothing but a head and empty pieces, and then it waits: nothing may have gone by then."""
    start_response("200 OK", TEXT)
    yield b""
    yield b""
    log("waiting")
    Path(environ["QUERY_STRING"]).read_bytes()
    yield b"body"


APPS: dict[str, App] = {
    "/bad": bad,
    "/caught": caught,
    "/again-without-exc-info": again_without_exc_info,
    "/failed-and-returned": failed_and_returned,
    "/twice": twice,
    "/good": good,
    "/keywords": keywords,
    "/changed-later": changed_later,
    "/replaced": replaced,
    "/replaced-after-empty-pieces": replaced_after_empty_pieces,
    "/replaced-too-late": replaced_too_late,
    "/replaced-after-write": replaced_after_write,
    "/replaced-after-empty-write": replaced_after_empty_write,
    "/raised-again": raised_again,
    "/no-exc-info": no_exc_info,
    "/empty-exc-info": empty_exc_info,
    "/how-many-alive": how_many_alive,
    "/written": written,
    "/written-beyond": written_beyond,
    "/written-beyond-and-failed": written_beyond_and_failed,
    "/write-nothing": write_nothing,
    "/start-only": start_only,
}
app = by_path(APPS)
