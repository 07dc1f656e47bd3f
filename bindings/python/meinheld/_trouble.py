"""What the C half tells of itself, in words for the error log."""

from __future__ import annotations

import os

from meinheld._native import lib


def describe(what: int, detail: int) -> str:
    """An MHPY_LOG event."""
    if what == lib.MH_LOG_ACCEPT_FAILS:
        reason = os.strerror(detail) if detail else "the kernel refuses to watch a listener"
        return f"connections can't be accepted for now: {reason}"
    if what == lib.MH_LOG_ACCEPT_GOES_ON:
        return f"connections are accepted again; attempts that failed: {detail}"
    if what == lib.MH_LOG_LINES_STUCK:
        return f"the access log can't be written: {os.strerror(detail)}"
    if what == lib.MH_LOG_LINES_GO_ON:
        return f"the access log is written again; lines that were lost: {detail}"
    return f"the C half tells {what}, {detail}"
