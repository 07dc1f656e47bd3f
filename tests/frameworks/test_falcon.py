"""A Falcon site: resources, media of all kinds, hooks, streams, static routes, errors."""

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
    return serve_site("sites.falcon_site:app", env=files)


# ---- what a request says


def test_paths_and_queries_in_any_language_are_decoded(http: httpx.Client) -> None:
    word = "gr\xfc\xdfe \u4e16\u754c a+b%25 c;d"
    query = {"a": ["\xf6 &=", "\u20ac"], "flag": "true"}
    headers = {"Host": "testsite:81"}
    answer = http.get(f"/words/{quote(word)}/7", params=query, headers=headers)
    read = answer.json()
    assert read.pop("uri").startswith("http://testsite:81/words/")
    assert read == {
        "word": word,
        "number": 7,
        "path": f"/words/{word}/7",
        "args": ["\xf6 &=", "\u20ac"],
        "flag": True,
    }
    assert http.get("/words/a/seven").status_code == 404


FIELDS = b"name=J%C3%B6rg+%26+Co&name=Eva&other=x"
READ = {"name": ["J\xf6rg & Co", "Eva"], "other": "x"}


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
    answer = http.post("/form", files={"file": file}, data={"title": "\u4e16"})
    title, upload = answer.json()
    assert (title["name"], title["digest"]) == ("title", digest("\u4e16".encode()))
    assert upload == {
        "name": "file",
        "file": "a b.bin",
        "type": "application/x-thing",
        "digest": digest(LARGE[:size]),
    }


def test_an_upload_that_comes_in_chunks_arrives_whole(http: httpx.Client) -> None:
    answer = upload_in_chunks(http, "/form", LARGE)
    assert (answer.status_code, digest(LARGE) in answer.text) == (200, True)


@pytest.mark.parametrize("size", [0, 1, 10_000, len(LARGE)])
def test_a_body_is_read_in_pieces_whole(http: httpx.Client, size: int) -> None:
    body = LARGE[:size]
    assert http.put("/raw", content=body).text == digest(body)
    assert http.put("/raw", content=cut(body, 50_000)).text == digest(body)


def test_json_is_taken_and_given_behind_a_hook(http: httpx.Client) -> None:
    value = {"a": [1, None, "\xe4\u20ac"], "b": {"c": 1.5}}
    refused = http.post("/things", json=value)
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (401, "Key")
    assert refused.json() == {"title": "No key"}
    key = {"X-Key": "right"}
    answer = http.post("/things", json=value, headers=key)
    assert (answer.status_code, answer.json()) == (201, {"got": value})
    assert answer.headers["Location"] == "/things/%C3%A4"
    bad = {**key, "Content-Type": "application/json"}
    assert http.post("/things", content=b"{", headers=bad).status_code == 400
    plain = {**key, "Content-Type": "text/plain"}
    assert http.post("/things", content=b"{", headers=plain).status_code == 415


def test_a_body_that_the_site_does_not_read_leaves_the_connection_usable(raw: Client) -> None:
    for _ in range(2):
        response = raw.get("/unread", method="POST", body=LARGE[:500_000])
        assert (response.status, response.body) == (200, b"not interested")
    assert raw.get("/sink/a").body == b"sunk a"


def test_several_cookies_are_set_and_come_back(http: httpx.Client) -> None:
    answer = http.post("/cookies")
    lines = sorted(answer.headers.get_list("Set-Cookie"))
    assert [line.partition(";")[0] for line in lines] == ["one=1", 'three=""', "two=2"]
    assert "HttpOnly" in lines[0] and "Max-Age=60" in lines[0] and "SameSite=Strict" in lines[2]
    assert http.get("/cookies").json() == {"one": "1", "two": "2"}


def test_each_of_many_clients_at_once_gets_its_own_answers(server: Server) -> None:
    def ask(http: httpx.Client, word: str) -> str:
        assert http.post("/form", data={"word": word}).json() == {"word": word}
        return str(http.get(f"/words/{word}/1").json()["word"])

    assert_each_gets_its_own(server, ask)


# ---- answers of all kinds


def test_every_answer_passes_the_site_s_middleware(http: httpx.Client) -> None:
    origin = {"Origin": "http://elsewhere"}
    answer = http.get("/words/a/1", headers=origin)
    assert answer.headers["X-Resource"] == "Words True"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert http.get("/nowhere").headers["X-Resource"] == "NoneType False"


def test_a_stream_s_piece_leaves_before_the_next_is_made(http: httpx.Client, gate: Path) -> None:
    assert_streams(http, "/stream", gate)
    assert http.get("/sink/").text == "sunk "


def test_a_stream_is_closed_once_however_it_ends(serve_alone: Serve, files: dict[str, str]) -> None:
    with http_client(serve_alone("sites.falcon_site:app", env=files, tracebacks=1)) as http:
        assert http.get("/closed?label=whole").text == "0\n1\n2\n"
        with pytest.raises(httpx.TransportError):
            http.get("/closed?label=cut&fail=1")
        wait_until(lambda: len(http.get("/closed").json()) >= 2, "closed both streams")
        assert http.get("/closed").json() == ["whole", "cut"]


def test_a_file_as_a_stream_is_sent_whole_and_closed(server: Server, http: httpx.Client) -> None:
    answer = http.get("/file")
    assert (answer.status_code, answer.content) == (200, FILE)
    assert answer.headers["Content-Length"] == str(len(FILE))
    assert "filename*=UTF-8''gr%C3%BC%C3%9Fe.bin" in answer.headers["Content-Disposition"]
    before = server.open_fds()
    for _ in range(5):
        http.get("/file")
        http.get("/static/large.bin")
    wait_until(lambda: server.open_fds() <= before, "closed the files")


def test_a_static_file_is_sent_whole_and_by_ranges(http: httpx.Client) -> None:
    assert_ranges(http, "/static/large.bin")
    beyond = http.get("/static/large.bin", headers={"Range": "bytes=300000-"})
    assert (beyond.status_code, beyond.headers["Content-Range"]) == (416, "bytes */300000")
    assert http.get("/static/nothing").status_code == 404
    assert http.get("/static/%2e%2e/large.bin").status_code == 404


def test_what_has_not_changed_is_not_sent_again(http: httpx.Client) -> None:
    answer = http.get("/tagged")
    assert (answer.text, answer.headers["ETag"]) == ("changed", '"tag"')
    answer = http.get("/tagged", headers={"If-None-Match": '"tag"'})
    assert (answer.status_code, answer.content) == (304, b"")


def test_head_says_what_get_would_and_sends_no_body(raw: Client) -> None:
    assert_heads(raw, "/tagged")


def test_methods_that_a_resource_lacks_are_refused_and_the_others_told(http: httpx.Client) -> None:
    deleted = http.delete("/things")
    assert (deleted.status_code, deleted.content) == (204, b"")
    refused, told = http.get("/things"), http.options("/things")
    assert (refused.status_code, told.status_code, told.content) == (405, 200, b"")
    assert sorted(refused.headers["Allow"].split(", ")) == ["DELETE", "OPTIONS", "POST"]
    assert sorted(told.headers["Allow"].split(", ")) == ["DELETE", "POST"]
    moved = http.get("/old")
    assert (moved.status_code, moved.headers["Location"]) == (301, "/words/a/1")


# ---- errors


def test_errors_are_answered_by_the_site_s_handlers(http: httpx.Client) -> None:
    missing = http.get("/nowhere/\xe4")
    assert (missing.status_code, missing.json()) == (404, {"title": "404 Not Found"})
    known = http.post("/fails")
    assert known.status_code == 422
    assert known.json() == {"title": "Missing", "description": "on purpose"}
    unasked = http.get("/stream")
    assert (unasked.status_code, unasked.json()["title"]) == (400, "Missing parameter")


def test_an_uncaught_error_is_falcon_s_500_and_the_next_request_is_served(
    serve_alone: Serve, files: dict[str, str]
) -> None:
    server = serve_alone("sites.falcon_site:app", env=files, tracebacks=1)  # to wsgi.errors
    with http_client(server) as http:
        failed = http.get("/fails")
        assert failed.status_code == 500
        assert failed.json() == {"title": "500 Internal Server Error"}
        assert http.get("/tagged").status_code == 200
    wait_until(lambda: "ValueError: on purpose" in server.log, "logged the error")
