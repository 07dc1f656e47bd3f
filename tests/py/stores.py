"""A Redis and a MariaDB of the tests' own, of Debian's packages. Both are reached by the path of a
unix socket, and need no password."""

from __future__ import annotations

import shutil
import signal
import tempfile
from pathlib import Path

from harness import Process, tool, wait_until
from privilege import as_user


class Store:
    """A server that runs until stop(); path is that of its socket."""

    path: str
    _directory: Path
    _process: Process

    def stop(self) -> None:
        self._process.signal(signal.SIGTERM)
        assert self._process.wait() == 0, self._process.log
        shutil.rmtree(self._directory)


class Redis(Store):
    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="mh-redis-"))
        self.path = str(self._directory / "socket")
        options = ["--port", "0", "--unixsocket", self.path, "--save", ""]
        self._process = Process([tool("redis-server"), *options], self._directory)
        wait_until(lambda: "The server is now ready" in self._process.out, "ready")


class MariaDB(Store):
    """Who connects as root is taken for that."""

    def __init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="mh-maria-"))
        self.path = str(self._directory / "socket")
        data = f"--datadir={self._directory / 'data'}"
        user = as_user("mysql", self._directory)
        install = [tool("mariadb-install-db"), "--no-defaults", data, "--skip-test-db"]
        made = Process([*user, *install], self._directory / "install")
        assert made.wait() == 0, made.log
        options = ["--no-defaults", data, f"--socket={self.path}", "--skip-networking"]
        self._process = Process(
            [*user, tool("mariadbd"), *options, "--skip-grant-tables"], self._directory / "server"
        )
        self._process.wait_for_log("ready for connections")
