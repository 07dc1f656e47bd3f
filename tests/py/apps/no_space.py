"""Uploads where the disk for temporary files has no space left: what is written fails (full(4))."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from meinheld import _uploads

from apps import Environ, StartResponse, answer


def file_without_room() -> BinaryIO:
    return open("/dev/full", "w+b")


_uploads.TemporaryFile = file_without_room  # type: ignore[assignment, attr-defined]


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, b"%d" % len(environ["wsgi.input"].read()))
