"""Checks of arguments that are numbers; errors name the setting."""

from __future__ import annotations

import math


def number(name: str, value: float) -> float:
    """value, if it is finite and not negative. Raises TypeError and ValueError."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, not {value!r}")
    if not 0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and not negative: {value!r}")
    return value


def integer(name: str, value: int, least: int) -> int:
    """value, if it is an int and at least so much. Raises TypeError and ValueError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    return value
