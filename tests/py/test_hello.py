"""The first thing anybody tries: hello world, once and many times over, each answer checked."""

from __future__ import annotations

import re
from collections.abc import Callable

import meinheld
from harness import Server
from meinheld import server as server_module
from rawclient import Client, request

Serve = Callable[..., Server]


def test_hello_world_is_answered_in_full(serve: Serve) -> None:
    with serve("apps.hello:app").connect() as client:
        response = client.get()
    assert (response.status, response.reason) == (200, "OK")
    assert response.body == b"Hello world!"
    assert response.get("Content-Type") == "text/plain"
    assert response.get("Content-Length") == "12"
    assert re.fullmatch(
        r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT",
        response.get("Date") or "",
    )
    assert (response.get("Server") or "").startswith("meinheld")
    assert not response.closes


def test_a_thousand_requests_on_one_connection_are_all_answered(serve: Serve) -> None:
    with serve("apps.hello:app").connect() as client:
        for _ in range(1000):
            assert client.get().body == b"Hello world!"
        client.expect_nothing_buffered()


def test_a_thousand_connections_one_after_another_are_all_answered(serve: Serve) -> None:
    server = serve("apps.hello:app")
    for _ in range(1000):
        with server.connect() as client:
            client.send(request(fields=[("Connection", "close")]))
            assert client.read_response().body == b"Hello world!"
            client.expect_close()


def test_two_hundred_connections_at_once_are_all_answered_in_turn(serve: Serve) -> None:
    server = serve("apps.hello:app")
    clients = [server.connect() for _ in range(200)]
    try:
        for _ in range(5):
            for client in clients:
                client.send(request())
            for client in clients:
                assert client.read_response().body == b"Hello world!"
    finally:
        for client in clients:
            client.close()


def test_connections_that_close_give_their_descriptors_back(serve: Serve) -> None:
    server = serve("apps.hello:app")
    with server.connect() as client:
        client.get()
        before = server.open_fds()
        for _ in range(50):
            with server.connect() as other:
                other.send(request(fields=[("Connection", "close")]))
                other.read_response()
                other.expect_close()
        client.get()  # once more through the loop, after the last close
        assert server.open_fds() == before


def test_importing_meinheld_gives_the_names_of_meinheld_server() -> None:
    for name in ("listen", "run", "shutdown", "stop", "set_keepalive", "get_keepalive"):
        assert getattr(meinheld, name) is getattr(server_module, name)
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", meinheld.__version__)


def test_a_unix_socket_serves_as_well(serve: Serve, unix_path: str) -> None:
    serve("apps.hello:app", address=unix_path)
    with Client(unix_path) as client:
        assert client.get().body == b"Hello world!"


def test_ipv6_serves_as_well(serve: Serve) -> None:
    with serve("apps.hello:app", address=("::1", 0)).connect() as client:
        assert client.get().body == b"Hello world!"
