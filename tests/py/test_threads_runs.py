"""Runs with a pool of threads: how they end, and how many threads they have."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

import pytest
from harness import Process, wait_until
from rawclient import Client, request

Spawn = Callable[..., Process]

# ---- the end of a run

LISTEN = """
import signal, sys, threading, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from meinheld import server

release = threading.Event()

def app(environ, start_response):
    path = environ["PATH_INFO"]
    if path == "/block":
        print("blocks", flush=True)
        release.wait()
        print("goes on", flush=True)
    if path == "/exit":
        sys.exit(3)
    if path == "/interrupt":
        raise KeyboardInterrupt
    if path == "/shutdown":
        server.shutdown()
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]

print(server.listen(("127.0.0.1", 0)), flush=True)
"""


def started(spawn: Spawn, program: str) -> tuple[Process, tuple[str, int]]:
    """A process of that program, which prints its port first."""
    process = spawn([sys.executable, "-c", LISTEN + program])
    wait_until(lambda: "\n" in process.out or process.popen.poll() is not None, "printed its port")
    assert process.popen.poll() is None, process.log
    return process, ("127.0.0.1", int(process.out.split()[0]))


def blocked(process: Process, address: tuple[str, int]) -> Client:
    """A client whose request blocks a thread."""
    client = Client(address)
    client.send(request("/block"))
    wait_until(lambda: "blocks" in process.out, "blocked")
    return client


def test_a_drain_serves_what_waits_for_a_thread(spawn: Spawn) -> None:
    process, address = started(
        spawn,
        "def drain():\n"
        "    while not server._tasks.running: time.sleep(0.001)\n"
        "    loop = server._tasks.running[0]\n"
        "    while len(loop._gateway._waiting) < 2: time.sleep(0.001)\n"
        "    signal.raise_signal(signal.SIGTERM)\n"
        "    while not loop._draining: time.sleep(0.001)\n"
        "    release.set()\n"
        "threading.Thread(target=drain).start()\n"
        "server.run(app, threads=1)\n"
        "print('ended', threading.active_count())\n",
    )
    with blocked(process, address) as first, Client(address) as second, Client(address) as third:
        second.send(request("/"))
        third.send(request("/block"))
        for client in (first, second, third):
            assert client.read_response().body == b"hello"
    assert process.wait() == 0, process.log
    assert "ended 1" in process.out  # no thread is left


def test_a_request_shuts_its_server_down_and_is_answered(spawn: Spawn) -> None:
    process, address = started(spawn, "server.run(app, threads=2)\nprint('ended')\n")
    with Client(address) as client:
        assert client.get("/shutdown").body == b"hello"
    assert process.wait() == 0, process.log
    assert process.out.endswith("ended\n")


def test_run_waits_for_an_app_that_outlives_the_drain_s_timeout(spawn: Spawn) -> None:
    process, address = started(
        spawn,
        "def end():\n"
        "    server.shutdown(0.01)\n"
        "    while not server._tasks.running[0]._ending: time.sleep(0.001)\n"
        "    print('waits', flush=True)\n"
        "    release.set()\n"
        "signal.signal(signal.SIGUSR1, lambda *_: threading.Thread(target=end).start())\n"
        "server.run(app, threads=1)\n"
        "print('ended', flush=True)\n",
    )
    with blocked(process, address) as client:
        process.signal(signal.SIGUSR1)
        assert client.read_to_abort() == b""
    assert process.wait() == 0, process.log
    assert process.out.split("\n")[1:5] == ["blocks", "waits", "goes on", "ended"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_does_not_wait_for_an_app(spawn: Spawn, number: int) -> None:
    process, address = started(
        spawn,
        "signal.signal(signal.SIGTERM, lambda *_: None)\n"  # for those that come after the run
        "try:\n"
        "    server.run(app, threads=1)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted')\n"
        "for number in (signal.SIGINT, signal.SIGTERM): signal.signal(number, signal.SIG_IGN)\n"
        "print('ended')\n",
    )

    def ended() -> bool:
        if process.popen.poll() is None:
            process.signal(number)
        return process.popen.poll() is not None

    with blocked(process, address):
        wait_until(ended, "ended")
    assert process.wait() == 0, process.log
    assert process.out.endswith("interrupted\nended\n" if number == signal.SIGINT else "ended\n")


def test_the_first_interrupt_waits_for_an_app(spawn: Spawn) -> None:
    process, address = started(
        spawn,
        "def let_go():\n"
        "    loops = server._tasks.running\n"
        "    while not (loops and loops[0]._ending): time.sleep(0.001)\n"
        "    release.set()\n"
        "threading.Thread(target=let_go).start()\n"
        "try:\n"
        "    server.run(app, threads=1)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n",
    )
    with blocked(process, address) as client:
        process.signal(signal.SIGINT)
        assert client.read_to_abort() == b""
    assert process.wait() == 0, process.log
    assert process.out.split("\n")[1:4] == ["blocks", "goes on", "interrupted"]


@pytest.mark.parametrize(("path", "status"), [("/exit", 3), ("/interrupt", -signal.SIGINT)])
def test_what_ends_a_run_ends_it_from_a_thread(spawn: Spawn, path: str, status: int) -> None:
    process, address = started(spawn, "server.run(app, threads=2)\n")
    with Client(address) as client:
        client.send(request(path))
        assert client.read_to_abort() == b""
    assert process.wait() == status
    if path == "/interrupt":
        assert "in app\n" in process.log  # the traceback is the app's


def test_runs_with_and_without_threads_follow_each_other(spawn: Spawn) -> None:
    process, address = started(
        spawn,
        "port = int(server._running.listeners[0].port)\n"
        "for threads in (2, 0, 1, 2):\n"
        "    server.run(app, threads=threads)\n"
        "    server.listen(('127.0.0.1', port))\n"
        "    print('ended', threading.active_count(), flush=True)\n",
    )
    for number in range(4):
        with Client(address) as client:
            assert client.get("/shutdown").body == b"hello"
        wait_until(lambda number=number: process.out.count("ended") > number, "ended")  # type: ignore[misc]
    assert process.wait() == 0, process.log
    assert process.out.count("ended 1") == 4


def test_a_run_with_threads_in_another_thread_than_main(spawn: Spawn) -> None:
    process, address = started(
        spawn,
        "thread = threading.Thread(target=server.run, args=(app,), kwargs={'threads': 2})\n"
        "thread.start()\n"
        "thread.join()\n"
        "print('ended', threading.active_count())\n",
    )
    with Client(address) as client:
        assert client.get("/").body == b"hello"
        assert client.get("/shutdown").body == b"hello"
    assert process.wait() == 0, process.log
    assert process.out.endswith("ended 1\n")


# ---- the setting


def test_run_takes_the_setting_or_its_argument(spawn: Spawn) -> None:
    process = spawn(
        [
            sys.executable,
            "-c",
            "import threading\n"
            "from meinheld import server\n"
            "assert server.get_threads() == 0\n"
            "server.set_threads(3)\n"
            "assert server.get_threads() == 3\n"
            "for bad, error in ((-1, ValueError), (1.0, TypeError), (True, TypeError)):\n"
            "    for call in (server.set_threads, lambda n: server.run(print, threads=n)):\n"
            "        try: call(bad)\n"
            "        except error as exc: assert 'threads' in str(exc), exc\n"
            "        else: raise AssertionError(bad)\n"
            "for argument, count in ((None, 3), (0, 0), (1, 1)):\n"
            "    server.listen(('127.0.0.1', 0))\n"
            "    def look(count=count):\n"
            "        while not server._tasks.running: pass\n"
            "        loop = server._tasks.running[0]\n"
            "        names = lambda: [t.name for t in threading.enumerate()]\n"
            "        done = threading.Event()\n"
            "        loop.post(done.set)\n"
            "        done.wait()\n"
            "        print(sum(name.startswith('meinheld') for name in names()), flush=True)\n"
            "        server.shutdown()\n"
            "    thread = threading.Thread(target=look)\n"
            "    thread.start()\n"
            "    server.run(print, threads=argument)\n"
            "    thread.join()\n",
        ]
    )
    assert process.wait() == 0, process.log
    assert process.out.split() == ["3", "0", "1"]
