"""Hello world, as the original's README has it but for bytes."""

from __future__ import annotations

from collections.abc import Iterable

from apps import Environ, StartResponse


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    status = "200 OK"
    res = b"Hello world!"
    response_headers = [("Content-type", "text/plain"), ("Content-Length", str(len(res)))]
    start_response(status, response_headers)
    return [res]
