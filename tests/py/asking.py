"""Asks an app that tells what it found in JSON (told() of apps.databases), many at once."""

from __future__ import annotations

import json
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

from harness import PATIENCE, Server
from rawclient import Client


class Asking:
    """Asks a server, by a new connection each time, which is closed with the stack."""

    def __init__(self, server: Server, stack: ExitStack) -> None:
        self.server = server
        self._stack = stack

    def send(self, path: str, **query: object) -> Client:
        """Asks, and leaves the answer for said()."""
        client = self._stack.enter_context(self.server.connect(timeout=PATIENCE))
        client.send(f"GET {path}?{urlencode(query)} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        return client

    def ask(self, path: str, **query: object) -> Any:
        """What is told."""
        return said(self.send(path, **query))


def said(client: Client) -> Any:
    """What is told to client."""
    return json.loads(client.read_response().body)
