"""Making the C half, and telling it what to serve: what is done before a run begins. The hub is the
Loop's from then on."""

from __future__ import annotations

import errno
import os
import signal
from typing import TYPE_CHECKING, Final

from meinheld._codes import error_of
from meinheld._limits import Limits
from meinheld._native import ffi, lib
from meinheld._proxyprotocol import OFF, ProxyProtocol
from meinheld._static import StaticFiles

if TYPE_CHECKING:
    from meinheld._native import Counts, Hub, Options, StaticOptions

VERSION: Final = ffi.string(lib.mh_version()).decode("ascii")


def new_hub(limits: Limits, max_fds: int, proxy: ProxyProtocol = OFF) -> Hub:
    """A C half, to be freed by mhpy_free. max_fds: size of the descriptor table at first. Raises
    OSError or MemoryError if the kernel refuses."""
    options: Options = ffi.new("mhpy_options *")
    lib.mhpy_options_init(options)
    for name, value in limits.as_config().items():
        setattr(options.config, name, value)
    proxy_from = ffi.new("char[]", " ".join(proxy.allow_ips).encode("ascii"))
    options.config.proxy_protocol, options.config.proxy_from = proxy.native, proxy_from
    options.initial_fds = min(max_fds, 2**31 - 1)
    # As Python leaves it, unless the application wants to hear of it.
    options.sigpipe_ignored = signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    out = ffi.new("mhpy **")
    code = lib.mhpy_new(out, options)
    if code < 0:
        raise error_of(code, ffi.errno, "making the loop")
    hub: Hub = out[0]
    return hub


def listen(hub: Hub, fd: int, wildcard: bool) -> None:
    """Accepts from the listening socket fd, which stays the caller's. Raises OSError."""
    code = lib.mhpy_listen(hub, fd, wildcard)
    if code < 0:
        raise error_of(code, lib.mhpy_errno(hub), f"listening on descriptor {fd}")


def serve_files(hub: Hub, prefix: bytes, files: StaticFiles) -> None:
    """Has the C half answer for what is below prefix. Raises OSError naming the directory, and
    ValueError for an index or headers that can't be."""
    fields = "\n".join(files.fields).encode("ascii")
    # ffi.new() keeps a copy, which options only points to.
    kept = [ffi.new("char[]", text) for text in (files.directory, files.index or b"", fields)]
    options: StaticOptions = ffi.new("mhpy_static_options *")
    options.directory, options.index, options.fields = kept
    options.precompressed = files.precompressed
    options.fields_n, options.pieces = len(fields), len(files.fields)
    code = lib.mhpy_static(hub, prefix, len(prefix), options)
    if code == lib.MH_ESYS:
        number = lib.mhpy_errno(hub)
        raise OSError(number, os.strerror(number), os.fsdecode(files.directory))
    if code == lib.MH_EINVAL:
        raise ValueError(f"static files can't be served like this: {files}")
    if code < 0:
        raise error_of(code, 0, f"serving {os.fsdecode(files.directory)}")


def write_access_log(hub: Hub, fd: int, format: int) -> None:
    """Writes lines of an MH_ACCESS_* format to fd, which stays the caller's to close. Raises
    OSError, MemoryError."""
    code = lib.mhpy_access_log(hub, fd, format)
    if code == lib.MH_EINVAL:
        raise OSError(errno.EBADF, f"the access log can't be written to descriptor {fd}")
    if code < 0:
        raise error_of(code, 0, "opening the access log")


def count_requests(hub: Hub) -> int:
    """How many requests have not ended; those that have left HTTP are not among them."""
    counts: Counts = ffi.new("mhpy_counts *")
    lib.mhpy_count(hub, counts)
    return counts.requests


def tell_ends(hub: Hub) -> None:
    """Tells the gateway of every request's end. Raises MemoryError."""
    if lib.mhpy_tell_ends(hub) < 0:
        raise MemoryError("telling the ends of requests")
