"""gunicorn's hooks for requests, and early hints: what they are given, and what becomes of what
they raise."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from harness import wait_until
from master import Master
from rawclient import request

Start = Callable[..., Master]

SITE = "site_app:app"

# Hooks that note in a file what they are given.
NOTES = """
import json

def note(**what):
    with open("notes", "a") as file:
        file.write(json.dumps(what) + "\\n")

def pre_request(worker, req):
    req.mark = "kept"
    note(
        hook="pre", alive=worker.alive, method=req.method, uri=req.uri, path=req.path,
        query=req.query, fragment=req.fragment, version=req.version, headers=req.headers,
        trailers=req.trailers, scheme=req.scheme, peer=req.peer_addr[0],
        same=req.peer_addr == req.remote_addr, proxy=req.proxy_protocol_info,
        body=req.body.read(0).decode(),
    )

def post_request(worker, req, environ, resp):
    note(
        hook="post", mark=req.mark, path=environ["PATH_INFO"], status=resp.status,
        status_code=resp.status_code, headers=resp.headers, sent=resp.sent,
        length=resp.response_length, headers_sent=resp.headers_sent,
    )
"""


def notes(master: Master, count: int) -> list[dict[str, object]]:
    """What the hooks have noted, once it is so much."""
    file = Path(f"/proc/{master.pid}/cwd/notes").resolve()

    def lines() -> list[str]:
        return file.read_text().splitlines() if file.exists() else []

    wait_until(lambda: len(lines()) >= count, f"had {count} notes")
    return [json.loads(line) for line in lines()]


@pytest.mark.each_version
@pytest.mark.parametrize("threads", ["1", "2"])
def test_hooks_are_given_the_request_and_its_response(start: Start, threads: str) -> None:
    master = start(SITE, "--threads", threads, config=NOTES)
    with master.connect() as client:
        fields = [("X-A", "b"), ("X-A", "c"), ("Content-Type", "text/x")]
        client.get("/pid?a=b", method="POST", fields=fields, body=b"123")
        client.get("/file")
    first, second, *_ = notes(master, 4)
    assert first == {
        "hook": "pre",
        "alive": True,
        "method": "POST",
        "uri": "/pid?a=b",
        "path": "/pid",
        "query": "a=b",
        "fragment": "",
        "version": [1, 1],
        "headers": [
            ["HOST", "test"],
            ["X-A", "b,c"],
            ["CONTENT-TYPE", "text/x"],
            ["CONTENT-LENGTH", "3"],
        ],
        "trailers": [],
        "scheme": "http",
        "peer": "127.0.0.1",
        "same": True,
        "proxy": None,
        "body": "",
    }
    pid = str(master.workers()[0])
    assert second == {
        "hook": "post",
        "mark": "kept",
        "path": "/pid",
        "status": "200 OK",
        "status_code": 200,
        "headers": [["Content-Type", "text/plain"], ["X-Answer", "yes"]],
        "sent": len(pid),
        "length": None,
        "headers_sent": True,
    }
    last = notes(master, 4)[-1]
    assert (last["path"], last["sent"], last["length"]) == ("/file", 10, 10)


def test_post_request_follows_each_pre_request(start: Start, tmp_path: Path) -> None:
    master = start(SITE, config=NOTES, tracebacks=1)
    with master.connect() as client:
        assert client.get("/fail").status == 500
    with master.connect() as client:  # which leaves
        client.send(request(f"/suspend?begun={tmp_path / 'begun'}"))
        wait_until((tmp_path / "begun").exists, "began")
    with master.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\nbad\r\n\r\n")  # which no hook hears of
        assert client.read_response().status == 400
    said = notes(master, 4)
    assert [(each["hook"], each.get("status")) for each in said] == [
        ("pre", None),
        ("post", "500 Internal Server Error"),
        ("pre", None),
        ("post", "499 Client Closed Request"),
    ]
    assert said[-1]["headers_sent"] is False


def test_a_hook_that_fails_costs_its_request_at_the_most(start: Start) -> None:
    config = (
        "def pre_request(worker, req):\n"
        "    if req.path == '/pre':\n"
        "        raise ValueError('pre fails')\n"
        "def post_request(worker, req, environ, resp):\n"
        "    if req.path == '/post':\n"
        "        raise ValueError('post fails')\n"
    )
    master = start(SITE, config=config, tracebacks=2)
    with master.connect() as client:
        assert client.get("/pre").status == 500
    with master.connect() as client:
        assert client.get("/post").status == 200
        assert client.get("/pid").status == 200
    master.wait_for_log("Exception in post_request hook")
    assert "pre fails" in master.log
    assert "post fails" in master.log


TARGETS = """
def pre_request(worker, req):
    worker.log.info("asked for %s and %s", req.path, req.query)
    if req.path == "/close":
        req.force_close()
        worker.log.info("closes %s", req.should_close())
"""


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        ("/a/b?c=d?e", "/a/b", "c=d?e"),
        ("//a/b", "//a/b", ""),
        ("http://test/a?http://b", "/a", "http://b"),
        ("http://test?a", "/", "a"),
        ("http://test", "/", ""),
    ],
)
def test_the_path_is_the_target_s_of_any_form(
    start: Start, target: str, path: str, query: str
) -> None:
    master = start(SITE, config=TARGETS)
    assert master.get(target)
    master.wait_for_log(f"asked for {path} and {query}\n")


@pytest.mark.parametrize("threads", ["1", "2"])
def test_a_hook_may_have_the_connection_closed(start: Start, threads: str) -> None:
    master = start(SITE, "--threads", threads, config=TARGETS)
    with master.connect() as client:
        assert client.get("/pid").get("Connection") is None
        assert client.get("/close").get("Connection") == "close"
        client.expect_close()
    assert "closes True" in master.log


def test_without_hooks_no_request_is_made_for_them(start: Start) -> None:
    assert b'"gunicorn.request": false' in start(SITE).get("/flags")
    debugged = start(SITE, "--log-level", "debug")  # where gunicorn's own hook says something
    assert b'"gunicorn.request": true' in debugged.get("/flags")
    debugged.wait_for_log("[DEBUG] GET /flags")


def test_hooks_of_processes_are_called(start: Start) -> None:
    config = "".join(
        f"def {name}({arguments}):\n    worker.log.info('called {name}')\n"
        for name, arguments in [
            ("post_fork", "server, worker"),
            ("post_worker_init", "worker"),
            ("worker_exit", "server, worker"),
        ]
    )
    master = start(SITE, config=config)
    assert master.get("/pid")
    master.end(signal.SIGTERM)
    for name in ("post_fork", "post_worker_init", "worker_exit"):
        assert f"called {name}" in master.log


def test_a_hook_that_fails_in_a_signal_is_logged(start: Start) -> None:
    config = "def worker_int(worker):\n    raise ValueError('int fails')\n"
    master = start(SITE, config=config, tracebacks=1)
    assert master.get("/pid")
    master.end(signal.SIGQUIT)
    assert "int fails" in master.log


@pytest.mark.each_version
@pytest.mark.parametrize("threads", ["1", "2"])
def test_early_hints_come_before_the_response(start: Start, threads: str) -> None:
    with start(SITE, "--threads", threads).connect() as client:
        client.send(request("/hints"))
        hints = client.read_head()
        assert (hints.status, hints.get("Link")) == (103, "</a.css>; rel=preload")
        assert client.read_response().status == 200
        client.send(request("/hints", version="HTTP/1.0"))
        assert client.read_response().status == 200
