"""A Bottle site; and Bottle's own adapter for this server, which is used as it comes."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from harness import PATIENCE, Process, Server, wait_until
from rawclient import Client
from visitor import (
    FILE,
    FORM,
    LARGE,
    assert_each_gets_its_own,
    assert_heads,
    assert_ranges,
    assert_streams,
    cut,
    digest,
    http_client,
    site_environment,
    upload_in_chunks,
)

Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def server(serve_site: Serve, files: dict[str, str]) -> Server:
    return serve_site("sites.bottle_site:app", env=files)


# ---- what a request says


def test_paths_and_queries_in_any_language_are_decoded(http: httpx.Client) -> None:
    words = "gr\xfc\xdfe/\u4e16\u754c/a+b%25 c;d"
    query = {"\xe4": ["\xf6 &=", "\u20ac"], "plus": "a+b"}
    answer = http.get(f"/words/{quote(words)}/7", params=query)
    assert answer.json() == {
        "words": words,
        "number": 7,
        "path": f"/words/{words}/7",
        "args": {"\xe4": ["\xf6 &=", "\u20ac"], "plus": ["a+b"]},
    }


def test_a_mounted_site_knows_where_it_is(http: httpx.Client) -> None:
    answer = http.get("/below/where", headers={"Host": "testsite"})
    assert answer.text == "/below/ /where http://testsite/below/where"


FIELDS = b"name=J%C3%B6rg+%26+Co&name=Eva&empty="
READ = {"name": ["J\xf6rg & Co", "Eva"], "empty": [""]}


def test_a_form_is_read(http: httpx.Client) -> None:
    assert http.post("/form", content=FIELDS, headers=FORM).json() == READ


@pytest.mark.parametrize("size", [1, 7, len(FIELDS)])
def test_a_form_that_comes_in_chunks_is_read(http: httpx.Client, size: int) -> None:
    assert http.post("/form", content=cut(FIELDS, size), headers=FORM).json() == READ


@pytest.mark.parametrize("size", [1, 70_000, len(LARGE)])
def test_an_upload_arrives_whole_with_its_name_type_and_fields(
    http: httpx.Client, size: int
) -> None:
    file = ("a b.bin", LARGE[:size], "application/x-thing")
    answer = http.post("/upload", files={"file": file}, data={"title": "\u4e16"})
    assert answer.json() == {
        "name": "a b.bin",
        "type": "application/x-thing",
        "digest": digest(LARGE[:size]),
        "title": "\u4e16",
    }


def test_an_upload_that_comes_in_chunks_arrives_whole(http: httpx.Client) -> None:
    answer = upload_in_chunks(http, "/upload", LARGE)
    assert (answer.status_code, digest(LARGE) in answer.text) == (200, True)


def test_json_is_taken_and_given(http: httpx.Client) -> None:
    value = {"a": [1, None, "\xe4\u20ac"], "b": {"c": 1.5}}
    assert http.post("/json", json=value).json() == {"got": value}
    refused = http.post("/json", content=b"{", headers={"Content-Type": "application/json"})
    assert refused.status_code == 400


@pytest.mark.parametrize("size", [0, 1, 10_000, len(LARGE)])
def test_a_body_is_read_in_pieces_whole(http: httpx.Client, size: int) -> None:
    body = LARGE[:size]
    assert http.put("/raw", content=body).text == digest(body)
    assert http.put("/raw", content=cut(body, 50_000)).text == digest(body)


def test_several_cookies_are_set_and_come_back_and_a_forged_one_does_not(
    http: httpx.Client,
) -> None:
    answer = http.get("/cookies/set")
    names = [line.partition("=")[0] for line in answer.headers.get_list("Set-Cookie")]
    assert sorted(names) == ["one", "signed", "three", "two"]
    assert http.get("/cookies").json() == {"one": "1", "two": "2", "signed": "J\xf6rg"}
    forged = answer.cookies["signed"].strip('"').replace("!", "!A", 1)
    http.cookies.clear()
    answer = http.get("/cookies", headers={"Cookie": f'signed="{forged}"; one=1'})
    assert answer.json() == {"one": "1", "two": None, "signed": None}


def test_each_of_many_clients_at_once_gets_its_own_answers(server: Server) -> None:
    def ask(http: httpx.Client, word: str) -> str:
        assert http.post("/form", data={"word": word}).json() == {"word": [word]}
        return str(http.get(f"/words/{word}/1").json()["words"])

    assert_each_gets_its_own(server, ask)


# ---- answers of all kinds


def test_every_answer_passes_the_site_s_hooks(http: httpx.Client) -> None:
    answer = http.get("/")
    assert (answer.text, answer.headers["X-After"]) == ("a page of \xfcml\xe4uts", "GET")
    answer = http.get("/old")
    assert (answer.status_code, answer.headers["X-After"]) == (303, "GET")
    assert answer.headers["Location"] == str(http.base_url) + "/words/a/1"


def test_a_stream_s_piece_leaves_before_the_next_is_made(http: httpx.Client, gate: Path) -> None:
    assert_streams(http, "/stream", gate)
    assert http.get("/").status_code == 200


def test_an_answer_is_closed_once_however_it_ends(serve_alone: Serve) -> None:
    with http_client(serve_alone("sites.bottle_site:app", tracebacks=1)) as http:
        assert http.get("/closing/whole").text == "0\n1\n2\n"
        assert http.head("/closing/head").status_code == 200
        with pytest.raises(httpx.TransportError):
            http.get("/closing/cut", params={"fail": "1"})
        expected = ["cut", "head", "whole"]
        wait_until(lambda: len(http.get("/closed").json()["closed"]) >= 3, "closed all answers")
        assert sorted(http.get("/closed").json()["closed"]) == expected


def test_a_file_is_sent_whole_and_by_ranges(http: httpx.Client) -> None:
    assert_ranges(http, "/file")


def test_a_file_that_has_not_changed_is_not_sent_again(http: httpx.Client) -> None:
    whole = http.head("/file")
    for fields in (
        {"If-None-Match": whole.headers["ETag"]},
        {"If-Modified-Since": whole.headers["Last-Modified"]},
    ):
        answer = http.get("/file", headers=fields)
        assert (answer.status_code, answer.content) == (304, b"")


def test_a_file_that_is_handed_over_open_is_sent_whole_and_closed(
    server: Server, http: httpx.Client
) -> None:
    assert http.get("/opened").content == FILE
    attachment = http.get("/attachment")
    assert attachment.content == FILE
    assert attachment.headers["Content-Disposition"] == 'attachment; filename="large copy.bin"'
    before = server.open_fds()
    for target in ("/opened", "/file", "/attachment"):
        http.get(target)
        http.head(target)
    wait_until(lambda: server.open_fds() <= before, "closed the files")


def test_head_says_what_get_would_and_sends_no_body(raw: Client) -> None:
    assert_heads(raw, "/", "/file", "/nowhere")


def test_errors_are_answered_by_the_site_s_handlers(http: httpx.Client) -> None:
    missing = http.get("/nowhere/\xe4")
    assert (missing.status_code, missing.text) == (404, "nothing at /nowhere/\xe4")
    forbidden = http.get("/forbidden")
    assert (forbidden.status_code, "not you" in forbidden.text) == (403, True)
    refused = http.get("/form")
    assert (refused.status_code, refused.headers["Allow"]) == (405, "POST")
    nothing = http.get("/no-content")
    assert (nothing.status_code, nothing.content) == (204, b"")


def test_an_uncaught_error_is_bottle_s_500_and_the_next_request_is_served(
    serve_alone: Serve,
) -> None:
    server = serve_alone("sites.bottle_site:app", tracebacks=1)  # Bottle's, to wsgi.errors
    with http_client(server) as http:
        failed = http.get("/fails")
        assert (failed.status_code, "Internal Server Error" in failed.text) == (500, True)
        assert http.get("/").status_code == 200
    wait_until(lambda: "ValueError: on purpose" in server.log, "logged the error")


# ---- Bottle's adapter


class Adapter:
    """A process in which Bottle runs the site by server='meinheld'."""

    def __init__(self, process: Process, port: int) -> None:
        self.process = process
        self.url = f"http://127.0.0.1:{port}"
        self.address = ("127.0.0.1", port)

    def listens(self) -> bool:
        """Whether it takes connections; the test fails if it has ended."""
        assert self.process.popen.poll() is None, self.process.log
        with socket.socket() as probe:
            return probe.connect_ex(self.address) == 0


@pytest.fixture(params=["run", "command line"])
def adapter(
    request: pytest.FixtureRequest, spawn: Callable[..., Process], files: dict[str, str]
) -> Iterator[Adapter]:
    """Bottle does not tell which port it got, so it is given one, that a socket holds but does not
    listen at."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        port: int = holder.getsockname()[1]
        argv = ["sites.bottle_site", str(port)]
        if request.param == "command line":
            argv = ["bottle", "--server", "meinheld", "--bind", f"127.0.0.1:{port}"]
            argv.append("sites.bottle_site:app")
        process = spawn([sys.executable, "-m", *argv], env=site_environment(**files))
        adapter = Adapter(process, port)
        wait_until(adapter.listens, "listened")
        yield adapter


def test_bottle_s_adapter_serves_the_site(adapter: Adapter, gate: Path) -> None:
    with httpx.Client(base_url=adapter.url, timeout=PATIENCE, trust_env=False) as http:
        assert http.get("/").text == "a page of \xfcml\xe4uts"
        assert http.get("/").headers["Server"].startswith("meinheld")
        assert http.post("/form", content=iter([FIELDS]), headers=FORM).json() == READ
        assert http.put("/raw", content=LARGE).text == digest(LARGE)
        assert http.get("/file").content == FILE
        assert_streams(http, "/stream", gate)
        assert http.get("/nowhere").status_code == 404


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_bottle_s_adapter_ends_well_by_a_signal(adapter: Adapter, number: int) -> None:
    assert httpx.get(adapter.url, trust_env=False).status_code == 200
    adapter.process.signal(number)
    assert adapter.process.wait() == 0
    assert "Traceback" not in adapter.process.log
