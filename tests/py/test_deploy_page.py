"""docs/deploy.md: the files that it shows are taken by those whom they are for, and serve."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from commandline import MEINHELD
from harness import HERE, Process, listening_socket, tool
from rawclient import Client

PAGE = HERE.parent.parent / "docs" / "deploy.md"
BLOCK = re.compile(r"^```\w+\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILES = dict(BLOCK.findall(PAGE.read_text()))

Spawn = Callable[..., Process]

UNITS = "/etc/systemd/system"
NGINX = "/etc/nginx/conf.d/shop.conf"
HAPROXY = "/etc/haproxy/haproxy.cfg"


def changed(text: str, *changes: tuple[str, str]) -> str:
    """text with what is another's on this machine; each change has to be there."""
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


def free_port() -> int:
    with listening_socket(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
    return port


def test_the_page_shows_these_files() -> None:
    assert list(FILES) == [
        f"{UNITS}/shop.socket",
        f"{UNITS}/shop.service",
        NGINX,
        HAPROXY,
        "Dockerfile",
    ]


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    verify = [tool("systemd-analyze"), "verify", "--man=no"]
    paths = []
    for name in ("shop.socket", "shop.service"):
        text = FILES[f"{UNITS}/{name}"]
        if name == "shop.service":
            text = changed(text, ("/srv/shop/venv/bin/meinheld", "/bin/true"))
        paths.append(tmp_path / name)
        paths[-1].write_text(text)
    done = subprocess.run(
        [*verify, *map(str, paths)], capture_output=True, text=True, timeout=50, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def site(spawn: Spawn, folder: Path) -> Callable[..., Process]:
    """Serves an application that says its Host, at an address; with more arguments."""
    (folder / "shop.py").write_text(
        "def app(environ, start_response):\n"
        "    start_response('200 OK', [])\n"
        "    return [environ['HTTP_HOST'].encode()]\n"
    )

    def start(bind: str, *arguments: str) -> Process:
        process = spawn([*MEINHELD, "shop:app", "--bind", bind, *arguments], cwd=folder)
        process.wait_for_log("stop with Ctrl-C")
        return process

    return start


def ask(process: Process, port: int) -> bytes:
    """What is answered at that port, once a proxy listens there."""

    process.wait_for_port(port)
    with Client(("127.0.0.1", port)) as client:
        first = client.get(host="shop.example")
        second = client.get(host="shop.example")
    assert first.status == second.status == 200
    assert first.body == second.body
    return first.body


def test_nginx_serves_with_its_file(
    spawn: Spawn, site: Callable[..., Process], tmp_path: Path, unix_path: str
) -> None:
    nginx = tool("nginx")
    port = free_port()
    shop = changed(FILES[NGINX], ("/run/shop/http", unix_path), ("80", f"127.0.0.1:{port}"))
    temporary = "".join(
        f"{kind}_temp_path {tmp_path};\n"
        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = tmp_path / "nginx.conf"
    config.write_text(
        f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr;\n"
        f"events {{}}\nhttp {{ access_log off;\n{temporary}{shop}}}\n"
    )
    site(f"unix:{unix_path}")
    process = spawn([nginx, "-p", str(tmp_path), "-c", str(config)])
    assert ask(process, port) == b"shop.example"
    process.signal(signal.SIGTERM)
    assert process.wait() == 0


def test_haproxy_takes_its_file_and_serves_with_it(
    spawn: Spawn, site: Callable[..., Process], tmp_path: Path
) -> None:
    haproxy = tool("haproxy")
    text = FILES[HAPROXY]
    config = tmp_path / "haproxy.cfg"
    config.write_text(text)
    done = subprocess.run(
        [haproxy, "-c", "-f", str(config)], capture_output=True, text=True, timeout=50, check=False
    )
    assert done.returncode == 0, done.stderr
    flags = re.search(r"^with `(--proxy-protocol [^`]*)`", PAGE.read_text(), re.MULTILINE)
    assert flags
    process = site("127.0.0.1:0", *flags[1].split())
    match = re.search(r":(\d+) -", process.log)
    assert match
    port = free_port()
    ours = ("127.0.0.1:8000", f"127.0.0.1:{match[1]}")
    config.write_text(changed(text, ("bind :80", f"bind 127.0.0.1:{port}"), ours))
    proxy = spawn([haproxy, "-db", "-f", str(config)])
    assert ask(proxy, port) == b"shop.example"
    proxy.signal(signal.SIGTERM)
    proxy.wait()


def test_the_container_s_command_and_variables_are_ours() -> None:
    from meinheld._configuration import configure, flag_parser

    text = FILES["Dockerfile"]
    variables = dict(re.findall(r"(MEINHELD_\w+)=(\S+)", text))
    command = re.search(r'^CMD \["meinheld", "(\S+)"\]$', text, re.MULTILINE)
    assert command
    settings = configure(flag_parser("1").parse_args([command[1]]), variables)
    assert set(settings.origins) == {"app", "bind", "graceful_timeout", "access_log"}
