"""The opening handshake: who gets a WebSocket, who is refused and how, and what is agreed on."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from frames import BINARY, DEFLATE, TEXT, Socket, asking, frame
from harness import Server, wait_until
from rawclient import Client, request
from talker import Talker
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin, Subprotocol

Serve = Callable[..., Server]
APP = "apps.websocket:app"


def test_the_answer_is_that_of_the_rfc(serve: Serve) -> None:
    with serve(APP).connect() as client:
        client.send(asking())
        response = client.read_head()
        assert (response.status, response.reason) == (101, "Switching Protocols")
        assert response.fields == [
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ]


BODY = [("Content-Length", "1")]


REFUSED = [
    (asking(method="POST"), "the method must be GET"),
    (asking(method="HEAD"), None),
    (asking("/echo", *BODY) + b"x", "there must be no body"),
    (asking("/echo", ("Transfer-Encoding", "chunked")) + b"1\r\nx\r\n0\r\n\r\n", "no body"),
    (asking(sec_websocket_key=None), "Sec-WebSocket-Key is missing"),
    (asking(sec_websocket_key=""), "16 bytes in Base64"),
    (asking(sec_websocket_key="AAAAAAAAAAAAAAAAAAAA"), "16 bytes in Base64"),
    (asking(sec_websocket_key="dGhlIHNhbXBsZSBub25jZQ"), "16 bytes in Base64"),
    (asking(sec_websocket_key="dGhlIHNhbXBsZSBub25jZ*=="), "16 bytes in Base64"),
    (asking(sec_websocket_key="dGhlIHNhbXBsZSBub25j\xe9Q=="), "16 bytes in Base64"),
    (asking("/echo", ("Sec-WebSocket-Key", "x")), "16 bytes in Base64"),
    (asking(sec_websocket_version=None), "Sec-WebSocket-Version is missing"),
]


def test_a_handshake_that_is_none_is_refused(serve: Serve) -> None:
    server = serve(APP)
    for sends, says in REFUSED:
        with server.connect() as client:
            client.send(sends)
            response = client.read_response(method="GET" if says else "HEAD")
            assert response.status == 400, sends
            assert (says or "").encode() in response.body
            assert client.get("/nowhere").status == 404


def test_another_version_is_told_which_one_there_is(serve: Serve) -> None:
    with serve(APP).connect() as client:
        for version in ("8", "7", "14", "13, 8", "013", "x"):
            client.send(asking(sec_websocket_version=version))
            response = client.read_response()
            assert response.status == 426
            assert response.get("Sec-WebSocket-Version") == "13"
            assert response.get("Upgrade") == "websocket"
            assert response.get("Connection") == "upgrade"


OTHERS = [
    request("/echo"),
    asking(version="HTTP/1.0"),
    asking(upgrade=None),
    asking(connection=None),
    asking(connection="close"),
    asking(upgrade="h2c"),
]


def test_who_does_not_ask_for_a_websocket_is_told_to(serve: Serve) -> None:
    server = serve(APP)
    for sends in OTHERS:
        with server.connect() as client:
            client.send(sends)
            response = client.read_response()
            assert response.status == 426, sends
            assert response.get("Sec-WebSocket-Version") == "13"
            assert response.get("Upgrade") == "websocket"


def test_case_and_other_tokens_do_not_matter(serve: Serve) -> None:
    with serve(APP).connect() as client:
        client.send(asking(upgrade="foo, WebSocket", connection="keep-alive, UPGRADE"))
        assert client.read_head().status == 101


@pytest.mark.parametrize(
    ("offers", "chosen"),
    [
        ([], None),
        (["third.example"], None),
        (["first.example"], "first.example"),
        (["first.example", "second.example"], "second.example"),
        (["FIRST.EXAMPLE"], None),
    ],
)
def test_the_first_subprotocol_of_the_server_s_is_chosen(
    serve: Serve, offers: list[str], chosen: str | None
) -> None:
    subprotocols = [Subprotocol(offer) for offer in offers] or None
    with Talker(f"ws://127.0.0.1:{serve(APP).port}/info", subprotocols=subprotocols) as ws:
        assert ws.connection.subprotocol == chosen
        assert json.loads(ws.recv())["protocol"] == chosen


def test_an_origin_is_refused_by_the_hook(serve: Serve) -> None:
    server = serve("apps.websocket:guarded", tracebacks=1)
    url = f"ws://127.0.0.1:{server.port}/echo"
    with Talker(url, origin=Origin("http://good")) as ws:
        ws.send("x")
        assert ws.recv() == "x"
    for origin, status in (("http://bad", 403), (None, 403), ("http://broken", 500)):
        with pytest.raises(InvalidStatus) as refused:
            Talker(url, origin=Origin(origin) if origin else None)
        assert refused.value.response.status_code == status
    assert "the hook failed" in server.log


def test_frames_may_come_right_behind_the_handshake(serve: Serve) -> None:
    early = frame(TEXT, b"one") + frame(BINARY, b"2" * 70000)
    with Socket(serve(APP), early=early) as ws:
        ws.expect(TEXT, b"one")
        ws.expect(BINARY, b"2" * 70000)


def test_a_handshake_may_come_right_behind_a_request(serve: Serve) -> None:
    with serve(APP).connect() as client:
        client.send(request("/nowhere") + asking() + frame(TEXT, b"x"))
        assert client.read_response().status == 404
        assert client.read_head().status == 101
        assert client.read_some(3) == b"\x81\x01x"


def test_after_the_response_has_begun_it_is_too_late(serve: Serve) -> None:
    server = serve(APP, tracebacks=1)
    with server.connect() as client:
        client.send(asking("/too-late"))
        assert client.read_head().status == 200
        client.read_to_abort()
    assert "taking the socket of a request" in server.log


@pytest.mark.parametrize("extension", [True, False])
def test_compression_is_used_with_who_offers_it(serve: Serve, extension: bool) -> None:
    server = serve(APP)
    for app, fields, used in (
        (server, [DEFLATE], extension),
        (server, [], False),
        (serve("apps.websocket:plain"), [DEFLATE], False),
    ):
        with Socket(app, "/echo", *(fields if extension else [])) as ws:
            answer = ws.response.get("Sec-WebSocket-Extensions")
            flags = "server_no_context_takeover; client_no_context_takeover"
            assert answer == (f"permessage-deflate; {flags}" if used else None)
            ws.send(frame(TEXT, b"x" * 1000))
            found = ws.read()
            assert (found.first == 0xC1 and len(found.payload) < 100) == used


def test_without_wsproto_an_error_says_what_is_missing() -> None:
    code = (
        "import sys; sys.modules['wsproto'] = None\n"
        "from meinheld import middleware\n"
        "middleware.WebSocketMiddleware(lambda environ, start_response: [])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.endswith(
        "ImportError: WebSockets need wsproto: pip install 'meinheld[websocket]'\n"
    )


def test_an_upgrade_is_101_in_the_access_log(serve: Serve) -> None:
    server = serve(APP, access_log="-")
    with Socket(server) as ws:
        wait_until(lambda: '"GET /echo HTTP/1.1" 101 -' in server.out, "logged the upgrade")
        ws.send(frame(TEXT, b"x"))
        ws.expect(TEXT, b"x")
    refused: Client
    with server.connect() as refused:
        refused.send(asking(sec_websocket_version="8"))
        assert refused.read_response().status == 426
    wait_until(lambda: '"GET /echo HTTP/1.1" 426 ' in server.out, "logged the refusal")
