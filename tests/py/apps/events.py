"""Streams of server-sent events. Each logs how it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any

import meinheld
from meinheld import ServerSentEvent, server
from meinheld.sync import Channel, channel

from apps import Environ, StartResponse, answer, by_path, log
from apps.continuations import query
from apps.tasks import said

_news: Channel[Any] = channel("news", 5)


class Watched:
    """An iterable that logs how its iteration ended, and that it was closed."""

    def __init__(self, name: str, pieces: Iterable[Any]) -> None:
        self._name = name
        self._pieces = pieces

    def __iter__(self) -> Iterator[Any]:
        try:
            yield from self._pieces
        finally:
            exc = sys.exc_info()[0]
            log(f"{self._name} ended by {exc.__name__ if exc else 'its end'}")

    def close(self) -> None:
        close = getattr(self._pieces, "close", None)
        if close is not None:
            close()
        log(f"{self._name} closed")


def heartbeat(environ: Environ) -> float | None:
    value = query(environ, "heartbeat", "15")
    return float(value) if value != "none" else None


def news(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """A channel, from where its client was."""
    options = {"retry": 1500} if query(environ, "retry") else {}
    stream = meinheld.event_stream(
        environ, start_response, _news, heartbeat=heartbeat(environ), **options
    )
    return Watched("news", stream)


def own(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """A generator that waits for a channel by itself."""

    def events() -> Iterator[ServerSentEvent | str | dict[str, Any] | None]:
        reader = _news.subscribe()
        yield "one"
        yield {"event": "two", "data": "2\n3"}
        while True:
            try:
                message = reader.get(0.02)
            except server.timeout:
                yield None
                continue
            yield ServerSentEvent(f"own {message}", id=reader.id)

    return meinheld.event_stream(environ, start_response, Watched("own", events()))


def brief(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    events = Watched("brief", [b"first", "second"])
    return meinheld.event_stream(environ, start_response, events)


def broken(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return meinheld.event_stream(environ, start_response, Watched("broken", ["first", 2]))


def publish(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return said(start_response, channel("news").publish(query(environ, "message")))


def waiting(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return said(start_response, _news.waiting)


def refused(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """What is wrong is said before anything has gone."""
    try:
        return meinheld.event_stream(environ, start_response, _news, heartbeat=0)
    except ValueError as exc:
        return answer(start_response, str(exc).encode())


app = by_path(
    {
        "/news": news,
        "/own": own,
        "/brief": brief,
        "/broken": broken,
        "/publish": publish,
        "/waiting": waiting,
        "/refused": refused,
    }
)
