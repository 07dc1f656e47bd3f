"""urllib3 and requests, patched, in requests: others are served while they wait for a server that
is slow, which is the test."""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from asking import Asking, said
from certificates import self_signed
from harness import PATIENCE, Server, wait_until

Serve = Callable[..., Server]


class Slow(ThreadingHTTPServer):
    """Answers /held only when it is let go; counts connections, and requests that it holds."""

    daemon_threads = True
    request_queue_size = 100

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        if context is not None:  # each thread makes its own handshake
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self.go = threading.Event()
        self.held = 0
        self.connections = 0
        self.lock = threading.Lock()
        scheme = "http" if context is None else "https"
        self.url = f"{scheme}://localhost:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Slow

    def setup(self) -> None:
        super().setup()
        with self.server.lock:
            self.server.connections += 1

    def do_GET(self) -> None:
        if self.path == "/held":
            with self.server.lock:
                self.server.held += 1
            self.server.go.wait(PATIENCE)
        body = f"{self.path} of {self.headers['Host'].partition(':')[0]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running(server: Slow) -> Iterator[Slow]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        server.go.set()
        server.shutdown()
        thread.join(PATIENCE)
        server.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["http", "https"])
def slow(request: pytest.FixtureRequest, certificate: Path) -> Iterator[Slow]:
    context = None
    if request.param == "https":
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(str(certificate))
    with running(Slow(context)) as server:
        yield server


@pytest.fixture(params=["/fetch", "/fetch-by-requests"])
def path(request: pytest.FixtureRequest) -> str:
    """Of an app, which uses urllib3 or requests."""
    found: str = request.param
    return found


@pytest.fixture
def app(serve: Serve, certificate: Path) -> Iterator[Asking]:
    env = {"SSL_CERT_FILE": str(certificate), "REQUESTS_CA_BUNDLE": str(certificate)}
    with ExitStack() as stack:
        yield Asking(serve("apps.databases:app", env=env), stack)


def test_requests_wait_for_a_slow_server_side_by_side(app: Asking, slow: Slow, path: str) -> None:
    clients = [app.send(path, url=f"{slow.url}/held") for _ in range(7)]
    wait_until(lambda: slow.held == 7, "held at once")
    assert app.ask("/hello") == "hello"
    slow.go.set()
    assert [said(client) for client in clients] == ["/held of localhost"] * 7


def test_connections_are_kept_and_used_again(app: Asking, slow: Slow, path: str) -> None:
    for number in range(5):
        assert app.ask(path, url=f"{slow.url}/{number}") == f"/{number} of localhost"
    assert slow.connections == 1


def test_an_answer_that_is_late_is_an_error(app: Asking, slow: Slow, path: str) -> None:
    client = app.send(path, url=f"{slow.url}/held", timeout=0.5)
    assert said(client).startswith(("ReadTimeoutError: ", "ReadTimeout: "))
    assert app.ask(path, url=f"{slow.url}/next") == "/next of localhost"
