"""Django's admin on SQLite, as somebody uses it: logs in, adds, finds, changes and deletes; and its
static files, which WhiteNoise serves."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import httpx
import pytest
from harness import Server
from visitor import http_client, site_environment

Serve = Callable[..., Server]
LOGIN = "/admin/login/?next=/admin/"
NOTES = "/admin/django_site/note/"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, serve_site: Serve) -> Server:
    env = {"SITE_DATABASE": str(tmp_path_factory.mktemp("database") / "site.sqlite3")}
    subprocess.run(
        [sys.executable, "-m", "sites.django_site.make_database"],
        env=site_environment(**env),
        check=True,
        timeout=50,
    )
    return serve_site("sites.django_site.wsgi:application", env=env)


@pytest.fixture
def admin(server: Server) -> Iterator[httpx.Client]:
    """A client that is logged in."""
    with http_client(server) as client:
        assert log_in(client, "right").status_code == 302
        yield client


def token(page: httpx.Response) -> str:
    """What a form must bring back (Django's CSRF protection)."""
    match = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page.text)
    assert match, page.text
    return match[1]


def submit(client: httpx.Client, url: str, **fields: str) -> httpx.Response:
    """Opens a page and submits its form."""
    page = client.get(url)
    assert page.status_code == 200
    return client.post(url, data={"csrfmiddlewaretoken": token(page), **fields})


def log_in(client: httpx.Client, password: str) -> httpx.Response:
    return submit(client, LOGIN, username="admin", password=password, next="/admin/")


def test_only_the_right_password_is_let_in(server: Server) -> None:
    with http_client(server) as client:
        answer = client.get("/admin/")
        assert (answer.status_code, answer.headers["Location"]) == (302, LOGIN)
        answer = log_in(client, "wrong")
        assert answer.status_code == 200
        assert "Please enter the correct username and password" in answer.text
        answer = log_in(client, "right")
        assert (answer.status_code, answer.headers["Location"]) == (302, "/admin/")
        assert "Site administration" in client.get("/admin/").text

        answer = submit(client, "/admin/password_change/")
        assert "This field is required." in answer.text
        answer = client.post("/admin/logout/", data={"username": "admin"})
        assert answer.status_code == 403  # without the token
        fields = {"csrfmiddlewaretoken": token(client.get("/admin/"))}
        assert "Logged out" in client.post("/admin/logout/", data=fields).text
        assert client.get("/admin/").status_code == 302


def test_an_object_is_added_listed_found_changed_and_deleted(admin: httpx.Client) -> None:
    title, text = "Gr\xfc\xdfe <aus> \u4e16\u754c", "line\n" * 20_000
    answer = submit(admin, f"{NOTES}add/", title=title, text=text, _continue="on")
    assert answer.status_code == 302
    note = answer.headers["Location"]
    assert re.fullmatch(rf"{NOTES}\d+/change/", note)

    listed = "Gr\xfc\xdfe &lt;aus&gt; \u4e16\u754c"
    page = admin.get(NOTES).text
    assert listed in page and "was added successfully" in page  # a message of the request before
    assert listed in admin.get(NOTES, params={"q": "\u4e16"}).text
    assert listed not in admin.get(NOTES, params={"q": "nothing"}).text

    answer = submit(admin, note, title="", text="")
    assert (answer.status_code, "This field is required." in answer.text) == (200, True)
    answer = submit(admin, note, title="Other", text="")
    assert (answer.status_code, answer.headers["Location"]) == (302, NOTES)
    page = admin.get(NOTES).text
    assert listed not in page.partition("<table")[2] and "Other" in page

    answer = submit(admin, note.replace("change", "delete"), post="yes")
    assert (answer.status_code, answer.headers["Location"]) == (302, NOTES)
    assert admin.get(note).status_code == 302


def test_a_session_belongs_to_its_cookie_alone(server: Server) -> None:
    with http_client(server) as one, http_client(server) as other:
        assert [one.get("/visits").text for _ in range(3)] == ["1", "2", "3"]
        assert other.get("/visits").text == "1"
        assert one.get("/visits").text == "4"
        one.cookies.clear()
        assert one.get("/visits").text == "1"


def test_every_static_file_of_a_page_is_there(admin: httpx.Client) -> None:
    paths = set(re.findall(r'(?:href|src)="(/static/[^"]+)"', admin.get(f"{NOTES}add/").text))
    assert "/static/admin/css/base.css" in paths
    for path in paths:
        answer = admin.get(path)
        assert answer.status_code == 200, path
        assert answer.headers["Content-Length"] == str(len(answer.content))
        assert answer.headers["Content-Type"].startswith("text/"), path
        known = {"If-Modified-Since": answer.headers["Last-Modified"]}
        assert admin.get(path, headers=known).status_code == 304, path
    assert admin.get("/static/admin/nothing.css").status_code == 404
