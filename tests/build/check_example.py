"""examples/hello.c is short; it answers at once, later, and with a file, on kept-alive connections.

usage: check_example.py PROGRAM SOURCE
"""

from __future__ import annotations

import http.client
import sys
from pathlib import Path

from program import PATIENCE, serving


def get(connection: http.client.HTTPConnection, path: str) -> tuple[int, bytes]:
    connection.request("GET", path)
    response = connection.getresponse()
    return response.status, response.read()


def check(port: int, source: Path) -> None:
    first = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    second = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    assert get(first, "/") == (200, b"Hello world!\n")
    first.request("GET", "/later")
    # Answered while the first waits for its timer.
    assert get(second, "/file") == (200, source.read_bytes())
    later = first.getresponse()
    assert (later.status, later.read()) == (200, b"Hello at last!\n")
    assert get(first, "/?again") == (200, b"Hello world!\n")
    assert get(second, "/nowhere")[0] == 404
    # A client that leaves before its timer runs takes nothing down.
    second.request("GET", "/later")
    second.close()
    first.request("GET", "/later")
    assert first.getresponse().read() == b"Hello at last!\n"


def main() -> None:
    program, source = sys.argv[1], Path(sys.argv[2])
    with serving(source, [program, str(source), "0"]) as port:
        check(port, source)


if __name__ == "__main__":
    main()
