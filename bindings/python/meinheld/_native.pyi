"""The types of the cffi module, which is made of _native.cdef.h; tests/py/test_cdef.py holds the
two together."""

from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

class CData(Protocol):
    """A C value: a pointer, a struct, an array."""

    def __getitem__(self, index: int) -> Any: ...
    def __enter__(self) -> CData: ...
    def __exit__(self, *_exc: object) -> None: ...

class Hub(CData, Protocol):
    """mhpy *"""

class Made(CData, Protocol):
    """mhpy_made *"""

class Mail(CData, Protocol):
    """mhpy_mail *"""

class Stream(CData, Protocol):
    """mhpy_stream *"""

class Batch(CData, Protocol):
    """mhpy_batch *"""

    ints: CData
    text: CData
    text_n: int
    pieces: int

class Config(CData, Protocol):
    """mh_config; limits are set by name."""

    proxy_protocol: int
    proxy_from: CData

class Options(CData, Protocol):
    """mhpy_options *"""

    config: Config
    initial_fds: int
    sigpipe_ignored: bool

class StaticOptions(CData, Protocol):
    """mhpy_static_options *"""

    directory: CData
    index: CData
    precompressed: bool
    fields: CData
    fields_n: int
    pieces: int

class Counts(CData, Protocol):
    """mhpy_counts *"""

    blocks: int
    connections: int
    requests: int
    timers: int

Counted = TypeVar("Counted", Made, Mail, Stream)

class FFI:
    NULL: Final[Any]
    errno: int

    def new(self, cdecl: str, init: Any = None) -> Any: ...
    def unpack(self, cdata: CData, length: int) -> Any: ...
    def string(self, cdata: CData) -> bytes: ...
    def gc(self, cdata: Counted, destructor: Callable[[Counted], None]) -> Counted: ...
    def from_buffer(self, cdecl: str, buffer: bytes | bytearray | memoryview) -> CData: ...

class Lib:
    MH_OK: Final[int]
    MH_FULL: Final[int]
    MH_EAGAIN: Final[int]
    MH_EINVAL: Final[int]
    MH_ESTATE: Final[int]
    MH_ECLOSED: Final[int]
    MH_ENOMEM: Final[int]
    MH_EBODY: Final[int]
    MH_ETOOBIG: Final[int]
    MH_EFORK: Final[int]
    MH_EINTR: Final[int]
    MH_ESYS: Final[int]
    MH_ENOENT: Final[int]
    MH_ERANGE: Final[int]
    MH_READ: Final[int]
    MH_WRITE: Final[int]
    MH_ERROR: Final[int]
    MH_FINISH_DONE: Final[int]
    MH_FINISH_TIMEOUT: Final[int]
    MH_FINISH_UPGRADED: Final[int]
    MH_FINISH_FILE: Final[int]
    MH_LOG_ACCEPT_FAILS: Final[int]
    MH_LOG_ACCEPT_GOES_ON: Final[int]
    MH_LOG_LINES_STUCK: Final[int]
    MH_LOG_LINES_GO_ON: Final[int]
    MH_ACCESS_COMBINED: Final[int]
    MH_ACCESS_JSON: Final[int]
    MH_ACCESS_LINES: Final[int]
    MH_PROXY_OFF: Final[int]
    MH_PROXY_V1: Final[int]
    MH_PROXY_V2: Final[int]
    MH_PROXY_AUTO: Final[int]
    MHPY_EVENT_INTS: Final[int]
    MHPY_REQUEST: Final[int]
    MHPY_SHAPE: Final[int]
    MHPY_PEER: Final[int]
    MHPY_FORGET: Final[int]
    MHPY_READABLE: Final[int]
    MHPY_WRITABLE: Final[int]
    MHPY_FINISH: Final[int]
    MHPY_TIMER: Final[int]
    MHPY_WATCH: Final[int]
    MHPY_DRAINED: Final[int]
    MHPY_LOG: Final[int]
    MHPY_ENDED: Final[int]
    MHPY_REFUSED: Final[int]
    MHPY_RETURNED: Final[int]
    MHPY_SERVED: Final[int]
    MHPY_UNSENT: Final[int]
    MHPY_HANGUP: Final[int]
    MHPY_COUNTED: Final[int]
    MHPY_SHAPES: Final[int]
    MHPY_BLOCKS: Final[int]
    MHPY_HEADS: Final[int]
    MHPY_HAS_BODY: Final[int]
    MHPY_CHUNKED: Final[int]
    MHPY_EXPECTS: Final[int]
    MHPY_ABSOLUTE: Final[int]
    MHPY_ESCAPED: Final[int]
    MHPY_HEAD: Final[int]
    MHPY_NAMED: Final[int]
    MHPY_BLOCKED: Final[int]
    MHPY_BORROW: Final[int]
    MHPY_NOW: Final[int]
    MHPY_BODYLESS: Final[int]
    MHPY_READ_FULL: Final[int]
    MHPY_READ_WAIT: Final[int]
    MHPY_READ_END: Final[int]
    MHPY_NO_FILE: Final[int]

    def mhpy_options_init(self, options: CData) -> None: ...
    def mhpy_new(self, out: CData, options: CData) -> int: ...
    def mhpy_free(self, hub: Hub) -> None: ...
    def mhpy_errno(self, hub: Hub) -> int: ...
    def mh_strerror(self, code: int) -> CData: ...
    def mh_version(self) -> CData: ...
    def mhpy_listen(self, hub: Hub, fd: int, wildcard: int) -> int: ...
    def mhpy_static(
        self, hub: Hub, prefix: bytes, prefix_n: int, options: StaticOptions
    ) -> int: ...
    def mhpy_step(self, hub: Hub, timeout_ms: int, batch: Batch) -> int: ...
    def mhpy_forget(self, hub: Hub) -> None: ...
    def mhpy_wakeup(self, hub: Hub) -> int: ...
    def mhpy_drain(self, hub: Hub, timeout_ms: int) -> int: ...
    def mhpy_watch(self, hub: Hub, fd: int, events: int) -> int: ...
    def mhpy_unwatch(self, hub: Hub, fd: int) -> int: ...
    def mhpy_timer(self, hub: Hub, ms: int) -> int: ...
    def mhpy_cancel(self, hub: Hub, timer: int) -> int: ...
    def mhpy_access_log(self, hub: Hub, fd: int, format: int) -> int: ...
    def mhpy_log_line(self, hub: Hub, line: bytes, line_n: int) -> int: ...
    def mhpy_tell_ends(self, hub: Hub) -> int: ...
    def mhpy_tell_count(self, hub: Hub, n: int) -> int: ...
    def mhpy_count(self, hub: Hub, counts: Counts) -> int: ...
    def mhpy_trim(self, hub: Hub) -> int: ...
    def mhpy_keep(self, hub: Hub, name: int) -> int: ...
    def mhpy_wait(self, hub: Hub, name: int) -> int: ...
    def mhpy_fd(self, hub: Hub, name: int) -> int: ...
    def mhpy_upgrade(self, hub: Hub, name: int, buf: CData, n: CData) -> int: ...
    def mhpy_read(self, hub: Hub, name: int, buf: CData, cap: int, whole: bool) -> int: ...
    def mhpy_check(self, head: bytes, head_n: int, pieces: int) -> int: ...
    def mhpy_make(self, head: bytes, head_n: int, pieces: int) -> Made: ...
    def mhpy_unmake(self, made: Made) -> None: ...
    def mhpy_answer_made(
        self, hub: Hub, slot: int, gen: int, made: Made, body: bytes, body_n: int
    ) -> int: ...
    def mhpy_answer(
        self,
        hub: Hub,
        name: int,
        head: bytes,
        head_n: int,
        pieces: int,
        body: bytes | CData,
        body_n: int,
        how: int,
    ) -> int: ...
    def mhpy_file(
        self, hub: Hub, name: int, head: bytes, head_n: int, pieces: int, fd: int, offset: int
    ) -> int: ...
    def mhpy_inform(self, hub: Hub, name: int, head: bytes, head_n: int, pieces: int) -> int: ...
    def mhpy_head(self, hub: Hub, name: int, head: bytes, head_n: int, pieces: int) -> int: ...
    def mhpy_write(self, hub: Hub, name: int, body: bytes, body_n: int, now: int) -> int: ...
    def mhpy_lend(self, hub: Hub, name: int, body: CData, body_n: int) -> int: ...
    def mhpy_end(self, hub: Hub, name: int, now: int) -> int: ...
    def mhpy_close(self, hub: Hub, name: int) -> int: ...
    def mhpy_abort(self, hub: Hub, name: int) -> int: ...
    def mhpy_mail_open(self, hub: Hub) -> Mail: ...
    def mhpy_mail_drop(self, mail: Mail) -> None: ...
    def mhpy_mail_answer(
        self,
        mail: Mail,
        slot: int,
        gen: int,
        made: Made,
        body: bytes | CData,
        body_n: int,
        lend: int,
    ) -> int: ...
    def mhpy_mail_file(
        self, mail: Mail, slot: int, gen: int, made: Made, fd: int, offset: int
    ) -> int: ...
    def mhpy_mail_abort(self, mail: Mail, name: int) -> int: ...
    def mhpy_mail_deliver(self, hub: Hub) -> None: ...
    def mhpy_stream_new(self, mail: Mail, name: int) -> Stream: ...
    def mhpy_stream_drop(self, stream: Stream) -> None: ...
    def mhpy_stream_head(self, stream: Stream, made: Made) -> int: ...
    def mhpy_stream_write(
        self, stream: Stream, body: bytes | CData, body_n: int, lend: int
    ) -> int: ...
    def mhpy_stream_end(self, stream: Stream) -> int: ...
    def mhpy_stream_answer(
        self, stream: Stream, made: Made, body: bytes | CData, body_n: int
    ) -> int: ...
    def mhpy_stream_idle(self, stream: Stream) -> int: ...
    def mhpy_stream_wait(self, stream: Stream) -> int: ...

ffi: FFI
lib: Lib
