"""Runs a child process and answers the descriptors that the child has."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable

from apps import Environ, StartResponse, answer


def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
    command = ["ls", "/proc/self/fd"]
    done = subprocess.run(command, close_fds=False, stdout=subprocess.PIPE, check=True)
    return answer(start_response, done.stdout)
