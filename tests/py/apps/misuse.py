"""Apps that use the interface as nobody should, one a path; the query says how."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from greenlet import GreenletExit, greenlet

from apps import App, Environ, StartResponse, answer, by_path

TEXT = [("Content-Type", "text/plain")]

# ---- what is no iterable of bytes


class NoIter:
    __iter__ = None


class BadIter:
    def __iter__(self) -> Iterator[bytes]:
        raise ValueError("in __iter__")


class IntIter:
    def __iter__(self) -> Any:
        return 1


class BadNext:
    def __iter__(self) -> Any:
        return self

    def __next__(self) -> bytes:
        raise ValueError("in __next__")


class BadAttribute:
    """One that can't even be asked for close()."""

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"all of it"])

    @property
    def close(self) -> Any:
        raise ValueError("in the property close")


class UncallableClose:
    close = 1

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"all of it"])


class BadLen:
    def __len__(self) -> int:
        raise ValueError("in __len__")

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"all of it"])


class LongLen:
    """One that says that it has one item, and has three."""

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[bytes]:
        return iter([b"all", b" of", b" it"])


class LyingLen(list[bytes]):
    def __len__(self) -> int:
        return 1


class Data(bytes):
    """Bytes that say that there are more of them."""

    def __len__(self) -> int:
        return 1 << 40


RESULTS: dict[str, Callable[[], Any]] = {
    "none": lambda: None,
    "int": lambda: 4,
    "function": lambda: answer,
    "str": lambda: "text",
    "bytes": lambda: b"bytes",
    "bytearray": lambda: bytearray(b"bytes"),
    "object": object,
    "no-iter": NoIter,
    "bad-iter": BadIter,
    "int-iter": IntIter,
    "bad-next": BadNext,
    "str-items": lambda: ["text"],
    "int-items": lambda: (1,),
    "none-items": lambda: [b"a", None],
    "bytearray-items": lambda: [bytearray(b"a")],
    "memoryview-items": lambda: (item for item in [memoryview(b"a")]),
    "nested": lambda: [[b"a"]],
    "dict-of-str": lambda: {"a": b"b"},
}
# With what becomes of them.
GOOD_RESULTS: dict[str, tuple[Callable[[], Any], bytes]] = {
    "dict-of-bytes": (lambda: {b"a": 1, b"b": 2}, b"ab"),
    "deque": (lambda: __import__("collections").deque([b"a", b"", b"b"]), b"ab"),
    "map": (lambda: map(bytes, [b"a", b"b"]), b"ab"),
    "subclass": (lambda: [Data(b"ab")], b"ab"),
    "subclasses": (lambda: (Data(b"a"), b"b", Data(b"c")), b"abc"),
    "subclass-made": (lambda: (Data(item) for item in [b"a", b""]), b"a"),
    "bad-len": (BadLen, b"all of it"),
    "list-subclass": (lambda: LyingLen([b"all of it"]), b"all of it"),
}


def result(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", TEXT)
    return RESULTS[environ["QUERY_STRING"]]()


def good_result(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", TEXT)
    return GOOD_RESULTS[environ["QUERY_STRING"]][0]()


def long_len(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", TEXT)
    return LongLen()


BAD_CLOSES: dict[str, Callable[[], Any]] = {
    "attribute": BadAttribute,
    "uncallable": UncallableClose,
}


def bad_close(environ: Environ, start_response: StartResponse) -> Any:
    start_response("200 OK", [*TEXT, ("Content-Length", "9")])
    return BAD_CLOSES[environ["QUERY_STRING"]]()


# ---- exceptions in every phase


class Own(BaseException):
    pass


class NoText(Exception):
    def __str__(self) -> str:
        raise ValueError("in __str__")

    __repr__ = __str__


class Cause(Exception):
    """One that is its own cause."""

    def __init__(self) -> None:
        super().__init__("in a circle")
        self.__cause__ = self


def deep() -> None:
    deep()


EXCEPTIONS: dict[str, Callable[[], BaseException]] = {
    "ValueError": lambda: ValueError("in the app"),
    "StopIteration": lambda: StopIteration("in the app"),
    "GeneratorExit": lambda: GeneratorExit("in the app"),
    "GreenletExit": lambda: GreenletExit("in the app"),
    "CancelledError": lambda: asyncio.CancelledError("in the app"),
    "MemoryError": lambda: MemoryError("in the app"),
    "AssertionError": lambda: AssertionError("in the app"),
    "Own": lambda: Own("in the app"),
    "NoText": lambda: NoText(),
    "Cause": lambda: Cause(),
    "BrokenPipeError": lambda: BrokenPipeError("in the app"),
    "UnicodeError": lambda: UnicodeEncodeError("ascii", "\ud800", 0, 1, "in the app \ud800"),
    "RecursionError": lambda: RecursionError("real"),
}
LEAVING: dict[str, Callable[[], BaseException]] = {
    "SystemExit": lambda: SystemExit(3),
    "KeyboardInterrupt": lambda: KeyboardInterrupt("in the app"),
}


def fail(name: str) -> None:
    if name == "RecursionError":
        deep()
    raise {**EXCEPTIONS, **LEAVING}[name]()


class Failing:
    """Raises in one of the phases of a response."""

    def __init__(self, phase: str, name: str) -> None:
        self._phase = phase
        self._name = name
        self._count = 0

    def _reach(self, phase: str) -> None:
        if phase == self._phase:
            fail(self._name)

    def __iter__(self) -> Iterator[bytes]:
        self._reach("iter")
        return self

    def __next__(self) -> bytes:
        self._count += 1
        if self._count == 3:
            raise StopIteration
        self._reach("first" if self._count == 1 else "second")
        return b"piece"

    def close(self) -> None:
        self._reach("close")


# And what the client sees of each: before the head has gone, after it, or when all is sent.
PHASES = {"call": 500, "start": 500, "iter": 500, "first": 500, "second": 0, "close": 200}


def raising(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The query is PHASE,NAME."""
    phase, _, name = environ["QUERY_STRING"].partition(",")
    if phase == "call":
        fail(name)
    start_response("200 OK", TEXT)
    if phase == "start":
        fail(name)
    return Failing(phase, name)


# ---- things of a request that has ended

kept: list[Any] = []


def keeping(environ: Environ, start_response: StartResponse) -> Any:
    """Keeps start_response and write, and answers in one of the ways that there are."""
    write = start_response("200 OK", TEXT)
    kept[:] = start_response, write
    how = environ["QUERY_STRING"]
    if how == "write":
        write(b"kept")
        return []
    return [b"kept"] if how == "list" else (item for item in [b"ke", b"pt"])


def late_write(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    kept[1](b"late")
    kept[1](b"x" * 1_000_000)
    return answer(start_response, b"done")


def late_start(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Starts the response that has ended, in place of its own."""
    try:
        raise ValueError("late")
    except ValueError:
        write = kept[0]("503 Late", [("X-Late", "1")], sys.exc_info())
    write(b"late")
    return [b"never sent"]


def others_start(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    kept[0]("200 OK", TEXT)
    return [b"never sent"]


shared: Iterator[bytes] = iter(())


def share(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The same iterator for all."""
    global shared
    start_response("200 OK", TEXT)
    if environ["QUERY_STRING"] == "new":
        shared = (b"%d " % number for number in range(3))
    return shared


shared_list = [b"one ", b"two"]


def share_list(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", TEXT)
    return shared_list


def renamed(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Takes the request for one of another method, as middleware does."""
    environ["REQUEST_METHOD"] = environ["QUERY_STRING"]
    start_response("200 OK", TEXT)
    yield b"a"
    yield b"b"


def write_elsewhere(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Writes large pieces in greenlets of its own, where nothing can wait; takes no notice of what
    is said of that, and gives up all the pieces."""
    write = start_response("200 OK", TEXT)
    for number in range(8):
        piece = b"%07d " % number * (1 << 18)
        with suppress(RuntimeError):
            greenlet(write).switch(piece)
        del piece
    return []


def write_in_thread(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    """Writes from another thread while this one sends, and tells what came of it."""
    write = start_response("200 OK", TEXT)
    yield b"a"
    said: list[str] = []

    def send() -> None:
        try:
            write(b"b")
        except RuntimeError as exc:
            said.append(str(exc))

    thread = threading.Thread(target=send)
    thread.start()
    thread.join()
    yield from (text.encode() for text in said)


def write_in_iteration(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    write = start_response("200 OK", TEXT)
    yield b"a"
    write(b"b")
    yield b"c"


def well(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, b"well")


APPS: dict[str, App] = {
    "/result": result,
    "/good-result": good_result,
    "/long-len": long_len,
    "/bad-close": bad_close,
    "/raising": raising,
    "/keeping": keeping,
    "/late-write": late_write,
    "/late-start": late_start,
    "/others-start": others_start,
    "/share": share,
    "/share-list": share_list,
    "/renamed": renamed,
    "/write-elsewhere": write_elsewhere,
    "/write-in-iteration": write_in_iteration,
    "/write-in-thread": write_in_thread,
    "/well": well,
}
app = by_path(APPS)
