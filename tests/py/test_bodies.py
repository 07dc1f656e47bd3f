"""Request bodies: by length and in chunks, spooled, cut short, not read. How they are read is in
test_input.py."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable

import pytest
from harness import Server, wait_until
from rawclient import CHUNKED, Client, Response, chunked, request

Serve = Callable[..., Server]
MEBIBYTE = 1024 * 1024
LINES = b"one\ntwo\r\n\n\nlast, without an end"


def post(client: Client, target: str, body: bytes, chunk: int = 0) -> Response:
    """Posts body by its length, or in chunks of so many bytes."""
    if chunk:
        client.send(request(target, method="POST", fields=CHUNKED) + chunked(body, chunk))
    else:
        client.send(request(target, method="POST", body=body))
    return client.read_response()


def noise(size: int) -> bytes:
    """Bytes that look like nothing and are the same each time."""
    return hashlib.shake_128(b"meinheld").digest(size)


# ---- one request and the next


def test_a_body_is_not_read_into_the_next_request(serve: Serve) -> None:
    with serve("apps.bodies:app").connect() as client:
        client.send(
            request("/read", method="POST", body=b"first")
            + request("/read", method="POST", fields=CHUNKED)
            + chunked(b"second", 4)
            + request("/read", method="POST", body=b"third")
        )
        assert [client.read_response().body for _ in range(3)] == [b"first", b"second", b"third"]


@pytest.mark.parametrize("chunk", [0, 10, 65536])
@pytest.mark.parametrize("size", [0, 1, 100, 100_000, MEBIBYTE])
def test_a_body_that_the_app_ignores_is_drained(serve: Serve, size: int, chunk: int) -> None:
    if chunk == 10 and size > 100_000:
        size = 100_000
    with serve("apps.bodies:app").connect() as client:
        for _ in range(2):
            response = post(client, "/ignore", b"x" * size, chunk)
            assert response.body == b"not read"
        if not response.closes:
            assert client.get("/read").body == b""


# ---- size


@pytest.mark.parametrize("chunk", [0, 1000, 65536, 3 * MEBIBYTE])
def test_ten_mebibytes_arrive_whole_and_the_connection_goes_on(serve: Serve, chunk: int) -> None:
    body = noise(10 * MEBIBYTE)
    answer = f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()
    with serve("apps.bodies:app").connect(timeout=30) as client:
        for _ in range(2):
            assert post(client, "/digest", body, chunk).body == answer
        assert post(client, "/read", b"small").body == b"small"


@pytest.mark.parametrize("chunk", [0, 1000])
def test_a_body_over_the_buffer_size_is_spooled_and_reads_the_same(
    serve: Serve, chunk: int
) -> None:
    body = noise(200_000) + LINES
    server = serve("apps.bodies:app", client_body_buffer_size=4096)
    with server.connect() as client:
        for size in (4095, 4096, 4097, len(body)):
            assert post(client, "/read", body[:size], chunk).body == body[:size]
            assert post(client, "/read-small", body[:size], chunk).body == body[:size]
            lines = json.loads(post(client, "/readline", body[-size:], chunk).body)
            assert "".join(lines).encode("latin-1") == body[-size:]


def test_a_spool_file_is_closed_with_its_request(serve: Serve) -> None:
    server = serve("apps.bodies:app", client_body_buffer_size=1000)
    with server.connect() as client:
        post(client, "/read", b"x" * 5000)
        post(client, "/read", b"small")
        before = server.open_fds()
        for target in ("/read", "/ignore", "/nowhere"):
            post(client, target, b"x" * 5000)
        client.get("/read")
        # A thread closes it when the answer has been sent.
        wait_until(lambda: server.open_fds() == before, "closed its spool files")


def test_a_client_that_leaves_in_mid_spool_leaves_no_file_behind(serve: Serve) -> None:
    server = serve("apps.bodies:app", client_body_buffer_size=1000)
    with server.connect() as client:
        client.get("/read")
        before = server.open_fds()
        for _ in range(5):
            with server.connect() as leaver:
                leaver.send(request("/read", method="POST", body=b"x" * 50_000)[:-1])
        wait_until(lambda: server.open_fds() == before, "closed what the leavers had opened")


@pytest.mark.parametrize("chunk", [0, 1000])
def test_bodies_beyond_what_memory_may_hold_together_go_to_files(
    serve: Serve, unix_path: str, chunk: int
) -> None:
    server = serve("apps.little_memory:app", address=unix_path)
    whole = noise(90_000)
    data = chunked(whole, chunk) if chunk else whole
    framing = CHUNKED if chunk else [("Content-Length", "90000")]
    head = request("/read", method="POST", fields=framing)
    with server.connect() as one, server.connect() as two, server.connect() as third:
        for _ in range(3):  # what the first round has held counts no more in the next
            third.get("/read")
            before = len(server.open_fds())
            for client, files in ((one, 0), (two, 1), (third, 2)):
                client.send_separately(head)
                for at in range(0, 80_000, 10_000):
                    client.send_separately(data[at : at + 10_000])
                assert len(server.open_fds()) == before + files
            for client in (one, two, third):
                client.send(data[80_000:])
                assert client.read_response().body == whole
            wait_until(lambda n=before: len(server.open_fds()) == n, "closed the files")  # type: ignore[misc]


def test_many_bodies_at_once_do_not_mix(serve: Serve) -> None:
    server = serve("apps.bodies:app", client_body_buffer_size=30_000)
    clients = [server.connect() for _ in range(20)]
    bodies = [bytes([65 + number]) * (number * 5000 + 1) for number in range(20)]
    try:
        wholes = [request("/read", method="POST", body=body) for body in bodies]
        for start in range(0, max(map(len, wholes)), 4096):
            for client, whole in zip(clients, wholes):
                client.send(whole[start : start + 4096])
        for client, body in zip(clients, bodies):
            assert client.read_response().body == body
    finally:
        for client in clients:
            client.close()


# ---- slow, cut short, malformed


def test_a_body_that_trickles_in_holds_up_nobody(serve: Serve, unix_path: str) -> None:
    server = serve("apps.bodies:app", address=unix_path)
    whole = request("/read", method="POST", body=b"0123456789")
    with server.connect() as slow, server.connect() as quick:
        for number in range(len(whole)):
            slow.send_separately(whole[number : number + 1])
            if number % 10 == 0:
                assert post(quick, "/read", b"quick").body == b"quick"
        assert slow.read_response().body == b"0123456789"


@pytest.mark.parametrize("chunk", [0, 4])
@pytest.mark.parametrize("half_close", [False, True])
def test_a_body_that_ends_early_is_never_taken_for_a_whole_one(
    serve: Serve, chunk: int, half_close: bool
) -> None:
    server = serve("apps.bodies:app")
    if chunk:
        cut = request("/read", method="POST", fields=CHUNKED) + chunked(b"0123456789", 4)[:-2]
    else:
        cut = request("/read", method="POST", body=b"0123456789")[:-1]
    with server.connect() as client:
        client.send(cut)
        if half_close:
            client.finish_sending()
            rest = client.read_to_abort()
            assert b" 200 " not in rest and b"0123456" not in rest
    with server.connect() as client:
        assert post(client, "/read", b"well").body == b"well"


def test_a_malformed_chunk_far_into_a_body_is_400(serve: Serve) -> None:
    good = chunked(b"x" * 300_000, 1000)[: -len(b"0\r\n\r\n")]
    with serve("apps.bodies:app", client_body_buffer_size=1000).connect() as client:
        client.send(request("/read", method="POST", fields=CHUNKED) + good)
        client.send_if_open(b"no size\r\n")
        assert client.read_response().status == 400
        client.expect_close()


def test_memory_grows_by_what_arrives_not_by_what_is_declared(serve: Serve) -> None:
    server = serve("apps.bodies:app", max_content_length=2**40, client_body_buffer_size=2**40)

    def resident() -> int:
        with open(f"/proc/{server.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    with server.connect() as other:
        other.get("/read")
        before = resident()
        clients = [server.connect() for _ in range(10)]
        try:
            for client in clients:
                fields = [("Content-Length", str(2**39))]
                client.send(request("/read", method="POST", fields=fields) + b"x" * 1000)
            other.get("/read")
            assert resident() - before < 16 * MEBIBYTE
        finally:
            for client in clients:
                client.close()


def test_what_an_app_does_to_its_input_is_not_the_server_s_end(serve: Serve) -> None:
    server = serve("apps.bodies:app", client_body_buffer_size=10)
    with server.connect() as client:
        assert post(client, "/keep-buffer", b"in memory").body == b"kept"
        assert post(client, "/detach", b"in a file, larger").body == b"in a"
        assert post(client, "/read", LINES).body == LINES


@pytest.mark.parametrize("chunk", [0, 100_000])
def test_a_full_disk_costs_the_upload_and_not_the_server(serve: Serve, chunk: int) -> None:
    server = serve("apps.full_disk:app", tracebacks=1)
    with server.connect() as client:
        assert post(client, "/", bytes(3 * MEBIBYTE // 2), chunk).status == 500
    server.wait_for_log("a request body could not be kept")
    with server.connect() as client:
        assert post(client, "/", bytes(100_000), chunk).body == b"100000"


@pytest.mark.parametrize("size", [11, 1000, 100_000])
@pytest.mark.parametrize("chunk", [0, 7])
def test_no_space_for_a_body_costs_the_upload_and_not_the_server(
    serve: Serve, size: int, chunk: int
) -> None:
    """Small ones fail when they are complete: until then they are in the file's own buffer."""
    server = serve("apps.no_space:app", tracebacks=2, client_body_buffer_size=10)
    for _ in range(2):
        with server.connect() as client:
            assert post(client, "/", bytes(size), chunk).status == 500
        with server.connect() as client:
            assert post(client, "/", bytes(10), chunk).body == b"10"
    assert server.log.count("No space left on device") == 2
