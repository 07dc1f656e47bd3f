"""Server processes for the tests: started on a socket of the test's, ended by pid, then checked."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import pytest
from rawclient import Address, Client

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parent.parent / "examples"
TRACEBACK = "Traceback (most recent call last)"
# What Python writes between the tracebacks of one chain of exceptions.
CHAINED = (
    "During handling of the above exception, another exception occurred:",
    "The above exception was the direct cause of the following exception:",
)
# How long a test waits for anything: generous, since only a failure ever waits that long.
PATIENCE = 20.0

Found = TypeVar("Found")


def wait_until(condition: Callable[[], Found], what: str) -> Found:
    """Returns what condition() does once that is true; fails the test after PATIENCE seconds."""
    deadline = time.monotonic() + PATIENCE
    while not (found := condition()):
        if time.monotonic() > deadline:
            pytest.fail(f"in {PATIENCE:g} s: never {what}")
        time.sleep(0.002)
    return found


def tool(name: str, mode: int = os.F_OK | os.X_OK) -> str:
    """The path of a program that a test drives; with os.F_OK, of another file. Where it is missing
    the test is skipped, but on CI, which installs them all, it fails."""
    if path := shutil.which(name, mode):
        return path
    do_without(f"{name} is not installed")


def do_without(message: str) -> NoReturn:
    """Skips a test that can't be run here; on CI, where all can, it fails."""
    if os.environ.get("TESTS_IN_CI"):
        pytest.fail(message)
    pytest.skip(message)


def listening_socket(address: Address) -> socket.socket:
    """A socket that listens at address; port 0 lets the kernel choose."""
    if isinstance(address, str):
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    else:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.listen(1024)
    return sock


def count_tracebacks(log: str) -> int:
    """How many exceptions are in a log, a chain of them counted as one."""
    return log.count(TRACEBACK) - sum(log.count(text) for text in CHAINED)


def heed_interrupts() -> None:
    """A shell starts its background commands, and so whole test runs, with SIGINT ignored, which a
    server then leaves ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Process:
    """A child process with its output in files, so that it never blocks on a pipe nobody reads."""

    def __init__(
        self,
        argv: list[str],
        directory: Path,
        *,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        pass_fds: tuple[int, ...] = (),
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._stdout = directory / "stdout"
        self._stderr = directory / "stderr"
        with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
            self.popen = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
                cwd=cwd,
                pass_fds=pass_fds,
                preexec_fn=heed_interrupts,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def out(self) -> str:
        """What it has written to stdout so far."""
        return self._stdout.read_text(errors="replace")

    @property
    def log(self) -> str:
        """What it has written to stderr so far."""
        return self._stderr.read_text(errors="replace")

    def wait_for_log(self, text: str) -> None:
        """Returns once text is on stderr; fails the test if the process ends without it."""

        def said_or_ended() -> bool:
            ended = (
                self.popen.poll() is not None
            )  # before the log is read: what it wrote last counts
            return text in self.log or ended

        wait_until(said_or_ended, f"said {text!r}")
        assert text in self.log, f"ended with {self.popen.returncode}:\n{self.log}"

    def wait(self) -> int:
        """The exit status, once it has ended by itself; minus the signal if one killed it."""
        try:
            return self.popen.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            pytest.fail(f"the process did not end; its log:\n{self.log}")

    def wait_for_port(self, port: int) -> None:
        """Returns once somebody listens at 127.0.0.1 there; fails the test if it ends before."""

        def listens() -> bool:
            assert self.popen.poll() is None, self.log
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", port)) == 0

        wait_until(listens, "listened")

    def signal(self, number: int) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        """Ends it by force, if it has not ended."""
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()

    def memory(self, what: str = "VmRSS") -> int:
        """Bytes that it has resident; the most it ever had with VmHWM (proc(5))."""
        with open(f"/proc/{self.pid}/status") as status:
            (line,) = (line for line in status if line.startswith(f"{what}:"))
        return int(line.split()[1]) * 1024

    def wait_for_rest(self) -> None:
        """Returns once all its threads sleep, and go on sleeping: it waits for somebody."""
        seen: list[str] = []

        def rests() -> bool:
            states = []
            for task in Path(f"/proc/{self.pid}/task").iterdir():
                lines = (task / "status").read_text().splitlines()
                states += [line for line in lines if line.startswith(("State:", "voluntary"))]
            asleep = all("R (" not in state for state in states)
            seen.append("".join(states) if asleep else f"{len(seen)}")
            return len(seen) > 100 and len({*seen[-100:]}) == 1

        wait_until(rests, "came to rest")

    def open_fds(self) -> set[str]:
        """Its descriptors' numbers, from /proc."""
        return set(os.listdir(f"/proc/{self.pid}/fd"))

    def positions(self, path: Path) -> set[int]:
        """Where its open descriptors of a file stand. One that is sent by sendfile(2) stays."""
        found = set()
        for fd in self.open_fds():
            with suppress(FileNotFoundError):  # closed meanwhile
                if os.readlink(f"/proc/{self.pid}/fd/{fd}") == str(path):
                    text = Path(f"/proc/{self.pid}/fdinfo/{fd}").read_text()
                    found.add(int(text.split()[1]))
        return found


class Server(Process):
    """A process that serves one app at one or more addresses; address is the first of them."""

    def __init__(
        self,
        app: str,
        addresses: list[Address],
        directory: Path,
        settings: dict[str, object],
        limits: dict[str, float],
        env: dict[str, str] | None = None,
        statics: dict[str, dict[str, object]] | None = None,
    ) -> None:
        with ExitStack() as stack:
            sockets = [stack.enter_context(listening_socket(address)) for address in addresses]
            self.addresses: list[Address] = [
                address if isinstance(address, str) else sock.getsockname()[:2]
                for address, sock in zip(addresses, sockets)
            ]
            fds = tuple(sock.fileno() for sock in sockets)
            argv = [sys.executable, str(HERE / "serve.py"), app, ",".join(map(str, fds))]
            argv += [f"{key}={json.dumps(value)}" for key, value in settings.items()]
            argv += [f"limits.{key}={value}" for key, value in limits.items()]
            argv += [f"static.{key}={json.dumps(value)}" for key, value in (statics or {}).items()]
            super().__init__(argv, directory, env=env, pass_fds=fds)

    @property
    def address(self) -> Address:
        return self.addresses[0]

    @property
    def port(self) -> int:
        assert not isinstance(self.address, str)
        return self.address[1]

    @property
    def url(self) -> str:
        """http://127.0.0.1:PORT, without a path."""
        assert not isinstance(self.address, str)
        host, port = self.address
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    def connect(self, listener: int = 0, **kwargs: object) -> Client:
        """A new connection to one of its addresses; other arguments are those of Client."""
        return Client(self.addresses[listener], **kwargs)  # type: ignore[arg-type]

    def stop(self) -> int:
        """SIGTERM, which drains; returns the exit status."""
        if self.popen.poll() is None:
            self.signal(signal.SIGTERM)
        return self.wait()


@contextmanager
def serving(
    app: str,
    directory: Path,
    *,
    address: Address = ("127.0.0.1", 0),
    more: tuple[Address, ...] = (),
    tracebacks: int = 0,
    status: int = 0,
    limits: dict[str, float] | None = None,
    env: dict[str, str] | None = None,
    statics: dict[str, dict[str, object]] | None = None,
    **settings: object,
) -> Iterator[Server]:
    """Serves app ("module:name") at address and more for as long as the block runs, then checks
    that the server is still well: it must end with status, having logged that many tracebacks.
    limits are those of server.set_limits(), statics the arguments of server.static() by prefix,
    settings those of its other setters, a list for several; env is added to the environment."""
    server = Server(app, [address, *more], directory, settings, limits or {}, env, statics)
    try:
        yield server
        ended = server.stop()
    finally:
        server.kill()
    assert ended == status, f"the server ended with {ended}; its log:\n{server.log}"
    logged = count_tracebacks(server.log)
    assert logged == tracebacks, f"{logged} tracebacks, not {tracebacks}:\n{server.log}"


def environ_of(client: Client, data: bytes) -> dict[str, Any]:
    """Sends raw bytes to apps.environ and returns the environ that they led to."""
    client.send(data)
    response = client.read_response()
    assert response.status == 200, response
    result: dict[str, Any] = json.loads(response.body)
    return result
