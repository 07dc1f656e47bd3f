"""The limits of a server: what a client may ask of it, how long it may take, how much it may hold.

They are those of mh_config in meinheld.h that clients meet, by the same names; rows 30 to 34 of
docs/http.md say what goes beyond them. Times are seconds here and milliseconds there."""

from __future__ import annotations

from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any, Final

LONGEST: Final = (2**32 - 1) / 1000  # seconds: what 32 bits of milliseconds hold
_LARGEST: Final = 2**28


def _count(default: int, least: int, most: int) -> Any:
    return field(default=default, metadata={"time": False, "least": least, "most": most})


def _seconds(default: float, least: float = 0.001) -> Any:
    return field(default=default, metadata={"time": True, "least": least, "most": LONGEST})


@dataclass(frozen=True)
class Limits:
    """The limits of one run; sizes are bytes, times seconds."""

    max_connections: int = _count(100_000, 1, 2**32 - 1)
    max_request_line: int = _count(8192, 16, _LARGEST)
    max_head: int = _count(32768, 16, _LARGEST)
    max_fields: int = _count(100, 1, 65535)
    max_field: int = _count(0, 0, _LARGEST)
    max_body: int = _count(16 * 1024 * 1024, 0, 2**63 - 1)
    head_timeout: float = _seconds(10)
    body_timeout: float = _seconds(30)
    write_timeout: float = _seconds(60)
    keepalive_timeout: float = _seconds(5, least=0)
    drain_idle: float = _seconds(0, least=0)
    min_rate: int = _count(240, 0, 2**32 - 1)
    rate_window: float = _seconds(10)
    rate_grace: float = _seconds(5, least=0)
    linger_timeout: float = _seconds(2)
    linger_time: float = _seconds(30)
    linger_max: int = _count(64 * 1024 * 1024, 0, _LARGEST)
    unread_max: int = _count(1024 * 1024, 0, _LARGEST)
    high_water: int = _count(65536, 1, 2**32 - 1)
    low_water: int = _count(16384, 0, 2**32 - 1)

    def changed(self, changes: dict[str, float]) -> Limits:
        """These limits but for changes. Raises TypeError and ValueError, naming the limit, its
        value and what is allowed."""
        for name, value in changes.items():
            _check(name, value)
        limits = replace(self, **changes)  # type: ignore[arg-type]
        if limits.low_water > limits.high_water:
            raise ValueError(
                f"low_water must be at most high_water, {limits.high_water}: {limits.low_water}"
            )
        return limits

    def as_dict(self) -> dict[str, float]:
        """All of them, by name."""
        return asdict(self)

    def as_config(self) -> dict[str, int]:
        """All of them as mh_config has them."""
        return {
            # 0 has a meaning of its own, so a time that rounds to it is made 1.
            name: max(round(value * 1000), value > 0) if _FIELDS[name].metadata["time"] else value
            for name, value in asdict(self).items()
        }


_FIELDS: Final[dict[str, Field[Any]]] = {limit.name: limit for limit in fields(Limits)}


def _check(name: str, value: object) -> None:
    limit = _FIELDS.get(name)
    if limit is None:
        raise TypeError(f"there is no limit {name!r}; the limits are {', '.join(_FIELDS)}")
    time = limit.metadata["time"]
    if isinstance(value, bool) or not isinstance(value, (int, float) if time else int):
        kind = "a number of seconds" if time else "an int"
        raise TypeError(f"{name} must be {kind}, not {value!r}")
    least, most = limit.metadata["least"], limit.metadata["most"]
    if not least <= value <= most:  # NaN is not, either
        raise ValueError(f"{name} must be from {least} to {most}, not {value!r}")
