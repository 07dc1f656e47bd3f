/* From Python's answers to calls of the library. Heads come as one text with a newline between
 * its strings; the count that comes with it tells a newline of Python's from one inside a
 * string, so a header can't be smuggled in. All other checks of a head are the library's. */
#include "mhpy.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* The request called name, and its slot; NULL if it has finished. */
static mh_req *find(mhpy *hub, int64_t name, mhpy__slot **slot) {
    if (!hub) return NULL;
    *slot = mhpy__name_find(&hub->requests, name);
    return *slot ? (*slot)->thing : NULL;
}

typedef mhpy__head head;

/* "200 OK": three digits, then the end or a space and the reason (PEP 3333, start_response). */
static bool read_status(head *out, mh_str s) {
    if (s.n < 3) return false;
    out->status = 0;
    for (const char *p = s.p; p < s.p + 3; p++) {
        if (*p < '0' || *p > '9') return false;
        out->status = out->status * 10 + (*p - '0');
    }
    if (s.n > 3 && s.p[3] != ' ') return false;
    out->reason = s.n > 4 ? (mh_str){s.p + 4, s.n - 4} : (mh_str){"", 0};
    return true;
}

/* Takes text apart into strings, which has room for as many as there should be pieces. */
static bool read_head(head *out, mh_str *strings, const char *text, size_t n, size_t pieces) {
    const char *p = text, *end = text + n;
    if (pieces % 2 == 0) return false;
    for (size_t i = 0; i < pieces; i++) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        if (!stop != (i == pieces - 1)) return false;
        if (!stop) stop = end;
        strings[i] = (mh_str){p, (size_t)(stop - p)};
        p = stop + 1;
    }
    if (!read_status(out, strings[0])) return false;
    out->fields = strings + 1;
    out->n = pieces / 2;
    return true;
}

/* A response about to be sent: whose, and its head. */
typedef struct response {
    mhpy__slot *slot;
    mh_req *req;
    head head;
} response;

/* Finds the request called name and takes text apart, into the hub's scratch. */
static int begin(response *out, mhpy *hub, int64_t name, const char *text, size_t n,
                 size_t pieces) {
    out->req = find(hub, name, &out->slot);
    if (!out->req) return MH_ECLOSED;
    if (pieces > hub->fields_cap &&
        !mhpy__grow((void **)&hub->fields, &hub->fields_cap, pieces, sizeof *hub->fields)) {
        return MH_ENOMEM;
    }
    return read_head(&out->head, hub->fields, text, n, pieces) ? MH_OK : MH_EINVAL;
}

/* "proxy-authenticate" and its like affect no connection, and C hosts may send them; but an
 * application may not (PEP 3333, "Other HTTP Features"). */
static bool is_pep_hop_by_hop(mh_str name) {
    static const char *const names[] = {"trailers", "proxy-authenticate", "proxy-authorization"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (name.n == strlen(names[i]) && strncasecmp(name.p, names[i], name.n) == 0) return true;
    }
    return false;
}

int mhpy_check(const char *text, size_t n, size_t pieces) {
    mh_str few[64], *strings = few;
    if (pieces > n + 1) return MH_EINVAL; /* even empty strings take newlines */
    if (pieces > sizeof few / sizeof *few && !(strings = calloc(pieces, sizeof *strings)))
        return MH_ENOMEM;
    head h;
    int rc = MH_EINVAL;
    if (read_head(&h, strings, text, n, pieces)) {
        rc = mh_res_check(h.status, h.reason, h.fields, h.n);
        for (size_t i = 0; i < h.n && rc == MH_OK; i++)
            if (is_pep_hop_by_hop(h.fields[2 * i])) rc = MH_EINVAL;
    }
    if (strings != few) free(strings);
    return rc;
}

/* The Content-Length among the fields, which have been checked; MH_LENGTH_UNKNOWN if there is
 * none. */
static int64_t announced(const head *h) {
    static const char name[] = "content-length";
    for (size_t i = 0; i < h->n; i++) {
        mh_str s = h->fields[2 * i], value = h->fields[2 * i + 1];
        if (s.n != sizeof name - 1 || strncasecmp(s.p, name, s.n) != 0) continue;
        int64_t length = 0;
        for (size_t k = 0; k < value.n; k++) {
            if (__builtin_mul_overflow(length, 10, &length)) return MH_LENGTH_UNKNOWN;
            if (__builtin_add_overflow(length, value.p[k] - '0', &length)) return MH_LENGTH_UNKNOWN;
        }
        return length;
    }
    return MH_LENGTH_UNKNOWN;
}

mhpy_made *mhpy_make(const char *text, size_t n, size_t pieces) {
    if (pieces > n) return NULL; /* even empty strings take newlines; nothing below overflows */
    mhpy_made *made = malloc(sizeof *made + pieces * sizeof made->strings[0] + n);
    if (!made) return NULL;
    char *copy = (char *)(made->strings + pieces);
    memcpy(copy, text, n);
    if (!read_head(&made->head, made->strings, copy, n, pieces)) {
        free(made);
        return NULL;
    }
    made->length = announced(&made->head);
    made->users = 1;
    return made;
}

void mhpy_unmake(mhpy_made *made) {
    if (made && atomic_fetch_sub_explicit(&made->users, 1, memory_order_acq_rel) == 1) free(made);
}

/* Sends all there is, or what is due. What it finds is told by events, or by the next step. */
static void flush(mhpy *hub, int now) {
    if (now) {
        mh_loop_flush(hub->loop);
    } else {
        mh_loop_flush_due(hub->loop);
    }
}

/* A response of which the head has gone and the rest can't follow. */
static int break_off(mh_req *req, int rc) {
    mh_req_abort(req);
    return rc;
}

/* Head, body, end, where mh_res_simple does not serve: a body that is not copied, or of another
 * length than the head says. */
static int send_parts(mh_req *req, const head *h, int64_t length, mh_str body, bool borrow) {
    int rc = mh_res_head(req, h->status, h->reason, h->fields, h->n, length);
    if (rc < 0) return rc;
    int written = MH_OK;
    if (body.n) {
        written =
            borrow ? mh_res_writev(req, &body, 1, NULL, NULL) : mh_res_write(req, body.p, body.n);
    }
    if (written < 0 && written != MH_ERANGE) return break_off(req, written);
    rc = mh_res_end(req);
    return rc < 0 ? rc : written;
}

static bool is_head(const mh_req *req) {
    mh_str method = mh_req_method(req);
    return method.n == 4 && memcmp(method.p, "HEAD", 4) == 0;
}

int mhpy__answer(mhpy *hub, mh_req *req, const head *h, mh_str body, int how) {
    bool borrow = (how & MHPY_BORROW) != 0;
    int rc;
    if (body.n == 0 && is_head(req)) {
        /* The length of what a GET would get is the app's to say: nothing here is no 0 (RFC 9110
         * 9.3.2). */
        rc = send_parts(req, h, MH_LENGTH_UNKNOWN, body, false);
    } else if (borrow) {
        rc = send_parts(req, h, (int64_t)body.n, body, true);
    } else {
        rc = mh_res_simple(req, h->status, h->reason, h->fields, h->n, body);
    }
    /* The head itself may be at fault, or only its Content-Length be another than the body's. */
    if (rc == MH_EINVAL) rc = send_parts(req, h, MH_LENGTH_UNKNOWN, body, borrow);
    flush(hub, how & MHPY_NOW);
    return rc == MH_FULL ? MH_OK : rc;
}

int mhpy_answer_made(mhpy *hub, uint32_t slot_number, uint32_t gen, const mhpy_made *made,
                     const char *body, size_t body_n) {
    mhpy__slot *slot;
    mh_req *req = find(hub, (int64_t)((uint64_t)gen << 32 | slot_number), &slot);
    if (!req) return MH_ECLOSED;
    return mhpy__answer(hub, req, &made->head, (mh_str){body, body_n}, 0);
}

int mhpy_answer(mhpy *hub, int64_t name, const char *head_text, size_t head_n, size_t pieces,
                const char *body, size_t body_n, int how) {
    response r;
    int rc = begin(&r, hub, name, head_text, head_n, pieces);
    if (rc < 0) return rc;
    if ((how & MHPY_BORROW) && body_n) r.slot->want |= MHPY__WANT_KEPT;
    return mhpy__answer(hub, r.req, &r.head, (mh_str){body, body_n}, how);
}

int64_t mhpy__file_rest(int fd, int64_t offset) {
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || (flags & (O_PATH | O_DIRECT)) || (flags & O_ACCMODE) == O_WRONLY) return 0;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) return 0;
    /* A file of sysfs has a size of 4096 and hardly ever so many bytes. */
    if (st.st_blocks == 0 || offset < 0 || offset >= st.st_size) return 0;
    return st.st_size - offset;
}

int mhpy__send_file(mh_req *req, const head *h, int fd, int64_t offset, int64_t rest) {
    /* 304 has no body, and its length is another response's (RFC 9110 8.6). */
    int64_t length = h->status == 304 ? MH_LENGTH_UNKNOWN : rest;
    int rc = mh_res_head(req, h->status, h->reason, h->fields, h->n, length);
    /* The head itself may be at fault, or only its Content-Length be another. */
    if (rc == MH_EINVAL)
        rc = mh_res_head(req, h->status, h->reason, h->fields, h->n, MH_LENGTH_UNKNOWN);
    if (rc < 0) {
        close(fd);
        return rc;
    }
    rc = mh_res_file(req, fd, offset, rest, 1);
    if (rc == MH_EINVAL) return break_off(req, MH_ERANGE); /* it has become shorter than offset */
    /* It may be longer than the head's length, which is what is meant. */
    if (rc < 0 && rc != MH_ERANGE) return break_off(req, rc);
    return mh_res_end(req);
}

int mhpy_file(mhpy *hub, int64_t name, const char *head_text, size_t head_n, size_t pieces, int fd,
              int64_t offset) {
    response r;
    int rc = begin(&r, hub, name, head_text, head_n, pieces);
    if (rc < 0) return rc;
    int64_t rest = mhpy__file_rest(fd, offset);
    int copy = rest > 0 ? fcntl(fd, F_DUPFD_CLOEXEC, 0) : -1;
    if (copy < 0) return MHPY_NO_FILE;
    r.slot->want |= MHPY__WANT_KEPT;
    rc = mhpy__send_file(r.req, &r.head, copy, offset, rest);
    flush(hub, 0);
    return rc;
}

int mhpy_inform(mhpy *hub, int64_t name, const char *head_text, size_t head_n, size_t pieces) {
    response r;
    int rc = begin(&r, hub, name, head_text, head_n, pieces);
    if (rc < 0) return rc;
    rc = mh_res_inform(r.req, r.head.status, r.head.fields, r.head.n);
    flush(hub, 1);
    return rc;
}

int mhpy_head(mhpy *hub, int64_t name, const char *head_text, size_t head_n, size_t pieces) {
    response r;
    int rc = begin(&r, hub, name, head_text, head_n, pieces);
    if (rc < 0) return rc;
    const head *h = &r.head;
    rc = mh_res_head(r.req, h->status, h->reason, h->fields, h->n, MH_LENGTH_UNKNOWN);
    if (rc < 0) return rc;
    r.slot->want |= MHPY__WANT_STREAM;
    return is_head(r.req) || h->status == 204 || h->status == 304 ? MHPY_BODYLESS : MH_OK;
}

int mhpy_write(mhpy *hub, int64_t name, const char *body, size_t body_n, int now) {
    mhpy__slot *slot;
    mh_req *req = find(hub, name, &slot);
    if (!req) return MH_ECLOSED;
    int rc = mh_res_write(req, body, body_n);
    flush(hub, now);
    return rc < 0 || find(hub, name, &slot) ? rc : MH_ECLOSED; /* which the flush may have found */
}

typedef struct loan {
    mhpy *hub;
    int64_t name;
} loan;

/* What was lent has left, or is dropped. */
static void on_left(void *user) {
    loan *l = user;
    mhpy__slot *slot = mhpy__name_find(&l->hub->requests, l->name);
    if (slot) {
        if (slot->loan == MHPY__LOAN_AWAITED)
            mhpy__event(&l->hub->ev, MHPY_RETURNED, l->name, 0, 0);
        slot->loan = MHPY__LOAN_NONE;
    }
    free(l);
}

int mhpy_lend(mhpy *hub, int64_t name, const char *body, size_t body_n) {
    mhpy__slot *slot;
    mh_req *req = find(hub, name, &slot);
    if (!req) return MH_ECLOSED;
    if (slot->loan != MHPY__LOAN_NONE) return MH_ESTATE;
    loan *l = malloc(sizeof *l);
    if (!l) return MH_ENOMEM;
    *l = (loan){hub, name};
    slot->loan = MHPY__LOAN_MADE;
    const mh_str piece = {body, body_n};
    int rc = mh_res_writev(req, &piece, 1, on_left, l);
    if (rc < 0 && rc != MH_ERANGE) {
        slot->loan = MHPY__LOAN_NONE;
        free(l);
        return rc;
    }
    if (rc == MH_ERANGE) slot->want |= MHPY__WANT_KEPT;
    mh_loop_flush(hub->loop);
    if (rc == MH_ERANGE) return rc;
    if (!find(hub, name, &slot)) return MH_ECLOSED;
    if (slot->loan == MHPY__LOAN_NONE) return MH_OK;
    slot->loan = MHPY__LOAN_AWAITED;
    return MH_FULL;
}

int mhpy_end(mhpy *hub, int64_t name, int now) {
    mhpy__slot *slot;
    mh_req *req = find(hub, name, &slot);
    if (!req) return MH_ECLOSED;
    slot->want &= (uint8_t)~MHPY__WANT_STREAM;
    int rc = mh_res_end(req);
    flush(hub, now);
    return rc;
}

int mhpy_close(mhpy *hub, int64_t name) {
    mhpy__slot *slot;
    mh_req *req = find(hub, name, &slot);
    if (!req) return MH_ECLOSED;
    mh_req_close(req);
    return MH_OK;
}

int mhpy_abort(mhpy *hub, int64_t name) {
    mhpy__slot *slot;
    mh_req *req = find(hub, name, &slot);
    return req ? mh_req_abort(req) : MH_ECLOSED;
}

int mhpy_keep(mhpy *hub, int64_t name) {
    mhpy__slot *slot;
    if (!find(hub, name, &slot)) return MH_ECLOSED;
    slot->want |= MHPY__WANT_KEPT;
    return MH_OK;
}

int mhpy_wait(mhpy *hub, int64_t name) {
    mhpy__slot *slot;
    mh_req *req = find(hub, name, &slot);
    if (!req) return MH_ECLOSED;
    if (!(slot->want & MHPY__WANT_HANGUP)) mh_req_trim(req); /* Python has its head */
    slot->want |= MHPY__WANT_KEPT | MHPY__WANT_HANGUP;
    return slot->hung_up ? MH_ECLOSED : MH_OK;
}

int mhpy_fd(mhpy *hub, int64_t name) {
    mhpy__slot *slot;
    const mh_req *req = find(hub, name, &slot);
    return req ? mh_req_fd(req) : MH_ECLOSED;
}

int mhpy_upgrade(mhpy *hub, int64_t name, char *buf, size_t *n) {
    mhpy__slot *slot;
    mh_req *req = find(hub, name, &slot);
    if (!req) return MH_ECLOSED;
    size_t cap = *n;
    int rc = mh_req_upgrade(req, buf, n);
    if (rc != MH_EAGAIN) return rc;
    mh_loop_flush(hub->loop); /* which may end requests */
    req = find(hub, name, &slot);
    *n = cap;
    return req ? mh_req_upgrade(req, buf, n) : MH_ECLOSED;
}

int64_t mhpy_read(mhpy *hub, int64_t name, char *buf, size_t cap, int whole) {
    mhpy__slot *slot;
    mh_req *req = find(hub, name, &slot);
    if (!req) return MH_ECLOSED;
    size_t n = 0;
    int state = MHPY_READ_FULL;
    while (n < cap && state == MHPY_READ_FULL) {
        int rc = mh_req_read(req, buf + n, cap - n);
        if (rc > 0) n += (size_t)rc;
        if (rc == MH_EAGAIN) {
            slot->want |= MHPY__WANT_BODY;
            state = MHPY_READ_WAIT;
        } else if (rc == MH_EOS || (rc > 0 && mh_req_complete(req))) {
            slot->want &= (uint8_t)~MHPY__WANT_BODY;
            state = MHPY_READ_END;
        } else if (rc < 0) {
            slot->want &= (uint8_t)~MHPY__WANT_BODY;
            return rc;
        } else if (!whole) {
            break;
        }
    }
    return (int64_t)n << 2 | state;
}
