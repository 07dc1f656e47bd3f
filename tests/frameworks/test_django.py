"""A Django site: forms however they come, uploads, streams, files, errors, asynchronous views."""

from __future__ import annotations

import gzip
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
    assert_streams,
    cut,
    digest,
    http_client,
    open_gate,
    upload_in_chunks,
)

Serve = Callable[..., Server]
SITE = "sites.django_site.wsgi:application"


@pytest.fixture(scope="module")
def server(serve_site: Serve, files: dict[str, str]) -> Server:
    return serve_site(SITE, env=files)


# ---- what a request says


def test_paths_and_queries_in_any_language_are_decoded(http: httpx.Client) -> None:
    words = "gr\xfc\xdfe/\u4e16\u754c/a+b%25 c;d"
    path = f"/words/{quote(words)}/7/"
    query = {"\xe4": ["\xf6 &=", "\u20ac"], "plus": "a+b"}
    answer = http.get(path, params=query, headers={"Host": "testsite:81"})
    assert answer.json() == {
        "words": words,
        "number": 7,
        "path": f"/words/{words}/7/",
        "args": {"\xe4": ["\xf6 &=", "\u20ac"], "plus": ["a+b"]},
        "built": path.replace("%3B", ";").replace("%2B", "+"),
        "absolute": "http://testsite:81/x",
    }


def test_a_host_that_is_not_the_site_s_is_refused(http: httpx.Client) -> None:
    assert http.get("/", headers={"Host": "elsewhere"}).status_code == 400


def test_redirects_are_as_django_makes_them(http: httpx.Client) -> None:
    answer = http.get("/old")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/words/%C3%A4/1/")
    answer = http.get("/words/a/1", params={"q": "\xe4"})
    assert (answer.status_code, answer.headers["Location"]) == (301, "/words/a/1/?q=%C3%A4")


FIELDS = b"name=J%C3%B6rg+%26+Co&name=Eva&empty="
READ = {"fields": {"name": ["J\xf6rg & Co", "Eva"], "empty": [""]}, "files": {}}


def test_a_form_is_read(http: httpx.Client) -> None:
    answer = http.post("/form", content=FIELDS, headers=FORM)
    assert answer.json() == READ


@pytest.mark.parametrize("size", [1, 7, len(FIELDS)])
def test_a_form_that_comes_in_chunks_is_read(http: httpx.Client, size: int) -> None:
    answer = http.post("/form", content=cut(FIELDS, size), headers=FORM)
    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert answer.json() == READ


# Django keeps an upload in memory up to 2.5 MiB.
@pytest.mark.parametrize(
    "size, kept", [(1, "InMemory"), (len(LARGE), "InMemory"), (3_000_000, "Temporary")]
)
def test_an_upload_arrives_whole_with_its_name_type_and_fields(
    http: httpx.Client, size: int, kept: str
) -> None:
    data = (LARGE * 2)[:size]
    upload = ("na\xefve.bin", data, "application/x-thing")
    answer = http.post("/form", files={"file": upload}, data={"title": "\u4e16"})
    assert answer.json() == {
        "fields": {"title": ["\u4e16"]},
        "files": {
            "file": {
                "name": "na\xefve.bin",
                "type": "application/x-thing",
                "class": f"{kept}UploadedFile",
                "digest": digest(data),
            }
        },
    }


def test_an_upload_that_comes_in_chunks_arrives_whole(http: httpx.Client) -> None:
    answer = upload_in_chunks(http, "/form", LARGE)
    assert (answer.status_code, digest(LARGE) in answer.text) == (200, True)


@pytest.mark.parametrize("size", [0, 1, 10_000, len(LARGE)])
def test_a_body_is_read_in_pieces_whole(http: httpx.Client, size: int) -> None:
    data = LARGE[:size]
    assert http.put("/raw", content=data).text == digest(data)
    assert http.put("/raw", content=cut(data, 50_000)).text == digest(data)


def test_a_body_is_read_at_once_up_to_django_s_limit(http: httpx.Client) -> None:
    assert http.post("/body", content=LARGE).text == digest(LARGE)
    assert http.post("/body", content=iter([LARGE])).text == digest(LARGE)
    assert http.post("/body", content=LARGE * 2).status_code == 400


def test_a_body_that_the_view_does_not_read_leaves_the_connection_usable(raw: Client) -> None:
    for _ in range(2):
        response = raw.get("/unread", method="POST", body=LARGE[:500_000], host="testsite")
        assert (response.status, response.body) == (200, b"not interested")
    assert raw.get("/", host="testsite").status == 200


def test_a_form_without_its_token_is_refused(http: httpx.Client) -> None:
    token = http.get("/csrf-form").text
    assert http.post("/csrf-form", data={"text": "a"}).status_code == 403
    answer = http.post("/csrf-form", data={"text": "a", "csrfmiddlewaretoken": token})
    assert answer.text == "got a"
    answer = http.post("/csrf-form", data={"text": "b"}, headers={"X-CSRFToken": token})
    assert answer.text == "got b"


def test_several_cookies_are_set_and_come_back(http: httpx.Client) -> None:
    answer = http.get("/cookies/set")
    one, two, three = answer.headers.get_list("Set-Cookie")
    assert one.startswith('one="1\\073 und so"; ') and "HttpOnly" in one
    assert three == 'three=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/'
    assert two == "two=2; Path=/; SameSite=Strict"
    assert http.get("/cookies").json() == {"one": "1; und so", "two": "2"}


def test_each_of_many_clients_at_once_gets_its_own_answers(server: Server) -> None:
    def ask(http: httpx.Client, word: str) -> str:
        answer = http.post("/form", data={"word": word}, params={"turn": word})
        return str(answer.json()["fields"]["word"][0])

    assert_each_gets_its_own(server, ask)


# ---- answers of all kinds


def test_a_stream_s_piece_leaves_before_the_next_is_made(http: httpx.Client, gate: Path) -> None:
    assert_streams(http, "/stream", gate)
    assert http.get("/").text == "a page of \xfcml\xe4uts"


def test_a_stream_arrives_whole_zipped_or_not(http: httpx.Client) -> None:
    expected = "".join(f"{number}\n" for number in range(5000)).encode()
    assert http.get("/count", params={"to": "5000"}).content == expected
    with http.stream("GET", "/zipped", params={"to": "5000"}) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert gzip.decompress(b"".join(answer.iter_raw())) == expected


def test_a_stream_that_fails_half_way_is_not_taken_for_a_whole_one(serve_alone: Serve) -> None:
    with http_client(serve_alone(SITE, tracebacks=1)) as http:
        with pytest.raises(httpx.TransportError):
            http.get("/count", params={"to": "3", "fail": "1"})
        assert http.get("/").status_code == 200


def test_a_file_is_sent_whole_with_its_name_and_length(http: httpx.Client) -> None:
    answer = http.get("/file")
    assert (answer.status_code, answer.content) == (200, FILE)
    assert answer.headers["Content-Length"] == str(len(FILE))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    name = "attachment; filename*=utf-8''gr%C3%BC%C3%9Fe.bin"
    assert answer.headers["Content-Disposition"] == name
    made = http.get("/made")
    assert (made.text, made.headers["Content-Type"]) == ("made in memory", "text/plain")


def test_files_that_were_sent_are_closed(server: Server, http: httpx.Client) -> None:
    http.get("/file")
    before = server.open_fds()
    for _ in range(5):
        http.get("/file")
        http.head("/file")
    wait_until(lambda: server.open_fds() <= before, "closed the files")


def test_a_page_that_has_not_changed_is_not_sent_again(http: httpx.Client) -> None:
    etag = http.get("/").headers["ETag"]
    answer = http.get("/", headers={"If-None-Match": etag})
    assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", etag)
    assert http.get("/", headers={"If-None-Match": '"other"'}).status_code == 200


def test_head_says_what_get_would_and_sends_no_body(raw: Client) -> None:
    assert_heads(raw, "/", "/file", "/nowhere")


def test_methods_that_a_view_lacks_are_refused_and_the_others_told(http: httpx.Client) -> None:
    assert http.delete("/thing").status_code == 204
    refused, told = http.put("/thing", content=b"x"), http.options("/thing")
    assert (refused.status_code, told.status_code, told.content) == (405, 200, b"")
    assert refused.headers["Allow"] == told.headers["Allow"] == "GET, DELETE, HEAD, OPTIONS"
    assert http.get("/form").status_code == 405


def test_an_asynchronous_view_is_answered(http: httpx.Client) -> None:
    for number in range(3):
        assert http.get("/asynchronous", params={"name": number}).text == f"for {number}"


# ---- errors, and the ends of requests


def test_errors_are_answered_by_the_site_s_handlers(http: httpx.Client) -> None:
    missing = http.get("/nowhere/\xe4")
    assert (missing.status_code, missing.text) == (404, "nothing at /nowhere/\xe4")
    assert http.get("/forbidden").status_code == 403


def test_an_uncaught_error_is_the_site_s_500_and_the_next_request_is_served(
    serve_alone: Serve,
) -> None:
    server = serve_alone(SITE, tracebacks=1)  # Django's
    with http_client(server) as http:
        failed = http.get("/fails")
        assert (failed.status_code, failed.text) == (500, "we are sorry")
        assert http.get("/").status_code == 200
    wait_until(lambda: "ValueError: on purpose" in server.log, "logged the error")


def test_each_request_is_finished_once_however_it_ends(
    serve_alone: Serve, files: dict[str, str], gate: Path
) -> None:
    with http_client(serve_alone(SITE, env=files, tracebacks=1)) as http:
        for target in ("/", "/nowhere", "/file", "/count?to=3", "/fails"):
            http.get(target)
        http.head("/count?to=3")
        with http.stream("GET", "/stream", params={"gate": str(gate)}) as left:
            next(left.iter_raw())
        open_gate(gate)

        def open_requests() -> int:
            counts: dict[str, int] = http.get("/counts").json()
            return counts["started"] - counts["finished"]

        wait_until(lambda: open_requests() == 1, "finished all but the one that asks")
        assert open_requests() == 1
