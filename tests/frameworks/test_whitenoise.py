"""WhiteNoise: static files whole and by ranges, zipped neighbours, what clients keep; and what it
leaves to the application."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from harness import Server, wait_until
from rawclient import Client
from visitor import (
    FILE,
    LARGE,
    RANGES,
    assert_each_gets_its_own,
    assert_heads,
    assert_ranges,
    http_client,
)

Serve = Callable[..., Server]
SCRIPT = b"let a = 1;\n" * 1000
# No brotli: WhiteNoise looks at names, and so does the test.
BROTLI = b"the same, by another compression"
TARGET = "/static/large.bin"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is served."""
    path = tmp_path_factory.mktemp("static")
    (path / "large.bin").write_bytes(FILE)
    (path / "larger.bin").write_bytes(LARGE * 4)
    (path / "empty.txt").write_bytes(b"")
    (path / "gr\xfc\xdfe \u4e16.txt").write_text("gr\xfc\xdfe")
    (path / "app.0123abcd.js").write_bytes(SCRIPT)
    (path / "app.js").write_bytes(SCRIPT)
    (path / "app.js.gz").write_bytes(gzip.compress(SCRIPT))
    (path / "app.js.br").write_bytes(BROTLI)
    (path / "pages").mkdir()
    (path / "pages" / "index.html").write_text("<p>index")
    return path


@pytest.fixture(scope="module")
def server(serve_site: Serve, folder: Path) -> Server:
    return serve_site("sites.whitenoise_site:app", env={"SITE_FILES": str(folder)})


def test_a_file_is_sent_whole_and_by_ranges(http: httpx.Client) -> None:
    assert_ranges(http, TARGET, RANGES[1:])  # it takes a range of one byte for an empty one
    beyond = http.get(TARGET, headers={"Range": "bytes=300000-"})
    assert beyond.headers["Content-Range"] == "bytes */300000"
    for asked in ("bytes=0-1,5-6", "lines=1-2"):
        answer = http.get(TARGET, headers={"Range": asked})
        assert (answer.status_code, answer.content) == (200, FILE), asked


def test_files_of_any_size_and_name_arrive_whole(http: httpx.Client) -> None:
    large = http.get("/static/larger.bin")
    assert large.headers["Content-Length"] == str(4 * len(LARGE))
    assert large.content == LARGE * 4
    empty = http.get("/static/empty.txt")
    assert (empty.content, empty.headers["Content-Length"]) == (b"", "0")
    named = http.get("/static/gr\xfc\xdfe \u4e16.txt")
    assert (named.text, named.headers["Content-Type"]) == (
        "gr\xfc\xdfe",
        'text/plain; charset="utf-8"',
    )


def test_a_file_that_has_not_changed_is_not_sent_again(http: httpx.Client) -> None:
    head = http.head(TARGET)
    etag, modified = head.headers["ETag"], head.headers["Last-Modified"]
    for known in (
        {"If-None-Match": etag},
        {"If-Modified-Since": modified},
        {"If-None-Match": etag, "Range": "bytes=0-1"},
    ):
        answer = http.get(TARGET, headers=known)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == etag
        assert answer.headers["Cache-Control"] == "max-age=60, public"
    for unknown in (
        {"If-None-Match": '"other"'},
        {"If-Modified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"},
    ):
        assert http.get(TARGET, headers=unknown).content == FILE


def test_a_file_with_its_hash_in_its_name_is_kept_for_ever(http: httpx.Client) -> None:
    kept = http.get("/static/app.0123abcd.js")
    assert kept.headers["Cache-Control"] == "max-age=315360000, public, immutable"
    assert http.head("/static/app.js").headers["Cache-Control"] == "max-age=60, public"


@pytest.mark.parametrize(
    "accepted, coding", [("gzip", "gzip"), ("gzip, br", "br"), ("identity", None), ("", None)]
)
def test_a_client_gets_the_compression_that_it_accepts(
    http: httpx.Client, accepted: str, coding: str | None
) -> None:
    with http.stream("GET", "/static/app.js", headers={"Accept-Encoding": accepted}) as answer:
        data = b"".join(answer.iter_raw())
    assert answer.headers.get("Content-Encoding") == coding
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert answer.headers["Content-Length"] == str(len(data))
    assert answer.headers["Content-Type"] == 'text/javascript; charset="utf-8"'
    if coding == "gzip":
        data = gzip.decompress(data)
    assert data == (BROTLI if coding == "br" else SCRIPT)


def test_head_says_what_get_would_and_sends_no_body(raw: Client) -> None:
    assert_heads(raw, TARGET, "/static/app.js", "/static/empty.txt", "/static/pages/")


def test_an_index_stands_for_its_directory(http: httpx.Client) -> None:
    assert http.get("/static/pages/").text == "<p>index"
    for path in ("/static/pages", "/static/pages/index.html"):
        moved = http.get(path)
        assert moved.status_code == 302 and moved.next_request
        assert moved.next_request.url.path == "/static/pages/"


def test_what_is_no_file_is_left_to_the_application(http: httpx.Client) -> None:
    for path in ("/", "/static/nothing", "/large.bin", "/static/../large.bin"):
        answer = http.get(path)
        assert (answer.status_code, answer.text) == (200, f"inner {answer.request.url.path}")
    escaping = "/static/%2e%2e/%2e%2e/etc/passwd"
    assert http.get(escaping).text == "inner /static/../../etc/passwd"
    refused = http.post(TARGET, content=b"x")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, HEAD")


def test_each_of_many_clients_at_once_gets_its_own_answers(server: Server) -> None:
    def ask(http: httpx.Client, word: str) -> str:
        assert http.get(TARGET).content == FILE
        return http.get(f"/{word}").text.replace("inner /", "")

    assert_each_gets_its_own(server, ask)


def test_files_that_were_sent_are_closed_and_so_are_those_whose_client_left(
    server: Server, http: httpx.Client
) -> None:
    http.get(TARGET)
    before = server.open_fds()
    for _ in range(5):
        http.get(TARGET)
        http.get(TARGET, headers={"Range": "bytes=5-9"})
        http.head(TARGET)
        with http_client(server) as leaving, leaving.stream("GET", "/static/larger.bin") as answer:
            next(answer.iter_raw())
    wait_until(lambda: server.open_fds() <= before, "closed the files")


def test_files_that_come_and_change_are_seen_where_that_is_asked_for(
    serve_alone: Serve, tmp_path: Path
) -> None:
    site = serve_alone("sites.whitenoise_site:refreshing", env={"SITE_FILES": str(tmp_path)})
    with http_client(site) as http:
        assert http.get("/static/new.txt").text == "inner /static/new.txt"
        (tmp_path / "new.txt").write_text("new")
        assert http.get("/static/new.txt").text == "new"
        (tmp_path / "new.txt").write_text("newer")
        assert http.get("/static/new.txt").text == "newer"
