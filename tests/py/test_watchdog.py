"""Who holds the loop is told of; and who is to be called each second is."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from threading import get_ident
from types import SimpleNamespace
from typing import Any

import pytest
from harness import Process, Server, wait_until
from meinheld import server as meinheld_server
from meinheld._tasks import Task
from meinheld._watchdog import WatchedSeat
from rawclient import request

Serve = Callable[..., Server]
Spawn = Callable[..., Process]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A FIFO: who reads it waits until somebody opens it to write (fifo(7))."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


def open_gate(gate: Path) -> None:
    with gate.open("wb"):
        pass


# ---- what holds the loop


@pytest.mark.parametrize(
    "target, name",
    [("hold", "GET /hold?gate={gate}"), ("spawn", "the task hold_here")],
    ids=["request", "task"],
)
def test_what_holds_the_loop_is_told_of_once_with_its_stack_and_once_when_it_lets_go(
    serve: Serve, gate: Path, target: str, name: str
) -> None:
    server = serve("apps.holding:app", block_warning=0.05)
    name = name.format(gate=gate)
    with server.connect() as client, server.connect() as other:
        for count in (1, 2):
            client.send(request(f"/{target}?gate={gate}"))
            wait_until(lambda: server.log.count("holds the loop") == count, "told of it")  # noqa: B023
            assert server.log.count(f"{name} holds the loop for over 0.05 s\n") == count
            assert server.log.count(", in hold_here\n") == count
            open_gate(gate)
            wait_until(lambda: server.log.count("has let go") == count, "told of the end")  # noqa: B023
            assert server.log.count(f"{name} has let go of the loop after 0.") == count
            client.read_response()
            assert other.get("/").body == b"done"
        assert server.log.count("holds the loop") == 2


def test_a_look_tells_of_nothing_twice() -> None:
    logged: list[str] = []
    loop: Any = SimpleNamespace(log=lambda message, exc_info: logged.append(message))
    seat = WatchedSeat(loop, 0.0)
    assert seat.look(get_ident(), None) is None
    task = seat.serving = Task(lambda: open_gate)
    told = seat.look(get_ident(), None)
    assert seat.look(get_ident(), told) is told
    assert len(logged) == 1 and "test_a_look_tells" in logged[0]
    seat.serving = None
    seat.serving = task
    assert [message.partition(" after ")[0] for message in logged[1:]] == [
        "the task test_a_look_tells_of_nothing_twice.<locals>.<lambda> has let go of the loop"
    ]
    assert seat.look(get_ident(), told) is not told
    assert len(logged) == 3


def test_what_waits_does_not_hold_the_loop(serve: Serve) -> None:
    server = serve("apps.holding:app", block_warning=0.2)
    with server.connect() as client:
        assert client.get("/wait?times=60").body == b"done"
    assert server.log == ""


def test_it_is_not_told_of_by_default(serve: Serve, gate: Path) -> None:
    server = serve("apps.holding:app")
    with server.connect() as client:
        client.send(request(f"/hold?gate={gate}"))
        server.wait_for_rest()
        open_gate(gate)
        assert client.read_response().body == b"done"
    assert server.log == ""


def test_a_request_in_a_thread_does_not_hold_the_loop(serve: Serve, gate: Path) -> None:
    server = serve("apps.holding:app", threads=2, block_warning=0.01)
    with server.connect() as client, server.connect() as other:
        client.send(request(f"/hold?gate={gate}"))
        assert other.get("/wait?times=20").body == b"done"
        open_gate(gate)
        assert client.read_response().body == b"done"
    assert server.log == ""


def test_the_time_is_a_number_of_seconds() -> None:
    assert meinheld_server.get_block_warning() == 0
    for wrong, error in (("1", TypeError), (-1, ValueError), (float("inf"), ValueError)):
        with pytest.raises(error, match="block_warning"):
            meinheld_server.set_block_warning(wrong)  # type: ignore[arg-type]


# ---- once a second

SCRIPT = """
import os, sys, time
from meinheld import server

def app(environ, start_response):
    start_response("200 OK", [])
    return [b""]

def say(text):
    print(text, file=sys.stderr, flush=True)

server.listen(("127.0.0.1", 0))
"""


def run(spawn: Spawn, code: str, **options: Any) -> Process:
    return spawn([sys.executable, "-c", f"{SCRIPT}{code}\nserver.run(app)\nsay('over')"], **options)


def test_a_watchdog_is_called_at_once_and_then_each_second_while_nothing_happens(
    spawn: Spawn,
) -> None:
    code = """
times = []
def watch():
    times.append(time.monotonic())
    say("called")
    if len(times) == 3:
        say(all(1 <= later - time < 6 for time, later in zip(times, times[1:])))
        server.shutdown()
server.set_watchdog(watch)"""
    process = run(spawn, code)
    assert process.wait() == 0
    assert process.log == "called\ncalled\ncalled\nTrue\nover\n"


def test_a_watchdog_that_fails_is_logged_and_called_again(spawn: Spawn) -> None:
    code = """
count = 0
def watch():
    global count
    count += 1
    if count == 2:
        server.shutdown()
    raise ValueError("on purpose")
server.set_watchdog(watch)"""
    process = run(spawn, code)
    assert process.wait() == 0
    assert process.log.count("watch failed\n") == 2
    assert process.log.count("ValueError: on purpose") == 2


def test_a_watchdog_can_be_taken_away(spawn: Spawn) -> None:
    code = """
server.set_watchdog(lambda: say("called"))
server.set_watchdog(None)
server.set_fastwatchdog(1, 1, 1)
server.set_fastwatchdog(None)
server.schedule_call(0, server.shutdown)"""
    process = run(spawn, code)
    assert process.wait() == 0
    assert process.log == "over\n"


def test_a_heartbeat_changes_the_mode_of_a_file(spawn: Spawn, tmp_path: Path) -> None:
    path = tmp_path / "heart"
    path.touch()
    code = f"""
server.set_watchdog(lambda: say("called"))
server.set_fastwatchdog(os.open({str(path)!r}, os.O_RDONLY), os.getppid(), 30)"""
    process = run(spawn, code)
    for mode in (1, 0, 1):
        wait_until(lambda mode=mode: path.stat().st_mode & 0o777 == mode, "beaten")  # type: ignore[misc]
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert process.log == "over\n"


def test_the_server_stops_when_its_parent_has_gone(spawn: Spawn, tmp_path: Path) -> None:
    path = tmp_path / "heart"
    path.touch()
    code = f"""
fd = os.open({str(path)!r}, os.O_RDONLY)
parent = os.getpid()
if os.fork():
    say("parent leaves")
    os._exit(0)
server.set_fastwatchdog(fd, parent, 30)"""
    process = run(spawn, code)
    assert process.wait() == 0
    wait_until(lambda: "over\n" in process.log, "ended the child")
    assert process.log.count("the parent process has gone: the server stops\n") == 1


def test_a_heartbeat_that_can_not_be_is_logged_and_still_looks_for_the_parent(
    spawn: Spawn,
) -> None:
    code = """
server.set_fastwatchdog(12345, os.getppid() + 1, 30)"""
    process = run(spawn, code)
    assert process.wait() == 0
    assert "OSError: [Errno 9]" in process.log
    assert "the parent process has gone" in process.log


def test_watchdogs_that_are_none_are_refused() -> None:
    with pytest.raises(TypeError, match="watchdog"):
        meinheld_server.set_watchdog(1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fd"):
        meinheld_server.set_fastwatchdog(-1, 1, 1)
    with pytest.raises(TypeError, match="ppid"):
        meinheld_server.set_fastwatchdog(0, None, 1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="timeout"):
        meinheld_server.set_fastwatchdog(0, 1, -1)
