"""What else there is to a WSGI server: one request and the next, one run and the next, and
where docs/wsgi.md says that it is held."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

from harness import HERE, Process, Server, wait_until
from rawclient import Client, request

Serve = Callable[..., Server]
DOCUMENT = (HERE.parents[1] / "docs" / "wsgi.md").read_text(encoding="utf-8")


# ---- one request and the next


def test_a_context_variable_does_not_outlive_its_request(serve: Serve) -> None:
    with serve("apps.context:app").connect() as client:
        for number in range(5):
            assert client.get(f"/{number}").body == b"nothing"
            assert client.get(f"/{number}", method="POST", body=b"x").body == b"nothing"
            client.send(request("/pipelined") * 3)
            assert [client.read_response().body for _ in range(3)] == [b"nothing"] * 3


def test_a_child_process_inherits_no_descriptor_of_the_server(serve: Serve) -> None:
    server = serve("apps.children:app")
    with server.connect() as other, server.connect() as client:
        other.send(b"GET")  # a connection with a request under way, not only an idle one
        assert client.get().body.split() == [b"0", b"1", b"2", b"3"]  # 3 is the directory it lists


# ---- running it


RUN_TWICE = """
import sys
from meinheld import server

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    if environ["PATH_INFO"] == "/stop":
        server.shutdown()
    return [b"ok"]

for path in sys.argv[1:]:
    server.listen(path)
    server.run(app)
    print("ended", flush=True)
"""


def test_the_server_runs_again_after_a_shutdown(
    spawn: Callable[..., Process], tmp_path: Path, unix_path: str
) -> None:
    script = tmp_path / "twice.py"
    script.write_text(RUN_TWICE)
    paths = [f"{unix_path}1", f"{unix_path}2"]
    process = spawn([sys.executable, str(script), *paths])
    for path in paths:
        client = connect_when_there(process, path)
        with client:
            assert client.get("/").body == b"ok"
            client.send(request("/stop"))
            assert client.read_response().body == b"ok"
            client.expect_close()
    assert process.wait() == 0
    assert process.out == "ended\nended\n"
    assert process.log == ""


def connect_when_there(process: Process, path: str) -> Client:
    """A connection to a unix socket that process is about to make."""
    clients: list[Client] = []

    def connected() -> bool:
        assert process.popen.poll() is None, process.log
        try:
            clients.append(Client(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
        return True

    wait_until(connected, f"listened at {path}")
    return clients[0]


# ---- docs/wsgi.md


def test_every_test_that_the_document_names_is_there() -> None:
    named = re.findall(r"\b(test_\w+\.py)(?:::(\w+))?", DOCUMENT)
    assert len(named) > 80
    sources = {
        file: (HERE / file).read_text(encoding="utf-8") for file in {file for file, _ in named}
    }
    assert [
        f"{file}::{test}" for file, test in named if test and f"\ndef {test}(" not in sources[file]
    ] == []


def test_every_requirement_of_the_document_names_what_holds_it() -> None:
    rows = re.findall(r"^\| (.*) \| (.*)\|$", DOCUMENT.partition("## Decisions")[0], re.MULTILINE)
    held = [(what, by) for what, by in rows if not what.startswith("a server")]
    assert len(held) > 40
    for what, by in held:
        assert (
            "::test_" in by or by.startswith("both checkers") or what.startswith("calls `close()`")
        )
