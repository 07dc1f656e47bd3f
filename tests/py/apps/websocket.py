"""WebSockets, one handler a path; the log tells how each has ended."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from greenlet import greenlet
from meinheld import server
from meinheld.websocket import WebSocket, WebSocketClosed, WebSocketMiddleware, WebSocketWSGI

from apps import App, Environ, StartResponse, answer, by_path, log, not_found

Handler = Callable[[WebSocket], object]


def query(environ: Environ, key: str, default: str = "") -> str:
    values: list[str] = parse_qs(environ["QUERY_STRING"]).get(key, [default])
    return values[0]


def number(ws: WebSocket, key: str) -> int:
    return int(query(ws.environ, key, "0"))


def telling(handler: Handler) -> Handler:
    """handler, whose end is logged."""

    def told(ws: WebSocket) -> None:
        try:
            handler(ws)
        finally:
            log(f"over: {sys.exc_info()[0]} {ws.close_code} {ws.close_reason!r}")

    return told


# ---- handlers


def echo(ws: WebSocket) -> None:
    for message in ws:
        ws.send(message)


def info(ws: WebSocket) -> None:
    names = ("path", "protocol", "origin", "version", "websocket_closed", "close_code")
    ws.send(json.dumps({name: getattr(ws, name) for name in names}))
    ws.wait()


def close(ws: WebSocket) -> None:
    ws.close(number(ws, "code"), query(ws.environ, "reason"))
    log(f"closed: {ws.websocket_closed} {ws.wait()!r}")


def fail(ws: WebSocket) -> None:
    raise RuntimeError("the handler failed")


def leave(ws: WebSocket) -> None:
    """Returns at once."""


def flood(ws: WebSocket) -> None:
    """So many messages of so many bytes, without a look at the client."""
    for sent in range(number(ws, "count")):
        ws.send(bytes(number(ws, "size")))
        if not sent % 64:
            log(f"sent {sent}")


def answers(ws: WebSocket) -> None:
    """Takes each message when it is told to."""
    log("waits")
    for message in ws:
        log(f"got {message if isinstance(message, str) else len(message)}")
        while not os.path.exists(query(ws.environ, "file")):
            server.sleep(0.01)


def times(ws: WebSocket) -> None:
    """Waits for so long, twice, and tells whether nothing came."""
    for _ in range(2):
        try:
            ws.send(f"got {ws.wait(float(query(ws.environ, 'timeout')))!r}")
        except server.timeout:
            ws.send("timeout")


def late(ws: WebSocket) -> None:
    """Sends when it is over."""
    while not ws.websocket_closed:
        server.sleep(0.005)
    try:
        ws.send("too late")
    except WebSocketClosed as exc:
        log(f"late: {exc}")
    ws.send("and again")


def many(ws: WebSocket) -> None:
    """Tasks that send at once, and a thread."""
    size = number(ws, "size")

    def speak(who: str) -> None:
        for turn in range(20):
            ws.send(f"{who} {turn} ".ljust(size, "."))

    tasks = [server.spawn(speak, (f"task{i}",)) for i in range(4)]
    thread = threading.Thread(target=speak, args=("thread",))
    thread.start()
    for task in tasks:
        task.get()
    while thread.is_alive():
        server.sleep(0.005)


def two_wait(ws: WebSocket) -> None:
    """Two tasks take turns as they come."""
    tasks = [server.spawn(lambda: list(ws)) for _ in range(2)]
    got = sorted(message for task in tasks for message in task.get())
    log(f"got {got}")


def plain_thread(ws: WebSocket) -> None:
    """A thread of its own talks, while the handler waits for it."""
    thread = threading.Thread(target=echo, args=(ws,))
    thread.start()
    while thread.is_alive():
        server.sleep(0.005)


def own_greenlet(ws: WebSocket) -> None:
    """Waits where no wait is possible."""
    try:
        greenlet(ws.wait).switch()
    except RuntimeError as exc:
        ws.send(str(exc))


def misuse(ws: WebSocket) -> None:
    """Wrong calls."""
    calls: list[Callable[[], object]] = [
        lambda: ws.send(1),  # type: ignore[arg-type]
        lambda: ws.send(None),  # type: ignore[arg-type]
        lambda: ws.send("\ud800"),
        lambda: ws.wait(-1),
        lambda: ws.wait("1"),  # type: ignore[arg-type]
        lambda: ws.close(1005),
        lambda: ws.close(1006),
        lambda: ws.close(999),
        lambda: ws.close(5000),
        lambda: ws.close(1000, "x" * 124),
    ]
    found = []
    for call in calls:
        try:
            found.append(str(call()))
        except (TypeError, ValueError) as exc:
            found.append(type(exc).__name__)
    ws.send(json.dumps(found))


def interrupted(ws: WebSocket) -> None:
    """Waits for something else than its client."""
    from meinheld._waiter import Waiter

    log("waits")
    Waiter().wait_for_event()


def stubborn(ws: WebSocket) -> None:
    """Does not look at its client, and takes its time."""
    log("waits")
    server.sleep(float(query(ws.environ, "seconds")))
    log("slept")


def stop(ws: WebSocket) -> None:
    """Ends the server, twice."""
    ws.send("stopping")
    server.shutdown()
    server.shutdown()
    server.sleep(60)


def fork(ws: WebSocket) -> None:
    """A child that ends by itself says nothing to the client."""
    pid = os.fork()
    if not pid:
        os._exit(0)
    os.waitpid(pid, 0)
    ws.send("forked")
    echo(ws)


HANDLERS: dict[str, Handler] = {
    "/echo": echo,
    "/info": info,
    "/close": close,
    "/fail": fail,
    "/leave": leave,
    "/flood": flood,
    "/answers": answers,
    "/times": times,
    "/late": late,
    "/many": many,
    "/two-wait": two_wait,
    "/plain-thread": plain_thread,
    "/own-greenlet": own_greenlet,
    "/misuse": misuse,
    "/interrupted": interrupted,
    "/stubborn": stubborn,
    "/stop": stop,
    "/fork": fork,
}


def wsgi(**options: Any) -> App:
    """The handlers, each at its path."""
    return by_path(
        {path: WebSocketWSGI(telling(handler), **options) for path, handler in HANDLERS.items()}
    )


# ---- under the middleware


def view(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Tells whether there is a WebSocket."""
    ws = environ.get("wsgi.websocket")
    if ws is None:
        return answer(start_response, b"no WebSocket")
    ws.send("a WebSocket")
    return answer(start_response, b"goes nowhere")


def status(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Ends by the status of the query."""
    start_response(query(environ, "status"), [])(b"goes nowhere")
    return []


def generator(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """An application that runs while its body is made."""
    ws = environ["wsgi.websocket"]
    try:
        for message in ws:
            ws.send(message)
            yield b"goes nowhere"
    finally:
        log("closed by its server")


def lone(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Raises what speaks of another WebSocket."""
    raise WebSocketClosed("another")


def too_late(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Asks for the handshake when the response has begun."""
    start_response("200 OK", [])(b"begun")
    return WebSocketWSGI(echo)(environ, start_response)


def slow(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Asks for the handshake when the server has begun to drain, or a while has passed."""
    log("waits")
    server.sleep(0.5)
    return WebSocketWSGI(echo)(environ, start_response)


def allow(origin: str | None, environ: Environ) -> bool:
    if origin == "http://broken":
        raise RuntimeError("the hook failed")
    return origin == "http://good" and environ["PATH_INFO"] == "/echo"


PROTOCOLS = ("second.example", "first.example")

app = by_path(
    {"/too-late": too_late, "/slow": slow},
    other=wsgi(protocols=PROTOCOLS),
)
plain = wsgi(compress=False)
small = wsgi(max_size=1000)
guarded = wsgi(allow_origin=allow)
pinging = wsgi(ping_interval=0.1)
brief = wsgi(write_timeout=0.5, close_timeout=0.3)
middleware = WebSocketMiddleware(
    by_path(
        {"/view": view, "/status": status, "/generator": generator, "/lone": lone},
        other=not_found,
    )
)
