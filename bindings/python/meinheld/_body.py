"""What an application returns, of whatever kind, as calls of a Sender (PEP 3333, "Buffering and
Streaming")."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Union, cast

from meinheld._files import FileWrapper
from meinheld._response import Response
from meinheld._sender import Sender

# List items are joined up to this size in all; above it they are sent one by one.
_JOIN: Final = 65536


def send_result(sender: Sender, response: Response, result: Iterable[bytes]) -> None:
    """Sends what the application returned, and closes it, whatever happens; but a file that the
    Sender keeps is its to close. Raises what iterating and closing raise, and what the Sender
    does."""
    kept = False
    try:
        if type(result) in (list, tuple):
            _send_items(sender, response, cast(Union[list[bytes], tuple[bytes, ...]], result))
        elif type(result) is FileWrapper:
            kept = sender.file(response, result)
            if not kept:
                _send_stream(sender, response, result.blocks(response.announced()))
        else:
            _send_stream(sender, response, result)
    finally:
        if not kept:
            close = getattr(result, "close", None)
            if close is not None:
                close()


def _send_items(sender: Sender, response: Response, items: list[bytes] | tuple[bytes, ...]) -> None:
    """Items that are all there already, so that the length is known."""
    for item in items:
        _check(item)
    if response.stage or (len(items) > 1 and sum(map(len, items)) > _JOIN):
        _send_stream(sender, response, items)
    else:
        sender.answer(response, items[0] if len(items) == 1 else b"".join(items))


def _send_stream(sender: Sender, response: Response, items: Iterable[bytes]) -> None:
    """Items that are made while they are sent: each leaves before the next is asked for."""
    now = type(items) not in (list, tuple)
    answered = False
    for item in items:
        _check(item)
        if not item:
            sender.skip(response)
            continue
        if response.ended:
            if answered:  # else by write(), which has reported what there was
                sender.report_length(response)
            return
        if response.stage or response.announced() != len(item):
            sender.head(response)
            if response.bodyless():
                break
            sender.send(response, item, now)
        else:
            sender.answer(response, item)
            answered = True
    if response.ended:
        return
    if response.stage:
        sender.end(response)
    else:
        sender.answer(response, b"")


def _check(item: object) -> None:
    if type(item) is not bytes:
        raise TypeError(f"a response body is made of bytes, not of {type(item).__name__}")
