"""The host of the wire cases: says what reached it, or answers as the query says. What it does is
defined in tests/wire/README.md, "The host"."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote_to_bytes

from apps import Environ, StartResponse, report


class Failure(Exception):
    """What the item "fail" asks for."""


def own_failure(record: logging.LogRecord) -> bool:
    """Whether this is about a failure that a case has asked for."""
    error = record.exc_info[1] if record.exc_info else None
    refused = isinstance(error, ValueError) and re.search(
        r"may not be sent|beyond the Content-Length", str(error)
    )
    return bool(isinstance(error, Failure) or refused) and "/answer?" in record.getMessage()


# All other errors are logged, and so fail the test.
logging.getLogger("meinheld.error").addFilter(lambda record: not own_failure(record))


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    if environ["PATH_INFO"] == "/answer":
        return answer_as_told(environ, start_response)
    return report.app(environ, start_response)


def begin(
    start_response: StartResponse, status: str, fields: list[tuple[str, str]]
) -> Callable[[bytes], object]:
    """Sends the head, by itself; returns what writes the pieces, each by itself."""
    write = start_response(status, fields)
    write(b"")
    return write


def answer_as_told(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    items = [item.partition("=") for item in environ["QUERY_STRING"].split("&")]
    status = "200"
    fields: list[tuple[str, str]] = []
    whole = write = None
    if not any(name == "unread" for name, _, _ in items):
        environ["wsgi.input"].read()
    for name, _, escaped in items:
        value = unquote_to_bytes(escaped)
        if name == "status":
            status = unquote_to_bytes(escaped.replace("+", " ")).decode("latin-1")
        elif name == "field":
            key, _, text = value.decode("latin-1").partition(":")
            fields.append((key, text))
        elif name == "length":
            fields.append(("Content-Length", value.decode("latin-1")))
        elif name in ("piece", "peer"):
            if name == "peer":
                value = f"{environ['REMOTE_ADDR']} {environ['REMOTE_PORT']}".encode("ascii")
            if write is None:
                write = begin(start_response, status, fields)
            write(value)
        elif name == "whole":
            whole = value
        elif name == "fail":
            raise Failure
        elif name != "unread":
            raise KeyError(name)
    if whole is not None:
        start_response(status, fields)
        return [whole]
    if write is None:
        begin(start_response, status, fields)
    return []
