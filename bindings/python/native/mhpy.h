/* The C half of the Python binding: libmeinheld's callbacks become events that Python takes by
 * the batch, and Python's answers become library calls. Nothing here calls Python, or knows it.
 *
 * A hub is one run of a server: a loop, a server on it, and what is said here. It belongs to the
 * thread that steps it; mhpy_wakeup, and what is said of mail, alone may be called from others.
 * Every function takes a NULL hub as one that has been closed and answers MH_ECLOSED, so that an
 * application which outlives the run can do no harm.
 *
 * A request is called by a name: the number of its slot and the slot's generation. The name of a
 * request that has finished is refused with MH_ECLOSED, whatever became of its slot.
 */
#ifndef MHPY_H
#define MHPY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "meinheld.h"

/* ---- what Python sees: the same declarations stand in _native.cdef.h ------------------------- */

/* An event is this many integers. The first says what it is: one of the kinds below, which are
 * negative and have the others named beside them (unused ones are 0), or the number of a head that
 * Python has learned by MHPY_REQUEST: then that head has come again, byte for byte and by the same
 * listener, and slot, generation and peer follow. The name of that request is
 * generation << 32 | slot; apart, both are integers of the cheapest sort in Python. */
enum { MHPY_EVENT_INTS = 4 };

enum {
    /* name, plan, flags; then four more integers: pieces, peer, block, head. A request's head; its
     * pieces of the text, in order: with MHPY_NAMED the names of its fields; method, target, path,
     * query; the fields' values, unless MHPY_BLOCKED; with MHPY_ABSOLUTE the target's authority.
     * plan says what a head's keys depend on: number << 16 | listener << 1 | (1 for HTTP/1.0); the
     * number is that of a shape, of a block with MHPY_BLOCKED, and 0 with MHPY_NAMED. If block is
     * not 0, its fields are to be learned by that number, and likewise the whole head. */
    MHPY_REQUEST = -1,
    MHPY_SHAPE = -2, /* shape, pieces. A sequence of field names, its pieces; never known by another
                        number until MHPY_FORGET */
    /* peer, pieces. From now on that is the number of these: a peer's address and port; where the
     * listener is a wildcard our address; behind a PROXY header its protocol, and the address and
     * port to which it says that the client connected. */
    MHPY_PEER = -3,
    MHPY_FORGET = -4, /* MHPY_SHAPES, MHPY_BLOCKS or MHPY_HEADS: all told of those so far is void */
    MHPY_READABLE = -5, /* name: mhpy_read would say something else than MHPY_READ_WAIT */
    MHPY_WRITABLE = -6, /* name: output has fallen below low water after MH_FULL */
    MHPY_FINISH = -7,   /* name, why, sent: for requests kept by mhpy_keep and its like, and for
                           all that end by something else than MH_FINISH_DONE */
    MHPY_TIMER = -8,    /* timer: it has run and is gone */
    MHPY_WATCH = -9,    /* fd, events */
    MHPY_DRAINED = -10, /* the drain has ended */
    MHPY_LOG = -11,     /* what, detail: on_log of meinheld.h */
    /* name, status, sent; then four more integers: why, microseconds taken. The end of any request,
     * after its MHPY_FINISH if that was asked for; only after mhpy_tell_ends. */
    MHPY_ENDED = -12,
    /* pieces, status, sent; then as for MHPY_ENDED. The end of a request that was refused and never
     * told; its pieces: the peer's address, its port, and the request line, cut at each NUL. Only
     * after mhpy_tell_ends. */
    MHPY_REFUSED = -13,
    /* name: a piece of mhpy_lend that was waited for has left, or never will */
    MHPY_RETURNED = -14,
    /* pieces, status, sent; then as for MHPY_ENDED. The end of a request that was never told since
     * the C half has answered it with a file; its pieces: the peer's address and port, method,
     * target, path, query, protocol, then its fields, each name before its value. Only after
     * mhpy_tell_ends. */
    MHPY_SERVED = -15,
    MHPY_UNSENT = -16, /* name, code: an answer by mail could not be sent, or not all of it */
    MHPY_HANGUP = -17, /* name: the peer of a request has said that it sends no more; only after
                          mhpy_wait */
    MHPY_COUNTED = -18 /* as many requests have ended as mhpy_tell_count said */
};

/* The tables of what has been seen lately. */
enum { MHPY_SHAPES = 0, MHPY_BLOCKS = 1, MHPY_HEADS = 2 };

/* Of a request: what keeps it from the plainest path. None set is the common case. */
enum {
    MHPY_HAS_BODY = 1,
    MHPY_CHUNKED = 2,
    MHPY_EXPECTS = 4,  /* 100-continue */
    MHPY_ABSOLUTE = 8, /* the target's authority takes the place of Host (RFC 9112 3.2.2) */
    MHPY_ESCAPED = 16, /* there is a '%' in the path */
    MHPY_HEAD = 32,    /* the method is HEAD */
    MHPY_NAMED = 64,   /* the table of shapes did not take it: its names travel along */
    MHPY_BLOCKED = 128 /* its fields are those of a block that Python has learned */
};

/* What the last argument of mhpy_answer says. */
enum {
    MHPY_BORROW = 1, /* body stays as it is until MHPY_FINISH, which then follows if the call
                        succeeds; else it is copied */
    MHPY_NOW = 2     /* the answer leaves at once, as far as the socket takes it; else when due */
};

/* A positive result of mhpy_head: no body will be sent, whatever follows. */
enum { MHPY_BODYLESS = 1 };

/* The low two bits of mhpy_read's result. */
enum { MHPY_READ_FULL = 0, MHPY_READ_WAIT = 1, MHPY_READ_END = 2 };

/* Of mhpy_file: nothing has been sent, for this is no file that sendfile(2) can take as it is. */
enum { MHPY_NO_FILE = 2 };

typedef struct mhpy mhpy;
typedef struct mhpy_made mhpy_made;
typedef struct mhpy_mail mhpy_mail;
typedef struct mhpy_stream mhpy_stream;

typedef struct mhpy_options {
    mh_config config;     /* of the server */
    uint32_t initial_fds; /* first size of the descriptor table; > 0 */
    int sigpipe_ignored;  /* as in mh_loop_config */
} mhpy_options;

/* What a step brought. Valid until the next call with this hub. */
typedef struct mhpy_batch {
    const int64_t *ints; /* the events */
    const char *text;    /* their pieces, each ended by a NUL, which no piece contains */
    size_t text_n;       /* bytes */
    int pieces;          /* how many */
} mhpy_batch;

/* A directory of static files: mh_static_config, with fields as mhpy_make takes a head, but for the
 * status. */
typedef struct mhpy_static_options {
    const char *directory;
    const char *index; /* NULL: none */
    int precompressed;
    const char *fields;
    size_t fields_n;
    size_t pieces;
} mhpy_static_options;

/* What is alive, for those who look for leaks. */
typedef struct mhpy_counts {
    size_t blocks;        /* of the library's memory, what it keeps for reuse included */
    uint32_t connections; /* open */
    uint32_t requests;    /* not finished */
    uint32_t timers;      /* neither run nor cancelled */
} mhpy_counts;

/* Sets every option to its default. */
void mhpy_options_init(mhpy_options *options);
/* Makes a hub; options is copied. Errors: MH_ENOMEM, MH_EINVAL, MH_ESYS (errno of the caller
 * says why). */
int mhpy_new(mhpy **out, const mhpy_options *options);
/* Ends everything open, without events. Borrowed bodies are not looked at again. NULL is
 * ignored. */
void mhpy_free(mhpy *hub);
/* errno of the last MH_ESYS. */
int mhpy_errno(const mhpy *hub);
/* Adopts a listening socket, which stays the caller's to close. wildcard: requests that came by
 * it tell the local address. Errors: MH_EINVAL, MH_ENOMEM, MH_ESYS. */
int mhpy_listen(mhpy *hub, int fd, int wildcard);
/* From now on requests for prefix (not encoded, without a '/' at its end) and for what is below it
 * are answered by mh_res_static, without an event; where several prefixes fit, by the longest.
 * Everything is copied. Errors: MH_ENOMEM, MH_EINVAL (options), MH_ESYS (the directory). */
int mhpy_static(mhpy *hub, const char *prefix, size_t prefix_n, const mhpy_static_options *options);
/* Steps the loop until there are events; at most timeout_ms where that is >= 0. Fills batch and
 * returns the number of integers in it, which may be 0 after mhpy_wakeup, a timeout or a signal.
 * Errors: MH_EFORK, MH_ENOMEM (an event was lost: the hub is of no more use), MH_ESYS,
 * MH_ESTATE. */
int mhpy_step(mhpy *hub, int timeout_ms, mhpy_batch *batch);
/* All that Python has learned is void, and will be told again. */
void mhpy_forget(mhpy *hub);
/* From any thread or signal handler: makes the step under way, or else the next, return. */
int mhpy_wakeup(mhpy *hub);
/* mh_server_drain; MHPY_DRAINED follows. Errors: MH_ESTATE (draining already). */
int mhpy_drain(mhpy *hub, uint32_t timeout_ms);
/* mh_loop_watch and mh_loop_unwatch; MHPY_WATCH follows each time the fd is ready. A second
 * watch of an fd replaces the first, which may be gone after an error, too. */
int mhpy_watch(mhpy *hub, int fd, unsigned int events);
int mhpy_unwatch(mhpy *hub, int fd);
/* A timer: its name (>= 0), which MHPY_TIMER will carry. Errors: MH_ENOMEM. */
int64_t mhpy_timer(mhpy *hub, uint64_t ms);
/* Errors: MH_ENOENT: it has run (its event may still be on its way) or was cancelled. */
int mhpy_cancel(mhpy *hub, int64_t timer);
/* mh_server_access_log. Errors: MH_EINVAL (fd can't be written to), MH_ENOMEM. */
int mhpy_access_log(mhpy *hub, int fd, int format);
/* mh_server_log_line. Errors: MH_ESTATE, MH_EINVAL, MH_EAGAIN (lost). */
int mhpy_log_line(mhpy *hub, const char *line, size_t line_n);
/* Asks for MHPY_ENDED of every request, and for MHPY_REFUSED and
 * MHPY_SERVED. */
int mhpy_tell_ends(mhpy *hub);
/* Asks for MHPY_COUNTED once n more requests have ended, static files' among them but not what was
 * refused; in place of any count before, 0: for none. */
int mhpy_tell_count(mhpy *hub, uint64_t n);
/* Counts. Sizes are not counted: what malloc rounds them to differs from one time to the next. */
int mhpy_count(mhpy *hub, mhpy_counts *counts);
/* mh_server_trim: after it, equal loads leave equal counts of blocks. */
int mhpy_trim(mhpy *hub);

/* Asks for this request's MHPY_FINISH. Errors: MH_ECLOSED: it has finished; no event will come. */
int mhpy_keep(mhpy *hub, int64_t name);
/* The same, of one that has nothing to send for now, and asks for its MHPY_HANGUP. MH_ECLOSED also
 * if its peer has said already that it sends no more, for a close and a half-close look alike and
 * there is nobody to wait for after the first (row 34 of docs/http.md). It has not finished
 * then. */
int mhpy_wait(mhpy *hub, int64_t name);
/* mh_req_fd. Errors: MH_ECLOSED. */
int mhpy_fd(mhpy *hub, int64_t name);
/* mh_req_upgrade, once what is due to leave before it has left as far as the socket takes it:
 * returns the descriptor, the caller's from then on. MHPY_FINISH follows. Errors: MH_ECLOSED,
 * MH_ESTATE, MH_EAGAIN, MH_EINVAL (buf is too small: *n says what it takes). */
int mhpy_upgrade(mhpy *hub, int64_t name, char *buf, size_t *n);
/* Reads body bytes until buf is full, the body ends or more must arrive; unless whole only until
 * there are any, so that the library does not take the caller for one who waits for more. Returns
 * count << 2 | MHPY_READ_*; after MHPY_READ_WAIT follows MHPY_READABLE or, if the peer leaves
 * first, MHPY_FINISH. Errors: MH_EBODY, MH_ETOOBIG, MH_ECLOSED, MH_ENOMEM, MH_ESTATE (the response
 * has ended); what was read before them is void. */
int64_t mhpy_read(mhpy *hub, int64_t name, char *buf, size_t cap, int whole);
/* Whether a response's head may be sent: MH_OK, MH_EINVAL or MH_ENOMEM. It is
 * "status\nname\nvalue\n...", pieces strings with a newline between each two; another number of
 * newlines, that is, one inside a status or a value, is refused. Hop-by-hop are here, as PEP 3333
 * has it, also those that RFC 2616 13.5.1 alone calls so. From any thread. */
int mhpy_check(const char *head, size_t head_n, size_t pieces);
/* Such a head made ready to be sent many times. NULL if there is no memory or it is malformed. */
mhpy_made *mhpy_make(const char *head, size_t head_n, size_t pieces);
/* Frees it, when what was sent with it has been; NULL is ignored. From any thread. */
void mhpy_unmake(mhpy_made *made);
/* The whole response of request slot, generation gen, in one call, and mh_loop_flush_due after
 * it; body is copied. A Content-Length in the head that is not body_n: what is over is cut, what is
 * short aborts the connection. Errors: MH_EINVAL (the head may not be sent; nothing has been,
 * answer otherwise), MH_ERANGE (sent, but cut), MH_ESTATE, MH_ECLOSED, MH_ENOMEM (the connection is
 * aborted if something had gone). */
int mhpy_answer_made(mhpy *hub, uint32_t slot, uint32_t gen, const mhpy_made *made,
                     const char *body, size_t body_n);
/* The same with a head as mhpy_check takes it; name is the request's, how some of MHPY_BORROW and
 * MHPY_NOW. */
int mhpy_answer(mhpy *hub, int64_t name, const char *head, size_t head_n, size_t pieces,
                const char *body, size_t body_n, int how);
/* The same with what file fd has from offset on for a body, sent by sendfile(2). A Content-Length
 * in the head is the most that is sent; without one, what the file has is the length. fd is copied,
 * so it may be closed, and its number used again, while the file is being sent. MHPY_FINISH follows
 * if the call succeeds. Returns MH_OK or MHPY_NO_FILE: fd has nothing from offset on, its length
 * may be made up (a regular file that holds no block: procfs, sysfs), it can't be read so, or there
 * is no descriptor for the copy. Errors as mhpy_answer; MH_ERANGE: the file has less than the
 * Content-Length, and the connection is aborted. */
int mhpy_file(mhpy *hub, int64_t name, const char *head, size_t head_n, size_t pieces, int fd,
              int64_t offset);
/* Starts a response whose body follows by mhpy_write. Its length is that of a Content-Length in
 * head, else unknown. The request is kept until mhpy_end: MHPY_FINISH follows if it ends before.
 * Returns MH_OK or MHPY_BODYLESS. Errors as mhpy_answer. */
int mhpy_head(mhpy *hub, int64_t name, const char *head, size_t head_n, size_t pieces);
/* mh_res_inform: an interim response, which leaves at once, as far as the socket takes it; head as
 * mhpy_check takes it. Errors: MH_EINVAL, MH_ESTATE (the response has begun), MH_ECLOSED,
 * MH_ENOMEM. */
int mhpy_inform(mhpy *hub, int64_t name, const char *head, size_t head_n, size_t pieces);
/* A copy of a piece of the body. now: it leaves at once, as far as the socket takes it (PEP
 * 3333, "Buffering and Streaming"). Returns MH_OK, or MH_FULL: wait for MHPY_WRITABLE or
 * MHPY_FINISH. Errors: MH_ERANGE, MH_ESTATE, MH_ECLOSED, MH_ENOMEM. */
int mhpy_write(mhpy *hub, int64_t name, const char *body, size_t body_n, int now);
/* A large piece, which leaves at once as far as the socket takes it, and is not copied. MH_FULL:
 * body has to stay as it is until MHPY_RETURNED or MHPY_FINISH; after MH_ERANGE until MHPY_FINISH,
 * which then follows; another before that is MH_ESTATE. Results as mhpy_write. */
int mhpy_lend(mhpy *hub, int64_t name, const char *body, size_t body_n);
/* Ends such a response; now as in mhpy_write. Errors: MH_ESTATE, MH_ECLOSED, MH_ERANGE (it is
 * shorter than its length: the connection is aborted). */
int mhpy_end(mhpy *hub, int64_t name, int now);
/* mh_req_close. Errors: MH_ECLOSED. */
int mhpy_close(mhpy *hub, int64_t name);
/* Ends the exchange and the connection. Errors: MH_ECLOSED. */
int mhpy_abort(mhpy *hub, int64_t name);

/* ---- from other threads: a hub's mail -------------------------------------------------------- */

/* Other threads answer by mail. What they send is copied and handed to the thread of the hub, which
 * sends it inside mhpy_step, with no need of Python; they never wait for it unless they ask to.
 * mail and streams are counted, and may outlive their hub: then all of this is MH_ESTATE. So does a
 * NULL mail. All but mhpy_mail_open and mhpy_mail_deliver may be called from any thread, with one
 * thread to a stream. */

/* The mail of a hub, opened by the first call; NULL if there is no memory. */
mhpy_mail *mhpy_mail_open(mhpy *hub);
/* Gives the caller's share of it back; NULL is ignored. */
void mhpy_mail_drop(mhpy_mail *mail);
/* mhpy_answer_made by mail, for a request without a stream. lend: body is not copied but stays as
 * it is until MHPY_FINISH, which follows; also if the request had ended before. What becomes of it
 * is only told if it fails, by MHPY_UNSENT. Errors, on which nothing is sent: MH_ERANGE (the head
 * announces another length: mhpy_stream_answer tells what comes of that), MH_ESTATE, MH_ENOMEM. */
int mhpy_mail_answer(mhpy_mail *mail, uint32_t slot, uint32_t gen, mhpy_made *made,
                     const char *body, size_t body_n, int lend);
/* mhpy_file by mail, likewise: MHPY_FINISH follows, also if the request had ended before. Returns
 * MH_OK, or MHPY_NO_FILE: nothing has been sent, for this is no such file or shorter than the head
 * says. Errors: MH_ESTATE, MH_ENOMEM. */
int mhpy_mail_file(mhpy_mail *mail, uint32_t slot, uint32_t gen, mhpy_made *made, int fd,
                   int64_t offset);
/* mhpy_abort by mail. Errors: MH_ESTATE, MH_ENOMEM. */
int mhpy_mail_abort(mhpy_mail *mail, int64_t name);
/* In the thread of the hub: sends what has come by mail now, and not in the next step, which hands
 * out the events of it. */
void mhpy_mail_deliver(mhpy *hub);

/* A response that a thread sends in pieces, or whose result it wants to know; the request's
 * MHPY_WRITABLE goes to it. NULL if there is no memory. */
mhpy_stream *mhpy_stream_new(mhpy_mail *mail, int64_t name);
/* Gives it back; NULL is ignored. What was sent with it goes its way. */
void mhpy_stream_drop(mhpy_stream *stream);
/* These return at once, with MH_OK; MH_FULL: taken, but mhpy_stream_wait before anything else; or
 * the first error that has become known, on which nothing was sent: those of the functions that
 * they stand for, MH_ESTATE when the hub has been closed, and MH_ENOMEM. A response of which a
 * piece was MH_ERANGE has been ended. */
int mhpy_stream_head(mhpy_stream *stream, mhpy_made *made);
/* lend: body is not copied, but stays as it is until mhpy_stream_wait has returned, when all of it
 * has left. */
int mhpy_stream_write(mhpy_stream *stream, const char *body, size_t body_n, int lend);
int mhpy_stream_end(mhpy_stream *stream);
/* The whole response, as mhpy_answer_made; body stays as it is until mhpy_stream_wait has
 * returned. */
int mhpy_stream_answer(mhpy_stream *stream, mhpy_made *made, const char *body, size_t body_n);
/* The first error that has become known, MH_ECLOSED once the request has ended or its peer has said
 * that it sends no more (as mhpy_wait), or MH_OK. */
int mhpy_stream_idle(mhpy_stream *stream);
/* Waits until all that was sent has been carried out and the client has caught up, or for an
 * error, and returns that. */
int mhpy_stream_wait(mhpy_stream *stream);

/* ---- what the files share -------------------------------------------------------------------- */

/* events.c: the events since the last step and their text, two growing arrays. */
typedef struct mhpy__events {
    int64_t *ints;
    size_t n, cap;
    char *text;
    size_t text_n, text_cap;
    int pieces;
    bool lost; /* an event found no memory, against mhpy__reserve */
} mhpy__events;

void mhpy__events_clear(mhpy__events *ev);
/* Appends one for which there is room. */
void mhpy__event_put(mhpy__events *ev, int64_t kind, int64_t a, int64_t b, int64_t c);
/* Appends one, or remembers that it is lost. */
void mhpy__event(mhpy__events *ev, int kind, int64_t a, int64_t b, int64_t c);

/* names.c: things called by slot and generation, so that a stale name is known as such. */
typedef struct mhpy__slot {
    void *thing;         /* NULL: free */
    mhpy_stream *stream; /* of a request, counted; NULL: none */
    uint32_t gen;        /* 31 bits */
    uint32_t next;       /* of the free list */
    uint8_t want;        /* MHPY__WANT_*: why the end of a request is told */
    bool hung_up;        /* its peer sends no more */
    uint8_t loan;        /* MHPY__LOAN_*: a piece of mhpy_lend that has not left */
} mhpy__slot;

typedef struct mhpy__names {
    mhpy__slot *slots;
    uint32_t n, cap, free;
} mhpy__names;

enum { MHPY__LOAN_NONE, MHPY__LOAN_MADE, MHPY__LOAN_AWAITED };
enum {
    MHPY__WANT_BODY = 1,
    MHPY__WANT_STREAM = 2,
    MHPY__WANT_KEPT = 4,
    MHPY__WANT_HANGUP = 8 /* and that of its peer's sending */
};

/* Names thing: >= 0, or MH_ENOMEM. */
int64_t mhpy__name_new(mhpy__names *names, void *thing);
/* The name of what is in slot number at. */
int64_t mhpy__name_at(const mhpy__names *names, uint32_t at);
/* The slot of a name, NULL if it is stale. Valid until the next mhpy__name_new. */
mhpy__slot *mhpy__name_find(mhpy__names *names, int64_t name);
void mhpy__name_free(mhpy__names *names, mhpy__slot *slot);
/* How many there are. Looks at every slot. */
uint32_t mhpy__name_count(const mhpy__names *names);

/* seen.c: byte strings seen lately, each with a number that Python knows it by. */
enum { MHPY__SEEN = 256, MHPY__SEEN_CELLS = 512, MHPY__SEEN_ONCE = 1024 };

typedef struct mhpy__seen_cell {
    char *bytes; /* NULL: a free cell */
    uint64_t hash;
    uint32_t n;
    uint32_t tag;
    uint32_t id; /* > 0 */
} mhpy__seen_cell;

typedef struct mhpy__seen {
    mhpy__seen_cell cells[MHPY__SEEN_CELLS];
    uint32_t once[MHPY__SEEN_ONCE]; /* parts of the hashes of strings that came once lately */
    uint32_t count, last_id;
    uint32_t misses; /* strings not taken since the table was emptied */
} mhpy__seen;

enum mhpy__seen_result { MHPY__SEEN_KNOWN, MHPY__SEEN_NEW, MHPY__SEEN_NONE };

void mhpy__seen_clear(mhpy__seen *t);
/* Looks up n bytes with that hash, which belong to tag, and takes them if they came once lately,
 * are not there yet, and there is room; *id is their number unless NONE. */
enum mhpy__seen_result mhpy__seen_find(mhpy__seen *t, uint64_t hash, uint32_t tag,
                                       const char *bytes, size_t n, uint32_t *id);
/* Whether so much has not found room that the table should be emptied. */
bool mhpy__seen_stale(const mhpy__seen *t);
/* A key of this process's, so that an attacker can't choose strings that collide; 0 on failure. */
uint64_t mhpy__hash_key(void);
/* A keyed hash of n bytes. */
uint64_t mhpy__hash(uint64_t key, const char *p, size_t n);

/* requests.c: the peers whose addresses Python has, each in one of the ways of its hash's set, of
 * which the oldest gives way. So their number is bounded, and few connections meet in a set. */
enum { MHPY__PEER_SETS = 256, MHPY__PEER_WAYS = 4, MHPY__PEER_MAX = 192 };

typedef struct mhpy__peer {
    uint16_t n;                /* 0: nobody */
    char text[MHPY__PEER_MAX]; /* its pieces, each with its NUL */
} mhpy__peer;

typedef struct mhpy__peers {
    mhpy__peer at[MHPY__PEER_SETS][MHPY__PEER_WAYS];
    uint8_t oldest[MHPY__PEER_SETS];
} mhpy__peers;

/* statics.c: prefixes below which the library answers with files. */
typedef struct mhpy__static {
    char *prefix; /* n bytes */
    size_t n;
    mh_static *dir; /* the loop's to free */
} mhpy__static;

void mhpy__statics_clear(mhpy *hub);
/* Answers the request if it lies below one of the prefixes; false if not. */
bool mhpy__static_answer(mhpy *hub, mh_req *req);
/* answer.c: a head taken apart. */
typedef struct mhpy__head {
    int status;
    mh_str reason;
    const mh_str *fields;
    size_t n; /* pairs */
} mhpy__head;

/* Behind it lie the strings of head, and then their text. */
struct mhpy_made {
    mhpy__head head;
    int64_t length;    /* its Content-Length, or MH_LENGTH_UNKNOWN */
    atomic_uint users; /* of whom the last frees it */
    mh_str strings[];
};

/* The whole response; see mhpy_answer. */
int mhpy__answer(mhpy *hub, mh_req *req, const mhpy__head *h, mh_str body, int how);
/* How many bytes file fd has from offset on; 0 if that can't be said, or it can't be sent. */
int64_t mhpy__file_rest(int fd, int64_t offset);
/* Head, rest bytes of file, end. fd is closed whatever happens. */
int mhpy__send_file(mh_req *req, const mhpy__head *h, int fd, int64_t offset, int64_t rest);

struct mhpy {
    mh_loop *loop;
    mh_server *srv;
    size_t blocks; /* alive in the loop's memory */
    mhpy__events ev;
    mhpy__names requests; /* of mh_req */
    mhpy__names timers;   /* of mhpy__timer */
    mhpy__seen seen[3];   /* by MHPY_SHAPES and its like */
    mhpy__peers peers;
    uint64_t hash_key;
    char *names; /* scratch: the field names of the request in hand, each with its NUL */
    size_t names_cap;
    mh_str *fields; /* scratch: the strings of the head being sent */
    size_t fields_cap;
    mhpy__static *statics; /* the longest prefix first */
    size_t n_statics;
    bool *wildcard; /* of each listener */
    size_t listeners;
    size_t watches;
    bool tells_ends;     /* by MHPY_ENDED */
    bool proxied;        /* each connection begins with a PROXY header */
    uint64_t uncounted;  /* requests that are to end before MHPY_COUNTED; 0: nobody has asked */
    mhpy_mail *mail;     /* NULL: never opened */
    uint32_t high_water; /* bytes by which a thread may be ahead of the loop */
    int woken;           /* by mhpy_wakeup since the last step; atomic */
};

/* mail.c: how long a step may wait that could have waited for timeout_ms. */
int mhpy__mail_timeout(const mhpy *hub, int timeout_ms);
/* The hub is about to end: from now on nothing reaches it. NULL is ignored. */
void mhpy__mail_close(mhpy_mail *mail);
/* The client of a stream has caught up. */
void mhpy__stream_drained(mhpy_stream *stream);
/* It sends no more. */
void mhpy__stream_hung_up(mhpy_stream *stream);
/* The request of a stream has ended; the slot's share of it is given back. */
void mhpy__stream_finished(mhpy_stream *stream);

/* events.c: room for `more` events and text more bytes now, and for all events that can come
 * without being asked for: of each request READABLE, WRITABLE, RETURNED, FINISH and ENDED, of each
 * timer and watch its own, the drain's, those of the log. To be called before one more of these is
 * made, so that memory is only missed where it can be said. */
bool mhpy__reserve(mhpy *hub, size_t more, size_t text);

/* requests.c: the handlers of the server, which turn exchanges into events. */
void mhpy__handlers(mh_handlers *on, mhpy *hub);

/* Grows *p, an array of *cap items of size bytes, to at least need of them. */
bool mhpy__grow(void **p, size_t *cap, size_t need, size_t size);

#endif
