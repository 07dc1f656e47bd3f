"""The parsers that ours is held against, each as a function from bytes to a verdict."""

from __future__ import annotations

import sys
from collections.abc import Callable

import h11
from messages import Ending, Message, Verdict

Peer = Callable[[bytes], Verdict]

_SPACE = b" \t"  # OWS (RFC 9110 5.6.3)


def frame_by_h11(data: bytes) -> Verdict:
    """h11 gets all of data at once. What it has not consumed when a message is complete is its
    trailing_data, so the next one begins there. To go on it must have answered, and only then does
    it tell whether it will."""
    # By default it refuses a head over 16 KiB; ours may have 32.
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    messages: list[Message] = []
    start = 0
    if data:  # b"" would say that the client has closed
        connection.receive_data(data)
    try:
        while True:
            request = connection.next_event()
            if request is h11.NEED_DATA:
                return Verdict(tuple(messages), Ending.MORE)
            assert isinstance(request, h11.Request), request
            body = b""
            while isinstance(event := connection.next_event(), h11.Data):
                body += event.data
            if event is h11.NEED_DATA:
                return Verdict(tuple(messages), Ending.MORE)
            assert isinstance(event, h11.EndOfMessage), event
            end = len(data) - len(connection.trailing_data[0])
            fields = tuple((bytes(n), bytes(v)) for n, v in request.headers.raw_items())
            # Not 200, which would grant a CONNECT. Either denies an upgrade (row 35).
            connection.send(h11.Response(status_code=404, headers=[("Content-Length", "0")]))
            connection.send(h11.EndOfMessage())
            keep_alive = connection.our_state is h11.DONE
            messages.append(
                Message(request.method, request.target, fields, body, start, end, keep_alive)
            )
            start = end
            if not keep_alive:
                return Verdict(tuple(messages), Ending.CLOSED)
            connection.start_next_cycle()
    except h11.RemoteProtocolError as exc:
        return Verdict(tuple(messages), Ending.REFUSED, str(exc))


PEERS: dict[str, Peer] = {"h11": frame_by_h11}

if sys.implementation.name == "cpython":
    import httptools

    class _Collector:
        """Takes httptools' callbacks; the one who feeds its parser keeps at."""

        def __init__(self) -> None:
            self.parser = httptools.HttpRequestParser(self)
            self.messages: list[Message] = []
            self.at = 0  # how many bytes have been fed
            self._start = 0
            self.on_message_begin()

        def on_message_begin(self) -> None:
            self._target = self._body = b""
            self._fields: list[tuple[bytes, bytes]] = []
            self._in_head = True

        def on_url(self, part: bytes) -> None:
            self._target += part

        def on_header(self, name: bytes, value: bytes) -> None:
            # Called for trailers as well. llhttp leaves white space behind a value.
            if self._in_head:
                self._fields.append((name, value.strip(_SPACE)))

        def on_headers_complete(self) -> None:
            self._in_head = False

        def on_body(self, part: bytes) -> None:
            self._body += part

        def on_message_complete(self) -> None:
            self.messages.append(
                Message(
                    self.parser.get_method(),
                    self._target,
                    tuple(self._fields),
                    self._body,
                    self._start,
                    self.at,
                    self.parser.should_keep_alive(),
                )
            )
            self._start = self.at

    def frame_by_llhttp(data: bytes) -> Verdict:
        """llhttp, as strict as it is by default, gets one byte at a time: it calls back with the
        last byte of a message, which nothing else would tell where that is. After a request that
        asks for an upgrade httptools leaves the rest to the other protocol; the parser goes on
        with HTTP, as a server that denies the upgrade does."""
        collector = _Collector()
        for i in range(len(data)):
            collector.at = i + 1
            try:
                collector.parser.feed_data(data[i : i + 1])
            except httptools.HttpParserUpgrade:
                assert collector.messages[-1].end == i + 1
            except httptools.HttpParserError as exc:
                return Verdict(tuple(collector.messages), Ending.REFUSED, str(exc))
            if collector.messages and not collector.messages[-1].keep_alive:
                return Verdict(tuple(collector.messages), Ending.CLOSED)
        return Verdict(tuple(collector.messages), Ending.MORE)

    PEERS["llhttp"] = frame_by_llhttp
