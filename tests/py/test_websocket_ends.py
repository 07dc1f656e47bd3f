"""How a WebSocket ends: closes from both sides and their codes, frames that must not be, clients
that vanish, handlers that fail, and the server's own end; and that nothing is left of any."""

from __future__ import annotations

import random
import signal
import socket
import struct
from collections.abc import Callable

import pytest
from frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    DEFLATE,
    PING,
    PONG,
    RSV1,
    TEXT,
    Socket,
    asking,
    close,
    frame,
)
from harness import Server, wait_until
from rawclient import request
from talker import Talker
from websockets.exceptions import ConnectionClosed

Serve = Callable[..., Server]
APP = "apps.websocket:app"
CLOSED = "<class 'meinheld._exceptions.WebSocketClosed'>"


def url(server: Server, path: str = "/echo") -> str:
    return f"ws://127.0.0.1:{server.port}{path}"


def reset(ws: Socket) -> None:
    """Closes it without a word."""
    ws.client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    ws.client.close()


def close_in_order(ws: Socket) -> None:
    ws.send(close(1000))
    ws.read_close()


def break_the_protocol(ws: Socket) -> None:
    ws.send(b"\xff\xff")
    ws.read_close()


def half_close(ws: Socket) -> None:
    ws.client.finish_sending()
    ws.client.expect_close()


# ---- closes


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "bye"), (3000, ""), (4999, "é")])
def test_a_client_s_close_is_told_and_answered(serve: Serve, code: int, reason: str) -> None:
    server = serve(APP)
    with Talker(url(server)) as ws:
        ws.close(code, reason)
        answer = ws.connection.protocol.close_rcvd
        assert answer is not None
        assert (answer.code, answer.reason) == (code, reason)
    server.wait_for_log(f"over: None {code} {reason!r}")


def test_a_close_without_a_code_is_1005(serve: Serve) -> None:
    server = serve(APP)
    with Socket(server) as ws:
        ws.send(frame(CLOSE))
        assert ws.read_close() == (1005, "")
    server.wait_for_log("over: None 1005 ''")


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1013, "later"), (4999, "x" * 123)])
def test_a_handler_may_close_with_a_code(serve: Serve, code: int, reason: str) -> None:
    server = serve(APP)
    with Talker(url(server, f"/close?code={code}&reason={reason}")) as ws:
        with pytest.raises(ConnectionClosed):
            ws.recv()
        assert (ws.connection.close_code, ws.connection.close_reason) == (code, reason)
    server.wait_for_log("closed: True None")
    server.wait_for_log(f"over: None {code} {reason!r}")


def test_a_handler_that_returns_closes_by_1000(serve: Serve) -> None:
    with Socket(serve(APP), "/leave") as ws:
        assert ws.read_close(answer=True) == (1000, "")


def test_a_handler_that_fails_closes_by_1011(serve: Serve) -> None:
    server = serve(APP, tracebacks=1)
    with Socket(server, "/fail") as ws:
        assert ws.read_close(answer=True) == (1011, "")
    server.wait_for_log("RuntimeError: the handler failed")
    assert "GET /fail" in server.log


def test_a_client_that_does_not_answer_a_close_is_given_up(serve: Serve) -> None:
    with Socket(serve("apps.websocket:brief"), "/leave") as ws:
        assert ws.read_close() == (1000, "")


def test_nothing_is_sent_after_a_close(serve: Serve) -> None:
    server = serve(APP)
    with Socket(server, "/late") as ws:
        ws.send(close(1000), frame(PING, b"x"), frame(TEXT, b"x"))
        assert ws.read_close() == (1000, "")
    server.wait_for_log("late: the WebSocket is closed (1000)")
    server.wait_for_log(f"over: {CLOSED} 1000")  # which is no failure of the handler's


# ---- frames that must not be


BREAKING = [
    b"\x81\x01x",  # not masked
    frame(TEXT, b"x", rsv=0x20),
    frame(TEXT, b"x", rsv=0x10),
    frame(PING, b"x", rsv=RSV1),
    frame(TEXT, b"x", fin=False) + frame(CONTINUATION, b"x", rsv=RSV1),
    *(frame(opcode, b"") for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)),
    frame(PING, b"x", fin=False),
    frame(CLOSE, b"", fin=False),
    frame(PING, b"x" * 126),
    frame(CONTINUATION, b"x"),
    frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"),
    b"\x82\xfe\x00\x01" + bytes(5),  # a length in more bytes than it takes
    b"\x82\xff" + (65535).to_bytes(8, "big") + bytes(4),
    b"\x82\xff\x80" + bytes(11),
    frame(CLOSE, b"\x03"),
    *(close(code) for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535)),
]


def test_what_breaks_the_protocol_is_1002(serve: Serve) -> None:
    server = serve(APP)
    for sends in BREAKING:
        with Socket(server, "/echo", DEFLATE) as ws:
            ws.send(sends)
            assert ws.read_close()[0] == 1002, sends
    wait_until(lambda: server.log.count("over: None 1002") == len(BREAKING), "told of each")


def test_compression_that_was_not_agreed_on_is_1002(serve: Serve) -> None:
    with Socket(serve(APP)) as ws:
        ws.send(frame(TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00", rsv=RSV1))
        assert ws.read_close()[0] == 1002


NO_TEXT = [
    frame(TEXT, b"\xff"),
    frame(TEXT, b"\xed\xa0\x80"),  # a surrogate
    frame(TEXT, b"\xc3"),
    frame(TEXT, b"\xf0\x9f", fin=False) + frame(CONTINUATION, b"\x98"),
    frame(TEXT, b"\xf0\x28", fin=False),  # at once, and not at its end
    close(1000, b"\xff"),
    frame(TEXT, b"\xff\xff\xff", rsv=RSV1),  # what can't be inflated
    frame(TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00" + bytes(100), rsv=RSV1),
]


def test_a_text_that_is_none_is_1007(serve: Serve) -> None:
    server = serve(APP)
    for sends in NO_TEXT:
        with Socket(server, "/echo", DEFLATE) as ws:
            ws.send(sends)
            assert ws.read_close()[0] == 1007, sends
    wait_until(lambda: server.log.count("over: None 1007") == len(NO_TEXT), "told of each")


def test_bytes_at_random_end_their_own_connection_alone(serve: Serve) -> None:
    """Whatever they are: the server answers, closes, and lives."""
    server = serve(APP)
    chance = random.Random(7)
    for _ in range(60):
        good = frame(chance.choice([TEXT, BINARY, PING]), b"x" * chance.randrange(200))
        bad = chance.randbytes(chance.randrange(1, 400))
        bad = frame(chance.randrange(16), bad[:100], rsv=chance.choice([0, RSV1])) + bad
        with Socket(server, "/echo", DEFLATE) as ws:
            ws.client.send_if_open(good + chance.choice([bad, good[:-1] + bad]))
            ws.client.finish_sending()
            ws.client.read_to_abort()
    wait_until(lambda: server.log.count("over: ") == 60, "ended all")
    with Talker(url(server)) as well:
        well.send("x")
        assert well.recv() == "x"


# ---- clients that vanish


def test_a_reset_is_1006(serve: Serve) -> None:
    server = serve(APP)
    with Socket(server) as ws:
        ws.send(frame(TEXT, b"x"))
        ws.expect(TEXT, b"x")
        ws.send(frame(BINARY, bytes(1000))[:100])
        reset(ws)
        server.wait_for_log("over: None 1006 ''")


def test_half_a_close_is_1006(serve: Serve) -> None:
    server = serve(APP)
    with Socket(server) as ws:
        half_close(ws)
    server.wait_for_log("over: None 1006 ''")


def test_a_close_before_half_a_close_is_answered(serve: Serve) -> None:
    server = serve(APP)
    with Socket(server) as ws:
        ws.send(close(1000))
        ws.client.finish_sending()
        assert ws.read_close() == (1000, "")
    server.wait_for_log("over: None 1000 ''")


def test_a_reset_in_the_middle_of_a_send_is_told(serve: Serve) -> None:
    server = serve("apps.websocket:plain")
    with Socket(server, "/flood?count=3000&size=100000", receive_buffer=4096) as ws:
        server.wait_for_log("sent 0")
        reset(ws)
    server.wait_for_log(f"over: {CLOSED} 1006 ''")


def test_a_client_that_leaves_ends_other_waits_of_the_handler(serve: Serve) -> None:
    server = serve(APP)
    with Socket(server, "/interrupted") as ws:
        server.wait_for_log("waits")
        ws.send(close(1000))
        assert ws.read_close() == (1000, "")
    server.wait_for_log("over: <class 'meinheld._exceptions.ClientDisconnected'> 1000")


def test_a_client_that_answers_no_ping_is_given_up(serve: Serve) -> None:
    server = serve("apps.websocket:pinging")
    with Socket(server) as ws:
        for _ in range(3):
            ping = ws.read()
            assert ping.opcode == PING
            ws.send(frame(PONG, b"another"), frame(PONG, ping.payload))
        assert ws.read().opcode == PING
        assert "over" not in server.log
        ws.send(frame(PONG, b"another"))
        assert ws.client.read_to_end() == b""
    server.wait_for_log("over: None 1006 ''")


# ---- under the middleware


def test_the_middleware_puts_it_into_environ(serve: Serve) -> None:
    server = serve("apps.websocket:middleware")
    with Talker(url(server, "/view")) as ws:
        assert ws.recv() == "a WebSocket"
        with pytest.raises(ConnectionClosed):
            ws.recv()
        assert ws.connection.close_code == 1000
    with server.connect() as client:
        assert client.get("/view").body == b"no WebSocket"


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        ("200 OK", 1000, ""),
        ("404 Not Found", 1008, "404 Not Found"),
        ("500 Internal Server Error", 1011, "500 Internal Server Error"),
    ],
)
def test_a_status_is_told_by_a_close(serve: Serve, status: str, code: int, reason: str) -> None:
    server = serve("apps.websocket:middleware")
    with Socket(server, f"/status?status={status.replace(' ', '+')}") as ws:
        assert ws.read_close(answer=True) == (code, reason)


def test_an_application_may_be_a_generator(serve: Serve) -> None:
    server = serve("apps.websocket:middleware")
    with Talker(url(server, "/generator")) as ws:
        for i in range(3):
            ws.send(str(i))
            assert ws.recv() == str(i)
    server.wait_for_log("closed by its server")


def test_what_another_socket_raises_is_a_failure(serve: Serve) -> None:
    server = serve("apps.websocket:middleware", tracebacks=1)
    with Socket(server, "/lone") as ws:
        assert ws.read_close(answer=True) == (1011, "")


# ---- the server's end


def test_a_drain_closes_by_1001_and_waits_for_handlers(serve: Serve) -> None:
    server = serve(APP)
    with Socket(server) as ws, Socket(server, "/stubborn?seconds=0.5") as stubborn:
        server.wait_for_log("waits")
        server.signal(signal.SIGTERM)
        assert ws.read_close(answer=True) == (1001, "the server is stopping")
        assert stubborn.read_close(answer=True) == (1001, "the server is stopping")
        server.wait_for_log("over: None 1001")
        assert server.wait() == 0
        assert "slept" in server.log
        assert server.log.count("over: None 1001 'the server is stopping'") == 2


def test_a_drain_ends_other_waits_of_the_handler(serve: Serve) -> None:
    server = serve(APP)
    with Socket(server, "/interrupted") as ws:
        server.wait_for_log("waits")
        server.signal(signal.SIGTERM)
        assert ws.read_close(answer=True)[0] == 1001
        assert server.wait() == 0
    assert "over: <class 'meinheld._exceptions.ServerStopping'> 1001" in server.log


def test_a_drain_gives_up_a_client_that_does_not_answer(serve: Serve) -> None:
    server = serve("apps.websocket:brief")
    with Socket(server) as ws:
        server.signal(signal.SIGTERM)
        assert ws.read_close() == (1001, "the server is stopping")
        assert server.wait() == 0


def test_a_handshake_during_a_drain_is_refused(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        client.send(asking("/slow"))
        server.wait_for_log("waits")
        server.signal(signal.SIGTERM)
        response = client.read_response()
        assert (response.status, response.get("Retry-After")) == (503, "1")
    assert server.wait() == 0


def test_a_stop_closes_what_is_open(serve: Serve) -> None:
    server = serve(APP)
    with Socket(server) as other, Socket(server, "/stop") as ws:
        ws.expect(TEXT, b"stopping")
        assert ws.read_close()[0] == 1001
        assert other.read_close()[0] == 1001
        assert server.wait() == 0


@pytest.mark.in_loop("a pool can't be forked by one of its threads and go on")
def test_a_child_says_nothing_to_the_client(serve: Serve) -> None:
    with Talker(url(serve(APP), "/fork")) as ws:
        assert ws.recv() == "forked"
        ws.send("x")
        assert ws.recv() == "x"


# ---- what is left


def test_each_descriptor_is_closed_once(serve: Serve) -> None:
    """And no other in its place: a request's socket is taken where one was just freed."""
    server = serve(APP, tracebacks=1, limits={"keepalive_timeout": 600})
    with server.connect() as client:
        client.get()  # all that the server needs for itself is open now
        before = server.open_fds()
        for end in (close_in_order, break_the_protocol, reset, half_close) * 3:
            with Socket(server) as ws:
                end(ws)
            assert client.get().status == 404
        for path in ("/fail", "/leave", "/close?code=1000"):
            with Socket(server, path) as ws:
                ws.read_close(answer=True)
        for _ in range(3):
            with server.connect() as refused:
                refused.send(asking(sec_websocket_version="8") + request("/nowhere"))
                assert refused.read_response().status == 426
                assert refused.read_response().status == 404
        wait_until(lambda: server.open_fds() == before, "closed each descriptor")
