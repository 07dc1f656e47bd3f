"""The original's middleware: what puts a continuation, or a WebSocket, into environ."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import get_ident
from typing import Any, Final

from meinheld._seat import seats
from meinheld.common import Continuation, Request
from meinheld.websocket import WebSocketMiddleware

CONTINUATION_KEY: Final = "meinheld.continuation"
CLIENT_KEY: Final = "meinheld.client"

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


class ContinuationMiddleware:
    """A WSGI application that calls another with its continuation (meinheld.common.Continuation) in
    environ["meinheld.continuation"]. There is none if another server calls it."""

    def __init__(self, app: Application) -> None:
        self.app = app

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seat = seats.get(get_ident())
        if seat is not None and isinstance(seat.serving, Request):
            environ[CONTINUATION_KEY] = seat.serving
        return self.app(environ, start_response)


def unwrap(app: Application) -> tuple[Application, bool]:
    """What app calls in the end with a continuation, and True, if that is all that it does; else
    app itself, and False."""
    if type(app) is ContinuationMiddleware:
        return app.app, True
    return app, False


# The name that the original had first.
SpawnMiddleware = ContinuationMiddleware

__all__ = [
    "CLIENT_KEY",
    "CONTINUATION_KEY",
    "Continuation",
    "ContinuationMiddleware",
    "SpawnMiddleware",
    "WebSocketMiddleware",
]
