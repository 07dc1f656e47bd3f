"""What it costs to tell many who wait, by one message on a channel."""

from __future__ import annotations

import contextlib
import time

from harness.cases import POLLS, Case
from harness.client import ANSWER_LIMIT, Client, fetch
from harness.hello import check_answers
from harness.process import Bench, Failed, Process, running
from harness.servers import Server

POLL = b"GET /poll HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
MESSAGE = b"hello"


def wait_for_polls(process: Process, count: int) -> None:
    """Returns when so many wait."""
    end = time.monotonic() + ANSWER_LIMIT
    while int(fetch(process.port, "/waiting")) != count:
        if time.monotonic() > end:
            raise Failed(f"has not {count} who wait")
        time.sleep(0.02)


def tell(process: Process, clients: list[Client]) -> dict[str, float]:
    """Has all of them poll, and then publishes once."""
    start = process.cpu()
    for client in clients:
        client.send(POLL)
    wait_for_polls(process, len(clients))
    before = process.cpu()
    began = time.monotonic()
    fetch(process.port, "/publish", MESSAGE)
    for client in clients:
        body, _ = client.answer()
        if body != MESSAGE:
            raise Failed(f"told {body!r}")
    passed = time.monotonic() - began
    return {
        "cpu": (process.cpu() - before) / len(clients) * 1e6,
        "poll": (before - start) / len(clients) * 1e6,
        "last": passed * 1000,
    }


def measure_publish(bench: Bench, server: Server, case: Case) -> dict[str, float]:
    with running(bench, server, case) as process, contextlib.ExitStack() as stack:
        check_answers(process.port, case)
        clients = [
            stack.enter_context(contextlib.closing(Client(process.port))) for _ in range(POLLS)
        ]
        tell(process, clients)  # what is made once, such as greenlets, has been made
        return tell(process, clients)
