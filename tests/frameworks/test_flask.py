"""A Flask site: forms, uploads, cookies, sessions, streams, files, errors; and what Werkzeug's and
the standard library's checkers of WSGI say of it."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from harness import Process, Server, wait_until
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
    open_gate,
    site_environment,
    upload_in_chunks,
)

Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def server(serve_site: Serve, files: dict[str, str]) -> Server:
    return serve_site("sites.flask_site:app", env=files)


# ---- what a request says


def test_a_form_is_shown_and_what_is_posted_is_read(http: httpx.Client) -> None:
    page = http.get("/")
    assert page.text == '<form method="post" action="/greet"><input name="name"></form>'
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    assert page.headers["Content-Length"] == str(len(page.content))
    greeting = http.post("/greet", data={"name": "J\xf6rg & Co"}, headers={"Host": "shop:80"})
    assert greeting.text == "Hello J\xf6rg & Co, from 127.0.0.1 to shop"


def test_a_form_that_comes_in_chunks_is_read(http: httpx.Client) -> None:
    fields = {**FORM, "Host": "testsite"}
    answer = http.post("/greet", content=cut(b"name=Eva", 5), headers=fields)
    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert answer.text == "Hello Eva, from 127.0.0.1 to testsite"


def test_paths_and_queries_in_any_language_are_decoded(http: httpx.Client) -> None:
    words = "gr\xfc\xdfe/\u4e16\u754c/a+b%25 c;d"
    path = f"/words/{quote(words)}/7"
    answer = http.get(path, params={"\xe4": ["\xf6 &=", "\u20ac"], "plus": "a+b"})
    assert answer.json() == {
        "words": words,
        "number": 7,
        "path": f"/words/{words}/7",
        "root": "",
        "args": {"\xe4": ["\xf6 &=", "\u20ac"], "plus": ["a+b"]},
        "built": path.replace("%3B", ";").replace("%2B", "+"),
    }


def test_a_site_below_a_prefix_knows_its_own_urls(serve_alone: Serve) -> None:
    with http_client(serve_alone("sites.flask_site:mounted")) as http:
        answer = http.get("/below/words/a/1").json()
        assert (answer["root"], answer["built"]) == ("/below", "/below/words/a/1")
        assert http.get("/words/a/1").json()["built"] == "/words/a/1"


def test_json_is_taken_and_given(http: httpx.Client) -> None:
    value = {"a": [1, None, "\xe4\u20ac"], "b": {"c": 1.5}}
    assert http.post("/json", json=value).json() == {"got": value}
    refused = http.post("/json", content=b"{", headers={"Content-Type": "application/json"})
    assert refused.status_code == 400
    assert http.post("/json", content=b"{}").status_code == 415


@pytest.mark.parametrize("size", [0, 1, 10_000, len(LARGE)])
def test_a_body_is_read_in_pieces_whole(http: httpx.Client, size: int) -> None:
    body = LARGE[:size]
    assert http.put("/raw", content=body).text == digest(body)
    assert http.put("/raw", content=cut(body, 50_000)).text == digest(body)


@pytest.mark.parametrize("size", [1, 70_000, len(LARGE)])
def test_an_upload_arrives_whole_with_its_name_type_and_fields(
    http: httpx.Client, size: int
) -> None:
    file = ("na\xefve.bin", LARGE[:size], "application/x-thing")
    answer = http.post("/upload", files={"file": file}, data={"title": "\u4e16"})
    assert answer.json() == {
        "name": "na\xefve.bin",
        "type": "application/x-thing",
        "digest": digest(LARGE[:size]),
        "form": {"title": "\u4e16"},
    }


def test_an_upload_that_comes_in_chunks_arrives_whole(http: httpx.Client) -> None:
    answer = upload_in_chunks(http, "/upload", LARGE)
    assert (answer.status_code, digest(LARGE) in answer.text) == (200, True)


def test_a_body_that_the_site_does_not_read_leaves_the_connection_usable(raw: Client) -> None:
    for _ in range(2):
        response = raw.get("/unread", method="POST", body=LARGE[:500_000])
        assert (response.status, response.body) == (200, b"not interested")
    assert raw.get("/").status == 200


# ---- cookies and sessions


def test_several_cookies_are_set_and_come_back(http: httpx.Client) -> None:
    answer = http.get("/cookies/set")
    one, two, three = answer.headers.get_list("Set-Cookie")
    assert one.startswith('one="1\\073 und \\303\\274"; ') and "HttpOnly" in one
    assert two == "two=2; Path=/; SameSite=Strict"
    assert three.startswith("three=; Expires=Thu, 01 Jan 1970 00:00:00 GMT")
    assert http.get("/cookies").json() == {"one": "1; und \xfc", "two": "2"}


def test_a_session_lasts_and_a_forged_one_does_not(http: httpx.Client) -> None:
    assert http.get("/me").status_code == 403
    answer = http.post("/login", data={"user": "J\xf6rg"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/me")
    assert http.get("/me").text == "You are J\xf6rg"
    forged = "_" + http.cookies["session"][1:]
    http.cookies.clear()
    assert http.get("/me", headers={"Cookie": f"session={forged}"}).status_code == 403


def test_each_of_many_clients_at_once_gets_its_own_answers(server: Server) -> None:
    def ask(http: httpx.Client, word: str) -> str:
        assert http.post("/login", data={"user": word}).status_code == 303
        return http.get("/me").text.replace("You are ", "")

    assert_each_gets_its_own(server, ask)


# ---- answers of all kinds


def test_a_stream_s_piece_leaves_before_the_next_is_made(http: httpx.Client, gate: Path) -> None:
    assert_streams(http, "/stream", gate)
    assert http.get("/").status_code == 200


def test_a_stream_of_many_pieces_arrives_whole(http: httpx.Client) -> None:
    answer = http.get("/count", params={"to": "20000"})
    assert answer.text == "".join(f"{number}\n" for number in range(20_000))


def test_a_file_is_sent_whole_and_by_ranges(http: httpx.Client) -> None:
    assert_ranges(http, "/file")
    whole = http.head("/file")
    assert whole.headers["Accept-Ranges"] == "bytes"
    assert whole.headers["Cache-Control"] == "public, max-age=60"
    beyond = http.get("/file", headers={"Range": "bytes=300000-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */300000")


def test_a_file_that_has_not_changed_is_not_sent_again(http: httpx.Client) -> None:
    whole = http.head("/file")
    etag, modified = whole.headers["ETag"], whole.headers["Last-Modified"]
    for fields in ({"If-None-Match": etag}, {"If-Modified-Since": modified}):
        answer = http.get("/file", headers=fields)
        assert (answer.status_code, answer.content) == (304, b"")
        assert answer.headers["ETag"] == etag
    assert http.get("/file", headers={"If-None-Match": '"other"'}).content == FILE
    part = {"Range": "bytes=0-9"}
    assert http.get("/file", headers={**part, "If-Range": etag}).content == FILE[:10]
    assert http.get("/file", headers={**part, "If-Range": '"other"'}).content == FILE


def test_an_attachment_has_its_name_and_length(http: httpx.Client) -> None:
    answer = http.get("/attachment")
    assert answer.content == FILE
    assert answer.headers["Content-Length"] == str(len(FILE))
    assert "filename*=UTF-8''gr%C3%BC%C3%9Fe.bin" in answer.headers["Content-Disposition"]


def test_files_that_were_sent_are_closed(server: Server, http: httpx.Client) -> None:
    http.get("/file")
    before = server.open_fds()
    for _ in range(5):
        http.get("/file")
        http.get("/file", headers={"Range": "bytes=5-9"})
        http.head("/file")
    wait_until(lambda: server.open_fds() <= before, "closed the files")


def test_head_says_what_get_would_and_sends_no_body(raw: Client) -> None:
    assert_heads(raw, "/", "/file", "/words/a/1", "/nowhere")


def test_methods_that_a_view_lacks_are_refused_and_the_others_told(http: httpx.Client) -> None:
    assert http.delete("/thing").status_code == 204
    refused = http.put("/thing", content=b"x")
    assert refused.status_code == 405
    told = http.options("/thing")
    assert (told.status_code, told.content) == (200, b"")
    for answer in (refused, told):
        allowed = {method.strip() for method in answer.headers["Allow"].split(",")}
        assert allowed == {"GET", "HEAD", "DELETE", "OPTIONS"}


def test_every_answer_passes_the_site_s_own_middleware(http: httpx.Client) -> None:
    assert http.get("/").headers["X-After"] == "page"
    assert http.get("/nowhere").headers["X-After"] == "none"


def test_an_asynchronous_view_is_answered(http: httpx.Client) -> None:
    for number in range(3):
        answer = http.get("/asynchronous", params={"name": number})
        assert answer.text == f"for {number}, still {number}"


# ---- errors


def test_errors_are_answered_by_the_site_s_handlers(http: httpx.Client) -> None:
    missing = http.get("/nowhere/\xe4")
    assert (missing.status_code, missing.text) == (404, "nothing at /nowhere/\xe4")
    known = http.get("/fails-known")
    assert (known.status_code, known.json()) == (422, {"missing": "on purpose"})


def test_an_uncaught_error_is_flask_s_500_and_the_next_request_is_served(
    serve_alone: Serve,
) -> None:
    server = serve_alone("sites.flask_site:app", tracebacks=1)  # Flask's, to wsgi.errors
    with server.connect() as client:
        failed = client.get("/fails")
        assert (failed.status, b"Internal Server Error" in failed.body) == (500, True)
        assert client.get("/").status == 200
    wait_until(lambda: "ValueError: on purpose" in server.log, "logged the error")


def test_a_stream_that_fails_half_way_is_not_taken_for_a_whole_one(serve_alone: Serve) -> None:
    server = serve_alone("sites.flask_site:app", tracebacks=1)
    with http_client(server) as http:
        with pytest.raises(httpx.TransportError):
            http.get("/count", params={"to": "3", "fail": "1"})
        assert http.get("/").status_code == 200


def test_each_request_is_torn_down_once_however_it_ends(serve_alone: Serve, gate: Path) -> None:
    server = serve_alone("sites.flask_site:app", tracebacks=1)
    expected = ["failed ValueError", "left NoneType", "left closed"]
    expected += ["plain NoneType", "stream NoneType", "stream closed"]
    with http_client(server) as http:
        http.get("/", params={"label": "plain"})
        http.get("/count", params={"to": "3", "label": "stream"})
        http.get("/fails", params={"label": "failed"})
        left = {"to": "1", "gate": str(gate), "label": "left"}
        with http.stream("GET", "/count", params=left) as response:
            next(response.iter_raw())
        open_gate(gate)
        wait_until(lambda: len(http.get("/torn-down").json()) >= 6, "torn down all requests")
        assert sorted(http.get("/torn-down").json()) == expected


# ---- checkers of WSGI, and the command line


@pytest.mark.parametrize("checked", ["linted", "validated"])
def test_checkers_of_wsgi_have_nothing_to_say(
    serve_alone: Serve, files: dict[str, str], gate: Path, checked: str
) -> None:
    with http_client(serve_alone(f"sites.flask_site:{checked}", env=files)) as http:
        assert http.get("/").status_code == 200
        assert http.post("/greet", data={"name": "Eva"}).text.startswith("Hello Eva")
        assert http.post("/upload", files={"file": ("a", LARGE)}).json()["digest"] == digest(LARGE)
        assert http.put("/raw", content=LARGE).text == digest(LARGE)
        assert http.get("/cookies/set").text == "set"
        assert_streams(http, "/stream", gate)
        assert http.get("/file").content == FILE
        assert http.get("/nowhere").status_code == 404


def test_the_command_line_serves_it(spawn: Callable[..., Process]) -> None:
    argv = [sys.executable, "-m", "meinheld", "sites.flask_site:app", "--bind", "127.0.0.1:0"]
    process = spawn(argv, env=site_environment())
    process.wait_for_log("stop with Ctrl-C")
    url = re.search(r"http://127\.0\.0\.1:\d+", process.log)
    assert url
    assert httpx.post(url[0] + "/greet", data={"name": "Eva"}, trust_env=False).status_code == 200
    process.popen.terminate()
    assert process.wait() == 0, process.log
