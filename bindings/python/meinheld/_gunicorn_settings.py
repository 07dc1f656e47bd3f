"""gunicorn's settings: which of them the worker honours, which it refuses and which it tells are of
no effect; docs/gunicorn.md has them all.

What would make requests mean something else is refused. A name that this gunicorn does not know has
no value here, for releases differ."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final

from meinheld import server

if TYPE_CHECKING:
    from gunicorn.config import Config
    from gunicorn.glogging import Logger

# Bytes that a limit of 0 stands for, which to gunicorn is no limit; and fields.
MOST_BYTES: Final = 1024 * 1024
MOST_FIELDS: Final = 32768

# Sizes that a request may have, and what no limit is.
_LIMITS: Final = {
    "limit_request_line": MOST_BYTES,
    "limit_request_fields": MOST_FIELDS,
    "limit_request_field_size": MOST_BYTES,
}

_TLS: Final = "end TLS in front, in nginx or HAProxy; meinheld has none"
_STRICT: Final = "meinheld takes no such requests"

# Settings that must be false, and why.
_REFUSED: Final = {
    "certfile": _TLS,
    "keyfile": _TLS,
    "permit_obsolete_folding": _STRICT,
    "strip_header_spaces": _STRICT,
    "permit_unconventional_http_method": _STRICT,
    "permit_unconventional_http_version": _STRICT,
    "casefold_http_method": _STRICT,
}

# Settings that have another effect than by default in gunicorn's own workers alone.
_WITHOUT_EFFECT: Final = (
    "http_protocols",
    "http_parser",
    "root_path",
    "tmp_upload_dir",
    "uwsgi_allow_ips",
    "websocket_max_message_size",
)
_WITHOUT_EFFECT_PREFIXES: Final = ("asgi_", "dirty_", "http2_")


def check(cfg: Config) -> None:
    """Raises RuntimeError, a line that gunicorn prints, for a setting that can't be honoured."""
    for name, why in _REFUSED.items():
        value = value_of(cfg, name)
        if value:
            raise RuntimeError(f"{name} = {value!r}: {why}")
    if is_hooked(cfg, "ssl_context"):
        raise RuntimeError(f"ssl_context: {_TLS}")
    _check_choice(cfg, "header_map", ("drop", "refuse"))
    _check_choice(cfg, "protocol", (None, "http"))
    if cfg.worker_connections < 1:
        raise RuntimeError(f"worker_connections = {cfg.worker_connections}: it must be at least 1")


def _check_choice(cfg: Config, name: str, allowed: tuple[object, ...]) -> None:
    value = value_of(cfg, name)
    if value not in allowed:
        choice = " or ".join(repr(each) for each in allowed if each is not None)
        raise RuntimeError(f"{name} = {value!r}: with meinheld it must be {choice}")


def tell(cfg: Config, log: Logger) -> None:
    """Tells the log of what is set and has no effect, or another one than in gunicorn."""
    for name, setting in sorted(cfg.settings.items()):
        known = name in _WITHOUT_EFFECT or name.startswith(_WITHOUT_EFFECT_PREFIXES)
        if known and setting.get() != type(setting)().get():
            log.warning("%s has no effect with meinheld", name)
    for name, most in _LIMITS.items():
        if value_of(cfg, name) == 0:
            log.info("%s = 0: meinheld's limit is %d", name, most)


def apply(cfg: Config) -> None:
    """Sets in this process what cfg says. Raises ValueError for what can't be set."""
    line, count, size = (_limit(cfg, name) for name in _LIMITS)
    server.set_limits(
        max_connections=cfg.worker_connections,
        max_request_line=line,
        max_fields=count,
        max_field=size,
        max_head=min(line + 2 + count * (size + 2) + 2, MOST_BYTES),
        keepalive_timeout=cfg.keepalive,
    )
    proxy: bool | str = cfg.proxy_protocol  # a bool before gunicorn 25, and version 1 alone
    mode = proxy if isinstance(proxy, str) else "v1" if proxy else "off"
    server.set_proxy_protocol(mode, cfg.proxy_allow_ips)
    server.set_forwarded(
        cfg.forwarded_allow_ips,
        secure_scheme_headers=cfg.secure_scheme_headers,
        forwarder_headers=cfg.forwarder_headers,
        header_map=cfg.header_map,
    )
    script = os.environ.get("SCRIPT_NAME", "").rstrip("/")
    if script:
        server.set_environ({**server.get_environ(), "SCRIPT_NAME": script})


def _limit(cfg: Config, name: str) -> int:
    """A limit as the library has it; it counts neither CRLF, nor less than 16 bytes of a line."""
    value: int = value_of(cfg, name)
    if value == 0 or value > _LIMITS[name]:
        return _LIMITS[name]
    if name == "limit_request_line":
        return max(value, 16)
    return max(value - 2, 1) if name == "limit_request_field_size" else value


def value_of(cfg: Config, name: str) -> Any:
    """A setting's value; None if this gunicorn has none of that name."""
    return getattr(cfg, name) if name in cfg.settings else None


def is_hooked(cfg: Config, name: str) -> bool:
    """Whether a hook is another than gunicorn's own, which does nothing but log."""
    setting = cfg.settings[name]
    return setting.get() is not type(setting)().get()
