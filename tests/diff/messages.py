"""What a parser makes of pipelined bytes, in one form for all of them."""

from __future__ import annotations

import enum
from dataclasses import dataclass

Fields = tuple[tuple[bytes, bytes], ...]


class Ending(enum.Enum):
    """Why a parser stopped, behind the messages that it took."""

    MORE = "it needs more bytes"
    CLOSED = "the last message was the connection's last"
    REFUSED = "it refuses what follows"


@dataclass(frozen=True)
class Message:
    """One request. Values are without white space around them; trailers are not kept."""

    method: bytes
    target: bytes
    fields: Fields
    body: bytes
    # Where it begins, empty lines before it included, and where the next one does.
    start: int
    end: int
    # Whether its client keeps the connection.
    keep_alive: bool

    def values(self, name: bytes) -> list[bytes]:
        """Every value of a field; name in lower case."""
        return [value for key, value in self.fields if key.lower() == name]


@dataclass(frozen=True)
class Verdict:
    """The messages that a parser takes from its input, and why it stopped behind them."""

    messages: tuple[Message, ...]
    ending: Ending
    # Of a refusal: the status, or what the parser said.
    reason: str = ""
    # What is there of a message whose head is taken, but not its body; only of ours.
    unfinished: Message | None = None

    @property
    def end(self) -> int:
        """Where the next message would begin."""
        return self.messages[-1].end if self.messages else 0
