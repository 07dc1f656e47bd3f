"""Server-sent events: a response of text/event-stream, made of events (WHATWG HTML, "Server-sent
events"). The names are those of ``meinheld``.

    import meinheld
    from meinheld.sync import channel

    def app(environ, start_response):
        return meinheld.event_stream(environ, start_response, channel("news"))

    channel("news").publish("hello")  # in another request, a task, a thread, a signal handler

In a framework: Response(sse(events), headers=dict(sse_headers())), be that Flask's Response or
Django's StreamingHttpResponse."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Union

from meinheld._checks import integer, number
from meinheld._exceptions import ServerStopping
from meinheld._exceptions import timeout as timed_out
from meinheld.sync import Channel, Subscription

__all__ = ["ServerSentEvent", "event_stream", "last_event_id", "sse", "sse_headers"]

_LINE_END: Final = re.compile("\r\n|\r|\n")
_NOTHING: Final = b":\n\n"  # a comment, which says that the stream is alive


@dataclass(frozen=True)
class ServerSentEvent:
    """An event. A client that gets one without data does not tell of it, but heeds the rest."""

    data: str | bytes | None = None  # lines, which may end in CR, LF or both; bytes are UTF-8
    id: str | int | None = None  # what a client sends as Last-Event-ID when it comes back
    event: str | None = None  # its type; "message" if there is none
    retry: int | None = None  # milliseconds that a client waits before it comes back

    def encode(self) -> bytes:
        """The bytes of the stream. Raises TypeError for a field of another type, ValueError for an
        id or event of more than a line, an id with a NUL, data that is no UTF-8, and a negative
        retry: what a client would not read as it was meant."""
        lines = []
        if self.event is not None:
            lines.append("event: " + _line("event", self.event))
        if self.id is not None:
            number = isinstance(self.id, int) and not isinstance(self.id, bool)
            lines.append("id: " + _line("id", str(self.id) if number else self.id))
        if self.retry is not None:
            lines.append(f"retry: {integer('retry', self.retry, 0)}")
        if self.data is not None:
            lines += ["data: " + line for line in _LINE_END.split(_text("data", self.data))]
        return "\n".join([*lines, "", ""]).encode()


Event = Union[str, bytes, Mapping[str, Any], ServerSentEvent]


def _text(name: str, value: object) -> str:
    if isinstance(value, bytes):
        return value.decode()
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {value!r}")
    return value


def _line(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {value!r}")
    if _LINE_END.search(value) or (name == "id" and "\0" in value):
        raise ValueError(f"{name} must be one line, an id without a NUL: {value!r}")
    return value


def _event_of(event: object) -> ServerSentEvent:
    if isinstance(event, ServerSentEvent):
        return event
    if isinstance(event, (str, bytes)):
        return ServerSentEvent(event)
    if isinstance(event, Mapping):
        return ServerSentEvent(**event)
    raise TypeError(f"an event is a str, bytes, a dict or a ServerSentEvent, not {event!r}")


def sse(
    events: Channel[Any] | Subscription[Any] | Iterable[Event | None],
    *,
    heartbeat: float | None = 15,
    retry: int | None = None,
    last_event_id: str | None = None,
) -> Iterator[bytes]:
    """The body of a response that tells a client of events, each as soon as it comes: a str or
    bytes is the data of one, a dict or a ServerSentEvent all of it.

    Of a Channel those are told that are published from now on, or after last_event_id, which is
    what last_event_id(environ) says; of a Subscription those from where it is. Their ids are the
    channel's, so that a client which comes back misses nothing. If there were some in between that
    the channel does not keep any more, an event "missed" comes first, whose data is their number.
    When nothing has come for heartbeat seconds (None: never mind) a comment is sent, so that
    nobody on the way takes the connection for dead.

    Of any other iterable all is told, and a comment is sent for each None in it. It is closed in
    the end, if it has a close(). If it waits by this server's means, an event or a timeout, its
    wait ends as soon as the client leaves, as it does for a channel: ClientDisconnected.

    retry: milliseconds that the client waits before it comes back, when the stream has ended. It
    ends in order when the server drains, and when events end.

    Raises TypeError or ValueError; while it is read, those of ServerSentEvent.encode(), and what
    events raise."""
    if heartbeat is not None and number("heartbeat", heartbeat) == 0:
        raise ValueError("heartbeat must be more than 0, or None")
    first = _NOTHING if retry is None else ServerSentEvent(retry=retry).encode()
    if isinstance(events, Channel):
        events = events.subscribe(last_event_id)
    elif last_event_id is not None:
        raise TypeError("last_event_id says where to begin in a Channel, and nowhere else")
    if isinstance(events, Subscription):
        return _pieces(first, _read(events, heartbeat))
    if isinstance(events, (str, bytes, Mapping)):
        raise TypeError(f"events must be many, not {events!r}")
    return _pieces(first, events)


def _pieces(first: bytes, events: Iterable[Event | None]) -> Iterator[bytes]:
    try:
        yield first  # at once: with it the head leaves, by which a client knows that it is heard
        for event in events:
            yield _NOTHING if event is None else _event_of(event).encode()
    except ServerStopping:
        return  # the client comes back, to whoever listens then
    finally:
        close = getattr(events, "close", None)
        if close is not None:
            close()


def _read(source: Subscription[Any], heartbeat: float | None) -> Iterator[ServerSentEvent | None]:
    told = 0
    while True:
        try:
            message = source.get(heartbeat)
        except timed_out:
            yield None
            continue
        if source.missed > told:
            yield ServerSentEvent(str(source.missed - told), event="missed")
            told = source.missed
        yield replace(_event_of(message), id=source.id)


def sse_headers() -> list[tuple[str, str]]:
    """The headers of a stream: its type, and that nobody on the way is to keep it."""
    return [
        ("Content-Type", "text/event-stream"),
        ("Cache-Control", "no-store"),
        ("X-Accel-Buffering", "no"),  # nginx's
    ]


def last_event_id(environ: Mapping[str, Any]) -> str | None:
    """The id of the last event that a client got before it lost its connection: its
    Last-Event-ID."""
    value = environ.get("HTTP_LAST_EVENT_ID")
    return value.encode("latin-1").decode("utf-8", "replace") if value else None


def event_stream(
    environ: Mapping[str, Any],
    start_response: Callable[..., object],
    events: Channel[Any] | Subscription[Any] | Iterable[Event | None],
    *,
    heartbeat: float | None = 15,
    retry: int | None = None,
) -> Iterator[bytes]:
    """Answers a request with events, as sse() has them; of a Channel, from where its client was.
    Raises what that raises."""
    after = last_event_id(environ) if isinstance(events, Channel) else None
    pieces = sse(events, heartbeat=heartbeat, retry=retry, last_event_id=after)
    start_response("200 OK", sse_headers())
    return pieces
