"""PEP 3333, as wsgiref.validate reads it and beyond: pieces, close, wsgi.errors, run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import Process, Server, wait_until
from rawclient import Client, request

Serve = Callable[..., Server]


# ---- under wsgiref.validate


def test_the_validator_finds_nothing_in_environ(serve: Serve) -> None:
    with serve("apps.environ:validated").connect() as client:
        for target in ("/", "/a%20b?c=d", "//x"):
            assert client.get(target).status == 200


def test_the_validator_finds_nothing_in_reading_a_body(serve: Serve) -> None:
    with serve("apps.bodies:validated").connect() as client:
        fields = [("Content-Type", "text/plain")]
        for size in (0, 1, 100, 101, 100_000):
            assert client.get(method="POST", fields=fields, body=b"x" * size).body == b"x" * size


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/one-piece", b"one piece"),
        ("/pieces", b"several pieces"),
        ("/generated", b"piece 0\npiece 1\npiece 2\n"),
        ("/nothing", b""),
        ("/nothing-generated", b""),
        ("/tuple", b"ab"),
        ("/written", b"written and returned"),
    ],
)
def test_the_validator_finds_nothing_in_a_response(serve: Serve, target: str, body: bytes) -> None:
    server = serve("apps.responses:validated")
    with server.connect() as client:
        for _ in range(2):
            assert client.get(target).body == body
        assert client.get(target, method="HEAD").status == 200
    server.stop()
    assert server.log == ""  # the validator complains of an iterator that was not closed


# ---- pieces as they come


@pytest.mark.parametrize("target", ["/gated", "/written-gated"])
def test_a_piece_is_sent_before_the_app_is_asked_for_the_next(
    serve: Serve, target: str, tmp_path: Path
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with serve("apps.responses:app").connect() as client:
        client.send(request(f"{target}?{fifo}"))
        head = client.read_head()
        assert head.get("Transfer-Encoding") == "chunked"
        # The app waits in the FIFO now; a server that held the piece back would never be read here.
        assert client.read_some(11) == b"6\r\nbefore\r\n"
        fifo.write_bytes(b"go on")
        assert client.read_some(15) == b"5\r\nafter\r\n0\r\n\r\n"


# ---- close


def test_close_is_called_once_when_all_is_sent(serve: Serve) -> None:
    server = serve("apps.responses:app")
    with server.connect() as client:
        assert client.get("/closing").body == b"ab"
        server.wait_for_log("closed 1 times")
        client.get("/closing", method="HEAD")
    server.stop()
    assert server.log == "closed 1 times\n" * 2


def test_close_is_called_when_the_client_leaves_in_the_middle(serve: Serve) -> None:
    server = serve("apps.responses:app")
    with server.connect() as client:
        client.send(request("/closing-large"))
        client.read_some(100_000)
    server.wait_for_log("closed 1 times")
    server.stop()
    assert server.log == "closed 1 times\n"


def test_a_generator_is_closed_when_the_client_leaves_in_the_middle(serve: Serve) -> None:
    server = serve("apps.responses:app")
    with server.connect() as client:
        client.send(request("/endless"))
        client.read_some(100_000)
    server.wait_for_log("endless ended")


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
