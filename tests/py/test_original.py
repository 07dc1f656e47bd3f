"""What the original got wrong, each by name: the list at the end of docs/http.md."""

from __future__ import annotations

import json
import resource
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from harness import Server
from rawclient import Client, request

Serve = Callable[..., Server]
MEBIBYTE = bytes(range(256)) * 4096
CHUNKED = [("Transfer-Encoding", "chunked")]


@contextmanager
def descriptors(count: int) -> Iterator[None]:
    """Allows this process, and the servers it starts meanwhile, so many open descriptors."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    assert wanted == count, f"the hard limit of open descriptors is {hard}: the test needs {count}"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, count), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_large_response_on_a_kept_alive_connection_does_not_stall(serve: Serve) -> None:
    with serve("apps.responses:app").connect(timeout=30) as client:
        client.get("/one-piece")
        for target in ("/large", "/large-generated", "/large"):
            assert client.get(target).body == MEBIBYTE * 10


def test_a_trailer_field_does_not_crash(serve: Serve) -> None:
    with serve("apps.report:app").connect() as client:
        for _ in range(2):
            client.send(request("/", method="POST", fields=CHUNKED))
            client.send(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\nX-More: 2\r\n\r\n")
            assert client.read_response().body == b"POST / test hello"


def test_upgrade_h2c_and_then_another_request_does_not_crash(serve: Serve) -> None:
    fields = [
        ("Connection", "Upgrade, HTTP2-Settings"),
        ("Upgrade", "h2c"),
        ("HTTP2-Settings", "AAMAAABkAARAAAAAAAIAAAAA"),
    ]
    with serve("apps.hello:app").connect() as client:
        for _ in range(3):
            assert client.get(fields=fields).status == 200
            assert client.get().body == b"Hello world!"


def test_transfer_encoding_in_lower_case_is_not_ignored(serve: Serve) -> None:
    with serve("apps.report:app").connect() as client:
        client.send(request(method="POST", fields=[("transfer-encoding", "chunked")]))
        client.send(b"5\r\nhello\r\n0\r\n\r\n")
        assert client.read_response().body == b"POST / test hello"


def test_remote_addr_is_never_that_of_another_client(serve: Serve) -> None:
    server = serve("apps.environ:app")
    for _ in range(50):  # connections that come and go, so that their places are used again
        with server.connect() as one, server.connect() as two:
            for client in (two, one, two):
                environ = json.loads(client.get().body)
                assert environ["REMOTE_ADDR"] == "127.0.0.1"
                assert environ["REMOTE_PORT"] == str(client.socket.getsockname()[1])


def test_head_has_no_body(serve: Serve) -> None:
    with serve("apps.responses:app").connect() as client:
        for target in ("/one-piece", "/generated", "/large"):
            client.get(target, method="HEAD")
            assert client.get("/one-piece").body == b"one piece"


def test_an_empty_piece_does_not_end_the_stream(serve: Serve) -> None:
    with serve("apps.responses:app").connect() as client:
        for target in ("/generated", "/pieces"):
            body = client.get(target).body
            assert body in (b"piece 0\npiece 1\npiece 2\n", b"several pieces")
        client.expect_nothing_buffered()


def test_an_empty_list_on_a_kept_alive_connection_does_not_hang_the_client(serve: Serve) -> None:
    with serve("apps.responses:app").connect() as client:
        for _ in range(3):
            response = client.get("/nothing")
            assert (response.status, response.body, response.closes) == (200, b"", False)


def test_sendfile_sends_no_byte_too_many_to_a_slow_reader(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(MEBIBYTE * 16)
    with serve("apps.responses:app").connect(receive_buffer=4096, timeout=30) as client:
        client.send(request(f"/file-with-length?{path}") + request("/one-piece"))
        assert client.read_response().body == MEBIBYTE * 16
        assert client.read_response().body == b"one piece"
        client.expect_nothing_buffered()


def test_sendfile_ends_with_a_seeked_file(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(MEBIBYTE)
    server = serve("apps.responses:app")
    with server.connect() as client, server.connect() as other:
        assert client.get(f"/file?{path},1000000").body == MEBIBYTE[1000000:]
        assert other.get("/one-piece").body == b"one piece"
        assert client.get("/one-piece").body == b"one piece"


def test_emfile_does_not_stop_the_server(serve: Serve) -> None:
    server = serve("apps.hello:app")
    with ExitStack() as stack:
        first = stack.enter_context(server.connect())
        first.get()
        room = len(server.open_fds()) + 20
        resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (room, room))
        clients = [stack.enter_context(server.connect()) for _ in range(60)]
        for client in clients:
            client.send(request())
        # Those that have found room are answered; the others wait in the backlog.
        assert clients[0].read_response().body == b"Hello world!"
        assert first.get().body == b"Hello world!"
        for client in clients[:40]:
            client.close()
        for client in clients[40:]:
            assert client.read_response().body == b"Hello world!"
            client.close()
        assert first.get().body == b"Hello world!"
        with server.connect() as later:
            assert later.get().body == b"Hello world!"
    server.stop()
    assert server.log.count("\n") <= 1, "it is said once"


@pytest.mark.parametrize("first_size", [32, 1024])
def test_the_connection_4208_is_answered_whatever_the_tables_first_size(
    serve: Serve, first_size: int
) -> None:
    with descriptors(5000):
        server = serve("apps.hello:app", picoev_max_fd=first_size)
        clients: list[Client] = []
        try:
            for _ in range(4300):
                clients.append(server.connect())
                clients[-1].send(request())
                assert clients[-1].read_response().body == b"Hello world!"
            assert len(server.open_fds()) < 4400
            assert clients[4207].get().body == b"Hello world!"
        finally:
            for client in clients:
                client.close()


def test_a_stale_timer_does_not_close_a_connection_in_use(serve: Serve) -> None:
    server = serve("apps.responses:app", keepalive=1)
    with server.connect(receive_buffer=4096, timeout=30) as client:
        client.get("/one-piece")
        client.send(request("/large"))  # not read for now: the connection is in use, not idle
        with server.connect() as clock:
            clock.get("/one-piece")
            clock.expect_close()  # so the keep-alive time is over for whoever was idle
        assert client.read_response().body == MEBIBYTE * 10
        assert client.get("/one-piece").body == b"one piece"


def test_the_path_is_decoded_once(serve: Serve) -> None:
    with serve("apps.environ:app").connect() as client:
        assert json.loads(client.get("/%2541%252f").body)["PATH_INFO"] == "/%41%2f"


def test_100_continue_is_not_sent_after_the_body(serve: Serve) -> None:
    fields = [("Expect", "100-continue"), ("Content-Length", "5")]
    with serve("apps.report:app").connect() as client:
        client.send(request(method="POST", fields=fields) + b"hello")
        assert client.read_response().body == b"POST / test hello"
        client.expect_nothing_buffered()


@pytest.mark.parametrize("name", ["value-int", "value-none", "value-bytes", "name-int"])
def test_a_header_that_is_no_str_does_not_crash(serve: Serve, name: str) -> None:
    with serve("apps.starts:app", tracebacks=2).connect() as client:
        for _ in range(2):
            assert client.get(f"/bad?{name}").status == 500
        assert client.get("/good?code-alone").body == b"x"


def test_a_complete_request_is_answered_while_part_of_the_next_is_there(serve: Serve) -> None:
    both = request("/1") + request("/2")
    with serve("apps.report:app").connect() as client:
        for cut in (1, 10, len(request("/2")) - 1):
            client.send(both[:-cut])
            assert client.read_response().body == b"GET /1 test "
            client.send(both[-cut:])
            assert client.read_response().body == b"GET /2 test "


def test_the_next_request_after_a_file_is_answered(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"small")
    with serve("apps.responses:app").connect() as client:
        for _ in range(5):
            assert client.get(f"/file?{path}").body == b"small"
            assert client.get("/one-piece").body == b"one piece"
