"""Proxies of Debian's packages, HAProxy and nginx, that hand connections on with a PROXY header."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness import Process, tool, wait_until

_STREAM_MODULE = "/usr/lib/nginx/modules/ngx_stream_module.so"

_HAPROXY = """
defaults
    mode {mode}
    timeout connect 20s
    timeout client 20s
    timeout server 20s
    {defaults}
listen proxy
    bind {host}:{port}
    server backend 127.0.0.1:{backend} {server}
"""

_NGINX = """
load_module {module};
daemon off;
master_process off;
pid {directory}/pid;
error_log stderr;
events {{}}
stream {{
    server {{
        listen {host}:{port} reuseport;
        proxy_protocol on;
        proxy_pass 127.0.0.1:{backend};
    }}
}}
"""


@contextmanager
def reserved_port(host: str) -> Iterator[int]:
    """A port that nobody else gets, for a proxy that listens on it with SO_REUSEPORT."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((host, 0))  # and does not listen, so it gets no connection
        yield sock.getsockname()[1]


@contextmanager
def _running(argv: list[str], directory: Path, address: tuple[str, int]) -> Iterator[Process]:
    proxy = Process(argv, directory)

    def listens() -> bool:
        assert proxy.popen.poll() is None, proxy.log
        with suppress(ConnectionRefusedError), socket.create_connection(address):
            return True
        return False

    try:
        wait_until(listens, f"listened: {proxy.log}")
        yield proxy
    finally:
        proxy.kill()


@contextmanager
def haproxy(
    directory: Path,
    backend: int,
    server: str,
    *,
    host: str = "127.0.0.1",
    mode: str = "tcp",
    defaults: str = "",
) -> Iterator[tuple[str, int]]:
    """HAProxy before the port backend, with these options of its server line; the address at which
    it listens."""
    with reserved_port(host) as port:
        directory.mkdir()
        config = directory / "haproxy.cfg"
        config.write_text(_HAPROXY.format(**locals()), encoding="ascii")
        argv = [tool("haproxy"), "-db", "-f", str(config)]
        with _running(argv, directory, (host, port)):
            yield host, port


@contextmanager
def nginx(directory: Path, backend: int, *, host: str = "127.0.0.1") -> Iterator[tuple[str, int]]:
    """nginx before the port backend, with proxy_protocol on in its stream module."""
    with reserved_port(host) as port:
        directory.mkdir()
        module = tool(_STREAM_MODULE, os.F_OK)
        config = directory / "nginx.conf"
        named = f"[{host}]" if ":" in host else host
        values = {"host": named, "port": port, "backend": backend, "module": module}
        config.write_text(_NGINX.format(directory=directory, **values), encoding="ascii")
        argv = [tool("nginx"), "-p", str(directory), "-e", "stderr", "-c", str(config)]
        with _running(argv, directory, (host, port)):
            yield host, port
