"""Applications in a pool of threads: what they may do there, and what becomes of their requests.
What holds without threads too is tested in both ways by the other files (conftest.py)."""

from __future__ import annotations

import contextvars
import io
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, cast

import pytest
from harness import PATIENCE, wait_until
from meinheld._accesslog import Ends
from meinheld._files import FileWrapper
from meinheld._kept import Sent
from meinheld._mail import MailSender
from meinheld._native import lib
from meinheld._pooled import PooledGateway
from meinheld._response import NOTHING, Head, NothingMore, Response
from meinheld._sender import BORROW
from pooled import Environ, Start, plain, serving
from rawclient import Client, request

# ---- at once


def test_as_many_requests_run_at_once_as_there_are_threads() -> None:
    barrier = threading.Barrier(4)

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        barrier.wait(PATIENCE)
        return plain(start, b"met")

    with serving(app, 4) as running, ExitStack() as stack:
        clients = [stack.enter_context(running.connect()) for _ in range(4)]
        for _ in range(3):
            for client in clients:
                client.send(request("/"))
            assert [client.read_response().body for client in clients] == [b"met"] * 4


def test_blocked_threads_hold_up_nobody_while_one_is_free() -> None:
    release = threading.Event()

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/block":
            release.wait(PATIENCE)
        return plain(start, b"done")

    with serving(app, 4) as running, ExitStack() as stack:
        blocked = [stack.enter_context(running.connect()) for _ in range(3)]
        for client in blocked:
            client.send(request("/block"))
        with running.connect() as other:
            for _ in range(20):
                assert other.get("/").body == b"done"
        release.set()
        assert [client.read_response().body for client in blocked] == [b"done"] * 3


def test_a_thread_that_computes_stops_nobody() -> None:
    over = threading.Event()

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/compute":
            while not over.is_set():
                pass
        return plain(start, b"done")

    with serving(app, 2) as running, running.connect() as computing, running.connect() as other:
        computing.send(request("/compute"))
        for _ in range(20):
            assert other.get("/").body == b"done"
        over.set()
        assert computing.read_response().body == b"done"


def test_500_clients_and_2_threads_come_to_an_end() -> None:
    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        kind = environ["PATH_INFO"]
        if kind == "/write":
            return pieces(20, 5000)
        return [environ["wsgi.input"].read() or b"x" * (20_000 if kind == "/large" else 20)]

    def pieces(count: int, size: int) -> Iterator[bytes]:
        for _ in range(count):
            yield b"x" * size

    requests = {
        request("/write"): b"x" * 100_000,
        request("/large"): b"x" * 20_000,
        request("/small"): b"x" * 20,
        request("/", method="POST", body=b"y" * 3000): b"y" * 3000,
    }
    with serving(app, 2) as running, ExitStack() as stack:
        clients = [stack.enter_context(running.connect(timeout=40)) for _ in range(500)]
        for _ in range(2):
            for client, data in zip(clients, list(requests) * 125):
                client.send(data)
            for client, body in zip(clients, list(requests.values()) * 125):
                assert client.read_response().body == body


def test_pipelined_requests_are_answered_in_their_order() -> None:
    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        return plain(start, environ["PATH_INFO"].encode())

    with serving(app, 4) as running, running.connect() as client:
        paths = [f"/{number}".encode() for number in range(100)]
        client.send(b"".join(request(path.decode()) for path in paths))
        assert [client.read_response().body for _ in paths] == paths


# ---- what a thread keeps, and what a request does not


def test_a_thread_keeps_its_locals_and_each_request_has_a_fresh_context() -> None:
    local = threading.local()
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="fresh")

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        local.count = getattr(local, "count", 0) + 1
        before = variable.get()
        variable.set("stale")
        return plain(start, f"{local.count} {before}".encode())

    with serving(app, 1) as running, running.connect() as client:
        for count in range(1, 4):
            assert client.get("/").body == f"{count} fresh".encode()


# ---- clients that leave


def test_a_request_is_not_begun_whose_client_left_while_it_waited() -> None:
    begun: list[str] = []
    release = threading.Event()

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        begun.append(environ["PATH_INFO"])
        if environ["PATH_INFO"] == "/block":
            release.wait(PATIENCE)
        return plain(start, environ["wsgi.input"].read())

    with serving(app, 1) as running, running.connect() as blocked, running.connect() as other:
        blocked.send(request("/block"))
        wait_until(lambda: begun, "begun")
        gateway: Any = running.loop._gateway
        for leaver in (request("/leaves"), request("/leaves", method="POST", body=b"x" * 9)):
            with running.connect() as client:
                client.send(leaver)
                wait_until(lambda: gateway._waiting, "waited")
                reset(client)  # an end of the input could be a half-close
            wait_until(lambda: not gateway._waiting, "gone")
        other.send(request("/stays"))
        release.set()
        assert blocked.read_response().status == other.read_response().status == 200
    assert begun == ["/block", "/stays"]


def reset(client: Client) -> None:
    """Ends a connection so that the server must notice."""
    linger = struct.pack("ii", 1, 0)
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    client.socket.close()


def test_a_generator_is_closed_in_its_thread_when_its_client_leaves() -> None:
    threads: list[str] = []
    closed = threading.Event()

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        try:
            while True:
                threads.append(threading.current_thread().name)
                yield b"x" * 1000
        finally:
            threads.append(threading.current_thread().name)
            closed.set()

    with serving(app, 2) as running:
        with running.connect() as client:
            client.send(request("/"))
            assert client.read_head().status == 200
        assert closed.wait(PATIENCE)
    assert len(set(threads)) == 1


def test_a_slow_reader_holds_one_thread_and_its_pieces_are_bounded() -> None:
    made: list[int] = []

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        start("200 OK", [])
        return pieces() if environ["PATH_INFO"] == "/large" else [b"quick"]

    def pieces() -> Iterator[bytes]:
        for number in range(100_000):
            made.append(number)
            yield b"x" * 1000

    with serving(app, 2) as running, running.connect(receive_buffer=4096) as slow:
        slow.send(request("/large"))
        head = slow.read_head()
        with running.connect() as quick:
            counts: list[int] = []

            def came_to_rest() -> bool:
                assert quick.get("/").body == b"quick"
                counts.append(len(made))
                return len(counts) > 50 and counts[-1] == counts[-50]

            wait_until(came_to_rest, "waited for its reader")
        # The kernel's buffers hold some megabytes; the server and the thread 64 KiB each.
        assert len(made) < 50_000
        slow.timeout = 40
        slow.read_body(head)
        assert len(head.body) == 100_000_000


# ---- what is kept for requests


def test_what_a_thread_still_waits_to_do_is_done_at_the_end_of_the_run() -> None:
    blocks, release, closed = threading.Event(), threading.Event(), threading.Event()

    class File(io.FileIO):
        def close(self) -> None:
            closed.set()
            super().close()

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/block":
            blocks.set()
            release.wait(PATIENCE)
        elif environ["PATH_INFO"] == "/file":
            start("200 OK", [("Content-Length", str(size))])
            return cast(Iterable[bytes], environ["wsgi.file_wrapper"](File(name)))
        return plain(start, b"")

    size = 16 << 20
    with ExitStack() as stack:
        named = stack.enter_context(NamedTemporaryFile())
        name = named.name
        named.write(bytes(size))
        named.flush()
        running = stack.enter_context(serving(app, 1))
        reader, blocker, sender = (stack.enter_context(running.connect()) for _ in range(3))
        gateway = cast(PooledGateway, running.loop._gateway)
        reader.send(request("/file"))
        reader.read_head()
        blocker.send(request("/block"))
        assert blocks.wait(PATIENCE)
        sender.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        reader.read_some(size)
        wait_until(lambda: gateway._closing and gateway._waiting, "queued behind the other")
        assert gateway._uploads._memory.used == 3
        running.loop.post(running.loop.stop)
        wait_until(lambda: running.loop._ending, "waited for the thread")
        assert gateway._uploads._memory.used == 0
        release.set()
        running.thread.join(PATIENCE)
        assert closed.is_set()


def test_an_access_logger_does_not_disturb_a_thread_in_its_environ() -> None:
    told, passed = threading.Event(), threading.Event()

    class Body(list[bytes]):
        def __init__(self, environ: Environ) -> None:
            super().__init__([b"hello"])
            self.environ = environ

        def close(self) -> None:
            for _ in self.environ:
                assert told.wait(PATIENCE)
            passed.set()

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        start("200 OK", [("Content-Length", "5")])
        return Body(environ)

    ends = Ends(lambda message, exc_info: None, lambda environ: told.set(), None)
    with serving(app, 1, ends=ends) as running, running.connect() as client:
        assert client.get("/").body == b"hello"
        assert passed.wait(PATIENCE)


class Leaving(Response):
    """A response whose client leaves while it is being sent."""

    __slots__ = ("leave",)

    leave: Callable[[], None]

    @property
    def slot(self) -> int:  # type: ignore[override]
        self.leave()
        return 1


def test_what_was_given_back_while_it_was_refused_is_not_asked_for_again(tmp_path: Path) -> None:
    sender = MailSender(print)  # with no run behind it, so that all of it is refused
    head = Head()
    head.text, head.pieces, head.made = b"200 OK", 1, None
    response = Leaving()
    response.gen, response.stage, response.head, response.environ = 1, NOTHING, head, {}
    kept: list[Sent | None] = []
    response.leave = lambda: kept.append(sender.give_back(1 << 32 | 1, lib.MH_FINISH_DONE))
    path = tmp_path / "file"
    path.write_bytes(b"content")
    with path.open("rb") as file:
        assert sender.file(response, FileWrapper(file))
    assert any(kept)  # whoever was given it closes it
    response.stage = NOTHING
    with pytest.raises(NothingMore):
        sender.answer(response, bytes(BORROW), False)
