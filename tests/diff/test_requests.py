"""Requests, well-formed and mutated, given to our parser, to h11 and to llhttp: what we take, all
must frame the same way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from differences import first_difference
from framer import frame
from hypothesis import example, given, note
from hypothesis import strategies as st
from known import CHUNKED, KNOWN, Known, unknown_differences
from messages import Ending, Verdict
from peers import PEERS
from strategies import Request, mutated, pipelined, pipelines
from wire import read_subjects

WIRE = {
    f"{subject.name}: {case.name}": b"".join(bytes(part.data) for part in case.inputs)
    for subject in read_subjects()
    if subject.runner == "http"
    for case in subject.cases
}
SHORT = [data for data in WIRE.values() if len(data) <= 1024]
# Most are of what is refused, and a mutation seldom mends that.
TAKEN = [data for data in SHORT if frame(data).messages]


def check(data: bytes) -> Verdict:
    """Our verdict on data, once it is known to hold for all."""
    ours = frame(data)
    assert frame(data, 1) == ours, "it depends on how the bytes arrive"
    unknown = list(unknown_differences(data))
    for found in unknown:
        note(str(found))
    assert not unknown, "\n\n".join(map(str, unknown))
    return ours


# ---- what is generated


@given(pipelines)
def test_a_well_formed_request_is_taken_as_it_was_meant_and_by_all_alike(
    requests: list[Request],
) -> None:
    ours = check(b"".join(request.wire for request in requests))
    assert ours.ending in (Ending.MORE, Ending.CLOSED), ours.reason
    assert ours.unfinished is None
    for message, request in zip(ours.messages, requests):
        assert message.method == request.method
        assert message.target == request.target
        assert message.fields == request.fields
        assert message.body == request.body
        assert message.end - message.start == len(request.wire)
    assert len(ours.messages) == len(requests) or ours.ending is Ending.CLOSED


# h11 names it in other quotation marks than without the one in the extension.
@example(CHUNKED + b"0 ;'\r\n\r\n")
@given(mutated(pipelined))
def test_what_is_taken_of_mutated_requests_all_frame_alike(data: bytes) -> None:
    check(data)


@given(mutated(st.sampled_from(SHORT) | st.sampled_from(TAKEN)))
def test_what_is_taken_of_mutated_wire_cases_all_frame_alike(data: bytes) -> None:
    check(data)


@pytest.mark.parametrize("name", WIRE)
def test_what_is_taken_of_a_wire_case_all_frame_alike(name: str) -> None:
    check(WIRE[name])


# ---- the tools


@pytest.mark.parametrize("known", [k for k in KNOWN if k.peer in PEERS], ids=lambda k: k.name)
def test_a_known_difference_is_there_and_has_one_name(known: Known) -> None:
    found = first_difference(known.example, frame(known.example), known.peer)
    assert found is not None
    assert [entry.name for entry in KNOWN if entry.explains(found)] == [known.name]


ONE_OF_EACH = (
    b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
    b"PUT /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
)


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("attribute", "other"),
    [
        ("method", lambda method: method[1:]),
        ("target", lambda target: target[1:]),
        ("fields", lambda fields: fields[1:]),
        ("body", lambda body: body[1:]),
        ("end", lambda end: end - 1),
        ("keep_alive", lambda keep_alive: not keep_alive),
    ],
)
def test_no_change_of_what_we_take_goes_unseen(
    peer: str, index: int, attribute: str, other: Callable[[Any], Any]
) -> None:
    ours = frame(ONE_OF_EACH)
    assert first_difference(ONE_OF_EACH, ours, peer) is None
    messages = list(ours.messages)
    was: Any = getattr(messages[index], attribute)
    messages[index] = replace(messages[index], **{attribute: other(was)})
    found = first_difference(ONE_OF_EACH, replace(ours, messages=tuple(messages)), peer)
    assert found is not None
    assert not any(entry.explains(found) for entry in KNOWN)


@pytest.mark.parametrize("peer", PEERS)
def test_a_message_too_many_or_too_few_does_not_go_unseen(peer: str) -> None:
    ours = frame(ONE_OF_EACH)
    one = frame(ONE_OF_EACH[: ours.messages[0].end])
    for data, verdict in [
        (ONE_OF_EACH, one),
        (ONE_OF_EACH[: one.end], ours),
        (ONE_OF_EACH[:-1], ours),
    ]:
        found = first_difference(data, verdict, peer)
        assert found is not None
        assert not any(entry.explains(found) for entry in KNOWN)
