"""A C example at work: started, and ended after the test."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

PATIENCE = 30  # seconds that only a failure waits


@contextmanager
def serving(source: Path, argv: list[str]) -> Iterator[int]:
    """Runs what was made of source, which is to be short and to print its URL first, while the
    block runs; gives its port. It must not end by itself."""
    assert len(source.read_text().splitlines()) < 80
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = urlsplit(server.stdout.readline().strip()).port
            assert port is not None
            yield port
            assert server.poll() is None
        finally:
            server.terminate()
