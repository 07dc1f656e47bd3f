"""The PROXY protocol's setting: which headers a connection has to begin with, and who may send
them. What they say is read by the library; rows 46 to 51 of docs/http.md say what is taken."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from typing import Final, NamedTuple, Union

from meinheld._native import lib
from meinheld._networks import Named, parse_network

_KINDS: Final = (
    str,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
)
AllowIps = Union[Named, Iterable[Named]]

_MODES: Final = {
    "off": lib.MH_PROXY_OFF,
    "v1": lib.MH_PROXY_V1,
    "v2": lib.MH_PROXY_V2,
    "auto": lib.MH_PROXY_AUTO,
}


class ProxyProtocol(NamedTuple):
    """As server.set_proxy_protocol() takes it."""

    mode: str
    allow_ips: tuple[str, ...]  # addresses, networks, or "*" alone

    @property
    def native(self) -> int:
        """MH_PROXY_*."""
        return _MODES[self.mode]


def check_proxy_protocol(mode: str, allow_ips: AllowIps) -> ProxyProtocol:
    """The setting. Raises TypeError and ValueError, naming what is wrong and what is allowed."""
    if not isinstance(mode, str):
        raise TypeError(f"proxy_protocol must be a str, not {mode!r}")
    if mode not in _MODES:
        raise ValueError(f"proxy_protocol must be one of {', '.join(_MODES)}, not {mode!r}")
    if isinstance(allow_ips, _KINDS):  # one by itself: str and networks could be iterated, too
        allow_ips = [allow_ips]
    elif not isinstance(allow_ips, Iterable):
        raise TypeError(f"allow_ips must be addresses and networks, or '*', not {allow_ips!r}")
    networks = tuple(_check_network(entry) for entry in allow_ips)
    return ProxyProtocol(mode, ("*",) if "*" in networks else networks)


def _check_network(entry: object) -> str:
    """An address, a network or "*" as text of one form."""
    if entry == "*":
        return "*"
    if not isinstance(entry, _KINDS):
        raise TypeError(f"allow_ips must have str or addresses in it, not {entry!r}")
    try:
        network = parse_network(entry)
    except ValueError as exc:
        raise ValueError(
            f"allow_ips must be addresses and networks such as 10.0.0.0/8, or '*': {exc}"
        ) from None
    single = network.prefixlen == network.max_prefixlen
    return str(network.network_address) if single else str(network)


OFF: Final = ProxyProtocol("off", ("127.0.0.1", "::1"))
