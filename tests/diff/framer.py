"""The library's parser: framer.c, called through ctypes."""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator

from messages import Ending, Message, Verdict

VARIABLE = "MEINHELD_FRAMER"
PAD = b"\n" * 16  # MH__SCAN_PAD of scan.h
ENDINGS = {"+": Ending.MORE, "C": Ending.CLOSED, "R": Ending.REFUSED}


def _load() -> ctypes.CDLL:
    path = os.environ.get(VARIABLE)
    if not path:
        raise RuntimeError(
            f"{VARIABLE} is not set. It names the library that is built from tests/diff/framer.c,"
            " and `make test` and `meson test` set it."
        )
    library = ctypes.CDLL(path)
    library.framer_frame.restype = ctypes.c_size_t
    library.framer_frame.argtypes = [
        ctypes.c_char_p,
        ctypes.c_size_t,
        ctypes.c_size_t,
        ctypes.c_char_p,
        ctypes.c_size_t,
    ]
    return library


_library = _load()


def _records(data: bytes, step: int) -> Iterator[tuple[str, bytes]]:
    """What framer.c writes down about data."""
    room = 8 * len(data) + 64
    out = ctypes.create_string_buffer(room)
    size = _library.framer_frame(data + PAD, len(data), step, out, room)
    written = out.raw[:size]
    at = 0
    while at < size:
        what, length = struct.unpack_from("=cI", written, at)
        at += 5 + length
        yield what.decode(), written[at - length : at]


def frame(data: bytes, step: int | None = None) -> Verdict:
    """The verdict on data, which arrives step bytes at a time, or all at once."""
    messages: list[Message] = []
    parts: dict[str, list[bytes]] = {}  # of the message in hand, by their letter
    start = 0

    def message(end: int, *, keep_alive: bool) -> Message:
        fields = tuple(zip(parts["N"], parts["V"]))
        body = b"".join(parts["B"])
        return Message(parts["M"][0], parts["T"][0], fields, body, start, end, keep_alive)

    records = list(_records(data, step or len(data) or 1))
    for (what, text), (then, _) in zip(records, records[1:]):
        if what == "M":
            parts = {letter: [] for letter in "MTNVB"}
        if what == "E":
            messages.append(message(int(text), keep_alive=then != "C"))
            start = int(text)
            parts = {}
        else:
            parts[what].append(text)
    last, reason = records[-1]
    unfinished = message(len(data), keep_alive=True) if parts else None
    return Verdict(tuple(messages), ENDINGS[last], reason.decode(), unfinished)
