"""meinheld.server as Python code calls it: listen in its forms, the settings, the error logger."""

from __future__ import annotations

import os
import socket
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from harness import Process, wait_until
from meinheld import _running, _sockets, server
from rawclient import Client

SETTINGS = {
    "keepalive": (5, 0.5),
    "max_content_length": (16 * 1024 * 1024, 2**40),
    "client_body_buffer_size": (1024 * 1024, 2**33),
    "backlog": (1024, 10),
    "picoev_max_fd": (1024, 5000),
    "stream_request_body": (False, True),
}

# Ends itself after one request; what it prints first is what the test asked for.
PROGRAM = """
import socket, sys
from meinheld import server

def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    server.shutdown()
    return [b"ok"]

{body}
print("run", flush=True)
server.run(app)
print("ended", flush=True)
"""


@pytest.fixture
def program(spawn: Callable[..., Process], tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    """program(lines) runs PROGRAM with these lines in it, up to where it is about to serve."""

    def start(body: str) -> Process:
        script = tmp_path / "program.py"
        script.write_text(PROGRAM.format(body=body))
        process = spawn([sys.executable, str(script)])

        def about_to_run() -> bool:
            assert process.popen.poll() is None, process.log
            return "run\n" in process.out

        wait_until(about_to_run, "came to run()")
        return process

    yield start


def end_by_request(process: Process, address: tuple[str, int] | str) -> None:
    with Client(address) as client:
        assert client.get().body == b"ok"
    assert process.wait() == 0, process.log
    assert process.out.endswith("ended\n")
    assert process.log == ""


def accepts(port: int) -> bool:
    """Whether something listens there."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_setting_has_its_default_and_can_be_set(name: str) -> None:
    default, other = SETTINGS[name]
    setter, getter = getattr(server, f"set_{name}"), getattr(server, f"get_{name}")
    assert getter() == default
    try:
        setter(other)
        assert getter() == other
    finally:
        setter(default)


@pytest.mark.parametrize("value", ["1", None, -1, 1j])
@pytest.mark.parametrize("name", sorted(SETTINGS))
def test_a_setting_refuses_what_is_no_number_of_its_kind(name: str, value: object) -> None:
    with pytest.raises((TypeError, ValueError), match=name):
        getattr(server, f"set_{name}")(value)
    assert getattr(server, f"get_{name}")() == SETTINGS[name][0]


def test_listen_returns_the_port_that_the_kernel_chose(
    program: Callable[[str], Process],
) -> None:
    process = program('print(server.listen(("127.0.0.1", 0)))')
    end_by_request(process, ("127.0.0.1", int(process.out.split()[0])))


def test_connections_that_come_before_run_send_without_delay() -> None:
    (listener,) = _sockets.listen(("127.0.0.1", 0), 5)
    with ExitStack() as stack:
        stack.callback(listener.close)
        stack.enter_context(socket.create_connection(("127.0.0.1", listener.port)))
        sock = stack.enter_context(socket.socket(fileno=os.dup(listener.fileno())))
        accepted = stack.enter_context(sock.accept()[0])
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_listen_may_be_called_several_times(
    program: Callable[[str], Process], unix_path: str
) -> None:
    process = program(
        'print(server.listen(("127.0.0.1", 0)), server.listen(("::1", 0)))\n'
        f"server.listen({unix_path!r})"
    )
    ports = process.out.split()
    with Client(("::1", int(ports[1]))), Client(("127.0.0.1", int(ports[0]))):
        pass
    end_by_request(process, unix_path)


def test_listen_takes_a_path_as_str_or_bytes_and_removes_it_at_the_end(
    program: Callable[[str], Process], unix_path: str
) -> None:
    for path in (unix_path, os.fsencode(unix_path)):
        process = program(f"server.listen({path!r})")
        mode = os.stat(unix_path).st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) & 0o002 == 0, "not for everybody to write by default"
        end_by_request(process, unix_path)
        assert not os.path.exists(unix_path)


def test_a_stale_unix_socket_is_replaced_and_another_file_is_not(
    program: Callable[[str], Process], unix_path: str
) -> None:
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(unix_path)
    end_by_request(program(f"server.listen({unix_path!r})"), unix_path)
    Path(unix_path).write_text("precious")
    with pytest.raises(OSError, match="in use"):
        server.listen(unix_path)
    assert Path(unix_path).read_text() == "precious"


def test_a_unix_socket_that_has_taken_the_place_of_ours_is_left_alone(
    program: Callable[[str], Process], unix_path: str
) -> None:
    process = program(f"server.listen({unix_path!r})")
    with Client(unix_path) as client:
        os.rename(unix_path, f"{unix_path}.old")
        with socket.socket(socket.AF_UNIX) as successor:
            successor.bind(unix_path)
            assert client.get().body == b"ok"
            assert process.wait() == 0, process.log
            assert Path(unix_path).is_socket()


def test_a_live_unix_socket_with_a_full_backlog_is_in_use(unix_path: str) -> None:
    with ExitStack() as stack:
        live = stack.enter_context(socket.socket(socket.AF_UNIX))
        live.bind(unix_path)
        live.listen(0)
        for _ in range(3):
            client = stack.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect(unix_path)
        with pytest.raises(OSError, match="in use"):
            server.listen(unix_path)
        assert Path(unix_path).is_socket()


def test_listen_adopts_a_descriptor_or_several(
    program: Callable[[str], Process], unix_path: str
) -> None:
    for form in ("one.fileno()", "[one.fileno()]"):
        for call in ("server.listen(socket_fd={})", "server.set_listen_socket({})"):
            Path(unix_path).unlink(missing_ok=True)
            process = program(
                "one = socket.socket(socket.AF_UNIX)\n"
                f"one.bind({unix_path!r})\none.listen()\n" + call.format(form)
            )
            end_by_request(process, unix_path)
            assert os.path.exists(unix_path), "what was adopted is not the server's to remove"


@pytest.mark.parametrize("blocking", [True, False])
def test_adopting_changes_nothing_for_others_that_share_the_socket(blocking: bool) -> None:
    """One that another process waits in accept() for must not become blocking under it."""
    with socket.create_server(("127.0.0.1", 0)) as shared:
        shared.setblocking(blocking)
        (listener,) = _sockets.adopt(shared.fileno())
        assert os.get_blocking(shared.fileno()) is blocking
        assert listener.name == shared.getsockname()
        assert not os.get_inheritable(listener.fileno())
        listener.close()


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({}, TypeError),
        ({"address": ("127.0.0.1", 0), "socket_fd": 3}, TypeError),
        ({"address": 8000}, TypeError),
        ({"address": ("127.0.0.1", "80")}, TypeError),
        ({"address": ("127.0.0.1", 65536)}, ValueError),
        ({"address": ("127.0.0.1",)}, TypeError),
        ({"address": ""}, ValueError),
        ({"address": b""}, ValueError),
        ({"address": "a\0b"}, ValueError),
        ({"socket_fd": -1}, (OSError, ValueError)),
        ({"socket_fd": []}, ValueError),
        ({"socket_fd": "3"}, TypeError),
    ],
)
def test_listen_refuses_what_is_no_address(
    arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        server.listen(**arguments)  # type: ignore[arg-type]


def test_an_address_in_use_is_an_os_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
            server.listen(("127.0.0.1", port))


def test_a_host_that_is_not_known_is_named() -> None:
    with pytest.raises(OSError, match=r"256\.0\.0\.1"):
        server.listen(("256.0.0.1", 0))


def test_a_descriptor_that_is_no_socket_is_named_and_left_alone(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        before = os.listdir("/proc/self/fd")
        with pytest.raises(OSError, match=f"descriptor {file.fileno()}"):
            server.listen(socket_fd=file.fileno())
        assert os.listdir("/proc/self/fd") == before


def test_a_run_that_can_not_listen_again_listens_nowhere(program: Callable[[str], Process]) -> None:
    process = program(
        'ports = [server.listen(("127.0.0.1", 0)) for _ in range(2)]\n'
        'client = socket.create_connection(("127.0.0.1", ports[0]))\n'
        'client.sendall(b"GET / HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")\n'
        "server.run(app)\n"
        "client.close()\n"
        'with socket.create_server(("127.0.0.1", ports[1])):\n'
        "    for _ in range(2):\n"
        "        try:\n"
        "            server.run(app)\n"
        "        except OSError as exc:\n"
        "            assert str(ports[1]) in str(exc)\n"
        "        else:\n"
        '            raise AssertionError("ran")\n'
        "print(*ports)"
    )
    for port in process.out.split()[:2]:
        wait_until(lambda port=port: accepts(int(port)), "listened again")  # type: ignore[misc]
    end_by_request(process, ("127.0.0.1", int(port)))


def test_runs_may_begin_and_end_in_several_threads_at_once(
    program: Callable[[str], Process],
) -> None:
    process = program(
        "import threading\n"
        'port = server.listen(("127.0.0.1", 0))\n'
        "failures = []\n"
        "def runs():\n"
        "    try:\n"
        "        for _ in range(50): server.run(app)\n"
        "    except Exception as exc:\n"
        "        failures.append(exc)\n"
        "threads = [threading.Thread(target=runs) for _ in range(3)]\n"
        "for thread in threads: thread.start()\n"
        "while any(thread.is_alive() for thread in threads): server.shutdown()\n"
        "assert not failures, failures\n"
        "print(port)"
    )
    port = int(process.out.split()[0])
    wait_until(lambda: accepts(port), "listened again")
    end_by_request(process, ("127.0.0.1", port))


def test_a_run_without_descriptors_says_so(program: Callable[[str], Process]) -> None:
    process = program(
        "import resource\n"
        "limits = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        'port = server.listen(("127.0.0.1", 0))\n'
        "import wsgiref.util\n"  # which the first run needs
        "with socket.socket() as last:\n"
        "    room = last.fileno()\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (room, limits[1]))\n"
        "try:\n"
        "    server.run(app)\n"
        "except OSError as exc:\n"
        "    assert exc.errno == 24, exc\n"
        "else:\n"
        '    raise AssertionError("ran")\n'
        "resource.setrlimit(resource.RLIMIT_NOFILE, limits)\n"
        "print(port)"
    )
    end_by_request(process, ("127.0.0.1", int(process.out.split()[0])))


def test_run_without_listen_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    # What another test in this process has listened at.
    monkeypatch.setattr(_running, "reopen", [])
    with pytest.raises(RuntimeError, match="listen"):
        server.run(lambda environ, start_response: [])


def test_an_app_that_is_not_callable_is_refused_by_run() -> None:
    with pytest.raises(TypeError, match="callable"):
        server.run(None)  # type: ignore[arg-type]


FAILING_APP = """
def app(environ, start_response):
    if environ["PATH_INFO"] == "/fail":
        raise ValueError("on purpose")
    start_response("200 OK", [("Content-Length", "2")])
    server.shutdown()
    return [b"ok"]
"""

LOGGER = f"""{FAILING_APP}
class Logger:
    def error(self, kind, value, tb):
        print("logged", kind.__name__, value, tb is not None, flush=True)

server.set_error_logger(Logger())
"""

BROKEN_LOGGER = f"""{FAILING_APP}
import logging

def fail(*arguments):
    raise KeyError("in the log")

class Logger:
    error = fail

"""


def test_an_error_logger_is_told_of_an_app_s_exception_in_place_of_stderr(
    program: Callable[[str], Process], unix_path: str
) -> None:
    process = program(LOGGER + f"server.listen({unix_path!r})")
    with Client(unix_path) as client:
        assert client.get("/fail").status == 500
    end_by_request(process, unix_path)
    assert "logged ValueError on purpose True\n" in process.out


@pytest.mark.parametrize(
    "setting",
    [
        "server.set_error_logger(Logger())",
        "logging.getLogger('meinheld.error').addFilter(fail)",
        "logging.getLogger('meinheld.error').addFilter(fail)\nserver.set_error_logger(Logger())",
    ],
)
def test_a_logger_that_raises_is_told_of_on_stderr_and_ends_nothing(
    program: Callable[[str], Process], unix_path: str, setting: str
) -> None:
    process = program(f"{BROKEN_LOGGER}{setting}\nserver.listen({unix_path!r})")
    for path, status in (("/fail", 500), ("/", 200)):
        with Client(unix_path) as client:
            assert client.get(path).status == status
    assert process.wait() == 0
    assert "KeyError: 'in the log'" in process.log


def test_no_error_logger_at_all_is_silence(
    program: Callable[[str], Process], unix_path: str
) -> None:
    body = LOGGER + f"server.set_error_logger(None)\nserver.listen({unix_path!r})"
    process = program(body)
    with Client(unix_path) as client:
        assert client.get("/fail").status == 500
    end_by_request(process, unix_path)
    assert "logged" not in process.out
