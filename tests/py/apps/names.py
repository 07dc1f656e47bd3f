"""The original's names, each used as its users did; a path for each."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable

import meinheld
from greenlet import getcurrent
from meinheld import common, middleware, server

from apps import App, Environ, StartResponse, answer, by_path

_waiters: list[common.Continuation] = []


def said(start_response: StartResponse, value: object) -> Iterable[bytes]:
    return answer(start_response, json.dumps(value).encode())


def readme(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The README's own loop, which keeps all that ever waited."""
    c: common.Continuation = environ[middleware.CONTINUATION_KEY]
    if environ["QUERY_STRING"] == "wait":
        _waiters.append(c)
        return said(start_response, c.suspend())
    return said(start_response, [waiter.resume() for waiter in _waiters])


def schedule_call(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    c = environ[middleware.CONTINUATION_KEY]
    called: list[object] = []
    timer = server.schedule_call(0, lambda *args, **kwargs: called.append([args, kwargs]), 1, two=2)
    never = meinheld.schedule_call(3600, called.append, "never")
    never.cancel()
    server.schedule_call(0.001, c.resume)
    c.suspend()
    return said(start_response, [called, timer.called, never.called])


def spawn(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    made: list[object] = []
    server.spawn(lambda one, two: made.append([one, two]), (1,), {"two": 2})
    server.sleep(0.001)
    return said(start_response, made)


def trampoline(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        server.trampoline(ours.fileno(), write=True)
        try:
            server.trampoline(ours.fileno(), read=True, timeout=0.001)
        except server.timeout as exc:
            late = isinstance(exc, OSError)
        server.cancel_wait(ours.fileno())
        server.schedule_call(0, theirs.send, b"x")
        server.trampoline(ours.fileno(), read=True, timeout=10)
        return said(start_response, [late, ours.recv(1).decode()])


def get_ident(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return said(start_response, server.get_ident() is getcurrent())


def client(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    client = environ[middleware.CLIENT_KEY]
    mine = getcurrent()
    results = [client.get_greenlet() is mine, client.get_fd() > 2]
    client.set_greenlet(mine)
    client.set_closed(0)
    c = common.Continuation(client)
    c.resume("kept")
    return said(start_response, [*results, c.suspend(1)])


def middlewares(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    names = ["CONTINUATION_KEY", "CLIENT_KEY"]
    same = middleware.SpawnMiddleware is middleware.ContinuationMiddleware
    return said(start_response, [*(getattr(middleware, name) for name in names), same])


APPS: dict[str, App] = {
    "/readme": readme,
    "/schedule-call": schedule_call,
    "/spawn": spawn,
    "/trampoline": trampoline,
    "/get-ident": get_ident,
    "/client": client,
    "/middlewares": middlewares,
}

app = middleware.SpawnMiddleware(by_path(APPS))
