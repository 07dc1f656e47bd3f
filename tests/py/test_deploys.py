"""A new version under steady load: not one request may fail. The listening socket stays in the
test's hands, as it does in systemd's, and each version is handed it (LISTEN_FDS)."""

from __future__ import annotations

import signal
import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from commandline import MEINHELD, activated
from harness import Process, listening_socket, wait_until
from rawclient import Address, Client

Spawn = Callable[..., Process]

# Answers with its version, sends a stream in pieces, and takes its time over a body.
APP = """
import os
VERSION = os.environ["VERSION"].encode()
def app(environ, start_response):
    environ["wsgi.input"].read()
    if environ["PATH_INFO"] == "/stream":
        start_response("200 OK", [])
        return iter([VERSION] + 20 * [b"."])
    start_response("200 OK", [("Content-Length", str(len(VERSION)))])
    return [VERSION]
"""
REQUESTS = {
    "kept": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    "closed": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "posted": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody",
    "streamed": b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n",
}


class Load:
    """Clients that ask one thing after another, each on a connection that it keeps while it may."""

    def __init__(self, address: Address) -> None:
        self.answers: Counter[str] = Counter()  # by version
        self.failures: list[str] = []
        self._address = address
        self._over = Event()
        self._threads = [Thread(target=self._ask, args=item) for item in 2 * [*REQUESTS.items()]]
        for thread in self._threads:
            thread.start()

    def _ask(self, kind: str, request: bytes) -> None:
        client: Client | None = None
        while not self._over.is_set():
            try:
                client = client or Client(self._address)
                client.send(request)
                answer = client.read_response()
                assert answer.status == 200
                self.answers[answer.body.decode().rstrip(".")] += 1
                if answer.closes:
                    client.close()
                    client = None
            except Exception as exc:
                self.failures.append(f"{kind}: {exc!r}")
                client = None
        if client is not None:
            client.close()

    def wait_for(self, version: str) -> None:
        """Returns when that has answered some more requests."""
        enough = self.answers[version] + 50
        wait_until(lambda: self.answers[version] >= enough, f"answered by {version}")

    def end(self) -> None:
        """Asks no more."""
        self._over.set()
        for thread in self._threads:
            thread.join()


@contextmanager
def load(sock: socket.socket) -> Iterator[Load]:
    address = sock.getsockname()
    running = Load(address if isinstance(address, str) else address[:2])
    try:
        yield running
    finally:
        running.end()


@pytest.mark.parametrize("family", ["tcp", "unix"])
@pytest.mark.parametrize("order", ["after", "beside"])
@pytest.mark.parametrize("threads", ["0", "4"])
def test_new_versions_under_load_lose_no_request(
    spawn: Spawn, folder: Path, unix_path: str, family: str, order: str, threads: str
) -> None:
    """The new one starts after the old one has ended, as systemd restarts it, or beside it."""
    (folder / "versions.py").write_text(APP)
    address: Address = unix_path if family == "unix" else ("127.0.0.1", 0)
    with listening_socket(address) as sock:
        fd = sock.fileno()

        def start(version: str) -> Process:
            argv = activated([fd], [*MEINHELD, "versions", "--threads", threads])
            return spawn(argv, cwd=folder, pass_fds=(fd,), env={"VERSION": version})

        running = start("v1")
        with load(sock) as clients:
            clients.wait_for("v1")
            for version in ("v2", "v3"):
                old, new = running, None
                if order == "beside":
                    new = start(version)
                    clients.wait_for(version)
                old.signal(signal.SIGTERM)
                assert old.wait() == 0, old.log
                running = new or start(version)
                clients.wait_for(version)
        running.signal(signal.SIGTERM)
        assert running.wait() == 0
    assert clients.failures == []
    assert set(clients.answers) == {"v1", "v2", "v3"}
