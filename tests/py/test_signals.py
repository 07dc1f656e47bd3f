"""Signals while a server runs: none is lost, and everything is as before afterwards."""

from __future__ import annotations

import os
import random
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
from harness import PATIENCE, Process, wait_until
from rawclient import Client

# A server whose own SIGUSR1 handler says so on a pipe; DEFAULT undoes a shell's ignoring of SIGINT
# in the background.
DEFAULT = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
LISTEN = DEFAULT + (
    "import os, sys\n"
    "from meinheld import server\n"
    "def app(environ, start_response):\n"
    "    start_response('200 OK', [('Content-Length', '5')])\n"
    "    return [b'hello']\n"
    "port = server.listen(('127.0.0.1', 0))\n"
    "print(port, flush=True)\n"
)
INTERRUPTED = (
    "try:\n    server.run({})\nexcept KeyboardInterrupt:\n    print('interrupted', flush=True)\n"
)

Spawn = Callable[..., Process]


def started(spawn: Spawn, program: str, **options: object) -> tuple[Process, int]:
    """A process of that program, which prints its port first, and serves."""
    process = spawn([sys.executable, "-c", program], **options)
    wait_until(lambda: "\n" in process.out or process.popen.poll() is not None, "printed its port")
    assert process.popen.poll() is None, process.log
    port = int(process.out.split()[0])
    with Client(("127.0.0.1", port)) as client:
        assert client.get().body == b"hello"
    return process, port


def ended_by(process: Process, number: int) -> bool:
    """Sends the signal once more, for two that are pending together are one; whether it has
    ended."""
    if process.popen.poll() is None:
        process.signal(number)
    return process.popen.poll() is not None


def test_of_1000_signals_at_random_moments_to_an_idle_server_none_waits(
    spawn: Spawn, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = 20
    reader, writer = os.pipe()
    try:
        program = LISTEN + (
            f"signal.signal(signal.SIGUSR1, lambda *_: os.write({writer}, b'.'))\nserver.run(app)\n"
        )
        process, _ = started(spawn, program, pass_fds=(writer,))
        chance = random.Random(seed)
        worst = 0.0
        for _ in range(1000):
            # This waits for nothing: the moments themselves are what is tried.
            time.sleep(chance.uniform(0, 0.003))
            sent = time.monotonic()
            process.signal(signal.SIGUSR1)
            ready, _, _ = select.select([reader], [], [], PATIENCE)
            assert ready, "a signal was lost"
            assert os.read(reader, 2) == b"."
            worst = max(worst, time.monotonic() - sent)
    finally:
        os.close(reader)
        os.close(writer)
    with capsys.disabled():
        print(f" [seed {seed}: the slowest of 1000 took {worst * 1000:.1f} ms]", end="")


def test_sigint_is_keyboardinterrupt_out_of_run(spawn: Spawn) -> None:
    process, _ = started(spawn, LISTEN + INTERRUPTED.format("app"))
    process.signal(signal.SIGINT)
    assert process.wait() == 0
    assert process.out.split()[1:] == ["interrupted"]


def test_sigint_ends_a_silent_run_without_a_word(spawn: Spawn) -> None:
    process, _ = started(spawn, LISTEN + "server.run(app, silent=True)\nprint('ended')\n")
    process.signal(signal.SIGINT)
    assert process.wait() == 0
    assert process.out.split()[1:] == ["ended"]
    assert process.log == ""


def test_sigterm_answers_what_runs_and_returns(spawn: Spawn) -> None:
    program = LISTEN + (
        "def slow(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/slow':\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    return app(environ, start_response)\n"
        "server.run(slow)\nprint('drained')\n"
    )
    process, port = started(spawn, program)
    with Client(("127.0.0.1", port)) as client:
        answer = client.get("/slow")
        assert (answer.status, answer.body) == (200, b"hello")
        client.expect_close()
    assert process.wait() == 0
    assert process.out.split()[1:] == ["drained"]


# The body is waited for by the app, or in its place.
@pytest.mark.parametrize("framing", ["Content-Length: 9", "Transfer-Encoding: chunked"])
def test_a_second_sigterm_does_not_wait_for_what_runs(spawn: Spawn, framing: str) -> None:
    # The handler from before is there for signals that come when the run has ended.
    program = LISTEN + (
        "def reads(environ, start_response):\n"
        "    environ['wsgi.input'].read()\n"
        "    return app(environ, start_response)\n"
        "signal.signal(signal.SIGTERM, lambda *_: None)\nserver.run(reads)\n"
        "print('ended', flush=True)\nos._exit(0)\n"
    )
    process, port = started(spawn, program)
    with Client(("127.0.0.1", port)) as client:
        head = f"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n{framing}\r\n\r\n"
        client.send(head.encode())
        assert client.read_head().status == 100  # the request is open, and stays so
        wait_until(lambda: ended_by(process, signal.SIGTERM), "ended")
        assert process.wait() == 0
    assert process.out.split()[1:] == ["ended"]


# Its app waits for a body that never comes, so a drain alone does not end it.
READS = LISTEN + (
    "def reads(environ, start_response):\n"
    "    environ['wsgi.input'].read()\n"
    "    return app(environ, start_response)\n"
)


def open_request(port: int) -> Client:
    """A client whose request is open, and stays so."""
    client = Client(("127.0.0.1", port))
    client.send(b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n")
    assert client.read_head().status == 100
    return client


def test_after_graceful_timeout_sigterm_cuts_off_what_is_open(spawn: Spawn) -> None:
    program = READS + "server.set_graceful_timeout(0.2)\nserver.run(reads)\nprint('ended')\n"
    process, port = started(spawn, program)
    with open_request(port) as client:
        process.signal(signal.SIGTERM)
        assert client.at_end()
        assert process.wait() == 0
    assert process.out.split()[1:] == ["ended"]


def test_while_a_server_drains_connections_are_refused(spawn: Spawn) -> None:
    process, port = started(spawn, READS + "server.run(reads)\n")

    def refused() -> bool:
        try:
            Client(("127.0.0.1", port)).close()
        except (ConnectionRefusedError, ConnectionResetError):
            return True
        return False

    with open_request(port) as client:
        process.signal(signal.SIGTERM)
        wait_until(refused, "refused")
        client.send(b"123456789")
        assert client.read_response().body == b"hello"
    assert process.wait() == 0


@pytest.mark.parametrize("call", ["hang()", "greenlet.greenlet(hang).switch()"])
def test_a_second_sigint_interrupts_an_app_that_does_not_return(spawn: Spawn, call: str) -> None:
    program = LISTEN + (
        "import greenlet\n"
        "def hang():\n"
        "    print('hangs', flush=True)\n"
        "    while True: pass\n"
        "def hangs(environ, start_response):\n"
        f"    if environ['PATH_INFO'] == '/hang': {call}\n"
        "    return app(environ, start_response)\n"
        "signal.signal(signal.SIGINT, lambda *_: None)\n"  # for those that come after the run
        + INTERRUPTED.format("hangs")
        + "os._exit(0)\n"  # the interpreter's own end makes signals deadly again
    )
    process, port = started(spawn, program)
    with Client(("127.0.0.1", port)) as client:
        client.send(b"GET /hang HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_until(lambda: "hangs" in process.out, "called")
        wait_until(lambda: ended_by(process, signal.SIGINT), "ended")
    assert process.wait() == 0
    assert "interrupted" in process.out


def test_handlers_and_wakeup_fd_are_given_back_and_chained(spawn: Spawn) -> None:
    program = LISTEN + (
        "import socket\n"
        "seen = []\n"
        "before = {n: lambda n, f: seen.append(n) for n in (signal.SIGINT, signal.SIGTERM)}\n"
        "for n, h in before.items(): signal.signal(n, h)\n"
        "a, b = socket.socketpair(); b.setblocking(False); a.settimeout(10)\n"
        "signal.set_wakeup_fd(b.fileno())\n"
        "server.run(app)\n"
        "assert seen == [signal.SIGTERM], seen\n"
        "assert a.recv(10) == bytes([signal.SIGTERM])\n"
        "for n, h in before.items(): assert signal.getsignal(n) is h\n"
        "assert signal.set_wakeup_fd(-1) == b.fileno()\n"
        "print('well')\n"
    )
    process, _ = started(spawn, program)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0, process.log
    assert process.out.split()[1:] == ["well"]


def test_interrupts_at_any_moment_leave_nothing_of_a_run_behind(spawn: Spawn) -> None:
    program = LISTEN + (
        "def nothing(number, frame): pass\n"
        "signal.signal(signal.SIGINT, nothing)\n"
        "server.run(app)\n"
        "parent = os.getpid()\n"
        "child = os.fork()\n"
        "if not child:\n"
        "    import time\n"
        "    while os.getppid() == parent:\n"
        "        os.kill(parent, signal.SIGINT)\n"
        "        time.sleep(2e-5)\n"
        "    os._exit(0)\n"
        "for _ in range(200):\n"
        "    server.run(app, silent=True)\n"
        "    assert signal.getsignal(signal.SIGINT) is nothing\n"
        "    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL\n"
        "    assert signal.set_wakeup_fd(-1) == -1\n"
        "os.kill(child, signal.SIGKILL)\n"
        "os.waitpid(child, 0)\n"
        "print('well')\n"
    )
    process, _ = started(spawn, program)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0, process.log
    assert process.out.split()[1:] == ["well"]


def test_a_wakeup_fd_that_was_closed_during_the_run_is_not_given_back(spawn: Spawn) -> None:
    program = LISTEN + (
        "import socket\n"
        "a, b = socket.socketpair(); b.setblocking(False)\n"
        "signal.set_wakeup_fd(b.fileno())\n"
        "def closes(environ, start_response):\n"
        "    b.close()\n"
        "    return app(environ, start_response)\n"
        "server.run(closes)\n"
        "assert signal.set_wakeup_fd(-1) == -1\n"
        "print('well')\n"
    )
    process, _ = started(spawn, program)
    process.signal(signal.SIGTERM)
    assert process.wait() == 0, process.log
    assert process.out.split()[1:] == ["well"]


def test_a_signal_that_was_ignored_stays_ignored(spawn: Spawn) -> None:
    program = LISTEN + (
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\nserver.run(app)\n"
        "assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN\nprint('well')\n"
    )
    process, port = started(spawn, program)
    process.signal(signal.SIGINT)
    with Client(("127.0.0.1", port)) as client:
        assert client.get().body == b"hello"
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert process.out.split()[1:] == ["well"]


def test_in_another_thread_run_leaves_signals_alone(spawn: Spawn) -> None:
    program = LISTEN + (
        "import threading\n"
        "before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)\n"
        "thread = threading.Thread(target=server.run, args=(app,))\n"
        "thread.start()\n"
        "sys.stdin.readline()\n"
        "assert before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))\n"
        "assert signal.set_wakeup_fd(-1) == -1\n"
        "server.shutdown()\n"
        "thread.join()\n"
        "print('well')\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        with Client(("127.0.0.1", port)) as client:
            assert client.get().body == b"hello"
        out, err = child.communicate("go\n", timeout=PATIENCE)
    finally:
        child.kill()
        child.wait()
    assert (out, err) == ("well\n", "")


def test_systemexit_in_an_app_ends_the_process_and_aborts_the_request(spawn: Spawn) -> None:
    program = LISTEN + (
        "def leaves(environ, start_response):\n"
        "    if environ['PATH_INFO'] == '/exit': sys.exit(3)\n"
        "    return app(environ, start_response)\n"
        "server.run(leaves)\n"
    )
    process, port = started(spawn, program)
    with Client(("127.0.0.1", port)) as client:
        client.send(b"GET /exit HTTP/1.1\r\nHost: x\r\n\r\n")
        assert client.read_to_abort() == b""
    assert process.wait() == 3
