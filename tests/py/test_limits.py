"""Rows 30 to 33 of docs/http.md from Python: limits are set by name, and what goes beyond them is
answered or cut off, whoever sends it."""

from __future__ import annotations

import http.client
import re
import select
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields

import pytest
from harness import Server, wait_until
from meinheld import server
from meinheld._limits import Limits
from meinheld._native import ffi, lib
from rawclient import Client, request

Serve = Callable[..., Server]

POST = b"POST / HTTP/1.1\r\nHost: a\r\n"


def resident(running: Server) -> int:
    """Bytes of memory that a server has resident (proc(5), VmRSS)."""
    with open(f"/proc/{running.pid}/status") as status:
        (line,) = (line for line in status if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024


# ---- setting them


def test_the_defaults_are_those_of_the_library() -> None:
    options = ffi.new("mhpy_options *")
    lib.mhpy_options_init(options)
    config = Limits().as_config()
    assert config == {name: getattr(options.config, name) for name in config}


def test_the_docstring_tells_each_limit_with_its_default() -> None:
    told = re.findall(r"^ *([a-z_]+)=([0-9]+)\b", server.set_limits.__doc__ or "", re.MULTILINE)
    assert {name: float(value) for name, value in told} == Limits().as_dict()


def test_a_time_that_is_not_0_does_not_become_0() -> None:
    config = Limits(keepalive_timeout=0.0001, rate_grace=0).as_config()
    assert (config["keepalive_timeout"], config["rate_grace"]) == (1, 0)


def test_a_limit_is_set_by_its_name_and_the_others_stay() -> None:
    program = (
        "from meinheld import server\n"
        "before = server.get_limits()\n"
        "server.set_limits(max_head=100, head_timeout=0.25)\n"
        "after = server.get_limits()\n"
        "assert {**before, 'max_head': 100, 'head_timeout': 0.25} == after\n"
        "server.set_keepalive(3)\n"
        "server.set_max_content_length(7)\n"
        "after = server.get_limits()\n"
        "assert (after['keepalive_timeout'], after['max_body']) == (3, 7)\n"
        "server.set_limits(keepalive_timeout=0, max_body=2**40)\n"
        "assert (server.get_keepalive(), server.get_max_content_length()) == (0, 2**40)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("limits", "error", "message"),
    [
        ({"max_heads": 1}, TypeError, "no limit 'max_heads'; the limits are max_connections, "),
        ({"max_head": "1"}, TypeError, "max_head must be an int, not '1'"),
        ({"max_head": 1.5}, TypeError, "max_head must be an int, not 1.5"),
        ({"max_head": True}, TypeError, "max_head must be an int, not True"),
        ({"head_timeout": "1"}, TypeError, "head_timeout must be a number of seconds, not '1'"),
        ({"max_head": 15}, ValueError, "max_head must be from 16 to 268435456, not 15"),
        ({"max_fields": 65536}, ValueError, "max_fields must be from 1 to 65535, not 65536"),
        ({"head_timeout": 0}, ValueError, "head_timeout must be from 0.001 to 4294967.295, not 0"),
        ({"head_timeout": float("nan")}, ValueError, "head_timeout must be from .*, not nan"),
        ({"low_water": 65537}, ValueError, "low_water must be at most high_water, 65536: 65537"),
        ({"high_water": 1}, ValueError, "low_water must be at most high_water, 1: 16384"),
    ],
)
def test_a_limit_that_is_none_is_refused_by_name(
    limits: dict[str, float], error: type[Exception], message: str
) -> None:
    before = server.get_limits()
    with pytest.raises(error, match=message):
        server.set_limits(**limits)
    assert server.get_limits() == before


@pytest.mark.parametrize("end", ["least", "most"])
def test_each_limit_at_either_end_of_its_range_is_taken_by_the_library(end: str) -> None:
    for limit in fields(Limits):
        changes = {limit.name: limit.metadata[end]}
        if limit.name == "high_water":
            changes["low_water"] = 0
        if limit.name == "low_water":
            changes["high_water"] = 2**32 - 1
        options = ffi.new("mhpy_options *")
        lib.mhpy_options_init(options)
        for name, value in Limits().changed(changes).as_config().items():
            setattr(options.config, name, value)
        out = ffi.new("mhpy **")
        assert lib.mhpy_new(out, options) == lib.MH_OK, (limit.name, end)
        lib.mhpy_free(out[0])


# ---- too large (row 30)


def test_the_limits_of_a_head_are_those_that_were_set(serve: Serve) -> None:
    running = serve(
        "apps.hello:app", limits={"max_request_line": 20, "max_head": 100, "max_fields": 2}
    )
    line = "GET /" + 6 * "x" + " HTTP/1.1\r\n"  # 20 bytes without its end
    host = "Host: a\r\n"
    room = 100 - len(line + host + "X: \r\n\r\n")
    for head, status in [
        (line + host, 200),
        (line.replace("/", "/x") + host, 414),
        (line + host + "X: " + room * "x" + "\r\n", 200),
        (line + host + "X: " + (room + 1) * "x" + "\r\n", 431),
        (line + host + "X:\r\nY:\r\n", 431),
    ]:
        with running.connect() as client:
            client.send(f"{head}\r\n".encode())
            assert client.read_response().status == status, head


def test_a_field_line_has_a_limit_of_its_own_if_that_is_set(serve: Serve) -> None:
    with serve("apps.hello:app", limits={"max_field": 20}).connect() as client:
        for size, status in [(20, 200), (21, 431)]:
            line = b"X:" + b" " * 10 + b"x" * (size - 12)
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n%s\r\n\r\n" % line)
            assert client.read_response().status == status
        client.expect_close()


def test_twenty_thousand_fields_are_refused(serve: Serve) -> None:
    with serve("apps.hello:app").connect() as client:
        client.send_if_open(POST + b"X: y\r\n" * 20_000 + b"\r\n")
        assert client.read_response().status == 431
        client.expect_close()


def test_twenty_thousand_fields_are_served_where_they_are_allowed(serve: Serve) -> None:
    running = serve("apps.hello:app", limits={"max_fields": 20_001, "max_head": 1 << 20})
    with running.connect() as client:
        for _ in range(2):
            client.send(b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 20_000 + b"\r\n")
            assert client.read_response().status == 200


def test_a_head_of_100_mib_is_refused_and_takes_no_memory(serve: Serve) -> None:
    running = serve("apps.hello:app")
    with running.connect() as client:
        assert client.get().status == 200  # so that all that is loaded lazily has been
    before = resident(running)
    with running.connect(timeout=30) as client:
        client.send(POST + b"X: ")
        for _ in range(100):  # 64 of them are drained, then the connection is cut
            client.send_if_open(b"x" * (1 << 20))
        assert client.read_response().status == 431
    assert resident(running) - before < 4 << 20


def test_a_chunk_of_nothing_but_extension_is_refused(serve: Serve) -> None:
    with serve("apps.hello:app").connect() as client:
        client.send(POST + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * 4096)
        assert client.read_response().status == 400
        client.expect_close()


@pytest.mark.parametrize(
    ("head", "limits", "status"),
    [
        (b"Content-Length: 10485760\r\n\r\n", {"max_body": 1000}, 413),
        (b"Content-Length: 0xa00000\r\n\r\n", {}, 400),
        (b"X: ", {}, 431),
    ],
)
def test_a_client_that_is_still_sending_10_mib_reads_why_it_was_refused(
    serve: Serve, head: bytes, limits: dict[str, float], status: int
) -> None:
    with serve("apps.hello:app", limits=limits).connect() as client:
        client.send(POST + head)
        client.send(b"x" * (10 << 20))  # all of it, before anything is read; a reset would raise
        assert client.read_response().status == status
        client.expect_close()


def test_a_library_that_uploads_before_it_reads_gets_its_413(serve: Serve) -> None:
    running = serve("apps.bodies:app", limits={"max_body": 1 << 20})
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=20)
    connection.request("POST", "/read", body=b"x" * (10 << 20))
    assert connection.getresponse().status == 413
    connection.close()


# ---- too slow (row 31)


def trickle_until_told(client: Client, data: bytes) -> None:
    """Sends byte after byte, each when the server has read the one before, until it answers or the
    data is used up."""
    poll = select.poll()
    poll.register(client.socket, select.POLLIN)
    for number in range(len(data)):
        if poll.poll(20):
            return
        client.send_separately(data[number : number + 1])


def test_a_head_that_trickles_gets_408_at_its_deadline(serve: Serve, unix_path: str) -> None:
    running = serve("apps.hello:app", address=unix_path, limits={"head_timeout": 0.3})
    with running.connect() as client:
        trickle_until_told(client, b"GET / HTTP/1.1\r\nX: " + b"x" * 10_000)
        response = client.read_response()
        assert (response.status, response.closes) == (408, True)
        client.expect_close()


def test_a_body_that_stops_is_given_up(serve: Serve) -> None:
    running = serve("apps.bodies:app", limits={"body_timeout": 0.2})
    with running.connect() as client:
        client.send(POST.replace(b"/ ", b"/read ") + b"Content-Length: 10\r\n\r\nhello")
        assert client.read_to_abort() == b""


def test_a_body_that_trickles_below_the_rate_is_given_up(serve: Serve, unix_path: str) -> None:
    limits = {"min_rate": 100_000, "rate_window": 0.2, "rate_grace": 0.1}
    running = serve("apps.bodies:app", address=unix_path, limits=limits)
    with running.connect() as client:
        client.send(POST.replace(b"/ ", b"/read ") + b"Content-Length: 100000\r\n\r\n")
        trickle_until_told(client, b"x" * 100_000)
        assert client.read_to_abort() == b""


def test_a_client_that_never_reads_is_given_up(serve: Serve) -> None:
    running = serve("apps.responses:app", limits={"write_timeout": 0.3})
    with running.connect(receive_buffer=4096) as greedy, running.connect() as quick:
        assert greedy.get("/one-piece").status == quick.get("/one-piece").status == 200
        fds = len(running.open_fds())
        greedy.send(request("/large"))
        assert quick.get("/one-piece").body == b"one piece"
        wait_until(lambda: len(running.open_fds()) == fds - 1, "closed the connection")
        assert quick.get("/one-piece").body == b"one piece"


def test_an_idle_connection_is_closed_silently_when_its_time_is_over(serve: Serve) -> None:
    running = serve("apps.hello:app", limits={"keepalive_timeout": 0.2})
    with running.connect() as client:
        assert client.get().status == 200
        client.expect_close()


# ---- for too long (the lingering close)


@pytest.mark.parametrize(
    ("limits", "more"),
    [
        ({"linger_timeout": 0.2}, b""),
        ({"linger_timeout": 60, "linger_time": 0.3}, b"x"),
        ({"linger_timeout": 60, "linger_max": 1000}, b"x" * 1001),
    ],
)
def test_a_refused_client_that_stays_is_drained_within_the_limits_that_were_set(
    serve: Serve, limits: dict[str, float], more: bytes
) -> None:
    running = serve("apps.hello:app", limits=limits)
    with running.connect() as other, running.connect() as client:
        assert other.get().status == client.get().status == 200
        fds = len(running.open_fds())
        client.send(b"NONSENSE\n")
        assert client.read_response().status == 400
        client.send(more)
        wait_until(lambda: len(running.open_fds()) == fds - 1, "closed the connection")
        assert other.get().status == 200


# ---- too many (rows 30, 33)


def test_connections_above_the_cap_wait_until_others_go(serve: Serve) -> None:
    running = serve("apps.hello:app", limits={"max_connections": 2})
    with running.connect() as one, running.connect() as two:
        assert one.get().status == two.get().status == 200
        with running.connect() as three:
            three.send(request())
            assert one.get().status == 200
            three.expect_nothing_buffered()
            two.close()
            assert three.read_response().status == 200


def test_a_thousand_pipelined_requests_are_answered_within_tight_limits(serve: Serve) -> None:
    running = serve("apps.report:app", limits={"high_water": 1000, "low_water": 100})
    with running.connect() as client:
        client.send(b"".join(request(f"/{number}") for number in range(1000)))
        for number in range(1000):
            assert client.read_response().body == f"GET /{number} test ".encode()
