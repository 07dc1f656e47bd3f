"""Requests that wait, one a path, and others that tell them to go on. A waiting request says so in
the log, and is found by the name in its query."""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import parse_qs

from greenlet import getcurrent, greenlet
from meinheld import server
from meinheld.common import Continuation
from meinheld.middleware import CONTINUATION_KEY, ContinuationMiddleware

from apps import App, Environ, StartResponse, answer, by_path, log

TEXT = [("Content-Type", "text/plain")]

_waiting: dict[str, Continuation] = {}
_greenlets: dict[str, greenlet] = {}


def query(environ: Environ, key: str, default: str = "") -> str:
    values: list[str] = parse_qs(environ["QUERY_STRING"]).get(key, [default])
    return values[0]


def suspend(environ: Environ, **options: bool) -> object:
    """Waits for a resume by the query's name, for so many seconds as it says."""
    name = query(environ, "name")
    continuation = _waiting[name] = environ[CONTINUATION_KEY]
    _greenlets[name] = getcurrent()
    log(f"{name} waits")
    try:
        return continuation.suspend(float(query(environ, "timeout", "0")), **options)
    except BaseException as exc:
        log(f"{name} got {type(exc).__name__}")
        raise
    finally:
        log(f"{name} goes on")


# ---- who waits


def view(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, json.dumps(suspend(environ)).encode())


def half_closed(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, json.dumps(suspend(environ, half_close=True)).encode())


def repeatedly(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Three times, which is no more to it than once."""
    return answer(start_response, json.dumps([suspend(environ) for _ in range(3)]).encode())


def catching(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Goes on by itself after a time-out, and then waits again."""
    try:
        result = suspend(environ)
    except server.timeout:
        result = environ[CONTINUATION_KEY].suspend()
    return answer(start_response, json.dumps(result).encode())


def generator(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", TEXT)
    yield b"before "
    yield json.dumps(suspend(environ)).encode()


def uploading(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """In the middle of reading its body."""
    first = environ["wsgi.input"].read(5)
    result = suspend(environ)
    rest = environ["wsgi.input"].read()
    return answer(start_response, b"%s %s %s" % (first, json.dumps(result).encode(), rest))


def without(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Makes its continuation itself."""
    environ[CONTINUATION_KEY] = Continuation(environ["meinheld.client"])
    return view(environ, start_response)


# ---- who tells them


def call(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Resumes with the query's args and kwargs, JSON both; answers what came of it."""
    args = json.loads(query(environ, "args", "[]"))
    kwargs = json.loads(query(environ, "kwargs", "{}"))
    result = outcome(lambda: _waiting[query(environ, "name")].resume(*args, **kwargs))
    return answer(start_response, result)


def throw(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    error: Any = {"LookupError": LookupError, "instance": ValueError("x"), "none": 3}[
        query(environ, "error")
    ]
    return answer(start_response, outcome(lambda: _waiting[query(environ, "name")].throw(error)))


def outcome(function: Callable[[], object]) -> bytes:
    try:
        return json.dumps(function()).encode()
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}".encode()


def by_thread(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Resumes itself from another thread."""
    mine = environ[CONTINUATION_KEY]
    results: list[object] = []
    thread = threading.Thread(target=lambda: results.append(mine.resume("from a thread")))
    thread.start()
    result = mine.suspend()
    thread.join()
    return answer(start_response, json.dumps([result, results]).encode())


def racing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Waits again and again, as long as the query says, while a thread resumes it with one number
    after another, each until that has been taken on. Answers what it got, and how often nothing."""
    mine = environ[CONTINUATION_KEY]
    timeout, last = float(query(environ, "timeout")), int(query(environ, "last"))

    def count() -> None:
        number = 1
        while number <= last:
            with suppress(OSError):  # it has not taken the one before
                number += mine.resume(number)
            time.sleep(0)  # lets go of the interpreter's lock

    sys.setswitchinterval(1e-6)  # so that the thread comes between any two lines
    thread = threading.Thread(target=count)
    thread.start()
    got: list[object] = []
    expired = 0
    while len(got) < last:
        try:
            got.append(mine.suspend(timeout))
        except server.timeout:
            expired += 1
    thread.join()
    return answer(start_response, json.dumps([got, expired]).encode())


def by_signal(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Has the next SIGUSR1 resume it; only where the main thread serves."""
    mine = _waiting[query(environ, "name")] = environ[CONTINUATION_KEY]
    signal.signal(signal.SIGUSR1, lambda number, frame: mine.resume(number))
    return view(environ, start_response)


# ---- before, after and elsewhere


def early(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Resumes itself before it waits: once is kept, twice is an error."""
    mine = environ[CONTINUATION_KEY]
    results = [outcome(lambda: mine.resume(1)).decode(), outcome(lambda: mine.resume(2)).decode()]
    return answer(start_response, json.dumps([mine.suspend(), *results]).encode())


def twice(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Resumes another two times before that one can have gone on."""
    name = query(environ, "name")
    results = [outcome(partial(_waiting[name].resume, number)).decode() for number in (1, 2)]
    return answer(start_response, json.dumps(results).encode())


def keep(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Leaves its continuation to others, and never waits."""
    _waiting[query(environ, "name")] = environ[CONTINUATION_KEY]
    return answer(start_response, b"kept")


def others(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Tries to wait by the continuation of another request."""
    return answer(start_response, outcome(lambda: _waiting[query(environ, "name")].suspend(1)))


def elsewhere(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Tries to wait in a thread and in a greenlet of its own, and to make one there."""
    mine = environ[CONTINUATION_KEY]
    results: list[str] = []

    def attempt() -> None:
        results.append(outcome(lambda: mine.suspend(1)).decode())
        results.append(outcome(Continuation).decode())

    thread = threading.Thread(target=attempt)
    thread.start()
    thread.join()
    greenlet(attempt).switch()
    return answer(start_response, json.dumps(results).encode())


def by_hand(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Switches to the greenlet of a request that waits, of one that has ended, or of the loop."""
    waiting = _greenlets[query(environ, "name")]
    how: dict[str, Callable[[], object]] = {
        "switch": waiting.switch,
        "throw": lambda: waiting.throw(LookupError("by hand")),
        "kill": waiting.throw,
        "parent": lambda: getcurrent().parent.switch(),
        "child": lambda: greenlet(waiting.switch).switch(),
    }
    results = [outcome(how[query(environ, "how")]) for _ in range(2)]
    return answer(start_response, b"\n".join(results))


def arguments(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Timeouts that are none."""
    mine = environ[CONTINUATION_KEY]
    wrong: list[Any] = [-1, float("inf"), float("nan"), "1", True]
    results = [outcome(partial(mine.suspend, timeout)) for timeout in wrong]
    return answer(start_response, b"\n".join(results))


def forget(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Drops what was kept here."""
    with suppress(KeyError):
        del _waiting[query(environ, "name")]
    return answer(start_response, b"forgotten")


APPS: dict[str, App] = {
    "/view": view,
    "/half-closed": half_closed,
    "/repeatedly": repeatedly,
    "/catching": catching,
    "/generator": generator,
    "/uploading": uploading,
    "/call": call,
    "/throw": throw,
    "/by-thread": by_thread,
    "/racing": racing,
    "/by-signal": by_signal,
    "/early": early,
    "/twice": twice,
    "/keep": keep,
    "/others": others,
    "/elsewhere": elsewhere,
    "/by-hand": by_hand,
    "/arguments": arguments,
    "/forget": forget,
}

app = ContinuationMiddleware(by_path(APPS))
bare = by_path({**APPS, "/view": without})
