"""Says what reached it: method, raw target, authority, body (see tests/wire/README.md)."""

from __future__ import annotations

from collections.abc import Iterable

from apps import Environ, StartResponse, answer


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    body = environ["wsgi.input"].read()
    head = f"{environ['REQUEST_METHOD']} {environ['RAW_URI']} {environ.get('HTTP_HOST', '')} "
    return answer(start_response, head.encode("latin-1") + body)
