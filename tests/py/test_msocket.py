"""Sockets in requests: they do what the standard library's do, and in a loop's own thread others
are served while they wait. The peer is the test, which answers when the others have been."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from asking import Asking, said
from certificates import self_signed
from harness import PATIENCE, Server, wait_until

Serve = Callable[..., Server]
APP = "apps.sockets:app"
SIZE = 1 << 24  # more than the buffers of two sockets


class Peer:
    """Listens, and takes what requests connect."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(PATIENCE)
        self.port = self._listener.getsockname()[1]

    def accept(self) -> socket.socket:
        sock = self._listener.accept()[0]
        sock.settimeout(PATIENCE)
        return sock

    def answer(self, sock: socket.socket, text: bytes) -> None:
        """Waits for a hello, and answers it."""
        assert sock.recv(6, socket.MSG_WAITALL) == b"hello\n"
        sock.sendall(text)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def peer() -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture
def app(serve: Serve) -> Iterator[Asking]:
    with ExitStack() as stack:
        yield Asking(serve(APP), stack)


def test_requests_wait_for_their_peers_side_by_side(app: Asking, peer: Peer) -> None:
    clients = [app.send("/line", port=peer.port) for _ in range(8)]
    socks = [peer.accept() for _ in clients]
    for number, sock in enumerate(reversed(socks)):  # who came last is answered first
        with sock:
            peer.answer(sock, b"%d\n" % number)
    assert sorted(said(client) for client in clients) == [f"{number}\n" for number in range(8)]


def test_what_the_peer_does_not_take_holds_up_nobody(app: Asking, peer: Peer) -> None:
    client = app.send("/large", port=peer.port, size=SIZE)
    with peer.accept() as slow:
        other = app.send("/line", port=peer.port)
        with peer.accept() as quick:
            peer.answer(quick, b"yourself\n")
        assert said(other) == "yourself\n"
        left = SIZE
        while left:
            left -= len(slow.recv(1 << 20))
        slow.sendall(b"all")
    assert said(client) == "all"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("tls"))


def test_tls_waits_in_its_handshake_and_after_it(
    app: Asking, peer: Peer, certificate: Path
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(certificate))
    client = app.send("/tls", port=peer.port, ca=certificate, size=SIZE)
    with peer.accept() as plain:
        other = app.send("/line", port=peer.port)  # while the other waits for our hello
        with peer.accept() as quick:
            peer.answer(quick, b"yourself\n")
        assert said(other) == "yourself\n"
        with context.wrap_socket(plain, server_side=True) as sock:
            assert sock.recv(6) == b"hello\n"
            sock.sendall(b"yourself\n")
            left = SIZE
            while left:
                left -= len(sock.recv(1 << 20))
            sock.sendall(b"all")
            sock.unwrap()
    assert said(client) == ["yourself\n", "all", True]


def test_timeouts_are_those_of_the_standard_library(app: Asking, peer: Peer) -> None:
    late = ["TimeoutError" if sys.version_info >= (3, 10) else "timeout", "timed out"]
    client = app.send("/timeouts", port=peer.port)
    with peer.accept():
        *plain, handshake = said(client)
    assert plain == [late] * 9
    assert handshake[0] == late[0]
    assert "handshake operation timed out" in handshake[1]


@pytest.mark.in_loop("a thread that waits for what another closes goes on waiting, as ever")
@pytest.mark.parametrize("how", [{}, {"thread": 1}], ids=["by-a-request", "by-a-thread"])
def test_closing_a_socket_ends_the_waits_for_it(
    app: Asking, peer: Peer, how: dict[str, int]
) -> None:
    client = app.send("/receive", port=peer.port)
    with peer.accept() as sock:
        assert sock.recv(6, socket.MSG_WAITALL) == b"hello\n"
        assert app.ask("/close", **how) == -1
        kind, text = said(client)
        assert (kind, "closed by somebody else" in text) == ("OSError", True)
        assert sock.recv(1) == b""  # it is really closed
    assert app.ask("/awake") == ["awake"]


def test_a_task_accepts_and_talks(app: Asking) -> None:
    port = app.ask("/echo", count=10)
    socks = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(10)]
    for number, sock in enumerate(socks):
        sock.sendall(b"%d" % number)
    for number, sock in enumerate(socks):
        assert sock.recv(10) == b"%d" % number
    for sock in socks:
        sock.close()


def test_looking_up_a_name_holds_up_nobody(app: Asking, peer: Peer) -> None:
    client = app.send("/look-up", port=peer.port)
    assert app.ask("/found") == "found"
    assert said(client) == "127.0.0.1"


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/selected", [True, [], [[], [], []]]), ("/polled", [True, [], 1])],
)
def test_waiting_for_several_descriptors_holds_up_nobody(
    app: Asking, peer: Peer, path: str, expected: object
) -> None:
    client = app.send(path, port=peer.port)
    with peer.accept() as sock, peer.accept():
        other = app.send("/line", port=peer.port)
        with peer.accept() as quick:
            peer.answer(quick, b"yourself\n")
        assert said(other) == "yourself\n"
        peer.answer(sock, b"now")
        assert said(client) == expected


def test_sleeping_holds_up_nobody(app: Asking) -> None:
    client = app.send("/sleep")
    assert app.ask("/awake")[-1] == "awake"
    assert said(client) == "slept"


def test_a_program_that_runs_holds_up_nobody(app: Asking, tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    client = app.send("/run", fifo=fifo)
    wait_until(lambda: "run" in app.ask("/awake"), "begun")
    fifo.write_text("written")
    assert said(client) == "written"


@pytest.mark.parametrize("path", ["/in-asyncio", "/in-greenlet"])
def test_where_no_wait_is_possible_the_thread_is_blocked(
    app: Asking, peer: Peer, path: str
) -> None:
    client = app.send(path, port=peer.port)
    with peer.accept() as sock:
        peer.answer(sock, b"yourself\n")
        assert said(client) == "yourself\n"


def test_children_and_other_processes_use_sockets_too(app: Asking, peer: Peer) -> None:
    client = app.send("/in-child", port=peer.port)
    for _ in range(2):
        with peer.accept() as sock:
            peer.answer(sock, b"hello yourself\n")
            assert sock.recv(1) == b""
    assert said(client) == [0, True, "hello yourself\n"]


@pytest.mark.in_loop("a pool waits for its threads, and those in a socket for their peers")
def test_the_end_of_a_run_ends_the_waits(app: Asking, peer: Peer) -> None:
    idle = app.send("/awake")
    said(idle)
    app.send("/line", port=peer.port)
    with peer.accept() as sock:
        assert sock.recv(6, socket.MSG_WAITALL) == b"hello\n"
        app.server.signal(signal.SIGTERM)
        idle.expect_close()  # it drains, and waits for the other
        app.server.signal(signal.SIGTERM)
        assert sock.recv(1) == b""
    assert app.server.wait() == 0  # a third signal might meet it when it heeds none any more
