"""HTTP/1.1 as a client sees it: keep-alive, pipelining, versions, framing, 100-continue, limits."""

from __future__ import annotations

import select
from collections.abc import Callable

import pytest
from harness import Server
from rawclient import request

Serve = Callable[..., Server]
CLOSE = [("Connection", "close")]


# ---- connections


def test_a_connection_is_kept_alive_without_being_asked(serve: Serve) -> None:
    with serve("apps.report:app").connect() as client:
        for number in range(10):
            response = client.get(f"/{number}")
            assert response.body == f"GET /{number} test ".encode()
            assert not response.closes


def test_connection_close_is_said_and_done(serve: Serve) -> None:
    with serve("apps.hello:app").connect() as client:
        response = client.get(fields=CLOSE)
        assert response.closes
        client.expect_close()


def test_http_1_0_is_answered_and_closed(serve: Serve) -> None:
    with serve("apps.hello:app").connect() as client:
        response = client.get(version="HTTP/1.0", host=None)
        assert (response.status, response.body) == (200, b"Hello world!")
        assert response.closes
        client.expect_close()


def test_http_1_0_with_keep_alive_is_told_so_and_kept(serve: Serve) -> None:
    with serve("apps.hello:app").connect() as client:
        for _ in range(3):
            response = client.get(version="HTTP/1.0", fields=[("Connection", "keep-alive")])
            assert response.body == b"Hello world!"
            assert (response.get("Connection") or "").lower() == "keep-alive"


def test_a_response_of_unknown_length_ends_http_1_0_by_closing(serve: Serve) -> None:
    with serve("apps.responses:app").connect() as client:
        fields = [("Connection", "keep-alive")]
        response = client.get("/generated", version="HTTP/1.0", fields=fields)
        assert response.framing == "close"
        assert (response.get("Connection") or "close").lower() == "close"
        assert response.body == b"piece 0\npiece 1\npiece 2\n"


def test_an_idle_connection_is_closed_without_a_word_after_the_keepalive_time(serve: Serve) -> None:
    with serve("apps.hello:app", keepalive=1).connect() as client:
        assert not client.get().closes
        client.expect_close()


def test_a_keepalive_time_of_0_closes_every_connection(serve: Serve) -> None:
    with serve("apps.hello:app", keepalive=0).connect() as client:
        assert client.get().closes
        client.expect_close()


def test_a_client_that_half_closes_still_gets_its_answer(serve: Serve) -> None:
    with serve("apps.hello:app").connect() as client:
        client.send(request())
        client.finish_sending()
        assert client.read_response().body == b"Hello world!"
        client.expect_close()


def test_a_client_that_vanishes_harms_nobody(serve: Serve) -> None:
    server = serve("apps.responses:app")
    with server.connect() as other:
        other.get("/one-piece")
        for data in (b"", b"GET", request("/large"), request("/generated") * 20):
            with server.connect() as client:
                client.send(data)
        assert other.get("/one-piece").body == b"one piece"


def test_a_head_that_trickles_in_holds_up_nobody(serve: Serve, unix_path: str) -> None:
    server = serve("apps.report:app", address=unix_path)
    data = request("/slow", fields=[("X", "y")])
    with server.connect() as slow, server.connect() as quick:
        for number in range(len(data)):
            slow.send_separately(data[number : number + 1])
            assert quick.get("/quick").body == b"GET /quick test "
        assert slow.read_response().body == b"GET /slow test "


@pytest.mark.parametrize("target", ["/large", "/large-generated"])
def test_a_large_response_is_sent_whole_before_the_connection_closes(
    serve: Serve, target: str
) -> None:
    with serve("apps.responses:app").connect(receive_buffer=4096, timeout=30) as client:
        assert len(client.get(target, fields=CLOSE).body) == 10 * 1024 * 1024
        client.expect_close()


# ---- pipelining


@pytest.mark.parametrize("count", [16, 1000])
def test_pipelined_requests_are_answered_in_order(serve: Serve, count: int) -> None:
    with serve("apps.report:app").connect() as client:
        client.send(b"".join(request(f"/{number}") for number in range(count)))
        for number in range(count):
            assert client.read_response().body == f"GET /{number} test ".encode()
        client.expect_nothing_buffered()
        assert client.get("/after").body == b"GET /after test "


def test_a_client_that_never_reads_is_not_read_without_bound(serve: Serve) -> None:
    server = serve("apps.hello:app")
    bound = 64 * 1024 * 1024  # several times what the kernel keeps in both directions
    data = request() * 1000
    with server.connect() as quick, server.connect(receive_buffer=4096) as greedy:
        poll = select.poll()
        poll.register(greedy.socket, select.POLLOUT)
        greedy.socket.setblocking(False)
        sent = 0
        while sent < bound and poll.poll(1000):
            sent += greedy.socket.send(data[sent % len(data) :])
        assert sent < bound
        assert quick.get().body == b"Hello world!"


def test_pipelined_requests_of_every_kind_are_answered_in_order(serve: Serve) -> None:
    with serve("apps.responses:app").connect() as client:
        targets = [
            "/one-piece",
            "/generated",
            "/no-content",
            "/nothing",
            "/pieces",
            "/not-modified",
        ]
        client.send(b"".join(request(target) for target in targets) + request("/large"))
        bodies = [client.read_response().body for _ in targets]
        assert bodies[:2] == [b"one piece", b"piece 0\npiece 1\npiece 2\n"]
        assert bodies[2:] == [b"", b"", b"several pieces", b""]
        assert len(client.read_response().body) == 10 * 1024 * 1024


def test_pipelined_bodies_are_told_apart(serve: Serve) -> None:
    chunked = (
        b"POST /2 HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nab\n\r\n2\r\ncd\r\n0\r\n\r\n"
    )
    with serve("apps.report:app").connect() as client:
        client.send(request("/1", method="POST", body=b"one") + chunked + request("/3"))
        bodies = [client.read_response().body for _ in range(3)]
    assert bodies == [b"POST /1 test one", b"POST /2 test ab\ncd", b"GET /3 test "]


def test_the_answers_before_a_bad_pipelined_request_are_sent(serve: Serve) -> None:
    with serve("apps.report:app").connect() as client:
        client.send(request("/1") + request("/2") + b"no request\r\n\r\n" + request("/3"))
        assert client.read_response().body == b"GET /1 test "
        assert client.read_response().body == b"GET /2 test "
        assert client.read_response().status == 400
        client.expect_close()


def test_requests_after_one_that_says_close_are_not_answered(serve: Serve) -> None:
    with serve("apps.report:app").connect() as client:
        client.send(request("/1", fields=CLOSE) + request("/2"))
        assert client.read_response().body == b"GET /1 test "
        client.expect_close()


# ---- bodies of responses


def test_head_gets_the_head_of_get_and_no_body(serve: Serve) -> None:
    with serve("apps.hello:app").connect() as client:
        get = client.get()
        head = client.get(method="HEAD")
        assert (head.status, head.get("Content-Length")) == (200, "12")
        assert {name for name, _ in head.fields} == {name for name, _ in get.fields}
        assert client.get().body == b"Hello world!"


@pytest.mark.parametrize("target", ["/one-piece", "/generated", "/pieces", "/written", "/large"])
def test_head_has_no_body_whatever_the_app_sends(serve: Serve, target: str) -> None:
    with serve("apps.responses:app").connect() as client:
        client.get(target, method="HEAD")
        assert client.get("/one-piece").body == b"one piece"


@pytest.mark.parametrize("target", ["/no-content", "/no-content-with-body"])
def test_a_204_has_no_body_and_no_length(serve: Serve, target: str) -> None:
    with serve("apps.responses:app").connect() as client:
        response = client.get(target)
        assert response.status == 204
        assert response.get("Content-Length") is None
        assert response.get("Transfer-Encoding") is None
        assert client.get("/one-piece").body == b"one piece"


@pytest.mark.parametrize("target", ["/not-modified", "/not-modified-with-body"])
def test_a_304_has_no_body(serve: Serve, target: str) -> None:
    with serve("apps.responses:app").connect() as client:
        response = client.get(target)
        assert (response.status, response.get("ETag")) == (304, '"x"')
        assert response.get("Transfer-Encoding") is None
        assert client.get("/one-piece").body == b"one piece"


# ---- 100-continue


def expecting(length: int, version: str = "HTTP/1.1") -> bytes:
    fields = [("Expect", "100-continue"), ("Content-Length", str(length))]
    return request(method="POST", fields=fields, version=version)


def test_100_continue_is_sent_before_the_body_is_awaited(serve: Serve) -> None:
    with serve("apps.report:app").connect() as client:
        for _ in range(2):
            client.send(expecting(5))
            interim = client.read_response()
            assert (interim.status, interim.fields) == (100, [])
            client.send(b"hello")
            assert client.read_response().body == b"POST / test hello"
            client.expect_nothing_buffered()


def test_100_continue_is_sent_for_a_chunked_body(serve: Serve) -> None:
    with serve("apps.report:app").connect() as client:
        fields = [("Expect", "100-continue"), ("Transfer-Encoding", "chunked")]
        client.send(request(method="POST", fields=fields))
        assert client.read_response().status == 100
        client.send(b"5\r\nhello\r\n0\r\n\r\n")
        assert client.read_response().body == b"POST / test hello"


def test_100_continue_is_not_sent_when_the_body_is_there(serve: Serve) -> None:
    with serve("apps.report:app").connect() as client:
        client.send(expecting(5) + b"hello")
        response = client.read_response()
        assert (response.status, response.body) == (200, b"POST / test hello")


def test_100_continue_is_not_sent_to_http_1_0(serve: Serve) -> None:
    with serve("apps.report:app").connect() as client:
        client.send(expecting(5, "HTTP/1.0"))
        client.send(b"hello")
        response = client.read_response()
        assert (response.status, response.body) == (200, b"POST / test hello")


def test_100_continue_is_not_sent_before_a_413(serve: Serve) -> None:
    with serve("apps.report:app", max_content_length=10).connect() as client:
        client.send(expecting(11))
        assert client.read_response().status == 413
        client.expect_close()


def test_another_expectation_is_417(serve: Serve) -> None:
    with serve("apps.report:app").connect() as client:
        assert client.get(fields=[("Expect", "the worst")]).status == 417
        client.expect_close()


# ---- refusals


def test_a_refusal_is_read_even_by_a_client_that_sends_on(serve: Serve) -> None:
    with serve("apps.report:app").connect() as client:
        client.send_if_open(b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n" + b"x" * 200_000)
        assert client.read_response().status == 400


def test_a_body_over_the_limit_is_413_and_the_limit_itself_is_not(serve: Serve) -> None:
    server = serve("apps.report:app", max_content_length=10)
    with server.connect() as client:
        assert client.get(method="POST", body=b"0123456789").status == 200
        client.send_if_open(request(method="POST", body=b"0123456789a"))
        assert client.read_response().status == 413
        client.expect_close()


def test_a_chunked_body_over_the_limit_is_413(serve: Serve) -> None:
    with serve("apps.report:app", max_content_length=10).connect() as client:
        fields = [("Transfer-Encoding", "chunked")]
        client.send(request(method="POST", fields=fields) + b"8\r\n01234567\r\n")
        client.send_if_open(b"3\r\nabc\r\n0\r\n\r\n")
        assert client.read_response().status == 413
        client.expect_close()


def test_a_refused_request_never_reaches_the_app_or_the_log(serve: Serve) -> None:
    server = serve("apps.errors:app")  # would log a traceback
    with server.connect() as client:
        client.send(b"GET /before HTTP/1.1\r\n\r\n")
        assert client.read_response().status == 400
        client.expect_close()
    server.stop()
    assert server.log == ""
