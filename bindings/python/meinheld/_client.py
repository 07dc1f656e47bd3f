"""environ["meinheld.client"], as the original had it."""

from __future__ import annotations

from typing import Final

from greenlet import getcurrent, greenlet

from meinheld._response import ALL, Response
from meinheld._seat import Seat, current_seat


class Client:
    """The client of the request that calls it: one object serves for all, and says nothing
    anywhere else. Each method raises RuntimeError outside a request."""

    __slots__ = ()

    def get_fd(self) -> int:
        """The descriptor of its connection, to ask the kernel of it; it is the server's to read,
        write and close. Raises ConnectionError once the connection has gone."""
        seat, request = _current()
        fd = seat.loop.call(seat.loop.fd_of, request.name)
        if fd < 0:
            raise ConnectionError("the connection has gone")
        return fd

    def set_closed(self, closed: int) -> None:
        """Ends the exchange and its connection if closed is not 0: nothing more is sent."""
        _, request = _current()
        if closed and not request.ended:
            request.known.sender.abort(request.name)
            request.stage = ALL

    def get_greenlet(self) -> greenlet:
        """The greenlet in which the request is served, or what set_greenlet() was given."""
        _, request = _current()
        found = getattr(request, "greenlet", None)
        return getcurrent() if found is None else found

    def set_greenlet(self, greenlet: greenlet) -> None:
        """Has get_greenlet() return another one, in this request."""
        _, request = _current()
        request.greenlet = greenlet


CLIENT: Final = Client()


def _current() -> tuple[Seat, Response]:
    seat = current_seat()
    if seat is None or not isinstance(seat.serving, Response) or seat.serving.ended:
        raise RuntimeError("there is no client outside a request's own greenlet")
    return seat, seat.serving
