"""Responses of every shape: how they are framed, how large ones leave, what slow readers do."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Server, wait_until
from rawclient import request

Serve = Callable[..., Server]
RESPONSES = "apps.responses:app"
MEBIBYTE = bytes(range(256)) * 4096


# ---- framing


@pytest.mark.parametrize(
    ("target", "framing", "body"),
    [
        ("/one-piece", "length", b"one piece"),
        ("/pieces", None, b"several pieces"),
        ("/pieces-with-length", "length", b"several pieces"),
        ("/nothing", "length", b""),
        ("/nothing-generated", None, b""),
        ("/generated", "chunked", b"piece 0\npiece 1\npiece 2\n"),
        ("/tuple", None, b"ab"),
        ("/written", "chunked", b"written and returned"),
    ],
)
def test_a_response_is_framed_so_that_the_connection_goes_on(
    serve: Serve, target: str, framing: str | None, body: bytes
) -> None:
    with serve(RESPONSES).connect() as client:
        for _ in range(3):
            response = client.get(target)
            assert (response.status, response.body) == (200, body)
            assert framing in (None, response.framing)
            assert response.framing != "close"
        client.expect_nothing_buffered()


def test_each_piece_of_a_generator_is_a_chunk(serve: Serve) -> None:
    with serve(RESPONSES).connect() as client:
        assert client.get("/generated").chunks == [b"piece 0\n", b"piece 1\n", b"piece 2\n"]


@pytest.mark.parametrize("target", ["/one-piece", "/pieces", "/generated", "/nothing", "/written"])
def test_http_1_0_gets_the_same_body_unchunked(serve: Serve, target: str) -> None:
    server = serve(RESPONSES)
    with server.connect() as client:
        body = client.get(target).body
    with server.connect() as client:
        response = client.get(target, version="HTTP/1.0")
        assert response.body == body
        assert response.framing in ("length", "close")
        client.expect_close()


def test_the_app_s_own_fields_go_out_as_they_are(serve: Serve) -> None:
    with serve(RESPONSES).connect() as client:
        response = client.get("/own-fields")
    assert (response.status, response.reason) == (299, "Own words, caf\xe9")
    assert response.get("Date") == "Thu, 01 Jan 1970 00:00:00 GMT"
    assert response.get("Server") == "other"
    assert response.all("Set-Cookie") == ["a=1", "b=2"]
    assert response.get("X-Latin") == "caf\xe9"
    assert response.get("X-Empty") == ""


# ---- lengths that are not kept


@pytest.mark.parametrize("target", ["/too-long", "/too-long-generated"])
def test_a_body_over_its_length_is_cut_and_reported(serve: Serve, target: str) -> None:
    server = serve(RESPONSES)
    with server.connect() as client:
        client.send(request(target) + request("/one-piece"))
        assert client.read_response().body == b"1234"
        assert client.read_response().body == b"one piece"
    server.stop()
    assert "Content-Length" in server.log


@pytest.mark.parametrize("target", ["/too-short", "/too-short-generated"])
def test_a_body_short_of_its_length_aborts_the_connection(serve: Serve, target: str) -> None:
    server = serve(RESPONSES)
    with server.connect() as client:
        client.send(request(target) + request("/one-piece"))
        received = client.read_to_abort()
        assert b"one piece" not in received
        assert not received or received.endswith((b"1234", b"12", b"\r\n\r\n"))
    with server.connect() as client:
        assert client.get("/one-piece").body == b"one piece"


# ---- large ones


@pytest.mark.parametrize("target", ["/large", "/large-generated"])
def test_ten_mebibytes_leave_whole_on_a_connection_that_goes_on(serve: Serve, target: str) -> None:
    with serve(RESPONSES).connect(timeout=30) as client:
        for _ in range(3):
            assert client.get(target).body == MEBIBYTE * 10
        assert client.get("/one-piece").body == b"one piece"


def test_pieces_over_high_water_leave_while_nothing_else_happens(serve: Serve) -> None:
    with serve(RESPONSES).connect() as client:
        for _ in range(3):
            assert client.get("/large-pieces").body == b"a" * 40_000 + b"b" * 40_000


@pytest.mark.parametrize("target", ["/large", "/large-generated"])
def test_a_slow_reader_gets_all_of_it_and_holds_up_nobody(serve: Serve, target: str) -> None:
    server = serve(RESPONSES)
    with server.connect(receive_buffer=4096) as slow, server.connect() as quick:
        slow.send(request(target))
        response = slow.read_head()
        for _ in range(100):
            assert quick.get("/one-piece").body == b"one piece"
        slow.timeout = 30
        slow.read_body(response)
        assert response.body == MEBIBYTE * 10


def test_bodies_that_wait_for_their_clients_are_kept_as_they_are(
    serve: Serve, unix_path: str
) -> None:
    server = serve(RESPONSES, address=unix_path)
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(server.connect()) for _ in range(8)]
        for number, client in enumerate(clients):
            # More than the socket takes, in bodies that a collector moves all the same.
            client.send(request(f"/repeated?{number:08}") * 16)
        with server.connect() as other:
            for _ in range(3):
                assert other.get("/collected").body == b"256"
        for number, client in enumerate(clients):
            for _ in range(16):
                assert client.read_response().body == b"%08d" % number * 8192


def test_a_reader_that_stops_stops_the_app_that_writes(serve: Serve) -> None:
    server = serve(RESPONSES)
    with server.connect() as other:
        with server.connect() as stopped:
            stopped.send(request("/endless"))
            stopped.read_some(1000)
            counts: list[int] = []

            def came_to_rest() -> bool:
                counts.append(int(other.get("/how-many").body))
                return len(counts) > 50 and counts[-1] == counts[-50]

            wait_until(came_to_rest, "stopped producing")
            # What is out is in the kernel's buffers and in the server's, up to its high-water mark.
            assert counts[-1] < 64
        server.wait_for_log("endless ended")


def test_a_client_that_leaves_during_write_is_no_error_of_the_app_s(serve: Serve) -> None:
    server = serve(RESPONSES)
    with server.connect() as client:
        client.send(request("/written-large"))
        client.read_some(1)
    wait_until(lambda: "closed" in server.log, "closed what the app returned")
    assert server.log == "closed 1 times\n"


def test_empty_pieces_hold_up_nobody(serve: Serve) -> None:
    server = serve(RESPONSES)
    with server.connect() as waiting, server.connect() as other:
        waiting.send(request("/empty-until-called?a"))
        assert other.get("/one-piece").body == b"one piece"
        waiting.expect_nothing_buffered()
        other.get("/call?a")
        assert waiting.read_response().body == b"called"


# ---- files


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A file of 3 MiB and a bit."""
    made = tmp_path / "file"
    made.write_bytes(MEBIBYTE * 3 + b"end")
    return made


def test_a_file_is_sent_whole_and_closed(serve: Serve, path: Path) -> None:
    server = serve(RESPONSES)
    with server.connect() as client:
        for _ in range(2):
            assert client.get(f"/file?{path}").body == path.read_bytes()
        assert client.get("/one-piece").body == b"one piece"
    server.stop()
    assert server.log == "file closed\n" * 2


def test_a_file_with_a_length_is_framed_by_it(serve: Serve, path: Path) -> None:
    with serve(RESPONSES).connect() as client:
        response = client.get(f"/file-with-length?{path}")
        assert (response.framing, response.body) == ("length", path.read_bytes())
        assert client.get("/one-piece").body == b"one piece"


def test_a_file_is_sent_from_where_it_stands(serve: Serve, path: Path) -> None:
    size = path.stat().st_size
    with serve(RESPONSES).connect() as client:
        for offset in (1, 4096, size - 1, size):
            assert client.get(f"/file?{path},{offset}").body == path.read_bytes()[offset:]


def test_a_part_of_a_file_ends_where_its_length_says(serve: Serve, path: Path) -> None:
    with serve(RESPONSES).connect() as client:
        response = client.get(f"/part-of-file?{path}")
        assert (response.status, response.body) == (206, path.read_bytes()[1000:6000])
        assert client.get("/one-piece").body == b"one piece"


def test_a_file_that_is_none_is_sent_by_reading(serve: Serve) -> None:
    with serve(RESPONSES).connect() as client:
        assert client.get("/file-in-memory").body == MEBIBYTE


def test_head_of_a_file_sends_nothing_of_it_and_closes_it(serve: Serve, path: Path) -> None:
    server = serve(RESPONSES)
    with server.connect() as client:
        client.get(f"/file-with-length?{path}", method="HEAD")
        assert client.get("/one-piece").body == b"one piece"
        server.wait_for_log("file closed")


def test_a_slow_reader_of_a_file_gets_all_of_it_and_holds_up_nobody(
    serve: Serve, path: Path
) -> None:
    os.truncate(path, 32 * 1024 * 1024)  # more than the socket's buffers take at once
    server = serve(RESPONSES)
    with server.connect(receive_buffer=4096) as slow, server.connect() as quick:
        slow.send(request(f"/file-with-length?{path}"))
        slow.read_head()
        for _ in range(100):
            assert quick.get("/one-piece").body == b"one piece"
        slow.timeout = 40
        assert slow.read_some(path.stat().st_size) == path.read_bytes()


def test_a_client_that_leaves_in_mid_file_leaves_nothing_open(serve: Serve, path: Path) -> None:
    os.truncate(path, 64 * 1024 * 1024)
    server = serve(RESPONSES)
    with server.connect() as other:
        other.get("/one-piece")
        before = server.open_fds()
        for _ in range(3):
            with server.connect() as client:
                client.send(request(f"/file?{path}"))
                client.read_some(10_000)
        wait_until(lambda: server.open_fds() == before, "closed what the leavers had opened")
        wait_until(lambda: server.log == "file closed\n" * 3, "closed the files")


def test_a_stream_without_end_and_its_greedy_reader_starve_nobody(serve: Serve) -> None:
    server = serve(RESPONSES)
    with server.connect() as greedy, server.connect() as other:
        greedy.send(request("/endless"))
        greedy.read_head()

        def read_on() -> None:
            with contextlib.suppress(OSError):
                while greedy.socket.recv(1 << 20):
                    pass

        reader = threading.Thread(target=read_on)
        reader.start()
        try:
            for _ in range(20):
                assert other.get("/one-piece").body == b"one piece"
        finally:
            greedy.socket.shutdown(socket.SHUT_RDWR)
            reader.join()
