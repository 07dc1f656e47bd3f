"""Signals at every moment: an operation is run again and again, and each time what a handler would
do comes before another one of its instructions."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

Scene = tuple[Callable[[], object], Callable[[], object], Callable[[], object]]


def interrupt(operate: Callable[[], object], handle: Callable[[], object], at: int) -> bool:
    """Runs operate(), and handle() before the instruction of that number of all that it runs in
    meinheld's files. Returns whether there were so many."""
    count = -1

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        if "/meinheld/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = True  # and f_trace_lines: without, Python 3.13.0 forgets some
        if event == "opcode":
            count += 1
            if count == at:
                handle()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        operate()
    finally:
        sys.settrace(before)
    return count >= at


def at_every_instruction(scene: Callable[[], Scene]) -> None:
    """scene() makes an operation, a handler, and a check of what has come of both. The last time,
    the handler does not come at all."""
    at = 0
    while True:
        operate, handle, check = scene()
        came = interrupt(operate, handle, at)
        if not came:
            break
        check()
        at += 1
    assert at > 10
