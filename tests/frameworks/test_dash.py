"""A Dash site, as Dash in a browser uses it: the page, its scripts, the layout, callbacks."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from harness import Server, wait_until
from visitor import LARGE, assert_each_gets_its_own, digest, http_client

Serve = Callable[..., Server]
SITE = "sites.dash_site:app"


@pytest.fixture(scope="module")
def server(serve_site: Serve) -> Server:
    return serve_site(SITE)


def call_back(
    http: httpx.Client, output: str, changed: str, value: Any, **state: Any
) -> httpx.Response:
    """What a browser posts when a property, "id.name", has changed to value."""
    component, _, name = output.partition(".")
    changed_id, _, property_name = changed.partition(".")
    body = {
        "output": output,
        "outputs": {"id": component, "property": name},
        "inputs": [{"id": changed_id, "property": property_name, "value": value}],
        "changedPropIds": [changed],
        "state": [
            {"id": changed_id, "property": key, "value": value} for key, value in state.items()
        ],
    }
    return http.post("/_dash-update-component", json=body)


def test_the_page_names_its_scripts_and_each_of_them_is_there(http: httpx.Client) -> None:
    page = http.get("/")
    assert page.status_code == 200
    assert "<title>A site of \xfcml\xe4uts</title>" in page.text
    config = re.search(r'<script id="_dash-config" [^>]*>(.*?)</script>', page.text)
    assert config and json.loads(config[1])["requests_pathname_prefix"] == "/"
    scripts = re.findall(r'<script src="([^"]+)"', page.text)
    assert len(scripts) >= 5
    for path in scripts:
        script = http.get(path)
        assert script.status_code == 200, path
        assert "/javascript" in script.headers["Content-Type"]
        assert script.headers["Cache-Control"].endswith("max-age=31536000")
        assert script.headers["Content-Length"] == str(len(script.content))


def test_a_script_that_has_not_changed_is_not_sent_again(http: httpx.Client) -> None:
    path = "/_dash-component-suites/dash/dcc/dash_core_components.js"
    script = http.get(path)
    known = {"If-None-Match": script.headers["ETag"]}
    answer = http.get(path, headers=known)
    assert (answer.status_code, answer.content) == (304, b"")


def test_every_path_is_the_page_s(http: httpx.Client) -> None:
    assert "<title>A site of \xfcml\xe4uts</title>" in http.get("/anywhere/else").text
    assert http.get("/_favicon.ico").headers["Content-Type"] == "image/x-icon"


def test_layout_and_dependencies_are_told(http: httpx.Client) -> None:
    layout = http.get("/_dash-layout").json()
    assert (layout["type"], layout["namespace"]) == ("Div", "dash_html_components")
    heading, choice, *_ = layout["props"]["children"]
    assert heading["props"]["children"] == "W\xe4hle"
    assert choice["props"] == {"options": ["one", "two", "\u4e16"], "value": "one", "id": "choice"}
    dependencies = {entry["output"]: entry for entry in http.get("/_dash-dependencies").json()}
    assert set(dependencies) == {
        "graph.figure",
        "digest.children",
        "download.data",
        "failing.children",
    }
    assert dependencies["graph.figure"]["inputs"] == [{"id": "choice", "property": "value"}]
    assert dependencies["digest.children"]["state"] == [{"id": "upload", "property": "filename"}]
    assert dependencies["download.data"]["prevent_initial_call"] is True


def test_a_callback_is_called_and_its_answer_comes_back(http: httpx.Client) -> None:
    for value in ("two", "\u4e16"):
        answer = call_back(http, "graph.figure", "choice.value", value)
        assert (answer.status_code, answer.headers["Content-Type"]) == (200, "application/json")
        assert answer.json()["multi"] is True
        figure = answer.json()["response"]["graph"]["figure"]
        assert figure["data"] == [{"type": "bar", "x": [1, 2], "y": [3, 4]}]
        assert figure["layout"]["title"] == {"text": f"chosen: {value}"}


def test_a_file_is_uploaded_and_one_downloaded(http: httpx.Client) -> None:
    contents = "data:text/plain;base64," + base64.b64encode(LARGE).decode()
    answer = call_back(http, "digest.children", "upload.contents", contents, filename="gr\xfc\xdfe")
    assert answer.json()["response"]["digest"] == {"children": f"gr\xfc\xdfe {digest(LARGE)}"}
    answer = call_back(http, "download.data", "button.n_clicks", 3)
    data = answer.json()["response"]["download"]["data"]
    assert data == {"content": "3 clicks", "filename": "clicks.txt"}


def test_each_of_many_clients_at_once_gets_its_own_answers(server: Server) -> None:
    def ask(http: httpx.Client, word: str) -> str:
        answer = call_back(http, "graph.figure", "choice.value", word).json()
        title: str = answer["response"]["graph"]["figure"]["layout"]["title"]["text"]
        return title.replace("chosen: ", "")

    assert_each_gets_its_own(server, ask)


def test_a_callback_that_has_nothing_to_say_is_answered_with_204(http: httpx.Client) -> None:
    answer = call_back(http, "digest.children", "upload.contents", None, filename=None)
    assert (answer.status_code, answer.content) == (204, b"")


def test_a_callback_that_fails_is_a_500_and_the_next_is_called(serve_alone: Serve) -> None:
    server = serve_alone(SITE, tracebacks=1)  # Flask's, to wsgi.errors
    with http_client(server) as http:
        assert call_back(http, "failing.children", "failing.title", "x").status_code == 500
        assert call_back(http, "graph.figure", "choice.value", "one").status_code == 200
    wait_until(lambda: "ValueError: on purpose" in server.log, "logged the error")
