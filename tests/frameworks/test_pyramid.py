"""A Pyramid site: routes, traversal, renderers, sessions, streams, static views, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from harness import Server, wait_until
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
    upload_in_chunks,
)

Serve = Callable[..., Server]


@pytest.fixture(scope="module")
def server(serve_site: Serve, files: dict[str, str]) -> Server:
    return serve_site("sites.pyramid_site:app", env=files)


# ---- what a request says


def test_paths_and_queries_in_any_language_are_decoded(http: httpx.Client) -> None:
    words = "gr\xfc\xdfe/\u4e16\u754c/a+b%25 c;d"
    query = {"\xe4": ["\xf6 &=", "\u20ac"]}
    headers = {"Host": "testsite:81"}
    answer = http.get(f"/words/{quote(words)}/7", params=query, headers=headers)
    read = answer.json()
    assert read.pop("url").startswith("http://testsite:81/words/gr%C3%BC%C3%9Fe/")
    assert read == {
        "words": words,
        "number": "7",
        "path": f"/words/{words}/7",
        "args": ["\xf6 &=", "\u20ac"],
        "built": "/words/gr%C3%BC%C3%9Fe/a%20b/1",
    }


def test_a_path_is_traversed_to_its_resource_and_view(http: httpx.Client) -> None:
    assert http.get("/").json() == ["a"]
    assert http.get("/a").json() == ["b\xe4r"]
    assert http.get("/a/b\xe4r").text == "a page of \xfcml\xe4uts"
    answer = http.get("/a/b\xe4r/edit/more/\u4e16")
    assert answer.json() == ["a page of \xfcml\xe4uts", "/a/b%C3%A4r/", "more", "\u4e16"]
    assert http.get("/a/none").status_code == 404


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
    file = ("na\xefve.bin", LARGE[:size], "application/x-thing")
    answer = http.post("/upload", files={"file": file}, data={"title": "\u4e16"})
    assert answer.json() == {
        "name": "na\xefve.bin",
        "type": "application/x-thing",
        "digest": digest(LARGE[:size]),
        "title": "\u4e16",
    }


def test_an_upload_that_comes_in_chunks_arrives_whole(http: httpx.Client) -> None:
    answer = upload_in_chunks(http, "/upload", LARGE)
    assert (answer.status_code, digest(LARGE) in answer.text) == (200, True)


@pytest.mark.parametrize("size", [0, 1, 10_000, len(LARGE)])
@pytest.mark.parametrize("target", ["/raw", "/body"])
def test_a_body_is_read_in_pieces_or_at_once_whole(
    http: httpx.Client, target: str, size: int
) -> None:
    body = LARGE[:size]
    assert http.put(target, content=body).text == digest(body)
    assert http.put(target, content=cut(body, 50_000)).text == digest(body)


def test_json_is_taken_and_given(http: httpx.Client) -> None:
    value = {"a": [1, None, "\xe4\u20ac"], "b": {"c": 1.5}}
    assert http.post("/json", json=value).json() == {"got": value}


def test_each_of_many_clients_at_once_gets_its_own_answers(server: Server) -> None:
    def ask(http: httpx.Client, word: str) -> str:
        assert http.post("/form", data={"word": word}).json() == {"word": [word]}
        return str(http.get(f"/words/{word}/1").json()["words"])

    assert_each_gets_its_own(server, ask)


# ---- cookies and sessions


def test_several_cookies_are_set_and_come_back(http: httpx.Client) -> None:
    answer = http.post("/cookies")
    one, two, three = answer.headers.get_list("Set-Cookie")
    assert one.startswith("one=1; Max-Age=60; ") and "HttpOnly" in one
    assert two.startswith("two=2; ") and "SameSite=Strict" in two
    assert three.startswith("three=; Max-Age=0; ")
    assert http.get("/cookies").json() == {"one": "1", "two": "2"}


def test_a_session_lasts_and_a_forged_one_does_not(http: httpx.Client) -> None:
    assert [http.get("/visits").text for _ in range(3)] == ["1", "2", "3"]
    forged = http.cookies["session"][:-2] + "AA"
    http.cookies.clear()
    assert http.get("/visits", headers={"Cookie": f"session={forged}"}).text == "1"


def test_a_form_without_its_token_is_refused(http: httpx.Client) -> None:
    token = http.get("/guarded").text
    assert http.post("/guarded").status_code == 400
    assert http.post("/guarded", data={"csrf_token": token}).text == "guarded"
    assert http.post("/guarded", headers={"X-CSRF-Token": token}).text == "guarded"


# ---- answers of all kinds


def test_every_answer_passes_tween_and_subscriber(http: httpx.Client) -> None:
    for target in ("/", "/nowhere", "/static/large.bin"):
        answer = http.get(target)
        assert (answer.headers["X-Tween"], answer.headers["X-Method"]) == ("passed", "GET")
    answer = http.get("/old", headers={"Host": "testsite"})
    assert (answer.status_code, answer.headers["Location"]) == (303, "http://testsite/cookies")
    nothing = http.get("/nothing")
    assert (nothing.status_code, nothing.content) == (204, b"")


def test_a_stream_s_piece_leaves_before_the_next_is_made(http: httpx.Client, gate: Path) -> None:
    assert_streams(http, "/stream", gate)
    assert http.get("/").status_code == 200


def test_a_request_ends_once_however_it_ends(serve_alone: Serve, files: dict[str, str]) -> None:
    with http_client(serve_alone("sites.pyramid_site:app", env=files, tracebacks=1)) as http:
        assert http.get("/ended?label=whole").text == "0\n1\n2\n"
        assert http.head("/ended?label=head").status_code == 200
        with pytest.raises(httpx.TransportError):
            http.get("/ended?label=cut&fail=1")
        labels = ("cut", "head", "whole")
        expected = [f"{label} {how}" for label in labels for how in ("closed", "finished")]
        wait_until(lambda: len(http.get("/ended").json()) >= 6, "ended all requests")
        assert sorted(http.get("/ended").json()) == expected


@pytest.mark.parametrize("target", ["/file", "/static/large.bin"])
def test_a_file_is_sent_whole_and_closed(server: Server, http: httpx.Client, target: str) -> None:
    whole = http.get(target)
    assert (whole.status_code, whole.content) == (200, FILE)
    assert whole.headers["Content-Length"] == str(len(FILE))
    before = server.open_fds()
    for _ in range(5):
        http.get(target)
    wait_until(lambda: server.open_fds() <= before, "closed the files")
    known = {"If-Modified-Since": whole.headers["Last-Modified"]}
    answer = http.get(target, headers=known)
    assert (answer.status_code, answer.content) == (304, b"")


def test_a_file_is_sent_by_ranges(http: httpx.Client) -> None:
    assert_ranges(http, "/file")
    beyond = http.get("/file", headers={"Range": "bytes=300000-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */300000")


def test_static_files_are_kept_by_clients_and_no_other_is_reached(http: httpx.Client) -> None:
    assert http.get("/static/large.bin").headers["Cache-Control"] == "max-age=3600"
    assert http.get("/static/nothing").status_code == 404
    assert http.get("/static/%2e%2e/%2e%2e/etc/passwd").status_code == 404


def test_head_says_what_get_would_and_sends_no_body(raw: Client) -> None:
    assert_heads(raw, "/a", "/file", "/static/large.bin", "/nowhere")


# ---- errors


def test_errors_are_answered_by_the_site_s_views(http: httpx.Client) -> None:
    missing = http.get("/nowhere/\xe4")
    assert (missing.status_code, missing.text) == (404, "nothing at /nowhere/\xe4")
    assert http.get("/form").status_code == 404  # no view for that method
    known = http.get("/fails", params={"how": "known"})
    assert (known.status_code, known.json()) == (422, {"missing": "on purpose"})
    forbidden = http.get("/forbidden", headers={"Accept": "application/json"})
    assert (forbidden.status_code, forbidden.json()["title"]) == (403, "Forbidden")


def test_an_uncaught_error_is_the_server_s_500_and_the_next_request_is_served(
    serve_alone: Serve, files: dict[str, str]
) -> None:
    server = serve_alone("sites.pyramid_site:app", env=files, tracebacks=1)
    with http_client(server) as http:
        failed = http.get("/fails", params={"how": "unknown"})
        assert (failed.status_code, failed.text) == (500, "Internal Server Error\n")
        assert http.get("/").status_code == 200
    wait_until(lambda: "ValueError: on purpose" in server.log, "logged the error")
