"""The examples, run as their users run them, and talked to. (Those for bodies and files are tested
with what they show: test_input.py, test_files.py; those in C in tests/c.)"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import HERE, Process, wait_until
from rawclient import Client, request

EXAMPLES = HERE.parent.parent / "examples"
Run = Callable[..., tuple[Process, tuple[str, int]]]


@pytest.fixture
def run(spawn: Callable[..., Process]) -> Iterator[Run]:
    """run("hello.py", ...) starts an example at a port of the kernel's choice, and returns where;
    at the end SIGTERM has to end it, without a word in its log."""
    processes: list[Process] = []

    def start(name: str, *args: str) -> tuple[Process, tuple[str, int]]:
        process = spawn([sys.executable, str(EXAMPLES / name), "0", *args])
        processes.append(process)
        wait_until(lambda: "\n" in process.out or process.popen.poll() is not None, "listened")
        match = re.search(r"http://127\.0\.0\.1:(\d+)/", process.out)
        assert match, process.log
        return process, ("127.0.0.1", int(match[1]))

    yield start
    for process in processes:
        process.signal(signal.SIGTERM)
        assert process.wait() == 0
        assert process.log == ""


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_short_and_says_how_it_is_run(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) < 150
    readme = (EXAMPLES / "README.md").read_text()
    assert f"examples/{path.name}" in readme


@pytest.mark.parametrize(
    ("name", "target", "body"),
    [
        ("flask_hello.py", "/", b"Hello world!\n"),
        ("pyramid_hello.py", "/hello/Eva", b"Hello Eva!\n"),
        ("existing_socket.py", "/", b"Hello world!\n"),
    ],
)
def test_hello_in_several_ways(run: Run, name: str, target: str, body: bytes) -> None:
    _, address = run(name)
    with Client(address) as client:
        for _ in range(2):
            assert client.get(target).body == body


def test_prefork_serves_by_each_process_and_ends_all(run: Run) -> None:
    process, address = run("prefork.py", "3")
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


def test_one_request_waits_for_another(run: Run) -> None:
    _, address = run("wait.py")
    with Client(address) as one, Client(address) as two, Client(address) as other:
        for client in (one, two):
            client.send(request("/next"))

        def both_told() -> bool:
            other.get("/say?hello")
            return one.has_input() and two.has_input()

        wait_until(both_told, "told both")
        assert one.read_response().body == two.read_response().body == b"hello\n"
