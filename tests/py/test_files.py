"""wsgi.file_wrapper: what is sent by its descriptor and what is read, how much of it, and that it
is closed once, however its response ends.

Where a test has to know that a file was not read, it looks at the position of its descriptor, which
sendfile(2) leaves alone."""

from __future__ import annotations

import hashlib
import io
import os
import re
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlencode

import pytest
from apps import files as app_files
from harness import HERE, Process, Server, wait_until
from meinheld._files import FileWrapper
from rawclient import Client, Response, request

Serve = Callable[..., Server]
FILES = "apps.files:app"
LINE = b"a line of twenty-six letters and more\n"
MEBIBYTE = 1 << 20


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A file that fits into a pipe."""
    path = tmp_path / "small"
    path.write_bytes(LINE * 1000)
    return path


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A file that no socket takes at once: 64 MiB, every block of it another."""
    path = tmp_path / "large"
    with path.open("wb") as file:
        for number in range(1024):
            file.write(hashlib.sha512(str(number).encode()).digest() * 1024)
    return path


def target(name: str, path: Path, /, **query: object) -> str:
    return f"{name}?{urlencode({'path': path, **query})}"


def get(client: Client, name: str, path: Path, /, method: str = "GET", **query: object) -> Response:
    return client.get(target(name, path, **query), method=method)


def await_closed(server: Server, times: int) -> None:
    """Returns once files have been closed so many times; more is an error, now or at the end."""
    wait_until(lambda: server.log.count("closed\n") >= times, f"closed {times} files")
    assert server.log.count("closed\n") == times


# ---- what is sent by its descriptor


@pytest.mark.parametrize("kind", app_files.KINDS)
def test_a_file_of_any_kind_arrives_as_read_reads_it(serve: Serve, small: Path, kind: str) -> None:
    want = small.read_bytes()
    with serve(FILES).connect() as client:
        for _ in range(2):
            body = get(client, "/kind", small, kind=kind).body
            assert body == (want.upper() if kind.startswith("shouting") else want)
        assert client.get("/hello").body == b"hello"


@pytest.mark.parametrize("kind", app_files.KINDS)
def test_a_descriptor_is_found_only_where_reading_it_is_the_same(small: Path, kind: str) -> None:
    by_descriptor, make = app_files.KINDS[kind]
    wrapper = FileWrapper(make(str(small)))
    found = wrapper.descriptor()
    wrapper.close()
    assert (found is not None) == by_descriptor
    assert found is None or (found[0] > 2 and found[1] == 0)


@pytest.mark.parametrize("kind", app_files.UNREADABLE)
def test_what_can_t_be_read_as_bytes_is_500_and_logged(
    serve: Serve, small: Path, kind: str
) -> None:
    with serve(FILES, tracebacks=1).connect() as client:
        assert get(client, "/kind", small, kind=kind).status == 500
        assert client.get("/hello").body == b"hello"


@pytest.mark.parametrize(
    "path", ["/proc/version", "/proc/self/status", "/sys/devices/system/cpu/online", "/dev/null"]
)
def test_what_the_kernel_makes_up_is_read_whatever_its_size(serve: Serve, path: str) -> None:
    with serve(FILES).connect() as client:
        response = get(client, "/kind", Path(path), kind="buffered")
        assert response.status == 200
        if path != "/proc/self/status":
            assert response.body == Path(path).read_bytes()
        else:
            assert response.body.startswith(b"Name:")
        assert client.get("/hello").body == b"hello"


def test_a_file_without_a_block_arrives_as_zeros(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "hole"
    path.touch()
    os.truncate(path, MEBIBYTE)
    with serve(FILES).connect() as client:
        assert get(client, "/file", path).body == bytes(MEBIBYTE)


def test_a_wrapper_says_what_it_does_not_take() -> None:
    with pytest.raises(TypeError, match="needs a method read"):
        FileWrapper(object())
    with pytest.raises(ValueError, match="blksize must be at least 1, not 0"):
        FileWrapper(io.BytesIO(), 0)


def test_a_file_is_not_read_while_it_is_sent(serve: Serve, large: Path) -> None:
    server = serve(FILES)
    with server.connect() as client:
        client.send(request(target("/file", large, offset=1000)))
        assert client.read_head().get("Content-Length") == str(64 * MEBIBYTE - 1000)
        client.read_some(MEBIBYTE)
        assert len(server.positions(large)) == 1
        assert server.positions(large) <= {0, 1000}
        client.read_some(63 * MEBIBYTE - 1000)
        await_closed(server, 1)


def test_the_example_serves_a_file_and_is_short(spawn: Callable[..., Process]) -> None:
    example = HERE.parent.parent / "examples" / "file_wrapper.py"
    assert len(example.read_text().splitlines()) < 40
    process = spawn([sys.executable, str(example), str(example), "0"])
    wait_until(lambda: process.out or process.popen.poll() is not None, "said where it serves")
    match = re.match(r"http://127\.0\.0\.1:(\d+)/", process.out)
    assert match, process.log
    with Client(("127.0.0.1", int(match[1]))) as client:
        for _ in range(2):
            response = client.get()
            assert response.body == example.read_bytes()
            assert (response.get("Content-Type") or "").startswith("text/")
    process.signal(signal.SIGINT)
    assert process.wait() == 0
    assert process.log == ""


# ---- how much of it


def test_a_file_is_sent_from_where_it_stands_to_its_end(serve: Serve, small: Path) -> None:
    content = small.read_bytes()
    with serve(FILES).connect() as client:
        for offset in (0, 1, 4096, 10_000, len(content) - 1, len(content), len(content) + 5):
            response = get(client, "/file", small, offset=offset)
            assert response.body == content[offset:]
            assert response.get("Content-Length") in (None, str(len(content[offset:])))
        assert get(client, "/half-read", small).body == content[10:]
        assert get(client, "/sought", small).body == content[100:]


@pytest.mark.parametrize("kind", ["buffered", "in memory"])
def test_an_app_s_length_ends_a_file_before_its_end(serve: Serve, small: Path, kind: str) -> None:
    content = small.read_bytes()
    server = serve(FILES)
    with server.connect() as client:
        for length in (0, 1, 999, 8192, 20_000):
            response = get(
                client,
                "/file",
                small,
                kind=kind,
                status="206 Partial Content",
                offset=100,
                length=length,
                **{"X-Content-Range": f"bytes 100-{99 + length}/{len(content)}"},
            )
            assert (response.status, response.body) == (206, content[100 : 100 + length])
            assert response.get("Content-Length") == str(length)
    server.stop()
    assert server.log == "closed\n" * 5  # no word of a body that is too long


def test_a_length_over_the_file_s_is_reported_and_aborts(serve: Serve, small: Path) -> None:
    server = serve(FILES)
    with server.connect() as client:
        client.send(request(target("/file", small, length=len(LINE) * 1000 + 1)))
        client.read_to_abort()
    await_closed(server, 1)
    server.wait_for_log("the body is not as long as its Content-Length says, 38001")


@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/1.0"])
def test_a_file_has_its_length_in_any_version(serve: Serve, small: Path, version: str) -> None:
    with serve(FILES).connect() as client:
        fields = [("Connection", "keep-alive")]
        for _ in range(2):
            response = client.get(target("/file", small), version=version, fields=fields)
            assert (response.framing, response.body) == ("length", small.read_bytes())


@pytest.mark.parametrize("kind", ["buffered", "in memory"])
def test_an_empty_file_is_an_empty_body(serve: Serve, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "empty"
    path.touch()
    server = serve(FILES)
    with server.connect() as client:
        response = get(client, "/file", path, kind=kind)
        assert (response.get("Content-Length"), response.body) == ("0", b"")
        assert client.get("/hello").body == b"hello"
    await_closed(server, 1)


def test_head_has_the_length_that_get_has(serve: Serve, small: Path) -> None:
    server = serve(FILES)
    with server.connect() as client:
        for query, length in (({}, "38000"), ({"offset": 8000}, "30000"), ({"length": 7}, "7")):
            response = get(client, "/file", small, method="HEAD", **query)
            assert (response.status, response.get("Content-Length")) == (200, length)
        assert client.get("/hello").body == b"hello"
    await_closed(server, 3)


@pytest.mark.parametrize(
    ("status", "length"), [("204 No Content", None), ("304 Not Modified", None)]
)
def test_a_status_without_a_body_sends_nothing_of_the_file(
    serve: Serve, small: Path, status: str, length: str | None
) -> None:
    server = serve(FILES)
    with server.connect() as client:
        response = get(client, "/file", small, status=status)
        assert f"{response.status} {response.reason}" == status
        assert response.get("Content-Length") == length
        assert client.get("/hello").body == b"hello"
    await_closed(server, 1)


def test_what_was_written_comes_before_the_file(serve: Serve, small: Path) -> None:
    server = serve(FILES)
    with server.connect() as client:
        assert get(client, "/written-before", small).body == b"written," + small.read_bytes()
        assert client.get("/hello").body == b"hello"
    await_closed(server, 1)


def test_a_middleware_may_iterate_over_a_wrapper(serve: Serve, small: Path) -> None:
    with serve(FILES).connect() as client:
        assert get(client, "/wrapped-again", small).body == small.read_bytes().upper()


def test_without_a_descriptor_to_spare_a_file_is_read(serve: Serve, small: Path) -> None:
    with serve(FILES).connect() as client:
        assert get(client, "/no-descriptor-left", small).body == small.read_bytes()
        assert client.get("/hello").body == b"hello"


# ---- large ones


def test_sixty_four_mebibytes_arrive_unchanged_however_slowly(serve: Serve, large: Path) -> None:
    want = hashlib.sha256(large.read_bytes()).digest()
    server = serve(FILES)
    with server.connect(timeout=60, receive_buffer=65536) as slow, server.connect() as quick:
        slow.send(request(target("/file", large)))
        assert slow.read_head().framing == "none"
        for _ in range(100):
            assert quick.get("/hello").body == b"hello"
        got = hashlib.sha256()
        for _ in range(64):
            got.update(slow.read_some(MEBIBYTE))
        assert got.digest() == want
        assert slow.get("/hello").body == b"hello"


@pytest.mark.timeout(300)  # as long as it takes on a machine that is busy
def test_a_file_over_2_gib_is_sent_to_its_end(serve: Serve, tmp_path: Path) -> None:
    size = (1 << 31) + (1 << 27) + 5
    path = tmp_path / "huge"
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(size - 7)
        file.write(b"the end")
    server = serve(FILES)
    with server.connect(timeout=50) as client:
        response = get(client, "/file", path, offset=size - 10)
        assert response.body == bytes(3) + b"the end"
        response = get(client, "/file", path, offset=(1 << 31) - 5, length=10)
        assert response.body == bytes(10)
        client.send(request(target("/file", path)))
        assert client.read_head().get("Content-Length") == str(size)
        client.skip(size - 16)
        assert client.read_some(16) == bytes(9) + b"the end"
        assert client.get("/hello").body == b"hello"


def test_requests_behind_a_file_are_answered_after_it(serve: Serve, large: Path) -> None:
    size = 64 * MEBIBYTE
    server = serve(FILES)
    with server.connect(timeout=30) as client:
        part = target("/file", large, length=3 * MEBIBYTE)
        client.send(request(part) + request("/hello") + request(part) + request("/hello"))
        for _ in range(2):
            assert len(client.read_response().body) == 3 * MEBIBYTE
            assert client.read_response().body == b"hello"
        client.send(request(target("/file", large)) + request("/hello"))
        assert len(client.read_response().body) == size
        assert client.read_response().body == b"hello"
        client.expect_nothing_buffered()
    await_closed(server, 3)


def test_a_thousand_downloads_leave_nothing_open(serve: Serve, small: Path) -> None:
    want = small.read_bytes()
    server = serve(FILES)
    with server.connect() as client:
        client.get("/hello")
        before = server.open_fds()
        for _ in range(1000):
            assert get(client, "/file", small).body == want
        await_closed(server, 1000)
        assert server.open_fds() == before


# ---- while it is sent


def test_of_a_file_that_grows_the_announced_length_is_sent(serve: Serve, large: Path) -> None:
    with serve(FILES).connect() as client:
        client.send(request(target("/file", large)) + request("/hello"))
        assert client.read_head().get("Content-Length") == str(64 * MEBIBYTE)
        client.read_some(MEBIBYTE)
        with large.open("ab") as file:
            file.write(b"more" * MEBIBYTE)
        client.read_some(63 * MEBIBYTE)
        assert client.read_response().body == b"hello"


def test_a_file_that_shrinks_is_reported_and_aborts(serve: Serve, large: Path) -> None:
    server = serve(FILES)
    with server.connect() as client:
        client.send(request(target("/file", large)))
        client.read_head()
        client.read_some(MEBIBYTE)
        os.truncate(large, 32 * MEBIBYTE)
        assert len(client.read_to_abort()) < 31 * MEBIBYTE + 1
    await_closed(server, 1)
    assert "its file became shorter, or could not be read" in server.log


def test_another_file_under_the_number_is_not_sent(
    serve: Serve, large: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"secret" * MEBIBYTE)
    server = serve(FILES)
    with server.connect(timeout=30, receive_buffer=65536) as slow, server.connect() as client:
        slow.send(request(target("/given-away", large)))
        slow.read_head()
        assert get(client, "/taken-back", other).body == b"same"
        got = hashlib.sha256()
        for _ in range(64):
            got.update(slow.read_some(MEBIBYTE))
        assert got.digest() == hashlib.sha256(large.read_bytes()).digest()


# ---- closed once


def test_a_file_stays_open_until_its_client_has_it(serve: Serve, large: Path) -> None:
    server = serve(FILES)
    with server.connect() as client:
        client.send(request(target("/file", large)))
        client.read_head()
        client.read_some(MEBIBYTE)
        assert "closed" not in server.log
        client.read_some(63 * MEBIBYTE)
        await_closed(server, 1)
        assert client.get("/hello").body == b"hello"


@pytest.mark.parametrize("kind", ["buffered", "in memory", "shouting"])
def test_a_file_is_closed_once_when_its_client_leaves(serve: Serve, large: Path, kind: str) -> None:
    server = serve(FILES)
    for times in range(1, 6):
        with server.connect() as client:
            client.send(request(target("/file", large, kind=kind)))
            client.read_some(10_000)
        await_closed(server, times)
    wait_until(lambda: not server.positions(large), "closed every descriptor")


def test_a_file_is_closed_once_when_its_client_is_too_slow(serve: Serve, large: Path) -> None:
    server = serve(FILES, limits={"write_timeout": 0.2, "rate_grace": 0.1, "rate_window": 0.1})
    with server.connect(receive_buffer=4096) as client:
        client.send(request(target("/file", large)))
        client.read_head()
        await_closed(server, 1)
    assert not server.positions(large)


def test_a_file_is_closed_once_when_its_head_may_not_be_sent(serve: Serve, small: Path) -> None:
    server = serve(FILES, tracebacks=1)
    with server.connect() as client:
        assert get(client, "/started-badly", small).status == 500
        assert client.get("/hello").body == b"hello"
    await_closed(server, 1)


def test_a_file_is_closed_once_when_the_app_did_not_start(serve: Serve, small: Path) -> None:
    server = serve(FILES, tracebacks=1)
    with server.connect() as client:
        assert get(client, "/not-started", small).status == 500
    await_closed(server, 1)
    assert "without having called start_response" in server.log or "before it called" in server.log


def test_a_file_is_closed_once_when_the_run_ends_by_a_drain(serve: Serve, large: Path) -> None:
    server = serve(FILES)
    with server.connect() as client:
        client.send(request(target("/file", large)))
        client.read_head()
        server.signal(signal.SIGTERM)
        client.read_some(64 * MEBIBYTE)
        client.expect_close()
    assert server.wait() == 0
    await_closed(server, 1)


def test_a_file_is_closed_once_when_the_run_ends_at_once(serve: Serve, large: Path) -> None:
    server = serve(FILES, tracebacks=1, status=-signal.SIGINT)
    with server.connect() as client:
        client.send(request(target("/file", large)))
        client.read_head()
        server.signal(signal.SIGINT)
        client.read_to_abort()
    server.wait()
    await_closed(server, 1)
    assert "KeyboardInterrupt" in server.log


def test_what_close_raises_is_logged_and_harms_nobody(serve: Serve, small: Path) -> None:
    server = serve(FILES, tracebacks=1)
    with server.connect() as client:
        assert get(client, "/fails-to-close", small).body == small.read_bytes()
        assert client.get("/hello").body == b"hello"
    server.wait_for_log("closing failed on purpose")
    assert "/fails-to-close?" in server.log and "closing its file failed" in server.log


def test_a_keyboard_interrupt_of_close_ends_the_run(serve: Serve, small: Path) -> None:
    server = serve(FILES, tracebacks=1, status=-signal.SIGINT)
    with server.connect() as client:
        assert get(client, "/interrupts", small).body == small.read_bytes()
    server.wait()
    assert server.log.endswith("KeyboardInterrupt\n")


def test_close_sees_the_context_of_its_request(serve: Serve, large: Path, small: Path) -> None:
    server = serve(FILES)
    with server.connect() as slow, server.connect() as quick:
        slow.send(request(target("/in-context", large, name="slow")))
        slow.read_head()
        for _ in range(3):
            get(quick, "/in-context", small, name="quick")
        slow.read_some(64 * MEBIBYTE)
        wait_until(lambda: "closed for slow" in server.log, "closed the large file")
    assert server.log.count("closed for quick\n") == 3
