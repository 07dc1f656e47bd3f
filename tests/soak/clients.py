"""The kinds of traffic. Each is a function that plays one client, good or bad, from connecting to
closing, and checks what it is answered. What it does is decided by the random numbers that it is
given, so the same seed makes the same traffic."""

from __future__ import annotations

import contextlib
import hashlib
import select
import socket
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from app import HELLO, PIECE
from apps.responses import MEBIBYTE
from frames import BINARY, PING, PONG, Socket, close, frame
from rawclient import Address, Client, Response, request
from wire import read_subjects

# Seconds for one call of a client: generous, since only a failure ever waits that long.
PATIENCE = 60.0
# Bytes of a body above which the server under soak keeps it in a file.
SPOOLED = 65536

_WIRE = [
    b"".join(part.data for part in case.inputs)
    for subject in read_subjects()
    if subject.runner == "http"
    for case in subject.cases
]
# Whether an answer has a body depends on the method; what is mutated here is never HEAD.
BAD = [data for data in _WIRE if b"HEAD" not in data]
_SPICE = b"\r\n\0\t :;,/%#?0aZ\x80\xff"


@dataclass
class Tally:
    """What clients did and were answered."""

    requests: Counter[str] = field(default_factory=Counter)  # by kind
    answers: Counter[int] = field(default_factory=Counter)  # whole ones, by status
    sent: int = 0  # bytes of request bodies that were sent whole
    received: int = 0  # bytes of response bodies
    aborts: int = 0  # connections that a client left in the middle of something
    failures: int = 0  # provoked in the application

    def add(self, other: Tally) -> None:
        self.requests += other.requests
        self.answers += other.answers
        self.sent += other.sent
        self.received += other.received
        self.aborts += other.aborts
        self.failures += other.failures


class Play:
    """One play of one kind: where the server is, what is random, and where it is counted."""

    def __init__(self, kind: str, key: str, addresses: list[Address], tally: Tally) -> None:
        """key: tells this play from all others of its phase; addresses: TCP first, then a unix
        socket."""
        self.kind = kind
        self.key = key
        self.random = Random(key)
        self.tally = tally
        self.tcp, self.unix = addresses

    def connect(
        self, address: Address | None = None, *, receive_buffer: int | None = None
    ) -> Client:
        """By TCP or by the unix socket, as chance will have it, if address does not say."""
        if address is None:
            address = self.random.choice((self.tcp, self.unix))
        return Client(address, timeout=PATIENCE, receive_buffer=receive_buffer)

    def send(self, client: Client, data: bytes, requests: int = 1) -> None:
        self.tally.requests[self.kind] += requests
        client.send(data)

    def expect(self, client: Client, body: bytes) -> Response:
        """Reads a good answer, and checks it."""
        response = self.read(client)
        assert response.status == 200, response.status
        got = response.body
        assert got == body, f"{len(got)} bytes, not {len(body)}: {got[:99]!r}, not {body[:99]!r}"
        return response

    def read(self, client: Client) -> Response:
        response = client.read_response()
        self.tally.answers[response.status] += 1
        self.tally.received += len(response.body)
        return response

    def fields(self) -> list[tuple[str, str]]:
        """Now and then such as never came before: what the server learns by them is bounded."""
        fields = [("User-Agent", "soak")]
        if self.random.random() < 0.3:
            fields.append(("Cookie", f"session={self.random.getrandbits(64):x}"))
        if self.random.random() < 0.1:
            fields.append((f"X-{self.random.randrange(10**6)}", "once"))
        return fields

    def suspend(self, waiter: Client, waker: Client) -> None:
        """Sends a request that waits, and returns when the server has suspended it."""
        self.send(waiter, request(f"/wait?{self.key}"))
        deadline = time.monotonic() + PATIENCE
        # How often it has to be asked is no part of the traffic, which is the same in each phase.
        while waker.get(f"/waiting?{self.key}").body != b"yes":
            assert time.monotonic() < deadline, "the request was never suspended"
            time.sleep(0.001)

    def open_websocket(self) -> Socket:
        """One that echoes."""
        self.tally.requests[self.kind] += 1
        return Socket(self)

    def wake(self, waker: Client) -> None:
        """Sends the request that wakes it."""
        self.send(waker, request(f"/wake?{self.key}"))
        self.expect(waker, b"")

    def leave(self, client: Client) -> None:
        """Closes in the middle of something: by FIN, or where there is such a thing by RST."""
        self.tally.aborts += 1
        if client.socket.family == socket.AF_INET and self.random.random() < 0.5:
            reset = struct.pack("ii", 1, 0)
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        client.close()


# ---- good clients


def keep_alive(play: Play) -> None:
    """Several requests, one after the other."""
    with play.connect() as client:
        for _ in range(play.random.randint(1, 20)):
            play.send(client, request("/hello", fields=play.fields()))
            play.expect(client, HELLO)


def closing(play: Play) -> None:
    """One request, after which the server closes: HTTP/1.0, or told so."""
    with play.connect() as client:
        if play.random.random() < 0.5:
            play.send(client, request("/hello", version="HTTP/1.0"))
        else:
            play.send(client, request("/hello", fields=[("Connection", "close")]))
        assert play.expect(client, HELLO).closes
        client.expect_close()


def pipelining(play: Play) -> None:
    """Many requests at once, with bodies and without, answered in order."""
    with play.connect() as client:
        wanted = []
        data = b""
        for _ in range(play.random.randint(2, 40)):
            what = play.random.randrange(4)
            if what == 0:
                body = play.random.randbytes(play.random.randrange(300))
                data += request("/digest", method="POST", body=body)
                wanted.append(_digest_of(body))
            elif what == 1:
                count = play.random.randrange(20)
                data += request(f"/stream?{count}")
                wanted.append(PIECE * count)
            else:
                data += request("/hello", fields=play.fields())
                wanted.append(HELLO)
        play.send(client, data, len(wanted))
        for body in wanted:
            play.expect(client, body)


def _digest_of(body: bytes) -> bytes:
    return f"{len(body)} {hashlib.sha256(body).hexdigest()}".encode()


def upload(play: Play) -> None:
    """A body, with its length or in chunks, small or so large that it goes to a file."""
    most = play.random.choice((100, 10000, 4 * SPOOLED))
    body = play.random.randbytes(play.random.randint(1, most))
    expects = play.random.random() < 0.2
    fields = [("Expect", "100-continue")] if expects else []
    if play.random.random() < 0.5:
        data = request("/digest", method="POST", fields=fields, body=body)
        head, sent = data[: -len(body)], body
    else:
        fields.append(("Transfer-Encoding", "chunked"))
        head, sent = request("/digest", method="POST", fields=fields), _chunked(play.random, body)
    with play.connect() as client:
        play.send(client, head)
        if expects:
            assert play.read(client).status == 100
        client.send(sent)
        play.tally.sent += len(body)
        play.expect(client, _digest_of(body))


def _chunked(random: Random, body: bytes) -> bytes:
    out = []
    while body:
        size = random.randint(1, len(body))
        out += [b"%x\r\n" % size, body[:size], b"\r\n"]
        body = body[size:]
    return b"".join([*out, b"0\r\n\r\n"])


def download(play: Play) -> None:
    """A large body, a file, a list and a generator of pieces."""
    count = play.random.randint(1, 1000)
    target, body = play.random.choice(
        (
            ("/large", MEBIBYTE),
            ("/file", MEBIBYTE),
            (f"/pieces?{count}", PIECE * count),
            (f"/stream?{count}", PIECE * count),
        )
    )
    with play.connect() as client:
        play.send(client, request(target, fields=play.fields()))
        play.expect(client, body)


def suspended(play: Play) -> None:
    """A request that waits, until another one wakes it."""
    with play.connect() as waiter, play.connect() as waker:
        play.suspend(waiter, waker)
        play.wake(waker)
        play.expect(waiter, f"woken {play.key}".encode())
        play.send(waiter, request("/hello"))  # the connection is as good as ever
        play.expect(waiter, HELLO)


def napping(play: Play) -> None:
    """A request that waits for a timeout."""
    with play.connect() as client:
        play.send(client, request(f"/nap?{play.random.randrange(30)}"))
        play.expect(client, b"expired")


def websocket(play: Play) -> None:
    """Messages that come back, in one frame or several, pings between them, and a close."""
    with play.open_websocket() as socket:
        for _ in range(play.random.randint(1, 10)):
            message = play.random.randbytes(play.random.choice((10, 1000, 70000)))
            cut = play.random.randrange(len(message))
            parts = [frame(BINARY, message[:cut], fin=False), frame(0, message[cut:])]
            socket.send(parts[0], frame(PING, b"between"), parts[1])
            assert socket.read() == (0x80 | PONG, b"between")
            assert socket.read() == (0x80 | BINARY, message)
        socket.send(close(1000))
        assert socket.read_close() == (1000, "")


# ---- slow clients


def slow_request(play: Play) -> None:
    """A request that the server reads by a few bytes at a time."""
    with play.connect(play.unix) as client:
        play.tally.requests[play.kind] += 1
        body = play.random.randbytes(5)
        data = request("/digest", method="POST", body=body)
        while data:
            size = play.random.randint(1, 9)
            client.send_separately(data[:size])
            data = data[size:]
        play.expect(client, _digest_of(body))


def slow_reader(play: Play) -> None:
    """A megabyte through a small window, so that the response has to wait many times."""
    target = play.random.choice(("/large", "/file", f"/stream?{len(MEBIBYTE) // len(PIECE)}"))
    with play.connect(play.tcp, receive_buffer=4096) as client:
        play.send(client, request(target))
        play.expect(client, MEBIBYTE)


# ---- clients that leave


def abort_request(play: Play) -> None:
    """Leaves before or in the middle of a head, or in the middle of a body."""
    body = play.random.randbytes(play.random.choice((10, 3 * SPOOLED)))
    data = request("/digest", method="POST", body=body)
    head = len(data) - len(body)
    cut = play.random.choice((0, head // 2, head, play.random.randrange(head, len(data))))
    with play.connect() as client:
        play.send(client, data[:cut])
        play.leave(client)


def abort_response(play: Play) -> None:
    """Leaves in the middle of a response, or of several."""
    target = play.random.choice(("/endless", "/large", "/file", "/stream?5000"))
    with play.connect() as client:
        count = play.random.randint(1, 3)
        play.send(client, request(target) * count, count)
        assert client.read_head().status == 200
        client.read_some(play.random.randrange(300000))
        play.leave(client)


def abort_suspended(play: Play) -> None:
    """Leaves while its request waits, which is then woken to no avail."""
    with play.connect() as waiter, play.connect() as waker:
        play.suspend(waiter, waker)
        play.leave(waiter)
        play.wake(waker)


def abort_nap(play: Play) -> None:
    """Leaves while its request waits for a timeout."""
    with play.connect() as client:
        play.send(client, request(f"/nap?{play.random.randrange(30)}"))
        play.leave(client)


def abort_websocket(play: Play) -> None:
    """Leaves an open WebSocket, before, in the middle of, or after messages that come back."""
    with play.open_websocket() as socket:
        data = frame(BINARY, play.random.randbytes(20000)) * play.random.randint(1, 5)
        socket.send(data[: play.random.randrange(len(data))])
        play.leave(socket.client)


# ---- bad requests, and a bad application


def bad_request(play: Play) -> None:
    """A case of tests/wire with some bytes changed. Whatever the server makes of it, it answers
    with whole responses, and closes in the end."""
    data = _mutate(play.random, play.random.choice(BAD))
    with play.connect() as client:
        play.tally.requests[play.kind] += 1
        client.send_if_open(data)
        with contextlib.suppress(OSError):  # reset already, by a server that takes no more
            client.finish_sending()
        while not client.at_end():
            play.read(client)


def _mutate(random: Random, data: bytes) -> bytes:
    for _ in range(random.randint(0, 4)):
        at = random.randrange(len(data) + 1)
        some = random.choice((random.randbytes(1), bytes([random.choice(_SPICE)])))
        how = random.randrange(4)
        if how == 0:
            data = data[:at] + some + data[at + 1 :]
        elif how == 1:
            data = data[:at] + some + data[at:]
        elif how == 2:
            data = data[:at] + data[at + random.randint(1, 20) :]
        else:
            data = data[: at + 20] + data[at:]
    return data


def failing(play: Play) -> None:
    """The application raises: before the head, which is answered, or after it."""
    with play.connect() as client:
        play.tally.failures += 1
        if play.random.random() < 0.5:
            play.send(client, request("/fail"))
            assert play.read(client).status == 500
        else:
            play.send(client, request("/fail-late"))
            assert client.read_head().status == 200
            assert not client.read_to_abort().endswith(b"0\r\n\r\n"), "a cut response looks whole"


# ---- clients that the server gives up


def late_head(play: Play) -> None:
    """A head that never ends is answered with 408 (docs/http.md, row 31)."""
    with play.connect() as client:
        play.send(client, request("/hello")[:-2])
        assert play.read(client).status == 408
        client.expect_close()


def late_body(play: Play) -> None:
    """A body that stops is given up, and so is its connection."""
    with play.connect() as client:
        play.send(client, request("/digest", method="POST", body=bytes(SPOOLED))[:-1])
        assert client.read_to_abort() == b""


def late_reader(play: Play) -> None:
    """Who reads nothing of its answer gets no end of it."""
    with play.connect(play.tcp, receive_buffer=4096) as client:
        play.send(client, request("/endless"))
        poll = select.poll()
        poll.register(client.socket, 0)  # a reset is told unasked (poll(2), POLLERR)
        assert poll.poll(PATIENCE * 1000), "the connection still stands"


def idle(play: Play) -> None:
    """A kept connection on which nothing follows is closed without a word."""
    with play.connect() as client:
        play.send(client, request("/hello"))
        play.expect(client, HELLO)
        client.expect_close()


# How often each is played in a round.
KINDS: dict[Callable[[Play], None], int] = {
    keep_alive: 8,
    closing: 4,
    pipelining: 4,
    upload: 6,
    download: 4,
    suspended: 3,
    napping: 1,
    websocket: 2,
    slow_request: 1,
    slow_reader: 1,
    abort_request: 4,
    abort_response: 4,
    abort_suspended: 1,
    abort_nap: 1,
    abort_websocket: 1,
    bad_request: 12,
    failing: 1,
}

# What takes seconds is played at the beginning of a phase, beside the rounds.
PATIENT: dict[Callable[[Play], None], int] = {late_head: 3, late_body: 3, late_reader: 3, idle: 3}
