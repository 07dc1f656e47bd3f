"""The ways to measure. Each measures a server once, on a fresh process that must answer rightly
before the load and under it, and returns its figures by the keys of the case's columns; it raises
Failed if the server does not do what it must."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from harness.beside import measure_busy, measure_cold
from harness.cases import Case
from harness.hello import measure_ab, measure_wrk
from harness.idle import measure_idle
from harness.memory import measure_slow, measure_whole
from harness.process import Bench
from harness.publish import measure_publish
from harness.servers import Server
from harness.suspended import measure_suspended
from harness.transfer import measure_file, measure_post, measure_stream

Measure = Callable[[Bench, Server, Case], dict[str, float]]

MEASURES: Final[dict[str, Measure]] = {
    "wrk": measure_wrk,
    "ab": measure_ab,
    "idle": measure_idle,
    "publish": measure_publish,
    "suspended": measure_suspended,
    "file": measure_file,
    "post": measure_post,
    "stream": measure_stream,
    "slow": measure_slow,
    "whole": measure_whole,
    "busy": measure_busy,
    "cold": measure_cold,
}


def measure(bench: Bench, server: Server, case: Case) -> dict[str, float]:
    return MEASURES[case.measure](bench, server, case)
