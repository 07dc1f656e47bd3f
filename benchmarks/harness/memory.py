"""What a server keeps of an answer that its client does not take: a generator makes 10 GiB."""

from __future__ import annotations

import contextlib
import socket
import time

from harness.cases import BODY, Case
from harness.client import ANSWER_LIMIT, fetch, run_pull
from harness.process import Bench, Failed, Process, running
from harness.servers import Server
from harness.transfer import GIB

MIB = 1024**2
GIANT = 10 * GIB
MOST = 2 * GIB  # of resident memory, at which a server is ended
RECEIVE_BUFFER = 256 * 1024  # bytes, so that the kernel does not read in the client's place
READ_AT_FIRST = MIB
SLOW_RATE = 20 * MIB  # bytes a second
EVERY = 0.02  # seconds from a look, or a read, to the next


def settle(process: Process) -> int:
    """Bytes of resident memory after some requests; peaks count from here."""
    for _ in range(100):
        if fetch(process.port, "/") != BODY:
            raise Failed("answered hello world wrongly")
    process.reset_peak()
    return process.resident()


def look(process: Process) -> None:
    """Raises Failed if the server is on its way to take all memory of the machine."""
    if process.resident() > MOST:
        raise Failed(f"took more than {MOST // MIB} MiB")


def read(sock: socket.socket, size: int) -> None:
    """Reads so many bytes."""
    while size:
        data = sock.recv(min(size, MIB))
        if not data:
            raise Failed("ended the answer early")
        size -= len(data)


def begin_giant(port: int) -> socket.socket:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    sock.settimeout(ANSWER_LIMIT)
    sock.connect(("127.0.0.1", port))
    sock.sendall(b"GET /giant HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    return sock


def growth_stopped(process: Process, sock: socket.socket, seconds: float, start: int) -> float:
    """MiB that it grows by while the client reads 1 MiB and then nothing."""
    try:
        read(sock, READ_AT_FIRST)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            look(process)
            time.sleep(EVERY)
    except OSError as error:
        raise Failed(f"did not answer: {error}") from error
    return (process.peak() - start) / MIB


def growth_slow(process: Process, sock: socket.socket, seconds: float, start: int) -> float:
    """MiB that it is grown by while the client reads at SLOW_RATE."""
    process.reset_peak()
    began = time.monotonic()
    taken = 0
    try:
        while (passed := time.monotonic() - began) < seconds:
            due = int(passed * SLOW_RATE) - taken
            read(sock, due)
            taken += due
            look(process)
            time.sleep(EVERY)
    except OSError as error:
        raise Failed(f"did not answer: {error}") from error
    return (process.peak() - start) / MIB


def measure_slow(bench: Bench, server: Server, case: Case) -> dict[str, float]:
    with running(bench, server, case) as process:
        start = settle(process)
        with contextlib.closing(begin_giant(process.port)) as sock:
            stopped = growth_stopped(process, sock, bench.seconds, start)
            slow = growth_slow(process, sock, bench.seconds, start)
    return {"stopped": stopped, "slow": slow, "start": start / MIB}


def measure_whole(bench: Bench, server: Server, case: Case) -> dict[str, float]:
    with running(bench, server, case) as process:
        start = settle(process)
        before = process.cpu()
        got = run_pull(bench, process.port, case, 0, "/giant")
        cpu = process.cpu() - before
        peak = process.peak()
    if got.bytes != GIANT:
        raise Failed(f"sent {got.bytes} bytes of {GIANT}")
    return {
        "grown": (peak - start) / MIB,
        "start": start / MIB,
        "cpu_gib": cpu / got.bytes * GIB,
        "rate_mb": got.bytes / got.seconds / 1e6,
    }
