/* The wrong calls on an exchange of misuse.h, which includes this, and what they are made on. */
#ifndef MISUSE_CALLS_H
#define MISUSE_CALLS_H

#include "client.h"
#include "failing.h"

#include <sys/mman.h>

/* ---- states ---------------------------------------------------------------------------------- */

/* All requests are for it. */
#define PATH "/path"

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
    mh_static *dir; /* of the stage's loop */
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
    COL_STATIC,
    COL_STATIC_WRONG,
    COL_READ,
    COL_READ_WRONG,
    COL_ABORT,
    COL_UPGRADE,
    COL_UPGRADE_SMALL,
    COL_PEER_SMALL,
    COL_LOCAL_SMALL,
    COL_FD,
    COL_FIELD_ABSENT,
    COL_FIND_ABSENT,
    COL_BELOW_ABSENT,
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

static inline int call_fd(stage *s, mh_req *req, int arg) {
    (void)s;
    (void)arg;
    return mh_req_fd(req);
}

/* What a call that fails is not to put a view in the place of. */
static const mh_str untold = {"", 0};

static inline void check_untold(mh_str view) { CHECK(view.p == untold.p && view.n == untold.n); }

static inline int call_field(stage *s, mh_req *req, int past) {
    mh_str name = untold, value = untold;
    (void)s;
    int result = mh_req_field(req, mh_req_fields(req) + (size_t)past, &name, &value);
    check_untold(name);
    check_untold(value);
    return result;
}

static inline int call_find(stage *s, mh_req *req, int n) {
    mh_str value = untold;
    (void)s;
    int result = mh_req_find(req, "X-Absent", (size_t)n, &value);
    check_untold(value);
    return result;
}

static inline int call_below(stage *s, mh_req *req, int arg) {
    static const char *const prefixes[] = {"/other", "/pat", "/Path", PATH "/more"};
    const char *prefix = prefixes[arg];
    mh_str below = untold;
    (void)s;
    int result = mh_req_below(req, prefix, strlen(prefix), &below);
    check_untold(below);
    return result;
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

/* ---- directories ----------------------------------------------------------------------------- */

static mh_static *foreign; /* of another loop */

static inline int call_static(stage *s, mh_req *req, int named) {
    return mh_res_static(req, s->dir, named ? text("/a") : (mh_str){NULL, 0});
}

static inline int call_foreign_static(stage *s, mh_req *req, int named) {
    (void)s;
    return mh_res_static(req, foreign, named ? text("/a") : (mh_str){NULL, 0});
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
    {"mh_res_static", COL_STATIC, call_static, 1},
    {"mh_res_static, no path", COL_STATIC, call_static, 0},
    {"mh_res_static, of another loop", COL_STATIC_WRONG, call_foreign_static, 1},
    {"mh_res_static, of another loop, no path", COL_STATIC_WRONG, call_foreign_static, 0},
    {"mh_req_read", COL_READ, call_read, 1},
    {"mh_req_read, no room", COL_READ_WRONG, call_read, 0},
    {"mh_req_read, nowhere", COL_READ_WRONG, call_read_nowhere, 0},
    {"mh_req_abort", COL_ABORT, call_abort, 0},
    {"mh_req_upgrade", COL_UPGRADE, call_upgrade, 64},
    {"mh_req_upgrade, no room", COL_UPGRADE_SMALL, call_upgrade, 0},
    {"mh_req_upgrade, little room", COL_UPGRADE_SMALL, call_upgrade, 2},
    {"mh_req_peer, little room", COL_PEER_SMALL, call_peer, 45},
    {"mh_req_local, little room", COL_LOCAL_SMALL, call_local, 45},
    {"mh_req_fd", COL_FD, call_fd, 0},
    {"mh_req_field, one too far", COL_FIELD_ABSENT, call_field, 0},
    {"mh_req_field, far too far", COL_FIELD_ABSENT, call_field, 1 << 30},
    {"mh_req_find, no such field", COL_FIND_ABSENT, call_find, 8},
    {"mh_req_find, no name", COL_FIND_ABSENT, call_find, 0},
    {"mh_req_below, another's", COL_BELOW_ABSENT, call_below, 0},
    {"mh_req_below, the beginning of a segment", COL_BELOW_ABSENT, call_below, 1},
    {"mh_req_below, in another case", COL_BELOW_ABSENT, call_below, 2},
    {"mh_req_below, longer", COL_BELOW_ABSENT, call_below, 3},
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

#endif
