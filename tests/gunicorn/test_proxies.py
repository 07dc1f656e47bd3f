"""What a proxy in front may say: forwarded_allow_ips, secure_scheme_headers, forwarder_headers,
header_map. The rules themselves are in tests/py/test_forwarded.py."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from master import Master
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
