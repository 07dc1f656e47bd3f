"""A client of server-sent events, by the letter of WHATWG HTML: "Parsing an event stream" and
"Interpreting an event stream"."""

from __future__ import annotations

import re
from dataclasses import dataclass

_LINE_END = re.compile("\r\n|\r|\n")


@dataclass(frozen=True)
class Dispatched:
    """An event, as an EventSource tells of it."""

    type: str
    data: str
    last_event_id: str


class EventStream:
    """What a client has understood of a stream, of which it is fed pieces."""

    def __init__(self) -> None:
        self.events: list[Dispatched] = []
        self.comments = 0
        self.retry: int | None = None  # milliseconds; None: the client's own
        self.last_event_id = ""
        self._rest = b""
        self._data = ""
        self._type = ""
        self._id = ""

    def feed(self, piece: bytes) -> list[Dispatched]:
        """Returns the events that end in it."""
        count = len(self.events)
        self._rest += piece
        # A CR at the end may be half of a CRLF: what follows it decides.
        ended = re.match(rb"(?s).*(?:\n|\r(?=.))", self._rest)
        if ended:
            self._rest = self._rest[ended.end() :]
            for line in _LINE_END.split(ended[0].decode())[:-1]:
                self._line(line)
        return self.events[count:]

    def _line(self, line: str) -> None:
        if not line:
            self._dispatch()
        elif line.startswith(":"):
            self.comments += 1
        else:
            name, _, value = line.partition(":")
            self._field(name, value[1:] if value.startswith(" ") else value)

    def _field(self, name: str, value: str) -> None:
        if name == "event":
            self._type = value
        elif name == "data":
            self._data += value + "\n"
        elif name == "id":
            if "\0" not in value:
                self._id = value
        elif name == "retry" and re.fullmatch("[0-9]+", value):
            self.retry = int(value)

    def _dispatch(self) -> None:
        self.last_event_id = self._id
        if self._data:
            event = Dispatched(self._type or "message", self._data[:-1], self.last_event_id)
            self.events.append(event)
        self._data = self._type = ""
