"""meinheld.mlogging, as the original had it. Importing it changes the process's settings, so each
test has a process of its own."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from test_access_log import TIME

ENVIRON = """
environ = {
    "REQUEST_METHOD": "GET", "PATH_INFO": "/a b", "QUERY_STRING": "c", "RAW_URI": "/a%20b?c",
    "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "192.0.2.1", "HTTP_USER_AGENT": 'a"b\\n',
    "STATUS_CODE": 200, "SEND_BYTES": 12, "REQUEST_TIME": 1500,
    "LOCAL_TIME": "26/Nov/2026:01:26:14 +0000",
}
"""


def run(code: str) -> str:
    """What a process that runs code writes to stderr."""
    done = subprocess.run(
        [sys.executable, "-c", "from meinheld import mlogging, server\n" + ENVIRON + code],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr


def test_access_writes_the_originals_line_escaped_and_with_the_query() -> None:
    assert run("mlogging.logger.access(environ)") == (
        '192.0.2.1 - - [26/Nov/2026:01:26:14 +0000] "GET /a%20b?c HTTP/1.1" 200 12 "-"'
        ' "a\\x22b\\x0a"\n'
    )


def test_the_other_atoms_are_the_originals() -> None:
    log = run(
        """
class Mine(mlogging.Logger):
    access_log_format = "%(D)s %(T)s %(p)s %({user_agent}i)s %({User-Agent}i)s %({none}i)s"
Mine().access(environ)
"""
    )
    assert re.fullmatch(r"1500 1\.5 <\d+> a\\x22b\\x0a a\\x22b\\x0a -\n", log), log


def test_a_format_may_be_set_anywhere_and_a_bad_one_is_refused_there() -> None:
    log = run(
        """
def refused(act):
    try:
        act()
    except ValueError as exc:
        assert "'Z'" in str(exc), exc
    else:
        raise AssertionError("taken")
logger = mlogging.Logger()
logger.access_log_format = "one %(s)s"
logger.access(environ)
refused(lambda: setattr(logger, "access_log_format", "%(Z)s"))
logger.access(environ)
class Bad(mlogging.Logger):
    access_log_format = "%(Z)s"
refused(Bad)
mlogging.Logger.access_log_format = "two %(s)s"
mlogging.logger.access(environ)
"""
    )
    assert log == "one 200\none 200\ntwo 200\n"


def test_errors_come_with_their_traceback() -> None:
    log = run(
        """
import sys
try:
    1 / 0
except ZeroDivisionError:
    mlogging.logger.error(*sys.exc_info())
mlogging.logger.error(ValueError, None, None)
mlogging.logger.error(None, None, None)
mlogging.logger.critical("%s", "critical")
mlogging.logger.log("error", "by name")
mlogging.logger.log(40, "by number")
mlogging.logger.exception("exception")
mlogging.logger.warning("below the level")
mlogging.logger.info("below the level")
mlogging.logger.debug("below the level")
"""
    )
    first = log.splitlines()[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d [\d:]{8} \[\d+\] \[ERROR\] division by zero", first)
    assert "ZeroDivisionError: division by zero" in log
    for text in ("[CRITICAL] critical", "[ERROR] by name", "[ERROR] by number", "] exception"):
        assert text in log
    assert "below" not in log


def test_a_second_logger_takes_the_place_of_the_first() -> None:
    assert run("mlogging.Logger().access(environ)").count("\n") == 1


def test_files_that_were_moved_away_are_opened_anew(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    run(
        f"""
import logging, os, fcntl
handler = logging.FileHandler({str(path)!r})
logger = mlogging.logger
logger.access_log.addHandler(handler)
logger.access(environ)
os.rename({str(path)!r}, {str(path) + ".1"!r})
logger.reopen_files()
logger.access(environ)
os.set_inheritable(handler.stream.fileno(), True)
logger.close_on_exec()
assert not os.get_inheritable(handler.stream.fileno())
"""
    )
    assert path.read_text().count("\n") == 1
    assert path.with_suffix(".log.1").read_text().count("\n") == 1


def test_importing_it_logs_what_the_server_does() -> None:
    log = run(
        """
import socket, threading
port = server.listen(("127.0.0.1", 0))
def visit():
    for target in (b"/?q", b"/boom"):
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"GET " + target + b" HTTP/1.0\\r\\n\\r\\n")
            while client.recv(4096):
                pass
    server.shutdown()
def app(environ, start_response):
    if environ["PATH_INFO"] == "/boom":
        raise ValueError("boom")
    start_response("200 OK", [])
    return [b"hello"]
threading.Thread(target=visit).start()
server.run(app)
"""
    )
    assert re.search(
        rf'^127\.0\.0\.1 - - \[{TIME}\] "GET /\?q HTTP/1\.0" 200 5 "-" "-"$', log, re.M
    )
    assert re.search(rf'^127\.0\.0\.1 - - \[{TIME}\] "GET /boom HTTP/1\.0" 500 22', log, re.M)
    assert re.search(r"\[ERROR\] boom\nTraceback", log)


@pytest.mark.parametrize("name", ["LOG_LEVELS", "error_fmt", "datefmt", "access_fmt"])
def test_the_originals_attributes_are_there(name: str) -> None:
    run(f"assert getattr(mlogging.logger, {name!r})")
