"""From the strings of a request's head to environ (PEP 3333, "environ Variables").

What depends only on the sequence of the field names, the listener and the version is a *plan*, made
once and kept: a pristine dict with every key in place, and the keys whose values each request
brings. So a plain request is a copy and an update. Plans never see values, and their dicts are
never handed out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple
from urllib.parse import unquote

Environ = dict[str, Any]

# What every request brings before its fields; the wire knows them in this order.
_FIXED = (
    "REQUEST_METHOD",
    "RAW_URI",
    "PATH_INFO",
    "QUERY_STRING",
    "REMOTE_ADDR",
    "REMOTE_PORT",
)

# In place of the count of a plan that takes the long way: no request has so many pieces.
_LONG_WAY = -1


class Plan(NamedTuple):
    """How heads of one kind become environ. Unpacked, not asked by name, where requests are
    served."""

    base: Environ
    keys: tuple[str | None, ...]  # None: the value is dropped
    pieces: int  # of a request that can take the short way: each key once, none dropped


class Place(NamedTuple):
    """What environ says of a listener."""

    name: str  # SERVER_NAME, unless wildcard
    port: str  # SERVER_PORT
    wildcard: bool  # each request tells its local address


def field_key(name: str) -> str | None:
    """environ's key for a field, None if it is not to be seen.

    A name with "_" would be taken for one with "-" (row 26 of docs/http.md). Transfer-Encoding is
    gone once the body has been decoded (row 13); so it is always."""
    key = name.upper().replace("-", "_")
    if "_" in name or key == "TRANSFER_ENCODING":
        return None
    if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        key = "HTTP_" + key
    return sys.intern(key)


class Plans:
    """The plans of one run, by the numbers that the C half gives them."""

    def __init__(self, places: list[Place], shared: Environ) -> None:
        """shared: what is the same for all requests; places: the listeners in their order."""
        self._places = places
        self._shared = shared
        self._shapes: dict[int, list[str]] = {}
        self._plans: dict[int, Plan] = {}
        self.get = self._plans.get

    def learn(self, shape: int, names: list[str]) -> None:
        """A shape's field names; plans of its number are made when asked for."""
        self._shapes[shape] = names

    def forget(self) -> None:
        """All shapes are void."""
        self._shapes.clear()
        self._plans.clear()

    def make(self, number: int) -> Plan | None:
        """The plan of that number (see MHPY_REQUEST in mhpy.h), kept from now on. None if its shape
        was never told."""
        names = self._shapes.get(number >> 16)
        if names is None:
            return None
        plan = self._plans[number] = self.build(number, names)
        return plan

    def fixed(self, number: int) -> int:
        """How many strings a request of that plan has besides those of its fields."""
        return len(_FIXED) + self._place(number).wildcard

    def _place(self, number: int) -> Place:
        return self._places[(number & 0xFFFF) >> 1]

    def build(self, number: int, names: list[str]) -> Plan:
        """A plan for names, with the listener and the version that number tells."""
        place = self._place(number)
        fixed = (*_FIXED, "SERVER_NAME") if place.wildcard else _FIXED
        fields = [field_key(name) for name in names]
        keys = (*fixed, *fields)
        base = {
            **self._shared,
            "SERVER_NAME": place.name,
            "SERVER_PORT": place.port,
            "SERVER_PROTOCOL": "HTTP/1.0" if number & 1 else "HTTP/1.1",
            **dict.fromkeys((*_FIXED, "REQUEST_URI"), ""),
        }
        if None in fields or len(set(fields)) < len(fields):
            return Plan(base, keys, _LONG_WAY)
        # With all keys in place, the copy has its final size and the update only replaces values.
        base.update((key, "") for key in fields if key)
        return Plan(base, keys, len(keys))


def fill(environ: Environ, plan: Plan, texts: Iterator[str]) -> None:
    """Takes a plan's pieces from texts, the long way: drops what has no key, and joins repeated
    fields as RFC 9110 5.2 says, cookies as RFC 6265 4.2.1 does."""
    seen = set()
    for key, value in zip(plan.keys, texts):
        if key is None:
            continue
        if key in seen:
            value = environ[key] + ("; " if key == "HTTP_COOKIE" else ",") + value
        seen.add(key)
        environ[key] = value


def unescape(path: str) -> str:
    """A raw path without its percent-escapes, each byte a character (PEP 3333, "Unicode
    Issues")."""
    return unquote(path, "latin-1")


def take(texts: Iterator[str], count: int) -> list[str]:
    """The next count strings."""
    return list(islice(texts, count))
