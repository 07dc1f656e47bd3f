"""Applications in a pool of threads: what they may do there, what becomes of their requests, and
how a run with them ends. What holds without threads too is tested in both ways by the other files
(conftest.py)."""

from __future__ import annotations

import contextvars
import io
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, cast

import pytest
from greenlet import GreenletExit, greenlet
from harness import PATIENCE, Process, listening_socket, wait_until
from meinheld._accesslog import Ends
from meinheld._environ import Place
from meinheld._files import FileWrapper
from meinheld._kept import Sent
from meinheld._limits import Limits
from meinheld._loop import Loop
from meinheld._mail import MailSender
from meinheld._native import lib
from meinheld._parking import EXPIRED, Parking
from meinheld._pooled import PooledGateway
from meinheld._response import NOTHING, Head, NothingMore, Response
from meinheld._sender import BORROW
from rawclient import Client, request

Environ = Any
Start = Callable[..., Any]
App = Callable[[Environ, Start], Iterable[bytes]]
Spawn = Callable[..., Process]


class Running:
    """A loop with a pool, in a thread of the test's process."""

    def __init__(self, address: tuple[str, int], loop: Loop, thread: threading.Thread) -> None:
        self.loop = loop
        self.thread = thread
        self._address = address

    def connect(self, **options: Any) -> Client:
        return Client(self._address, **options)


@contextmanager
def serving(
    app: App, threads: int, *, ends: Ends | None = None, **limits: float
) -> Iterator[Running]:
    """Serves app in so many threads, and checks that nothing was logged."""
    problems: list[str] = []
    with listening_socket(("127.0.0.1", 0)) as sock:
        address = sock.getsockname()
        gateway = PooledGateway(
            app,
            [Place("127.0.0.1", str(address[1]), False)],
            lambda message, exc_info: problems.append(f"{message}: {exc_info}"),
            1 << 20,
            ends,
            threads=threads,
        )
        loop = Loop(gateway, limits=Limits().changed(limits), max_fds=16, pool=gateway.pool)
        gateway.attach(loop)
        loop.listen(sock.fileno(), False)
        thread = threading.Thread(target=loop.run)
        thread.start()
        try:
            yield Running(address, loop, thread)
        finally:
            loop.post(loop.stop)
            thread.join(PATIENCE)
    assert not thread.is_alive()
    assert problems == []


def plain(start: Start, body: bytes) -> list[bytes]:
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


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


# ---- parking


def in_a_request(function: Callable[[Loop], object], threads: int = 2) -> list[object]:
    """What function(loop) returns or raises in a request, in a list."""
    got: list[object] = []

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        try:
            got.append(function(running.loop))
        except RuntimeError as exc:
            got.append(exc)
        return plain(start, b"")

    with serving(app, threads) as running, running.connect() as client:
        client.get("/")
    return got


def test_a_parked_thread_gets_what_it_is_resumed_with() -> None:
    def park(loop: Loop) -> object:
        parking = Parking(loop)
        loop.post(lambda: parking.resume("from the loop"))
        first = parking.park()
        threading.Thread(target=parking.resume, args=("from a thread",)).start()
        return first, parking.park()

    assert in_a_request(park) == [("from the loop", "from a thread")]


def test_resumes_that_come_before_a_thread_parks_are_kept_in_order() -> None:
    def park(loop: Loop) -> object:
        parking = Parking(loop)
        for value in range(5):
            parking.resume(value)
        return [parking.park() for _ in range(5)]

    assert in_a_request(park) == [[0, 1, 2, 3, 4]]


def test_a_parked_thread_s_timeout_expires_and_does_not_outlive_a_resume() -> None:
    def park(loop: Loop) -> object:
        parking = Parking(loop)
        expired = parking.park(0.01)
        parking.resume("in time")
        loop.post(lambda: None)
        in_time = parking.park(0.01)
        return expired, in_time, parking.park(0.03)

    assert in_a_request(park) == [(EXPIRED, "in time", EXPIRED)]


def test_threads_resume_each_other_as_often_as_they_like() -> None:
    parkings: list[Parking] = []
    got: list[object] = []

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        mine = int(environ["QUERY_STRING"])
        for number in range(200):
            parkings[1 - mine].resume(number)
            got.append(parkings[mine].park(PATIENCE))
        return plain(start, b"")

    with serving(app, 2) as running, running.connect() as one, running.connect() as two:
        parkings.extend(Parking(running.loop) for _ in range(2))
        one.send(request("/?0"))
        two.send(request("/?1"))
        assert one.read_response().status == two.read_response().status == 200
    assert sorted(got) == sorted([*range(200)] * 2)  # type: ignore[type-var]


def test_two_threads_can_not_park_at_one_place() -> None:
    errors: list[RuntimeError] = []
    parkings: list[Parking] = []

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        try:
            parkings[0].park()
        except RuntimeError as exc:
            errors.append(exc)
            parkings[0].resume()
        return plain(start, b"")

    with serving(app, 2) as running, running.connect() as one, running.connect() as two:
        parkings.append(Parking(running.loop))
        one.send(request("/"))
        two.send(request("/"))
        assert one.read_response().status == two.read_response().status == 200
    assert [str(error) for error in errors] == ["something is parked here already"]


def test_only_a_request_s_own_thread_and_greenlet_can_park() -> None:
    def park(loop: Loop) -> object:
        said: list[str] = []

        def elsewhere() -> None:
            try:
                Parking(loop).park()
            except RuntimeError as exc:
                said.append(str(exc))

        greenlet(elsewhere).switch()
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return len(said), "own greenlet" in said[0], "own greenlet" in said[1]

    assert in_a_request(park) == [(2, True, True)]


def test_the_end_of_the_run_unwinds_a_parked_thread_and_it_parks_no_more() -> None:
    said: list[str] = []
    parked = threading.Event()

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        parking = Parking(running.loop)
        running.loop.post(parked.set)
        try:
            parking.park()
        except GreenletExit:
            said.append("unwound")
            try:
                parking.park()
            except RuntimeError as exc:
                said.append(str(exc))
            raise
        return plain(start, b"")

    with serving(app, 1) as running:
        client = running.connect()
        client.send(request("/"))
        assert parked.wait(PATIENCE)
    client.close()
    assert said == ["unwound", "the server has stopped"]


def test_the_end_of_the_run_unwinds_a_thread_that_waits_for_a_reader() -> None:
    said: list[str] = []

    def app(environ: Environ, start: Start) -> Iterable[bytes]:
        write = start("200 OK", [])
        try:
            while True:
                write(b"x" * 100_000)
                said.append("written")
        except GreenletExit:
            said.append("unwound")
            raise

    def rests() -> bool:
        counts.append(len(said))
        return len(counts) > 100 and counts[-1] == counts[-100]

    counts: list[int] = []
    with serving(app, 1) as running, running.connect() as client:
        client.send(request("/"))
        client.read_head()
        wait_until(rests, "waited for its reader")
        running.loop.post(running.loop.stop)
        running.thread.join(PATIENCE)
    assert said[-1] == "unwound"


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


# ---- the end of a run

LISTEN = """
import signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from meinheld import server

release = threading.Event()

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/block":
        print("blocks", flush=True)
        release.wait()
        print("goes on", flush=True)
    if path == "/exit":
        sys.exit(3)
    if path == "/interrupt":
        raise KeyboardInterrupt
    if path == "/shutdown":
        server.shutdown()
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]

print(server.listen(("127.0.0.1", 0)), flush=True)
"""


def started(spawn: Spawn, program: str) -> tuple[Process, tuple[str, int]]:
    """A process of that program, which prints its port first."""
    process = spawn([sys.executable, "-c", LISTEN + program])
    wait_until(lambda: "\n" in process.out or process.popen.poll() is not None, "printed its port")
    assert process.popen.poll() is None, process.log
    return process, ("127.0.0.1", int(process.out.split()[0]))


def blocked(process: Process, address: tuple[str, int]) -> Client:
    """A client whose request blocks a thread."""
    client = Client(address)
    client.send(request("/block"))
    wait_until(lambda: "blocks" in process.out, "blocked")
    return client


def test_a_drain_serves_what_waits_for_a_thread(spawn: Spawn) -> None:
    process, address = started(
        spawn,
        "def drain():\n"
        "    while not server._running: time.sleep(0.001)\n"
        "    loop = server._running[0]\n"
        "    while len(loop._gateway._waiting) < 2: time.sleep(0.001)\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    while not loop._draining: time.sleep(0.001)\n"
        "    release.set()\n"
        "threading.Thread(target=drain).start()\n"
        "server.run(app, threads=1)\n"
        "print('ended', threading.active_count())\n",
    )
    with blocked(process, address) as first, Client(address) as second, Client(address) as third:
        second.send(request("/"))
        third.send(request("/block"))
        for client in (first, second, third):
            assert client.read_response().body == b"hello"
    assert process.wait() == 0, process.log
    assert "ended 1" in process.out  # no thread is left


def test_a_request_shuts_its_server_down_and_is_answered(spawn: Spawn) -> None:
    process, address = started(spawn, "server.run(app, threads=2)\nprint('ended')\n")
    with Client(address) as client:
        assert client.get("/shutdown").body == b"hello"
    assert process.wait() == 0, process.log
    assert process.out.endswith("ended\n")


def test_run_waits_for_an_app_that_outlives_the_drain_s_timeout(spawn: Spawn) -> None:
    process, address = started(
        spawn,
        "def end():\n"
        "    server.shutdown(0.01)\n"
        "    while not server._running[0]._ending: time.sleep(0.001)\n"
        "    print('waits', flush=True)\n"
        "    release.set()\n"
        "signal.signal(signal.SIGUSR1, lambda *_: threading.Thread(target=end).start())\n"
        "server.run(app, threads=1)\n"
        "print('ended', flush=True)\n",
    )
    with blocked(process, address) as client:
        process.signal(signal.SIGUSR1)
        assert client.read_to_abort() == b""
    assert process.wait() == 0, process.log
    assert process.out.split("\n")[1:5] == ["blocks", "waits", "goes on", "ended"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait_for_an_app(spawn: Spawn, number: int) -> None:
    process, address = started(
        spawn,
        "signal.signal(signal.SIGTERM, lambda *_: None)\n"  # for those that come after the run
        "try:\n"
        "    server.run(app, threads=1)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
        "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\n"
        "print('ended')\n",
    )

    def ended() -> bool:
        if process.popen.poll() is None:
            process.signal(number)
        return process.popen.poll() is not None

    with blocked(process, address):
        wait_until(ended, "ended")
    assert process.wait() == 0, process.log
    assert process.out.endswith("interrupted\nended\n" if number == signal.SIGINT else "ended\n")


def test_the_first_interrupt_waits_for_an_app(spawn: Spawn) -> None:
    process, address = started(
        spawn,
        "def let_go():\n"
        "    while not (server._running and server._running[0]._ending): time.sleep(0.001)\n"
        "    release.set()\n"
        "threading.Thread(target=let_go).start()\n"
        "try:\n"
        "    server.run(app, threads=1)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n",
    )
    with blocked(process, address) as client:
        process.signal(signal.SIGINT)
        assert client.read_to_abort() == b""
    assert process.wait() == 0, process.log
    assert process.out.split("\n")[1:4] == ["blocks", "goes on", "interrupted"]


@pytest.mark.parametrize(("path", "status"), [("/exit", 3), ("/interrupt", -signal.SIGINT)])
def test_what_ends_a_run_ends_it_from_a_thread(spawn: Spawn, path: str, status: int) -> None:
    process, address = started(spawn, "server.run(app, threads=2)\n")
    with Client(address) as client:
        client.send(request(path))
        assert client.read_to_abort() == b""
    assert process.wait() == status
    if path == "/interrupt":
        assert "in app\n" in process.log  # the traceback is the app's


def test_runs_with_and_without_threads_follow_each_other(spawn: Spawn) -> None:
    process, address = started(
        spawn,
        "port = int(server._listeners[0].port)\n"
        "for threads in (2, 0, 1, 2):\n"
        "    server.run(app, threads=threads)\n"
        "    server.listen(('127.0.0.1', port))\n"
        "    print('ended', threading.active_count(), flush=True)\n",
    )
    for number in range(4):
        with Client(address) as client:
            assert client.get("/shutdown").body == b"hello"
        wait_until(lambda number=number: process.out.count("ended") > number, "ended")  # type: ignore[misc]
    assert process.wait() == 0, process.log
    assert process.out.count("ended 1") == 4


def test_a_run_with_threads_in_another_thread_than_main(spawn: Spawn) -> None:
    process, address = started(
        spawn,
        "thread = threading.Thread(target=server.run, args=(app,), kwargs={'threads': 2})\n"
        "thread.start()\n"
        "thread.join()\n"
        "print('ended', threading.active_count())\n",
    )
    with Client(address) as client:
        assert client.get("/").body == b"hello"
        assert client.get("/shutdown").body == b"hello"
    assert process.wait() == 0, process.log
    assert process.out.endswith("ended 1\n")


# ---- the setting


def test_run_takes_the_setting_or_its_argument(spawn: Spawn) -> None:
    process = spawn(
        [
            sys.executable,
            "-c",
            "import threading\n"
            "from meinheld import server\n"
            "assert server.get_threads() == 0\n"
            "server.set_threads(3)\n"
            "assert server.get_threads() == 3\n"
            "for bad, error in ((-1, ValueError), (1.0, TypeError), (True, TypeError)):\n"
            "    for call in (server.set_threads, lambda n: server.run(print, threads=n)):\n"
            "        try: call(bad)\n"
            "        except error as exc: assert 'threads' in str(exc), exc\n"
            "        else: raise AssertionError(bad)\n"
            "for argument, count in ((None, 3), (0, 0), (1, 1)):\n"
            "    server.listen(('127.0.0.1', 0))\n"
            "    def look(count=count):\n"
            "        while not server._running: pass\n"
            "        loop = server._running[0]\n"
            "        names = lambda: [t.name for t in threading.enumerate()]\n"
            "        done = threading.Event()\n"
            "        loop.post(done.set)\n"
            "        done.wait()\n"
            "        print(sum(name.startswith('meinheld') for name in names()), flush=True)\n"
            "        server.shutdown()\n"
            "    thread = threading.Thread(target=look)\n"
            "    thread.start()\n"
            "    server.run(print, threads=argument)\n"
            "    thread.join()\n",
        ]
    )
    assert process.wait() == 0, process.log
    assert process.out.split() == ["3", "0", "1"]


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
    response.gen, response.stage, response.head = 1, NOTHING, head
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
