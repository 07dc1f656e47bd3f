"""Responses that are made while they are sent: each piece leaves when it is there, no more is made
than the client takes, and whoever makes them hears of a client that has left."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Server, wait_until
from rawclient import Client, request

Serve = Callable[..., Server]
STREAMS = "apps.streams:app"
MEBIBYTE = 1024 * 1024


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """What an app waits in until the test writes there."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


# ---- each piece when it is there


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/generator", b"beforeafter"),
        ("/with-length", b"beforeafter"),
        ("/whole", b"before"),
        ("/after-empty", b"beforeafter"),
        ("/iterator", b"beforeafter"),
        ("/indexed", b"beforeafter"),
        ("/written", b"beforeafter"),
        ("/written-and-yielded", b"beforeafter"),
    ],
)
@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
def test_a_piece_is_sent_before_the_app_is_asked_for_the_next(
    serve: Serve, fifo: Path, target: str, body: bytes, version: str
) -> None:
    with serve(STREAMS).connect() as client:
        client.send(request(f"{target}?{fifo}", version=version))
        head = client.read_head()
        chunked = head.get("Transfer-Encoding") is not None
        # The app waits in the FIFO now; a server that held the piece back would never be read here.
        assert client.read_some(11 if chunked else 6) == (
            b"6\r\nbefore\r\n" if chunked else b"before"
        )
        fifo.write_bytes(b"go on")
        rest = body[6:]
        if chunked:
            assert client.read_some(15) == b"5\r\nafter\r\n0\r\n\r\n"
        else:
            assert client.read_some(len(rest)) == rest
        if version == "HTTP/1.0":
            client.expect_close()


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/slow-to-close", b"beforeafter"),
        ("/slow-to-close-with-length", b"before"),
        ("/slow-to-close-sized", b"before"),
        ("/slow-to-close-empty", b""),
    ],
)
def test_all_is_sent_before_the_app_is_told_to_close(
    serve: Serve, fifo: Path, target: str, body: bytes
) -> None:
    server = serve(STREAMS)
    with server.connect() as client:
        client.send(request(f"{target}?{fifo}"))
        assert client.read_response().body == body
        assert server.log == ""
        fifo.write_bytes(b"go on")
        server.wait_for_log("closed")


# ---- no more than the client takes


def unsent(server: Server, client: Client) -> set[str]:
    """The queues of server's socket to client, at rest (proc_net_tcp(5)). The kernel lists its
    table by the page and not at one time, so a connection may be listed twice, or not at all."""
    ours, theirs = client.socket.getsockname()[1], server.port
    with open("/proc/net/tcp") as table:
        rows = [line.split() for line in table][1:]
    return {
        row[4]
        for row in rows
        if row[1].endswith(f":{theirs:04X}") and row[2].endswith(f":{ours:04X}")
    }


def in_sockets(server: Server, client: Client) -> int:
    """Bytes that both kernels hold of what server has sent to client."""
    (queue,) = wait_until(lambda: unsent(server, client), "listed the connection")
    unread = struct.unpack("i", fcntl.ioctl(client.socket, termios.FIONREAD, b"\0" * 4))[0]
    return int(queue.partition(":")[0], 16) + int(unread)


@pytest.mark.parametrize("high_water", [20_000, 65_536, 1_000_000])
@pytest.mark.parametrize("size", [100, 5000, 60_000, 100_000, 1_000_000])
def test_what_is_made_ahead_of_a_client_is_the_high_water_mark_and_a_piece(
    serve: Serve, high_water: int, size: int
) -> None:
    server = serve(STREAMS, limits={"high_water": high_water})
    with server.connect() as other, server.connect(receive_buffer=4096) as client:
        client.send(request(f"/endless?{size}"))
        client.read_head()
        server.wait_for_rest()
        made = int(other.get("/how-many").body)
        framed = len(b"%x\r\n" % size) + size + 2
        read = len(client._input)  # with the head
        ahead = made * framed - in_sockets(server, client) - read
        assert 0 < ahead <= high_water + framed


@pytest.mark.parametrize("size", [5000, 100_000])
def test_an_endless_stream_takes_no_memory_from_who_reads_slowly(serve: Serve, size: int) -> None:
    server = serve(STREAMS)
    with server.connect(receive_buffer=4096, timeout=30) as client:
        client.send(request(f"/endless?{size}"))
        client.read_some(MEBIBYTE)
        server.wait_for_rest()
        before = server.memory()
        for _ in range(32):
            client.read_some(MEBIBYTE)
        server.wait_for_rest()
        assert server.memory() - before < 4 * MEBIBYTE  # of which PyPy takes some for its own


@pytest.mark.parametrize("how", ["list", "several", "generator", "sized", "write"])
def test_a_large_piece_is_lent_and_not_copied(serve: Serve, how: str) -> None:
    server = serve(STREAMS)
    with server.connect() as other, server.connect(receive_buffer=4096, timeout=40) as client:
        other.get("/how-many")
        before = server.memory("VmHWM")
        client.send(request(f"/one-large-piece?{how}"))
        head = client.read_head()
        server.wait_for_rest()
        assert server.memory("VmHWM") - before < 110 * MEBIBYTE
        client.socket.setsockopt(1, 8, 4 * MEBIBYTE)
        client.read_body(head)
        assert len(head.body) == 100 * MEBIBYTE + (how == "several")
        assert head.framing == ("length" if how in ("list", "sized") else "chunked")
    with server.connect() as other:
        assert other.get("/how-many").status == 200
        assert server.memory() - before < 20 * MEBIBYTE


@pytest.mark.parametrize("size", [65_535, 65_536, 65_537, 300_000, 1_000_003])
def test_pieces_of_every_size_arrive_as_they_were(serve: Serve, unix_path: str, size: int) -> None:
    """Those that are lent have to stay what and where they are until they have left."""
    server = serve(STREAMS, more=(unix_path,))
    with contextlib.ExitStack() as stack:
        clients = [
            stack.enter_context(server.connect(number % 2, receive_buffer=4096, timeout=40))
            for number in range(6)
        ]
        for number, client in enumerate(clients):
            client.send(request(f"/unlike?{size},{number:03}") * 2)
        with server.connect() as other:
            for _ in range(2):
                assert other.get("/collected").body == b"256"
        for _ in range(2):
            for number, client in enumerate(clients):
                response = client.read_response()
                for piece, chunk in enumerate(response.chunks):
                    text = b"%03d%07d" % (number, piece)
                    assert chunk == (text * (size // 10 + 1))[:size]
                assert len(response.chunks) == 8


def test_a_large_piece_beyond_the_content_length_is_cut(serve: Serve) -> None:
    server = serve(STREAMS)
    with server.connect() as client:
        for _ in range(3):
            response = client.get("/cut")
            assert response.body == b"x" + (bytes(range(256)) * 400)[:99_999]
    server.stop()
    assert (
        server.log == "GET /cut: the body is not as long as its Content-Length says, 100000\n" * 3
    )


# ---- clients that leave


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize("unread", [True, False])
def test_a_slow_generator_hears_of_a_client_that_has_left_when_it_yields(
    serve: Serve, fifo: Path, version: str, unread: bool
) -> None:
    """A client that leaves with nothing unread says only that it sends no more: its kernel answers
    the next piece by a reset, which the piece after that meets."""
    server = serve(STREAMS)
    with server.connect() as client:
        client.send(request(f"/step-by-step?{fifo}", version=version))
        if unread:
            client.wait_for_input()
        else:
            client.read_head()
            client.read_some(10 if version == "HTTP/1.1" else 5)
        server.wait_for_log("asked\n")
    if not unread:
        fifo.write_bytes(b"go on")
        server.wait_for_log("asked\nasked\n")
    server.wait_for_rest()  # the loop has heard, be it in another thread than the app
    fifo.write_bytes(b"go on")
    server.wait_for_log("ended")
    assert server.log == "asked\n" * (1 if unread else 2) + "ended\n"
