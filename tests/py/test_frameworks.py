"""What people serve: a Flask app with a form, a Django project with its admin."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from harness import HERE, Process, Server
from rawclient import Client

Serve = Callable[..., Server]
FORM = [("Content-Type", "application/x-www-form-urlencoded")]


@pytest.fixture
def flask(spawn: Callable[..., Process]) -> Iterator[Client]:
    """A connection to the Flask app, served by the command line."""
    yield from command_line(spawn, "apps.flask_form:app", {})


def command_line(spawn: Callable[..., Process], app: str, env: dict[str, str]) -> Iterator[Client]:
    argv = [sys.executable, "-m", "meinheld", app, "--bind", "127.0.0.1:0"]
    process = spawn(argv, cwd=HERE, env=env)
    process.wait_for_log("stop with Ctrl-C")
    match = re.search(r"http://127\.0\.0\.1:(\d+)", process.log)
    assert match
    with Client(("127.0.0.1", int(match[1]))) as client:
        yield client
    process.popen.terminate()
    assert process.wait() == 0, process.log


def test_flask_shows_its_form_and_takes_what_is_posted(flask: Client) -> None:
    assert b"<form" in flask.get("/").body
    body = urlencode({"name": "J\xf6rg & Co"}).encode()
    response = flask.get("/greet", method="POST", fields=FORM, body=body, host="shop:80")
    assert response.status == 200
    assert response.body.decode() == "Hello J\xf6rg & Co, from 127.0.0.1 to shop"


def test_flask_takes_a_form_posted_in_chunks(flask: Client) -> None:
    head = (
        b"POST /greet HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\n\r\n"
    )
    flask.send(head + b"5\r\nname=\r\n3\r\nEva\r\n0\r\n\r\n")
    assert flask.read_response().body == b"Hello Eva, from 127.0.0.1 to test"


def test_flask_takes_an_upload(flask: Client) -> None:
    fields = [("Content-Type", "multipart/form-data; boundary=cut")]
    head = b'--cut\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n'
    body = head + b"\r\n-" * 100_000 + b"\r\n--cut--\r\n"
    response = flask.get("/upload", method="POST", fields=fields, body=body)
    assert response.body == b"a.bin 300000"


def test_flask_redirects_and_streams(flask: Client) -> None:
    response = flask.get("/old")
    assert (response.status, response.get("Location")) == (302, "/")
    response = flask.get("/stream")
    assert (response.framing, response.body) == ("chunked", b"0\n1\n2\n")
    assert flask.get("/nowhere").status == 404
    assert flask.get("/", method="HEAD").status == 200


def test_an_error_in_flask_is_flask_s_500(serve: Serve) -> None:
    server = serve("apps.flask_form:app", tracebacks=1)  # Flask logs it to wsgi.errors
    with server.connect() as client:
        assert client.get("/fails").status == 500
        assert client.get("/").status == 200


@pytest.fixture
def django(spawn: Callable[..., Process], tmp_path: Path) -> Iterator[Client]:
    """A connection to the Django project, migrated, with one user, served by the command line."""
    env = {
        "DJSITE_DATABASE": str(tmp_path / "database"),
        "DJANGO_SETTINGS_MODULE": "apps.djsite.settings",
        "DJANGO_SUPERUSER_PASSWORD": "right",
    }
    user = ["createsuperuser", "--noinput", "--username=admin", "--email=a@example.com"]
    for command in (["migrate", "--verbosity=0"], [*user, "--verbosity=0"]):
        subprocess.run(
            [sys.executable, "-m", "django", *command],
            cwd=HERE,
            env={**os.environ, **env, "PYTHONPATH": python_path()},
            check=True,
            timeout=50,
        )
    yield from command_line(spawn, "apps.djsite.wsgi:application", env)


def python_path() -> str:
    """PYTHONPATH with the tests' directory at its head."""
    return os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])


class Browser:
    """As much of a browser as a login takes: it keeps cookies."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self.cookies: dict[str, str] = {}

    def open(self, target: str, form: dict[str, str] | None = None) -> tuple[int, str, str | None]:
        """Status, body and Location."""
        fields = [("Referer", "http://testsite/admin/login/")]
        if self.cookies:
            pairs = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            fields.append(("Cookie", pairs))
        body = None
        if form is not None:
            fields += FORM
            body = urlencode(form).encode()
        method = "GET" if form is None else "POST"
        response = self._client.get(
            target, method=method, fields=fields, body=body, host="testsite"
        )
        for cookie in response.all("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return response.status, response.body.decode(), response.get("Location")


def test_the_django_admin_shows_its_login_page_and_lets_the_right_one_in(django: Client) -> None:
    browser = Browser(django)
    status, _, location = browser.open("/admin/")
    assert (status, location) == (302, "/admin/login/?next=/admin/")
    status, page, _ = browser.open("/admin/login/?next=/admin/")
    assert status == 200 and "Django administration" in page
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
    assert token
    form = {"csrfmiddlewaretoken": token[1], "username": "admin", "next": "/admin/"}

    status, page, _ = browser.open("/admin/login/", {**form, "password": "wrong"})
    assert status == 200 and "Please enter the correct username and password" in page

    status, _, location = browser.open("/admin/login/", {**form, "password": "right"})
    assert (status, location) == (302, "/admin/")
    status, page, _ = browser.open("/admin/")
    assert status == 200 and "Site administration" in page

    browser.cookies.pop("csrftoken")
    status, _, _ = browser.open("/admin/login/", {"username": "admin", "password": "right"})
    assert status == 403
