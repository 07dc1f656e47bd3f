"""Requests and responses as gunicorn's hooks and loggers know them, made of environ for who asks,
and who calls these hooks and loggers.

pre_request runs where the application does. post_request and the access log follow in the loop's
thread when the response has ended: sent, or cut."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from http.client import responses as reasons
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final

from meinheld._accesslog import End
from meinheld._environ import Application, Environ
from meinheld._gunicorn_log import wants_access
from meinheld._gunicorn_settings import is_hooked
from meinheld._logformat import RAW_LINE
from meinheld._loop import Loop
from meinheld._native import lib
from meinheld._response import Response as ServerResponse
from meinheld._seat import current_seat

if TYPE_CHECKING:
    from gunicorn.workers.base import Worker

# Where environ has the Request of who has a pre_request hook, for what that keeps there.
_KEY: Final = "gunicorn.request"

# The fields whose keys have no HTTP_.
_BARE: Final = ("CONTENT_TYPE", "CONTENT_LENGTH")

# Of responses that have not begun (nginx's numbers; _accesslog.py).
_REASONS: Final = {499: "Client Closed Request", 444: "No Response"}


class Request:
    """A request, as far as gunicorn's hooks are promised one."""

    def __init__(self, environ: Environ, close: Callable[[], object] = int) -> None:
        """close: has its connection be closed."""
        self._close = close
        self._must_close = False
        self._connection: str = environ.get("HTTP_CONNECTION", "")
        self.method: str = environ.get("REQUEST_METHOD", "")
        self.uri: str = environ.get("RAW_URI", "")
        self.path, _, self.query = _without_authority(self.uri).partition("?")
        self.fragment = ""  # none is let in (row 25 of docs/http.md)
        self.version = (1, 0) if environ.get("SERVER_PROTOCOL") == "HTTP/1.0" else (1, 1)
        self.scheme: str = environ.get("wsgi.url_scheme", "http")
        self.body: Any = environ.get("wsgi.input", None) or BytesIO()
        self.trailers: list[tuple[str, str]] = []
        self.peer_addr = self.remote_addr = _address(environ)
        self.proxy_protocol_info = _proxied(environ)
        # Repeated fields are one here, as in environ.
        self.headers = [
            (_field_name(key), value)
            for key, value in environ.items()
            if isinstance(key, str) and (key.startswith("HTTP_") or key in _BARE)
        ]

    def should_close(self) -> bool:
        """Whether the connection is to be closed after it, as far as the request decides that."""
        tokens = [token.strip(" \t").lower() for token in self._connection.split(",")]
        if self._must_close or "close" in tokens:
            return True
        return self.version == (1, 0) and "keep-alive" not in tokens

    def force_close(self) -> None:
        """Has the connection be closed after it. To be called before the response has begun."""
        self._must_close = True
        self._close()


def _without_authority(target: str) -> str:
    """A target in absolute-form (RFC 9112 3.2.2) as one in origin-form; others as they are."""
    scheme, colon, rest = target.partition("://")
    if not colon or not scheme.isalpha():
        return target
    at = min((rest.find(mark) for mark in "/?" if mark in rest), default=len(rest))
    return rest[at:] if rest[at : at + 1] == "/" else "/" + rest[at:]


def _refused(environ: Environ) -> Environ:
    """environ of a request of which only the first line is known, as far as a logger takes it; what
    can't be seen in a line of a log has escapes."""
    line = "".join(
        each if each.isprintable() else f"\\x{ord(each):02x}" for each in environ[RAW_LINE]
    )
    method, _, rest = line.partition(" ")
    target, _, protocol = rest.partition(" ")
    return {
        "REMOTE_ADDR": environ["REMOTE_ADDR"],
        "REMOTE_PORT": environ["REMOTE_PORT"],
        "REQUEST_METHOD": method,
        "RAW_URI": target,
        "SERVER_PROTOCOL": protocol,
    }


def _address(environ: Environ) -> object:
    """As accept(2) gives it: that of a unix socket is a str."""
    host, port = environ.get("REMOTE_ADDR", ""), environ.get("REMOTE_PORT", "")
    return (host, _port(port)) if port else host


def _port(text: object) -> int:
    """A port of environ; -1 if the application has made something else of it."""
    return int(text) if isinstance(text, str) and text.isdecimal() else -1


def _proxied(environ: Environ) -> dict[str, Any] | None:
    """What a PROXY header has said; None if it was of no connection, or there was none."""
    if "PROXY_ADDR" not in environ:
        return None
    return {
        "proxy_protocol": environ.get("PROXY_PROTOCOL"),
        "client_addr": environ.get("REMOTE_ADDR"),
        "client_port": _port(environ.get("REMOTE_PORT")),
        "proxy_addr": environ["PROXY_ADDR"],
        "proxy_port": _port(environ.get("PROXY_PORT")),
    }


def _field_name(key: str) -> str:
    """A field's name by environ's key for it."""
    return (key if key in _BARE else key[5:]).replace("_", "-")


def _close(name: int) -> None:
    """Has the connection be closed of the request of that name, which is the caller's."""
    seat = current_seat()
    if seat is not None:
        loop: Loop = seat.loop
        loop.call(partial(lib.mhpy_close, loop.hub), name)


class Response:
    """What was answered, as far as gunicorn's hooks and loggers are promised to know."""

    def __init__(self, end: End) -> None:
        self.status_code = end.status
        text = end.response.text if end.response else b""
        self.status = text.partition(b"\n")[0].decode("latin-1")
        if self.status[:3] != str(end.status):  # it was not the application that answered
            reason = _REASONS.get(end.status) or reasons.get(end.status, "")
            self.status = f"{end.status} {reason}"
        self.headers = end.response.headers() if end.response else []
        self.sent = end.sent
        self.response_length = end.response.announced() if end.response else None
        self.headers_sent = end.status not in _REASONS


class Hooks:
    """Calls them for one worker: an Observer, and a layer around its application."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._cfg = cfg = worker.cfg
        debugs = cfg.loglevel.lower() == "debug"  # gunicorn's own hook tells of each request then
        self.has_pre = debugs or is_hooked(cfg, "pre_request")
        self._has_post = is_hooked(cfg, "post_request")
        self._logs = wants_access(worker.log, cfg)
        self.has_any = self.has_pre or self._has_post or self._logs

    def wrap(self, app: Application) -> Application:
        """app, with pre_request called before it. What that raises fails the request."""
        hook, worker = self._cfg.pre_request, self._worker

        def hooked(environ: Environ, start_response: Any) -> Iterable[bytes]:
            response: ServerResponse = start_response.__self__
            environ[_KEY] = request = Request(environ, partial(_close, response.name))
            hook(worker, request)
            return app(environ, start_response)

        return hooked

    def ended(self, end: End) -> None:
        """A request has ended."""
        environ = end.environ
        if RAW_LINE in environ:
            environ = _refused(environ)
        request = environ.get(_KEY)
        if not isinstance(request, Request):
            request = Request(environ)
        response = Response(end)
        try:
            if self._logs:
                taken = timedelta(microseconds=end.taken_us)
                self._worker.log.access(response, request, environ, taken)
        finally:
            if self._has_post and end.response is not None:
                self._post(request, environ, response)

    def _post(self, request: Request, environ: Environ, response: Response) -> None:
        try:
            self._cfg.post_request(self._worker, request, environ, response)
        except Exception:
            self._worker.log.exception("Exception in post_request hook")
