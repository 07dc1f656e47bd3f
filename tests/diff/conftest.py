"""Hypothesis' profiles.

The profile ci, which is the default, draws the same examples each time, and a bounded number of
them. HYPOTHESIS_PROFILE=long draws thirty times as many, and others each time.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, settings

# No test may fail by the clock, so neither an example nor the drawing of one has a time limit.
settings.register_profile(
    "ci",
    database=None,
    deadline=None,
    derandomize=True,
    max_examples=1500,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile(
    "long", settings.get_profile("ci"), derandomize=False, max_examples=45_000, print_blob=True
)
PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "ci")
settings.load_profile(PROFILE)

# A parser that hangs must fail its test, not the whole run.
TIME_LIMIT = {"ci": 600, "long": 0}[PROFILE]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives every test a hard limit that does not rest on how pytest was called."""
    for item in items:
        item.add_marker(pytest.mark.timeout(TIME_LIMIT))
