"""Requests and tasks that hold the loop, until somebody opens the FIFO of the query's "gate"."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meinheld import server


def hold_here(gate: str) -> None:
    with open(gate, "rb") as file:
        file.read()


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    path, gate = environ["PATH_INFO"], environ["QUERY_STRING"].partition("=")[2]
    start_response("200 OK", [("Content-Type", "text/plain")])
    if path == "/hold":
        hold_here(gate)
    elif path == "/spawn":
        server.spawn(hold_here, (gate,))
    elif path == "/wait":
        for _ in range(int(gate)):
            server.sleep(0.01)
    return [b"done"]
