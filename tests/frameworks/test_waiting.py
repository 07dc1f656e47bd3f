"""Views of Flask and Django that wait for a resume: the framework does not notice, however it
ends."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from harness import Server
from rawclient import Client, request

Serve = Callable[..., Server]

SITES = pytest.mark.parametrize("site", ["flask", "django"])
PATHS = pytest.mark.parametrize("path", ["wait", "stream"])


def wait_at(server: Server, client: Client, path: str, name: str) -> None:
    client.send(request(f"/{path}/{name}"))
    server.wait_for_log(f"{name} waits\n")


@pytest.fixture
def start(serve_site: Serve) -> Callable[[str], Server]:
    return lambda site: serve_site(f"sites.waiting:{site}_site")


@SITES
def test_views_wait_at_once_and_go_on_in_any_order(
    start: Callable[[str], Server], site: str
) -> None:
    server = start(site)
    names = ["a", "b", "c"]
    clients = {name: server.connect() for name in names}
    for name in names:
        wait_at(server, clients[name], "wait", name)
    with server.connect() as other:
        for name in reversed(names):
            assert other.get(f"/resume/{name}/hello-{name}").body == b"True"
            with clients[name] as client:
                body = client.read_response().body.decode()
                assert body == f"{name} /wait/{name} hello-{name}"
                assert client.get(f"/resume/{name}/late").body == b"False"


@SITES
def test_a_stream_waits_between_two_pieces(start: Callable[[str], Server], site: str) -> None:
    server = start(site)
    with server.connect() as client, server.connect() as other:
        wait_at(server, client, "stream", "s")
        assert other.get("/resume/s/rest").body == b"True"
        assert client.read_response().body == b"first rest/stream/s"


@SITES
@PATHS
def test_a_client_that_leaves_is_no_failure_and_all_is_torn_down(
    start: Callable[[str], Server], site: str, path: str
) -> None:
    server = start(site)
    with server.connect() as client:
        wait_at(server, client, path, "gone")
    server.wait_for_log("gone goes on\n")
    if site == "flask":
        server.wait_for_log("torn down after ")
    elif path == "stream":  # of a view that raises Django tells no end
        server.wait_for_log("request finished")
    server.stop()
    assert "gone failed" not in server.log


@SITES
def test_a_drain_is_no_failure_and_answered_503(start: Callable[[str], Server], site: str) -> None:
    server = start(site)
    with server.connect() as client:
        wait_at(server, client, "wait", "stopped")
        server.signal(signal.SIGTERM)
        response = client.read_response()
        assert (response.status, response.get("Retry-After")) == (503, "1")
    assert server.wait() == 0
    assert "stopped failed" not in server.log
    if site == "flask":
        assert "torn down after stopped" in server.log
