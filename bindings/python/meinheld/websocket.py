"""WebSockets (RFC 6455), by the original's names; they need wsproto (pip install
'meinheld[websocket]').

    def echo(ws):
        for message in ws:  # until the client leaves
            ws.send(message)

    server.run(WebSocketWSGI(echo))

Or in an application that has other requests too, with a framework or without:

    def app(environ, start_response):
        ws = environ.get("wsgi.websocket")
        ...

    server.run(WebSocketMiddleware(app))

While a handler waits for a message, or for its client to take one, the loop serves others; in a
thread of a pool (threads=N), that thread waits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final, Optional, cast

from meinheld import _handshake
from meinheld._checks import integer, number
from meinheld._environ import Environ
from meinheld._exceptions import ClientDisconnected, timeout
from meinheld._exceptions import WebSocketClosed as WebSocketClosed
from meinheld._handshake import Refused
from meinheld._loop import Loop
from meinheld._parking import EXPIRED
from meinheld._response import ALL, ExcInfo, Headers, Response, Write
from meinheld._seat import Seat, current_seat

if TYPE_CHECKING:
    from meinheld._link import Link
    from meinheld._messages import Message

WEBSOCKET_KEY: Final = "wsgi.websocket"

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
AllowOrigin = Callable[[Optional[str], dict[str, Any]], object]

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")

# Bytes that there is room for in a Close.
_REASON: Final = 123


class WebSocket:
    """One connection. Its methods may be called from any thread, and from several tasks at once,
    but not from signal handlers."""

    __slots__ = ("_link", "environ", "origin", "path", "protocol", "version")

    def __init__(self, link: Link, environ: Environ, protocol: str | None) -> None:
        self._link = link
        self.environ = environ  # of the request that it was
        self.path: str = environ.get("PATH_INFO", "")
        self.origin: str | None = environ.get("HTTP_ORIGIN")
        self.protocol = protocol  # the subprotocol; None: there is none
        self.version = _handshake.VERSION

    @property
    def websocket_closed(self) -> bool:
        """Nothing can be sent any more; what came before may still be there to be received."""
        return not self._link.is_open()

    @property
    def close_code(self) -> int | None:
        """How it was closed, by whoever came first: 1005 if the client has given no code, 1006 if
        the connection has just gone; None while it is open."""
        return self._link.close_code

    @property
    def close_reason(self) -> str:
        """What was said with the code."""
        return self._link.close_reason

    def wait(self, timeout: float | None = None) -> Message | None:
        """Waits for the next message, a str or bytes; None once it is closed, by either side or
        without a word, and every message that came before has been received.

        Raises server.timeout after timeout seconds. In another request than its own, it raises what
        Continuation.suspend() raises for the client of that one."""
        seconds = None if timeout is None else number("timeout", timeout)
        message = self._link.receive(seconds)
        if message is EXPIRED:
            raise _timed_out(f"no message came in {seconds:g} seconds")
        return cast("Message | None", message)

    def __iter__(self) -> Iterator[Message]:
        """The messages, until it is closed."""
        while (message := self.wait()) is not None:
            yield message

    def send(self, message: str | bytes | bytearray | memoryview) -> None:
        """Sends a message: a text, or bytes. Waits while the client has 64 KiB or more still to
        take; when it takes nothing for write_timeout seconds, that is the end of the connection.

        Raises WebSocketClosed, a ConnectionError, if it is closed; a handler that does not catch
        it just ends. TypeError for what is neither; ValueError for a str with a lone surrogate."""
        if not isinstance(message, (str, bytes, bytearray, memoryview)):
            raise TypeError(f"a message is a str or bytes, not {type(message).__name__}")
        self._link.send(message)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Closes it, and forgets what has come; the client's answer is seen to by the loop. No
        effect if it is closed. Raises ValueError for a code that may not be sent (RFC 6455 7.4),
        and a reason of over 123 bytes."""
        if code not in range(3000, 5000) and code not in (*range(1000, 1004), *range(1007, 1015)):
            raise ValueError(f"no close code: {code!r}")
        if len(reason.encode("utf-8")) > _REASON:
            raise ValueError(f"the reason has over {_REASON} bytes: {reason!r}")
        self._link.close(code, reason)
        self._link.discard()


_timed_out = timeout


class _Upgrader:
    """What takes the handshake, and calls an application with what comes of it."""

    def __init__(
        self,
        *,
        protocols: Iterable[str] = (),
        allow_origin: AllowOrigin | None = None,
        max_size: int = 2**20,
        compress: bool = True,
        ping_interval: float = 0,
        write_timeout: float = 60,
        close_timeout: float = 10,
    ) -> None:
        """protocols: the subprotocols that are spoken, best first. allow_origin: called with the
        Origin of a handshake, None if there is none, and environ; what is false is answered with
        403. Without it any page of the web may connect, with the cookies that its visitor has here.
        max_size: bytes of a message; a larger one ends the connection (1009). compress: whether
        permessage-deflate is used with clients that offer it. ping_interval: seconds between pings;
        a client that has not answered one by the time of the next is gone; 0: there are none.
        write_timeout: seconds for which a client may take nothing of what is sent. close_timeout:
        seconds that it has to answer a Close.

        Raises ImportError without wsproto; TypeError and ValueError."""
        try:
            from meinheld import _link, _messages
        except ImportError as exc:
            if (exc.name or "").partition(".")[0] != "wsproto":
                raise
            raise ImportError(
                "WebSockets need wsproto: pip install 'meinheld[websocket]'", name=exc.name
            ) from exc
        if isinstance(protocols, str):
            raise TypeError("protocols is a list of names, not a str")
        self._protocols = tuple(protocols)
        for protocol in self._protocols:
            if not _TOKEN.fullmatch(protocol):
                raise ValueError(f"no name of a subprotocol: {protocol!r}")
        if allow_origin is not None and not callable(allow_origin):
            raise TypeError(f"allow_origin must be callable, not {allow_origin!r}")
        self._allow_origin = allow_origin
        self._max_size = integer("max_size", max_size, 1)
        self._compress = bool(compress)
        self._times = _link.Times(
            number("write_timeout", write_timeout),
            number("close_timeout", close_timeout),
            number("ping_interval", ping_interval),
        )
        self._link = _link
        self._messages = _messages

    def _serve(
        self, environ: Environ, start_response: Any, seat: Seat, app: Application
    ) -> Iterable[bytes]:
        """Takes the handshake and calls app, whose response nobody gets."""
        try:
            ws = self._open(environ, seat, cast(Response, seat.serving))
        except Refused as exc:
            return _refuse(start_response, exc)
        environ[WEBSOCKET_KEY] = ws
        code, reason = self._link.NORMAL, ""

        def start(status: str, headers: Headers, exc_info: ExcInfo | None = None) -> Write:
            nonlocal code, reason
            code = {"4": self._link.POLICY, "5": self._link.FAILED}.get(status[:1], code)
            reason = status[:40] if code != self._link.NORMAL else ""
            return _write

        try:
            _use_up(app(environ, start))
        except WebSocketClosed:
            if not ws.websocket_closed:  # it speaks of another
                code = self._link.FAILED
                raise
        except Exception:
            code = self._link.FAILED
            raise
        except BaseException:
            code = self._link.GOING_AWAY
            raise
        finally:
            environ.pop(WEBSOCKET_KEY, None)  # ws leads to environ
            ws._link.leave(code, reason)
        return []

    def _open(self, environ: Environ, seat: Seat, response: Response) -> WebSocket:
        """Raises Refused, and ClientDisconnected."""
        key = _handshake.key_of(environ)
        origin = environ.get("HTTP_ORIGIN")
        if self._allow_origin is not None and not self._allow_origin(origin, environ):
            raise Refused("403 Forbidden", "this Origin is not served")
        protocol = _handshake.choose(environ, self._protocols)
        offers = environ.get("HTTP_SEC_WEBSOCKET_EXTENSIONS", "")
        agreed = self._messages.agree(offers) if self._compress else None
        extension, window = agreed or (None, None)
        head = _handshake.accepting(key, protocol, extension)
        messages = self._messages.Messages(self._max_size, window)

        def connect(loop: Loop) -> Link | None:
            taken = loop.upgrades.take(response.name)
            if taken is None:
                return None
            fd, early = taken
            link: Link = self._link.Link(loop, response.name, fd, messages, self._times)
            loop.upgrades.enter(response.name, link)
            link.begin(head, early)
            return link

        try:
            link = seat.loop.call(connect, seat.loop)
        except ConnectionResetError as exc:
            raise ClientDisconnected(str(exc)) from None
        if link is None:
            raise Refused("503 Service Unavailable", "try again", ("Retry-After", "1"))
        response.stage = ALL
        return WebSocket(link, environ, protocol)


def _asking(environ: Environ) -> Seat | None:
    """Where a request is served that asks for a WebSocket, and can have one."""
    seat = current_seat()
    if seat is None or not isinstance(seat.serving, Response) or not _handshake.asks(environ):
        return None
    return seat


def _refuse(start_response: Any, refused: Refused) -> Iterable[bytes]:
    length = ("Content-Length", str(len(refused.body)))
    start_response(refused.status, [*refused.headers, length])
    return [refused.body]


def _use_up(result: Iterable[bytes]) -> None:
    """Lets an application that is a generator run to its end."""
    try:
        for _ in result:
            pass
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()


def _write(data: bytes) -> None:
    """What start_response returns."""


class WebSocketMiddleware(_Upgrader):
    """A WSGI application that calls another; in a request that asks for a WebSocket, and once that
    is open, environ["wsgi.websocket"] is one. What the application answers then goes nowhere, but
    that a status from 400 on is told by the close code: 1008, and from 500 on 1011. The WebSocket
    is closed when it returns, by 1000, or by 1011 if it raises. Other requests pass through, and so
    do all if another server calls it."""

    def __init__(self, app: Application, **options: Any) -> None:
        super().__init__(**options)
        self.app = app

    __init__.__doc__ = _Upgrader.__init__.__doc__

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seat = _asking(environ)
        if seat is None:
            return self.app(environ, start_response)
        return self._serve(environ, start_response, seat, self.app)


class WebSocketWSGI(_Upgrader):
    """A WSGI application that calls handler(ws) for each WebSocket; other requests are answered
    with 426."""

    def __init__(self, handler: Callable[[WebSocket], object], **options: Any) -> None:
        super().__init__(**options)
        self.handler = handler

    __init__.__doc__ = _Upgrader.__init__.__doc__

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        seat = _asking(environ)
        if seat is None:
            return _refuse(start_response, _handshake.needed("this is a WebSocket"))
        return self._serve(environ, start_response, seat, self._handle)

    def _handle(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        self.handler(environ[WEBSOCKET_KEY])
        return []


__all__ = ["WEBSOCKET_KEY", "WebSocket", "WebSocketClosed", "WebSocketMiddleware", "WebSocketWSGI"]
