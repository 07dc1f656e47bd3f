"""wsgi.errors: a text stream that takes whatever an application has to say, wherever sys.stderr is,
and if there is none (PEP 3333, "Input and Error Streams")."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import HERE, Process, Server
from rawclient import Client

Serve = Callable[..., Server]
APP = "apps.errors:app"


def test_what_is_written_to_it_is_in_the_log(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        assert client.get("/logs").body == b"logged"
    server.stop()
    assert server.log == "to wsgi.errors, caf\xe9 \u2713\nline 1\nline 2\nprinted\n"


def test_a_line_is_written_when_it_ends(serve: Serve) -> None:
    server = serve(APP)
    with server.connect() as client:
        client.get("/logs-a-line")
        assert server.log == "a line\n"  # what follows it is still unwritten, or not


@pytest.mark.parametrize("what", ["bytes", "none", "int"])
def test_it_takes_text_and_nothing_else(serve: Serve, what: str) -> None:
    server = serve(APP, tracebacks=1)
    with server.connect() as client:
        assert client.get(f"/logs-wrongly?{what}").status == 500
    server.wait_for_log("wsgi.errors takes str")


def run(
    spawn: Callable[..., Process], unix_path: str, prelude: str, env: dict[str, str]
) -> Process:
    """A server of the app at unix_path, with a prelude that spoils stderr."""
    script = (
        "import io, os, sys\n"
        f"sys.path.insert(0, {str(HERE)!r})\n"
        "from apps.errors import app\n"
        "from meinheld import server\n"
        f"server.listen({unix_path!r})\n"
        "print('listens', flush=True)\n"
        f"{prelude}\n"
        "server.run(app)\n"
        "sys.stderr = None\n"  # or the interpreter fails to flush it
    )
    return spawn([sys.executable, "-c", script], env=env)


def logged(process: Process, unix_path: str) -> None:
    """The app has logged what it has to say, three times, and is none the worse for it."""
    from harness import wait_until

    wait_until(lambda: process.popen.poll() is not None or process.out, "listened")
    with Client(unix_path) as client:
        for _ in range(3):
            assert client.get("/logs").body == b"logged"
    process.popen.terminate()
    assert process.wait() == 0, process.log


@pytest.mark.parametrize(
    "prelude",
    [
        "sys.stderr = None",
        "sys.stderr.close()",
        "sys.stderr = sys.__stderr__ = None",
        "os.close(2)",
        "sys.stderr = object()",
        "sys.stderr = open('/dev/full', 'w')",
    ],
)
def test_without_a_place_to_write_to_nothing_is_written_and_nothing_fails(
    spawn: Callable[..., Process], unix_path: str, prelude: str
) -> None:
    process = run(spawn, unix_path, prelude, {})
    logged(process, unix_path)


def test_characters_that_stderr_has_not_are_escaped(
    spawn: Callable[..., Process], unix_path: str, tmp_path: Path
) -> None:
    path = tmp_path / "ascii"
    process = run(spawn, unix_path, f"sys.stderr = open({str(path)!r}, 'w', encoding='ascii')", {})
    logged(process, unix_path)
    assert path.read_text() == "to wsgi.errors, caf\\xe9 \\u2713\nline 1\nline 2\nprinted\n" * 3


def test_it_writes_where_stderr_is_at_the_moment(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP)
    path = tmp_path / "elsewhere"
    with server.connect() as client:
        client.get("/logs-a-line")
        client.get(f"/replace-stderr?{path}")
        client.get("/logs-a-line")
        assert path.read_text() == "a line\n"
    server.stop()
    assert os.linesep.join(server.log.splitlines()) == "a line"
