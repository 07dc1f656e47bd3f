"""Answers the context variable that it then sets: what a request before it has left there."""

from __future__ import annotations

from collections.abc import Iterable
from contextvars import ContextVar

from apps import Environ, StartResponse, answer

seen: ContextVar[str] = ContextVar("seen", default="nothing")


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    before = seen.get()
    seen.set(environ["PATH_INFO"])
    return answer(start_response, before.encode())
