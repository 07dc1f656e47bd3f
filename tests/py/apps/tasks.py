"""Requests that begin work beside them, and wait for it."""

from __future__ import annotations

import contextvars
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from greenlet import getcurrent, greenlet
from meinheld import server
from meinheld.middleware import CONTINUATION_KEY, ContinuationMiddleware

from apps import App, Environ, StartResponse, answer, by_path, log

_variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")


def said(start_response: StartResponse, value: object) -> Iterable[bytes]:
    return answer(start_response, json.dumps(value).encode())


def failure(function: Callable[[], object]) -> str:
    try:
        return repr(function())
    except Exception as exc:
        return f"{type(exc).__name__}: {exc}"


def spawned(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Its arguments, its context, and what it returns."""
    _variable.set("of the request")

    def work(*args: object, **kwargs: object) -> list[object]:
        seen = _variable.get()
        _variable.set("of the task")
        server.sleep(0.01)
        return [args, kwargs, seen, _variable.get()]

    task = server.spawn(work, (1, 2), {"three": 3})
    return said(start_response, [task.get(), _variable.get(), task.done])


def failing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    def work() -> None:
        server.sleep(0.01)
        raise LookupError("in a task")

    task = server.spawn(work)
    return said(start_response, failure(task.get))


def late(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Does not wait for it, or not long enough."""
    task = server.spawn(server.sleep, (0.2,))
    return said(start_response, [task.done, failure(lambda: task.get(0.01)), task.get()])


def nested(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Tasks that begin tasks, deeper than the stack is."""
    depth = 2000

    def work(level: int) -> int:
        return server.spawn(work, (level + 1,)).get() if level < depth else level

    return said(start_response, server.spawn(work, (0,)).get())


def ordered(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Calls for the same time are made in their order, and earlier ones before."""
    mine = environ[CONTINUATION_KEY]
    made: list[int] = []
    server.schedule_call(1, mine.resume)
    for number in range(100):
        server.schedule_call(0, made.append, number)
        server.schedule_call(0.5, made.append, 1000 + number)
    mine.suspend()
    return said(start_response, made)


def cancelled(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    made: list[str] = []
    first = server.schedule_call(0.01, made.append, "first")
    second = server.schedule_call(0.01, made.append, "second")
    first.cancel()
    first.cancel()
    server.sleep(0.05)
    second.cancel()
    return said(start_response, [made, first.called, second.called])


def keyword(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    mine = environ[CONTINUATION_KEY]
    server.schedule_call(0.001, mine.resume, 1, two=2)
    return said(start_response, mine.suspend())


def broken(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """A call that fails spoils nothing for those after it."""
    mine = environ[CONTINUATION_KEY]

    def fail() -> None:
        raise LookupError("in a call")

    server.schedule_call(0, fail)
    server.schedule_call(0, mine.resume, "after it")
    return said(start_response, mine.suspend())


def from_thread(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Threads that no loop knows begin them as well, and can wait."""
    mine = environ[CONTINUATION_KEY]
    results: list[object] = []

    def work() -> None:
        results.append(server.spawn(threading.get_ident).get())
        began = time.monotonic()
        server.sleep(0.01)
        results.append(time.monotonic() - began >= 0.01)
        server.schedule_call(0, mine.resume)

    thread = threading.Thread(target=work)
    thread.start()
    mine.suspend()
    thread.join()
    return said(start_response, [results[0] != thread.ident, results[1]])


def sleeping(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    log("sleeps")
    server.sleep(float(environ["QUERY_STRING"]))
    return answer(start_response, b"slept")


def readable(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Waits for a descriptor until a task writes to it; then in vain; then for its end."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server.schedule_call(0.01, theirs.send, b"x")
        server.trampoline(ours.fileno(), read=True, timeout=10)
        results: list[object] = [ours.recv(1).decode()]
        server.trampoline(ours.fileno(), write=True)
        results.append(failure(lambda: server.trampoline(ours.fileno(), read=True, timeout=0.01)))
        theirs.close()
        server.trampoline(ours.fileno(), read=True)  # its end counts as well
        results.append(ours.recv(1).decode())
    return said(start_response, results)


def cancelled_wait(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server.cancel_wait(ours.fileno())
        server.schedule_call(0.01, server.cancel_wait, ours.fileno())
        first = failure(lambda: server.trampoline(ours.fileno(), read=True))
        other = server.spawn(server.trampoline, (ours.fileno(), True))
        server.sleep(0)
        second = failure(lambda: server.trampoline(ours.fileno(), read=True))
        theirs.send(b"x")
        other.get()
    return said(start_response, [first, second])


def wrong(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Calls that can't be right, and places where nobody can wait."""
    calls: list[Callable[[], Any]] = [
        lambda: server.spawn(3),  # type: ignore[arg-type]
        lambda: server.schedule_call(-1, log),
        lambda: server.schedule_call("1", log),  # type: ignore[arg-type]
        lambda: server.schedule_call(1, None),  # type: ignore[arg-type]
        lambda: server.sleep(float("nan")),
        lambda: server.trampoline(0),
        lambda: server.trampoline(10**6, read=True),
        lambda: server.trampoline(0, read=True, timeout=-1),
    ]
    results = [failure(call) for call in calls]
    greenlet(lambda: results.append(failure(lambda: server.sleep(0.01)))).switch()
    return answer(start_response, "\n".join(results).encode())


def identity(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    client = environ["meinheld.client"]
    mine = getcurrent()
    results = [server.get_ident() is mine, client.get_greenlet() is mine]
    other = greenlet(lambda: results.append(failure(client.get_fd)))  # type: ignore[arg-type]
    client.set_greenlet(other)
    results.append(client.get_greenlet() is other)
    other.switch()
    fd = client.get_fd()
    peer = socket.fromfd(fd, socket.AF_INET, socket.SOCK_STREAM)
    with peer:
        results.append(peer.getpeername()[1] == int(environ["REMOTE_PORT"]))
    return said(start_response, results)


def closing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    client = environ["meinheld.client"]
    client.set_closed(0)
    client.set_closed(1)
    return answer(start_response, b"too late")


APPS: dict[str, App] = {
    "/spawned": spawned,
    "/failing": failing,
    "/late": late,
    "/nested": nested,
    "/ordered": ordered,
    "/cancelled": cancelled,
    "/keyword": keyword,
    "/broken": broken,
    "/from-thread": from_thread,
    "/sleeping": sleeping,
    "/readable": readable,
    "/cancelled-wait": cancelled_wait,
    "/wrong": wrong,
    "/identity": identity,
    "/closing": closing,
}

app = ContinuationMiddleware(by_path(APPS))
