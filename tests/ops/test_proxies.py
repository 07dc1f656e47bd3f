"""What a proxy in front may say: forwarded_allow_ips, secure_scheme_headers, forwarder_headers,
header_map, proxy_protocol. The rules themselves are in tests/py/test_forwarded.py."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from master import OLDEST, Master
from rawclient import Client

Start = Callable[..., Master]

SITE = "site_app:app"
HTTPS = [("X-Forwarded-Proto", "https")]
MOUNTED = [("SCRIPT_NAME", "/shop")]


def environ_of(client: Client, target: str, fields: list[tuple[str, str]]) -> dict[str, str]:
    environ: dict[str, str] = json.loads(client.get(target, fields=fields).body)
    return environ


@pytest.mark.each_version
def test_a_trusted_peer_is_believed(start: Start) -> None:
    with start(SITE).connect() as client:  # which trusts 127.0.0.1
        environ = environ_of(client, "/shop/environ", [*HTTPS, *MOUNTED])
        assert environ["wsgi.url_scheme"] == "https"
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/shop", "/environ")
        plain = environ_of(client, "/shop/environ", [])
        assert (plain["wsgi.url_scheme"], plain["SCRIPT_NAME"]) == ("http", "")
        response = client.get("/", fields=[*HTTPS, ("X-Forwarded-Ssl", "off")])
        assert response.status == 400


@pytest.mark.each_version
def test_a_peer_that_is_not_trusted_is_not(start: Start) -> None:
    with start(SITE, "--forwarded-allow-ips", "10.0.0.1").connect() as client:
        environ = environ_of(client, "/shop/environ", [*HTTPS, *MOUNTED])
        assert environ["wsgi.url_scheme"] == "http"
        assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("", "/shop/environ")
        assert environ["HTTP_X_FORWARDED_PROTO"] == "https"
        assert "HTTP_SCRIPT_NAME" not in environ


def test_a_unix_peer_is_trusted(unix_path: str, start: Start) -> None:
    master = start(SITE, "--forwarded-allow-ips", "10.0.0.1", bind=(f"unix:{unix_path}",))
    master.wait_for_workers(1)
    with Client(unix_path) as client:
        assert environ_of(client, "/environ", HTTPS)["wsgi.url_scheme"] == "https"


def test_the_names_may_be_others(start: Start) -> None:
    config = (
        "secure_scheme_headers = {'X-SCHEME': 'tls'}\n"
        "forwarder_headers = 'REMOTE_USER'\n"
        "header_map = 'refuse'\n"
    )
    with start(SITE, config=config).connect() as client:
        environ = environ_of(client, "/environ", [("X-Scheme", "tls"), ("REMOTE_USER", "me")])
        assert (environ["wsgi.url_scheme"], environ["HTTP_REMOTE_USER"]) == ("https", "me")
        assert client.get("/environ", fields=[("X_OTHER", "a")]).status == 400


def test_a_script_name_that_the_path_does_not_begin_with_is_a_500(start: Start) -> None:
    master = start(SITE)
    with master.connect() as client:
        assert client.get("/shopping", fields=MOUNTED).status == 500
    master.wait_for_log("SCRIPT_NAME '/shop' of the proxy 127.0.0.1 is not what the path")


# ---- the PROXY protocol

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
V2 = (
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"
    + bytes([192, 0, 2, 7, 198, 51, 100, 1])
    + (4711).to_bytes(2, "big")
    + (443).to_bytes(2, "big")
)
HOOK = """
def pre_request(worker, req):
    worker.log.info("proxied %s", req.proxy_protocol_info)
"""


@pytest.mark.each_version
def test_a_proxy_s_header_says_who_the_client_is(start: Start, version: str) -> None:
    modes = (
        {"True": [V1]} if version == OLDEST else {"'v1'": [V1], "'v2'": [V2], "'auto'": [V1, V2]}
    )
    for mode, headers in modes.items():
        master = start(SITE, config=f"proxy_protocol = {mode}\n{HOOK}")
        for header in headers:
            with master.connect() as client:
                client.send(header)
                for _ in range(2):  # it is said once for all requests
                    environ = environ_of(client, "/environ", HTTPS)
                    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("192.0.2.7", "4711")
                    assert (environ["PROXY_ADDR"], environ["PROXY_PORT"]) == ("198.51.100.1", "443")
                    assert environ["wsgi.url_scheme"] == "http"  # who is not trusted
        master.wait_for_log("'client_addr': '192.0.2.7', 'client_port': 4711")
        with master.connect() as client:
            client.send_if_open(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert client.read_response().status == 400


def test_others_may_not_send_one(start: Start, version: str) -> None:
    mode = "True" if version == OLDEST else "'v1'"
    config = f"proxy_protocol = {mode}\nproxy_allow_ips = '10.0.0.1'\n"
    with start(SITE, config=config).connect() as client:
        client.send_if_open(V1 + b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read_response().status == 403
