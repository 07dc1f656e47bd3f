"""The examples that need a framework, run as their users run them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Process
from rawclient import Client

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
