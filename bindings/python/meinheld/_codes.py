"""Results of the C half, as exceptions."""

from __future__ import annotations

import os

from meinheld._native import ffi, lib


def error_of(code: int, errno: int, what: str) -> Exception:
    """The exception for a negative result of the C half."""
    if code == lib.MH_ENOMEM:
        return MemoryError(what)
    if code == lib.MH_ESYS and errno:
        return OSError(errno, f"{what}: {os.strerror(errno)}")
    if code == lib.MH_EFORK:
        return RuntimeError(f"{what}: this process was forked from the one that serves")
    return RuntimeError(f"{what}: {ffi.string(lib.mh_strerror(code)).decode('ascii')}")
