"""The PROXY protocol from Python: whom the application is told to serve, who may say so, and what
the setting takes. What a header may look like is tests/wire's, proxy_*.txt."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness import Server, environ_of
from meinheld import server as settings
from proxyheaders import IPV4, IPV6, Ends, block, line
from rawclient import Client, chunked, request

Serve = Callable[..., Server]
ENVIRON = "apps.environ:app"
PROXY = ("PROXY_PROTOCOL", "PROXY_ADDR", "PROXY_PORT")


def told(protocol: str, ends: Ends) -> dict[str, str]:
    """What environ then says of the connection."""
    return {
        "REMOTE_ADDR": ends.client,
        "REMOTE_PORT": str(ends.client_port),
        "PROXY_PROTOCOL": protocol,
        "PROXY_ADDR": ends.to,
        "PROXY_PORT": str(ends.to_port),
    }


def connection_of(environ: dict[str, Any]) -> dict[str, str]:
    return {key: environ[key] for key in ("REMOTE_ADDR", "REMOTE_PORT", *PROXY) if key in environ}


HEADERS = [
    ("v1", line(IPV4), told("TCP4", IPV4)),
    ("v1", line(IPV6), told("TCP6", IPV6)),
    ("v2", block(IPV4), told("TCP4", IPV4)),
    ("v2", block(IPV6, rest=b"\x04\0\0"), told("TCP6", IPV6)),
    ("v2", block(IPV4, transport=2), told("UDP4", IPV4)),
    ("v2", block(IPV6, transport=2), told("UDP6", IPV6)),
    ("auto", line(IPV4._replace(client_port=0)), told("TCP4", IPV4._replace(client_port=0))),
    ("auto", block(IPV6), told("TCP6", IPV6)),
]


@pytest.mark.parametrize(("mode", "header", "expected"), HEADERS)
def test_environ_says_whom_the_header_names(
    serve: Serve, mode: str, header: bytes, expected: dict[str, str]
) -> None:
    with serve(ENVIRON, proxy_protocol=mode).connect() as client:
        environ = environ_of(client, header + request())
        assert connection_of(environ) == expected
        assert (environ["SERVER_NAME"], environ["HTTP_HOST"]) == ("127.0.0.1", "test")


def test_a_header_counts_for_all_requests_of_its_connection(serve: Serve, unix_path: str) -> None:
    server = serve(ENVIRON, proxy_protocol="auto", more=(("0.0.0.0", 0), unix_path))
    several = [IPV4._replace(client_port=port) for port in range(1, 8)]
    clients = [server.connect(number % 3) for number in range(len(several))]
    try:
        for client, ends in zip(clients, several):
            client.send(line(ends) if ends.client_port % 2 else block(ends))
        for data in (request(), request(), request("/", body=b"x"), request(version="HTTP/1.1")):
            for client, ends in zip(clients, several):
                assert connection_of(environ_of(client, data)) == told("TCP4", ends)
        posted = request("/", method="POST", fields=[("Transfer-Encoding", "chunked")])
        for client, ends in zip(clients, several):
            client.send((posted + chunked(b"abc", 2)) * 2)
            for _ in range(2):
                environ = json.loads(client.read_response().body)
                assert connection_of(environ) == told("TCP4", ends)
    finally:
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    ("header", "protocol"),
    [
        (b"PROXY UNKNOWN\r\n", "UNKNOWN"),
        (b"PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\n", "UNKNOWN"),
        (block(None), "UNSPEC"),
        (block(IPV4, transport=0), "UNSPEC"),
        (block(None, command=0), "LOCAL"),
        (block(IPV4, command=0), "LOCAL"),
        (b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8" + bytes(216), "UNIX"),
    ],
)
def test_a_header_without_an_address_leaves_the_proxys(
    serve: Serve, header: bytes, protocol: str
) -> None:
    with serve(ENVIRON, proxy_protocol="auto").connect() as client:
        host, port = client.socket.getsockname()
        expected = {"REMOTE_ADDR": host, "REMOTE_PORT": str(port), "PROXY_PROTOCOL": protocol}
        for data in (header + request(), request()):
            assert connection_of(environ_of(client, data)) == expected


def test_without_the_setting_a_header_is_a_bad_request(serve: Serve) -> None:
    for options in ({}, {"proxy_protocol": "off"}):
        server = serve(ENVIRON, **options)
        for header in (line(IPV4), block(IPV4)):
            with server.connect() as client:
                client.send_if_open(header + request())
                assert client.read_response().status == 400
                client.expect_close()
        with server.connect() as client:
            assert not set(environ_of(client, request())) & {*PROXY}


@pytest.mark.parametrize("mode", ["v1", "v2", "auto"])
def test_a_request_without_a_header_is_refused(serve: Serve, mode: str) -> None:
    with serve(ENVIRON, proxy_protocol=mode).connect() as client:
        client.send_if_open(request())
        assert client.read_response().status == 400
        client.expect_close()


@pytest.mark.parametrize(
    ("allow_ips", "allowed"),
    [
        (["127.0.0.1"], True),
        (["10.0.0.0/8", "127.0.0.0/31", "::1"], True),
        ("*", True),
        (["10.0.0.0/8", "*"], True),
        ("127.0.0.1", True),
        (["::1"], False),
        (["127.0.0.2", "10.0.0.0/8"], False),
        ([], False),
    ],
)
def test_only_who_is_allowed_may_send_a_header(
    serve: Serve, unix_path: str, allow_ips: object, allowed: bool
) -> None:
    server = serve(ENVIRON, proxy_protocol=["auto", allow_ips], more=(unix_path,))
    for data in (line(IPV4) + request(), block(IPV6) + request(), request()):
        with server.connect() as client:
            client.send_if_open(data)
            response = client.read_response()
            assert response.status == (403 if not allowed else 400 if data == request() else 200)
            if response.status != 200:
                client.expect_close()
    with server.connect(1) as client:  # a unix socket's clients always may
        assert connection_of(environ_of(client, line(IPV4) + request())) == told("TCP4", IPV4)


def test_an_ipv4_proxy_of_an_ipv6_listener_is_known_by_its_own_address(serve: Serve) -> None:
    server = serve(ENVIRON, address=("::", 0), proxy_protocol=["v1", ["127.0.0.1"]])
    with Client(("127.0.0.1", server.addresses[0][1])) as client:  # type: ignore[arg-type]
        assert connection_of(environ_of(client, line(IPV6) + request())) == told("TCP6", IPV6)


def test_a_header_that_is_late_is_answered_and_one_that_does_not_come_is_not(serve: Serve) -> None:
    server = serve(ENVIRON, proxy_protocol="v1", limits={"head_timeout": 0.2})
    with server.connect() as begun, server.connect() as silent:
        begun.send(line(IPV4)[:-1])
        assert begun.read_response().status == 408
        begun.expect_close()
        silent.expect_close()


@pytest.mark.parametrize("format", ["combined", "json", "%(h)s %(s)s"])
def test_the_access_log_has_the_client(serve: Serve, tmp_path: Path, format: str) -> None:
    log = tmp_path / "access"
    options = {"proxy_protocol": "v1", "statics": {"/s": {"directory": str(tmp_path)}}}
    server = serve(ENVIRON, access_log=[str(log), format], **options)
    with server.connect() as client:
        for data in (line(IPV4) + request(), request(), request("/s/none")):
            client.send(data)
            client.read_response()
    with server.connect() as client:
        client.send(line(IPV6) + b"bad\r\n\r\n")
        client.read_response()
    with server.connect() as client:
        client.send(b"PROXY nobody\r\n")
        client.read_response()
    server.stop()

    def address(entry: str) -> str:
        if format == "json":
            return str(json.loads(entry)["remote_addr"])
        return entry.split()[0]

    expected = ["127.0.0.1"] + [IPV4.client] * 3 + [IPV6.client]
    assert sorted(map(address, log.read_text().splitlines())) == sorted(expected)


# ---- the setting


def test_the_setting_is_told_as_it_was_taken() -> None:
    before = settings.get_proxy_protocol()
    assert before == ("off", ("127.0.0.1", "::1"))
    network = ipaddress.ip_network("10.0.0.0/8")
    try:
        for given, kept in [
            ("*", ("*",)),
            (["10.0.0.0/8", "*"], ("*",)),
            ("192.0.2.1", ("192.0.2.1",)),
            ("2001:DB8::/32", ("2001:db8::/32",)),
            (network, ("10.0.0.0/8",)),
            ((network, ipaddress.ip_address("::1")), ("10.0.0.0/8", "::1")),
            ((address for address in ("192.0.2.1/32", "::1/128")), ("192.0.2.1", "::1")),
            ((), ()),
        ]:
            settings.set_proxy_protocol("auto", given)
            assert settings.get_proxy_protocol() == ("auto", kept)
        settings.set_proxy_protocol("v2")
        assert settings.get_proxy_protocol() == ("v2", ("127.0.0.1", "::1"))
    finally:
        settings.set_proxy_protocol(*before)
    assert settings.get_proxy_protocol() == before


@pytest.mark.parametrize("mode", ["", "V1", "v3", "on", " v1"])
def test_a_mode_that_there_is_not_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=rf"off, v1, v2, auto, not '{mode}'"):
        settings.set_proxy_protocol(mode)


@pytest.mark.parametrize("mode", [None, True, 1, b"v1"])
def test_a_mode_that_is_no_str_is_refused(mode: Any) -> None:
    with pytest.raises(TypeError, match="proxy_protocol must be a str"):
        settings.set_proxy_protocol(mode)


@pytest.mark.parametrize(
    "entry", ["localhost", "10.0.0.1/8", "10.0.0.0/33", "127.0.0.1,::1", "", "fe80::1%lo", "**"]
)
def test_what_is_no_network_is_refused_by_name(entry: str) -> None:
    before = settings.get_proxy_protocol()
    with pytest.raises(ValueError, match=r"allow_ips must") as caught:
        settings.set_proxy_protocol("v1", ["127.0.0.1", entry])
    assert entry in str(caught.value)
    assert settings.get_proxy_protocol() == before


@pytest.mark.parametrize("allow_ips", [None, 5, [5], [None], b"::1", [b"::1"], [["::1"]]])
def test_what_is_no_address_at_all_is_refused(allow_ips: Any) -> None:
    with pytest.raises(TypeError, match="allow_ips must"):
        settings.set_proxy_protocol("v1", allow_ips)


@pytest.mark.parametrize("name", PROXY)
def test_a_deployer_can_not_speak_for_a_proxy(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        settings.set_environ({name: "x"})
