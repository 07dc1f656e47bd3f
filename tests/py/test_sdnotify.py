"""What systemd is told, on a socket of the test's in systemd's place."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from commandline import MEINHELD, READS, served_port
from harness import PATIENCE, Process
from meinheld._sdnotify import Notifier
from rawclient import Client

Spawn = Callable[..., Process]


class Manager:
    """Who listens at NOTIFY_SOCKET."""

    def __init__(self, address: str) -> None:
        self.name = address.replace("\0", "@")
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(address)
        self._socket.settimeout(PATIENCE)

    def hear(self) -> dict[str, str]:
        """The next message."""
        lines = self._socket.recv(65536).decode().split("\n")
        return dict(line.split("=", 1) for line in lines)

    def hear_of(self, name: str) -> str:
        """The value of the next message that has that."""
        while True:
            message = self.hear()
            if name in message:
                return message[name]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, unix_path: str) -> Iterator[Manager]:
    abstract = "\0" + unix_path
    manager = Manager(unix_path if request.param == "path" else abstract)
    yield manager
    manager.close()


def serve(spawn: Spawn, folder: Path, *arguments: str, **env: str) -> tuple[Process, int]:
    (folder / "reads.py").write_text(READS)
    process = spawn([*MEINHELD, "reads", "--bind", "127.0.0.1:0", *arguments], cwd=folder, env=env)
    return process, served_port(process)


def test_a_start_a_drain_and_its_progress_are_told(
    spawn: Spawn, folder: Path, manager: Manager
) -> None:
    process, port = serve(spawn, folder, NOTIFY_SOCKET=manager.name)
    assert manager.hear() == {
        "READY": "1",
        "STATUS": f"serves reads on http://127.0.0.1:{port}",
    }
    with Client(("127.0.0.1", port)) as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
        assert client.read_head().status == 100
        process.signal(signal.SIGTERM)
        assert manager.hear() == {"STOPPING": "1"}
        assert manager.hear() == {"STATUS": "stopping: 1 request still open, cut off in 30 s"}
        client.send(b"body")
        assert client.read_response().body == b"hello"
    assert process.wait() == 0


def test_a_watchdog_is_heard_of_in_good_time(spawn: Spawn, folder: Path, manager: Manager) -> None:
    process, _ = serve(spawn, folder, NOTIFY_SOCKET=manager.name, WATCHDOG_USEC="100000")
    for _ in range(5):
        assert manager.hear_of("WATCHDOG") == "1"
    process.signal(signal.SIGTERM)
    assert process.wait() == 0


def test_a_watchdog_is_heard_of_in_a_drain_too(
    spawn: Spawn, folder: Path, manager: Manager
) -> None:
    process, port = serve(spawn, folder, NOTIFY_SOCKET=manager.name, WATCHDOG_USEC="100000")
    with Client(("127.0.0.1", port)) as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
        assert client.read_head().status == 100
        process.signal(signal.SIGTERM)
        assert manager.hear_of("STOPPING") == "1"
        for _ in range(5):
            assert manager.hear_of("WATCHDOG") == "1"
        client.send(b"body")
        assert client.read_response().body == b"hello"
    assert process.wait() == 0


def test_the_status_is_one_line_whatever_it_says(unix_path: str) -> None:
    manager = Manager(unix_path)
    Notifier({"NOTIFY_SOCKET": unix_path}).tell(STATUS="a\nREADY=1\r\nb\udcff")
    assert manager.hear() == {"STATUS": "a READY=1 b?"}
    manager.close()


def test_nobody_is_told_where_nobody_asks() -> None:
    for name in ("", "vsock:2:1234", "relative", "/no/such/socket", "@" + 300 * "x"):
        notifier = Notifier({"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "x"})
        notifier.tell(READY=1)
        assert notifier.watchdog_seconds == 0


def test_a_manager_that_does_not_listen_holds_up_nobody(unix_path: str) -> None:
    manager = Manager(unix_path)
    notifier = Notifier({"NOTIFY_SOCKET": unix_path})
    for _ in range(5000):  # more than its queue takes
        notifier.tell(WATCHDOG=1)
    manager.close()


@pytest.mark.parametrize(
    ("usec", "pid", "seconds"),
    [
        ("1000000", None, 0.5),
        ("1000000", "ours", 0.5),
        ("1000000", "1", 0),
        ("", None, 0),
        ("-1", None, 0),
        ("\u0661", None, 0),
        ("0", None, 0),
        ("9" * 5000, None, 5e8),
    ],
)
def test_the_time_of_a_watchdog_is_half_of_what_is_allowed(
    usec: str, pid: str | None, seconds: float
) -> None:
    environ = {"NOTIFY_SOCKET": "@x", "WATCHDOG_USEC": usec}
    if pid is not None:
        environ["WATCHDOG_PID"] = str(os.getpid()) if pid == "ours" else pid
    assert Notifier(environ).watchdog_seconds == seconds
