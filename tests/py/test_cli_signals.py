"""How the command line ends, and what it does on the way; by signals, as systemd and people give
them."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from commandline import MEINHELD, READS, served_port
from harness import Process, wait_until
from rawclient import Client

Spawn = Callable[..., Process]


@pytest.fixture
def serve_reads(spawn: Spawn, folder: Path) -> Callable[..., tuple[Process, int]]:
    """Serves an application that waits for its requests' bodies; returns its port, too."""

    def start(*arguments: str) -> tuple[Process, int]:
        (folder / "reads.py").write_text(READS)
        argv = [*MEINHELD, "reads", "--bind", "127.0.0.1:0", *arguments]
        process = spawn(argv, cwd=folder)
        return process, served_port(process)

    return start


Start = Callable[..., "tuple[Process, int]"]


def open_request(port: int) -> Client:
    """A client whose request is open until it sends 4 bytes."""
    client = Client(("127.0.0.1", port))
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
    assert client.read_head().status == 100
    return client


def test_sigterm_waits_for_open_requests_and_says_how_many(serve_reads: Start) -> None:
    process, port = serve_reads()
    with open_request(port) as first, open_request(port) as second:
        process.signal(signal.SIGTERM)
        process.wait_for_log("meinheld: stopping: 2 requests still open, cut off in 30 s\n")
        first.send(b"body")
        answer = first.read_response()
        assert (answer.body, answer.closes) == (b"hello", True)
        process.wait_for_log("meinheld: stopping: 1 request still open, cut off in ")
        second.send(b"body")
        assert second.read_response().body == b"hello"
    assert process.wait() == 0


def test_after_graceful_timeout_what_is_open_is_cut_off(serve_reads: Start) -> None:
    process, port = serve_reads("--graceful-timeout", "0.3")
    with open_request(port) as client:
        process.signal(signal.SIGTERM)
        assert client.at_end()
    assert process.wait() == 0


def test_without_a_graceful_timeout_nothing_is_said_of_one(serve_reads: Start) -> None:
    process, port = serve_reads("--graceful-timeout", "0")
    with open_request(port) as client:
        process.signal(signal.SIGTERM)
        process.wait_for_log("meinheld: stopping: 1 request still open\n")
        client.send(b"body")
        assert client.read_response().body == b"hello"
    assert process.wait() == 0


def test_a_second_sigterm_stops_at_once(serve_reads: Start) -> None:
    process, port = serve_reads("--graceful-timeout", "0")
    with open_request(port) as client:
        process.signal(signal.SIGTERM)
        process.wait_for_log("1 request still open")  # the first has been heard
        process.signal(signal.SIGTERM)
        assert client.at_end()
    assert process.wait() == 0


def test_sigint_stops_at_once_with_status_0(serve_reads: Start) -> None:
    process, port = serve_reads()
    with open_request(port) as client:
        process.signal(signal.SIGINT)
        assert client.at_end()
    assert process.wait() == 0
    assert process.log.count("\n") == 1  # but that it serves, nothing was said


def test_a_request_under_way_to_an_idle_connection_is_answered_in_a_drain(
    serve_reads: Start,
) -> None:
    process, port = serve_reads("--drain-idle", "20", "--keepalive-timeout", "30")
    with Client(("127.0.0.1", port)) as idle, open_request(port) as client:
        assert idle.get().body == b"hello"
        process.signal(signal.SIGTERM)
        process.wait_for_log("1 request still open")
        answer = idle.get()
        assert (answer.body, answer.closes) == (b"hello", True)
        client.send(b"body")
        assert client.read_response().body == b"hello"
    assert process.wait() == 0


def test_a_drain_that_waits_for_idle_connections_alone_says_nothing(serve_reads: Start) -> None:
    process, port = serve_reads("--drain-idle", "1.2", "--keepalive-timeout", "30")
    with Client(("127.0.0.1", port)) as idle:
        assert idle.get().body == b"hello"
        process.signal(signal.SIGTERM)
        idle.expect_close()
    assert process.wait() == 0
    assert "stopping" not in process.log


def test_sigusr1_goes_on_with_a_new_access_log(serve_reads: Start, folder: Path) -> None:
    process, port = serve_reads("--access-log", "log")
    with Client(("127.0.0.1", port)) as client:
        assert client.get("/one").status == 200
        wait_until(lambda: "/one" in (folder / "log").read_text(), "logged")
        (folder / "log").rename(folder / "log.1")
        process.signal(signal.SIGUSR1)
        wait_until((folder / "log").exists, "reopened")
        assert client.get("/two").status == 200
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert re.findall("/one|/two", (folder / "log.1").read_text()) == ["/one"]
    assert re.findall("/one|/two", (folder / "log").read_text()) == ["/two"]


def test_a_log_that_can_not_be_reopened_is_told_and_goes_on(
    serve_reads: Start, folder: Path
) -> None:
    process, port = serve_reads("--access-log", "logs")
    (folder / "logs").rename(folder / "old")
    (folder / "logs").mkdir()
    process.signal(signal.SIGUSR1)
    process.wait_for_log("meinheld: cannot reopen the access log: Is a directory: 'logs'\n")
    with Client(("127.0.0.1", port)) as client:
        assert client.get("/still").status == 200
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert "/still" in (folder / "old").read_text()


def test_a_handler_of_the_application_s_stays(spawn: Spawn, folder: Path) -> None:
    text = "import signal\nsignal.signal(signal.SIGUSR1, lambda *_: print('its own', flush=True))\n"
    (folder / "handles.py").write_text(text + READS)
    process = spawn([*MEINHELD, "handles", "--bind", "127.0.0.1:0"], cwd=folder)
    served_port(process)
    process.signal(signal.SIGUSR1)
    wait_until(lambda: "its own" in process.out, "handled")
    process.signal(signal.SIGTERM)
    assert process.wait() == 0


def test_sigint_while_the_application_is_imported_ends_the_process_by_it(
    spawn: Spawn, folder: Path
) -> None:
    (folder / "slow.py").write_text("import time\nprint('imports', flush=True)\ntime.sleep(60)\n")
    process = spawn([*MEINHELD, "slow", "--bind", "127.0.0.1:0"], cwd=folder)
    wait_until(lambda: "imports" in process.out, "imported")
    process.signal(signal.SIGINT)
    assert process.wait() == -signal.SIGINT
    assert process.log == ""


def test_sigusr1_without_a_log_changes_nothing(serve_reads: Start) -> None:
    process, port = serve_reads()
    process.signal(signal.SIGUSR1)
    with Client(("127.0.0.1", port)) as client:
        assert client.get().body == b"hello"
    process.signal(signal.SIGTERM)
    assert process.wait() == 0


def test_a_closed_stderr_keeps_nobody_from_being_served(
    spawn: Spawn, folder: Path, unix_path: str
) -> None:
    command = [*MEINHELD, "site_app", "--bind", f"unix:{unix_path}"]
    process = spawn(["sh", "-c", 'exec "$@" 2>&-', "sh", *command], cwd=folder)
    wait_until(lambda: os.path.exists(unix_path), "listened")
    with Client(unix_path) as client:
        assert client.get().body == b"hello"
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
