"""Requests that wait, and what the others notice of it."""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from harness import listening_socket, wait_until
from meinheld._environ import Place
from meinheld._hub import listen, new_hub
from meinheld._limits import Limits
from meinheld._loop import Loop
from meinheld._parking import Parking
from meinheld._wsgi import Gateway, Service
from rawclient import Client

Environ = Any
Start = Callable[..., Any]


@contextmanager
def serving(
    app: Callable[[Loop, Environ, Start], Iterable[bytes]],
) -> Iterator[Callable[[], Client]]:
    """A loop in a thread that serves app(loop, environ, start_response)."""
    problems: list[str] = []

    def log(message: str, exc_info: object) -> None:
        problems.append(f"{message}: {exc_info}")

    with listening_socket(("127.0.0.1", 0)) as sock:
        address = sock.getsockname()
        place = Place("127.0.0.1", str(address[1]), False)

        def with_loop(environ: Environ, start: Start) -> Iterable[bytes]:
            return app(loop, environ, start)

        gateway = Gateway(Service(with_loop, [place], log, 1 << 20))
        hub = new_hub(Limits(max_body=1 << 20), 16)
        loop = Loop(hub, gateway, log)
        gateway.attach(loop)
        listen(hub, sock.fileno(), False)
        thread = threading.Thread(target=loop.run)
        thread.start()
        try:
            yield lambda: Client(address)
        finally:
            loop.post(loop.stop)
            thread.join(20)
    assert not thread.is_alive()
    assert problems == []


def test_requests_are_served_while_others_are_suspended() -> None:
    waiting: list[Parking] = []

    def app(loop: Loop, environ: Environ, start: Start) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/wait":
            waiting.append(Parking(loop))
            body = str(waiting[-1].park()).encode()
        else:
            for number, parking in enumerate(waiting):
                parking.resume(number)
            body = b"woken"
        start("200 OK", [])
        return [body]

    with serving(app) as connect:
        clients = [connect() for _ in range(20)]
        for _ in range(2):  # a kept-alive connection's second request suspends as its first
            waiting.clear()
            for number, client in enumerate(clients):
                client.send(b"GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
                wait_until(lambda number=number: len(waiting) == number + 1, "suspended")  # type: ignore[misc]
            with connect() as other:
                assert other.get("/wake").body == b"woken"
            for number, client in enumerate(clients):
                assert client.read_response().body == str(number).encode()
        for client in clients:
            client.close()


def test_each_request_has_a_context_of_its_own() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
    waiting: list[Parking] = []

    def app(loop: Loop, environ: Environ, start: Start) -> Iterable[bytes]:
        before = variable.get("nothing")
        variable.set(environ["PATH_INFO"])
        if environ["PATH_INFO"].startswith("/wait"):
            waiting.append(Parking(loop))
            waiting[-1].park()
        elif environ["PATH_INFO"] == "/wake":
            for parking in waiting:
                parking.resume()
        start("200 OK", [])

        def body() -> Iterator[bytes]:
            yield f"{before} {variable.get()}".encode()

        return body()

    with serving(app) as connect, connect() as one, connect() as two, connect() as three:
        for client, path in ((one, "/wait1"), (two, "/wait2")):
            client.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        wait_until(lambda: len(waiting) == 2, "suspended")
        assert three.get("/plain").body == b"nothing /plain"
        assert three.get("/wake").body == b"nothing /wake"
        assert one.read_response().body == b"nothing /wait1"
        assert two.read_response().body == b"nothing /wait2"
        # Their greenlets are the loop, or spares, by now.
        assert one.get("/plain").body == b"nothing /plain"
        assert two.get("/wake").body == b"nothing /wake"


def test_a_request_with_a_body_begins_with_an_empty_context_too() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")

    def app(loop: Loop, environ: Environ, start: Start) -> Iterable[bytes]:
        before = variable.get("nothing")
        variable.set("left behind")
        start("200 OK", [])
        return [before.encode()]

    with serving(app) as connect, connect() as slow, connect() as quick:
        slow.send(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nab")
        assert quick.get().body == b"nothing"
        slow.send(b"cd")
        assert slow.read_response().body == b"nothing"


def test_a_slow_reader_suspends_its_response_and_nobody_else() -> None:
    made: list[int] = []
    piece = bytes(65536)

    def app(loop: Loop, environ: Environ, start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        if environ["PATH_INFO"] == "/":
            return [b"quick"]

        def pieces() -> Iterator[bytes]:
            for number in range(1000):
                made.append(number)
                yield piece

        return pieces()

    with serving(app) as connect, connect() as slow, connect() as quick:
        slow.send(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        head = slow.read_head()
        for _ in range(50):
            assert quick.get().body == b"quick"
        assert len(made) < 1000  # 64 MB do not fit into the socket's buffers
        slow.read_body(head)
        assert len(head.body) == 1000 * len(piece)


def test_a_generator_is_closed_when_its_client_leaves() -> None:
    closed = threading.Event()

    def app(loop: Loop, environ: Environ, start: Start) -> Iterable[bytes]:
        start("200 OK", [])

        def pieces() -> Iterator[bytes]:
            try:
                while True:
                    yield bytes(65536)
            finally:
                closed.set()

        return pieces()

    with serving(app) as connect:
        with connect() as client:
            client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert client.read_head().status == 200
        assert closed.wait(20)
