"""The chats of the examples, Flask's and Django's, as tests serve and talk to them."""

from __future__ import annotations

import json
import os
import uuid
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
from harness import EXAMPLES, Server, serving
from visitor import site_environment

CHATS = ["chat", "chat_django"]
HERE = EXAMPLES / "chat"


def chat_environment(file: Path) -> dict[str, str]:
    """The environment of a server of a chat that keeps its messages in file."""
    path = os.pathsep.join([str(HERE), site_environment()["PYTHONPATH"]])
    return {"PYTHONPATH": path, "CHAT_FILE": str(file)}


def serve_chat(
    chat: str, directory: Path, port: int = 0, **options: Any
) -> AbstractContextManager[Server]:
    """Serves a chat that keeps its messages in that directory; options are those of serving()."""
    env = chat_environment(directory / "chat.sqlite3")
    return serving(f"{chat}:app", directory, env=env, address=("127.0.0.1", port), **options)


def new_room() -> str:
    """The name of a room in which nobody was yet."""
    return f"room-{uuid.uuid4().hex[:12]}"


def message(text: str, /, **fields: object) -> dict[str, object]:
    """What is sent to say text; fields replace others of it."""
    return {"id": str(uuid.uuid4()), "name": "Ada", "text": text, **fields}


class Room:
    """A room, as a page sees it."""

    def __init__(self, client: httpx.Client, name: str | None = None) -> None:
        self.client = client
        self.name = name or new_room()
        self.path = f"/rooms/{self.name}/messages"

    def post(self, said: object) -> httpx.Response:
        """Sends JSON."""
        head = {"Content-Type": "application/json"}
        return self.client.post(self.path, content=json.dumps(said), headers=head)

    def say(self, text: str, /, **fields: object) -> int:
        """Says text, which must be taken; returns when it came."""
        response = self.post(message(text, **fields))
        assert response.status_code == 200, response.text
        at: int = response.json()["at"]
        return at

    def poll(self, after: int = 0, **params: str) -> dict[str, Any]:
        """Waits for news."""
        response = self.client.get(self.path, params={"after": str(after), **params})
        assert response.status_code == 200, response.text
        assert response.headers["Content-Type"] == "application/json"
        news: dict[str, Any] = response.json()
        return news

    def look(self, after: int = 0) -> dict[str, Any]:
        """The news that are there."""
        return self.poll(after, now="")


def texts(news: dict[str, Any]) -> list[str]:
    """What was said, in order."""
    return [said["text"] for said in news["messages"]]
