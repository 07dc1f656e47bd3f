"""Requests that have work done elsewhere: in threads, and in an asyncio loop."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable, Iterable

from greenlet import greenlet
from meinheld import server
from meinheld.offload import await_, run_in_thread

from apps import Environ, StartResponse, answer, by_path, log
from apps.continuations import outcome, query
from apps.tasks import said

_variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")
_gate = threading.Event()
_opened: list[asyncio.Event] = []


def in_thread(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Arguments, context and result."""
    _variable.set("of the request")

    def work(*args: object, **kwargs: object) -> list[object]:
        seen = _variable.get()
        _variable.set("of the work")
        return [args, kwargs, seen, threading.current_thread().name.rpartition("-")[0]]

    return said(start_response, [run_in_thread(work, 1, two=2), _variable.get()])


def in_asyncio(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    _variable.set("of the request")

    async def work(*args: object) -> list[object]:
        seen = _variable.get()
        _variable.set("of the work")
        await asyncio.sleep(0)
        return [args, seen, threading.current_thread().name]

    return said(start_response, [await_(work(1)), _variable.get()])


def failing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    error = LookupError("as it is")

    def work() -> None:
        raise error

    async def coroutine() -> None:
        raise error

    results = []
    attempts: list[Callable[[], None]] = [lambda: run_in_thread(work), lambda: await_(coroutine())]
    for attempt in attempts:
        try:
            attempt()
        except LookupError as exc:
            results.append(exc is error)
    return said(start_response, results)


def blocked(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Waits in a thread until another request opens the gate."""
    log("blocks")
    result = run_in_thread(_gate.wait, 20)
    log("unblocked")
    return said(start_response, result)


def awaiting(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The same in asyncio."""

    async def work() -> bool:
        event = asyncio.Event()
        _opened.append(event)
        log("awaits")
        return await event.wait()

    result = await_(work(), 20)
    log("awaited")
    return said(start_response, result)


def open_gate(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    _gate.set()

    async def work() -> None:
        for event in _opened:
            event.set()

    await_(work())
    return said(start_response, "open")


def late(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """A coroutine that does not come in time is cancelled."""
    cancelled = threading.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            cancelled.set()

    try:
        await_(work(), 0.02)
    except server.timeout as exc:
        return said(start_response, [str(exc), cancelled.wait(20)])
    return said(start_response, "in time")


def by_task(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """A task uses both."""

    def task() -> list[object]:
        async def work() -> str:
            return "awaited"

        return [run_in_thread(lambda: "in a thread"), await_(work())]

    return said(start_response, server.spawn(task).get(20))


def elsewhere(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Tries to wait in a greenlet of its own, where nothing must begin."""
    begun: list[str] = []
    results: list[str] = []

    async def work() -> None:
        begun.append("coroutine")

    def attempt() -> None:
        results.append(outcome(lambda: run_in_thread(begun.append, "function")).decode())
        coroutine = work()
        results.append(outcome(lambda: await_(coroutine)).decode())
        coroutine.close()

    greenlet(attempt).switch()
    return said(start_response, [results, begun])


def many(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, run_in_thread(query, environ, "word").encode())


app = by_path(
    {
        "/in-thread": in_thread,
        "/in-asyncio": in_asyncio,
        "/failing": failing,
        "/blocked": blocked,
        "/awaiting": awaiting,
        "/open": open_gate,
        "/late": late,
        "/by-task": by_task,
        "/elsewhere": elsewhere,
        "/many": many,
    }
)
