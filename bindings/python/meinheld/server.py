"""The server, as the original had it: ``listen()``, then ``run(app)``.

Nothing here makes a loop but run(), so a process may listen and then fork. Settings are of the
process, and are taken when a run begins."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from greenlet import getcurrent, greenlet

from meinheld import _accesslog, _errorlog, _running, _sockets, _tasks
from meinheld._checks import integer, number
from meinheld._descriptors import cancel_wait, trampoline
from meinheld._environ import Application, check_variables
from meinheld._exceptions import timeout
from meinheld._forwarded import (
    ALLOW_IPS,
    FORWARDER_HEADERS,
    SECURE_SCHEME_HEADERS,
    Forwarded,
)
from meinheld._limits import LONGEST
from meinheld._proxyprotocol import OFF, AllowIps, ProxyProtocol, check_proxy_protocol
from meinheld._running import Hosting
from meinheld._running import settings as _settings
from meinheld._sockets import Address
from meinheld._static import Directory, check_files, check_prefix
from meinheld._tasks import schedule_call, sleep, spawn

__all__ = [
    "cancel_wait",
    "get_backlog",
    "get_block_warning",
    "get_client_body_buffer_size",
    "get_environ",
    "get_graceful_timeout",
    "get_ident",
    "get_keepalive",
    "get_limits",
    "get_max_content_length",
    "get_max_suspended",
    "get_picoev_max_fd",
    "get_proxy_protocol",
    "get_stream_request_body",
    "get_threads",
    "listen",
    "reopen_access_log",
    "run",
    "schedule_call",
    "set_access_log",
    "set_access_logger",
    "set_backlog",
    "set_block_warning",
    "set_client_body_buffer_size",
    "set_environ",
    "set_error_logger",
    "set_fastwatchdog",
    "set_forwarded",
    "set_graceful_timeout",
    "set_keepalive",
    "set_limits",
    "set_listen_socket",
    "set_max_content_length",
    "set_max_suspended",
    "set_picoev_max_fd",
    "set_proxy_protocol",
    "set_stream_request_body",
    "set_threads",
    "set_watchdog",
    "shutdown",
    "sleep",
    "spawn",
    "static",
    "stop",
    "timeout",
    "trampoline",
]

# ---- listening


def listen(address: Address | None = None, socket_fd: int | Iterable[int] | None = None) -> int:
    """Listens, at once; run() serves. May be called several times, for several sockets.

    address is (host, port), where "" is every address and port 0 lets the kernel choose, or the
    path of a unix socket, where a stale one is replaced. socket_fd is a descriptor that listens
    already, or several; they stay the caller's to close. Returns the port (of the first socket), 0
    for a unix socket.

    Raises OSError naming the address, TypeError and ValueError for arguments that are none."""
    if (address is None) == (socket_fd is None):
        raise TypeError("listen() takes an address or socket_fd, and not both")
    if address is not None:
        opened = _sockets.listen(address, _settings.backlog)
    else:
        assert socket_fd is not None
        opened = _sockets.adopt(socket_fd)
    if not opened:
        raise ValueError("socket_fd is empty")
    with _running.lock:
        _running.reopen.clear()
        _running.listeners.extend(opened)
    return opened[0].port


def set_listen_socket(socket_fd: int | Iterable[int]) -> None:
    """The same as listen(socket_fd=...)."""
    listen(socket_fd=socket_fd)


# ---- running


def run(app: Application, silent: bool = False, threads: int | None = None) -> None:
    """Serves app (PEP 3333) on all that listens, until shutdown(), SIGTERM (which drains first,
    within set_graceful_timeout()) or SIGINT. Signals are only taken in the main thread, and given
    back at the end.

    With threads=0 the app is called in this thread, one request at a time. With threads=N it is
    called in N threads of their own, so that one that blocks holds up nobody but the N-th at once;
    more requests than that wait, and those whose clients leave meanwhile are never begun. None: as
    set_threads() says. At its end, run() waits for an app that still runs in a thread, unless a
    second SIGINT, SIGTERM or shutdown() says not to; such a thread goes on in the background.

    The sockets that listen() opened are closed as soon as it stops accepting. A later run() opens
    the same ones again, unless listen() was called in between.

    Raises KeyboardInterrupt after SIGINT, unless silent; an application's KeyboardInterrupt or
    SystemExit (anything else that it raises is a failure of its request); RuntimeError if nothing
    listens, or if patch_local() came too late; OSError."""
    if not callable(app):
        raise TypeError(f"app must be callable, not {type(app).__name__}")
    count = _settings.threads if threads is None else integer("threads", threads, 0)
    try:
        _running.serve(app, count, Hosting())
    except KeyboardInterrupt:
        if not silent:
            raise


def shutdown(timeout: float = 0) -> None:
    """Stops accepting, lets what runs be finished, and makes run() return; after timeout seconds,
    if that is not 0, what is still open is cut off. Called a second time it does so at once. From
    any thread, signal handler or request. No effect if nothing runs."""
    seconds = number("timeout", timeout)
    for loop in list(_tasks.running):
        loop.post(lambda loop=loop: loop.drain(seconds))  # type: ignore[misc]
        loop.hurry()


def stop(timeout: float = 0) -> None:
    """The same as shutdown()."""
    shutdown(timeout)


def static(
    prefix: str,
    directory: Directory | None,
    *,
    index: str | None = "index.html",
    precompressed: bool = True,
    headers: Iterable[tuple[str, str]] = (),
) -> None:
    """Serves the files of directory at prefix and below it, in whole segments of the path: below
    "/static" is "/static/a", but not "/staticfoo", and below "/" is everything. Where several
    prefixes fit, the longest counts. No Python runs for such a request, and the application never
    hears of it.

    What is answered is docs/http.md's: GET and HEAD, ranges, conditions; 404 for whatever is no
    regular file below directory, symbolic links that lead out of it included, and for names that
    begin with "." but "/.well-known/" at its top. index is sent for a directory whose path ends in
    "/"; None: nothing is. precompressed: NAME.br or NAME.gz is sent in place of NAME, unless it is
    older, to clients that take it. headers, as (name, value), are those of every file, such as
    ("Cache-Control", "max-age=3600").

    Taken when a run begins. A second call for a prefix replaces the first; directory None takes it
    away. Raises TypeError and ValueError, and OSError naming the directory."""
    path = check_prefix(prefix)
    if directory is None:
        _settings.statics.pop(path, None)
    else:
        _settings.statics[path] = check_files(directory, index, precompressed, headers)


def get_ident() -> greenlet:
    """The greenlet that is running."""
    return getcurrent()


# ---- settings


def set_limits(**limits: float) -> None:
    """Sets the limits that are named, and leaves the others. Sizes are bytes, times seconds; rows
    30 to 34 of docs/http.md say what is answered beyond them. All, with their defaults:

    max_connections=100000     above it no more are accepted for now
    max_request_line=8192      longer: 414
    max_head=32768             request line and fields together; larger: 431
    max_fields=100             field lines; more: 431
    max_field=0                bytes of one; longer: 431; 0: as max_head
    max_body=16777216          larger: 413; the same as set_max_content_length()
    head_timeout=10            from a head's first byte to its last, however it trickles; then 408
    body_timeout=30            without a byte of a body that is waited for
    write_timeout=60           without the client's taking a byte of the response
    keepalive_timeout=5        idle between requests, 0 for none; the same as set_keepalive()
    min_rate=240               bytes a second of a body or response, in each rate_window; 0: any
    rate_window=10
    rate_grace=5               before the first rate_window begins
    linger_timeout=2           without a byte, while a connection that is being closed is drained
    linger_time=30             the same in all, and
    linger_max=67108864        so many bytes at the most, for the client to read its answer
    unread_max=1048576         of a body that nobody read, dropped to keep the connection
    high_water=65536           bytes of output at which a response has to wait for its client
    low_water=16384            bytes at which it goes on
    drain_idle=2               idle connections are kept so long when the server stops, for a
                               request that is under way to them; 0: they are closed at once

    Raises TypeError for a name or type, and ValueError for a value, that is none of these."""
    _settings.limits = _settings.limits.changed(limits)


def get_limits() -> dict[str, float]:
    """All limits by name; see set_limits."""
    return _settings.limits.as_dict()


def set_proxy_protocol(mode: str, allow_ips: AllowIps = OFF.allow_ips) -> None:
    """Whether each connection begins with a header of the PROXY protocol, by which a proxy such as
    HAProxy (send-proxy, send-proxy-v2) says whose connection it hands on: "v1" (text), "v2"
    (binary), "auto" (either) or "off", the default. If it has to, one without it is refused with
    400.

    allow_ips are the proxies that may send one, as addresses and networks ("10.0.0.0/8", or of
    ipaddress), or "*" for anyone who can connect; whoever comes by a unix socket may. Others are
    refused with 403, whatever they send.

    REMOTE_ADDR and REMOTE_PORT, and the access log, then have the client for all requests of the
    connection. environ has PROXY_PROTOCOL besides, "TCP4", "TCP6", "UDP4" or "UDP6", and PROXY_ADDR
    and PROXY_PORT, to which the client connected. With "LOCAL", "UNKNOWN", "UNSPEC" or "UNIX" there
    is no address; REMOTE_* are then the proxy's. Taken when a run begins. Raises TypeError and
    ValueError."""
    _settings.proxy_protocol = check_proxy_protocol(mode, allow_ips)


def get_proxy_protocol() -> ProxyProtocol:
    """A named tuple of mode and allow_ips; see set_proxy_protocol."""
    return _settings.proxy_protocol


def set_keepalive(seconds: float) -> None:
    """How long an idle connection is kept; 0 closes each after its response. 5."""
    set_limits(keepalive_timeout=min(number("keepalive", seconds), LONGEST))


def get_keepalive() -> float:
    """See set_keepalive."""
    return _settings.limits.keepalive_timeout


def set_max_content_length(size: int) -> None:
    """Bytes of a request body; a larger one is answered with 413. 16 MiB."""
    set_limits(max_body=min(integer("max_content_length", size, 1), 2**63 - 1))


def get_max_content_length() -> int:
    """See set_max_content_length."""
    return _settings.limits.max_body


def set_client_body_buffer_size(size: int) -> None:
    """Bytes of a request body above which it is kept in a temporary file. 1 MiB."""
    _settings.client_body_buffer_size = integer("client_body_buffer_size", size, 0)


def get_client_body_buffer_size() -> int:
    """See set_client_body_buffer_size."""
    return _settings.client_body_buffer_size


def set_stream_request_body(stream: bool) -> None:
    """Whether the application is called as soon as a request's head is there, and its wsgi.input
    waits for the body; else once the body is complete, so that a slow upload never occupies it.
    False.

    A body that is read while it comes holds up its client when the application does not read on,
    whatever its size, and reading it raises OSError if the rest will not come: ConnectionResetError
    if the client has left, TimeoutError if it is too slow. A chunked one has no CONTENT_LENGTH,
    only wsgi.input_terminated."""
    if not isinstance(stream, bool):
        raise TypeError(f"stream_request_body must be a bool, not {stream!r}")
    _settings.stream_request_body = stream


def get_stream_request_body() -> bool:
    """See set_stream_request_body."""
    return _settings.stream_request_body


def set_threads(count: int) -> None:
    """In how many threads run() calls the app; 0: in its own, one request at a time. 0."""
    _settings.threads = integer("threads", count, 0)


def get_threads() -> int:
    """See set_threads."""
    return _settings.threads


def set_max_suspended(count: int) -> None:
    """How many requests may wait in Continuation.suspend() at once, or for an Event, a Queue or a
    Channel; one more is answered with 503. 0: as many as there are connections. 0."""
    _settings.max_suspended = integer("max_suspended", count, 0)


def get_max_suspended() -> int:
    """See set_max_suspended."""
    return _settings.max_suspended


def set_graceful_timeout(seconds: float) -> None:
    """How long SIGTERM lets what runs be finished before it is cut off; 0: for any time. Taken when
    a run begins. 0. Raises TypeError and ValueError."""
    _settings.graceful_timeout = number("graceful_timeout", seconds)


def get_graceful_timeout() -> float:
    """See set_graceful_timeout."""
    return _settings.graceful_timeout


def set_block_warning(seconds: float) -> None:
    """How long a request or task may hold the loop, so that nobody else is served, before the error
    log gets its method and URI, or its function's name, with the stack of the loop's thread; and
    once more, with the seconds, when it lets go. It is looked for four times in that time. With
    threads, requests do not hold the loop, and are not told of. 0: never. Taken when a run begins.
    0. Raises TypeError and ValueError."""
    _settings.block_warning = number("block_warning", seconds)


def get_block_warning() -> float:
    """See set_block_warning."""
    return _settings.block_warning


def set_watchdog(watchdog: Callable[[], object] | None) -> None:
    """A function that the loop calls, without arguments, when a run begins and then at most once a
    second, also while nothing happens and while it drains; but not while something holds it. None:
    none. What it raises goes to the error log. Taken when a run begins. Raises TypeError for what
    can't be called."""
    if watchdog is not None and not callable(watchdog):
        raise TypeError(f"a watchdog must be callable, not {watchdog!r}")
    _settings.watchdog = watchdog


def set_fastwatchdog(fd: int | None, ppid: int = 0, timeout: float = 0) -> None:
    """The same for gunicorn's heartbeat of old, in place of any set_watchdog(): the mode of the
    open file fd is changed (fchmod(2)) as often; and if ppid is not the parent process any more,
    the server stops as by shutdown(timeout). fd None: no heartbeat. Taken when a run begins. Raises
    TypeError and ValueError."""
    if fd is None:
        _settings.fast_watchdog = None
        return
    parent, seconds = integer("ppid", ppid, 0), number("timeout", timeout)
    _settings.fast_watchdog = (integer("fd", fd, 0), parent, seconds)


def set_backlog(connections: int) -> None:
    """Connections that may wait to be accepted, for each later listen(); the kernel has a limit of
    its own (net.core.somaxconn). 1024."""
    _settings.backlog = min(integer("backlog", connections, 1), 2**31 - 1)


def get_backlog() -> int:
    """See set_backlog."""
    return _settings.backlog


def set_picoev_max_fd(count: int) -> None:
    """The first size of the loop's table of descriptors, which grows as needed. 1024."""
    _settings.picoev_max_fd = integer("picoev_max_fd", count, 1)


def get_picoev_max_fd() -> int:
    """See set_picoev_max_fd."""
    return _settings.picoev_max_fd


def set_access_log(file: _accesslog.File | None, format: str = "combined") -> None:
    """Where a line goes for each response when it has ended, aborted or not; taken when a run
    begins. file is a path, to which lines are appended, an open descriptor, which stays the
    caller's, "-" for standard output, or None, the default, for no log.

    format is "combined" (Apache's), "json" (an object a line: time, remote_addr, method, target,
    protocol, host, status, bytes, duration in seconds, end, referer, user_agent), or a %-format of
    the original's and gunicorn's atoms, such as '%(h)s %(l)s %(u)s %(t)s "%(r)s" %(s)s %(b)s'. The
    first two are made in C, and cost next to nothing. A request that was refused before the
    application could see it has a line too, a connection without a request has none.

    Lines leave 64 KiB at a time, 200 ms after the first at the latest. Nothing waits for a reader:
    lines that find no room are lost, of which the error log tells.

    Raises OSError if the file can't be written; ValueError for what is no format, naming the
    atom."""
    _settings.access_log = None if file is None else _accesslog.access_log(file, format)


def reopen_access_log() -> None:
    """Goes on with a new file of the same name, after the old one has been moved away. No effect on
    a log that is no path. Raises OSError, with the old file still in use."""
    _running.reopen_logs()


def set_access_logger(logger: Any) -> None:
    """An object with access(environ), which is called for each request that was not refused, when
    its response has ended; None, the default, for none. Taken when a run begins. environ is the
    application's, with threads a copy (that of a static file has what CGI says of the request),
    with these keys besides:

    STATUS_CODE    an int; for a response that never began 499 if the client left first, 408 if it
                   was too slow with its body, else 444
    SEND_BYTES     of the body, as the kernel has taken them, with what chunked coding adds
    REQUEST_TIME   milliseconds, from the first byte of the head to the last of the response
    LOCAL_TIME     of the end, as 26/Nov/2026:01:26:14 +0000

    What it raises goes to the error log."""
    if logger is None:
        _settings.access_logger = None
        return
    access = getattr(logger, "access", None)
    if not callable(access):
        raise TypeError(f"an access logger has a method access(environ): {logger!r}")
    _settings.access_logger = access


def set_environ(variables: Mapping[str, str]) -> None:
    """Variables that environ has besides, in each request (PEP 3333, "Application Configuration").
    They take the place of those that were set before. Of the server's own two may be set:

    SCRIPT_NAME         where the application is mounted, as "/shop", its escapes decoded. PATH_INFO
                        is the rest of the path; all of it if it begins otherwise, for a proxy may
                        have taken that off
    wsgi.url_scheme     "https" behind a proxy that ends TLS

    Raises TypeError and ValueError, naming the variable."""
    _settings.environ = check_variables(variables)


def get_environ() -> dict[str, str]:
    """See set_environ."""
    return dict(_settings.environ)


def set_forwarded(
    allow_ips: Iterable[str] | None = ALLOW_IPS,
    *,
    secure_scheme_headers: Mapping[str, str] = SECURE_SCHEME_HEADERS,
    forwarder_headers: Iterable[str] = FORWARDER_HEADERS,
    header_map: str = "drop",
) -> None:
    """Whose word a proxy's fields are taken for; None, the default of a server: nobody's, and they
    are fields like others. The names and rules are gunicorn's.

    allow_ips              addresses, networks as "10.0.0.0/8", or "*" for everybody. A peer at a
                           unix socket is trusted always
    secure_scheme_headers  fields that tell of TLS, each with the value that does: then
                           wsgi.url_scheme is "https", and "http" with any other. 400 if two differ
    forwarder_headers      names with "_" in them that may be sent, "*" for all: SCRIPT_NAME, which
                           must begin the path (else 500), says where the application is mounted,
                           and each is in environ as HTTP_NAME
    header_map             what becomes of other fields with "_" in their names: "drop" or "refuse",
                           which is 400; and of these, from who is not trusted

    Taken when a run begins. Raises TypeError and ValueError, naming the argument."""
    _settings.forwarded = None
    if allow_ips is not None:
        _settings.forwarded = Forwarded(
            allow_ips, secure_scheme_headers, forwarder_headers, header_map
        )


def set_error_logger(logger: Any) -> None:
    """Where errors of applications go: an object with error(type, value, traceback), called in the
    thread that ran the app, or None for nowhere. Without this call they go to logging's
    "meinheld.error"."""
    _settings.log = _errorlog.to_nowhere if logger is None else _errorlog.to_object(logger)
