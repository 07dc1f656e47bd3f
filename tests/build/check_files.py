"""examples/files.c is short; it serves the files of a directory, parts of them, and its own answer.

usage: check_files.py PROGRAM SOURCE
"""

from __future__ import annotations

import http.client
import sys
from pathlib import Path

from program import PATIENCE, serving


def get(port: int, path: str, **fields: str) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request("GET", path, headers=fields)
        response = connection.getresponse()
        assert response.status >= 400 or path == "/hello" or response.getheader("Cache-Control")
        return response.status, response.read()
    finally:
        connection.close()


def check(port: int, source: Path) -> None:
    text = source.read_bytes()
    assert get(port, "/hello") == (200, b"Hello world!\n")
    assert get(port, f"/{source.name}") == (200, text)
    assert get(port, f"/{source.name}", Range="bytes=3-9") == (206, text[3:10])
    assert get(port, f"/../{source.parent.name}/{source.name}")[0] == 404
    assert get(port, "/nowhere")[0] == 404


def main() -> None:
    program, source = sys.argv[1], Path(sys.argv[2]).resolve()
    with serving(source, [program, str(source.parent), "0"]) as port:
        check(port, source)


if __name__ == "__main__":
    main()
