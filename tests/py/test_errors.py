"""Apps that fail: what the client sees, what the log says, and that the server goes on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Server
from rawclient import request

Serve = Callable[..., Server]
ERRORS = "apps.errors:app"


def still_well(server: Server) -> bool:
    with server.connect() as client:
        return client.get("/well").body == b"well"


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("/before", "ValueError: before start_response"),
        ("/cancelled", "CancelledError: of a task of the application's own"),
        ("/generator-exit", "GeneratorExit: out of place"),
        ("/after-start", "ValueError: after start_response"),
        ("/first-piece", "ValueError: before the first piece"),
    ],
)
def test_an_app_that_raises_before_anything_is_sent_is_a_500_with_a_traceback(
    serve: Serve, target: str, text: str
) -> None:
    server = serve(ERRORS, tracebacks=1)
    with server.connect() as client:
        response = client.get(target)
    assert response.status == 500
    assert b"ValueError" not in response.body  # the client learns nothing of the code
    assert still_well(server)
    server.wait_for_log(text)
    assert "errors.py" in server.log


def test_an_app_may_put_anything_into_environ_or_take_it_out(serve: Serve) -> None:
    server = serve(ERRORS, tracebacks=2)
    for target in ("/cleared", "/spoilt"):
        with server.connect() as client:
            assert client.get(target).status == 500
    with server.connect() as client:
        assert client.get("/cleared-and-short").body == b"t"
    assert still_well(server)
    server.wait_for_log("after clearing environ")
    server.wait_for_log("after spoiling environ")
    server.wait_for_log("not as long as its Content-Length says")


def test_a_500_on_a_kept_alive_connection_is_framed(serve: Serve) -> None:
    with serve(ERRORS, tracebacks=3).connect() as client:
        for _ in range(3):
            response = client.get("/before")
            assert (response.status, response.framing) == (500, "length")
            assert not response.closes
        assert client.get("/well").body == b"well"


def test_a_500_to_head_has_no_body(serve: Serve) -> None:
    with serve(ERRORS, tracebacks=1).connect() as client:
        assert client.get("/before", method="HEAD").status == 500
        assert client.get("/well").body == b"well"


@pytest.mark.parametrize("target", ["/second-piece", "/second-piece-with-length", "/after-write"])
def test_an_app_that_raises_after_the_head_has_gone_aborts_the_connection(
    serve: Serve, target: str
) -> None:
    server = serve(ERRORS, tracebacks=1)
    with server.connect() as client:
        client.send(request(target) + request("/well"))
        received = client.read_to_abort()
    # Nothing is appended: no last chunk to make it look whole, no error page, no next answer.
    for text in (b"\r\n0\r\n", b"well", b" 500 "):
        assert text not in received
    assert still_well(server)
    server.wait_for_log("ValueError: after")


def test_a_piece_for_which_there_is_no_memory_aborts_the_connection(serve: Serve) -> None:
    server = serve(ERRORS, tracebacks=1, limits={"high_water": 2**32 - 1})
    with server.connect(receive_buffer=4096) as client:
        client.send(request("/pieces-without-memory"))
        client.read_head()
        server.wait_for_log("MemoryError")
        assert b"\r\n0\r\n" not in client.read_to_abort()
    assert still_well(server)


def test_a_close_that_raises_is_logged_and_spoils_no_response(serve: Serve) -> None:
    server = serve(ERRORS, tracebacks=1)
    with server.connect() as client:
        assert client.get("/in-close").body == b"all of it"
    assert still_well(server)
    server.wait_for_log("ValueError: in close")


@pytest.mark.parametrize("target", ["/never-started", "/never-started-empty"])
def test_an_app_that_never_calls_start_response_is_a_500(serve: Serve, target: str) -> None:
    server = serve(ERRORS, tracebacks=1)
    with server.connect() as client:
        assert client.get(target).status == 500
    assert still_well(server)
    server.wait_for_log("start_response")


@pytest.mark.parametrize("target", ["/none", "/text-piece"])
def test_an_app_that_breaks_pep_3333_is_a_500(serve: Serve, target: str) -> None:
    server = serve(ERRORS, tracebacks=1)
    with server.connect() as client:
        assert client.get(target).status == 500
    assert still_well(server)


def test_bytes_alone_as_a_body_are_an_error_of_the_app(serve: Serve) -> None:
    server = serve("apps.responses:app", tracebacks=1)
    with server.connect() as client:
        assert client.get("/plain-bytes").status == 500


def test_sys_exit_in_an_app_ends_the_server_with_its_status(serve: Serve) -> None:
    server = serve(ERRORS, status=3)
    with server.connect() as client:
        client.send(request("/exits"))
        received = client.read_to_abort()
        assert b" 200 " not in received
    assert server.wait() == 3


def test_keyboard_interrupt_in_an_app_ends_the_server(serve: Serve) -> None:
    server = serve(
        ERRORS, status=-2, tracebacks=1
    )  # Python dies of SIGINT, its traceback on stderr
    with server.connect() as client:
        client.send(request("/interrupted"))
        received = client.read_to_abort()
        assert b" 200 " not in received
    assert server.wait() == -2


def test_a_hundred_errors_leak_no_descriptor(serve: Serve) -> None:
    targets = ["/before", "/second-piece", "/none", "/well"]
    server = serve(ERRORS, tracebacks=75)
    with server.connect() as watcher:
        watcher.get("/well")
        before = server.open_fds()
        for number in range(100):
            with server.connect() as client:
                client.send(request(targets[number % 4], fields=[("Connection", "close")]))
                client.read_to_abort()
        watcher.get("/well")
        assert server.open_fds() == before
