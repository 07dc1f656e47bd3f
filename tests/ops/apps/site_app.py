"""What the tests of the gunicorn worker serve: each path does one thing."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Callable
from urllib.parse import parse_qs

from meinheld import server
from meinheld.common import Continuation, ServerStopping

Environ = dict[str, Any]


def ask(environ: Environ, name: str) -> str:
    """A parameter of the query."""
    values: list[str] = parse_qs(environ["QUERY_STRING"])[name]
    return values[0]


def get_pid(environ: Environ) -> bytes:
    return b"%d" % os.getpid()


def get_environ(environ: Environ) -> bytes:
    return json.dumps(
        {key: value for key, value in environ.items() if isinstance(value, str)}
    ).encode()


def get_flags(environ: Environ) -> bytes:
    keys = ("wsgi.multithread", "wsgi.multiprocess", "wsgi.run_once", "wsgi.input_terminated")
    flags = {key: environ[key] for key in keys}
    return json.dumps({**flags, "gunicorn.request": "gunicorn.request" in environ}).encode()


def read_body(environ: Environ) -> bytes:
    return b"%d" % len(environ["wsgi.input"].read())


def hold(environ: Environ) -> bytes:
    """Holds the loop until a file is there, or nobody is left to end its worker."""
    Path(ask(environ, "begun")).touch()
    master = os.getppid()
    while not os.path.exists(ask(environ, "until")) and os.getppid() == master:
        time.sleep(0.002)
    return b"held"


def wait(environ: Environ) -> bytes:
    """Waits until a file is there, while others are served."""
    Path(ask(environ, "begun")).touch()
    while not os.path.exists(ask(environ, "until")):
        server.sleep(0.01)
    return b"waited"


def suspend(environ: Environ) -> bytes:
    """Waits for what never comes."""
    Path(ask(environ, "begun")).touch()
    try:
        Continuation().suspend(100)
    except ServerStopping:
        return b"stopping"
    return b"resumed"


def stubborn(environ: Environ) -> bytes:
    """Goes on waiting whatever it is told."""
    Path(ask(environ, "begun")).touch()
    while True:
        server.sleep(0.01)


def say_error(environ: Environ) -> bytes:
    print("said to wsgi.errors", file=environ["wsgi.errors"])
    return b"said"


def fail(environ: Environ) -> bytes:
    raise ValueError("the application fails")


def leave(environ: Environ) -> bytes:
    sys.exit(7)


PATHS: dict[str, Callable[[Environ], bytes]] = {
    "/pid": get_pid,
    "/environ": get_environ,
    "/flags": get_flags,
    "/body": read_body,
    "/hold": hold,
    "/wait": wait,
    "/suspend": suspend,
    "/stubborn": stubborn,
    "/errors": say_error,
    "/fail": fail,
    "/leave": leave,
}


def app(environ: Environ, start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"]
    if path == "/file":
        start_response("200 OK", [("Content-Length", "10")])
        file = open(__file__, "rb")  # noqa: SIM115  # the server closes it
        file.seek(3)
        result: Iterable[bytes] = environ["wsgi.file_wrapper"](file)
        return result
    if path == "/hints":
        environ["wsgi.early_hints"]([("Link", "</a.css>; rel=preload")])
    answer = PATHS.get(path, get_environ)(environ)
    start_response("200 OK", [("Content-Type", "text/plain"), ("X-Answer", "yes")])
    return [answer]
