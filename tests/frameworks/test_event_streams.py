"""Server-sent events from views of Flask and Django."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest
from eventstream import Dispatched, EventStream
from harness import Server, wait_until
from rawclient import Client, request

Serve = Callable[..., Server]

SITES = pytest.mark.parametrize("site", ["flask", "django"])


@pytest.fixture
def start(serve_alone: Serve) -> Callable[[str], Server]:
    return lambda site: serve_alone(f"sites.events:{site}_site")


def get(server: Server, path: str) -> str:
    with server.connect() as client:
        return client.get(path).body.decode()


def begin(client: Client, path: str, last: str | None = None) -> EventStream:
    """Asks for a stream, and reads its head and its first piece."""
    client.send(request(path, fields=[("Last-Event-ID", last)] if last else []))
    head = client.read_head()
    assert (head.status, head.get("Content-Type")) == (200, "text/event-stream")
    stream = EventStream()
    stream.feed(client.read_chunk())
    assert stream.comments == 1
    return stream


@SITES
def test_events_come_as_they_are_published(start: Callable[[str], Server], site: str) -> None:
    server = start(site)
    with server.connect() as client:
        stream = begin(client, "/events/15")
        number = get(server, "/publish/one")
        assert stream.feed(client.read_chunk()) == [Dispatched("message", "one", number)]
    later = get(server, "/publish/two")
    with server.connect() as client:
        stream = begin(client, "/events/15", number)
        assert stream.feed(client.read_chunk()) == [Dispatched("message", "two", later)]


@SITES
def test_a_heartbeat_comes_when_nothing_does(start: Callable[[str], Server], site: str) -> None:
    with start(site).connect() as client:
        stream = begin(client, "/events/0.02")
        assert stream.feed(client.read_chunk()) == []
        assert stream.comments == 2


@SITES
def test_a_client_that_leaves_ends_the_stream_at_once(
    start: Callable[[str], Server], site: str
) -> None:
    server = start(site)
    with server.connect() as client:
        begin(client, "/events/3600")
        wait_until(lambda: get(server, "/waiting") == "1", "waited")
    server.wait_for_log("ended by ClientDisconnected\n")
    assert get(server, "/waiting") == "0"


@SITES
def test_a_drain_ends_the_stream_in_order(start: Callable[[str], Server], site: str) -> None:
    server = start(site)
    with server.connect() as client:
        begin(client, "/events/3600")
        wait_until(lambda: get(server, "/waiting") == "1", "waited")
        server.signal(signal.SIGTERM)
        assert client.read_chunk() == b""
        client.expect_close()
    assert server.wait() == 0
    assert "ended by its end\n" in server.log
