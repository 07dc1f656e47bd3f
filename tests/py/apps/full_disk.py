"""Uploads where no file may grow over a mebibyte, as on a disk that is nearly full."""

from __future__ import annotations

import resource
from collections.abc import Iterable

from apps import Environ, StartResponse, answer

resource.setrlimit(resource.RLIMIT_FSIZE, (1024 * 1024, resource.RLIM_INFINITY))


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    return answer(start_response, b"%d" % len(environ["wsgi.input"].read()))
