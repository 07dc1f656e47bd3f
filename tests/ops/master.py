"""A gunicorn master with workers of meinheld, as a process of its own, and the virtual environments
of the releases that it may be of."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import venv
from contextlib import suppress
from pathlib import Path

import meinheld
from harness import Process, wait_until
from rawclient import Address, Client

HERE = Path(__file__).resolve().parent
BINDING = Path(meinheld.__file__).resolve().parents[1]
ENVIRONMENTS = HERE.parents[1] / ".build" / "gunicorn"

# The last of each line that is in use, and 23.0, which distributions have frozen.
VERSIONS = ("23.0.0", "25.3.0", "26.2.0", "27.0.1")
OLDEST, NEWEST = VERSIONS[0], VERSIONS[-1]

WORKER = "meinheld.gmeinheld.MeinheldWorker"

# Besides gunicorn; PyPy brings them along.
NEEDS = ["cffi >= 1.17", "greenlet >= 3.1"] if sys.implementation.name == "cpython" else []


def environment(version: str) -> Path:
    """The directory of a virtual environment with that gunicorn, made once for all sessions of an
    interpreter."""
    directory = ENVIRONMENTS / f"{version}-{sys.implementation.cache_tag}"
    directory.parent.mkdir(parents=True, exist_ok=True)
    done = directory / "done"
    with open(f"{directory}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pytest's other processes want it too
        if not done.exists():
            venv.create(directory, clear=True, with_pip=True)
            pip = [str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet"]
            pip += ["--disable-pip-version-check", "--no-input", f"gunicorn == {version}", *NEEDS]
            subprocess.run(pip, check=True)
            done.touch()
    return directory


def sockets_of(pid: int) -> set[str]:
    """The sockets that a process has open, by their names in /proc."""
    found = set()
    for fd in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            found.add(os.readlink(fd))
    return {name for name in found if name.startswith("socket:")}


def children_of(pid: int) -> list[int]:
    """The processes that a process has begun, the oldest first."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [*map(int, children)]


def takes_signals(pid: int) -> bool:
    """Whether a process has a handler of SIGABRT, which a worker sets last, and a master never."""
    with suppress(FileNotFoundError, ProcessLookupError):
        found = re.search(r"^SigCgt:\t(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.M)
        return found is not None and int(found[1], 16) >> (signal.SIGABRT - 1) & 1 == 1
    return True  # it has gone


class Master(Process):
    """A master, listening at a port of the kernel's choice, or where bind says."""

    def __init__(
        self,
        version: str,
        app: str,
        directory: Path,
        *arguments: str,
        config: str = "",
        bind: tuple[str, ...] = ("127.0.0.1:0",),
        worker: str = WORKER,
        env: dict[str, str] | None = None,
        cwd: Path | None = None,
        path: Path | None = None,
    ) -> None:
        """arguments: of gunicorn's command line; config: the text of its configuration file; path:
        a directory more in which modules are looked for."""
        directory.mkdir(parents=True, exist_ok=True)
        file = directory / "gunicorn.conf.py"
        # What is at one path for all masters of a user.
        lines = "" if version == OLDEST else "control_socket_disable = True\n"
        file.write_text(lines + config)
        argv = [str(environment(version) / "bin" / "gunicorn"), "-c", str(file), "-k", worker]
        for each in bind:
            argv += ["-b", each]
        modules = [str(path)] if path else []
        modules += [str(BINDING), str(HERE / "apps")]
        super().__init__(
            [*argv, *arguments, app],
            directory,
            env={"PYTHONPATH": os.pathsep.join(modules), "GUNICORN_CMD_ARGS": "", **(env or {})},
            cwd=cwd or directory,
        )
        self.version = version

    @property
    def address(self) -> Address:
        """Of its first TCP socket, once it listens."""
        self.wait_for_log("Listening at: ")
        match = re.search(r"http://([0-9.]+):(\d+)", self.log)
        assert match, self.log
        return match[1], int(match[2])

    def connect(self) -> Client:
        """A new connection to it."""
        return Client(self.address)

    def get(self, target: str, **kwargs: object) -> bytes:
        """The body of the answer on a connection of its own, which has to be a 200."""
        with self.connect() as client:
            response = client.get(target, **kwargs)
        assert response.status == 200, (response, self.log)
        return response.body

    def workers(self) -> list[int]:
        """The pids of its workers that are there, the oldest first. One counts when it takes
        signals, for until then its master's are meant, and lost."""
        return [pid for pid in children_of(self.pid) if takes_signals(pid)]

    def shares_sockets(self, worker: int) -> bool:
        """Whether a worker of its has sockets in common with it, which are those that listen."""
        return bool(sockets_of(self.pid) & sockets_of(worker))

    def wait_for_workers(self, count: int, *, without: tuple[int, ...] = ()) -> list[int]:
        """Returns the pids of its workers when they are so many, and none of those."""
        found: list[int] = []

        def there() -> bool:
            found[:] = self.workers()
            return len(found) == count and not {*found} & {*without}

        wait_until(there, f"had {count} workers")
        return found

    def end(self, number: int, status: int = 0) -> None:
        """Sends the signal, by which it has to end with that status."""
        wait_until(
            lambda: all(map(takes_signals, children_of(self.pid))), "had workers that can end"
        )
        self.signal(number)
        assert self.wait() == status, self.log
