"""server.static(): files without the application. What the library answers is tested in C; here it
is the way there: which requests take it, what static() takes, and that Python has no part in it."""

from __future__ import annotations

import gzip
import os
import random
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from harness import Process, Server, wait_until
from meinheld import server
from rawclient import Client, request

Serve = Callable[..., Server]
Spawn = Callable[..., Process]

APP = "apps.hello:app"
HELLO = b"Hello world!"
LONG_AGO = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT


def put(path: Path, content: bytes) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (LONG_AGO, LONG_AGO))
    return content


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A directory with some files; beside it lies one that no client may get."""
    put(tmp_path / "secret", b"secret")
    put(tmp_path / "root" / "a.txt", b"0123456789")
    put(tmp_path / "root" / "dir" / "index.html", b"<p>index")
    put(tmp_path / "root" / ".env", b"secret")
    put(tmp_path / "root" / ".well-known" / "x", b"known")
    return tmp_path / "root"


def options(directory: Path, **more: object) -> dict[str, object]:
    return {"directory": str(directory), **more}


# ---- which requests


@pytest.mark.parametrize("prefix", ["/static", "/static/"])
def test_what_is_below_a_prefix_is_not_the_applications(
    serve: Serve, root: Path, prefix: str
) -> None:
    with serve(APP, statics={prefix: options(root)}).connect() as client:
        for target in ("/static/a.txt", "/%73tatic/a.txt", "/static/%61.txt?query"):
            assert client.get(target).body == b"0123456789", target
        for target in (
            "/static",
            "/static/",
            "/static/nowhere",
            "/static%2fa.txt",
            "/static//a.txt",
        ):
            assert client.get(target).status == 404, target
        for target in (
            "/",
            "/staticfoo",
            "/stati",
            "/Static/a.txt",
            "//static/a.txt",
            "/x/static/a.txt",
        ):
            assert client.get(target).body == HELLO, target
        assert client.get("/static/dir").get("Location") == "./dir/"
        assert client.get("/static/dir/").body == b"<p>index"


def test_the_longest_prefix_counts(serve: Serve, root: Path, tmp_path: Path) -> None:
    put(tmp_path / "other" / "a.txt", b"other")
    put(tmp_path / "third" / "a.txt", b"third")
    statics = {
        "/s/dir": options(tmp_path / "other"),
        "/": options(root),
        "/s": options(tmp_path / "third"),
    }
    with serve(APP, statics=statics).connect() as client:
        assert client.get("/a.txt").body == b"0123456789"
        assert client.get("/s/a.txt").body == b"third"
        assert client.get("/s/dir/a.txt").body == b"other"
        assert client.get("/s/dirt/a.txt").status == 404
        assert client.get("/s/nowhere").status == 404  # not looked for elsewhere
        assert client.get("/.well-known/x").body == b"known"
        assert client.get("*", method="OPTIONS").body == HELLO


def test_a_prefix_of_any_letters_is_compared_decoded(serve: Serve, root: Path) -> None:
    with serve(APP, statics={"/dossier é/100%": options(root)}).connect() as client:
        assert client.get("/dossier%20%C3%A9/100%25/a.txt").body == b"0123456789"
        assert client.get("/dossier%20%C3%A9/100%2525/a.txt").body == HELLO


def test_no_path_leads_to_the_file_beside(serve: Serve, root: Path) -> None:
    (root / "out").symlink_to("../secret")
    targets = [
        "/../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/..%5csecret",
        "/out",
        "/.env",
        "//etc/passwd",
    ]
    with serve(APP, statics={"/static": options(root)}).connect() as client:
        for target in targets:
            response = client.get("/static" + target)
            assert (response.status, response.body) == (404, b"Not Found\n"), target
        assert client.get("/static/../secret").body == b"Not Found\n"


# ---- what is answered


def test_a_file_comes_with_what_is_known_of_it(serve: Serve, root: Path) -> None:
    headers = [["Cache-Control", "max-age=60"], ["X-A", ""]]
    with serve(APP, statics={"/static": options(root, headers=headers)}).connect() as client:
        response = client.get("/static/a.txt")
        assert (response.status, response.body) == (200, b"0123456789")
        assert response.get("Content-Type") == "text/plain; charset=utf-8"
        assert response.get("Last-Modified") == "Sun, 06 Nov 1994 08:49:37 GMT"
        assert response.get("Cache-Control") == "max-age=60"
        assert response.get("X-A") == ""
        assert (response.get("Server") or "").startswith("meinheld")
        head = client.get("/static/a.txt", method="HEAD")
        assert (head.status, head.body) == (200, b"")
        assert head.get("Content-Length") == "10"


def test_conditions_and_ranges_are_heeded(serve: Serve, root: Path) -> None:
    with serve(APP, statics={"/static": options(root)}).connect() as client:

        def ask(*fields: tuple[str, str]) -> tuple[int, bytes]:
            response = client.get("/static/a.txt", fields=list(fields))
            return response.status, response.body

        tag = client.get("/static/a.txt").get("ETag") or ""
        assert ask(("If-None-Match", tag)) == (304, b"")
        assert ask(("If-Modified-Since", "Sun, 06 Nov 1994 08:49:37 GMT")) == (304, b"")
        assert ask(("If-Match", '"other"'))[0] == 412
        assert ask(("Range", "bytes=2-4")) == (206, b"234")
        assert ask(("Range", "bytes=2-4"), ("If-Range", '"other"')) == (200, b"0123456789")
        assert ask(("Range", "bytes=10-"))[0] == 416
        status, body = ask(("Range", "bytes=0-1,8-9"))
        assert status == 206 and body.count(b"Content-Range: bytes ") == 2


def test_a_precompressed_file_goes_to_who_takes_it(serve: Serve, root: Path) -> None:
    put(root / "a.txt.gz", gzip.compress(b"0123456789"))
    statics = {"/static": options(root), "/plain": options(root, precompressed=False)}
    fields = [("Accept-Encoding", "gzip, br")]
    with serve(APP, statics=statics).connect() as client:
        coded = client.get("/static/a.txt", fields=fields)
        assert coded.get("Content-Encoding") == "gzip"
        assert gzip.decompress(coded.body) == b"0123456789"
        assert client.get("/static/a.txt").body == b"0123456789"
        assert client.get("/plain/a.txt", fields=fields).body == b"0123456789"


def test_an_index_has_any_name_or_none(serve: Serve, root: Path) -> None:
    put(root / "dir" / "main.htm", b"main")
    statics = {"/a": options(root, index="main.htm"), "/b": options(root, index=None)}
    with serve(APP, statics=statics).connect() as client:
        assert client.get("/a/dir/").body == b"main"
        assert client.get("/b/dir/").status == 404


def test_other_methods_are_refused_and_bodies_kept_apart(serve: Serve, root: Path) -> None:
    with serve(APP, statics={"/static": options(root)}).connect() as client:
        client.send(request("/static/a.txt", method="POST", body=b"GET / HTTP/1.1\r\n\r\n"))
        client.send(request("/"))
        response = client.read_response()
        assert (response.status, response.get("Allow")) == (405, "GET, HEAD")
        assert client.read_response().body == HELLO


def test_a_large_file_reaches_a_slow_client_whole(serve: Serve, root: Path) -> None:
    content = put(root / "large", random.Random(7).randbytes(8 << 20))
    server = serve(APP, statics={"/static": options(root)})
    with server.connect(receive_buffer=8192) as slow, server.connect() as other:
        slow.send(request("/static/large"))
        head = slow.read_head()
        assert other.get().body == HELLO  # nobody waits for it
        assert other.get("/static/a.txt").body == b"0123456789"
        slow.read_body(head)
        assert head.body == content
        assert slow.get("/static/a.txt").status == 200


def test_clients_that_leave_leave_no_descriptors(serve: Serve, root: Path) -> None:
    put(root / "large", bytes(8 << 20))
    server = serve(APP, statics={"/static": options(root)})
    with server.connect() as client:
        client.get()
        before = server.open_fds()
        for fields in ([], [("Range", "bytes=0-3000000,4000000-")]):
            for _ in range(5):
                with server.connect(receive_buffer=8192) as leaving:
                    leaving.send(request("/static/large", fields=fields))
                    leaving.read_head()
        wait_until(lambda: client.get() and server.open_fds() == before, "all closed")


def test_it_works_on_every_kind_of_socket(serve: Serve, root: Path, unix_path: str) -> None:
    server = serve(APP, address=unix_path, more=(("::1", 0),), statics={"/static": options(root)})
    for listener in (0, 1):
        with server.connect(listener) as client:
            assert client.get("/static/a.txt").body == b"0123456789"
            assert client.get().body == HELLO


# ---- without Python

BUSY = """
import signal, sys, time
from meinheld import server

def app(environ, start_response):
    raise AssertionError("the application was called")

server.static("/static", sys.argv[1])
print(server.listen(("127.0.0.1", 0)), flush=True)
calls = 0
def count(frame, event, arg):
    global calls
    calls += 1
sys.setprofile(count)
server.run(app)
sys.setprofile(None)
print("calls", calls, flush=True)
"""


def started(spawn: Spawn, program: str, *argv: str) -> tuple[Process, int]:
    """A process of that program, and the port that it prints first."""
    process = spawn([sys.executable, "-c", program, *argv])
    wait_until(lambda: "\n" in process.out or process.popen.poll() is not None, "started")
    assert process.popen.poll() is None, process.log
    return process, int(process.out.split()[0])


def test_no_python_runs_for_a_file(spawn: Spawn, root: Path) -> None:
    calls = []
    for requests in (1, 1000):
        process, port = started(spawn, BUSY, str(root))
        with Client(("127.0.0.1", port)) as client:
            for _ in range(requests):
                assert client.get("/static/a.txt").status == 200
        process.signal(signal.SIGTERM)
        assert process.wait() == 0, process.log
        calls.append(int(process.out.split()[-1]))
    assert calls[1] < calls[0] + 100, calls


# ---- runs

SEVERAL = """
import os, sys
from meinheld import server

def app(environ, start_response):
    if environ["PATH_INFO"] == "/stop":
        server.shutdown()
    start_response("200 OK", [("Content-Length", "3")])
    return [b"app"]

os.chdir(sys.argv[1])
server.static("/a", ".")
os.chdir("/")
print(server.listen(("127.0.0.1", 0)), flush=True)
server.run(app)
server.static("/a", None)
server.static("/b", sys.argv[1])
server.run(app)
server.listen(("127.0.0.1", int(sys.argv[2])))
children = []
for _ in range(2):
    pid = os.fork()
    if pid == 0:
        server.run(app)
        os._exit(0)
    children.append(pid)
for pid in children:
    assert os.waitpid(pid, 0)[1] == 0
"""


def expect(port: int, target: str, body: bytes) -> None:
    """Waits until that is the answer. A run that is ending may still take a connection, and closes
    it."""

    def answered() -> bool:
        try:
            with Client(("127.0.0.1", port)) as client:
                return client.get(target).body == body
        except (OSError, AssertionError):
            return False

    wait_until(answered, f"answered {target} with {body!r}")


def test_each_run_takes_the_settings_as_they_are(spawn: Spawn, root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        forked = sock.getsockname()[1]
    process, port = started(spawn, SEVERAL, str(root), str(forked))
    expect(port, "/a/a.txt", b"0123456789")  # the directory that "." was when it was named
    expect(port, "/b/a.txt", b"app")
    expect(port, "/stop", b"app")
    expect(port, "/b/a.txt", b"0123456789")
    expect(port, "/a/a.txt", b"app")
    expect(port, "/stop", b"app")
    answers: list[bytes] = []

    def have_ended() -> bool:
        """Asks whichever child answers, and stops it. One that drains may answer once more."""
        with suppress(OSError, AssertionError), Client(("127.0.0.1", forked)) as client:
            answers.append(client.get("/b/a.txt").body)
            client.get("/stop")
        return process.popen.poll() is not None

    wait_until(have_ended, "ended")
    assert process.wait() == 0, process.log
    assert len(answers) >= 2
    assert {*answers} == {b"0123456789"}


@pytest.fixture
def no_statics() -> Iterator[None]:
    """Takes away what a test has set in this process."""
    yield
    for prefix in ("/", "/x"):
        server.static(prefix, None)


def test_a_directory_that_has_gone_keeps_a_run_from_beginning(
    tmp_path: Path, no_statics: None
) -> None:
    (tmp_path / "gone").mkdir()
    server.static("/x", tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    server.listen(("127.0.0.1", 0))
    with pytest.raises(FileNotFoundError, match=str(tmp_path / "gone")):
        server.run(lambda environ, start_response: [])


def test_headers_that_may_not_be_sent_keep_a_run_from_beginning(
    tmp_path: Path, no_statics: None
) -> None:
    for header in (("ETag", '"a"'), ("Content-Type", "a/b"), ("Connection", "close"), ("a b", "c")):
        server.static("/x", tmp_path, headers=[header])
        server.listen(("127.0.0.1", 0))
        with pytest.raises(ValueError, match=header[0]):
            server.run(lambda environ, start_response: [])


# ---- arguments


@pytest.mark.parametrize("prefix", ["", "static", "//", "/a//b", "/a/../b", "/.", "/a\0b", "/a//"])
def test_a_prefix_that_no_path_has_is_refused(prefix: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="prefix"):
        server.static(prefix, tmp_path)
    with pytest.raises(ValueError, match="prefix"):
        server.static(prefix, None)


def test_a_directory_that_is_none_is_refused(tmp_path: Path) -> None:
    put(tmp_path / "file", b"")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        server.static("/x", tmp_path / "nowhere")
    with pytest.raises(NotADirectoryError, match="file"):
        server.static("/x", str(tmp_path / "file"))
    with pytest.raises(TypeError):
        server.static("/x", 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError):
        server.static("/x", "a\0b")


@pytest.mark.parametrize(
    ("error", "arguments"),
    [
        (TypeError, {"index": 3}),
        (TypeError, {"index": b"index.html"}),
        (ValueError, {"index": ""}),
        (ValueError, {"index": "a/b"}),
        (ValueError, {"index": ".hidden"}),
        (ValueError, {"index": "a\0b"}),
        (TypeError, {"precompressed": 1}),
        (TypeError, {"headers": ["A: b"]}),
        (TypeError, {"headers": [("A",)]}),
        (TypeError, {"headers": [("A", 3)]}),
        (TypeError, {"headers": [(b"A", b"b")]}),
        (TypeError, {"headers": 3}),
        (ValueError, {"headers": [("A", "b\r\nC: d")]}),
        (ValueError, {"headers": [("A", "\xe9")]}),
    ],
)
def test_a_setting_of_the_wrong_sort_is_refused(
    error: type[Exception], arguments: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(error):
        server.static("/x", tmp_path, **arguments)  # type: ignore[arg-type]


def test_bytes_and_paths_name_directories_as_well(tmp_path: Path, no_statics: None) -> None:
    server.static("/x", os.fsencode(tmp_path))
    server.static("/x", tmp_path)
    server.static("/", str(tmp_path))
