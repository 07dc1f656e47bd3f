"""--reload: a change of a Python file, and the process begins anew with the sockets it has."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from commandline import MEINHELD, refusal, served_port, without
from harness import Process, wait_until
from rawclient import Client

pytest.importorskip("watchfiles", reason="watchfiles is not installed")

Spawn = Callable[..., Process]
Start = Callable[..., Process]

# Longer by each version, as Python takes a file of the same length and second for the same.
APP = """
import os
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", str(len(BODY)))])
    return [BODY]
BODY = {body}
"""


@pytest.fixture
def site(folder: Path) -> Path:
    """The file of an application that says "first"."""
    path = folder / "site_app.py"
    path.write_text(APP.format(body=b"first"))
    return path


@pytest.fixture
def start(spawn: Spawn, folder: Path) -> Start:
    """Serves it, with more arguments."""

    def start(*arguments: str, **options: object) -> Process:
        bind = [] if "--bind" in arguments else ["--bind", "127.0.0.1:0"]
        return spawn([*MEINHELD, "site_app", "--reload", *bind, *arguments], cwd=folder, **options)

    return start


def wait_for_starts(process: Process, count: int) -> None:
    wait_until(lambda: process.log.count("stop with Ctrl-C\n") >= count, f"started {count} times")


def stop(process: Process) -> None:
    process.signal(signal.SIGTERM)
    assert process.wait() == 0, process.log


def test_a_change_is_served_by_the_same_process_at_the_same_port(start: Start, site: Path) -> None:
    process = start()
    port = served_port(process)
    with Client(("127.0.0.1", port)) as client:
        assert client.get().body == b"first"
    for number, body in enumerate([b"the second", b"the third one"], 2):
        site.write_text(APP.format(body=body))
        wait_for_starts(process, number)
        with Client(("127.0.0.1", port)) as client:
            assert client.get().body == body
    assert process.log.count("meinheld: site_app.py has changed: starting anew\n") == 2
    assert len({*re.findall(r"127\.0\.0\.1:\d+", process.log)}) == 1
    stop(process)


def test_what_is_open_is_answered_before_a_restart(start: Start, site: Path) -> None:
    text = APP.replace("    start_response", "    environ['wsgi.input'].read()\n    start_response")
    site.write_text(text.format(body=b"first"))
    process = start()
    port = served_port(process)
    with Client(("127.0.0.1", port)) as client:
        client.send(
            b"POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n"
        )
        assert client.read_head().status == 100
        site.write_text(APP.format(body=b"the second"))
        # Not before that can the drain have begun, and so it has to wait.
        client.send(b"body")
        assert client.read_response().body == b"first"
    wait_for_starts(process, 2)
    stop(process)


def test_a_syntax_error_is_told_and_waited_out_while_clients_wait(start: Start, site: Path) -> None:
    process = start()
    port = served_port(process)
    site.write_text("x = 1\ndef app(:\n")
    process.wait_for_log("meinheld: cannot import 'site_app': SyntaxError: ")
    assert f"({site}:2); waiting for a change\n" in process.log
    with Client(("127.0.0.1", port)) as client:
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        site.write_text(APP.format(body=b"mended"))
        assert client.read_response().body == b"mended"
    stop(process)


def test_a_module_that_is_wrong_from_the_start_is_waited_out(start: Start, site: Path) -> None:
    site.write_text("import nothing_of_that_name\n")
    process = start()
    process.wait_for_log("ModuleNotFoundError")
    site.write_text(APP.format(body=b"mended"))
    with Client(("127.0.0.1", served_port(process))) as client:
        assert client.get().body == b"mended"
    stop(process)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_a_change_is_waited_for_signals_end_it(
    start: Start, site: Path, unix_path: str, number: int
) -> None:
    site.write_text("def app(:\n")
    process = start("--bind", f"unix:{unix_path}")
    process.wait_for_log("waiting for a change\n")
    process.signal(number)
    assert process.wait() == 0
    assert not os.path.exists(unix_path)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_while_the_application_is_imported_signals_end_it(
    start: Start, site: Path, number: int
) -> None:
    site.write_text("import time\nprint('imports', flush=True)\ntime.sleep(60)\n")
    process = start()
    wait_until(lambda: "imports" in process.out, "imported")
    process.signal(number)
    assert process.wait() == -number
    assert process.log == ""


def test_the_file_of_a_unix_socket_stays_until_the_end(
    start: Start, site: Path, unix_path: str
) -> None:
    process = start("--bind", f"unix:{unix_path}")
    wait_for_starts(process, 1)
    file = os.stat(unix_path).st_ino
    site.write_text(APP.format(body=b"the second"))
    wait_for_starts(process, 2)
    assert os.stat(unix_path).st_ino == file
    with Client(unix_path) as client:
        assert client.get().body == b"the second"
    stop(process)
    assert not os.path.exists(unix_path)


def test_what_the_application_did_to_the_process_is_undone(
    start: Start, site: Path, folder: Path
) -> None:
    changes = "os.environ['OURS'] = 'changed'; os.chdir('/')"
    site.write_text(APP.format(body="os.environ['OURS'].encode()") + changes)
    process = start("--reload-dir", str(folder), env={"OURS": "as it was"})
    port = served_port(process)
    for number in (2, 3):
        site.write_text(site.read_text() + "\n")
        wait_for_starts(process, number)
        with Client(("127.0.0.1", port)) as client:
            assert client.get().body == b"as it was"
    stop(process)


def test_no_descriptor_is_left_behind_by_restarts(start: Start, site: Path) -> None:
    process = start("--access-log", "log")
    served_port(process)
    fds = process.open_fds()
    for number in (2, 3, 4):
        site.write_text(site.read_text() + "\n")
        wait_for_starts(process, number)
    assert process.open_fds() == fds
    stop(process)


def test_other_files_than_pythons_change_nothing(start: Start, site: Path, folder: Path) -> None:
    process = start()
    port = served_port(process)
    (folder / "notes.txt").write_text("x")
    site.write_text(APP.format(body=b"the second"))
    wait_for_starts(process, 2)
    assert "notes.txt" not in process.log
    with Client(("127.0.0.1", port)) as client:
        assert client.get().body == b"the second"
    stop(process)


def test_a_directory_that_is_not_there_is_one_line(folder: Path) -> None:
    line = refusal([*MEINHELD, "site_app", "--reload", "--reload-dir", "nowhere"], folder)
    assert line == "meinheld: --reload-dir 'nowhere': not a directory\n"


def test_without_watchfiles_it_is_one_line(folder: Path) -> None:
    assert refusal([*without("watchfiles"), "site_app", "--reload"], folder) == (
        "meinheld: --reload takes watchfiles, which is not installed: "
        "pip install 'meinheld[reload]'\n"
    )
