"""SERVER_NAME and SERVER_PORT of requests that come by a unix socket, which has neither: as
gunicorn has it (gunicorn.http.wsgi.create), they are what Host says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from meinheld._environ import Application, Environ

_PORTS: Final = {"http": "80", "https": "443"}


def name_by_host(app: Application) -> Application:
    """app, with these set where the peer is one of a unix socket."""

    def named(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if not environ["REMOTE_ADDR"]:
            _take_host(environ)
        return app(environ, start_response)

    return named


def _take_host(environ: Environ) -> None:
    host: str = environ.get("HTTP_HOST", "")
    name, colon, port = host.rpartition(":")
    if not colon or port.endswith("]"):  # of an IPv6 address
        name, port = host, ""
    if name:
        environ["SERVER_NAME"] = name
        environ["SERVER_PORT"] = port or _PORTS.get(environ["wsgi.url_scheme"], "80")
