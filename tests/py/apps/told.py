"""An app that answers what its query tells it: Told, as tell() writes it. The query is part of the
head, so that the same question twice is what the server remembers."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

from apps import Environ, StartResponse


@dataclass
class Told:
    """What to call start_response with, and what to return: pieces, each a text, in latin-1, and
    how many times over."""

    status: str
    headers: list[tuple[str, str]]
    pieces: list[tuple[str, int]]
    # "list", "tuple", "generator", or "write": the pieces but the last through write().
    how: str = "list"

    def encoded(self) -> list[bytes]:
        """The pieces, as bytes."""
        return [text.encode("latin-1") * times for text, times in self.pieces]

    @property
    def body(self) -> bytes:
        """All of them."""
        return b"".join(self.encoded())


def tell(told: Told) -> str:
    """The target that tells it."""
    text = json.dumps(asdict(told), ensure_ascii=False)
    return "/?" + base64.urlsafe_b64encode(text.encode()).decode()


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    told = Told(**json.loads(base64.urlsafe_b64decode(environ["QUERY_STRING"])))
    write = start_response(told.status, [(name, value) for name, value in told.headers])
    pieces = told.encoded()
    if told.how == "generator":
        return _generate(pieces)
    if told.how == "tuple":
        return tuple(pieces)
    if told.how == "write":
        for piece in pieces[:-1]:
            write(piece)
        return pieces[-1:]
    return pieces


def _generate(pieces: list[bytes]) -> Iterator[bytes]:
    yield from pieces
