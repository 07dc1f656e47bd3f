"""What comes over the wire, good and bad: every case of tests/wire, whole and cut at every byte."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from harness import Server
from wire import CASES, Case, deliveries, read_cases, run

ALL = [
    pytest.param(case, id=f"{path.stem}-{case.name}")
    for path in sorted(CASES.glob("*.txt"))
    for case in read_cases(path)
]


def test_there_are_wire_cases() -> None:
    assert len(ALL) > 100


@pytest.mark.parametrize("case", ALL)
def test_a_wire_case_is_answered_the_same_however_it_is_cut(
    case: Case, serve: Callable[..., Server], unix_path: str
) -> None:
    # A unix socket tells the client when the server has read what was sent (unix(7), SIOCOUTQ).
    server = serve("apps.report:app", address=unix_path)
    failures = []
    for how, parts in deliveries(case):
        try:
            with server.connect() as client:
                run(case, parts, client)
        except (AssertionError, OSError) as exc:
            failures.append(f"{how}: {type(exc).__name__}: {exc}")
            if len(failures) == 3:
                break
    assert not failures, "\n".join([f"{case.name} ({case.reference})", *failures])
