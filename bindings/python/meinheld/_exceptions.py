"""What a request that waits may be told instead of what it waits for.

All but timeout derive from BaseException, as asyncio.CancelledError does and for its reason: they
are not failures of the application. Its ``with`` and ``finally`` blocks run, while ``except
Exception``, in it and in every framework, lets them through to the server, which knows what to do:
nothing is logged."""

from __future__ import annotations


class timeout(OSError):  # the original's name
    """A wait on this server's loop took longer than it was given."""


class Interruption(BaseException):
    """The request is not to go on. Uncaught, it ends the response; see the subclasses."""


class ClientDisconnected(Interruption):
    """The client has closed its connection, so nobody waits for the answer any more. Uncaught, the
    exchange ends without one; its status in the access log is 499."""


class ServerStopping(Interruption):
    """The server is draining, and what the request waits for may never come. Uncaught, it is
    answered with 503 and Retry-After, or its connection aborted if the head has gone."""


class ServerBusy(Interruption):
    """As many requests are suspended as may be (server.set_max_suspended). Uncaught, as
    ServerStopping."""


class WebSocketClosed(ConnectionError):
    """Nothing can be sent any more by a WebSocket, be it that its client has left, or that one of
    the two sides has closed it."""
