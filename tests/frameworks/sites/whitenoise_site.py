"""WhiteNoise around an application that says which path it was asked for. SITE_FILES names the
directory that is served below /static/, which is scanned when the server starts."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from whitenoise import WhiteNoise

FILES = os.environ["SITE_FILES"]


def inner(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    path = environ["PATH_INFO"].encode("latin-1")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"inner ", path]


def is_immutable(path: str, url: str) -> bool:
    return ".0123abcd." in url


app = WhiteNoise(
    inner,
    root=FILES,
    prefix="static/",
    max_age=60,
    index_file=True,
    immutable_file_test=is_immutable,
)
# What is there when it is asked for, as in development.
refreshing = WhiteNoise(inner, root=FILES, prefix="static/", autorefresh=True)
