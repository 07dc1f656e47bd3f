"""Answers that are not the same each time to the same request."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

from apps import Environ, StartResponse

_numbers = count()
_turns = count()


class Posing:
    """Is no str, but says that it equals one."""

    def __init__(self, text: object) -> None:
        self.text = text

    def __eq__(self, other: object) -> bool:
        return self.text == other

    def __hash__(self) -> int:
        return hash(self.text)

    def __iter__(self) -> Any:
        return iter(self.text)  # type: ignore[call-overload]


class Held(str):
    """A str that claims to equal any."""

    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 1


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return ROUTES[environ["PATH_INFO"]](environ, start_response)


def counting(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    number = next(_numbers)
    status = "200 OK" if number // 4 % 2 == 0 else "201 Created"
    start_response(status, [("X-Number", str(number // 2))])
    return [str(number).encode()]


def mutating(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    headers = [("X-A", "first")]
    start_response("200 OK", headers)
    headers[0] = ("X-A", "second")
    return [b""]


def posing(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    """Three good answers, then one with something in it that is no str, then good again."""
    what = environ["QUERY_STRING"]
    parts: dict[str, Any] = {"name": "X-A", "value": "a", "status": "200 OK"}
    poses = next(_turns) == 3
    if poses and what in parts:
        parts[what] = Posing(parts[what])
    pair: Any = (parts["name"], parts["value"])
    if poses and what == "pair":
        pair = Posing(pair)
    start_response(parts["status"], [pair])
    return [b"ok"]


def subclass(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    value = "other" if next(_turns) % 2 else "held"
    start_response("200 OK", [("X-A", Held("held"))])
    return [value.encode()]


def plain(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]


ROUTES = {
    "/counting": counting,
    "/mutating": mutating,
    "/posing": posing,
    "/subclass": subclass,
    "/plain": plain,
}
