"""The access log: one line for each response when it has ended, in each format, whatever clients
send and however it ends; access loggers; and what becomes of a log that can't be written."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from apps.logged import BIG
from harness import Process, Server, wait_until
from rawclient import request

Serve = Callable[..., Server]
LOGGED = "apps.logged:app"

# gunicorn's default, and then the other atoms.
PERCENT = '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s "%(f)s" "%(a)s"'
TIME = r"\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}"
QUOTED = r'"((?:[ !#-\[\]-~]|\\x[0-9a-f]{2}|\\u[0-9a-f]{4})*)"'
COMBINED = re.compile(rf"(\S+) - (\S+) \[({TIME})\] {QUOTED} (\d{{3}}) (\d+|-) {QUOTED} {QUOTED}\Z")


def unescape(text: str) -> str:
    """The characters, each of them a byte, that a quoted value stands for."""
    return re.sub(r"\\x([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text)


class Log:
    """A file that a server writes to, and what its lines say, whatever their format."""

    def __init__(self, path: Path, format: str) -> None:
        self.path = path
        self.format = format

    @property
    def lines(self) -> list[str]:
        """The whole lines so far; a reader may see a part of a write."""
        text = self.path.read_bytes().decode("ascii") if self.path.exists() else ""
        return text.split("\n")[:-1]

    def entries(self) -> list[dict[str, Any]]:
        return list(map(self.parse, self.lines))

    def wait_for(self, count: int) -> list[dict[str, Any]]:
        """The entries, once there are so many; never more."""
        wait_until(lambda: len(self.lines) >= count, f"logged {count} lines")
        entries = self.entries()
        assert len(entries) == count, entries
        return entries

    def parse(self, line: str) -> dict[str, Any]:
        if self.format == "json":
            entry = json.loads(line)
            parts = (entry["method"], entry["target"], entry["protocol"])
            entry["line"] = entry.get("line") or " ".join(filter(None, parts))
            return {key: value for key, value in entry.items() if value is not None}
        match = COMBINED.match(line)
        assert match, line
        values = ("remote_addr", "user", "time", "line", "status", "bytes", "referer", "user_agent")
        entry = {key: unescape(text) for key, text in zip(values, match.groups())}
        entry["status"] = int(entry["status"])
        entry["bytes"] = 0 if entry["bytes"] == "-" else int(entry["bytes"])
        return {key: value for key, value in entry.items() if value != "-"}


@pytest.fixture(params=["combined", "json", PERCENT], ids=["combined", "json", "percent"])
def log(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Log:
    """The log of the servers that are started after this."""
    monkeypatch.setenv("LOG_FILE", str(tmp_path / "access.log"))
    monkeypatch.setenv("LOG_FORMAT", request.param)
    return Log(tmp_path / "access.log", request.param)


def brief(entries: list[dict[str, Any]]) -> list[tuple[str, int, int]]:
    return [(entry.get("line", "-"), entry["status"], entry["bytes"]) for entry in entries]


def logged(server: Server, count: int) -> list[dict[str, Any]]:
    """What the access logger was told, once it was so often."""
    wait_until(lambda: server.out.count("\n") >= count, f"logged {count}")
    return list(map(json.loads, server.out.splitlines()))


# ---- what is logged


def test_each_response_has_one_line_with_the_bytes_of_its_body(serve: Serve, log: Log) -> None:
    server = serve(LOGGED, tracebacks=1)
    with server.connect() as client:
        client.get("/?a=b%20c", fields=[("Referer", "http://r/"), ("User-Agent", "agent/1")])
        client.get("/", method="HEAD")
        client.get("/204")
        client.get("/nowhere")
        client.get("/stream")
        client.get("/upload", method="POST", body=b"0123456789")
        client.get("/boom")
        client.get("/big")
    entries = log.wait_for(8)
    assert brief(entries) == [
        ("GET /?a=b%20c HTTP/1.1", 200, 5),
        ("HEAD / HTTP/1.1", 200, 0),
        ("GET /204 HTTP/1.1", 204, 0),
        ("GET /nowhere HTTP/1.1", 404, 0),
        ("GET /stream HTTP/1.1", 200, len("5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n")),
        ("POST /upload HTTP/1.1", 200, 10),
        ("GET /boom HTTP/1.1", 500, 22),
        ("GET /big HTTP/1.1", 200, BIG),
    ]
    assert {entry["remote_addr"] for entry in entries} == {"127.0.0.1"}
    assert (entries[0]["referer"], entries[0]["user_agent"]) == ("http://r/", "agent/1")
    assert "referer" not in entries[1]


def test_pipelined_requests_are_logged_in_order(serve: Serve, log: Log) -> None:
    server = serve(LOGGED)
    targets = [f"/nowhere/{number}" for number in range(20)]
    with server.connect() as client:
        client.send(b"".join(map(request, targets)))
        for _ in targets:
            client.read_response()
    assert brief(log.wait_for(20)) == [(f"GET {target} HTTP/1.1", 404, 0) for target in targets]


def test_a_peer_on_a_unix_socket_has_no_address(serve: Serve, log: Log, unix_path: str) -> None:
    server = serve(LOGGED, address=unix_path)
    with server.connect() as client:
        client.get()
    (entry,) = log.wait_for(1)
    assert "remote_addr" not in entry


HOSTILE = [
    ('"', '"'),
    ('\\" \\\\ \\x41', "\\"),
    ('" 200 5 "-" "-"', 'a" b'),
    ("\t tabs \t", "\t"),
    ("\x80\xe9\xff latin \xc3\xa9 utf-8 \xf0\x9f\x98\x80", "\xc0\xaf\xed\xa0\x80"),
    ('","status":0,"x":"', "\\u0000\\"),
    ("%s %(h)s %n {x}i", "%"),
]


@pytest.mark.parametrize(("agent", "referer"), HOSTILE)
def test_nothing_that_a_client_sends_leaves_its_place(
    serve: Serve, log: Log, agent: str, referer: str
) -> None:
    server = serve(LOGGED)
    target = "/?\"\\%22\\x22{}|'"
    with server.connect() as client:
        client.get(target, fields=[("User-Agent", agent), ("Referer", referer)])
    (entry,) = log.wait_for(1)
    assert entry["line"] == f"GET {target} HTTP/1.1"
    # White space around a value is none of it (RFC 9110 5.5); an empty one is as none.
    assert entry.get("user_agent", "") == agent.strip(" \t")
    assert entry.get("referer", "") == referer.strip(" \t")


def test_values_of_any_length_make_one_line(serve: Serve, log: Log) -> None:
    server = serve(LOGGED, limits={"max_head": 200000, "max_request_line": 100000})
    with server.connect() as client:
        client.get("/" + "\\" * 90000, fields=[("User-Agent", "\xff" * 50000)])
        client.get("/" + "x" * 8000, fields=[("Referer", "r" * 4000)])
    cut, whole = log.wait_for(2)
    assert len(cut["user_agent"]) < 4096 and cut["user_agent"].endswith("\xff...")
    assert whole["line"] == f"GET /{'x' * 8000} HTTP/1.1"
    assert whole["referer"] == "r" * 4000


def test_requests_that_are_refused_are_logged(serve: Serve, log: Log) -> None:
    server = serve(LOGGED, limits={"head_timeout": 0.2})
    refused = [
        (b"NON\x00\x00SENSE\x1b[31m\r\n\r\n", 400, "NON\x00\x00SENSE\x1b[31m"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "GET / HTTP/1.1"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505, "GET / HTTP/2.0"),
        (b"GET / HT", 408, "GET / HT"),
    ]
    for number, (sent, status, line) in enumerate(refused, 1):
        with server.connect() as client:
            client.send(sent)
            assert client.read_response().status == status
        entry = log.wait_for(number)[-1]
        assert (entry["line"], entry["status"]) == (line, status)
        assert entry["remote_addr"] == "127.0.0.1"
        assert entry["bytes"] > 0


def test_static_files_are_logged(
    serve: Serve, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_STATIC", str(tmp_path))
    monkeypatch.setenv("LOGGER", "printing")
    (tmp_path / "a b.txt").write_text("hello")
    server = serve(LOGGED)
    with server.connect() as client:
        client.get("/static/a%20b.txt?q", fields=[("User-Agent", "agent"), ("Range", "bytes=1-2")])
        client.get("/static/nowhere", method="HEAD")
        client.get("/")
    entries = log.wait_for(3)
    assert brief(entries)[0] == ("GET /static/a%20b.txt?q HTTP/1.1", 206, 2)
    assert brief(entries)[1] == ("HEAD /static/nowhere HTTP/1.1", 404, 0)
    assert (entries[0]["remote_addr"], entries[0]["user_agent"]) == ("127.0.0.1", "agent")
    told = [(entry["PATH_INFO"], entry["STATUS_CODE"]) for entry in logged(server, 3)]
    assert told == [("/static/a b.txt", 206), ("/static/nowhere", 404), ("/", 200)]


def test_a_connection_without_a_request_is_not_logged(serve: Serve, log: Log) -> None:
    server = serve(LOGGED)
    for sent in (b"", b"\r\n", b"GET / HT"):
        with server.connect() as client:
            client.send(sent)
    with server.connect() as client:
        client.get()
    assert brief(log.wait_for(1)) == [("GET / HTTP/1.1", 200, 5)]


# ---- when, and how it ends


def test_a_body_that_is_refused_is_logged(serve: Serve, log: Log) -> None:
    server = serve(LOGGED, limits={"max_body": 10})
    with server.connect() as client:
        client.send(
            b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n"
            + b"x" * 255
        )
        assert client.read_response().status == 413
    ((line, status, _),) = brief(log.wait_for(1))
    assert (line, status) == ("POST /upload HTTP/1.1", 413)


def test_a_client_that_leaves_before_the_answer_is_499(serve: Serve, log: Log) -> None:
    server = serve(LOGGED)
    with server.connect() as client:
        client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
    (entry,) = log.wait_for(1)
    assert brief([entry]) == [("POST /upload HTTP/1.1", 499, 0)]
    assert entry.get("end") in (None, "peer_closed")


def test_a_client_that_is_too_slow_with_its_body_is_408(serve: Serve, log: Log) -> None:
    server = serve(LOGGED, limits={"body_timeout": 0.1})
    with server.connect() as client:
        client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        assert client.read_to_abort() == b""
    assert brief(log.wait_for(1)) == [("POST /upload HTTP/1.1", 408, 0)]


def test_the_line_is_written_when_the_client_has_taken_the_response(serve: Serve, log: Log) -> None:
    server = serve(LOGGED, keepalive=60, limits={"min_rate": 0})
    with server.connect(receive_buffer=4096) as slow, server.connect() as quick:
        slow.send(request("/big"))
        slow.read_some(1)  # the response has begun
        quick.get("/204")
        assert brief(log.wait_for(1)) == [("GET /204 HTTP/1.1", 204, 0)]
        slow.read_some(BIG)
        assert brief(log.wait_for(2))[1] == ("GET /big HTTP/1.1", 200, BIG)
    if log.format == "json":
        quick_time, slow_time = (entry["duration"] for entry in log.entries())
        assert slow_time > quick_time >= 0


def test_a_client_that_leaves_in_mid_response_is_logged_with_what_it_got(
    serve: Serve, log: Log
) -> None:
    server = serve(LOGGED, limits={"min_rate": 0})
    with server.connect(receive_buffer=4096) as client:
        client.send(request("/big"))
        client.read_some(100000)
    ((line, status, sent),) = brief(log.wait_for(1))
    assert (line, status) == ("GET /big HTTP/1.1", 200)
    assert 90000 < sent < BIG


def test_what_is_cut_off_by_the_end_of_the_server_is_logged(serve: Serve, log: Log) -> None:
    server = serve(LOGGED, limits={"min_rate": 0})
    with server.connect(receive_buffer=4096) as slow, server.connect() as sender:
        slow.send(request("/big"))
        slow.read_some(1)
        sender.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        with server.connect() as client:
            client.get("/stop-soon")
        assert server.wait() == 0
    assert {line: status for line, status, _ in brief(log.wait_for(3))} == {
        "GET /big HTTP/1.1": 200,
        "POST /upload HTTP/1.1": 444,
        "GET /stop-soon HTTP/1.1": 200,
    }


# ---- the file


def test_without_being_asked_for_there_is_no_log(serve: Serve) -> None:
    server = serve(LOGGED)
    with server.connect() as client:
        client.get()
    assert server.stop() == 0
    assert (server.out, server.log) == ("", "")


def test_a_file_that_was_moved_away_is_opened_anew_on_demand(serve: Serve, log: Log) -> None:
    server = serve(LOGGED, keepalive=60)
    with server.connect() as client:
        client.get("/")
        log.wait_for(1)
        log.path.rename(log.path.with_suffix(".1"))
        client.get("/reopen")
        assert brief(log.wait_for(1)) == [("GET /reopen HTTP/1.1", 200, 8)]
    assert len(Log(log.path.with_suffix(".1"), log.format).entries()) == 1


def test_lines_are_appended_to_what_is_there(serve: Serve, log: Log) -> None:
    for count in (1, 2):
        server = serve(LOGGED)
        with server.connect() as client:
            client.get()
        assert server.stop() == 0
        log.wait_for(count)


def test_processes_share_a_file_line_by_line(serve: Serve, log: Log) -> None:
    servers = [serve(LOGGED), serve(LOGGED)]
    long = [("User-Agent", "a" * 700), ("Referer", "r" * 700)]
    clients = [server.connect() for server in servers]
    for _ in range(200):
        for client in clients:
            client.send(request(fields=long))
        for client in clients:
            client.read_response()
    for client, server in zip(clients, servers):
        client.close()
        assert server.stop() == 0
    assert {entry["user_agent"] for entry in log.wait_for(400)} == {"a" * 700}


def test_a_disk_that_is_full_costs_lines_and_nothing_else(
    serve: Serve, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOG_FILE", "/dev/full")
    server = serve(LOGGED, keepalive=60)
    with server.connect() as client:
        for _ in range(2000):
            assert client.get().body == b"hello"
        server.wait_for_log("the access log can't be written: No space left on device")
        assert client.get().body == b"hello"
    assert server.stop() == 0
    assert server.log.count("the access log can't be written") == 1


def test_a_pipe_that_nobody_reads_holds_up_nobody(
    serve: Serve, log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    monkeypatch.setenv("LOG_FILE", str(fifo))
    server = serve(LOGGED, keepalive=60)
    long = [("User-Agent", "a" * 1000), ("Referer", "r" * 1000)]
    text = b""

    def read_all() -> bytes:
        nonlocal text
        with suppress(BlockingIOError):
            while data := os.read(reader, 65536):
                text += data
        return text

    with server.connect() as client:
        for _ in range(300):  # some 600 KB
            assert client.get(fields=long).body == b"hello"
        server.wait_for_log("the access log can't be written: Resource temporarily unavailable")
        wait_until(lambda: read_all() and "is written again" in server.log, "writing again")
        client.get("/204")
        wait_until(lambda: b"/204" in read_all(), "logged the last one")
    lines = text.decode("ascii").split("\n")
    assert lines.pop() == ""
    lost = re.search(r"lines that were lost: (\d+)", server.log)
    assert lost and len(lines) + int(lost[1]) == 301
    assert len(list(map(log.parse, lines))) == len(lines)
    os.close(reader)


# ---- %-formats


def test_the_atoms_of_a_percent_format(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "access.log"
    monkeypatch.setenv("LOG_FILE", str(path))
    monkeypatch.setenv(
        "LOG_FORMAT",
        "%(m)s|%(U)s|%(q)s|%(H)s|%(B)d|%(T)s|%(L)s|%(M)s|%(D)s|%(p)s|%(u)s|%({X-Y}i)s|"
        "%({x-one}o)s|%({REMOTE_ADDR}e)s|%({wsgi.url_scheme}e)s|%({none}i)s|100%%",
    )
    server = serve(LOGGED)
    with server.connect() as client:
        client.get(
            "/stream?q=%22",
            fields=[("X-Y", "a"), ("X-Y", '"b"'), ("Authorization", "Basic QWxhZGRpbjpvcGVu")],
        )
    wait_until(path.exists, "opened")
    log = Log(path, PERCENT)
    wait_until(lambda: log.lines, "logged")
    values = log.lines[0].split("|")
    seconds, decimal, milliseconds, microseconds = values[5:9]
    assert int(seconds) == int(float(decimal)) == int(milliseconds) // 1000
    assert int(milliseconds) == int(microseconds) // 1000
    assert values[:5] == ["GET", "/stream", "q=%22", "HTTP/1.1", "25"]
    assert values[9:] == [
        f"<{server.pid}>",
        "Aladdin",
        "a,\\x22b\\x22",
        "1, \\xe9\\x22",
        "127.0.0.1",
        "http",
        "-",
        "100%",
    ]


@pytest.mark.parametrize("log", [PERCENT], indirect=True)
def test_an_environ_that_the_app_has_spoilt_still_makes_a_line(serve: Serve, log: Log) -> None:
    server = serve(LOGGED)
    with server.connect() as client:
        client.get("/spoilt")
    wait_until(lambda: log.lines, "logged")
    (line,) = log.lines
    match = re.match(r'- - - \[.*\] "7 b\'\\x5cn\' -" 200 6 "(.*)" "(.*)"\Z', line)
    assert match, line
    assert match[1] == "['\\x5cn', '\\x22']"
    assert match[2] == "\\u20ac\\U0001f600\\x0a"


# ---- access loggers


def test_an_access_logger_gets_the_environ_of_the_app_with_the_originals_keys(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGGER", "printing")
    server = serve(LOGGED, tracebacks=1, limits={"max_body": 10})
    with server.connect() as client:
        client.get("/")
        client.get("/boom")
        client.send(
            b"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n"
            + b"x" * 255
        )
        assert client.read_response().status == 413
    entries = logged(server, 3)
    assert [(entry["PATH_INFO"], entry["STATUS_CODE"]) for entry in entries] == [
        ("/", 200),
        ("/boom", 500),
        ("/upload", 413),
    ]
    assert entries[0]["app.key"] == "set by the app"
    assert entries[0]["SEND_BYTES"] == 5
    assert 0 <= entries[0]["REQUEST_TIME"] < 60000
    assert re.fullmatch(TIME, entries[0]["LOCAL_TIME"])


def test_an_access_logger_is_told_of_clients_that_leave_and_of_the_end(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGGER", "printing")
    server = serve(LOGGED)
    with server.connect() as client:
        client.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
    assert logged(server, 1)[0]["STATUS_CODE"] == 499
    with server.connect() as sender, server.connect() as client:
        sender.send(b"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
        client.get("/stop-soon")
        assert server.wait() == 0
    assert [entry["STATUS_CODE"] for entry in logged(server, 3)] == [499, 200, 444]


def test_a_logger_that_raises_is_reported_and_ends_nothing(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGGER", "failing")
    server = serve(LOGGED, tracebacks=3)
    with server.connect() as client:
        for _ in range(3):
            assert client.get("/").body == b"hello"
    assert server.stop() == 0
    assert server.log.count("ValueError: can't log /") == 3
    assert "the access log failed" in server.log


def test_a_logger_may_end_the_run(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGGER", "leaving")
    server = serve(LOGGED, status=3)
    with server.connect() as client:
        assert client.get("/").body == b"hello"
    assert server.wait() == 3


def test_a_log_and_a_logger_go_together(
    serve: Serve, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOGGER", "printing")
    server = serve(LOGGED)
    with server.connect() as client:
        client.get("/stream")
    assert logged(server, 1)[0]["SEND_BYTES"] == log.wait_for(1)[0]["bytes"]


# ---- the error log


def test_a_lack_of_descriptors_is_told_once_and_so_is_its_end(serve: Serve) -> None:
    server = serve(LOGGED, keepalive=60)
    with server.connect() as client:
        client.get("/no-fds")
        waiting = [server.connect() for _ in range(5)]
        server.wait_for_log("connections can't be accepted for now: Too many open files")
        for _ in range(50):
            assert client.get("/").body == b"hello"
        assert client.get("/fds").body == b"again"
    for other in waiting:
        with other:
            assert other.get("/").body == b"hello"
    server.wait_for_log("connections are accepted again")
    assert server.log.count("can't be accepted") == 1


# ---- setters


def test_what_is_no_log_is_refused_when_it_is_set(tmp_path: Path) -> None:
    from meinheld import server

    path = tmp_path / "access.log"
    with pytest.raises(ValueError, match="no atom 'Z'"):
        server.set_access_log(path, "%(h)s %(Z)s")
    with pytest.raises(ValueError, match="neither combined, json"):
        server.set_access_log(path, "common")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        server.set_access_log(tmp_path / "nowhere" / "access.log")
    os.mkfifo(tmp_path / "unread")
    with pytest.raises(OSError, match="unread"):
        server.set_access_log(tmp_path / "unread")
    with pytest.raises(TypeError, match="path or a descriptor"):
        server.set_access_log(1.5)  # type: ignore[arg-type]
    for closed in (-1, 2**31 - 1, 2**31):
        with pytest.raises(OSError, match=f"descriptor {closed} is not open"):
            server.set_access_log(closed)
    with pytest.raises(TypeError, match="access\\(environ\\)"):
        server.set_access_logger(object())
    server.set_access_log(None)
    server.set_access_logger(None)


UNOPENED = """
import os, sys
from meinheld import server

read_end, write_end = os.pipe()
os.close(write_end)
server.set_access_log(read_end)
server.listen(sys.argv[1])
try:
    server.run(lambda environ, start_response: [])
except OSError as exc:
    assert f"descriptor {read_end}" in str(exc), exc
    print("refused")
"""


def test_a_run_whose_log_can_t_be_opened_says_so(
    spawn: Callable[..., Process], unix_path: str
) -> None:
    process = spawn([sys.executable, "-c", UNOPENED, unix_path])
    assert process.wait() == 0, process.log
    assert process.out == "refused\n"
