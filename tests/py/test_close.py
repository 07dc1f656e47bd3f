"""close() of what an application returns: once, whichever way its exchange ends (PEP 3333)."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from harness import Server, count_tracebacks, wait_until
from rawclient import Client, request

Serve = Callable[..., Server]
APP = "apps.closing:app"
CLOSED = "closed 1 times\n"


def closed_once(server: Server) -> None:
    """Waits for the one close(), then makes sure that there is no other."""
    server.wait_for_log(CLOSED)
    assert server.stop() in (0, 3)
    assert server.log.count("closed") == 1, server.log


def parked(server: Server, client: Client, target: str) -> None:
    """Asks for what has no end, and returns once the server waits for the client to read it."""
    client.send(request(target))
    client.read_head()
    server.wait_for_rest()


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize(
    "target",
    [
        "/complete",
        "/complete-in-one",
        "/sized",
        "/nothing",
        "/nothing-but-empty",
        "/no-content",
    ],
)
def test_a_complete_response_is_closed_once(
    serve: Serve, target: str, version: str, method: str
) -> None:
    server = serve(APP)
    with server.connect() as client:
        client.get(target, version=version, method=method)
    closed_once(server)
    assert server.log == CLOSED


def test_head_of_an_endless_response_is_closed_at_its_first_piece(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        assert client.get("/endless", method="HEAD").status == 200
        assert client.get("/well").body == b"well"
    closed_once(server)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/fails-first", 500),
        ("/never-started", 500),
        ("/started-badly", 500),
        ("/bad-iter", 500),
        ("/no-iterator", 500),
        ("/fails-after-its-length", 200),
        ("/closes-badly", 200),
    ],
)
def test_an_error_is_logged_once_and_the_result_closed_once(
    serve: Serve, target: str, status: int
) -> None:
    server = serve(APP, tracebacks=1)
    with server.connect() as client:
        assert client.get(target).status == status
        assert client.get("/well").body == b"well"
    closed_once(server)


@pytest.mark.parametrize("target", ["/fails-later", "/text-piece", "/fails-twice"])
def test_an_error_in_mid_response_closes_once(serve: Serve, target: str) -> None:
    server = serve(APP, tracebacks=1)
    with server.connect() as client:
        client.send(request(target))
        assert not client.read_to_abort().endswith(b"0\r\n\r\n")
    closed_once(server)


@pytest.mark.parametrize("target", ["/too-long", "/too-long-at-once", "/too-short"])
def test_a_body_of_another_length_than_announced_closes_once(serve: Serve, target: str) -> None:
    server = serve(APP)
    with server.connect() as client:
        client.send(request(target))
        client.finish_sending()
        client.read_to_abort()
    closed_once(server)
    assert server.log.count("not as long as its Content-Length") == 1


@pytest.mark.parametrize("target", ["/exits", "/exits-and-fails"])
def test_an_exit_in_the_iteration_closes_once_and_ends_the_server(
    serve: Serve, target: str
) -> None:
    server = serve(APP, status=3, tracebacks=int(target == "/exits-and-fails"))
    with server.connect() as client:
        client.send(request(target))
        client.read_to_abort()
    assert server.wait() == 3
    closed_once(server)


# ---- clients that leave


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize("target", ["/endless", "/written"])
def test_a_client_that_leaves_before_its_response_closes_once(
    serve: Serve, target: str, version: str
) -> None:
    server = serve(APP)
    with server.connect() as client:
        client.send(request(target, version=version))
    closed_once(server)
    assert server.log == CLOSED


@pytest.mark.parametrize("version", ["HTTP/1.0", "HTTP/1.1"])
@pytest.mark.parametrize("target", ["/endless", "/written"])
def test_a_client_that_leaves_in_the_middle_closes_once(
    serve: Serve, target: str, version: str
) -> None:
    server = serve(APP)
    with server.connect() as client:
        client.send(request(target, version=version))
        client.read_some(1_000_000)
    closed_once(server)
    assert server.log == CLOSED


@pytest.mark.parametrize("target", ["/endless", "/written"])
def test_a_client_that_leaves_while_it_is_waited_for_closes_once(serve: Serve, target: str) -> None:
    server = serve(APP)
    with server.connect(receive_buffer=4096) as client:
        parked(server, client, target)
        assert server.log == ""
    closed_once(server)
    assert server.log == CLOSED


@pytest.mark.parametrize("listener", [0, 1])
def test_a_client_that_leaves_while_there_is_nothing_to_send_closes_once(
    serve: Serve, unix_path: str, listener: int
) -> None:
    """Over TCP its leaving looks like a half-close: row 34 of docs/http.md."""
    server = serve(APP, more=(unix_path,))
    with server.connect() as other:
        with server.connect(listener) as client:
            client.send(request("/empties"))
            # A request whose client leaves while it waits for a thread never begins.
            wait_until(lambda: other.get("/begun").body == b"1", "begun")
        server.wait_for_log(CLOSED)
        assert other.get("/well").body == b"well"
    closed_once(server)
    assert server.log == CLOSED


def test_a_half_close_does_not_cut_a_response_that_is_being_sent(serve: Serve) -> None:
    with serve("apps.responses:app").connect(receive_buffer=4096, timeout=30) as client:
        client.send(request("/large-generated"))
        client.finish_sending()
        assert len(client.read_response().body) == 10 * 1024 * 1024
        client.expect_close()


@pytest.mark.parametrize("target", ["/endless-closes-badly", "/stubborn"])
def test_a_close_that_fails_after_the_client_has_left_is_logged_alone(
    serve: Serve, target: str
) -> None:
    server = serve(APP, tracebacks=1)
    with server.connect() as client:
        client.send(request(target))
        client.read_some(100_000)
    closed_once(server)
    assert "NothingMore" not in server.log


# ---- the end of the run


@pytest.mark.parametrize("target", ["/endless", "/written"])
def test_an_interrupt_while_a_client_is_waited_for_closes_once(serve: Serve, target: str) -> None:
    server = serve(APP, status=-2, tracebacks=1)
    with server.connect(receive_buffer=4096) as client:
        parked(server, client, target)
        server.signal(signal.SIGINT)
        assert server.wait() == -2
    # What writes goes on, to no effect, when it is let go: it is ended without a result.
    assert server.log.count("closed") == (target == "/endless")
    assert count_tracebacks(server.log) == 1


@pytest.mark.parametrize("target", ["/endless", "/endless-closes-badly", "/stubborn"])
def test_a_stop_while_a_client_is_waited_for_closes_once(serve: Serve, target: str) -> None:
    server = serve(APP, tracebacks=int(target != "/endless"))
    with server.connect(receive_buffer=4096) as client:
        parked(server, client, target)
        with server.connect() as other:
            other.send(request("/stop"))
            assert server.wait() == 0
    closed_once(server)
