"""What an application returns, of whatever kind, as calls of a sender (PEP 3333, "Buffering and
Streaming"; docs/wsgi.md has what it leaves open)."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final, Union, cast

from greenlet import GreenletExit

from meinheld._files import FileWrapper, ReadFileWrapper
from meinheld._response import (
    BODYLESS,
    HEAD,
    ExcInfo,
    NothingMore,
    Response,
    Responses,
    TooLong,
    plain,
)

# List items are joined up to this size in all; above it they are sent one by one.
_JOIN: Final = 65536

# What run() hears of, whatever closing may raise on top of it.
LEAVING: Final = (KeyboardInterrupt, SystemExit, GreenletExit)


def send_result(sender: Responses, response: Response, result: Iterable[bytes]) -> None:
    """Sends what the application returned, as long as there is somebody to send it to, and closes
    it, whatever happens; but a file that the sender keeps is its to close. Raises what iterating
    and closing raise, and what the sender does but for NothingMore."""
    try:
        kept = _send(sender, response, result)
    except LEAVING:
        try:
            _close(result)
        except Exception:
            sender.report_failure(response, cast(ExcInfo, sys.exc_info()))
        raise
    except BaseException:
        _close(result)
        raise
    if not kept:
        _close(result)


def _send(sender: Responses, response: Response, result: Iterable[bytes]) -> bool:
    """Returns whether the sender keeps it."""
    try:
        if type(result) in (list, tuple):
            _send_items(sender, response, cast(Union[list[bytes], tuple[bytes, ...]], result))
        elif type(result) in (FileWrapper, ReadFileWrapper):
            result = cast(FileWrapper, result)
            if sender.file(response, result):
                return True
            _send_stream(sender, response, result.blocks(response.announced()))
        else:
            _send_stream(sender, response, result)
    except TooLong:
        sender.report_length(response)
    except NothingMore:
        pass
    return False


def _close(result: object) -> None:
    close = getattr(result, "close", None)
    if close is not None:
        close()


def _send_items(
    sender: Responses, response: Response, items: list[bytes] | tuple[bytes, ...]
) -> None:
    """Items that are all there already, so that the length is known."""
    if {*map(type, items)} - {bytes}:
        items = [*map(plain, items)]
    if response.stage or (len(items) > 1 and sum(map(len, items)) > _JOIN):
        _send_stream(sender, response, items)
    else:
        sender.answer(response, items[0] if len(items) == 1 else b"".join(items), False)


def _send_stream(sender: Responses, response: Response, items: Iterable[bytes]) -> None:
    """Items that are made while they are sent: each leaves before the next is asked for."""
    now = type(items) not in (list, tuple)
    answered = False
    for item in items:
        if type(item) is not bytes:
            item = plain(item)
        if not item:
            sender.skip(response)
            continue
        if response.stage == HEAD:
            sender.send(response, item, now)
            continue
        if response.ended:
            if answered:  # else by write(), which has said so
                raise TooLong
            return
        if response.stage or not _is_all(response, items, item):
            sender.head(response)
            if response.stage == BODYLESS:
                break
            sender.send(response, item, now)
        else:
            sender.answer(response, item, now)
            answered = True
    if response.ended:
        return
    if response.stage:
        sender.end(response, now)
    else:
        sender.answer(response, b"", now)


def _is_all(response: Response, items: Iterable[bytes], item: bytes) -> bool:
    """Whether the first item that is not empty is the whole body: its length is the one announced,
    or there is but one item (PEP 3333, "Handling the Content-Length Header")."""
    length = response.announced()
    if length is not None:
        return length == len(item)
    try:
        return len(items) == 1  # type: ignore[arg-type]  # many have none
    except Exception:
        return False
