"""A PostgreSQL of the tests' own, of Debian's packages."""

from __future__ import annotations

import glob
import shutil
import signal
import tempfile
from pathlib import Path

from harness import Process, tool, wait_until
from privilege import as_user

_BIN = "/usr/lib/postgresql/*/bin"  # where Debian has what is not for everybody's PATH


def _program(name: str) -> str:
    found = sorted(glob.glob(f"{_BIN}/{name}"), key=lambda path: int(path.split("/")[4]))
    return found[-1] if found else tool(name)


class Postgres:
    """One that is reached by a unix socket in directory alone, and trusts all. It refuses to run as
    root, so it runs as postgres then. End it by stop()."""

    def __init__(self) -> None:
        initdb, server = _program("initdb"), _program("postgres")
        self.directory = Path(tempfile.mkdtemp(prefix="mh-pg-"))
        data = self.directory / "data"
        user = as_user("postgres", self.directory)
        initialise = Process(
            [*user, initdb, "-D", str(data), "-U", "postgres", "-A", "trust", "--no-sync"],
            self.directory / "initdb",
            cwd=self.directory,
        )
        assert initialise.wait() == 0, initialise.log
        settings = [
            f"unix_socket_directories={self.directory}",
            "listen_addresses=",
            "fsync=off",
            "max_connections=220",
        ]
        options = [word for setting in settings for word in ("-c", setting)]
        self._process = Process(
            [*user, server, "-D", str(data), *options],
            self.directory / "postgres",
            cwd=self.directory,
        )
        self._process.wait_for_log("ready to accept connections")
        # What libpq takes in place of arguments.
        self.environment = {
            "PGHOST": str(self.directory),
            "PGUSER": "postgres",
            "PGDATABASE": "postgres",
        }

    @property
    def dsn(self) -> str:
        """How libpq connects to it."""
        return f"host={self.directory} user=postgres dbname=postgres"

    def stop(self) -> None:
        """Ends it, and takes all away."""
        self._process.signal(signal.SIGINT)  # fast: clients are cut off
        wait_until(lambda: self._process.popen.poll() is not None, "ended")
        assert self._process.wait() == 0, self._process.log
        shutil.rmtree(self.directory)
