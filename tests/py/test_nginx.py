"""Behind a real nginx that hands TCP connections on with a PROXY header."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Server
from proxies import nginx
from rawclient import Client, request

Serve = Callable[..., Server]
ENVIRON = "apps.environ:app"


@pytest.mark.parametrize("mode", ["v1", "auto"])
@pytest.mark.parametrize(("host", "protocol"), [("127.0.0.1", "TCP4"), ("::1", "TCP6")])
def test_each_client_keeps_its_address(
    serve: Serve, tmp_path: Path, mode: str, host: str, protocol: str
) -> None:
    backend = serve(ENVIRON, proxy_protocol=mode).port
    proxy = nginx(tmp_path / "nginx", backend, host=host)
    with proxy as address, Client(address) as one, Client(address) as two:
        for client in (one, two, one, two):
            client.send(request())
            environ = json.loads(client.read_response().body)
            here, there = client.socket.getsockname(), client.socket.getpeername()
            assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == (host, str(here[1]))
            assert (environ["PROXY_ADDR"], environ["PROXY_PORT"]) == (host, str(there[1]))
            assert environ["PROXY_PROTOCOL"] == protocol


def test_a_header_of_another_version_is_refused(serve: Serve, tmp_path: Path) -> None:
    backend = serve(ENVIRON, proxy_protocol="v2").port
    with nginx(tmp_path / "nginx", backend) as address, Client(address) as client:
        client.send(request())
        assert client.read_response().status == 400  # what follows is nginx's: a close or a reset
