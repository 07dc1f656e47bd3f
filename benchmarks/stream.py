#!/usr/bin/env python3
"""Streams 10 GiB from a generator to a client that reads more slowly than the server makes it, and
says how much memory the server took.

    PYTHONPATH=.build/dev/bindings/python .venv/bin/python benchmarks/stream.py [GIB] [PIECE]

PIECE: bytes of each item that the generator yields, 65536."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

MEBIBYTE = 1 << 20


def serve(listener: socket.socket, total: int, size: int) -> None:
    """Serves the stream until the process is ended."""
    from meinheld import server

    piece = os.urandom(size)

    def app(environ: Any, start_response: Any) -> Iterator[bytes]:
        start_response("200 OK", [("Content-Length", str(total))])
        for _ in range(total // size):
            yield piece

    server.listen(socket_fd=listener.fileno())
    server.run(app)


def memory(pid: int, what: str) -> float:
    """MiB from /proc/PID/status."""
    with open(f"/proc/{pid}/status") as status:
        (line,) = (line for line in status if line.startswith(f"{what}:"))
    return int(line.split()[1]) / 1024


def read_slowly(client: socket.socket, total: int) -> None:
    """Reads all of it, with a pause after each MiB."""
    buffer = bytearray(MEBIBYTE)
    left, pause_at = total, total - MEBIBYTE
    while left > 0:
        got = client.recv_into(buffer)
        if not got:
            raise ConnectionError(f"closed with {left} bytes to come")
        left -= got
        if left < pause_at:
            pause_at = left - MEBIBYTE
            time.sleep(0.002)


def main() -> None:
    gib, size = (*map(int, sys.argv[1:]), *(10, 65536)[len(sys.argv) - 1 :])
    total = (gib << 30) // size * size
    listener = socket.create_server(("127.0.0.1", 0))
    pid = os.fork()
    if pid == 0:
        serve(listener, total, size)
        os._exit(0)
    try:
        with socket.create_connection(listener.getsockname()) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            client.recv(MEBIBYTE)
            time.sleep(0.5)
            before, began = memory(pid, "VmRSS"), time.monotonic()
            read_slowly(client, total - MEBIBYTE)
            seconds = time.monotonic() - began
        print(
            f"{total >> 20} MiB in pieces of {size} bytes, {(total >> 20) / seconds:.0f} MiB/s:"
            f" {before:.1f} MiB resident at the beginning, {memory(pid, 'VmHWM'):.1f} at the most"
        )
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
