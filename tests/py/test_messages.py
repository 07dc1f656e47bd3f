"""The frames of a WebSocket without a socket: what is agreed on about compression; any cut of what
comes gives the same; and bytes of any kind end in a close or are waited for, but never in anything
else."""

from __future__ import annotations

import random

import pytest
from frames import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    RSV1,
    TEXT,
    close,
    deflated,
    frame,
    inflated,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from meinheld._messages import Broken, Close, Messages, Ping, Pong, agree

FLAGS = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"

# No examples by the clock, and the same ones each time.
STEADY = settings(
    derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), max_examples=300
)


@pytest.mark.parametrize(
    ("offers", "answer", "window"),
    [
        ("permessage-deflate", FLAGS, 15),
        ("permessage-deflate; client_max_window_bits", FLAGS, 15),
        ("x-other;y=1 , permessage-deflate", FLAGS, 15),
        ("permessage-deflate; client_max_window_bits=8", FLAGS, 15),
        ("permessage-deflate; server_no_context_takeover", FLAGS, 15),
        ("permessage-deflate;client_no_context_takeover", FLAGS, 15),
        (
            'permessage-deflate; server_max_window_bits="10"',
            f"{FLAGS}; server_max_window_bits=10",
            10,
        ),
        ("permessage-deflate; server_max_window_bits=15", FLAGS, 15),
        (
            "permessage-deflate; server_max_window_bits=8, permessage-deflate",
            FLAGS,
            15,
        ),
    ],
)
def test_the_first_offer_that_can_be_taken_is(offers: str, answer: str, window: int) -> None:
    assert agree(offers) == (answer, window)


@pytest.mark.parametrize(
    "offer",
    [
        "",
        "x-webkit-deflate-frame",
        "permessage-deflate; server_max_window_bits=8",  # which zlib can't
        "permessage-deflate; server_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; server_max_window_bits=010",
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; client_max_window_bits=7",
        "permessage-deflate; client_max_window_bits=x",
        "permessage-deflate; client_max_window_bits=",
        "permessage-deflate; server_no_context_takeover=1",
        "permessage-deflate; unknown",
        "permessage-deflate; client_max_window_bits; client_max_window_bits",
        "permessage-deflate;",
    ],
)
def test_an_offer_that_is_none_is_declined(offer: str) -> None:
    assert agree(offer) is None


@pytest.mark.parametrize("window", [9, 12, 15])
def test_what_is_sent_can_be_inflated_with_the_window(window: int) -> None:
    messages = Messages(2**20, window)
    noise = random.Random(1).randbytes(1000)
    for data in (b"x" * 100000, (noise + bytes(3000)) * 5):
        sent = bytes(messages.message(data))
        assert sent[0] == 0x80 | RSV1 | BINARY
        start = {126: 4, 127: 10}.get(sent[1], 2)
        assert inflated(sent[start:], window) == data


def test_what_does_not_get_smaller_is_sent_as_it_is() -> None:
    messages = Messages(2**20, 15)
    noise = random.Random(1).randbytes(1000)
    assert bytes(messages.message(noise)) == b"\x82\x7e\x03\xe8" + noise
    assert bytes(messages.message("x" * 63)) == b"\x81\x3f" + b"x" * 63
    assert bytes(messages.message("x" * 64))[0] == 0xC1


def taken(pieces: list[bytes], max_size: int, window: int | None) -> list[object]:
    """What becomes of them, with how it breaks if it does."""
    messages = Messages(max_size, window)
    found: list[object] = []
    try:
        for piece in pieces:
            found += messages.receive(piece)
    except Broken as exc:
        found.append((exc.code, exc.reason))
        assert exc.code in (1002, 1007, 1009)
    return found


SMALL = deflated(b"y" * 900)
STREAM = b"".join(
    (
        frame(TEXT, "caf\u00e9".encode()[:4], fin=False),
        frame(PING, b"ping"),
        frame(CONTINUATION, "caf\u00e9".encode()[4:]),
        frame(BINARY, SMALL[:5], fin=False, rsv=RSV1),
        frame(CONTINUATION, b"", fin=False),
        frame(PONG),
        frame(CONTINUATION, SMALL[5:]),
        frame(BINARY, b"z" * 300, fin=False),
        frame(CONTINUATION, b"z" * 300, fin=False),
        frame(CONTINUATION, b"z" * 400),
        close(3000, b"bye"),
    )
)
MEANT = [Ping(b"ping"), "caf\u00e9", Pong(b""), b"y" * 900, b"z" * 1000, Close(3000, "bye")]


def test_any_cut_gives_the_same() -> None:
    assert taken([STREAM], 1000, 15) == MEANT
    assert taken([STREAM[i : i + 1] for i in range(len(STREAM))], 1000, 15) == MEANT
    for cut in range(len(STREAM)):
        assert taken([STREAM[:cut], STREAM[cut:]], 1000, 15) == MEANT


def test_nothing_is_understood_after_a_close() -> None:
    found = taken([frame(CLOSE), frame(TEXT, b"x")], 1000, None)
    assert found == [Close(1005, "")]


# Bytes that look like frames more often than not.
FRAMES = st.builds(
    lambda opcode, payload, fin, rsv: frame(opcode, payload, fin=fin, rsv=rsv),
    st.sampled_from([TEXT, BINARY, CONTINUATION, PING, PONG, CLOSE, 3]),
    st.binary(max_size=130) | st.text(max_size=30).map(str.encode) | st.just(SMALL),
    st.booleans(),
    st.sampled_from([0, 0, RSV1, 0x20]),
)
BYTES = st.lists(FRAMES | st.binary(max_size=20), max_size=8).map(b"".join)


@STEADY
@given(BYTES, st.sampled_from([None, 15]), st.sampled_from([10, 1000]), st.randoms())
def test_bytes_of_any_kind_are_messages_or_break(
    data: bytes, window: int | None, max_size: int, chance: random.Random
) -> None:
    """However they are cut, they come to the same, and no message is over the limit."""
    whole = taken([data], max_size, window)
    cuts = sorted(chance.sample(range(len(data) + 1), min(len(data), 5)))
    pieces = [data[a:b] for a, b in zip([0, *cuts], [*cuts, len(data)])]
    in_pieces = taken(pieces, max_size, window)
    assert [x for x in in_pieces if isinstance(x, (str, bytes, Close, Ping, Pong))] == [
        x for x in whole if isinstance(x, (str, bytes, Close, Ping, Pong))
    ]
    assert [x[0] for x in in_pieces if type(x) is tuple] == [
        x[0] for x in whole if type(x) is tuple
    ]
    for found in whole:
        if isinstance(found, str):
            assert len(found.encode()) <= max_size
        elif isinstance(found, bytes):
            assert len(found) <= max_size
