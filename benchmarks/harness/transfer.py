"""Big answers and big requests: a file, an upload, a stream of small pieces."""

from __future__ import annotations

import contextlib
import hashlib
import random
import time
from dataclasses import replace

from harness.cases import BODY, FILE_SIZE, Case
from harness.client import Client, fetch, run_pull, run_wrk
from harness.hello import WARM_UP_SECONDS, check_answers, check_bytes
from harness.prepare import FILES
from harness.process import Bench, Failed, Process, running
from harness.servers import Server

GIB = 1024**3
STREAMED = b"".join(bytes([65 + n % 26]) * 1024 for n in range(100))


def check_file(port: int, name: str) -> None:
    """Raises Failed unless the server sends the file as it is."""
    if fetch(port, f"/files/{name}") != (FILES / name).read_bytes():
        raise Failed(f"sent file {name} wrongly")


def measure_file(bench: Bench, server: Server, case: Case) -> dict[str, float]:
    """CPU seconds for a GiB of files that the kernel holds in memory."""
    with running(bench, server, case) as process:
        check_file(process.port, "0")
        run_pull(bench, process.port, case, WARM_UP_SECONDS, "/files/0")
        before = process.cpu()
        got = run_pull(bench, process.port, case, bench.seconds, "/files/0")
        cpu = process.cpu() - before
    if got.bytes != got.answers * FILE_SIZE:
        raise Failed(f"sent {got.bytes} bytes as {got.answers} files of {FILE_SIZE}")
    return {
        "cpu_gib": cpu / got.bytes * GIB,
        "rate_mb": got.bytes / got.seconds / 1e6,
        "p99": got.p99,
    }


def check_upload(port: int, size: int) -> None:
    """Raises Failed unless the application gets what is posted."""
    posted = random.Random(size).randbytes(size)
    if fetch(port, "/sum", posted).decode() != hashlib.sha256(posted).hexdigest():
        raise Failed("gave the application another body than was posted")


def measure_post(bench: Bench, server: Server, case: Case) -> dict[str, float]:
    with running(bench, server, case) as process:
        if not server.target:
            check_upload(process.port, case.posted)
        size = check_answers(process.port, case, BODY if server.target else b"%d" % case.posted)
        run_wrk(bench, process.port, case, WARM_UP_SECONDS)
        before = process.cpu()
        got = run_wrk(bench, process.port, case, bench.seconds)
        cpu = process.cpu() - before
    check_bytes(got, case, size)
    rate = got.requests / got.duration
    return {"cpu": cpu / got.requests * 1e6, "rate": rate, "p99": got.p99}


def first_piece_ms(port: int) -> float:
    """After how long the first piece comes of a stream that pauses after it."""
    with contextlib.closing(Client(port)) as client:
        began = time.monotonic()
        client.send(b"GET /pause HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        seen = b""
        while b"A" * 1024 not in seen:
            data = client.sock.recv(65536)
            if not data:
                raise Failed("ended a stream before its first piece")
            seen += data
        return (time.monotonic() - began) * 1e3


def time_alone(bench: Bench, process: Process, case: Case) -> float:
    """Milliseconds of a stream for a client that is alone, on a connection that is kept alive:
    where TCP waits for an acknowledgement, it shows here."""
    got = run_wrk(bench, process.port, replace(case, connections=1), WARM_UP_SECONDS)
    return got.duration / got.requests * 1e3


def measure_stream(bench: Bench, server: Server, case: Case) -> dict[str, float]:
    with running(bench, server, case) as process:
        if fetch(process.port, "/") != STREAMED:
            raise Failed("sent a stream wrongly")
        alone = time_alone(bench, process, case)
        first = {} if server.target else {"first": first_piece_ms(process.port)}
        run_wrk(bench, process.port, case, WARM_UP_SECONDS)
        before = process.cpu()
        got = run_wrk(bench, process.port, case, bench.seconds)
        cpu = process.cpu() - before
    if got.bytes < got.requests * len(STREAMED):
        raise Failed(f"sent {got.bytes} bytes as {got.requests} streams of {len(STREAMED)}")
    return {
        "cpu": cpu / got.requests * 1e6,
        "rate": got.requests / got.duration,
        "p99": got.p99,
        "alone": alone,
        **first,
    }
