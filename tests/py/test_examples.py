"""The examples, run as their users run them, and talked to. (That for files is tested
with what it shows, in test_files.py; those with frameworks in tests/frameworks, those in C in
tests/c.)"""

from __future__ import annotations

import hashlib
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import EXAMPLES, Process, wait_until
from rawclient import CHUNKED, Client, chunked, request
from talker import Talker

Run = Callable[..., tuple[Process, tuple[str, int]]]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short_and_says_how_it_is_run(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < 150
    readme = (EXAMPLES / "README.md").read_text()
    assert f"examples/{path.name}" in readme


def test_a_socket_that_listens_already_is_served(run_example: Run) -> None:
    _, address = run_example("existing_socket.py")
    with Client(address) as client:
        assert client.get("/").body == b"Hello world!\n"


def test_prefork_serves_by_each_process_and_ends_all(run_example: Run) -> None:
    process, address = run_example("prefork.py", "3")
    pids: list[int] = []
    for _ in range(3):  # each time those that have answered are stopped, so that another has to
        with Client(address) as client:
            pids.append(int(client.get("/").body.split()[-1]))
        os.kill(pids[-1], signal.SIGSTOP)
        stat = Path(f"/proc/{pids[-1]}/stat")
        wait_until(lambda stat=stat: ") T " in stat.read_text(), "stopped")  # type: ignore[misc]
    assert len({process.pid, *pids}) == 4
    for pid in pids:
        os.kill(pid, signal.SIGCONT)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_what_comes_by_websocket_is_sent_back(run_example: Run) -> None:
    _, (host, port) = run_example("websocket_echo.py")
    with Talker(f"ws://{host}:{port}/") as one, Talker(f"ws://{host}:{port}/") as two:
        for message in ("text", b"bytes"):
            one.send(message)
            two.send("another")
            assert one.recv() == message
            assert two.recv() == "another"


def test_one_request_waits_for_another(run_example: Run) -> None:
    _, address = run_example("wait.py")
    with Client(address) as one, Client(address) as two, Client(address) as other:
        for client in (one, two):
            client.send(request("/next"))

        def both_told() -> bool:
            other.get("/say?hello")
            return one.has_input() and two.has_input()

        wait_until(both_told, "told both")
        assert one.read_response().body == two.read_response().body == b"hello\n"


def test_a_request_asks_another_server_and_holds_up_nobody(run_example: Run) -> None:
    """Two ask at once, of a server that answers neither before both have asked."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        _, address = run_example("outgoing.py", f"http://127.0.0.1:{port}/")
        with Client(address) as first, Client(address) as second:
            first.send(request("/"))
            second.send(request("/"))
            asked = [other.accept()[0] for _ in range(2)]  # both at once
            for peer in asked:
                peer.recv(65536)
                peer.sendall(b"HTTP/1.0 200 OK\r\n\r\nhello")
                peer.close()
            assert first.read_response().body == second.read_response().body == b"hello"


def test_an_upload_is_told_by_size_and_digest(run_example: Run) -> None:
    process, address = run_example("upload.py")
    assert re.match(r"http://127\.0\.0\.1:\d+/ - try: curl -T FILE http://127", process.out)
    body = b"one\ntwo\r\n\n\nlast, without an end" * 100_000
    told = f"{len(body)} bytes, SHA-256 {hashlib.sha256(body).hexdigest()}\n".encode()
    with Client(address) as client:
        client.send(request("/", method="POST", body=body))
        assert client.read_response().body == told
        client.send(request("/", method="POST", fields=CHUNKED) + chunked(body, 5000))
        assert client.read_response().body == told
        assert client.get().status == 405
