"""meinheld --workers: the command line, whose processes gunicorn's arbiter manages."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from harness import Process, wait_until
from master import BINDING, HERE, children_of, environment, takes_signals
from rawclient import Client

Spawn = Callable[..., Process]


def command(version: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
    """What runs the command line with that gunicorn at hand, and its environment."""
    python = environment(version) / "bin" / "python"
    path = os.pathsep.join((str(BINDING), str(HERE / "apps")))
    return [str(python), "-m", "meinheld", *arguments], {"PYTHONPATH": path}


def start(spawn: Spawn, version: str, *arguments: str) -> tuple[Process, int]:
    """Two workers of an application, which take signals, and their port."""
    fixed = ("site_app:app", "--workers", "2", "--bind", "127.0.0.1:0")
    argv, env = command(version, *fixed, *arguments)
    process = spawn(argv, env=env)
    process.wait_for_log("Listening at: ")
    match = re.search(r"http://127\.0\.0\.1:(\d+)", process.log)
    assert match, process.log

    def have_begun() -> bool:
        return len(children_of(process.pid)) == 2 and all(
            map(takes_signals, children_of(process.pid))
        )

    wait_until(have_begun, "had two workers")
    return process, int(match[1])


def get(port: int, target: str, **kwargs: object) -> bytes:
    with Client(("127.0.0.1", port)) as client:
        response = client.get(target, **kwargs)
    assert response.status == 200, response
    return response.body


def test_workers_serve_until_sigterm(spawn: Spawn, version: str) -> None:
    process, port = start(spawn, version, "--threads", "2")
    assert int(get(port, "/pid")) in children_of(process.pid)
    assert json.loads(get(port, "/flags"))["wsgi.multithread"] is True
    process.signal(signal.SIGTERM)
    assert process.wait() == 0
    assert "Traceback" not in process.log


def test_what_gunicorn_has_no_setting_for_holds_in_its_workers(
    spawn: Spawn, version: str, tmp_path: Path
) -> None:
    (tmp_path / "page.txt").write_text("a page")
    process, port = start(
        spawn, version, "--static", f"/files={tmp_path}", "--max-body", "10", "--max-suspended", "1"
    )
    assert get(port, "/files/page.txt") == b"a page"
    with Client(("127.0.0.1", port)) as client:
        assert client.get("/body", method="POST", body=b"x" * 11).status == 413
    process.signal(signal.SIGTERM)
    assert process.wait() == 0


def test_proxies_that_are_trusted_are_those_of_the_command_line(spawn: Spawn, version: str) -> None:
    fields = [("X-Forwarded-Proto", "https")]
    for trusted, scheme in (("127.0.0.1", "https"), ("10.0.0.1", "http")):
        process, port = start(spawn, version, "--forwarded-allow-ips", trusted)
        environ = json.loads(get(port, "/environ", fields=fields))
        assert environ["wsgi.url_scheme"] == scheme
        process.signal(signal.SIGTERM)
        assert process.wait() == 0


def test_an_app_that_can_not_be_imported_ends_it_with_gunicorns_status(version: str) -> None:
    argv, env = command(version, "nowhere:app", "--workers", "1", "--bind", "127.0.0.1:0")
    done = subprocess.run(
        argv, env={**os.environ, **env}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "cannot import 'nowhere': there is no module 'nowhere'" in done.stderr
