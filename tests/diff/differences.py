"""Where a peer differs from us; known.py says which of that may be.

What a peer takes and we refuse is our strictness, and no difference. These are:

- REFUSES: a peer refuses a message that we take.
- KEEPS: both take it alike, but one of them ends the connection with it.
- FRAMES: all else: another method, target, field, body or boundary, or one waits for more bytes
  where the other has a complete message.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace

from messages import Ending, Message, Verdict
from peers import PEERS


class Kind(enum.Enum):
    REFUSES = "refuses"
    KEEPS = "keeps"
    FRAMES = "frames"


@dataclass(frozen=True)
class Difference:
    """The first one of a peer's on some bytes."""

    peer: str
    kind: Kind
    # Our message and its bytes; what we have of one where we wait and the peer does not.
    ours: Message | None
    data: bytes
    # The peer's message, if it has one, and why it stopped if it has none.
    theirs: Message | None
    reason: str

    @property
    def message(self) -> Message:
        """Ours, where there is one."""
        assert self.ours is not None
        return self.ours

    def __str__(self) -> str:
        lines = [f"{self.peer} {self.kind.value}: {self.reason}", repr(self.data)]
        return "\n".join([*lines, f"ours   {self.ours}", f"theirs {self.theirs}"])


def _comparable(peer: str, message: Message) -> Message:
    """What is left of a message as the peer can tell it: h11 writes this value in lower case."""
    if peer != "h11":
        return message
    coding = b"transfer-encoding"
    fields = ((n, v.lower() if n.lower() == coding else v) for n, v in message.fields)
    return replace(message, fields=tuple(fields))


def first_difference(data: bytes, ours: Verdict, peer: str) -> Difference | None:
    """Where the peer first differs from our verdict on data."""
    theirs = PEERS[peer](data)
    for i, message in enumerate(ours.messages):
        part = data[message.start : message.end]
        if i == len(theirs.messages):
            refused = theirs.ending is Ending.REFUSED
            kind = Kind.REFUSES if refused else Kind.FRAMES
            return Difference(peer, kind, message, part, None, theirs.reason or theirs.ending.value)
        other = theirs.messages[i]
        mine = _comparable(peer, message)
        if mine != replace(other, keep_alive=mine.keep_alive):
            return Difference(peer, Kind.FRAMES, message, part, other, "")
        if message.keep_alive != other.keep_alive:
            return Difference(peer, Kind.KEEPS, message, part, other, "")
    if ours.ending is Ending.MORE and len(theirs.messages) > len(ours.messages):
        other = theirs.messages[len(ours.messages)]
        return Difference(peer, Kind.FRAMES, ours.unfinished, data[ours.end :], other, "we wait")
    return None
