"""The original's names and what they mean, each in a few lines as its users had them. What is
behind them is tested in depth where it is at home."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable

import meinheld
import pytest
from harness import Process, Server, wait_until
from meinheld import _sse, server
from rawclient import Client, request

Serve = Callable[..., Server]
NAMES = "apps.names:app"


def said(server: Server, path: str) -> object:
    with server.connect() as client:
        return json.loads(client.get(path).body)


# ---- the module


def test_import_meinheld_has_all_of_server_the_version_and_events() -> None:
    assert set(meinheld.__all__) == {"__version__", *server.__all__, *_sse.__all__}
    for name in server.__all__:
        assert getattr(meinheld, name) is getattr(server, name), name
    assert meinheld.__version__ == "2.0.0"


def test_what_server_defines_for_others_is_in_its_list() -> None:
    for name, value in vars(server).items():
        if not name.startswith("_") and getattr(value, "__module__", "") == server.__name__:
            assert name in server.__all__


# ---- the server

SERVED = """
import sys
from meinheld import server

class Log:
    def access(self, environ):
        print("access", environ["STATUS_CODE"], environ["SEND_BYTES"], environ["REQUEST_TIME"] >= 0,
              bool(environ["LOCAL_TIME"]), flush=True)
    def error(self, type, value, traceback):
        print("error", type.__name__, value, bool(traceback), flush=True)

def app(environ, start_response):
    if environ["PATH_INFO"] == "/fail":
        raise LookupError("failed")
    start_response("200 OK", [("Content-Length", "5")])
    if environ["PATH_INFO"] == "/shutdown":
        server.{stop}(timeout=1)
    return [b"hello"]

server.set_access_logger(Log())
server.set_error_logger(Log())
server.set_keepalive(0)
server.set_max_content_length(10)
server.set_client_body_buffer_size(5)
server.set_backlog(7)
server.set_picoev_max_fd(16)
print(server.get_keepalive(), server.get_max_content_length(), server.get_client_body_buffer_size(),
      server.get_backlog(), server.get_picoev_max_fd())
for run in range(2):
    server.listen(sys.argv[1])
    print("listens", flush=True)
    server.run(app, silent=True)
    print("ran", flush=True)
"""


@pytest.mark.parametrize("stop", ["shutdown", "stop"])
def test_listen_run_shutdown_stop_the_setters_and_the_loggers(
    spawn: Callable[..., Process], unix_path: str, stop: str
) -> None:
    process = spawn([sys.executable, "-c", SERVED.replace("{stop}", stop), unix_path])

    def get(path: str, body: bytes | None = None) -> int:
        with Client(unix_path) as client:
            response = client.get(path, method="POST" if body else "GET", body=body)
            assert response.closes  # set_keepalive(0)
            return response.status

    for run in range(2):
        wait_until(lambda run=run: process.out.count("listens\n") == run + 1, "listened")  # type: ignore[misc]
        assert get("/") == 200
        assert get("/", b"x" * 10) == 200
        assert get("/", b"x" * 11) == 413
        assert get("/fail") == 500
        if run == 0:
            assert get("/shutdown") == 200
            wait_until(lambda: "ran" in process.out, "ran")
    process.signal(signal.SIGINT)  # silent
    assert process.wait() == 0, process.log
    lines = process.out.splitlines()
    assert lines[0] == "0 10 5 7 16"
    assert lines.count("ran") == 2
    assert lines.count("access 200 5 True True") == 5
    assert lines.count("error LookupError failed True") == 2


def test_set_listen_socket_adopts_a_descriptor(
    run_example: Callable[..., tuple[Process, tuple[str, int]]],
) -> None:
    _, address = run_example("existing_socket.py")
    with Client(address) as client:
        assert client.get("/").status == 200


# ---- in a request


def test_schedule_call_returns_a_timer(serve: Serve) -> None:
    assert said(serve(NAMES), "/schedule-call") == [[[[1], {"two": 2}]], True, False]


def test_spawn_and_sleep(serve: Serve) -> None:
    assert said(serve(NAMES), "/spawn") == [[1, 2]]


def test_trampoline_cancel_wait_and_timeout(serve: Serve) -> None:
    assert said(serve(NAMES), "/trampoline") == [True, "x"]


def test_get_ident_is_the_current_greenlet(serve: Serve) -> None:
    assert said(serve(NAMES), "/get-ident") is True


def test_the_continuation_of_the_readme(serve: Serve) -> None:
    """Its loop resumes all that ever waited, those that have ended too."""
    server = serve(NAMES)
    with server.connect() as client:
        for turn in range(1, 4):
            client.send(request("/readme?wait"))
            told = [*[False] * (turn - 1), True]
            wait_until(lambda told=told: said(server, "/readme") == told, "told")  # type: ignore[misc]
            assert json.loads(client.read_response().body) == []


def test_the_middleware_and_its_keys(serve: Serve) -> None:
    keys = ["meinheld.continuation", "meinheld.client"]
    assert said(serve(NAMES), "/middlewares") == [*keys, True]


def test_the_client_object(serve: Serve) -> None:
    assert said(serve(NAMES), "/client") == [True, True, "kept"]
