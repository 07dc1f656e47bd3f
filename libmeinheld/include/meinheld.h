/* libmeinheld: a small, strict, embeddable HTTP/1.1 server library.
 *
 * Caveats first; they hold for every function below.
 *
 * Threads. Every object belongs to the thread that steps its loop. Only mh_loop_post and
 * mh_loop_wakeup may be called from other threads, and mh_loop_wakeup also from a signal handler.
 * Several loops, one per thread, are fine.
 *
 * Callbacks run only inside mh_loop_step, mh_loop_run, mh_loop_flush, mh_loop_flush_due,
 * mh_server_free and mh_loop_free, never inside a call that answers a request. In a callback, a
 * done callback too, every function may be called but those six: five answer MH_ESTATE, and
 * mh_loop_free does nothing.
 *
 * Results are int: >= 0 is success, negative is an MH_E* code below, never a raw errno. A call that
 * fails has changed nothing, unless its comment says otherwise. Of several errors of a call on an
 * exchange the first of these is returned: MH_ECLOSED, MH_ESTATE, MH_EAGAIN, MH_EINVAL. Pointers
 * are not checked for NULL unless a comment says that NULL is allowed.
 *
 * Views (mh_str) are not terminated and belong to the library. Those of a request stay valid until
 * its on_finish has returned, or mh_req_trim is called.
 *
 * Fork. A loop works only in the process that made it: what steps, flushes, watches or wakes
 * answers MH_EFORK elsewhere. All that is right in a child is mh_server_free and mh_loop_free,
 * which close its copies without disturbing the parent.
 *
 * The library never prints, aborts, installs a signal handler or keeps a global; SIGPIPE does not
 * reach the host; every descriptor it makes is close-on-exec.
 *
 * Structs that a host fills begin with their size, and grow only at their end: a host that was
 * built against an earlier header works with a later library of the same major version, which
 * writes and reads no more of them than that size. Their inits set all of it; the sized ones are
 * for hosts that don't read this header as C.
 *
 * "RFC" without more means RFC 9112. Times are milliseconds of CLOCK_MONOTONIC unless a name says
 * otherwise; sizes are bytes.
 */
#ifndef MEINHELD_H
#define MEINHELD_H

#include <stddef.h>
#include <stdint.h>

#include "meinheld_version.h"

#if defined(MH_STATIC) || !defined(__GNUC__)
#define MH_API
#else
#define MH_API __attribute__((visibility("default")))
#endif

/* Of a function here that nobody calls no compiler is to complain. */
#if defined(__GNUC__)
#define MH_INLINE static inline __attribute__((unused))
#else
#define MH_INLINE static inline
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* ---- errors ---------------------------------------------------------------------------------- */

enum {
    MH_OK = 0,
    MH_FULL = 1,        /* accepted, and output is at high water: wait for on_writable */
    MH_EAGAIN = -1001,  /* nothing now; the matching callback will tell when there is */
    MH_EOS = -1002,     /* the request body has been read to its end */
    MH_EINVAL = -1003,  /* an argument is out of its range or malformed */
    MH_ESTATE = -1004,  /* the object's state does not allow this call */
    MH_ECLOSED = -1005, /* the peer or the connection has gone */
    MH_ENOMEM = -1006,  /* the allocator returned NULL */
    MH_EBODY = -1007,   /* the request body is malformed or ended early (RFC 8) */
    MH_ETOOBIG = -1008, /* the request body is over max_body */
    MH_EFORK = -1009,   /* the loop was made by another process */
    MH_EINTR = -1010,   /* a signal interrupted the wait; call again when it has been dealt with */
    MH_ESYS = -1011,    /* a system call failed: see mh_loop_errno */
    MH_ENOENT = -1012,  /* there is no such watch, timer or field */
    MH_ERANGE = -1013   /* not the declared Content-Length: surplus dropped, or an early end */
};

/* A short English name of any code above; never NULL, statically allocated. */
MH_API const char *mh_strerror(int code);

/* The library's version, as "1.2.3"; compare MH_VERSION of meinheld_version.h. */
MH_API const char *mh_version(void);

/* A run of bytes, not terminated. */
typedef struct mh_str {
    const char *p;
    size_t n;
} mh_str;

typedef struct mh_loop mh_loop;     /* descriptors, timers, posts */
typedef struct mh_server mh_server; /* listeners and connections that share handlers and limits */
typedef struct mh_req mh_req;       /* one exchange: a request and its response */
typedef struct mh_static mh_static; /* a directory whose files are served */

/* ---- the loop -------------------------------------------------------------------------------- */

typedef struct mh_loop_config {
    size_t size; /* sizeof(mh_loop_config), set by mh_loop_config_init */
    /* The allocator: realloc's contract, and n == 0 frees and returns NULL. NULL means the C
     * library's. Called in the loop's thread, and by mh_loop_post in the caller's: where other
     * threads post it must be thread-safe. */
    void *(*alloc)(void *p, size_t n, void *user);
    void *alloc_user;
    uint32_t initial_fds; /* first size of the descriptor table, which grows; 1024 */
    uint32_t max_events;  /* readiness events taken a step; few keep to the CPU's cache; 32 */
    int sigpipe_ignored;  /* non-zero: the host ignores SIGPIPE, so sendfile need not block it; 0 */
} mh_loop_config;

/* Sets every field to its default; size is sizeof *cfg as the host's header has it. */
MH_API void mh_loop_config_init_sized(mh_loop_config *cfg, size_t size);
MH_INLINE void mh_loop_config_init(mh_loop_config *cfg) {
    mh_loop_config_init_sized(cfg, sizeof *cfg);
}

/* Makes a loop. cfg may be NULL for the defaults; it is copied.
 * Errors: MH_ENOMEM, MH_ESYS (errno says why), MH_EINVAL (a size that is too small, 0 or more than
 * an int takes). On failure *out is NULL. */
MH_API int mh_loop_new(mh_loop **out, const mh_loop_config *cfg);

/* Frees the loop and its servers: every open exchange gets its on_finish(MH_FINISH_ABORTED) first.
 * Watched descriptors stay open; they are the host's. Posts not yet run are dropped. NULL is
 * ignored. */
MH_API void mh_loop_free(mh_loop *loop);

/* Steps until mh_loop_stop: 0, or the first error of a step (MH_EINTR included: call it again). */
MH_API int mh_loop_run(mh_loop *loop);

/* One turn: sends what was written since the last, waits at most timeout_ms (-1: until something
 * happens, 0: not at all), reads what is ready, runs callbacks, sends. Work per turn is bounded.
 * Returns 0, or 1 when work is left over and the next turn would not wait.
 * Errors: MH_EINTR, MH_EFORK, MH_ESTATE (called inside a callback), MH_ESYS. */
MH_API int mh_loop_step(mh_loop *loop, int timeout_ms);

/* Makes mh_loop_run return after the step under way; kept if no run is under way. */
MH_API void mh_loop_stop(mh_loop *loop);

/* Sends now what has been written so far, as far as the sockets take it. For hosts that answer
 * outside callbacks; a step does it anyway. May call on_finish and on_writable. Errors: MH_ESTATE,
 * MH_EFORK. */
MH_API int mh_loop_flush(mh_loop *loop);

/* To be called between two pieces of a host's own work: mh_loop_flush if the piece since the last
 * call took over 50 us or the oldest finished answer has waited over 200 us, else nothing. Costs a
 * clock read. Errors as mh_loop_flush. */
MH_API int mh_loop_flush_due(mh_loop *loop);

/* One descriptor for the whole loop, for hosts that have an event loop of their own: poll it for
 * input (level-triggered) and call mh_loop_step(loop, 0) when it is readable. Owned by the loop. It
 * is readable whenever a step would do anything, timers included; that bookkeeping starts with the
 * first call. Errors: MH_ESYS, MH_ENOMEM, MH_EFORK. */
MH_API int mh_loop_fd(mh_loop *loop);

/* Milliseconds of CLOCK_MONOTONIC as last read: when the step's wait ended, and since by calls that
 * say so and after long callbacks. Never goes back. */
MH_API uint64_t mh_loop_now(const mh_loop *loop);

/* errno of the last system call that made a function of this loop return MH_ESYS. */
MH_API int mh_loop_errno(const mh_loop *loop);

enum { MH_READ = 1, MH_WRITE = 2, MH_ERROR = 4 /* error or hangup; always reported */ };

typedef void (*mh_watch_cb)(mh_loop *loop, int fd, unsigned events, void *user);

/* Calls cb in every step in which fd is ready for one of events (MH_READ | MH_WRITE;
 * level-triggered). A second call for the same fd replaces events, cb and user. The fd stays the
 * host's, who must mh_loop_unwatch it before closing it. Errors: MH_EINVAL, MH_ENOMEM, MH_ESTATE
 * (an fd of the library's own), MH_ESYS (not open, or epoll refused it: a regular file is EPERM),
 * MH_EFORK. */
MH_API int mh_loop_watch(mh_loop *loop, int fd, unsigned events, mh_watch_cb cb, void *user);

/* Ends a watch; cb is not called again, not even for events already taken. Errors: MH_ENOENT. */
MH_API int mh_loop_unwatch(mh_loop *loop, int fd);

typedef void (*mh_timer_cb)(mh_loop *loop, void *user);

/* Calls cb once, ms milliseconds from now (mh_loop_now is refreshed first; 0: in the next step).
 * Equal deadlines run in the order of their making. *id (may be NULL) names it for mh_loop_cancel;
 * it is never 0. Never early. Errors: MH_ENOMEM, MH_EINVAL (no cb, or a deadline beyond 64 bits).
 */
MH_API int mh_loop_timer(mh_loop *loop, uint64_t ms, mh_timer_cb cb, void *user, uint64_t *id);

/* Cancels a timer that has not run. Errors: MH_ENOENT (ran already, cancelled, or never was). */
MH_API int mh_loop_cancel(mh_loop *loop, uint64_t id);

typedef void (*mh_post_cb)(mh_loop *loop, void *user);

/* From any thread: runs cb in the loop's thread in a coming step, in posting order.
 * Errors: MH_ENOMEM, MH_EINVAL (no cb), MH_EFORK. */
MH_API int mh_loop_post(mh_loop *loop, mh_post_cb cb, void *user);

/* From any thread or signal handler: makes the wait under way, or else the next one, return.
 * Errors: MH_EFORK. */
MH_API int mh_loop_wakeup(mh_loop *loop);

/* ---- the server ------------------------------------------------------------------------------ */

/* Why an exchange ended; the argument of on_finish. */
enum {
    MH_FINISH_DONE = 0,        /* the whole response was handed to the kernel */
    MH_FINISH_PEER_CLOSED = 1, /* the peer reset or closed the connection before that */
    MH_FINISH_TIMEOUT = 2,     /* the peer was too slow, reading or writing */
    MH_FINISH_ABORTED = 3,     /* mh_req_abort, short response, no memory, freeing */
    MH_FINISH_UPGRADED = 4,    /* mh_req_upgrade took the socket */
    MH_FINISH_FILE = 5         /* its file became shorter or can't be read; resets the connection */
};

/* What on_log tells, and what detail is then. */
enum {
    /* Connections can't be accepted, for want of descriptors or memory: errno, 0 if not known. The
     * listener rests for accept_pause and tries again. Told once, until none has failed for 5 s: */
    MH_LOG_ACCEPT_FAILS = 1,
    MH_LOG_ACCEPT_GOES_ON = 2, /* how many attempts had failed */
    /* The access log's descriptor takes no more: errno (EAGAIN: nobody reads it). 64 KiB of lines
     * are kept and tried again, further ones are lost. Told once, until it takes some again: */
    MH_LOG_LINES_STUCK = 3,
    MH_LOG_LINES_GO_ON = 4 /* how many lines were lost; also when the server is freed */
};

/* A request that was refused. */
typedef struct mh_refused {
    mh_str line; /* its request line, or what came of it: any bytes but LF */
    mh_str peer; /* the client's address as text, empty for a unix socket */
    uint16_t port;
    int status;        /* that it was answered with */
    int why;           /* MH_FINISH_* */
    uint64_t sent;     /* bytes of the answer's body that the kernel has taken */
    uint64_t taken_us; /* microseconds since the first of its head was seen */
} mh_refused;

/* Callbacks of a server, each with the host's user last. Only on_request is required. */
typedef struct mh_handlers {
    size_t size; /* sizeof(mh_handlers), set by mh_handlers_init */
    /* A request head has been parsed and accepted; its body may still be coming. Answer now or
     * later. */
    void (*on_request)(mh_req *req, void *user);
    /* mh_req_read said MH_EAGAIN; now it would say something else. */
    void (*on_readable)(mh_req *req, void *user);
    /* Output was at its high-water mark (MH_FULL) and has fallen below the low one. */
    void (*on_writable)(mh_req *req, void *user);
    /* The peer sent FIN while its answer is owed: it closed, or half-closed and waits (RFC 9.6);
     * TCP can't tell before something is written. Called at most once an exchange. Without a
     * handler the exchange goes on. */
    void (*on_hangup)(mh_req *req, void *user);
    /* Exactly once and last; why is MH_FINISH_*. Free here what you keep for the request, which is
     * gone when this has returned. */
    void (*on_finish)(mh_req *req, int why, void *user);
    void *user;
    /* What goes wrong, or is well again, without concerning an exchange: what is MH_LOG_*. */
    void (*on_log)(mh_server *srv, int what, int64_t detail, void *user);
    /* A request that never reached the host has been refused, and the answer has left, or never
     * will: for hosts that write a log of their own. what is valid until this returns. */
    void (*on_refused)(mh_server *srv, const mh_refused *what, void *user);
} mh_handlers;

MH_API void mh_handlers_init_sized(mh_handlers *h, size_t size);
MH_INLINE void mh_handlers_init(mh_handlers *h) { mh_handlers_init_sized(h, sizeof *h); }

/* Limits of a server. Row numbers are those of docs/http.md. Where min_rate is on, a silent peer is
 * given up after rate_grace + rate_window, later after rate_window, if that is less than
 * body_timeout or write_timeout.
 *
 * 0 is out of range but for max_field, max_body, keepalive_timeout, min_rate (and then rate_window
 * too), rate_grace, linger_max, unread_max, low_water and drain_idle. max_request_line and max_head
 * are from 16 to 2^28, max_field, linger_max and unread_max up to 2^28, max_fields to 65535,
 * max_body to 2^63-1, low_water to high_water. */
typedef struct mh_config {
    size_t size;               /* sizeof(mh_config), set by mh_config_init */
    uint32_t max_connections;  /* accepting pauses at this many; 100000 */
    uint32_t max_request_line; /* bytes, without CRLF; longer is 414; 8192 */
    uint32_t max_head;         /* bytes of request line and fields together; larger is 431; 32768 */
    uint32_t max_fields;       /* field lines; more is 431; 100 */
    uint32_t max_field;        /* bytes of one, without CRLF; longer is 431; 0: as max_head; 0 */
    uint64_t max_body;         /* bytes; larger is 413; 16 MiB */
    uint32_t head_timeout;     /* ms from a head's first byte to its last; then 408; 10000 */
    uint32_t body_timeout;     /* ms without a byte of the body; 30000 */
    uint32_t write_timeout;    /* ms without the peer taking a byte of the response; 60000 */
    uint32_t keepalive_timeout; /* ms an idle connection is kept; 0: never kept; 5000 */
    uint32_t min_rate;       /* bytes/s of body or response over rate_window; 0 turns it off; 240 */
    uint32_t rate_window;    /* ms; 10000 */
    uint32_t rate_grace;     /* ms before the first window; 5000 */
    uint32_t linger_timeout; /* ms without a byte while a closing connection is drained; 2000 */
    uint32_t linger_time;    /* ms that it is drained in all, for its peer to read; 30000 */
    uint32_t linger_max;     /* bytes drained of it; 64 MiB */
    uint32_t unread_max;     /* bytes of a body that nobody read, dropped to keep the connection;
                                a longer rest closes it; 1 MiB */
    uint32_t high_water;     /* bytes of output at which a write says MH_FULL; 65536 */
    uint32_t low_water;      /* bytes at which on_writable follows; 16384 */
    uint32_t step_read;      /* bytes read from a connection per step; 262144 */
    uint32_t step_write;     /* bytes sent to a connection per step; 262144 */
    uint32_t step_requests;  /* pipelined requests taken from a connection per step; 16 */
    uint32_t accept_batch;   /* connections accepted per listener and step; 64 */
    uint32_t accept_pause;   /* ms without accepting after EMFILE, ENFILE, ENOBUFS or ENOMEM; 100 */
    int accept_connect;      /* non-zero: CONNECT and authority-form reach the host (row 24); 0 */
    const char *server_name; /* the Server field, copied; "" sends none; "meinheld/VERSION" */
    int proxy_protocol;      /* MH_PROXY_*; MH_PROXY_OFF */
    /* Who may send a PROXY header, copied: addresses and networks ("10.0.0.0/8", "2001:db8::/32"),
     * separated by commas or blanks, or "*" for all. Clients of unix sockets always may. Looked at
     * when a connection's first byte has come; who may not is refused with 403. An IPv4 client has
     * its IPv4 address on listeners of IPv6 too. "127.0.0.1, ::1" */
    const char *proxy_from;
    uint32_t drain_idle; /* ms that idle connections are kept in a drain, for a request that is
                            under way to them; 0: closed at once; 2000 */
} mh_config;

/* Whether each connection begins with a header of the PROXY protocol (HAProxy's
 * proxy-protocol.txt), which says whose connection a proxy hands on. If it has to, one without it,
 * or with another than these, is refused with 400: to guess would let anyone pass for anyone. It
 * has to come within head_timeout, and then counts for all requests of the connection: mh_req_peer
 * and the access log tell the client's address. Where it says none (LOCAL, UNKNOWN, UNSPEC, a unix
 * socket) they tell the proxy's. */
enum {
    MH_PROXY_OFF = 0,
    MH_PROXY_V1 = 1,  /* a line of text, of up to 107 bytes */
    MH_PROXY_V2 = 2,  /* a binary block; over 4096 bytes are refused, and so is a wrong CRC32c */
    MH_PROXY_AUTO = 3 /* either */
};

MH_API void mh_config_init_sized(mh_config *cfg, size_t size);
MH_INLINE void mh_config_init(mh_config *cfg) { mh_config_init_sized(cfg, sizeof *cfg); }

/* Makes a server on loop. handlers is copied, cfg too (NULL: the defaults). Errors: MH_EINVAL (no
 * handlers or no on_request, a size that is too small, a limit out of range, a server_name that is
 * NULL or has a control byte, a proxy_protocol that there is not, a proxy_from that is NULL or
 * has something in it that is no network, such as one with bits set behind its prefix), MH_ENOMEM.
 * On failure *out is NULL. */
MH_API int mh_server_new(mh_server **out, mh_loop *loop, const mh_handlers *handlers,
                         const mh_config *cfg);

/* Closes its listeners and connections; every open exchange gets on_finish(MH_FINISH_ABORTED). NULL
 * is ignored. Errors: MH_ESTATE (inside a callback: use mh_server_drain there). */
MH_API int mh_server_free(mh_server *srv);

/* Listens on host (name or number, IPv4 or IPv6; NULL or "" is every address) and port (0: the
 * kernel chooses), on each address that host stands for, with SO_REUSEADDR and, with
 * MH_LISTEN_REUSEPORT, SO_REUSEPORT. The IPv6 wildcard takes IPv4 too where the kernel allows it.
 * backlog <= 0 means SOMAXCONN. Errors: MH_ESTATE (draining), MH_EINVAL (host can't be resolved,
 * unknown flags), MH_ESYS (mh_loop_errno: EADDRINUSE, EACCES...), MH_ENOMEM. */
MH_API int mh_server_listen_tcp(mh_server *srv, const char *host, uint16_t port, int backlog,
                                unsigned flags);
enum { MH_LISTEN_REUSEPORT = 1 };

/* Listens on a unix socket at path, replacing a stale one (nobody answers there), with permission
 * bits mode. The path is unlinked when the server is freed by the process that bound it. Errors: as
 * above; a path that is empty or too long, or other bits than 0777, are MH_EINVAL; another live
 * server or another kind of file there is MH_ESYS with EADDRINUSE. */
MH_API int mh_server_listen_unix(mh_server *srv, const char *path, unsigned mode, int backlog);

/* Adopts a listening stream socket; it is made non-blocking. own: close it when done, but on error
 * it stays the host's; else it has to stay open until the server drains or is freed. Errors:
 * MH_ESTATE (draining, or fd is watched or adopted already), MH_EINVAL (no listening stream
 * socket), MH_ENOMEM, MH_ESYS. */
MH_API int mh_server_listen_fd(mh_server *srv, int fd, int own);

/* The port of listener number i (in order of listening), 0 for a unix socket. Errors: MH_EINVAL (no
 * such listener; a drain closes them all). */
MH_API int mh_server_port(const mh_server *srv, unsigned i);

/* Accepts what has connected already, but then no more, and closes each connection when its
 * exchange has ended (responses say close), those that are idle after cfg.drain_idle: to a client
 * whose request is under way it looks as if that had failed (RFC 9112 9.5). When the last is gone,
 * done(srv, user) is called once, if not NULL. What is still open after timeout_ms is cut off; 0
 * means no limit. Errors: MH_ESTATE (draining or drained already), MH_ENOMEM. */
MH_API int mh_server_drain(mh_server *srv, uint32_t timeout_ms, void (*done)(mh_server *, void *),
                           void *user);

/* Connections open now. */
MH_API uint32_t mh_server_connections(const mh_server *srv);

/* Gives back to the allocator all that the server keeps for reuse: connections, requests, buffers,
 * pieces of output. What is in use stays, and so does what the loop has for itself (descriptors,
 * timers). For a host that is idle after a peak, or counts blocks to look for leaks; until as much
 * is kept again, connections cost allocations. Can't fail; may be called in callbacks too. */
MH_API void mh_server_trim(mh_server *srv);

/* ---- the access log -------------------------------------------------------------------------- */

enum {
    /* Apache's combined format: peer - - [local time] "request line" status bytes "Referer"
     * "User-Agent"; "-" for what there is not, and for no bytes. */
    MH_ACCESS_COMBINED = 0,
    /* An object a line (RFC 8259): time (RFC 3339), remote_addr, method, target, protocol, host,
     * status, bytes, duration (seconds), end (done, peer_closed, timeout, aborted, upgraded or
     * file, as MH_FINISH_*), referer, user_agent; null for what there is not. A request that was
     * refused has line, its first line as far as it came, for method, target and protocol. */
    MH_ACCESS_JSON = 1,
    /* No lines but those of mh_server_log_line. */
    MH_ACCESS_LINES = 2
};

/* From now on a line is written to fd for each exchange when it has ended (its on_finish follows),
 * and for each request that was refused and never reached the host; not for a connection that was
 * closed without one. bytes are those of mh_res_sent, the duration is from the first of the head to
 * the end, the time is that of the end.
 *
 * The status of an exchange that ended before mh_res_head is 499 if its peer closed first, 408 if
 * that was too slow with its body, 101 after mh_req_upgrade, else 444 (nginx's numbers). Bytes that
 * could end a line or leave the quotes, and those outside of ASCII, are \xHH in the combined format
 * and \u00HH, \" or \\ in JSON; a request line or target of over 16 KiB, so escaped, and another
 * value of over 4 KiB are cut and end in "...".
 *
 * Lines are gathered and written 64 KiB at a time, 200 ms after the first at the latest, at the end
 * of a drain and when the server is freed. Lines are written whole; on a regular file opened with
 * O_APPEND several processes can share it, and on a pipe if their lines have up to 4096 bytes.
 * Nothing waits for a reader, whatever the mode of fd: what a pipe, socket or terminal does not
 * take is kept and tried again (MH_LOG_LINES_STUCK). Only if another process fills a pipe in
 * blocking mode between our poll and our write does that wait for its reader, and a terminal in
 * that mode that this process may not open once more, through /proc. A file is written through the
 * page cache, and as slow as its disk when that is full.
 *
 * fd stays the host's, and open until a second call, which takes another or -1 for none, or the
 * server is freed. Errors: MH_EINVAL (no such format, or fd is not open for writing, or a socket
 * but no stream), MH_ENOMEM, MH_ESTATE (the server is being freed). */
MH_API int mh_server_access_log(mh_server *srv, int fd, int format);

/* Adds a line of the host's own to the access log, p[0..n) without its LF. Errors: MH_ESTATE (there
 * is no log), MH_EINVAL (there is a LF in it, or it has 32 KiB or more), MH_EAGAIN (lost: no room).
 */
MH_API int mh_server_log_line(mh_server *srv, const char *p, size_t n);

/* ---- the request ----------------------------------------------------------------------------- */

/* As sent, case kept (RFC 9110 9.1). */
MH_API mh_str mh_req_method(const mh_req *req);
/* The request-target, raw (RFC 3.2). */
MH_API mh_str mh_req_target(const mh_req *req);
/* The target's path, still percent-encoded, "/" if an absolute-form has none, "*" for OPTIONS *,
 * empty for CONNECT. */
MH_API mh_str mh_req_path(const mh_req *req);
/* What follows the first '?', byte for byte; p is NULL if there is no '?'. */
MH_API mh_str mh_req_query(const mh_req *req);
/* The authority in force: of an absolute-form target, else of Host (RFC 3.2.2); may be empty. */
MH_API mh_str mh_req_host(const mh_req *req);
/* Non-zero if that is the target's, which then replaces the Host field that was also sent. */
MH_API int mh_req_host_from_target(const mh_req *req);
/* 10 for HTTP/1.0, 11 for 1.1 and later minors. */
MH_API int mh_req_version(const mh_req *req);

/* Number of field lines; line i (from 0) is put into name and value, white space around it trimmed.
 * Errors: MH_EINVAL (there is no line i). */
MH_API size_t mh_req_fields(const mh_req *req);
MH_API int mh_req_field(const mh_req *req, size_t i, mh_str *name, mh_str *value);
/* The first field called name (n bytes, any case), into *value. Errors: MH_ENOENT. */
MH_API int mh_req_find(const mh_req *req, const char *name, size_t n, mh_str *value);
/* Whether the path is prefix or lies below it, in whole segments and with the path's escapes
 * decoded: "/static" has "/static" below it, "/static/a" and "/%73tatic/a", but not "/staticfoo".
 * prefix (n bytes) is not encoded; "" and "/" have every path below them. *below is what follows,
 * still encoded: empty, or beginning with a '/', which may be encoded too. Errors: MH_ENOENT. */
MH_API int mh_req_below(const mh_req *req, const char *prefix, size_t n, mh_str *below);

/* All field lines as they came, from the first name to the last CRLF: equal bytes, equal fields. A
 * head lies in one piece: from the first byte of mh_req_method to the last of this, which is empty
 * but in its place if there are no fields. */
MH_API mh_str mh_req_field_block(const mh_req *req);

/* The declared Content-Length, 0 without a body, -1 for a chunked one. */
MH_API int64_t mh_req_length(const mh_req *req);
/* Non-zero if the client waits for "100 Continue" before it sends the body (RFC 9110 10.1.1). */
MH_API int mh_req_expects_continue(const mh_req *req);

/* The peer's address as text into host (at least 46 bytes) and its port; "" and 0 for a unix
 * socket. Returns the text's length. mh_req_local: the same of our end. Errors: MH_EINVAL (cap),
 * and of mh_req_local MH_ECLOSED (the socket has gone: in on_finish, and after mh_req_upgrade).
 * Behind a PROXY header (mh_config) the peer is the client that this names. */
MH_API int mh_req_peer(const mh_req *req, char *host, size_t cap, uint16_t *port);
MH_API int mh_req_local(const mh_req *req, char *host, size_t cap, uint16_t *port);
/* What the PROXY header of its connection said: "TCP4", "TCP6", "UDP4", "UDP6", "UNIX", "LOCAL"
 * (the proxy's own connection, such as a health check), "UNKNOWN" or, of version 2, "UNSPEC". NULL:
 * there was none, or the connection has gone. Statically allocated. */
MH_API const char *mh_req_proxy_protocol(const mh_req *req);
/* As mh_req_peer, where that client connected to, "" and 0 unless the header has addresses; and who
 * sent the header. Errors: MH_ENOENT (there was none), MH_ECLOSED (the connection has gone),
 * MH_EINVAL (cap). */
MH_API int mh_req_proxy_to(const mh_req *req, char *host, size_t cap, uint16_t *port);
MH_API int mh_req_proxy_sender(const mh_req *req, char *host, size_t cap, uint16_t *port);
/* The connection's descriptor, to ask the kernel of it (getsockopt(2), tcp(7)); it stays the
 * library's to read, write and close. Errors: MH_ECLOSED, as mh_req_local. */
MH_API int mh_req_fd(const mh_req *req);
/* Has the connection end with this exchange, whose response says so, if its head has not gone. No
 * effect once the response has ended. */
MH_API void mh_req_close(mh_req *req);
/* Microseconds since the first of its head was seen; reads the clock. */
MH_API uint64_t mh_req_taken_us(const mh_req *req);
/* Which of its server's listeners accepted it, from 0. */
MH_API unsigned mh_req_listener(const mh_req *req);

/* The host's own pointer of this exchange; NULL at first. */
MH_API void mh_req_set_user(mh_req *req, void *user);
MH_API void *mh_req_user(const mh_req *req);
MH_API mh_loop *mh_req_loop(const mh_req *req);

/* Reads up to cap bytes of the body, decoded. Returns their number (> 0), MH_EOS at the end, or
 * MH_EAGAIN, after which on_readable follows. The first call sends "100 Continue" where the client
 * waits for it. Errors: MH_EBODY, MH_ENOMEM, MH_ETOOBIG (chunked, over max_body), MH_ECLOSED (the
 * peer left in mid-body: never taken for an end; or the connection has gone), MH_ESTATE (after the
 * response's end), MH_EINVAL (cap 0 or buf NULL). An error of the body stays; the connection closes
 * after the response. */
MH_API int mh_req_read(mh_req *req, void *buf, size_t cap);
/* Non-zero once the body has been read to its end, or if there is none: mh_req_read has nothing
 * more to say but MH_EOS. */
MH_API int mh_req_complete(const mh_req *req);

/* Gives back to the allocator what a request can do without that will not be answered for long: it
 * keeps its head in a block of just that size, so all views of it are void, and to be asked for
 * anew. Can't fail: without memory for the smaller block all stays as it is. At any time until
 * on_finish has returned; a second call has no effect. */
MH_API void mh_req_trim(mh_req *req);

/* Ends the exchange, and every other of its connection that has not finished, and resets the
 * connection: not another byte is sent. on_finish follows from a step. Errors: MH_ECLOSED. */
MH_API int mh_req_abort(mh_req *req);

/* Takes the socket: the library forgets it, and the bytes read beyond the head are copied to buf
 * (*n: its size in, their number out). Legal before mh_res_head, without a body or when it has been
 * read to its end, once earlier answers have left. Returns the descriptor, now the host's.
 * on_finish(MH_FINISH_UPGRADED) follows from a step. Errors: MH_ECLOSED, MH_ESTATE, MH_EAGAIN
 * (output is pending: of an exchange before, whose on_finish tells of its end, or of mh_res_inform,
 * of which no callback tells), MH_EINVAL (buf too small: *n says what it takes). */
MH_API int mh_req_upgrade(mh_req *req, void *buf, size_t *n);

/* ---- the response ---------------------------------------------------------------------------- */

/* Sends are queued and leave in a step or mh_loop_flush. All of them: MH_ESTATE in the wrong order,
 * MH_ECLOSED when the connection has gone (the exchange's on_finish is called or about to be),
 * MH_ENOMEM, on which mh_res_writev, mh_res_file and mh_res_end abort the exchange if part of what
 * they queue was queued already. */

/* Lengths for mh_res_head other than a number of bytes. */
#define MH_LENGTH_UNKNOWN (-1) /* chunked to 1.1, until close to 1.0 (RFC 6.3) */

/* Starts the response. status is 200-999; an empty reason means the standard one; fields are n
 * pairs name, value (2n strings). length is the body's, or MH_LENGTH_UNKNOWN. The library adds
 * Date, Server (unless given), Connection, and Content-Length or Transfer-Encoding; a
 * Content-Length among fields must equal length (but to HEAD and of 304), and is taken as the
 * length if that is unknown. Everything is copied. HEAD, 204 and 304 get no body whatever follows.
 * Errors: MH_EINVAL for a status or length out of range, a name that is no token, a reason or value
 * with a control byte, a hop-by-hop field (RFC 9110 7.6.1) but the Upgrade of a 426, which
 * Connection then names, a Content-Length that is no number or there twice, lengths that
 * disagree. */
MH_API int mh_res_head(mh_req *req, int status, mh_str reason, const mh_str *fields, size_t n,
                       int64_t length);

/* Whether mh_res_head would take these, whose length is unknown: MH_OK or MH_EINVAL. Belongs to no
 * loop, so it may be called from any thread. */
MH_API int mh_res_check(int status, mh_str reason, const mh_str *fields, size_t n);

/* An interim response (100-199 but 101), before mh_res_head; silently nothing to HTTP/1.0. Errors:
 * MH_EINVAL, as mh_res_head, and for a Content-Length. */
MH_API int mh_res_inform(mh_req *req, int status, const mh_str *fields, size_t n);

/* Queues a copy of body bytes. Returns 0, or MH_FULL: taken, but wait for on_writable before the
 * next. Errors: MH_ERANGE: the declared length is full; what fits was queued. An empty piece does
 * nothing. */
MH_API int mh_res_write(mh_req *req, const void *p, size_t n);

/* Called once for a borrowed piece: its bytes are no longer needed (sent or not). */
typedef void (*mh_done_cb)(void *user);

/* Queues n pieces without copying; they must stay as they are until done(user). done may be NULL
 * for static data. On error done is not called, but on MH_ERANGE it is. Results as mh_res_write. */
MH_API int mh_res_writev(mh_req *req, const mh_str *pieces, size_t n, mh_done_cb done, void *user);

/* Queues len bytes of file fd from offset, by sendfile(2); len -1 means to the end as it stands
 * now, and what it grows by later is not sent. fd's own position is neither used nor moved. own:
 * the library closes fd when done with it, also on error; else fd has to stay open until on_finish.
 * Where the next 256 KiB are not in memory, the others are served while the disk is read, and fd
 * may be set to POSIX_FADV_SEQUENTIAL. A file that turns out shorter, or can't be read, aborts the
 * connection: MH_FINISH_FILE. Errors: MH_EINVAL (no regular file, an offset that is negative or
 * past its end, len < -1). Results as mh_res_write. */
MH_API int mh_res_file(mh_req *req, int fd, int64_t offset, int64_t len, int own);

/* Ends the response. One that is short of its declared length aborts the connection: MH_ERANGE. */
MH_API int mh_res_end(mh_req *req);

/* Head, body and end in one call; body is copied. Errors and fields as mh_res_head. */
MH_API int mh_res_simple(mh_req *req, int status, mh_str reason, const mh_str *fields, size_t n,
                         mh_str body);

/* ---- static files ---------------------------------------------------------------------------- */

typedef struct mh_static_config {
    size_t size;       /* sizeof(mh_static_config), set by mh_static_config_init */
    const char *index; /* the file that stands for a directory whose path ends in '/'; copied; NULL
                          or "": none; "index.html" */
    int precompressed; /* non-zero: a client that takes it gets FILE.br or FILE.gz in place of a
                          FILE that such coding makes smaller; 1 */
    const mh_str *fields; /* n_fields pairs name, value, copied: further fields of 200, 206 and 304,
                             such as Cache-Control; none */
    size_t n_fields;
} mh_static_config;

MH_API void mh_static_config_init_sized(mh_static_config *cfg, size_t size);
MH_INLINE void mh_static_config_init(mh_static_config *cfg) {
    mh_static_config_init_sized(cfg, sizeof *cfg);
}

/* Opens a directory whose files mh_res_static is to send. It stays this directory, whatever its
 * path comes to mean; what is in it may change at any time. cfg may be NULL for the defaults.
 * Errors: MH_EINVAL (a size that is too small, an index that is no name or begins with '.', a field
 * that may not be sent or that mh_res_static sets itself), MH_ESYS (mh_loop_errno: ENOENT, ENOTDIR,
 * EACCES...), MH_ENOMEM. On failure *out is NULL. */
MH_API int mh_static_new(mh_static **out, mh_loop *loop, const char *directory,
                         const mh_static_config *cfg);

/* Closes it; answers that are on their way are not disturbed. mh_loop_free does it for those that
 * are left, after the servers. NULL is ignored. */
MH_API void mh_static_free(mh_static *dir);

/* The whole answer to a request for the file that path names below dir: path is a part of a
 * request's path, still encoded, with or without its first '/' (see mh_req_below).
 *
 * 200, 206 for one range or several, 304, 412, 416 (RFC 9110 13, 14), 301 for a directory without
 * its '/' if it has an index, 405 but for GET and HEAD, 503 without descriptors or memory in the
 * kernel, 500 for what can't be read. Everything else is 404: what is not there, is no regular
 * file, may not be read, lies behind a symbolic link that is absolute or leads out, or has a
 * segment in its path that is empty, begins with '.' (but ".well-known" as the first) or has an
 * encoded '/', a '\' or a control byte in it. A neighbour that is older than its file, in seconds,
 * is not sent.
 *
 * Errors: MH_EINVAL (dir is of another loop), MH_ESTATE (a response has begun), MH_ECLOSED,
 * MH_ENOMEM, MH_ERANGE (the file has become shorter). The exchange has not been answered then, or
 * has been aborted: mh_res_started tells, and mh_req_abort is right in either case. */
MH_API int mh_res_static(mh_req *req, mh_static *dir, mh_str path);

/* ---- what has gone --------------------------------------------------------------------------- */

/* Bytes queued for this connection that the kernel has not taken. */
MH_API size_t mh_res_pending(const mh_req *req);
/* Bytes of this response's body that the kernel has taken, chunk framing included; also in
 * on_finish. */
MH_API uint64_t mh_res_sent(const mh_req *req);
/* Non-zero once mh_res_head or mh_res_simple has succeeded. */
MH_API int mh_res_started(const mh_req *req);
/* The status that these gave. In on_finish, if there was none, what the access log has in its place
 * (mh_server_access_log); else 0. */
MH_API int mh_res_status(const mh_req *req);

#ifdef __cplusplus
}
#endif

#endif
