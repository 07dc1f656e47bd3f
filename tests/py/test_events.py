"""Server-sent events, read as WHATWG HTML has them read."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import meinheld
import pytest
from eventstream import Dispatched, EventStream
from harness import Server, wait_until
from hypothesis import given, settings
from hypothesis import strategies as st
from meinheld import ServerSentEvent
from meinheld.sync import Channel
from rawclient import Client, request

Serve = Callable[..., Server]
APP = "apps.events:app"


def read(*pieces: bytes) -> EventStream:
    stream = EventStream()
    for piece in pieces:
        stream.feed(piece)
    return stream


# ---- the format

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
LINES = TEXTS.map(lambda text: re.sub("[\r\n\0]", "", text))


@settings(deadline=None, derandomize=True)
@given(
    data=st.lists(TEXTS, max_size=5),
    ends=st.lists(st.sampled_from(["\n", "\r", "\r\n"])),
    id=st.none() | LINES | st.integers(),
    type=st.none() | LINES,
    retry=st.none() | st.integers(0, 10**6),
    size=st.integers(1, 7),
)
def test_a_client_reads_what_was_meant_however_it_is_cut(
    data: list[str],
    ends: list[str],
    id: str | int | None,
    type: str | None,
    retry: int | None,
    size: int,
) -> None:
    ends = ends or ["\n"]
    text = "".join(line + ends[number % len(ends)] for number, line in enumerate(data))
    piece = ServerSentEvent(text, id=id, event=type, retry=retry).encode()
    stream = read(*(piece[i : i + size] for i in range(0, len(piece), size)))
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    expected = Dispatched(type or "message", lines, "" if id is None else str(id))
    assert stream.events == [expected]
    assert stream.retry == retry


def test_only_what_is_a_line_end_there_ends_a_line() -> None:
    """Others that Python splits at do not."""
    text = "a\x0bb\x0cc\x1cd\x1ee\x85f\u2028g\u2029h\0i"
    assert ServerSentEvent(text).encode() == b"data: " + text.encode() + b"\n\n"


def test_leading_spaces_colons_and_marks_are_data() -> None:
    for text in (" a", ":a", "a: b", "\ufeffa", "", "\n", "\n\n"):
        assert read(ServerSentEvent(text).encode()).events == [Dispatched("message", text, "")]


def test_an_event_without_data_is_not_told_but_heeded() -> None:
    stream = read(ServerSentEvent(id="7", retry=10).encode())
    assert (stream.events, stream.last_event_id, stream.retry) == ([], "7", 10)


def test_bytes_are_utf_8() -> None:
    assert ServerSentEvent("ü".encode()).encode() == ServerSentEvent("ü").encode()
    with pytest.raises(UnicodeDecodeError):
        ServerSentEvent(b"\xff").encode()


@pytest.mark.parametrize(
    "event, error",
    [
        (ServerSentEvent("a", id="1\0"), ValueError),
        (ServerSentEvent("a", id="1\n2"), ValueError),
        (ServerSentEvent("a", id="1\r"), ValueError),
        (ServerSentEvent("a", event="b\rc"), ValueError),
        (ServerSentEvent("a", event="b\n"), ValueError),
        (ServerSentEvent("a", retry=-1), ValueError),
        (ServerSentEvent("a", retry=1.5), TypeError),  # type: ignore[arg-type]
        (ServerSentEvent("a", id=True), TypeError),
        (ServerSentEvent("a", id=1.5), TypeError),  # type: ignore[arg-type]
        (ServerSentEvent("a", event=1), TypeError),  # type: ignore[arg-type]
        (ServerSentEvent({"a": 1}), TypeError),  # type: ignore[arg-type]
        (ServerSentEvent("\ud800"), UnicodeEncodeError),
    ],
    ids=str,
)
def test_what_could_not_be_read_as_it_was_meant_is_refused(
    event: ServerSentEvent, error: type[Exception]
) -> None:
    with pytest.raises(error):
        event.encode()


# ---- what is made a stream


def test_events_are_text_bytes_dicts_and_events() -> None:
    events: Any = ["a", b"b", {"data": "c", "event": "d", "id": 1}, ServerSentEvent("e"), None]
    stream = read(*meinheld.sse(events, retry=2500))
    assert stream.events == [
        Dispatched("message", "a", ""),
        Dispatched("message", "b", ""),
        Dispatched("d", "c", "1"),
        Dispatched("message", "e", "1"),
    ]
    assert (stream.comments, stream.retry) == (1, 2500)


def test_something_leaves_at_once_before_there_are_events() -> None:
    pieces = meinheld.sse(Channel[str](), heartbeat=None)
    stream = read(next(pieces))
    assert (stream.comments, stream.events) == (1, [])


def test_a_channel_is_subscribed_to_when_the_stream_is_made() -> None:
    topic: Channel[str] = Channel()
    pieces = meinheld.sse(topic)
    number = topic.publish("since")
    stream = read(next(pieces), next(pieces))
    assert stream.events == [Dispatched("message", "since", str(number))]


def test_a_client_that_comes_back_gets_what_it_has_not() -> None:
    topic: Channel[Any] = Channel()
    topic.publish("one")
    topic.publish({"data": "two", "id": "own"})
    topic.publish(ServerSentEvent("three", event="kind"))
    first = topic.id - 2
    pieces = meinheld.sse(topic, last_event_id=str(first))
    stream = read(*(next(pieces) for _ in range(3)))
    assert stream.events == [
        Dispatched("message", "two", str(first + 1)),
        Dispatched("kind", "three", str(first + 2)),
    ]


@pytest.mark.parametrize("last", ["another server's", "1"])
def test_a_client_that_has_missed_something_is_told(last: str) -> None:
    topic: Channel[str] = Channel(2)
    for message in "abcd":
        topic.publish(message)
    pieces = meinheld.sse(topic, last_event_id=last)
    stream = read(*(next(pieces) for _ in range(3)))
    assert stream.events == [
        Dispatched("missed", "3", ""),
        Dispatched("message", "c", str(topic.id - 1)),
    ]


def test_one_that_falls_behind_while_it_is_read_is_told_how_much() -> None:
    topic: Channel[str] = Channel(2)
    pieces = meinheld.sse(topic.subscribe())
    stream = read(next(pieces))
    for messages in ("abc", "defgh"):
        for message in messages:
            topic.publish(message)
        for _ in range(3):
            stream.feed(next(pieces))
    said = [(event.type, event.data) for event in stream.events]
    news = [("missed", "1"), ("message", "b"), ("message", "c")]
    assert said == [*news, ("missed", "3"), ("message", "g"), ("message", "h")]


def test_a_heartbeat_comes_when_nothing_does() -> None:
    topic: Channel[str] = Channel()
    pieces = meinheld.sse(topic, heartbeat=0.01)
    stream = read(*(next(pieces) for _ in range(4)))
    topic.publish("a")
    stream.feed(next(pieces))
    assert stream.comments == 4
    assert [event.data for event in stream.events] == ["a"]


def test_wrong_calls_are_refused_before_the_stream_begins() -> None:
    wrong: Any
    for wrong in (0, -1, "1", True):
        with pytest.raises((TypeError, ValueError), match="heartbeat must be"):
            meinheld.sse([], heartbeat=wrong)
    for wrong in (-1, "1", 1.5):
        with pytest.raises((TypeError, ValueError), match="retry must be"):
            meinheld.sse([], retry=wrong)
    for wrong in ("text", b"bytes", {"data": "a"}):
        with pytest.raises(TypeError, match="events must be many"):
            meinheld.sse(wrong)
    with pytest.raises(TypeError, match="last_event_id"):
        meinheld.sse([], last_event_id="1")
    with pytest.raises(TypeError):
        list(meinheld.sse([{"data": "a", "comment": "b"}]))


def test_last_event_id_is_utf_8() -> None:
    sent = "ü7".encode().decode("latin-1")
    assert meinheld.last_event_id({"HTTP_LAST_EVENT_ID": sent}) == "ü7"
    assert meinheld.last_event_id({"HTTP_LAST_EVENT_ID": ""}) is None
    assert meinheld.last_event_id({}) is None


# ---- served


def said(server: Server, path: str) -> Any:
    with server.connect() as client:
        return json.loads(client.get(path).body)


class Reader:
    """A client that reads a stream."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.stream = EventStream()

    def read_until(self, condition: Callable[[EventStream], object]) -> None:
        """Reads pieces until the stream is like that; the stream must not end before."""
        while not condition(self.stream):
            piece = self.client.read_chunk()
            assert piece
            self.stream.feed(piece)

    def data(self, count: int) -> list[str]:
        """That of all events, once there are so many."""
        self.read_until(lambda stream: len(stream.events) >= count)
        return [event.data for event in self.stream.events]


@contextmanager
def reading(server: Server, path: str, **fields: str) -> Iterator[Reader]:
    """A client that has read the head of a stream and its first piece."""
    with server.connect() as client:
        names = [(name.replace("_", "-"), value) for name, value in fields.items()]
        client.send(request(path, fields=names))
        head = client.read_head()
        assert (head.status, head.get("Content-Type")) == (200, "text/event-stream")
        assert head.get("Cache-Control") == "no-store"
        reader = Reader(client)
        reader.read_until(lambda stream: stream.comments or stream.retry)
        yield reader


def wait_for_waits(server: Server, count: int) -> None:
    wait_until(lambda: said(server, "/waiting") == count, f"{count} waited")


def test_events_come_as_they_are_published(serve: Serve) -> None:
    server = serve(APP)
    with reading(server, "/news") as one, reading(server, "/news?retry=1") as two:
        first = said(server, "/publish?message=hello")
        for reader in (one, two):
            reader.read_until(lambda stream: stream.events)
            assert reader.stream.events == [Dispatched("message", "hello", str(first))]
        said(server, "/publish?message=a%0Ab")
        assert one.data(2) == two.data(2) == ["hello", "a\nb"]
        assert (one.stream.retry, two.stream.retry) == (None, 1500)


def test_a_client_that_comes_back_goes_on_where_it_was(serve: Serve) -> None:
    server = serve(APP)
    with reading(server, "/news") as reader:
        said(server, "/publish?message=one")
        assert reader.data(1) == ["one"]
        last = reader.stream.last_event_id
    for message in ("two", "three"):
        said(server, f"/publish?message={message}")
    with reading(server, "/news", Last_Event_ID=last) as reader:
        assert reader.data(2) == ["two", "three"]
        for number in range(6):
            said(server, f"/publish?message={number}")
    with reading(server, "/news", Last_Event_ID=last) as reader:
        assert reader.data(6) == ["3", "1", "2", "3", "4", "5"]
        assert reader.stream.events[0] == Dispatched("missed", "3", "")


def test_a_client_is_sent_a_comment_now_and_then(serve: Serve) -> None:
    with reading(serve(APP), "/news?heartbeat=0.02") as reader:
        reader.read_until(lambda stream: stream.comments >= 4)
        assert reader.stream.events == []


@pytest.mark.parametrize("heartbeat", ["15", "none"])
def test_a_client_that_leaves_ends_the_stream_at_once(serve: Serve, heartbeat: str) -> None:
    server = serve(APP)
    with reading(server, f"/news?heartbeat={heartbeat}"):
        wait_for_waits(server, 1)
    wait_for_waits(server, 0)
    server.wait_for_log("news ended by ClientDisconnected\nnews closed\n")


def test_a_generator_of_one_s_own_is_ended_and_closed_too(serve: Serve) -> None:
    server = serve(APP)
    with reading(server, "/own") as reader:
        assert reader.data(2) == ["one", "2\n3"]
        number = said(server, "/publish?message=hello")
        assert reader.data(3)[2] == "own hello"
        assert reader.stream.events[2].last_event_id == str(number)
        comments = reader.stream.comments
        reader.read_until(lambda stream: stream.comments > comments)
    wait_for_waits(server, 0)
    server.wait_for_log("own closed\n")
    # It waited, or its piece was on the way.
    assert re.search("own ended by (ClientDisconnected|GeneratorExit)\n", server.log)


def test_a_drain_ends_the_stream_in_order(serve: Serve) -> None:
    server = serve(APP)
    with reading(server, "/news") as one, reading(server, "/own") as two:
        wait_for_waits(server, 2)
        server.signal(signal.SIGTERM)
        for reader in (one, two):
            while reader.client.read_chunk():
                pass
            reader.client.expect_close()
    assert server.wait() == 0


def test_a_stream_that_ends_is_a_whole_answer(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        for _ in range(2):
            response = client.get("/brief")
            assert response.framing == "chunked"
            data = [event.data for event in read(response.body).events]
            assert data == ["first", "second"]
    assert server.log.count("brief ended by its end\nbrief closed\n") == 2


def test_a_head_is_answered_without_a_stream(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        response = client.get("/news", method="HEAD")
        assert (response.status, response.get("Content-Type")) == (200, "text/event-stream")
        assert client.get("/brief").status == 200
    wait_for_waits(server, 0)


def test_what_is_no_event_ends_the_stream_and_is_logged(serve: Serve) -> None:
    server = serve(APP, tracebacks=1)
    with server.connect() as client:
        client.send(request("/broken"))
        assert b"data: first\n" in client.read_to_abort()
    server.wait_for_log("an event is a str, bytes, a dict or a ServerSentEvent, not 2")
    server.wait_for_log("broken closed\n")


def test_a_wrong_call_can_still_be_answered(serve: Serve) -> None:
    with serve(APP).connect() as client:
        assert client.get("/refused").body == b"heartbeat must be more than 0, or None"
