"""wsgi.early_hints, as gunicorn has it: environ["wsgi.early_hints"](headers) sends 103 Early Hints
(RFC 8297) ahead of the response. It is one object for all requests, which finds that of its caller
by the seat."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Union

from meinheld._loop import Loop
from meinheld._native import lib
from meinheld._response import NOTHING, Response
from meinheld._seat import current_seat

Text = Union[str, bytes]


class EarlyHints:
    """What an application may call, any number of times."""

    __slots__ = ()

    def __call__(self, headers: Iterable[tuple[Text, Text]]) -> None:
        """Sends headers at once, such as ("Link", "</a.css>; rel=preload"). Nothing comes of it
        outside a request, once its response has begun, or to a client of HTTP/1.0.

        Raises ValueError for headers that may not be sent."""
        seat = current_seat()
        if seat is None or not isinstance(seat.serving, Response) or seat.serving.stage != NOTHING:
            return
        parts = ["103 Early Hints"]
        for header in headers:
            parts += (text if isinstance(text, str) else text.decode("latin-1") for text in header)
        text = "\n".join(parts).encode("latin-1")
        loop: Loop = seat.loop
        code = loop.call(_inform, (loop, seat.serving.name, text, len(parts)))
        if code == lib.MH_EINVAL:
            raise ValueError(f"headers that may not be sent: {parts[1:]!r}")


def _inform(what: tuple[Loop, int, bytes, int]) -> int:
    loop, name, text, pieces = what
    return lib.mhpy_inform(loop.hub, name, text, len(text), pieces)


EARLY_HINTS = EarlyHints()
