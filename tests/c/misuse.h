/* Wrong calls on an exchange: the calls, and a stage on which an exchange is brought to a state,
 * called wrongly and carried on to its end. Include it in one file of a program.
 *
 * A state is a row: what the client sends, what the host does until the state is reached, where it
 * calls here(), and how it goes on, by right calls only, to the end. here() makes the wrong calls
 * and holds their results against the row's cells, and all that can be observed against what it was
 * before. What the client got and how the exchange finished is then compared with a play of the
 * same state without a wrong call. */
#ifndef MISUSE_H
#define MISUSE_H

#include "client.h"
#include "failing.h"
#include "fds.h"

#include <sys/mman.h>

/* ---- states ---------------------------------------------------------------------------------- */

typedef struct stage stage;

typedef struct state {
    const char *cells;          /* one letter a column; blanks are for the eye */
    const char *name, *request; /* the client's first bytes */
    fix_cb on_request;          /* NULL: the exchange is parked */
    void (*outside)(stage *s);  /* then called, outside of any callback, if not NULL */
    const char *rest;           /* then sent, if not NULL */
    int why;                    /* on_finish of the last exchange says */
    unsigned exchanges;         /* more than one: how many there are */
    uint32_t body_timeout;      /* ms; 0: the default */
} state;

struct stage {
    fix f; /* first: the fixture's callbacks get it */
    failing mem;
    peer p;
    const state *state;
    size_t from, to;              /* the wrong calls to be made, in calls[] */
    unsigned reached, done, owed; /* done callbacks: called, and to be called by the end */
    char body[64];                /* what was read of the request's */
    size_t n;
    mh_req *second; /* of two exchanges */
    int taken;      /* by mh_req_upgrade, or -1 */
};

static inline stage *stage_of(fix *f) { return (stage *)(void *)f; }

/* ---- calls ----------------------------------------------------------------------------------- */

enum column {
    COL_HEAD,
    COL_HEAD_WRONG,
    COL_HEAD_LENGTHS, /* a Content-Length field that is not the length */
    COL_INFORM,
    COL_INFORM_WRONG,
    COL_WRITE,
    COL_WRITE_0,
    COL_WRITEV,
    COL_WRITEV_0,
    COL_FILE,
    COL_FILE_WRONG,
    COL_END,
    COL_SIMPLE,
    COL_SIMPLE_WRONG,
    COL_READ,
    COL_READ_WRONG,
    COL_ABORT,
    COL_UPGRADE,
    COL_UPGRADE_SMALL,
    COL_PEER_SMALL,
    COL_LOCAL_SMALL,
    COL_FIELD_ABSENT,
    COL_FIND_ABSENT,
    COLUMNS
};

typedef struct call {
    const char *name;
    enum column column;
    int (*make)(stage *s, mh_req *req, int arg);
    int arg;
} call;

#define TEXT(s) \
    { s, sizeof(s) - 1 }

/* Heads that must not be sent, whatever the state. */
static const struct wrong_head {
    const char *name;
    int status;
    int64_t length;
    mh_str reason, fields[4];
    size_t n;
} wrong_heads[] = {
    {.name = "length -2", .status = 200, .length = -2},
    {.name = "status 0", .status = 0},
    {.name = "status -1", .status = -1},
    {.name = "status 99", .status = 99},
    {.name = "status 199", .status = 199},
    {.name = "status 1000", .status = 1000},
    {.name = "CR in reason", .status = 200, .reason = TEXT("a\rb")},
    {.name = "LF in reason", .status = 200, .reason = TEXT("a\nb")},
    {.name = "NUL in reason", .status = 200, .reason = TEXT("a\0b")},
    {.name = "no name", .status = 200, .fields = {TEXT(""), TEXT("a")}, .n = 1},
    {.name = "blank in name", .status = 200, .fields = {TEXT("A b"), TEXT("a")}, .n = 1},
    {.name = "colon in name", .status = 200, .fields = {TEXT("A:"), TEXT("a")}, .n = 1},
    {.name = "CRLF in name", .status = 200, .fields = {TEXT("A\r\nB"), TEXT("a")}, .n = 1},
    {.name = "NUL in name", .status = 200, .fields = {TEXT("A\0"), TEXT("a")}, .n = 1},
    {.name = "high byte in name", .status = 200, .fields = {TEXT("A\xe9"), TEXT("a")}, .n = 1},
    {.name = "CR in value", .status = 200, .fields = {TEXT("A"), TEXT("a\rb")}, .n = 1},
    {.name = "LF in value", .status = 200, .fields = {TEXT("A"), TEXT("a\nb")}, .n = 1},
    {.name = "NUL in value", .status = 200, .fields = {TEXT("A"), TEXT("a\0b")}, .n = 1},
    {.name = "DEL in value", .status = 200, .fields = {TEXT("A"), TEXT("a\x7f")}, .n = 1},
    {.name = "the second field",
     .status = 200,
     .fields = {TEXT("A"), TEXT("a"), TEXT("B"), TEXT("\n")},
     .n = 2},
    {.name = "Connection", .status = 200, .fields = {TEXT("connection"), TEXT("close")}, .n = 1},
    {.name = "Keep-Alive", .status = 200, .fields = {TEXT("Keep-Alive"), TEXT("max=1")}, .n = 1},
    {.name = "TE", .status = 200, .fields = {TEXT("TE"), TEXT("trailers")}, .n = 1},
    {.name = "Trailer", .status = 200, .fields = {TEXT("Trailer"), TEXT("A")}, .n = 1},
    {.name = "Upgrade", .status = 200, .fields = {TEXT("Upgrade"), TEXT("h2c")}, .n = 1},
    {.name = "Transfer-Encoding",
     .status = 200,
     .fields = {TEXT("Transfer-Encoding"), TEXT("chunked")},
     .n = 1},
    {.name = "Proxy-Connection",
     .status = 200,
     .fields = {TEXT("Proxy-Connection"), TEXT("close")},
     .n = 1},
    {.name = "Content-Length twice",
     .status = 200,
     .fields = {TEXT("Content-Length"), TEXT("0"), TEXT("Content-Length"), TEXT("0")},
     .n = 2},
    {.name = "Content-Length -1",
     .status = 200,
     .fields = {TEXT("Content-Length"), TEXT("-1")},
     .n = 1},
    {.name = "Content-Length over 63 bits",
     .status = 200,
     .fields = {TEXT("Content-Length"), TEXT("9223372036854775808")},
     .n = 1},
};

enum { WRONG_HEADS = sizeof wrong_heads / sizeof *wrong_heads };

static const mh_str five[] = {TEXT("Content-Length"), TEXT("5")}, nothing = {"", 0};

static inline int call_head(stage *s, mh_req *req, int arg) {
    (void)s;
    (void)arg;
    return mh_res_head(req, 200, text("OK"), NULL, 0, 5);
}

static inline int call_wrong_head(stage *s, mh_req *req, int arg) {
    const struct wrong_head *h = &wrong_heads[arg];
    (void)s;
    return mh_res_head(req, h->status, h->reason, h->fields, h->n, h->length);
}

static inline int call_lengths(stage *s, mh_req *req, int arg) {
    (void)s;
    return arg ? mh_res_simple(req, 200, text("OK"), five, 1, text("four"))
               : mh_res_head(req, 200, text("OK"), five, 1, 4);
}

static inline int call_inform(stage *s, mh_req *req, int status) {
    (void)s;
    return mh_res_inform(req, status, NULL, 0);
}

static inline int call_wrong_inform(stage *s, mh_req *req, int arg) {
    const struct wrong_head *h = &wrong_heads[arg];
    (void)s;
    return mh_res_inform(req, 103, h->fields, h->n);
}

static inline int call_inform_length(stage *s, mh_req *req, int arg) {
    (void)s;
    (void)arg;
    return mh_res_inform(req, 103, five, 1);
}

static inline int call_write(stage *s, mh_req *req, int n) {
    (void)s;
    return mh_res_write(req, "x", (size_t)n);
}

static inline void come_back(void *user) { ((stage *)user)->done++; }

/* On error done is not called, but on MH_ERANGE it is; never inside the call (here() looks). */
static inline int call_writev(stage *s, mh_req *req, int n) {
    static const mh_str pieces[] = {TEXT("a"), TEXT(""), TEXT("bc")};
    int result = mh_res_writev(req, pieces, (size_t)n, come_back, s);
    if (result >= 0 || result == MH_ERANGE) s->owed++;
    return result;
}

static inline int call_end(stage *s, mh_req *req, int arg) {
    (void)s;
    (void)arg;
    return mh_res_end(req);
}

static inline int call_simple(stage *s, mh_req *req, int arg) {
    (void)s;
    (void)arg;
    return say(req, "wrong");
}

static inline int call_wrong_simple(stage *s, mh_req *req, int arg) {
    const struct wrong_head *h = &wrong_heads[arg];
    (void)s;
    return mh_res_simple(req, h->status, h->reason, h->fields, h->n, nothing);
}

static inline int call_read(stage *s, mh_req *req, int cap) {
    char c;
    (void)s;
    return mh_req_read(req, &c, (size_t)cap);
}

static inline int call_read_nowhere(stage *s, mh_req *req, int arg) {
    (void)s;
    (void)arg;
    return mh_req_read(req, NULL, 1);
}

static inline int call_abort(stage *s, mh_req *req, int arg) {
    (void)s;
    (void)arg;
    return mh_req_abort(req);
}

static inline int call_upgrade(stage *s, mh_req *req, int cap) {
    char buf[64];
    size_t n = (size_t)cap;
    (void)s;
    return mh_req_upgrade(req, cap ? buf : NULL, &n);
}

static inline int call_peer(stage *s, mh_req *req, int cap) {
    char host[64];
    uint16_t port = 7;
    (void)s;
    int result = mh_req_peer(req, host, (size_t)cap, &port);
    CHECK_INT(port, 7);
    return result;
}

static inline int call_local(stage *s, mh_req *req, int cap) {
    char host[64];
    uint16_t port = 7;
    (void)s;
    int result = mh_req_local(req, host, (size_t)cap, &port);
    CHECK_INT(port, 7);
    return result;
}

static inline int call_field(stage *s, mh_req *req, int past) {
    mh_str name, value;
    (void)s;
    return mh_req_field(req, mh_req_fields(req) + (size_t)past, &name, &value);
}

static inline int call_find(stage *s, mh_req *req, int n) {
    mh_str value;
    (void)s;
    return mh_req_find(req, "X-Absent", (size_t)n, &value);
}

/* ---- files ----------------------------------------------------------------------------------- */

static int watched_fd = -1;
static unsigned times_closed; /* of watched_fd */

/* In place of libc's: the library is linked statically. */
int close(int fd) {
    if (fd >= 0 && fd == watched_fd) times_closed++;
    return (int)syscall(SYS_close, fd);
}

enum file_fault { FAULTLESS, PIPE, PAST_END, NEGATIVE_OFFSET, NEGATIVE_LENGTH, NO_FD };

/* The fault, and over it a bit that says: owned. */
enum { OWNED = 8 };

static inline int call_file(stage *s, mh_req *req, int arg) {
    int fault = arg & (OWNED - 1), own = arg & OWNED, fds[2] = {-1, -1};
    (void)s;
    if (fault == PIPE) {
        if (pipe2(fds, O_CLOEXEC) < 0) abort();
    } else if (fault != NO_FD) {
        fds[0] = memfd_create("abc", MFD_CLOEXEC);
        if (fds[0] < 0 || write(fds[0], "abc", 3) != 3) abort();
    }
    watched_fd = fds[0];
    times_closed = 0;
    int64_t offset = fault == PAST_END ? 4 : fault == NEGATIVE_OFFSET ? -1 : 0;
    int result = mh_res_file(req, fds[0], offset, fault == NEGATIVE_LENGTH ? -2 : -1, own);
    CHECK_INT(times_closed, own && fds[0] >= 0); /* also on error, and once */
    watched_fd = -1;
    if (fds[0] >= 0 && !own) CHECK_INT(close(fds[0]), 0);
    if (fds[1] >= 0) close(fds[1]);
    return result;
}

/* ---- the list of them ------------------------------------------------------------------------ */

static const call single_calls[] = {
    {"mh_res_head", COL_HEAD, call_head, 0},
    {"mh_res_head, Content-Length 5 for 4", COL_HEAD_LENGTHS, call_lengths, 0},
    {"mh_res_simple, Content-Length 5 for 4", COL_HEAD_LENGTHS, call_lengths, 1},
    {"mh_res_inform", COL_INFORM, call_inform, 103},
    {"mh_res_inform, 99", COL_INFORM_WRONG, call_inform, 99},
    {"mh_res_inform, 101", COL_INFORM_WRONG, call_inform, 101},
    {"mh_res_inform, 200", COL_INFORM_WRONG, call_inform, 200},
    {"mh_res_inform, Content-Length", COL_INFORM_WRONG, call_inform_length, 0},
    {"mh_res_write", COL_WRITE, call_write, 1},
    {"mh_res_write, nothing", COL_WRITE_0, call_write, 0},
    {"mh_res_writev", COL_WRITEV, call_writev, 3},
    {"mh_res_writev, no pieces", COL_WRITEV_0, call_writev, 0},
    {"mh_res_file", COL_FILE, call_file, FAULTLESS},
    {"mh_res_file, owned", COL_FILE, call_file, FAULTLESS | OWNED},
    {"mh_res_file, a pipe", COL_FILE_WRONG, call_file, PIPE},
    {"mh_res_file, a pipe, owned", COL_FILE_WRONG, call_file, PIPE | OWNED},
    {"mh_res_file, past the end", COL_FILE_WRONG, call_file, PAST_END},
    {"mh_res_file, past the end, owned", COL_FILE_WRONG, call_file, PAST_END | OWNED},
    {"mh_res_file, offset -1", COL_FILE_WRONG, call_file, NEGATIVE_OFFSET},
    {"mh_res_file, offset -1, owned", COL_FILE_WRONG, call_file, NEGATIVE_OFFSET | OWNED},
    {"mh_res_file, length -2", COL_FILE_WRONG, call_file, NEGATIVE_LENGTH},
    {"mh_res_file, length -2, owned", COL_FILE_WRONG, call_file, NEGATIVE_LENGTH | OWNED},
    {"mh_res_file, no fd", COL_FILE_WRONG, call_file, NO_FD},
    {"mh_res_file, no fd, owned", COL_FILE_WRONG, call_file, NO_FD | OWNED},
    {"mh_res_end", COL_END, call_end, 0},
    {"mh_res_simple", COL_SIMPLE, call_simple, 0},
    {"mh_req_read", COL_READ, call_read, 1},
    {"mh_req_read, no room", COL_READ_WRONG, call_read, 0},
    {"mh_req_read, nowhere", COL_READ_WRONG, call_read_nowhere, 0},
    {"mh_req_abort", COL_ABORT, call_abort, 0},
    {"mh_req_upgrade", COL_UPGRADE, call_upgrade, 64},
    {"mh_req_upgrade, no room", COL_UPGRADE_SMALL, call_upgrade, 0},
    {"mh_req_upgrade, little room", COL_UPGRADE_SMALL, call_upgrade, 2},
    {"mh_req_peer, little room", COL_PEER_SMALL, call_peer, 45},
    {"mh_req_local, little room", COL_LOCAL_SMALL, call_local, 45},
    {"mh_req_field, one too far", COL_FIELD_ABSENT, call_field, 0},
    {"mh_req_field, far too far", COL_FIELD_ABSENT, call_field, 1 << 30},
    {"mh_req_find, no such field", COL_FIND_ABSENT, call_find, 8},
    {"mh_req_find, no name", COL_FIND_ABSENT, call_find, 0},
};

enum { SINGLE = sizeof single_calls / sizeof *single_calls, MANY = SINGLE + 3 * WRONG_HEADS };

static call calls[MANY];
static size_t n_calls;

/* Fills calls[]: the single ones, and each wrong head in each call that takes one. */
static inline void list_calls(void) {
    for (size_t i = 0; i < SINGLE; i++)
        calls[n_calls++] = single_calls[i];
    for (int i = 0; i < WRONG_HEADS; i++) {
        const struct wrong_head *h = &wrong_heads[i];
        calls[n_calls++] = (call){h->name, COL_HEAD_WRONG, call_wrong_head, i};
        if (h->length >= 0)
            calls[n_calls++] = (call){h->name, COL_SIMPLE_WRONG, call_wrong_simple, i};
        if (h->n > 0) calls[n_calls++] = (call){h->name, COL_INFORM_WRONG, call_wrong_inform, i};
    }
}

/* ---- what can be observed -------------------------------------------------------------------- */

typedef struct sight {
    size_t pending, blocks, bytes;
    uint64_t sent;
    int started, fds;
    uint32_t connections;
    void *user;
    unsigned begun, finished, readable, writable, hangups, done;
} sight;

static inline sight look(const stage *s, const mh_req *req) {
    const fix *f = &s->f;
    return (sight){.pending = mh_res_pending(req),
                   .blocks = s->mem.blocks,
                   .bytes = s->mem.bytes,
                   .sent = mh_res_sent(req),
                   .started = mh_res_started(req),
                   .fds = count_fds(),
                   .connections = mh_server_connections(f->srv),
                   .user = mh_req_user(req),
                   .begun = f->begun,
                   .finished = f->finished,
                   .readable = f->readable,
                   .writable = f->writable,
                   .hangups = f->hangups,
                   .done = s->done};
}

/* Memory may be taken by a call that queues an empty piece for its done callback. */
static inline void check_unchanged(sight a, sight b, bool memory_too) {
    CHECK_INT(b.pending, a.pending);
    CHECK_INT(b.sent, a.sent);
    CHECK_INT(b.started, a.started);
    CHECK_INT(b.fds, a.fds);
    CHECK_INT(b.connections, a.connections);
    CHECK(b.user == a.user);
    CHECK_INT(b.begun, a.begun);
    CHECK_INT(b.finished, a.finished);
    CHECK_INT(b.readable, a.readable);
    CHECK_INT(b.writable, a.writable);
    CHECK_INT(b.hangups, a.hangups);
    CHECK_INT(b.done, a.done);
    if (!memory_too) return;
    CHECK_INT(b.blocks, a.blocks);
    CHECK_INT(b.bytes, a.bytes);
}

/* ---- cells ----------------------------------------------------------------------------------- */

/* The cell of a state's row, or 0 if the row is too short. */
static inline char cell(const state *st, enum column column) {
    unsigned i = 0;
    for (const char *p = st->cells; *p; p++)
        if (*p != ' ' && i++ == column) return *p;
    return 0;
}

static inline int result_of(char letter) {
    static const struct {
        char letter;
        int result;
    } rows[] = {{'0', MH_OK},     {'A', MH_EAGAIN}, {'B', MH_EBODY},  {'C', MH_ECLOSED},
                {'E', MH_EOS},    {'I', MH_EINVAL}, {'N', MH_ENOENT}, {'R', MH_ERANGE},
                {'S', MH_ESTATE}, {'T', MH_ETOOBIG}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].letter == letter) return rows[i].result;
    abort(); /* no such cell */
}

/* The state is reached: makes the wrong calls of this play. */
static inline void here(fix *f, mh_req *req) {
    stage *s = stage_of(f);
    s->reached++;
    mh_req_set_user(req, s);
    for (size_t i = s->from; i < s->to; i++) {
        const call *c = &calls[i];
        char letter = cell(s->state, c->column);
        if (letter == '.') continue;
        int want = result_of(letter), failed = check_failed;
        check_failed = 0;
        sight before = look(s, req);
        CHECK_INT(c->make(s, req, c->arg), want);
        check_unchanged(before, look(s, req), want < 0 && want != MH_ERANGE);
        if (check_failed) CHECK_FAIL_("in the state \"%s\": %s", s->state->name, c->name);
        check_failed |= failed;
    }
}

/* ---- plays ----------------------------------------------------------------------------------- */

/* What came of a play. */
typedef struct outcome {
    char *bytes; /* all that the client got, with every Date masked */
    size_t n;
    bool eof, reset;
    int why;
    uint64_t sent;
    unsigned begun, finished, readable, writable, hangups;
} outcome;

static inline void mask_dates(char *p, size_t n) {
    static const char name[] = "\r\nDate: ";
    char *end = p + n;
    while ((p = memmem(p, (size_t)(end - p), name, sizeof name - 1)) && end - p > 38)
        p = (char *)memset(p + sizeof name - 1, '*', 29) + 29;
}

static inline bool is_over(stage *s) {
    unsigned n = s->state->exchanges ? s->state->exchanges : 1;
    if (s->p.fd >= 0) peer_pull(&s->p);
    return s->f.finished >= n;
}

static inline void open_stage(stage *s) {
    fix *f = &s->f;
    fix_init(f);
    failing_config(&s->mem, &f->loop_cfg);
    f->on_request = s->state->on_request;
    f->cfg.max_body = 32;
    f->cfg.high_water = 1 << 20;
    if (s->state->body_timeout) f->cfg.body_timeout = s->state->body_timeout;
    if (fix_open(f) < 0) abort();
    peer_unix(&s->p, f);
}

static inline outcome play(const state *st, size_t from, size_t to) {
    int fds = count_fds();
    stage *s = calloc(1, sizeof *s);
    fix *f = &s->f;
    *s = (stage){.state = st, .from = from, .to = to, .taken = -1};
    open_stage(s);
    peer_send(f, &s->p, st->request);
    settle(f);
    if (st->outside) st->outside(s);
    if (st->rest) peer_send(f, &s->p, st->rest);
    UNTIL(f, is_over(s));
    settle(f);
    if (s->p.fd >= 0) peer_pull(&s->p);
    CHECK_INT(s->reached, 1);
    CHECK_INT(s->done, s->owed);
    outcome o = {.n = s->p.n,
                 .eof = s->p.eof,
                 .reset = s->p.reset,
                 .why = f->why,
                 .sent = f->sent,
                 .begun = f->begun,
                 .finished = f->finished,
                 .readable = f->readable,
                 .writable = f->writable,
                 .hangups = f->hangups};
    o.bytes = s->p.in;
    s->p.in = NULL;
    if (o.n > 0) mask_dates(o.bytes, o.n);
    peer_close(&s->p);
    if (s->taken >= 0) close(s->taken);
    fix_close(f);
    CHECK_INT(s->mem.blocks, 0);
    CHECK_INT(count_fds(), fds);
    free(s);
    return o;
}

/* The play of st with the wrong calls from..to must come to what it comes to without any. */
static inline void check_play(const state *st, const outcome *want, size_t from, size_t to) {
    int failed = check_failed;
    check_failed = 0;
    outcome o = play(st, from, to);
    CHECK_INT(o.n, want->n);
    if (o.n == want->n && o.n > 0) CHECK(memcmp(o.bytes, want->bytes, o.n) == 0);
    CHECK_INT(o.eof, want->eof);
    CHECK_INT(o.reset, want->reset);
    CHECK_INT(o.why, want->why);
    CHECK_INT(o.sent, want->sent);
    CHECK_INT(o.begun, want->begun);
    CHECK_INT(o.finished, want->finished);
    CHECK_INT(o.readable, want->readable);
    CHECK_INT(o.writable, want->writable);
    CHECK_INT(o.hangups, want->hangups);
    free(o.bytes);
    if (check_failed)
        CHECK_FAIL_("the play of \"%s\" with %s%s", st->name, calls[from].name,
                    to - from > 1 ? " and all others" : "");
    check_failed |= failed;
}

#endif
