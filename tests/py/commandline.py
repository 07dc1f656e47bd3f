"""The command line as its tests run it: real processes, and what they say."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from harness import HERE, Process

MEINHELD = [sys.executable, "-m", "meinheld"]
SERVES = re.compile(r"http://(\S+):(\d+) ")
HELLO = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Length", "5")])
    return [b"hello"]
"""
# Reads the request's body, so that a client which holds that back has an open request.
READS = HELLO.replace("    start", "    environ['wsgi.input'].read()\n    start")


def served_port(process: Process) -> int:
    """The port that the process says it serves on."""
    process.wait_for_log("stop with Ctrl-C\n")
    match = SERVES.search(process.log)
    assert match, process.log
    return int(match[2])


def refusal(
    argv: list[str], cwd: Path, status: int = 1, *, env: dict[str, str] | None = None
) -> str:
    """Runs a command that must exit with status and say why in one line; returns the line."""
    done = subprocess.run(
        argv, cwd=cwd, env=env, capture_output=True, text=True, timeout=30, check=False
    )
    assert (done.returncode, done.stdout) == (status, ""), done
    assert done.stderr.startswith("meinheld: ") and done.stderr.endswith("\n"), done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def without(module: str) -> list[str]:
    """The command, where a module is not installed."""
    code = f"import sys; sys.modules[{module!r}] = None; from meinheld._cli import main"
    return [sys.executable, "-c", f"{code}; sys.exit(main())"]


def activated(fds: list[int], command: list[str]) -> list[str]:
    """The command as systemd runs it that hands it these descriptors, which are to be passed."""
    return [sys.executable, str(HERE / "activated.py"), ",".join(map(str, fds)), *command]
