"""Directories of static files: what static() of server.py takes, checked.

The C half answers for them (native/statics.c), by the rules of mh_res_static in meinheld.h."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from errno import ENOTDIR
from typing import Union

Directory = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


@dataclass(frozen=True)
class StaticFiles:
    """A directory, and what it is to be served with."""

    directory: bytes  # absolute
    index: bytes | None  # a file's name
    precompressed: bool
    fields: tuple[str, ...]  # names and values in turn


def check_prefix(prefix: str) -> bytes:
    """The path that prefix stands for, "" or without "/" at its end, as it is compared.

    Raises TypeError and ValueError for what is no path."""
    if not isinstance(prefix, str):
        raise TypeError(f"prefix must be a str, not {prefix!r}")
    path = prefix[:-1] if prefix.endswith("/") else prefix
    segments = path.split("/")
    if not prefix.startswith("/") or "" in segments[1:] or {".", ".."} & set(segments):
        raise ValueError(f"prefix must be a path like /static, not {prefix!r}")
    if "\0" in prefix:
        raise ValueError(f"prefix has a NUL in it: {prefix!r}")
    return path.encode()


def check_files(
    directory: Directory,
    index: str | None,
    precompressed: bool,
    headers: Iterable[tuple[str, str]],
) -> StaticFiles:
    """The settings for a directory, which has to be there.

    Raises TypeError, ValueError, and OSError naming the directory."""
    path = os.path.abspath(os.fsencode(directory))
    if not stat.S_ISDIR(os.stat(path).st_mode):
        raise NotADirectoryError(ENOTDIR, os.strerror(ENOTDIR), os.fsdecode(path))
    if not isinstance(precompressed, bool):
        raise TypeError(f"precompressed must be a bool, not {precompressed!r}")
    return StaticFiles(path, _check_index(index), precompressed, tuple(_check_headers(headers)))


def _check_index(index: str | None) -> bytes | None:
    if index is None:
        return None
    if not isinstance(index, str):
        raise TypeError(f"index must be a str or None, not {index!r}")
    if not index or index.startswith(".") or "/" in index or "\0" in index:
        raise ValueError(f"index must be a file's name that does not begin with '.': {index!r}")
    return os.fsencode(index)


def _check_headers(headers: Iterable[tuple[str, str]]) -> Iterable[str]:
    for header in headers:
        if not isinstance(header, tuple) or len(header) != 2:
            raise TypeError(f"a header must be a tuple (name, value), not {header!r}")
        for text in header:
            if not isinstance(text, str):
                raise TypeError(f"the name and value of a header must be str: {header!r}")
            if not text.isascii() or not text.isprintable():
                raise ValueError(f"a header that can't be sent: {header!r}")
            yield text
