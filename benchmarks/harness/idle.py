"""What a kept-alive connection takes while it idles."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

from harness.cases import CONNECTIONS, IDLE_CONNECTIONS, Case
from harness.client import Client, request_bytes
from harness.hello import check_answers
from harness.process import Bench, Failed, Process, running
from harness.servers import Server

IDLE_LIMIT = 10.0  # seconds for a server to close what its clients have closed


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


def measure_idle(bench: Bench, server: Server, case: Case) -> dict[str, float]:
    """Bytes of resident memory for one connection, and bytes out of the library's allocator where
    the server can tell."""
    request = request_bytes(case)
    with running(bench, server, case) as process:
        check_answers(process.port, case)
        sample = {"resident": idle_resident(process, request)}
    if server.counts:
        with running(bench, server, case, *server.counts) as process:
            sample["library"] = idle_library(process, request)
    return sample
