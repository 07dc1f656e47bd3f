"""Behind a real HAProxy that sends PROXY headers, of both versions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Server, wait_until
from proxies import haproxy
from rawclient import Client, request

Serve = Callable[..., Server]
ENVIRON = "apps.environ:app"
SENDS = [
    ("v1", "send-proxy"),
    ("v2", "send-proxy-v2"),
    ("v2", "send-proxy-v2 proxy-v2-options crc32c,unique-id"),
    ("auto", "send-proxy"),
    ("auto", "send-proxy-v2"),
]


def connection_of(client: Client, data: bytes) -> dict[str, Any]:
    """What environ says of the connection by which data has come."""
    client.send(data)
    environ = json.loads(client.read_response().body)
    keys = ("REMOTE_ADDR", "REMOTE_PORT", "PROXY_PROTOCOL", "PROXY_ADDR", "PROXY_PORT")
    return {key: environ[key] for key in keys}


def expected(client: Client, protocol: str = "TCP4") -> dict[str, Any]:
    """The connection's ends as the client knows them."""
    here, there = client.socket.getsockname(), client.socket.getpeername()
    return {
        "REMOTE_ADDR": here[0],
        "REMOTE_PORT": str(here[1]),
        "PROXY_PROTOCOL": protocol,
        "PROXY_ADDR": there[0],
        "PROXY_PORT": str(there[1]),
    }


@pytest.mark.parametrize(("mode", "server"), SENDS)
def test_each_client_keeps_its_address(
    serve: Serve, tmp_path: Path, mode: str, server: str
) -> None:
    backend = serve(ENVIRON, proxy_protocol=mode).port
    with haproxy(tmp_path / "haproxy", backend, server, defaults="unique-id-format %ci") as address:
        clients = [Client(address) for _ in range(3)]
        try:
            for data in (request(), request(), request("/", method="POST", body=b"x" * 100)):
                for client in clients:
                    assert connection_of(client, data) == expected(client)
        finally:
            for client in clients:
                client.close()


@pytest.mark.parametrize(("mode", "server"), SENDS[:2])
def test_a_client_of_ipv6_keeps_its_own_address(
    serve: Serve, tmp_path: Path, mode: str, server: str
) -> None:
    backend = serve(ENVIRON, proxy_protocol=mode).port
    proxy = haproxy(tmp_path / "haproxy", backend, server, host="::1")
    with proxy as address, Client(address) as client:
        assert connection_of(client, request()) == expected(client, "TCP6")


@pytest.mark.parametrize(("mode", "server"), SENDS[:2])
def test_a_proxy_that_speaks_http_sends_a_header_for_each_connection(
    serve: Serve, tmp_path: Path, mode: str, server: str
) -> None:
    backend = serve(ENVIRON, proxy_protocol=mode).port
    proxy = haproxy(tmp_path / "haproxy", backend, server, mode="http")
    with proxy as address, Client(address) as one, Client(address) as two:
        for client in (one, two, one, two):
            assert connection_of(client, request()) == expected(client)


@pytest.mark.parametrize(("mode", "server"), SENDS[:2])
def test_a_health_check_is_the_proxys_own_connection(
    serve: Serve, tmp_path: Path, mode: str, server: str
) -> None:
    log = tmp_path / "access"
    backend = serve(ENVIRON, proxy_protocol=mode, access_log=[str(log), "json"])
    options = {"mode": "http", "defaults": "option httpchk GET /check"}
    checked = f"{server} check check-send-proxy inter 100ms"
    with haproxy(tmp_path / "haproxy", backend.port, checked, **options):
        wait_until(lambda: log.exists() and log.read_bytes().count(b"\n") >= 3, "was checked")
    backend.stop()
    for line in log.read_text().splitlines():
        entry = json.loads(line)
        assert (entry["remote_addr"], entry["target"], entry["status"]) == (
            "127.0.0.1",
            "/check",
            200,
        )


@pytest.mark.parametrize(
    ("mode", "server"),
    [("v1", "send-proxy-v2"), ("v2", "send-proxy"), ("v1", ""), ("off", "send-proxy")],
)
def test_a_proxy_that_sends_something_else_is_refused(
    serve: Serve, tmp_path: Path, mode: str, server: str
) -> None:
    backend = serve(ENVIRON, proxy_protocol=mode).port
    with haproxy(tmp_path / "haproxy", backend, server) as address, Client(address) as client:
        client.send(request())
        assert client.read_response().status == 400
        client.expect_close()


def test_a_proxy_that_may_not_send_headers_is_refused(serve: Serve, tmp_path: Path) -> None:
    backend = serve(ENVIRON, proxy_protocol=["v2", ["10.0.0.0/8"]]).port
    proxy = haproxy(tmp_path / "haproxy", backend, "send-proxy-v2")
    with proxy as address, Client(address) as client:
        client.send(request())
        assert client.read_response().status == 403
        client.expect_close()
