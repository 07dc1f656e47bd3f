"""The limits of a server: what a client may ask of it, how long it may take, how much it may hold.

They are those of mh_config in meinheld.h that clients meet, by the same names; rows 30 to 34 of
docs/http.md say what goes beyond them. Times are seconds here and milliseconds there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any, Final

LONGEST: Final = (2**32 - 1) / 1000  # seconds: what 32 bits of milliseconds hold
_LARGEST: Final = 2**28


def count(default: int, least: int, most: int, help: str, **more: object) -> Any:
    """A field that is an int from least to most. help: what it is, in a few words."""
    numbers = {"time": False, "least": least, "most": most, "help": help}
    return field(default=default, metadata={**numbers, **more})


def seconds(default: float, help: str, least: float = 0.001, **more: object) -> Any:
    """A field that is a number of seconds, at least so many."""
    numbers = {"time": True, "least": least, "most": LONGEST, "help": help}
    return field(default=default, metadata={**numbers, **more})


@dataclass(frozen=True)
class Limits:
    """The limits of one run; sizes are bytes, times seconds."""

    max_connections: int = count(
        100_000, 1, 2**32 - 1, "open connections; above it no more are accepted for now"
    )
    max_request_line: int = count(8192, 16, _LARGEST, "bytes of a request line; longer: 414")
    max_head: int = count(
        32768, 16, _LARGEST, "bytes of a request line and its fields together; larger: 431"
    )
    max_fields: int = count(100, 1, 65535, "field lines of a request; more: 431")
    max_field: int = count(0, 0, _LARGEST, "bytes of one field line; longer: 431; 0: as max_head")
    max_body: int = count(16 * 1024 * 1024, 0, 2**63 - 1, "bytes of a body; larger: 413")
    head_timeout: float = seconds(
        10, "seconds from the first byte of a head to its last, however it trickles; then 408"
    )
    body_timeout: float = seconds(30, "seconds without a byte of a body that is waited for")
    write_timeout: float = seconds(
        60, "seconds in which a client takes not one byte of its response"
    )
    keepalive_timeout: float = seconds(
        5, "seconds that a connection may be idle between requests; 0: it is not kept", least=0
    )
    min_rate: int = count(
        240, 0, 2**32 - 1, "bytes a second of a body or response, in each rate_window; 0: any"
    )
    rate_window: float = seconds(10, "seconds over which min_rate is measured")
    rate_grace: float = seconds(5, "seconds before the first rate_window begins", least=0)
    linger_timeout: float = seconds(
        2, "seconds without a byte, while a connection that is being closed is drained"
    )
    linger_time: float = seconds(
        30, "seconds that it is drained in all, for its client to read the answer"
    )
    linger_max: int = count(64 * 1024 * 1024, 0, _LARGEST, "bytes that are drained of it")
    unread_max: int = count(
        1024 * 1024, 0, _LARGEST, "bytes of a body that nobody read, dropped to keep the connection"
    )
    high_water: int = count(
        65536, 1, 2**32 - 1, "bytes of output at which a response has to wait for its client"
    )
    low_water: int = count(16384, 0, 2**32 - 1, "bytes of output at which it goes on")
    drain_idle: float = seconds(
        2,
        "seconds that idle connections are kept when the server stops, for a request that is under "
        "way to them",
        least=0,
    )

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
    check_number(name, value, limit.metadata)


def check_number(name: str, value: object, metadata: Mapping[str, Any]) -> None:
    """Raises TypeError and ValueError for a value that a field of that metadata, which count() or
    seconds() has made, can't have."""
    time = metadata["time"]
    if isinstance(value, bool) or not isinstance(value, (int, float) if time else int):
        kind = "a number of seconds" if time else "an int"
        raise TypeError(f"{name} must be {kind}, not {value!r}")
    least, most = metadata["least"], metadata["most"]
    if not least <= value <= most:  # NaN is not, either
        raise ValueError(f"{name} must be from {least} to {most}, not {value!r}")
