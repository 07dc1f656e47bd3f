"""Messages over a WebSocket: what comes and what goes, in frames of every kind, how much of it is
held, and who may send and wait."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from frames import (
    BINARY,
    CONTINUATION,
    DEFLATE,
    PING,
    PONG,
    RSV1,
    TEXT,
    Socket,
    close,
    deflated,
    frame,
    inflated,
)
from harness import Server, wait_until
from talker import Talker
from websockets.asyncio.client import connect as connect_async
from websockets.typing import Origin

Serve = Callable[..., Server]
APP = "apps.websocket:app"
MIB = 2**20


def url(server: Server, path: str = "/echo") -> str:
    return f"ws://127.0.0.1:{server.port}{path}"


NOISE = deflated(random.Random(1).randbytes(1001))


# ---- what comes and goes


MESSAGES: list[str | bytes] = [
    "",
    "x",
    "\u00e9\U0001f600" * 1000,
    b"",
    b"\0\xff" * 40000,
    random.Random(1).randbytes(MIB),
    "y" * MIB,
]


@pytest.mark.parametrize("compression", ["deflate", None])
def test_a_message_comes_back_as_it_was(serve: Serve, compression: str | None) -> None:
    with Talker(url(serve(APP)), compression=compression) as ws:
        for message in MESSAGES * 2:
            ws.send(message)
            found = ws.recv()
            assert type(found) is type(message)
            assert found == message


def test_a_message_may_come_in_fragments(serve: Serve) -> None:
    with Talker(url(serve(APP))) as ws:
        ws.send(["fra", "", "gm", "ents"])
        assert ws.recv() == "fragments"
        ws.send([b"a" * 70000, b"b" * 100])
        assert ws.recv() == b"a" * 70000 + b"b" * 100


def test_fragments_may_cut_a_character_and_have_pings_between_them(serve: Serve) -> None:
    text = "\U0001f600".encode()
    with Socket(serve(APP)) as ws:
        ws.send(frame(TEXT, text[:1], fin=False), frame(PING, b"1"))
        ws.expect(PONG, b"1")
        ws.send(frame(CONTINUATION, text[1:3], fin=False), frame(PING, b"2"))
        ws.expect(PONG, b"2")
        ws.send(frame(CONTINUATION, text[3:]))
        ws.expect(TEXT, text)


def test_compressed_fragments_may_have_pings_between_them(serve: Serve) -> None:
    data = random.Random(2).randbytes(100)
    small = deflated(data)
    with Socket(serve(APP), "/echo", DEFLATE) as ws:
        for _ in range(2):
            ws.send(frame(BINARY, small[:50], fin=False, rsv=RSV1), frame(PING, b"1"))
            ws.expect(PONG, b"1")
            ws.send(frame(CONTINUATION, small[50:]))
            ws.expect(BINARY, data)
            ws.send(frame(TEXT, b"not all are compressed"))
            ws.expect(TEXT, b"not all are compressed")


def test_a_message_may_end_in_a_final_block(serve: Serve) -> None:
    with Socket(serve(APP), "/echo", DEFLATE) as ws:  # RFC 7692 7.2.3.4
        ws.send(frame(TEXT, b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00", rsv=RSV1))
        ws.expect(TEXT, b"Hello")


def test_a_frame_may_come_byte_by_byte(serve: Serve, unix_path: str) -> None:
    sends = frame(BINARY, b"x" * 200, fin=False) + frame(PING) + frame(CONTINUATION, b"y" * 200)
    server = serve("apps.websocket:small", address=unix_path)
    with Socket(server) as ws:
        for i in range(len(sends)):
            ws.client.send_separately(sends[i : i + 1])
        assert ws.read() == (0x80 | PONG, b"")
        found = ws.read()
        assert (found.opcode, found.payload) == (BINARY, b"x" * 200 + b"y" * 200)


def test_a_ping_is_answered_though_nobody_waits(serve: Serve) -> None:
    server = serve(APP)
    with Socket(server, "/stubborn?seconds=0.5") as ws:
        server.wait_for_log("waits")
        ws.send(frame(PING, b""), frame(PING, b"x" * 125), frame(PONG, b"unasked"))
        ws.expect(PONG, b"")
        ws.expect(PONG, b"x" * 125)
        assert "slept" not in server.log
        assert ws.read_close(answer=True) == (1000, "")


def test_what_is_known_of_it(serve: Serve) -> None:
    with Talker(url(serve(APP), "/info"), origin=Origin("http://a.example")) as ws:
        assert json.loads(ws.recv()) == {
            "path": "/info",
            "protocol": None,
            "origin": "http://a.example",
            "version": 13,
            "websocket_closed": False,
            "close_code": None,
        }


# ---- how much is held


def test_a_message_of_the_limit_is_taken(serve: Serve) -> None:
    server = serve("apps.websocket:small")
    with Socket(server, "/echo", DEFLATE) as ws:
        for sends in (
            frame(BINARY, b"x" * 1000),
            frame(BINARY, b"x" * 600, fin=False) + frame(CONTINUATION, b"x" * 400),
            frame(BINARY, deflated(b"x" * 1000), rsv=RSV1),
        ):
            ws.send(sends)
            found = ws.read()
            assert (found.first, inflated(found.payload)) == (0x80 | RSV1 | BINARY, b"x" * 1000)


TOO_LARGE = [
    frame(BINARY, b"x" * 1001),
    frame(TEXT, b"x" * 1001)[:8],  # its length is enough
    frame(TEXT, "\u00e9".encode() * 501),
    frame(BINARY, b"x" * 600, fin=False) + frame(CONTINUATION, b"x" * 401),
    frame(BINARY, deflated(b"x" * 1001), rsv=RSV1),
    frame(BINARY, deflated(b"x" * 10**7), rsv=RSV1),
    frame(BINARY, NOISE[:600], fin=False, rsv=RSV1) + frame(CONTINUATION, NOISE[600:]),
]


def test_a_message_over_the_limit_is_1009(serve: Serve) -> None:
    server = serve("apps.websocket:small")
    for sends in TOO_LARGE:
        with Socket(server, "/echo", DEFLATE) as ws:
            ws.send(sends)
            assert ws.read().payload == b"\x03\xf1a message of over 1000 bytes", sends
            # What it goes on to send is dropped, so that it gets to read that.
            ws.send(b"x" * 100000)
            assert ws.client.read_to_end() == b""


def test_a_sender_waits_for_its_client(serve: Serve) -> None:
    server = serve("apps.websocket:plain")
    with Socket(server, "/flood?count=1000&size=100000", receive_buffer=65536) as ws:
        server.wait_for_log("sent 0")
        server.wait_for_rest()
        before = server.memory("VmHWM")
        assert "sent 64" not in server.log
        for _ in range(1000):
            assert len(ws.read().payload) == 100000
        assert ws.read_close(answer=True) == (1000, "")
        assert server.memory("VmHWM") < before + 32 * MIB


def test_a_client_that_takes_nothing_is_given_up(serve: Serve) -> None:
    server = serve("apps.websocket:brief")
    with Socket(server, "/flood?count=3000&size=100000", receive_buffer=4096) as ws:
        server.wait_for_log("over: <class 'meinheld._exceptions.WebSocketClosed'> 1006")
        ws.client.read_to_abort()


def test_a_client_waits_for_its_handler(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP)
    go_on = tmp_path / "go-on"
    with Socket(server, f"/answers?file={go_on}") as ws:
        server.wait_for_log("waits")
        before = server.memory("VmHWM")
        ws.client.timeout = 0.5
        sent = 0
        with pytest.raises(socket.timeout):  # another than TimeoutError in 3.9
            for sent in range(10000):  # noqa: B007
                ws.send(frame(BINARY, bytes(10000)))
        assert server.memory("VmHWM") < before + 32 * MIB
        assert server.log.count("got") == 1
        go_on.touch()
        wait_until(lambda: server.log.count("got 10000") == sent, "got all")


# ---- who may send and wait


@pytest.mark.parametrize("size", [20, 100000])
def test_several_may_send_at_once(serve: Serve, size: int) -> None:
    with Talker(url(serve(APP), f"/many?size={size}")) as ws:
        found = [str(message) for message in ws]
    assert {len(message) for message in found} == {size}
    for who in ("task0", "task1", "task2", "task3", "thread"):
        turns = [message.split()[1] for message in found if message.startswith(who)]
        assert turns == [str(turn) for turn in range(20)]
    assert len(found) == 100


@pytest.mark.in_loop("tasks take turns in the loop's thread")
def test_several_may_wait_at_once(serve: Serve) -> None:
    server = serve(APP)
    with Talker(url(server, "/two-wait")) as ws:
        for i in range(6):
            ws.send(str(i))
    server.wait_for_log("got ['0', '1', '2', '3', '4', '5']")


def test_a_thread_of_the_handler_s_own_may_talk(serve: Serve) -> None:
    with Talker(url(serve(APP), "/plain-thread")) as ws:
        for i in range(10):
            ws.send(str(i))
            assert ws.recv() == str(i)


def test_a_greenlet_of_the_handler_s_own_may_not_wait(serve: Serve) -> None:
    with Talker(url(serve(APP), "/own-greenlet")) as ws:
        assert "own greenlet" in str(ws.recv())


def test_a_wait_may_have_a_timeout(serve: Serve) -> None:
    with Talker(url(serve(APP), "/times?timeout=0.05")) as ws:
        assert ws.recv() == "timeout"
        assert ws.recv() == "timeout"
    with Talker(url(serve(APP), "/times?timeout=20")) as ws:
        for _ in range(2):
            ws.send("x")
            assert ws.recv() == "got 'x'"
    with Talker(url(serve(APP), "/times?timeout=0")) as ws:
        assert ws.recv() == "timeout"


def test_wrong_calls_are_told_at_once(serve: Serve) -> None:
    with Talker(url(serve(APP), "/misuse")) as ws:
        errors = ["TypeError"] * 2 + ["UnicodeEncodeError", "ValueError", "TypeError"]
        assert json.loads(ws.recv()) == errors + ["ValueError"] * 5


# ---- many


async def _echo_at_once(server: Server, count: int) -> None:
    """All are open before the first sends, and each has its own back before any closes."""
    sockets = [connect_async(url(server), open_timeout=60) for _ in range(count)]
    opened = []
    for i in range(0, count, 100):
        opened += await asyncio.gather(*sockets[i : i + 100])

    async def echo(number: int) -> None:
        for turn in range(3):
            await opened[number].send(f"{number} {turn}")
            assert await opened[number].recv() == f"{number} {turn}"

    await asyncio.gather(*map(echo, range(count)))
    await asyncio.gather(*(ws.close() for ws in opened))


def test_a_thousand_echo_at_once(serve: Serve, threads: int) -> None:
    count = 1000
    server = serve(APP, threads=threads and count, limits={"keepalive_timeout": 600})
    with server.connect() as client:
        client.get()  # all that the server needs for itself is open now
        before = server.open_fds()
        asyncio.run(_echo_at_once(server, count))
        wait_until(lambda: server.log.count("over: None 1000 ''") == count, "told each handler")
        wait_until(lambda: server.open_fds() == before, "closed each descriptor")


def test_what_was_sent_before_a_close_is_still_received(serve: Serve, tmp_path: Path) -> None:
    server = serve(APP)
    go_on = tmp_path / "go-on"
    with Socket(server, f"/answers?file={go_on}") as ws:
        ws.send(frame(TEXT, b"1"), frame(TEXT, b"2"), frame(TEXT, b"3"), close(1000))
        assert ws.read_close() == (1000, "")
        go_on.touch()
        server.wait_for_log("over: None 1000")
        assert [line for line in server.log.splitlines() if line.startswith("got")] == [
            "got 1",
            "got 2",
            "got 3",
        ]
