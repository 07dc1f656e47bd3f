"""What a loop tells: the events of the C half and their text, and whom they are handed to."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from meinheld._native import ffi

if TYPE_CHECKING:
    from meinheld._native import Batch

Event = tuple[int, int, int, int]


class Texts:
    """The text of a batch of events, in pieces. The parser lets no NUL through, and still: a text
    that does not add up is not taken apart, or one request's strings would be another's."""

    def __init__(self) -> None:
        self._pieces: Iterator[str] = iter(())
        self._torn = False  # they do not add up

    def split(self, batch: Batch) -> bool:
        """Copies the text out of the hub, and takes it apart. Returns whether that can be done."""
        texts = ffi.unpack(batch.text, batch.text_n).decode("latin-1").split("\0")
        # The last NUL ends a piece, so one more is found.
        self._torn = len(texts) != batch.pieces + 1
        self._pieces = iter(texts)
        return not self._torn

    def take(self, pieces: int) -> list[str] | None:
        """The next pieces; None if the text could not be taken apart."""
        return None if self._torn else list(islice(self._pieces, pieces))


class Gateway(Protocol):
    """What the loop hands events to; see mhpy.h for their arguments. None of it is called with a
    stale name's request still open, but a request may have finished while its events were on their
    way."""

    def request(self, number: int, slot: int, gen: int, peer: int) -> None:
        """A head that was learned by that number has come again."""

    def first(
        self, name: int, plan: int, flags: int, events: Iterator[Event], texts: Texts
    ) -> None:
        """Any other head. The next of events is the second half of its own: pieces, peer, block,
        head; texts has the pieces, which are to be taken."""

    def shape(self, shape: int, names: list[str]) -> None:
        """A sequence of field names that plans will mention by its number."""

    def peer(self, peer: int, texts: list[str]) -> None:
        """A peer that requests will mention by its number."""

    def forget(self, table: int) -> None:
        """All that was learned of a kind is void."""

    def readable(self, name: int) -> None:
        """More of the body, its end, or an error can be read."""

    def writable(self, name: int) -> None:
        """The output has drained."""

    def returned(self, name: int) -> None:
        """A piece of output that was lent has left."""

    def finish(self, name: int, why: int, sent: int) -> None:
        """A request has ended of which the end was asked for, or before it was answered."""

    def unsent(self, name: int, code: int) -> None:
        """A thread's answer could not be sent as it is."""

    def end(self) -> None:
        """The run is over, and the C half gone: what is kept for requests is to be given back."""

    def ended(self, name: int, status: int, sent: int, taken_us: int) -> None:
        """Any request has ended; only after tell_ends()."""

    def refused(self, texts: list[str] | None, status: int, sent: int, taken_us: int) -> None:
        """A request that was never told has been refused; texts: its peer's address and port, and
        its first line, cut at each NUL; None if they are lost. Only after tell_ends()."""

    def served(self, texts: list[str] | None, status: int, sent: int, taken_us: int) -> None:
        """A request has ended that the C half has answered by itself; texts as MHPY_SERVED has
        them, None if they are lost. Only after tell_ends()."""

    def counted(self) -> object:
        """As many requests have ended as were to be counted."""

    def open_names(self) -> list[int]:
        """The requests whose end is still to be told, when the loop ends."""

    def trouble(self, what: int, detail: int) -> None:
        """The C half tells what goes wrong, or is well again, without concerning a request."""
