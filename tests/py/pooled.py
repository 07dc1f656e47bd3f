"""A loop with a pool of threads, in the test's own process, so that the test can look into it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from harness import PATIENCE, listening_socket
from meinheld._accesslog import Ends
from meinheld._environ import Place
from meinheld._hub import listen, new_hub
from meinheld._limits import Limits
from meinheld._loop import Loop
from meinheld._pooled import PooledGateway
from meinheld._wsgi import Service
from rawclient import Client

Environ = Any
Start = Callable[..., Any]
App = Callable[[Environ, Start], Iterable[bytes]]


class Running:
    """A loop with a pool, in a thread of the test's process."""

    def __init__(self, address: tuple[str, int], loop: Loop, thread: threading.Thread) -> None:
        self.loop = loop
        self.thread = thread
        self._address = address

    def connect(self, **options: Any) -> Client:
        return Client(self._address, **options)


@contextmanager
def serving(
    app: App, threads: int, *, ends: Ends | None = None, **limits: float
) -> Iterator[Running]:
    """Serves app in so many threads, and checks that nothing was logged."""
    problems: list[str] = []

    def log(message: str, exc_info: object) -> None:
        problems.append(f"{message}: {exc_info}")

    with listening_socket(("127.0.0.1", 0)) as sock:
        address = sock.getsockname()
        place = Place("127.0.0.1", str(address[1]), False)
        gateway = PooledGateway(Service(app, [place], log, 1 << 20, ends), threads)
        hub = new_hub(Limits().changed(limits), 16)
        loop = Loop(hub, gateway, log, pool=gateway.pool)
        gateway.attach(loop)
        listen(hub, sock.fileno(), False)
        thread = threading.Thread(target=loop.run)
        thread.start()
        try:
            yield Running(address, loop, thread)
        finally:
            loop.post(loop.stop)
            thread.join(PATIENCE)
    assert not thread.is_alive()
    assert problems == []


def plain(start: Start, body: bytes) -> list[bytes]:
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]
