"""Requests that wait for sockets, for names, for several descriptors, or asleep: all is patched."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import select
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from typing import Any

from greenlet import greenlet
from meinheld import msocket, patch, server

from apps import App, by_path
from apps.databases import told

patch.patch_all()

Query = dict[str, str]


def peer(query: Query) -> Any:
    """A connection to who listens for the test."""
    return socket.create_connection(("127.0.0.1", int(query["port"])), timeout=60)


def line(query: Query) -> object:
    """Says something to the peer, and tells which line it answers."""
    with peer(query) as sock:
        sock.sendall(b"hello\n")
        with sock.makefile("rb") as file:
            return file.readline().decode()


def large(query: Query) -> object:
    """Sends more than the peer's kernel takes."""
    with peer(query) as sock:
        sock.sendall(bytes(int(query["size"])))
        return sock.recv(10).decode()


def tls(query: Query) -> object:
    """The same as line, and then as large, in TLS."""
    context = ssl.create_default_context(cafile=query["ca"])
    with peer(query) as sock, context.wrap_socket(sock, server_hostname="localhost") as wrapped:
        wrapped.sendall(b"hello\n")
        first = wrapped.makefile("rb").readline().decode()
        wrapped.sendall(bytes(int(query["size"])))
        last = wrapped.recv(10).decode()
        wrapped.unwrap().close()
        return [first, last, isinstance(wrapped, ssl.SSLSocket)]


def failure(function: Callable[..., object], *args: object) -> list[str]:
    """The name of the exception that it raises, and its text."""
    try:
        return ["nothing", repr(function(*args))]
    except OSError as exc:
        return [type(exc).__name__, str(exc)]


def timeouts(query: Query) -> object:
    """How each call says that its time is over: the peer neither takes nor gives."""
    with peer(query) as sock:
        sock.settimeout(0.05)
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        listener = socket.create_server(("127.0.0.1", 0))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        with left, right, listener:
            for other in (left, listener):
                other.settimeout(0.05)
            return [
                failure(sock.recv, 1),
                failure(sock.recv_into, bytearray(1)),
                failure(sock.recvmsg, 1),
                failure(left.recvfrom, 1),
                failure(left.recvfrom_into, bytearray(1)),
                failure(left.recvmsg_into, [bytearray(1)]),
                failure(listener.accept),
                failure(sock.sendall, bytes(1 << 26)),
                failure(sock.makefile("rb").read, 1),
                failure(context.wrap_socket, sock),
            ]


open_sockets: dict[str, Any] = {}


def receive(query: Query) -> object:
    """Waits in a socket that /close closes."""
    with peer(query) as sock:
        open_sockets["it"] = sock
        sock.sendall(b"hello\n")
        return failure(sock.recv, 1)


def close(query: Query) -> object:
    sock = open_sockets.pop("it")
    if "thread" in query:
        thread = threading.Thread(target=sock.close)
        thread.start()
        thread.join()
    else:
        sock.close()
    return sock.fileno()


def echo(query: Query) -> object:
    """Begins a task that accepts connections, each of which has a task that says what it hears."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(sock: Any) -> None:
        with sock:
            while data := sock.recv(100):
                sock.sendall(data)

    def serve() -> None:
        with listener:
            for _ in range(int(query["count"])):
                server.spawn(talk, (listener.accept()[0],))

    server.spawn(serve)
    return listener.getsockname()[1]


looked_up = threading.Event()


def look_up(query: Query) -> object:
    """A name that takes until /found to be found."""
    real = msocket._getaddrinfo

    def slow(*args: Any) -> Any:
        if not looked_up.wait(60):
            raise socket.gaierror(socket.EAI_AGAIN, "never found")
        return real("127.0.0.1", *args[1:])

    msocket._getaddrinfo = slow  # type: ignore[misc, assignment]
    with socket.create_connection(("a.name", int(query["port"]))) as sock:
        return sock.getpeername()[0]


def found(query: Query) -> object:
    looked_up.set()
    return "found"


def selected(query: Query) -> object:
    with peer(query) as sock, peer(query) as silent:
        sock.sendall(b"hello\n")
        readable, writable, _ = select.select([silent, sock], [], [silent], 60)
        late = select.select([silent], [], [], 0.01)
        return [readable == [sock], writable, late]


def polled(query: Query) -> object:
    with peer(query) as sock, peer(query) as silent, open("/dev/null") as file:
        sock.sendall(b"hello\n")
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        poll.register(silent, select.POLLIN)
        found = poll.poll(60_000)
        poll.unregister(sock)
        late = poll.poll(10)
        poll.register(file, select.POLLIN)
        return [found == [(sock.fileno(), select.POLLIN)], late, len(poll.poll())]


begun: list[str] = []


def run(query: Query) -> object:
    """A program, whose output is waited for in a selector."""
    begun.append("run")
    done = subprocess.run(["cat", query["fifo"]], capture_output=True, text=True, check=True)
    return done.stdout


def sleep(query: Query) -> object:
    """Until /awake, which never comes unless others are served."""
    begun.append("sleep")
    while "awake" not in begun:
        time.sleep(0.001)
    return "slept"


def awake(query: Query) -> object:
    begun.append("awake")
    return begun


def in_asyncio(query: Query) -> object:
    """Waits in asyncio's loop, which is the thread's: nobody may come between."""

    async def wait() -> str:
        with peer(query) as sock:
            sock.sendall(b"hello\n")
            return sock.recv(100).decode()  # type: ignore[no-any-return]

    return asyncio.run(wait())


def in_greenlet(query: Query) -> object:
    return greenlet(line).switch(query)


def in_child(query: Query) -> object:
    """Has a forked child talk to the peer, and then a process that is sent the socket."""
    child = os.fork()
    if not child:
        status = 1
        try:
            status = 0 if line(query) == "hello yourself\n" else 2
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    ours, theirs = multiprocessing.Pipe()
    with peer(query) as sock, ours, theirs:
        ours.send(sock)
        with theirs.recv() as copy:
            copy.sendall(b"hello\n")
            return [status, type(copy) is type(sock), copy.recv(100).decode()]


app: App = by_path(
    {
        "/" + function.__name__.replace("_", "-"): told(function)
        for function in (
            awake,
            close,
            echo,
            found,
            in_asyncio,
            in_child,
            in_greenlet,
            large,
            line,
            look_up,
            polled,
            receive,
            run,
            selected,
            sleep,
            timeouts,
            tls,
        )
    }
)
