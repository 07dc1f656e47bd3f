"""Where the command line listens: at sockets that others have opened, systemd among them."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from commandline import MEINHELD, activated, refusal, served_port
from harness import Process, listening_socket
from rawclient import Address, Client

Spawn = Callable[..., Process]

# Says what it, and so what it starts, has of what it was handed.
TELLS = """
import json, os
def app(environ, start_response):
    start_response("200 OK", [])
    mine = {key: value for key, value in os.environ.items() if key.startswith(("LISTEN_", "_MEIN"))}
    heirs = [fd for fd in map(int, os.listdir("/proc/self/fd"))
             if fd > 2 and os.path.exists(f"/proc/self/fd/{fd}") and os.get_inheritable(fd)]
    return [json.dumps([mine, heirs]).encode()]
"""


def address_of(sock: socket.socket) -> Address:
    address: Address = sock.getsockname()
    return address if isinstance(address, str) else address[:2]


def get(address: Address) -> bytes:
    with Client(address) as client:
        return client.get().body


def stop(process: Process) -> None:
    process.signal(signal.SIGTERM)
    assert process.wait() == 0, process.log


def test_a_descriptor_that_listens_is_served(spawn: Spawn, folder: Path) -> None:
    with listening_socket(("127.0.0.1", 0)) as sock:
        fd = sock.fileno()
        process = spawn([*MEINHELD, "site_app", "--bind", f"fd://{fd}"], cwd=folder, pass_fds=(fd,))
        assert served_port(process) == sock.getsockname()[1]
        assert get(address_of(sock)) == b"hello"
        stop(process)


def test_sockets_of_systemd_are_served_where_no_bind_is_said(
    spawn: Spawn, folder: Path, unix_path: str
) -> None:
    with listening_socket(("127.0.0.1", 0)) as tcp, listening_socket(unix_path) as unix:
        fds = [tcp.fileno(), unix.fileno()]
        argv = activated(fds, [*MEINHELD, "site_app"])
        process = spawn(argv, cwd=folder, pass_fds=tuple(fds))
        process.wait_for_log(f", unix:{unix_path} - stop with Ctrl-C")
        assert get(address_of(tcp)) == get(unix_path) == b"hello"
        stop(process)
        assert os.path.exists(unix_path)  # it is systemd's


def test_sockets_of_systemd_are_served_beside_others(spawn: Spawn, folder: Path) -> None:
    with listening_socket(("::1", 0)) as handed:
        binds = ["--bind", "127.0.0.1:0", "--bind", "fd://systemd"]
        argv = activated([handed.fileno()], [*MEINHELD, "site_app", *binds])
        process = spawn(argv, cwd=folder, pass_fds=(handed.fileno(),))
        served_port(process)
        ours = re.search(r"http://127\.0\.0\.1:(\d+), ", process.log)
        assert ours, process.log
        assert get(("127.0.0.1", int(ours[1]))) == get(address_of(handed)) == b"hello"
        assert f"http://[::1]:{handed.getsockname()[1]} - " in process.log
        stop(process)


def test_with_a_bind_of_ones_own_systemds_are_left_alone(
    spawn: Spawn, folder: Path, tmp_path: Path
) -> None:
    with listening_socket(("127.0.0.1", 0)) as handed:
        argv = activated([handed.fileno()], [*MEINHELD, "site_app"])
        env = {"MEINHELD_BIND": "127.0.0.1:0"}
        process = spawn(argv, cwd=folder, pass_fds=(handed.fileno(),), env=env)
        assert get(("127.0.0.1", served_port(process))) == b"hello"
        assert str(handed.getsockname()[1]) not in process.log
        inode = f"socket:[{os.fstat(handed.fileno()).st_ino}]"
        fds = [f"/proc/{process.pid}/fd/{fd}" for fd in process.open_fds()]
        assert inode not in map(os.readlink, fds)
        stop(process)


def test_nothing_of_what_was_handed_over_is_passed_on(spawn: Spawn, folder: Path) -> None:
    (folder / "tells.py").write_text(TELLS)
    with listening_socket(("127.0.0.1", 0)) as handed:
        argv = activated([handed.fileno()], [*MEINHELD, "tells"])
        process = spawn(argv, cwd=folder, pass_fds=(handed.fileno(),))
        served_port(process)
        assert json.loads(get(address_of(handed))) == [{}, []]
        stop(process)


def test_sockets_for_another_process_are_not_ours(folder: Path) -> None:
    env = {**os.environ, "LISTEN_FDS": "1", "LISTEN_PID": "1"}
    line = refusal([*MEINHELD, "site_app", "--bind", "fd://systemd"], folder, env=env)
    assert "cannot listen on fd://systemd: LISTEN_FDS has none for this process" in line


@pytest.mark.parametrize("count", ["x", "-1", "\u0661", "99999", ""])
def test_a_number_of_sockets_that_is_none_is_one_line(folder: Path, count: str) -> None:
    # The process's own number is only known inside.
    code = "import os, sys; os.environ['LISTEN_PID'] = str(os.getpid())"
    argv = [MEINHELD[0], "-c", f"{code}; from meinheld._cli import main; sys.exit(main())"]
    env = {**os.environ, "LISTEN_FDS": count}
    line = refusal([*argv, "site_app"], folder, env=env)
    assert line == f"meinheld: LISTEN_FDS {count!r}: not a number of descriptors\n"


@pytest.mark.parametrize(
    ("bind", "reason"),
    [
        ("fd://999", "cannot listen on fd://999: descriptor 999: Bad file descriptor"),
        ("fd://0", "cannot listen on fd://0: descriptor 0: Socket operation on non-socket"),
    ],
)
def test_a_descriptor_that_is_no_socket_is_one_line(folder: Path, bind: str, reason: str) -> None:
    line = refusal(
        ["sh", "-c", 'exec "$@" </dev/null', "sh", *MEINHELD, "site_app", "--bind", bind], folder
    )
    assert reason in line


def test_the_file_of_a_unix_socket_goes_with_the_server(
    spawn: Spawn, folder: Path, unix_path: str
) -> None:
    process = spawn([*MEINHELD, "site_app", "--bind", f"unix:{unix_path}"], cwd=folder)
    process.wait_for_log("stop with Ctrl-C")
    assert get(unix_path) == b"hello"
    stop(process)
    assert not os.path.exists(unix_path)


def test_an_address_that_is_said_twice_is_opened_once(spawn: Spawn, folder: Path) -> None:
    process = spawn([*MEINHELD, "site_app", "--bind", "[::1]:0,[::1]:0"], cwd=folder)
    served_port(process)
    assert process.log.count("http://") == 1
    stop(process)
