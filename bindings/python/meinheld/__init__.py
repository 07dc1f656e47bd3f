"""A WSGI server on libmeinheld. ``from meinheld import server`` is all that an application needs;
the names of ``meinheld.server`` are here as well."""

from __future__ import annotations

from meinheld._loop import VERSION as __version__
from meinheld.server import (
    get_backlog,
    get_client_body_buffer_size,
    get_environ,
    get_ident,
    get_keepalive,
    get_limits,
    get_max_content_length,
    get_picoev_max_fd,
    listen,
    run,
    set_backlog,
    set_client_body_buffer_size,
    set_environ,
    set_error_logger,
    set_keepalive,
    set_limits,
    set_listen_socket,
    set_max_content_length,
    set_picoev_max_fd,
    shutdown,
    static,
    stop,
    timeout,
)

__all__ = [
    "__version__",
    "get_backlog",
    "get_client_body_buffer_size",
    "get_environ",
    "get_ident",
    "get_keepalive",
    "get_limits",
    "get_max_content_length",
    "get_picoev_max_fd",
    "listen",
    "run",
    "set_backlog",
    "set_client_body_buffer_size",
    "set_environ",
    "set_error_logger",
    "set_keepalive",
    "set_limits",
    "set_listen_socket",
    "set_max_content_length",
    "set_picoev_max_fd",
    "shutdown",
    "static",
    "stop",
    "timeout",
]
