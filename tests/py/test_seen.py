"""What the binding learns from requests and answers, and uses again: never for the wrong one."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from harness import Server, environ_of
from rawclient import Client, request

Serve = Callable[..., Server]
ENVIRON = "apps.environ:app"
FIELDS = [("X", "y"), ("Content-Type", "a/b"), ("Cookie", "a=1"), ("Cookie", "b=2")]
# More than are kept of a kind, so that most are not.
MANY = 300


# ---- heads and blocks


def test_a_head_that_comes_again_leads_to_the_same_environ(serve: Serve) -> None:
    targets = ("/", "/a%20b?c=%20d", "//x/?", "http://other:81/z?q", "http://other")
    with serve(ENVIRON).connect() as client:
        for target in targets:
            data = request(target, fields=FIELDS)
            first = environ_of(client, data)
            assert first["HTTP_COOKIE"] == "a=1; b=2"
            assert [environ_of(client, data) for _ in range(3)] == [first] * 3


def test_equal_fields_with_other_methods_and_targets_are_told_apart(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        for _ in range(3):
            for method in ("GET", "DELETE", "get"):
                for target, path, query in (("/a", "/a", ""), ("/b%21?c", "/b!", "c")):
                    environ = environ_of(client, request(target, method=method, fields=FIELDS))
                    assert environ["REQUEST_METHOD"] == method
                    assert (environ["PATH_INFO"], environ["QUERY_STRING"]) == (path, query)
                    assert environ["RAW_URI"] == environ["REQUEST_URI"] == target
                    assert (environ["HTTP_X"], environ["HTTP_HOST"]) == ("y", "test")


def test_the_authority_of_a_target_stays_with_its_request(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        for _ in range(3):
            for target, host in (
                ("http://one/", "one"),
                ("http://two:8/x", "two:8"),
                ("/", "test"),
            ):
                environ = environ_of(client, request(target, fields=FIELDS))
                assert environ["HTTP_HOST"] == host


@pytest.mark.parametrize("size", [1, 3000, 5000])
def test_fields_that_differ_in_one_byte_are_told_apart(serve: Serve, size: int) -> None:
    values = ["a" * (size - 1) + last for last in "bcd"] + ["b" + "a" * (size - 1)]
    with serve(ENVIRON).connect() as client:
        for _ in range(3):
            for value in values:
                for target in ("/", "/other"):
                    environ = environ_of(client, request(target, fields=[("X", value)]))
                    assert environ["HTTP_X"] == value


def test_two_peers_with_equal_heads_keep_their_addresses(serve: Serve) -> None:
    server = serve(ENVIRON)
    data = request("/", fields=FIELDS)
    clients = [server.connect() for _ in range(40)]
    try:
        for _ in range(3):
            for client in clients:
                client.send(data)
            for client in clients:
                environ = json.loads(client.read_response().body)
                assert environ["REMOTE_PORT"] == str(client.socket.getsockname()[1])
    finally:
        for client in clients:
            client.close()


def test_more_peers_than_are_remembered_keep_their_addresses(serve: Serve) -> None:
    server = serve(ENVIRON)
    data = request("/", fields=FIELDS)
    for _ in range(1500):
        with server.connect() as client:
            port = str(client.socket.getsockname()[1])
            assert environ_of(client, data)["REMOTE_PORT"] == port
            assert environ_of(client, data)["REMOTE_PORT"] == port


def test_two_listeners_with_equal_heads_keep_their_addresses(serve: Serve, unix_path: str) -> None:
    server = serve(ENVIRON, more=(("127.0.0.2", 0), unix_path))
    data = request("/", fields=FIELDS)
    clients = [server.connect(listener) for listener in range(3)]
    try:
        for _ in range(3):
            for client, address, host in zip(clients, server.addresses, ("127.0.0.1", "127.0.0.2")):
                environ = environ_of(client, data)
                assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == (host, str(address[1]))
            assert environ_of(clients[2], data)["REMOTE_ADDR"] == ""
    finally:
        for client in clients:
            client.close()


def test_a_wildcard_tells_each_connection_its_own_address(serve: Serve) -> None:
    server = serve(ENVIRON, address=("0.0.0.0", 0))
    data = request("/", fields=FIELDS)
    for _ in range(3):
        for host in ("127.0.0.1", "127.0.0.2"):
            with Client((host, server.port)) as client:
                for _ in range(2):
                    environ = environ_of(client, data)
                    assert (environ["SERVER_NAME"], environ["REMOTE_ADDR"]) == (host, "127.0.0.1")


def test_equal_fields_in_1_0_and_1_1_keep_their_version(serve: Serve) -> None:
    server = serve(ENVIRON)
    for _ in range(3):
        for version in ("HTTP/1.0", "HTTP/1.1"):
            for target in ("/", "/other"):
                with server.connect() as client:
                    data = request(target, fields=FIELDS, version=version)
                    assert environ_of(client, data)["SERVER_PROTOCOL"] == version


def test_an_app_that_spoils_environ_spoils_nothing_learned(serve: Serve) -> None:
    with serve("apps.environ:spoiling").connect() as client:
        for target in ("/", "/other", "/third"):
            data = request(target, fields=FIELDS)
            first = environ_of(client, data)
            assert "HTTP_SPOILED" not in first
            assert [environ_of(client, data) for _ in range(4)] == [first] * 4


def test_more_heads_than_are_kept_are_told_apart_and_again_after_emptying(serve: Serve) -> None:
    with serve(ENVIRON).connect() as client:
        for turn in range(18):  # over 4096 misses, after which the tables are emptied
            for number in range(MANY):
                fields = [("X", f"{number}"), ("Y", f"{turn % 2}")]
                data = request(f"/{number}", fields=fields)
                environ = environ_of(client, data)
                assert (environ["HTTP_X"], environ["HTTP_Y"]) == (f"{number}", f"{turn % 2}")
                assert environ["PATH_INFO"] == f"/{number}"


def test_a_body_after_a_known_block_is_read(serve: Serve) -> None:
    with serve("apps.bodies:validated").connect() as client:
        for letter in (b"a", b"b", b"c"):
            fields = [("Content-Type", "text/plain")]
            body = letter * 7
            assert client.get(method="POST", fields=fields, body=body).body == body


# ---- answers


def test_an_answer_that_changes_under_an_equal_request_is_seen(serve: Serve) -> None:
    server = serve("apps.changing:app")
    with server.connect() as client:
        for number in range(20):
            response = client.get("/counting")
            # The status changes every fourth time, the field every other.
            assert response.status == (200 if number // 4 % 2 == 0 else 201)
            assert response.get("X-Number") == str(number // 2)
            assert response.body == str(number).encode()


def test_a_header_list_changed_after_start_response_changes_no_answer(serve: Serve) -> None:
    with serve("apps.changing:app").connect() as client:
        for _ in range(5):
            response = client.get("/mutating")
            assert (response.status, response.get("X-A")) == (200, "first")


@pytest.mark.parametrize("what", ["value", "name", "status", "pair"])
def test_what_only_equals_a_str_is_refused_also_after_the_str(serve: Serve, what: str) -> None:
    server = serve("apps.changing:app", tracebacks=1)
    with server.connect() as client:
        for _ in range(3):
            assert client.get(f"/posing?{what}").status == 200
        assert client.get(f"/posing?{what}").status == 500
        assert client.get(f"/posing?{what}").status == 200


def test_a_subclass_of_str_is_sent_as_what_it_holds(serve: Serve) -> None:
    with serve("apps.changing:app").connect() as client:
        for _ in range(4):
            assert client.get("/subclass").get("X-A") == "held"


def test_a_known_answer_to_head_and_with_another_length_is_framed_right(serve: Serve) -> None:
    with serve("apps.changing:app").connect() as client:
        for _ in range(3):
            assert client.get("/plain").body == b"hello"
            response = client.get("/plain", method="HEAD")
            assert (response.get("Content-Length"), response.body) == ("5", b"")
