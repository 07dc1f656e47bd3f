"""Hello world under load, by wrk and by ab: each answer must be right, to the byte."""

from __future__ import annotations

import contextlib

from harness.cases import BODY, CLOSED_REQUESTS, Case
from harness.client import Client, Wrk, request_bytes, run_ab, run_wrk
from harness.process import Bench, Failed, running
from harness.servers import Server

WARM_UP_SECONDS = 1
WARM_UP_REQUESTS = 1000


def check_answers(port: int, case: Case, expected: bytes = BODY) -> int:
    """Raises Failed unless this case is answered rightly; returns the bytes of an answer."""
    closes = case.measure == "ab"
    with contextlib.closing(Client(port)) as client:
        sizes: set[int] = set()
        for _ in range(1 if closes else 2):
            client.send(request_bytes(case, "1.0" if closes else "1.1") * case.depth)
            answers = [client.answer() for _ in range(case.depth)]
            if any(body != expected for body, _ in answers):
                raise Failed(f"answered {answers}")
            sizes.update(size for _, size in answers)
        if closes and not client.at_end():
            raise Failed("did not close")
    if len(sizes) != 1:
        raise Failed(f"answered in {sorted(sizes)} bytes")
    return sizes.pop()


def check_bytes(got: Wrk, case: Case, size: int) -> None:
    """Raises Failed unless the bytes that came are those of so many answers of size bytes."""
    # At its end wrk leaves answers half read, less than one write's worth on each connection.
    surplus = got.bytes - got.requests * size
    if not 0 <= surplus <= case.connections * case.depth * size:
        raise Failed(f"sent {got.bytes} bytes as {got.requests} answers of {size}")


def measure_wrk(bench: Bench, server: Server, case: Case) -> dict[str, float]:
    with running(bench, server, case) as process:
        size = check_answers(process.port, case)
        run_wrk(bench, process.port, case, WARM_UP_SECONDS)
        before = process.cpu()
        got = run_wrk(bench, process.port, case, bench.seconds)
        cpu = process.cpu() - before
    check_bytes(got, case, size)
    sample = {"cpu": cpu / got.requests * 1e6, "rate": got.requests / got.duration, "size": size}
    return {**sample, "p99": got.p99} if case.depth == 1 else sample  # it can't time a pipeline


def measure_ab(bench: Bench, server: Server, case: Case) -> dict[str, float]:
    with running(bench, server, case) as process:
        size = check_answers(process.port, case)
        run_ab(bench, process.port, case, WARM_UP_REQUESTS)
        before = process.cpu()
        got = run_ab(bench, process.port, case, CLOSED_REQUESTS)
        cpu = process.cpu() - before
    if got["Complete requests"] != CLOSED_REQUESTS or got["Failed requests"] != 0:
        raise Failed(f"ab: {got['Failed requests']} of {CLOSED_REQUESTS} failed")
    if "Non-2xx responses" in got or got["Total transferred"] != CLOSED_REQUESTS * size:
        raise Failed(f"ab: wrong answers, {got['Total transferred']} bytes in all")
    return {
        "cpu": cpu / CLOSED_REQUESTS * 1e6,
        "rate": got["Requests per second"],
        "p99": got["99%"],
        "size": size,
    }
