"""Clients: one whose answers are checked, and the programs that load a server."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
from dataclasses import dataclass

from harness.cases import Case
from harness.prepare import BUILD
from harness.process import HERE, Bench, Failed

ANSWER_LIMIT = 20.0  # seconds for one answer
CLIENT_LIMIT = 30  # seconds that a client may take beyond its own time


class Client:
    """A connection whose answers are checked, and counted to the byte."""

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


def request_bytes(case: Case, version: str = "1.1") -> bytes:
    fields = [("Host", "127.0.0.1"), *case.fields]
    if case.posted:
        fields.append(("Content-Length", str(case.posted)))
    method = "POST" if case.posted else "GET"
    lines = [f"{method} / HTTP/{version}", *(f"{name}: {value}" for name, value in fields)]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + b"x" * case.posted


def fetch(port: int, path: str, posted: bytes | None = None, limit: float = ANSWER_LIMIT) -> bytes:
    """The body of an answer that must be 200 and, if it tells its length, be as long as that."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=limit)
    try:
        connection.request("GET" if posted is None else "POST", path, posted)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"did not answer {path}: {error!r}") from error
    finally:
        connection.close()
    if answer.status != 200:
        raise Failed(f"answered {path} with {answer.status}")
    return body


# ---- programs -----------------------------------------------------------------------------------


def pinned(bench: Bench, *argv: str) -> list[str]:
    return ["taskset", "-c", str(bench.client_core), *argv]


def run_client(bench: Bench, seconds: float, *argv: str) -> str:
    """What a program prints that must succeed, on the clients' core."""
    try:
        done = subprocess.run(
            pinned(bench, *argv),
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


@dataclass(frozen=True)
class Wrk:
    """What wrk saw."""

    requests: int
    bytes: int  # of whole and half answers
    duration: float  # seconds
    p99: float  # milliseconds
    errors: int


def run_wrk(bench: Bench, port: int, case: Case, seconds: int) -> Wrk:
    argv = ["wrk", "-t1", f"-c{case.connections}", f"-d{seconds}s", "--timeout", "10s"]
    argv += ["-s", str(HERE / "client" / "wrk.lua"), f"http://127.0.0.1:{port}/"]
    fields = [part for pair in case.fields for part in pair]
    text = run_client(bench, seconds, *argv, "--", str(case.depth), str(case.posted), *fields)
    got = Wrk(**json.loads(re.findall(r"^RESULT (.*)$", text, re.M)[0]))
    if got.requests == 0 or got.errors:
        raise Failed(f"wrk: {got.requests} answers, {got.errors} errors")
    return got


def run_ab(bench: Bench, port: int, case: Case, requests: int) -> dict[str, float]:
    url = f"http://127.0.0.1:{port}/"
    text = run_client(bench, 0, "ab", "-q", "-c", str(case.connections), "-n", str(requests), url)
    # As "Requests per second:    2927.62 [#/sec] (mean)" and "  99%      5".
    lines = re.findall(r"^(?: *)([A-Z][a-z0-9 -]+:|99%) +(\d+(?:\.\d+)?)(?: |$)", text, re.M)
    return {name.rstrip(":"): float(value) for name, value in lines}


@dataclass(frozen=True)
class Pull:
    """What client/pull.c saw."""

    answers: int
    bytes: int
    seconds: float
    p50: float  # milliseconds of an answer, as are the next two
    p99: float
    max: float


def run_pull(bench: Bench, port: int, case: Case, seconds: int, *paths: str) -> Pull:
    """seconds: 0 to get each path once."""
    pull = str(BUILD / "benchmarks" / "pull")
    argv = [pull, str(port), str(case.connections), str(seconds), *paths]
    return Pull(**json.loads(run_client(bench, seconds + 2 * CLIENT_LIMIT, *argv)))
