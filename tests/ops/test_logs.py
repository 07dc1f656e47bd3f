"""What a worker tells gunicorn's loggers, statsd and files."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import wait_until
from master import Master
from rawclient import request

Start = Callable[..., Master]

SITE = "site_app:app"

ATOMS = "%(h)s %(m)s %(U)s?%(q)s %(H)s [%(r)s] %(s)s %(b)s %(B)s <%(f)s> %(a)s"
MORE = " %({x-a}i)s %({x-answer}o)s %({script_name}e)s. %(T)s %(D)s %(M)s %(L)s"


def lines(master: Master, count: int) -> list[str]:
    """Its access log, once that has so many lines."""
    wait_until(lambda: master.out.count("\n") >= count, f"wrote {count} lines")
    return master.out.splitlines()


@pytest.mark.each_version
@pytest.mark.parametrize("threads", ["1", "2"])
def test_the_access_log_has_a_line_for_each_response(start: Start, threads: str) -> None:
    log = ("--access-logfile", "-", "--access-logformat", ATOMS + MORE)
    master = start(SITE, "--threads", threads, *log, tracebacks=1)
    fields = [("X-A", "b"), ("Referer", "there"), ("User-Agent", "me")]
    with master.connect() as client:
        client.get("/flags?c=d", fields=fields)
        size = len(client.get("/flags").body)
    with master.connect() as client:
        assert client.get("/fail").status == 500
    first, second, third = lines(master, 3)
    line = "127.0.0.1 GET /flags?c=d HTTP/1.1 [GET /flags?c=d HTTP/1.1] 200"
    pattern = re.escape(f"{line} {size} {size} <there> me b yes .") + r" 0 \d+ \d+ 0\.\d{6}"
    assert re.fullmatch(pattern, first), first
    assert second.startswith(f"127.0.0.1 GET /flags? HTTP/1.1 [GET /flags HTTP/1.1] 200 {size}")
    assert third.startswith("127.0.0.1 GET /fail? HTTP/1.1 [GET /fail HTTP/1.1] 500 22 22 ")


def test_what_was_refused_has_a_line_too(start: Start) -> None:
    master = start(SITE, "--access-logfile", "-", "--access-logformat", "[%(r)s] %(s)s %(h)s")
    for sends, line in [
        (b"GET /\x07 HTTP/1.1\r\nHost: a\r\n\r\n", "[GET /\\x07 HTTP/1.1] 400 127.0.0.1"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nbad\r\n\r\n", "[GET / HTTP/1.1] 400 127.0.0.1"),
        (b"nonsense\r\n\r\n", "[nonsense  ] 400 127.0.0.1"),
    ]:
        with master.connect() as client:
            client.send(sends)
            assert client.read_response().status == 400
        wait_until(lambda line=line: line in master.out, f"wrote {line!r}")  # type: ignore[misc]


def test_without_an_access_log_nothing_is_written(start: Start) -> None:
    master = start(SITE)
    assert master.get("/pid")
    master.end(signal.SIGTERM)
    assert master.out == ""


LOGGER = """
from gunicorn.glogging import Logger

class Counting(Logger):
    def access(self, resp, req, environ, request_time):
        self.error(
            "access %s %s %s %s", req.method, environ["RAW_URI"], resp.status,
            request_time.total_seconds() < 60,
        )

class Quiet(Logger):
    pass
"""


@pytest.mark.each_version
def test_a_logger_class_of_one_s_own_is_told_of_requests(start: Start, tmp_path: Path) -> None:
    (tmp_path / "own_logger.py").write_text(LOGGER)
    option = ("--logger-class", "own_logger.Counting")
    master = start(SITE, *option, path=tmp_path)
    master.get("/pid?a")
    master.wait_for_log("[ERROR] access GET /pid?a 200 OK True")
    quiet = start(SITE, "--logger-class", "own_logger.Quiet", path=tmp_path)
    assert quiet.get("/pid")


@pytest.mark.each_version
def test_statsd_counts_requests(start: Start) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.settimeout(10)
        option = ("--statsd-host", f"127.0.0.1:{sock.getsockname()[1]}")
        master = start(SITE, *option, tracebacks=1)
        assert master.get("/pid")
        with master.connect() as client:
            assert client.get("/fail").status == 500
        wanted = {
            "gunicorn.requests:1|c",
            "gunicorn.request.status.200:1|c",
            "gunicorn.request.status.500:1|c",
            "gunicorn.log.error:1|c",
        }
        while wanted:
            data = sock.recv(4096).decode()
            wanted = {each for each in wanted if not data.startswith(each)}


def test_errors_go_to_gunicorn_s_log(start: Start, tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    master = start(SITE, "--error-logfile", str(log))
    wait_until(lambda: log.exists() and "Listening at" in log.read_text(), "listened")
    port = int(re.findall(r"http://127\.0\.0\.1:(\d+)", log.read_text())[0])
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(request("/errors") + request("/fail"))
        wait_until(lambda: "the application fails" in log.read_text(), "logged it")
    assert "said to wsgi.errors\n" in log.read_text()
    assert "[ERROR] GET /fail failed" in log.read_text()
    assert master.log == ""


@pytest.mark.each_version
def test_usr1_opens_the_logs_again(start: Start, tmp_path: Path) -> None:
    access, error = tmp_path / "access.log", tmp_path / "error.log"
    own = tmp_path / "own.log"
    (tmp_path / "logging_app.py").write_text(
        "from meinheld import server\nfrom site_app import app\n"
        f"server.set_access_log({str(own)!r}, 'own %(U)s')\n"
    )
    config = "raw_env = []\n"
    option = ("--access-logfile", str(access), "--error-logfile", str(error))
    master = start("logging_app:app", *option, config=config, path=tmp_path)
    wait_until(lambda: error.exists() and "Listening at" in error.read_text(), "listened")
    port = int(re.findall(r"http://127\.0\.0\.1:(\d+)", error.read_text())[0])
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.sendall(request("/one"))
        wait_until(lambda: "GET /one " in access.read_text(), "wrote a line")
        wait_until(lambda: "own /one" in own.read_text(), "wrote a line of its own")
        for log in (access, error, own):
            log.rename(log.with_suffix(".old"))
        master.signal(signal.SIGUSR1)  # which the master sends on to its workers
        wait_until(lambda: all(log.exists() for log in (access, error, own)), "opened them")
        sock.sendall(request("/two") + request("/errors"))
        wait_until(lambda: "GET /errors " in access.read_text(), "wrote another line")
        wait_until(lambda: "own /errors" in own.read_text(), "wrote another line of its own")
    assert "GET /one " not in access.read_text()
    assert "said to wsgi.errors\n" in error.read_text()


def test_a_log_that_can_not_be_opened_again_costs_no_request(start: Start, tmp_path: Path) -> None:
    access = tmp_path / "access.log"
    master = start(SITE, "--access-logfile", str(access), tracebacks=None)
    with master.connect() as client:
        client.get("/pid")
        access.unlink()
        access.mkdir()
        os.kill(master.workers()[0], signal.SIGUSR1)
        master.wait_for_log("Is a directory")
        assert client.get("/pid").status == 200
