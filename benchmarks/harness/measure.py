"""One measurement: a server must answer rightly, then a client loads it, and must have seen nothing
but right answers."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.cases import BODY, CLOSED_REQUESTS, CONNECTIONS, IDLE_CONNECTIONS, Server, Workload
from harness.prepare import ROOT
from harness.process import Failed, Process, running

WARM_UP_SECONDS = 1
WARM_UP_REQUESTS = 1000
ANSWER_LIMIT = 5.0  # seconds for one answer
CLIENT_LIMIT = 30  # seconds that a client may take beyond its own time
IDLE_LIMIT = 10.0  # seconds for a server to close what its clients have closed


@dataclass(frozen=True)
class Bench:
    """What all measurements of a run share."""

    python: Path
    server_core: int
    client_core: int
    seconds: int  # of one measurement by wrk


@dataclass(frozen=True)
class Load:
    cpu: float  # microseconds of the server's CPU time for one answer
    rate: float  # answers a second
    p99: float | None  # milliseconds; wrk does not time what is pipelined
    size: int  # bytes of an answer


@dataclass(frozen=True)
class Idle:
    resident: float  # bytes of resident memory for one connection
    library: float | None  # bytes out of its allocator, where the server can tell


# ---- right answers ------------------------------------------------------------------------------


class Client:
    """A connection whose answers are checked."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), ANSWER_LIMIT)
        self.file = self.sock.makefile("rb")

    def close(self) -> None:
        self.file.close()
        self.sock.close()

    def send(self, request: bytes) -> None:
        self.sock.sendall(request)

    def answer(self) -> tuple[bytes, int]:
        """The body of the next answer, and the bytes of all of it."""
        try:
            head = [self.file.readline()]
            while head[-1] not in (b"\r\n", b""):
                head.append(self.file.readline())
            lengths = [line[15:] for line in head if line.lower().startswith(b"content-length:")]
            if not re.match(rb"HTTP/1\.[01] 200 ", head[0]) or len(lengths) != 1:
                raise Failed(f"answered {head[0]!r} with {len(lengths)} Content-Length")
            body = self.file.read(int(lengths[0]))
        except OSError as error:
            raise Failed(f"did not answer: {error}") from error
        return body, sum(map(len, head)) + len(body)

    def at_end(self) -> bool:
        return self.file.read(1) == b""


def request_bytes(workload: Workload, version: str = "1.1") -> bytes:
    fields = (("Host", "127.0.0.1"), *workload.fields)
    lines = [f"GET / HTTP/{version}", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def check_answers(port: int, workload: Workload) -> int:
    """Raises Failed unless this workload is answered rightly; returns the bytes of an answer."""
    closes = workload.client == "ab"
    with contextlib.closing(Client(port)) as client:
        sizes: set[int] = set()
        for _ in range(1 if closes else 2):
            client.send(request_bytes(workload, "1.0" if closes else "1.1") * workload.depth)
            answers = [client.answer() for _ in range(workload.depth)]
            if any(body != BODY for body, _ in answers):
                raise Failed(f"answered {answers}")
            sizes.update(size for _, size in answers)
        if closes and not client.at_end():
            raise Failed("did not close")
    if len(sizes) != 1:
        raise Failed(f"answered in {sorted(sizes)} bytes")
    return sizes.pop()


# ---- load ---------------------------------------------------------------------------------------


def run_client(core: int, seconds: float, *argv: str) -> str:
    try:
        done = subprocess.run(
            ["taskset", "-c", str(core), *argv],
            capture_output=True,
            text=True,
            timeout=seconds + CLIENT_LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise Failed(f"{argv[0]} had to be ended after {seconds + CLIENT_LIMIT:.0f} s") from None
    if done.returncode != 0:
        raise Failed(f"{argv[0]}: {done.stderr.strip()}")
    return done.stdout


def run_wrk(bench: Bench, port: int, workload: Workload, seconds: int) -> dict[str, float]:
    script = str(ROOT / "benchmarks" / "wrk.lua")
    argv = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", script]
    fields = [part for pair in workload.fields for part in pair]
    url = f"http://127.0.0.1:{port}/"
    text = run_client(bench.client_core, seconds, *argv, url, "--", str(workload.depth), *fields)
    result: dict[str, float] = json.loads(re.findall(r"^RESULT (.*)$", text, re.M)[0])
    return result


def load_wrk(bench: Bench, server: Process, workload: Workload) -> Load:
    size = check_answers(server.port, workload)
    run_wrk(bench, server.port, workload, WARM_UP_SECONDS)
    before = server.cpu()
    result = run_wrk(bench, server.port, workload, bench.seconds)
    cpu = server.cpu() - before

    requests = int(result["requests"])
    if requests == 0 or result["errors"]:
        raise Failed(f"wrk: {requests} answers, {result['errors']} errors")
    # At its end wrk leaves answers half read, less than one write's worth on each connection.
    surplus = result["bytes"] - requests * size
    if not 0 <= surplus <= CONNECTIONS * workload.depth * size:
        raise Failed(f"sent {result['bytes']} bytes as {requests} answers of {size}")
    p99 = result["p99"] if workload.depth == 1 else None
    return Load(cpu / requests * 1e6, requests / result["duration"], p99, size)


def run_ab(bench: Bench, port: int, requests: int) -> dict[str, float]:
    argv = ("ab", "-q", "-c", str(CONNECTIONS), "-n", str(requests), f"http://127.0.0.1:{port}/")
    text = run_client(bench.client_core, 0, *argv)
    # As "Requests per second:    2927.62 [#/sec] (mean)" and "  99%      5".
    lines = re.findall(r"^(?: *)([A-Z][a-z0-9 -]+:|99%) +(\d+(?:\.\d+)?)(?: |$)", text, re.M)
    return {name.rstrip(":"): float(value) for name, value in lines}


def load_ab(bench: Bench, server: Process, workload: Workload) -> Load:
    size = check_answers(server.port, workload)
    run_ab(bench, server.port, WARM_UP_REQUESTS)
    before = server.cpu()
    result = run_ab(bench, server.port, CLOSED_REQUESTS)
    cpu = server.cpu() - before

    if result["Complete requests"] != CLOSED_REQUESTS or result["Failed requests"] != 0:
        raise Failed(f"ab: {result['Failed requests']} of {CLOSED_REQUESTS} failed")
    if "Non-2xx responses" in result or result["Total transferred"] != CLOSED_REQUESTS * size:
        raise Failed(f"ab: wrong answers, {result['Total transferred']} bytes in all")
    return Load(cpu / CLOSED_REQUESTS * 1e6, result["Requests per second"], result["99%"], size)


# ---- idle connections ---------------------------------------------------------------------------


@contextlib.contextmanager
def idle_connections(port: int, count: int, request: bytes) -> Iterator[None]:
    """Connections that have been answered once each and are kept open."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            client = stack.enter_context(contextlib.closing(Client(port)))
            client.send(request)
            client.answer()
        yield


def warm_up_idle(server: Process, request: bytes) -> None:
    """Has some connections come and go, so that what a server makes once has been made."""
    before = server.descriptors()
    with idle_connections(server.port, CONNECTIONS, request):
        pass
    end = time.monotonic() + IDLE_LIMIT
    while server.descriptors() > before:
        if time.monotonic() > end:
            raise Failed("keeps what its clients have closed")
        time.sleep(0.01)


def idle_resident(server: Process, request: bytes) -> float:
    warm_up_idle(server, request)
    before = server.resident()
    with idle_connections(server.port, IDLE_CONNECTIONS, request):
        return (server.resident() - before) / IDLE_CONNECTIONS


def idle_library(server: Process, request: bytes) -> float:
    warm_up_idle(server, request)
    with contextlib.closing(Client(server.port)) as probe:
        probe.send(request)
        before = int(probe.answer()[0])
        with idle_connections(server.port, IDLE_CONNECTIONS, request):
            probe.send(request)
            return (int(probe.answer()[0]) - before) / IDLE_CONNECTIONS


def measure_idle(bench: Bench, server: Server, workload: Workload) -> Idle:
    request = request_bytes(workload)
    start = (server, workload, bench.python, bench.server_core)
    with running(*start) as process:
        check_answers(process.port, workload)
        resident = idle_resident(process, request)
    if not server.counts:
        return Idle(resident, None)
    with running(*start, *server.counts) as process:
        return Idle(resident, idle_library(process, request))


def measure(bench: Bench, server: Server, workload: Workload) -> Load | Idle:
    """Measures a fresh process of server once. Raises Failed if it does not do what it must."""
    if workload.client == "idle":
        return measure_idle(bench, server, workload)
    load = {"wrk": load_wrk, "ab": load_ab}[workload.client]
    with running(server, workload, bench.python, bench.server_core) as process:
        return load(bench, process, workload)
