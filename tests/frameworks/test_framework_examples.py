"""The examples that need a framework, run as their users run them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Process
from rawclient import Client
from talker import Talker
from websockets.exceptions import InvalidStatus
from websockets.typing import Origin

Run = Callable[..., tuple[Process, tuple[str, int]]]


@pytest.mark.parametrize(
    ("name", "target", "body"),
    [
        ("flask_hello.py", "/", b"Hello world!\n"),
        ("pyramid_hello.py", "/hello/Eva", b"Hello Eva!\n"),
    ],
)
def test_hello_in_a_framework(run_example: Run, name: str, target: str, body: bytes) -> None:
    _, address = run_example(name)
    with Client(address) as client:
        for _ in range(2):
            assert client.get(target).body == body


def test_a_chat_in_flask_reaches_all_but_other_pages(run_example: Run) -> None:
    _, (host, port) = run_example("websocket_flask.py")
    url = f"ws://{host}:{port}/chat"
    with Client((host, port)) as client:
        assert b"new WebSocket(" in client.get("/").body
        assert client.get("/chat").status == 400
    with Talker(url, origin=Origin(f"http://{host}:{port}")) as one, Talker(url) as two:
        for ws in (two, one):
            ws.send("hello")
            assert one.recv() == two.recv() == "hello"
        two.close()
        one.send("alone")
        assert one.recv() == "alone"
    with pytest.raises(InvalidStatus, match="403"):
        Talker(url, origin=Origin("http://elsewhere.example"))
