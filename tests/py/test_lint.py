"""wsgiref.validate and werkzeug's LintMiddleware stand between the server and every good app of the
tests, and have nothing to complain of: not of environ, nor of how the apps are called, read and
closed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from apps.linted import GOOD
from harness import Server
from rawclient import Client, request

Serve = Callable[..., Server]

both = pytest.mark.parametrize("app", ["validated", "linted"])

STATUSES = {"/no-content": 204, "/not-modified": 304, "/own-fields": 299}
TARGETS = [*GOOD, "/no-content"]
CHUNKED = [("Transfer-Encoding", "chunked")]


def well(server: Server) -> bool:
    """Nothing was logged but by the apps themselves. Both checkers complain on stderr of an
    iterator that was not closed."""
    assert server.stop() == 0
    return server.log.replace("closed 1 times\n", "") == ""


@both
def test_they_find_nothing_in_a_response(serve: Serve, app: str) -> None:
    server = serve(f"apps.linted:{app}")
    with server.connect() as client:
        for target in TARGETS:
            for method in ("GET", "HEAD", "GET", "HEAD"):
                if (app, method, target) == ("linted", "HEAD", "/pieces-with-length"):
                    continue  # which counts what it is asked for, and HEAD asks for one piece
                status = STATUSES.get(target, 200)
                assert client.get(target, method=method).status == status, target
    for target in TARGETS:
        with server.connect() as client:
            assert client.get(target, version="HTTP/1.0").status == STATUSES.get(target, 200)
            client.expect_close()
    assert well(server)


@both
def test_they_find_nothing_in_a_response_that_nobody_waits_for(serve: Serve, app: str) -> None:
    server = serve(f"apps.linted:{app}")
    for target in TARGETS:
        if (app, target) == ("linted", "/pieces-with-length"):
            continue  # which counts what it is asked for, and that may end when nobody is there
        with server.connect() as client:
            client.send(request(target))
    with server.connect() as client:
        assert client.get("/one-piece").body == b"one piece"
    assert well(server)


@both
def test_they_find_nothing_in_exc_info(serve: Serve, app: str) -> None:
    server = serve(f"apps.linted:{app}")
    with server.connect() as client:
        for target in ("/replaced", "/replaced-after-empty-pieces"):
            assert client.get(target).body == b"sorry"
    assert well(server)


def environs(server: Server, client: Client) -> None:
    """Requests of all kinds, each twice."""
    fields = [("X-A", "1"), ("X-A", "caf\xe9"), ("Content-Type", "text/x"), ("Cookie", "a=b")]
    for target in (
        "/",
        "/environ",
        "//x",
        "/a%20b?c=d",
        "/%ff?%ff",
        "http://other",
        "http://b/c?d",
    ):
        for _ in range(2):
            assert client.get(target, fields=fields).status == 200
    for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"):
        assert client.get("/environ", method=method, body=b"x").status == 200
        assert client.get("/environ", method=method, fields=fields).status == 200
    assert client.get("*", method="OPTIONS").status == 200
    client.send(request("/environ", method="POST", fields=CHUNKED) + b"3\r\nabc\r\n0\r\n\r\n")
    assert client.read_response().status == 200
    assert client.get("/", version="HTTP/1.0", host=None).status == 200


@both
def test_they_find_nothing_in_environ(serve: Serve, app: str, unix_path: str) -> None:
    more = (("::1", 0), ("0.0.0.0", 0), ("::", 0), unix_path)
    server = serve(f"apps.linted:{app}", more=more)
    for listener in range(1 + len(more)):
        with server.connect(listener) as client:
            environs(server, client)
    assert well(server)


@both
def test_they_find_nothing_in_reading_a_body(serve: Serve, app: str) -> None:
    server = serve(f"apps.linted:{app}", client_body_buffer_size=2000)
    with server.connect() as client:
        for size in (0, 1, 999, 1000, 1001, 100_000):
            body = b"x" * size
            assert client.get("/reading", method="POST", body=body).body == body
            assert client.get("/ignore", method="POST", body=body).body == b"not read"
        assert client.get("/reading").body == b""
    assert well(server)


@both
def test_they_find_nothing_in_the_streams(serve: Serve, app: str) -> None:
    server = serve(f"apps.linted:{app}")
    body = b"one\ntwo\nthree\nfour\n"
    with server.connect() as client:
        assert client.get("/streams", method="POST", body=body).body == body
        assert client.get("/streams").body == b""
    assert server.stop() == 0
    assert server.log == "written, caf\xe9 \u2713\nline 1\nline 2\n" * 2


def test_the_validator_finds_nothing_in_reading_lines(serve: Serve) -> None:
    """The other warns of all lines, since PEP 333 had none of a size."""
    server = serve("apps.linted:validated")
    body = b"one\ntwo\nthree\nfour\n"
    with server.connect() as client:
        for _ in range(2):
            assert client.get("/lines", method="POST", body=body).body == body
            assert client.get("/lines").body == b""
    assert well(server)
