"""A client of WebSockets that keeps to the rules: that of the websockets package, in plain calls.
It does nothing between them. (Its own client of that kind needs a thread for each connection, and
PyPy's can't be joined with a time limit by two at once.)"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import Any, Union

from harness import PATIENCE
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_async
from websockets.exceptions import ConnectionClosedOK

Message = Union[str, bytes]


class Talker:
    """A connection; as a context, it is closed at the end."""

    def __init__(self, url: str, **options: Any) -> None:
        """options: those of websockets.asyncio.client.connect(). Raises what that does."""
        self._loop = asyncio.new_event_loop()
        try:
            self.connection: ClientConnection = self._run(self._open(url, options))
        except BaseException:
            self._loop.close()
            raise

    @staticmethod
    async def _open(url: str, options: dict[str, Any]) -> ClientConnection:
        return await connect_async(url, open_timeout=PATIENCE, **options)

    def _run(self, coroutine: Any) -> Any:
        return self._loop.run_until_complete(asyncio.wait_for(coroutine, PATIENCE))

    def __enter__(self) -> Talker:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()
        self._loop.close()

    def send(self, message: Message | Iterable[Message]) -> None:
        """Sends one, in fragments if it is a list."""
        self._run(self.connection.send(message))

    def recv(self) -> Message:
        """The next. Raises ConnectionClosed."""
        message: Message = self._run(self.connection.recv())
        return message

    def __iter__(self) -> Iterator[Message]:
        """All, until the server closes in order."""
        try:
            while True:
                yield self.recv()
        except ConnectionClosedOK:
            return

    def close(self, code: int = 1000, reason: str = "") -> None:
        self._run(self.connection.close(code, reason))
