"""Forks: of a process that listens, and in the middle of a request."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Process, wait_until
from rawclient import Client

Spawn = Callable[..., Process]

APP = """
import os, signal, sys
from meinheld import server

def app(environ, start_response):
    body = answers.get(environ["PATH_INFO"], lambda: str(os.getpid()))().encode()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]

answers = {}
port = server.listen(("127.0.0.1", 0))
print(port, flush=True)
"""

PREFORK = (
    APP
    + """
children = []
for _ in range(4):
    pid = os.fork()
    if pid == 0:
        server.run(app)
        os._exit(0)
    children.append(pid)
print(*children, flush=True)
failed = [os.waitpid(pid, 0)[1] for pid in children]
assert failed == [0, 0, 0, 0], failed
print("reaped", flush=True)
server.run(app)  # the parent's own socket has not been touched
"""
)

INSIDE = (
    APP
    + """
import multiprocessing, subprocess

def in_subprocess():
    argv = [sys.executable, "-c", "print('sub')"]
    return subprocess.run(argv, stdout=subprocess.PIPE).stdout.decode()

def child(queue):
    queue.put("multi %d" % os.getppid())

def in_multiprocessing():
    context = multiprocessing.get_context("fork")
    queue = context.SimpleQueue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    said = queue.get()
    process.join()
    return f"{said} {process.exitcode}"

def hangs(ready):
    ready.put("ready")
    signal.pause()

def terminated():
    # A child's SIGTERM is the child's own: it must not be taken for a drain.
    context = multiprocessing.get_context("fork")
    ready = context.SimpleQueue()
    process = context.Process(target=hangs, args=(ready,))
    process.start()
    ready.get()
    process.terminate()
    process.join(20)
    return str(process.exitcode)

def strays():
    # The child goes back into the loop, as a careless app lets it.
    pid = os.fork()
    if pid == 0:
        return "never sent"
    return str(os.waitpid(pid, 0)[1])

def exits():
    pid = os.fork()
    if pid == 0:
        sys.exit(5)
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

answers.update({"/subprocess": in_subprocess, "/multi": in_multiprocessing,
                "/terminated": terminated, "/strays": strays, "/exits": exits})
main = os.getpid()
try:
    server.run(app, threads=int(sys.argv[1]))
finally:
    if os.getpid() != main:
        sys.stderr = open(os.devnull, "w")
"""
)


def started(spawn: Spawn, program: str, lines: int, *args: str) -> tuple[Process, list[int]]:
    """A process of that program, and the numbers on the lines that it prints first."""
    process = spawn([sys.executable, "-c", program, *args])
    wait_until(
        lambda: process.out.count("\n") >= lines or process.popen.poll() is not None, "started"
    )
    assert process.popen.poll() is None, process.log
    return process, [int(word) for word in process.out.split()]


def test_listen_then_fork_4_and_all_serve(spawn: Spawn) -> None:
    process, (port, *children) = started(spawn, PREFORK, 2)
    served: set[int] = set()

    def all_have_served() -> bool:
        # Connections that stay open make the others answer.
        clients = [Client(("127.0.0.1", port)) for _ in range(16)]
        for client in clients:
            served.add(int(client.get().body))
        for client in clients:
            client.close()
        return served == set(children)

    wait_until(all_have_served, "served by all four")
    for pid in children:
        os.kill(pid, signal.SIGTERM)
    # The parent serves with the socket that it made, when all of them have drained.
    wait_until(lambda: "reaped" in process.out or process.popen.poll() is not None, "reaped them")
    with Client(("127.0.0.1", port)) as client:
        assert int(client.get().body) == process.pid
    process.signal(signal.SIGTERM)
    assert process.wait() == 0, process.log


@pytest.mark.parametrize("threads", ["0", "2"])
def test_a_fork_inside_a_request_harms_neither_side(spawn: Spawn, threads: str) -> None:
    process, (port,) = started(spawn, INSIDE, 1, threads)
    expected = {
        "/subprocess": b"sub\n",
        "/multi": f"multi {process.pid} 0".encode(),
        "/terminated": str(-signal.SIGTERM).encode(),
        "/exits": b"5",
    }
    if threads != "0" and sys.implementation.name == "pypy":
        # To PyPy the thread that has forked is not the child's main one, and only that may set a
        # handler back, or run it.
        del expected["/terminated"]
    with Client(("127.0.0.1", port)) as open_before, Client(("127.0.0.1", port)) as client:
        assert open_before.get().body == str(process.pid).encode()
        for _ in range(2):
            for path, body in expected.items():
                assert client.get(path).body == body, path
            # Its exit status is that of an error, but what matters is that it neither answers nor
            # hangs.
            assert int(client.get("/strays").body) != 0
            assert open_before.get().body == str(process.pid).encode()
        open_before.expect_nothing_buffered()
        client.expect_nothing_buffered()
    process.signal(signal.SIGTERM)
    assert process.wait() == 0, process.log


def test_nothing_but_run_makes_a_loop(spawn: Spawn, tmp_path: Path) -> None:
    program = APP.replace("print(port", "server.set_keepalive(3); print(port") + (
        "links = [os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd')"
        " if os.path.lexists(f'/proc/self/fd/{fd}')]\n"
        "assert not [link for link in links if 'event' in link], links\n"
    )
    process = spawn([sys.executable, "-c", program])
    assert process.wait() == 0, process.log
    assert process.out.strip().isdigit()


def test_a_child_listens_though_a_thread_of_its_parent_was_beginning_a_run(
    spawn: Spawn,
) -> None:
    program = (
        "import os, threading\n"
        "from meinheld import server\n"
        "held, done = threading.Event(), threading.Event()\n"
        "def hold():\n"
        "    with server._running.lock:\n"
        "        held.set()\n"
        "        done.wait()\n"
        "threading.Thread(target=hold).start()\n"
        "held.wait()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    server.listen(('127.0.0.1', 0))\n"
        "    os._exit(0)\n"
        "_, status = os.waitpid(child, 0)\n"
        "done.set()\n"
        "raise SystemExit(os.waitstatus_to_exitcode(status))\n"
    )
    assert spawn([sys.executable, "-c", program]).wait() == 0
