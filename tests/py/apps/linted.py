"""All good apps of the tests under wsgiref.validate, and under werkzeug's LintMiddleware. Their
warnings are errors."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from wsgiref.validate import validator

from werkzeug.middleware.lint import LintMiddleware

from apps import App, Environ, StartResponse, by_path, environ, responses, starts

warnings.simplefilter("error")


def streams(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Uses both streams in the ways that both checkers know of."""
    log, body = environ["wsgi.errors"], environ["wsgi.input"]
    log.write("written, caf\xe9 \u2713\n")
    log.writelines(["line 1\n", "line 2\n"])
    log.flush()
    read = [body.read(3), *body, body.read(10)]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return read


def lines(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"]
    read = [body.readline(), body.readline(2), *body.readlines(1), *body.readlines()]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return read


def ignore(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"not read"]


def no_content(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """werkzeug insists on a length, which must not be sent (RFC 9110 8.6)."""
    start_response("204 No Content", [("Content-Length", "0")])
    return []


def reading(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    pieces = iter(lambda: environ["wsgi.input"].read(1000), b"")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"".join(pieces)]


GOOD = (
    "/one-piece",
    "/pieces",
    "/pieces-with-length",
    "/nothing",
    "/nothing-generated",
    "/generated",
    "/tuple",
    "/written",
    "/not-modified",
    "/own-fields",
    "/closing",
    "/file-in-memory",
    "/large-generated",
)
APPS: dict[str, App] = {
    **{path: responses.APPS[path] for path in GOOD},
    "/replaced": starts.replaced,
    "/replaced-after-empty-pieces": starts.replaced_after_empty_pieces,
    "/environ": environ.app,
    "/streams": streams,
    "/lines": lines,
    "/no-content": no_content,
    "/reading": reading,
    "/ignore": ignore,
}
_app = by_path(APPS, environ.app)
validated = validator(_app)
linted = LintMiddleware(_app)
