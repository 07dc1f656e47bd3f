"""The apps that the tests serve."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], object]]
App = Callable[[Environ, StartResponse], Iterable[bytes]]


def not_found(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("404 Not Found", [("Content-Length", "0")])
    return []


def by_path(apps: dict[str, App], other: App = not_found) -> App:
    """An app that hands each path to its own, and the rest to other."""

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        return apps.get(environ["PATH_INFO"], other)(environ, start_response)

    return app


def answer(start_response: StartResponse, body: bytes) -> Iterable[bytes]:
    """The plainest good answer."""
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def log(text: object) -> None:
    """A line on stderr, where tests wait for it; in one write, for several threads may do so."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
