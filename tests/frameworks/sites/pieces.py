"""What the sites have in common: bodies in pieces, in and out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def digest_of(stream: Any) -> str:
    """What visitor.digest() says of all that is read from stream, piece by piece."""
    seen = hashlib.sha256()
    for piece in iter(lambda: stream.read(10_000), b""):
        seen.update(piece)
    return seen.hexdigest()


def wait_at(gate: str) -> None:
    """Returns once the test has opened the gate, a FIFO, to write."""
    Path(gate).read_bytes()


class Closing:
    """A body of three pieces, maybe with a failure at its end, that notes in a list that it was
    closed."""

    def __init__(self, label: str, fail: bool, closed: list[str]) -> None:
        self.label = label
        self.fail = fail
        self.closed = closed

    def __iter__(self) -> Iterator[bytes]:
        for number in range(3):
            yield b"%d\n" % number
        if self.fail:
            raise ValueError("in the middle, on purpose")

    def close(self) -> None:
        self.closed.append(self.label)
