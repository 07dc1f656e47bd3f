"""Answers its environ as JSON: strings, numbers, tuples as they are, other values by type."""

from __future__ import annotations

import json
from collections.abc import Iterable
from wsgiref.validate import validator

from apps import Environ, StartResponse


def dump(environ: Environ) -> bytes:
    plain = {
        key: value if isinstance(value, (str, int, tuple)) else type(value).__name__
        for key, value in environ.items()
    }
    return json.dumps(plain).encode()


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = dump(environ)
    fields = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", fields)
    return [body]


def spoiling(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """The same, and then it spoils all that the environ holds, as an app may (PEP 3333)."""
    result = app(environ, start_response)
    for key in list(environ):
        environ[key] = "spoiled"
    environ["HTTP_SPOILED"] = "yes"
    return result


validated = validator(app)
