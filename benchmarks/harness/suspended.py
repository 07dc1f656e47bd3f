"""Requests that wait all at once: their memory, and what it takes to wake them."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence

from harness.cases import AGAINS, CONNECTIONS, SUSPENDED, Case
from harness.client import ANSWER_LIMIT, fetch, request_bytes
from harness.hello import check_answers
from harness.process import Bench, Failed, Process, running
from harness.servers import Server

MESSAGE = b"news"  # what they wait for
EVERY = 0.02  # seconds from a look to the next
LIMIT = 60.0  # seconds for all to begin, or to be answered


def poll_bytes(case: Case, number: int) -> bytes:
    """The request of one client, by a cookie of its own."""
    head = request_bytes(case).replace(b"GET / ", b"GET /wait ", 1)
    return head[:-2] + b"Cookie: session=%032x\r\n\r\n" % number


@contextlib.contextmanager
def polling(process: Process, case: Case, count: int) -> Iterator[list[socket.socket]]:
    """So many clients that wait, each on a connection of its own."""
    socks: list[socket.socket] = []
    with contextlib.ExitStack() as stack:
        for number in range(count):
            sock = socket.create_connection(("127.0.0.1", process.port), ANSWER_LIMIT)
            socks.append(stack.enter_context(contextlib.closing(sock)))
            sock.sendall(poll_bytes(case, number))
        yield socks


def wait_until_begun(process: Process, count: int) -> None:
    """Until so many waits have begun since its start."""
    end = time.monotonic() + LIMIT
    while (begun := int(fetch(process.port, "/begun"))) < count:
        if time.monotonic() > end:
            raise Failed(f"{begun} of {count} requests wait")
        time.sleep(EVERY)


def publish(process: Process, message: bytes) -> None:
    fetch(process.port, f"/publish?{message.decode()}")


def read_answers(socks: Sequence[socket.socket]) -> None:
    """Reads one answer from each, as they come."""
    left = {sock.fileno(): (sock, b"") for sock in socks}
    end = time.monotonic() + LIMIT
    with select.epoll() as epoll:
        for fd in left:
            epoll.register(fd, select.EPOLLIN)
        while left:
            if time.monotonic() > end:
                raise Failed(f"left {len(left)} of {len(socks)} requests without an answer")
            for fd, _ in epoll.poll(1, len(socks)):
                sock, before = left[fd]
                data = sock.recv(65536)
                answer = before + data
                if answer.endswith(b"\r\n\r\n" + MESSAGE) and answer.startswith(b"HTTP/1.1 200 "):
                    del left[fd]
                    epoll.unregister(fd)
                elif data:
                    left[fd] = sock, answer
                else:
                    raise Failed(f"answered {answer!r}")


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """This process has that core alone, as another client would."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_of(process: Process, action: Callable[[], None]) -> float:
    """Seconds of CPU time that the server has for it."""
    before = process.cpu()
    action()
    return process.cpu() - before


def measure_suspended(bench: Bench, server: Server, case: Case) -> dict[str, float]:
    with running(bench, server, case) as process, on_core(bench.client_core):
        check_answers(process.port, case)
        with polling(process, case, CONNECTIONS) as socks:  # what is made once has been made
            wait_until_begun(process, CONNECTIONS)
            publish(process, MESSAGE)
            read_answers(socks)
        before = process.resident()
        with polling(process, case, SUSPENDED) as socks:
            wait_until_begun(process, CONNECTIONS + SUSPENDED)
            resident = process.resident() - before

            def again() -> None:
                for number in range(AGAINS):
                    publish(process, b"again")
                    wait_until_begun(process, CONNECTIONS + (2 + number) * SUSPENDED)

            def deliver() -> None:
                publish(process, MESSAGE)
                read_answers(socks)

            again_cpu = cpu_of(process, again)
            began = time.monotonic()
            cpu = cpu_of(process, deliver)
            last = time.monotonic() - began
    return {
        "resident": resident / SUSPENDED,
        "again": again_cpu / SUSPENDED / AGAINS * 1e6,
        "cpu": cpu / SUSPENDED * 1e6,
        "last": last * 1e3,
    }
