"""gunicorn's settings: what is honoured, what is refused, and what is told to have no effect."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from harness import EXAMPLES, wait_until
from master import NEWEST, OLDEST, Master
from rawclient import CHUNKED, Client, chunked, request

Start = Callable[..., Master]

SITE = "site_app:app"


# ---- limits


def field(size: int) -> str:
    """A field whose line has that many bytes, its CRLF not among them."""
    return f"X: {'x' * (size - 3)}\r\n"


def status_of(master: Master, head: str) -> int:
    """The status by which a request is answered that consists of head."""
    with master.connect() as client:
        client.send_if_open(head.encode("latin-1") + b"\r\n")
        return client.read_response().status


@pytest.mark.each_version
@pytest.mark.parametrize(
    ("head", "status"),
    [
        ("GET /" + "x" * 4080 + " HTTP/1.1\r\nHost: a\r\n", 200),
        ("GET /" + "x" * 4081 + " HTTP/1.1\r\nHost: a\r\n", 414),
        ("GET / HTTP/1.1\r\nHost: a\r\n" + "X: y\r\n" * 99, 200),
        ("GET / HTTP/1.1\r\nHost: a\r\n" + "X: y\r\n" * 100, 431),
        ("GET / HTTP/1.1\r\nHost: a\r\n" + field(8188), 200),
        ("GET / HTTP/1.1\r\nHost: a\r\n" + field(8189), 431),
        ("GET / HTTP/1.1\r\nHost: a\r\n" + field(8000) * 50, 200),
        ("GET / HTTP/1.1\r\nHost: a\r\nExpect: more\r\n", 417),
        ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n", 501),
        ("GET / HTTP/1.1\r\nHost : a\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: a\r\n", 505),
    ],
)
def test_a_request_beyond_a_limit_has_its_status(start: Start, head: str, status: int) -> None:
    assert status_of(start(SITE), head) == status


def test_limits_that_are_set_are_those_of_gunicorn(start: Start) -> None:
    limits = ("--limit-request-line", "40", "--limit-request-fields", "2")
    master = start(SITE, *limits, "--limit-request-field_size", "20")
    for head, status in [
        ("GET /" + "x" * 26 + " HTTP/1.1\r\nHost: a\r\n", 200),
        ("GET /" + "x" * 27 + " HTTP/1.1\r\nHost: a\r\n", 414),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n", 431),
        ("GET / HTTP/1.1\r\nHost: a\r\n" + field(18), 200),
        ("GET / HTTP/1.1\r\nHost: a\r\n" + field(19), 431),
    ]:
        assert status_of(master, head) == status, head


def test_a_limit_of_0_is_the_library_s(start: Start) -> None:
    limits = ("--limit-request-line", "0", "--limit-request-fields", "0")
    master = start(SITE, *limits, "--limit-request-field_size", "0")
    for name, most in [("line", 1048576), ("fields", 32768), ("field_size", 1048576)]:
        master.wait_for_log(f"limit_request_{name} = 0: meinheld's limit is {most}")
    host = "Host: a\r\n"
    assert status_of(master, "GET /" + "x" * 500_000 + f" HTTP/1.1\r\n{host}") == 200
    assert status_of(master, f"GET / HTTP/1.1\r\n{host}{field(500_000)}") == 200
    assert status_of(master, f"GET / HTTP/1.1\r\n{host}" + "X: y\r\n" * 20_000) == 200
    assert status_of(master, f"GET / HTTP/1.1\r\n{host}{field(1048577)}") == 431


# ---- connections


def test_keepalive_0_closes_after_each_response(start: Start) -> None:
    with start(SITE, "--keep-alive", "0").connect() as client:
        assert client.get("/pid").get("Connection") == "close"
        client.expect_close()


def test_an_idle_connection_is_closed_after_keepalive(start: Start) -> None:
    with start(SITE, "--keep-alive", "1").connect() as client:
        assert client.get("/pid").get("Connection") is None
        assert client.get("/pid").status == 200
        client.expect_close()


def test_no_more_than_worker_connections_are_accepted(start: Start) -> None:
    master = start(SITE, "--worker-connections", "2", "--keep-alive", "30")
    first, second, third = master.connect(), master.connect(), master.connect()
    with first, second, third:
        assert first.get("/pid").status == second.get("/pid").status == 200
        third.send(request("/pid"))
        assert first.get("/pid").status == 200
        third.expect_nothing_buffered()
        first.close()
        assert third.read_response().status == 200


def test_a_unix_socket_and_several_binds(unix_path: str, start: Start) -> None:
    master = start(SITE, bind=("127.0.0.1:0", f"unix:{unix_path}", "127.0.0.1:0"))
    master.wait_for_log(unix_path)
    assert master.get("/pid")
    with Client(unix_path) as client:
        for host, named in [
            ("shop.example", ("shop.example", "80")),
            ("shop.example:8080", ("shop.example", "8080")),
            ("shop.example:", ("shop.example", "80")),
            ("[::1]", ("[::1]", "80")),
            ("[::1]:81", ("[::1]", "81")),
            ("", ("localhost", "80")),
        ]:
            client.send(b"GET /environ HTTP/1.1\r\nHost: %s\r\n\r\n" % host.encode())
            environ = json.loads(client.read_response().body)
            assert environ["REMOTE_ADDR"] == ""
            assert (environ["SERVER_NAME"], environ["SERVER_PORT"]) == named
        client.send(b"GET /environ HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: https\r\n\r\n")
        assert json.loads(client.read_response().body)["SERVER_PORT"] == "443"


def test_the_example_s_configuration_is_honoured(start: Start) -> None:
    configuration = str(EXAMPLES / "gunicorn.conf.py")
    master = start("examples.hello:hello_world", "-c", configuration, cwd=EXAMPLES.parent)
    master.wait_for_workers(2)
    assert master.get("/") == b"Hello world!"
    with master.connect() as client:
        head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n"
        client.send(head % (1024 * 1024 + 1))
        assert client.read_response().status == 413
    wait_until(lambda: '"GET / HTTP/1.1" 200 ' in master.out, "logged the request")


# ---- the application


def test_environ_tells_of_workers_and_threads(start: Start) -> None:
    flags = {"wsgi.run_once": False, "wsgi.input_terminated": True, "gunicorn.request": False}
    alone = {**flags, "wsgi.multithread": False, "wsgi.multiprocess": False}
    assert json.loads(start(SITE).get("/flags")) == alone
    several = {**flags, "wsgi.multithread": True, "wsgi.multiprocess": True}
    assert json.loads(start(SITE, "-w", "2", "--threads", "4").get("/flags")) == several


def test_workers_of_a_preloaded_application_serve(start: Start) -> None:
    master = start(SITE, "-w", "2", "--preload")
    assert int(master.get("/pid")) in master.wait_for_workers(2)


def test_workers_with_sockets_of_their_own_serve(start: Start) -> None:
    with socket.socket() as reserved:  # which does not listen
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        reserved.bind(("127.0.0.1", 0))
        address = reserved.getsockname()
        master = start(SITE, "-w", "2", "--reuse-port", bind=(f"127.0.0.1:{address[1]}",))
        pids = {*master.wait_for_workers(2)}

        def serves() -> bool:
            with suppress(ConnectionRefusedError), Client(address) as client:
                return int(client.get("/pid").body) in pids
            return False

        wait_until(serves, "served")


@pytest.mark.each_version
def test_four_threads_serve_four_requests_at_once(start: Start, tmp_path: Path) -> None:
    master = start(SITE, "--threads", "4")
    clients = [master.connect() for _ in range(4)]
    begun = [tmp_path / f"begun{i}" for i in range(4)]
    for client, file in zip(clients, begun):
        client.send(request(f"/hold?begun={file}&until={tmp_path / 'until'}"))
    wait_until(lambda: all(file.exists() for file in begun), "began")
    (tmp_path / "until").touch()
    for client in clients:
        assert client.read_response().body == b"held"
        client.close()


@pytest.mark.each_version
def test_bodies_arrive_whole(start: Start) -> None:
    master = start(SITE)
    body = b"x" * 3_000_000
    assert master.get("/body", method="POST", body=body) == b"3000000"
    with master.connect() as client:
        client.send(request("/body", method="POST", fields=CHUNKED) + chunked(body, 70_000))
        assert client.read_response().body == b"3000000"


@pytest.mark.parametrize("arguments", [(), ("--no-sendfile",)])
def test_a_file_is_sent_from_where_it_stands(start: Start, arguments: tuple[str, ...]) -> None:
    source = (Path(__file__).parent / "apps" / "site_app.py").read_bytes()
    assert start(SITE, *arguments).get("/file") == source[3:13]


def test_script_name_of_the_environment_is_taken_off_the_path(start: Start) -> None:
    master = start(SITE, "--env", "SCRIPT_NAME=/shop")
    environ = json.loads(master.get("/shop/environ?a=b"))
    assert (environ["SCRIPT_NAME"], environ["PATH_INFO"]) == ("/shop", "/environ")
    assert environ["RAW_URI"] == "/shop/environ?a=b"


def test_what_the_application_sets_by_meinheld_s_own_setters_counts(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "small_app.py").write_text(
        "from meinheld import server\nfrom site_app import app\n"
        "server.set_max_content_length(5)\n"
        f"server.static('/files', {str(tmp_path)!r})\n"
    )
    (tmp_path / "a.txt").write_text("from a file")
    log = ("--access-logfile", "-", "--access-logformat", "%(r)s %(s)s %(b)s")
    master = start("small_app:app", *log, "--max-requests", "3", path=tmp_path)
    (worker,) = master.wait_for_workers(1)
    with master.connect() as client:
        assert client.get("/body", method="POST", body=b"12345").status == 200
        assert client.get("/files/a.txt").body == b"from a file"
        assert client.get("/pid").status == 200
    master.wait_for_workers(1, without=(worker,))  # files are requests, too
    assert "GET /files/a.txt HTTP/1.1 200 11\n" in master.out
    with master.connect() as client:
        assert client.get("/body", method="POST", body=b"123456").status == 413


# ---- what is refused, and what is of no effect

TLS = "end TLS in front, in nginx or HAProxy; meinheld has none"
STRICT = "meinheld takes no such requests"
HOOK = "def ssl_context(config, default):\n    return default()\n"


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ("certfile = __file__", f"{TLS}"),
        ("keyfile = __file__", f"{TLS}"),
        (HOOK, f"ssl_context: {TLS}"),
        ("permit_obsolete_folding = True", f"permit_obsolete_folding = True: {STRICT}"),
        ("strip_header_spaces = True", f"strip_header_spaces = True: {STRICT}"),
        ("permit_unconventional_http_method = True", STRICT),
        ("permit_unconventional_http_version = True", STRICT),
        ("casefold_http_method = True", f"casefold_http_method = True: {STRICT}"),
        ("header_map = 'dangerous'", "header_map = 'dangerous': with meinheld it must be 'drop'"),
        ("worker_connections = 0", "worker_connections = 0: it must be at least 1"),
    ],
)
def test_a_setting_that_can_not_be_honoured_is_refused_by_name(
    start: Start, config: str, line: str
) -> None:
    master = start(SITE, config=config)
    assert master.wait() == 1
    errors = [each for each in master.log.splitlines() if each.startswith("Error: ")]
    assert len(errors) == 1
    assert line in errors[0]
    assert config.split()[0 if "=" in config else 1].partition("(")[0] in errors[0]


def test_tls_that_comes_by_a_hup_is_not_served_in_plain_text(start: Start) -> None:
    master = start(SITE, tracebacks=1)
    master.wait_for_workers(1)
    with open(f"/proc/{master.pid}/cwd/gunicorn.conf.py", "a") as config:
        config.write("certfile = __file__\n")
    master.signal(1)
    assert master.wait() == 3  # as of any worker that does not boot
    assert TLS in master.log


def test_settings_of_other_workers_are_told_to_have_no_effect(start: Start, version: str) -> None:
    config = "tmp_upload_dir = '/tmp'\n"
    names = ["tmp_upload_dir"]
    if version != OLDEST:
        config += "asgi_loop = 'asyncio'\nhttp2_max_concurrent_streams = 5\ndirty_timeout = 7\n"
        names += ["asgi_loop", "http2_max_concurrent_streams", "dirty_timeout"]
    master = start(SITE, config=config)
    assert master.get("/pid")
    for name in names:
        assert f"[WARNING] {name} has no effect with meinheld" in master.log
    assert master.log.count("has no effect") == len(names)


def test_by_default_nothing_is_warned_of(start: Start) -> None:
    master = start(SITE)
    assert master.get("/pid")
    assert "WARNING" not in master.log


def test_http_2_is_not_offered(start: Start, version: str) -> None:
    if version != NEWEST:
        return
    master = start(SITE, config="http2_cleartext = 'prior-knowledge'\n")
    master.wait_for_log("http2_cleartext has no effect with meinheld")
    with master.connect() as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert client.read_response().status == 505
