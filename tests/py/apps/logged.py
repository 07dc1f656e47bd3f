"""An app whose server logs: where and how is said by the environment, for the harness can't hand
strings to setters.

LOG_FILE, LOG_FORMAT: server.set_access_log(); a LOG_FILE that is a number is a descriptor.
LOG_STATIC: a directory that is served at /static.
LOGGER: an access logger of that kind (see LOGGERS)."""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from meinheld import server

from apps import App, Environ, StartResponse, answer, by_path

BIG = 8 * 1024 * 1024
KEYS = ("STATUS_CODE", "SEND_BYTES", "REQUEST_TIME", "LOCAL_TIME", "PATH_INFO", "app.key")


def hello(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    environ["app.key"] = "set by the app"
    return answer(start_response, b"hello")


def no_content(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("204 No Content", [])
    return []


def stream(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-One", "1"), ("x-one", '\xe9"')])
    yield b"hello"
    yield b"world"


def big(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, bytes(BIG))


def upload(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, environ["wsgi.input"].read())


def boom(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    raise ValueError("boom")


def spoilt(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """environ becomes such as no logger expects."""
    environ.clear()
    environ["REQUEST_METHOD"] = 7
    environ["RAW_URI"] = b"\n"
    environ["HTTP_REFERER"] = ["\n", '"']
    environ["HTTP_USER_AGENT"] = "\u20ac\U0001f600\n"
    return answer(start_response, b"spoilt")


def reopen(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    server.reopen_access_log()
    return answer(start_response, b"reopened")


_before = resource.getrlimit(resource.RLIMIT_NOFILE)


def no_fds(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """From now on no descriptor can be had."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, _before[1]))
    return answer(start_response, b"no more")


def fds(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    resource.setrlimit(resource.RLIMIT_NOFILE, _before)
    return answer(start_response, b"again")


def stop_soon(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The server is shut down, and what is open then is soon cut off."""
    server.shutdown(0.05)
    return answer(start_response, b"stopping")


app: App = by_path(
    {
        "/": hello,
        "/204": no_content,
        "/stream": stream,
        "/big": big,
        "/upload": upload,
        "/boom": boom,
        "/spoilt": spoilt,
        "/reopen": reopen,
        "/no-fds": no_fds,
        "/fds": fds,
        "/stop-soon": stop_soon,
    }
)


class Printing:
    """Prints what it is given."""

    def access(self, environ: dict[str, Any]) -> None:
        print(json.dumps({key: environ.get(key) for key in KEYS}), flush=True)


class Failing:
    def access(self, environ: dict[str, Any]) -> None:
        raise ValueError(f"can't log {environ['PATH_INFO']}")


class Leaving:
    def access(self, environ: dict[str, Any]) -> None:
        sys.exit(3)


LOGGERS: dict[str, Callable[[], object]] = {
    "printing": Printing,
    "failing": Failing,
    "leaving": Leaving,
}

if "LOG_FILE" in os.environ:
    file = os.environ["LOG_FILE"]
    server.set_access_log(
        int(file) if file.isdigit() else file, os.environ.get("LOG_FORMAT", "combined")
    )
if "LOG_STATIC" in os.environ:
    server.static("/static", os.environ["LOG_STATIC"])
if "LOGGER" in os.environ:
    server.set_access_logger(LOGGERS[os.environ["LOGGER"]]())
