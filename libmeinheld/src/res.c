/* The response's side of an exchange: what the host pushes becomes bytes on the connection's queue.
 * Body framing, Connection, Date and Server are decided here, so that a host can't get them wrong
 * (RFC 9112 6, 9). */
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conn.h"
#include "head.h"

enum { CHUNK_LINE = 18 /* 16 hex digits and CRLF */ };

static const char crlf[] = "\r\n", last_chunk[] = "0\r\n\r\n";

/* Why a call can't be taken in the response's state, or MH_OK. */
static int check(const mh_req *req, enum mh__res_state state) {
    if (!req->conn || req->conn->doomed) return MH_ECLOSED;
    return req->res == state ? MH_OK : MH_ESTATE;
}

static int fail(mh_req *req, int error) {
    mh__conn_doom(req->conn, MH_FINISH_ABORTED, true);
    return error;
}

/* After something was queued: MH_FULL if the host should wait. */
static int queued(mh_req *req) {
    mh__conn_written(req->conn);
    if (mh__outq_pending(&req->conn->out) < req->srv->cfg.high_water) return MH_OK;
    req->full = true;
    return MH_FULL;
}

/* ---- the head -------------------------------------------------------------------------------- */

/* How the body will be framed: fills extra, and what req remembers of it. */
static int plan_body(mh_req *req, const mh__head_plan *plan, int64_t length,
                     mh__head_extra *extra) {
    if (plan->has_length) {
        if (length >= 0 && length != plan->length && !req->is_head && plan->status != 304)
            return MH_EINVAL;
        length = plan->length;
    }
    bool silent = plan->status == 204 || (plan->status == 304 && !plan->has_length);
    bool bodyless = req->is_head || plan->status == 204 || plan->status == 304;
    bool chunked = !bodyless && length < 0 && req->head.minor > 0;
    extra->frame = MH__FRAME_NONE;
    if (chunked) {
        extra->frame = MH__FRAME_CHUNKED;
    } else if (length >= 0 && !silent) {
        extra->frame = MH__FRAME_LENGTH;
        extra->length = (uint64_t)length;
    }
    req->bodyless = bodyless;
    req->res_chunked = chunked;
    req->res_counted = !bodyless && length >= 0;
    req->res_left = req->res_counted ? (uint64_t)length : 0;
    return MH_OK;
}

/* Whether the connection survives this exchange, decided when its head is sent (RFC 9112 9.3). */
static void plan_connection(mh_req *req, mh__head_extra *extra) {
    mh__conn *c = req->conn;
    const mh_server *srv = req->srv;
    bool delimited = req->bodyless || req->res_chunked || req->res_counted;
    bool keep = req->framing.keep_alive && delimited && !c->last && !srv->draining &&
                srv->cfg.keepalive_timeout > 0 && mh__req_body_reusable(req);
    if (!keep) {
        c->last = true;
        /* A client that did not ask for it may be sending its next request already. */
        if (req->framing.keep_alive || !req->body_done) c->linger = true;
        extra->connection = MH__CONNECTION_CLOSE;
    } else {
        extra->connection =
            req->head.minor == 0 ? MH__CONNECTION_KEEP_ALIVE : MH__CONNECTION_SILENT;
    }
}

static bool status_is_final(int status) { return status >= 200 && status <= 999; }

/* Checks and queues the head, with room for n bytes of body behind it in one piece; *p is that
 * room. */
static int start(mh_req *req, int status, mh_str reason, const mh_str *fields, size_t n_fields,
                 int64_t length, size_t n, char **p) {
    int error = check(req, MH__RES_NONE);
    if (error < 0) return error;
    if (!status_is_final(status) || length < MH_LENGTH_UNKNOWN) return MH_EINVAL;
    mh_server *srv = req->srv;
    mh__conn *c = req->conn;
    if (reason.n == 0) reason = mh__reason(status);
    mh__head_plan plan = {.status = status, .reason = reason, .fields = fields, .n = n_fields};
    error = mh__head_check(&plan, srv->server_field.n);
    if (error < 0) return error;
    mh__head_extra extra = {0};
    if (!plan.has_date) extra.date = mh__server_date(srv);
    if (!plan.has_server) extra.server = srv->server_field;
    error = plan_body(req, &plan, length, &extra);
    if (error < 0) return error;
    char *at = mh__outq_reserve(&srv->out, &c->out, plan.size + n);
    if (!at) return MH_ENOMEM;
    plan_connection(req, &extra);
    size_t size = mh__head_write(at, &plan, &extra);
    mh__outq_commit(&c->out, size);
    req->res = MH__RES_OPEN;
    req->status = (uint16_t)status;
    req->continued =
        true; /* never after a final status: what comes now is decided by mh__req_body_reusable */
    req->body_at = c->out.queued;
    if (p) *p = at + size;
    return MH_OK;
}

int mh_res_head(mh_req *req, int status, mh_str reason, const mh_str *fields, size_t n,
                int64_t length) {
    int error = start(req, status, reason, fields, n, length, 0, NULL);
    if (error < 0) return error;
    mh__conn_written(req->conn);
    return MH_OK;
}

int mh_res_check(int status, mh_str reason, const mh_str *fields, size_t n) {
    mh__head_plan plan = {.status = status, .reason = reason, .fields = fields, .n = n};
    return status_is_final(status) ? mh__head_check(&plan, 0) : MH_EINVAL;
}

int mh_res_inform(mh_req *req, int status, const mh_str *fields, size_t n) {
    int error = check(req, MH__RES_NONE);
    if (error < 0) return error;
    if (status < 100 || status > 199 || status == 101) return MH_EINVAL;
    mh__head_plan plan = {.status = status, .reason = mh__reason(status), .fields = fields, .n = n};
    error = mh__head_check(&plan, 0);
    if (error < 0) return error;
    if (plan.has_length) return MH_EINVAL;  /* RFC 9110 8.6 */
    if (req->head.minor == 0) return MH_OK; /* RFC 9110 15.2 */
    char *p = mh__outq_reserve(&req->srv->out, &req->conn->out, plan.size);
    if (!p) return MH_ENOMEM;
    const mh__head_extra extra = {.frame = MH__FRAME_NONE, .connection = MH__CONNECTION_SILENT};
    mh__outq_commit(&req->conn->out, mh__head_write(p, &plan, &extra));
    if (status == 100) req->continued = true;
    mh__conn_written(req->conn);
    return MH_OK;
}

/* ---- the body -------------------------------------------------------------------------------- */

/* How much of n body bytes may be queued; what is over is reported in *error. */
static uint64_t admit(mh_req *req, uint64_t n, int *error) {
    *error = MH_OK;
    if (req->bodyless) return 0;
    if (!req->res_counted) return n;
    if (n > req->res_left) {
        n = req->res_left;
        *error = MH_ERANGE;
    }
    return n;
}

static size_t chunk_line(char *p, uint64_t n) {
    static const char digits[] = "0123456789abcdef";
    char *start_at = p;
    int shift = 60;
    while (shift > 0 && n >> shift == 0)
        shift -= 4;
    for (; shift >= 0; shift -= 4)
        *p++ = digits[(n >> shift) & 15];
    *p++ = '\r';
    *p++ = '\n';
    return (size_t)(p - start_at);
}

/* Queues the line before a chunk of n bytes that is not copied. */
static int open_chunk(mh_req *req, uint64_t n) {
    char line[CHUNK_LINE];
    if (!req->res_chunked) return MH_OK;
    return mh__outq_copy(&req->srv->out, &req->conn->out, line, chunk_line(line, n));
}

/* Its line is queued: without the rest the response is broken. */
static int close_chunk(mh_req *req) {
    if (!req->res_chunked) return MH_OK;
    if (mh__outq_copy(&req->srv->out, &req->conn->out, crlf, 2) < 0) return fail(req, MH_ENOMEM);
    return MH_OK;
}

/* Counts n bytes as given. */
static void given(mh_req *req, uint64_t n) {
    if (req->res_counted) req->res_left -= n;
}

int mh_res_write(mh_req *req, const void *p, size_t n) {
    int error = check(req, MH__RES_OPEN), over;
    if (error < 0) return error;
    n = (size_t)admit(req, n, &over);
    if (n == 0) return over;
    mh__outq *out = &req->conn->out;
    char *at = mh__outq_reserve(&req->srv->out, out, n + (req->res_chunked ? CHUNK_LINE + 2 : 0));
    if (!at) return MH_ENOMEM;
    size_t line = req->res_chunked ? chunk_line(at, n) : 0, end = 0;
    memcpy(at + line, p, n);
    if (req->res_chunked) {
        memcpy(at + line + n, crlf, 2);
        end = 2;
    }
    mh__outq_commit(out, line + n + end);
    given(req, n);
    int result = queued(req);
    return over < 0 ? over : result;
}

static uint64_t total(const mh_str *pieces, size_t n) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += pieces[i].n;
    return sum;
}

int mh_res_writev(mh_req *req, const mh_str *pieces, size_t n, mh_done_cb done, void *user) {
    int error = check(req, MH__RES_OPEN), over;
    if (error < 0) return error;
    uint64_t all = total(pieces, n), take = admit(req, all, &over);
    mh__outq_env *env = &req->srv->out;
    mh__outq *out = &req->conn->out;
    const mh_str none = {"", 0};
    if (take == 0) { /* nothing to send, but done is still owed, in its order */
        error = mh__outq_borrow(env, out, &none, 1, done, user);
        if (error == MH_OK) mh__conn_written(req->conn);
        return error < 0 ? error : over;
    }
    error = open_chunk(req, take);
    if (error < 0) return error;
    if (take == all) {
        error = mh__outq_borrow(env, out, pieces, n, done, user);
    } else { /* cut: whole pieces, then part of one, which carries done */
        size_t i = 0;
        uint64_t left = take;
        while (left > pieces[i].n)
            left -= pieces[i++].n;
        const mh_str part = {pieces[i].p, (size_t)left};
        if (i > 0) error = mh__outq_borrow(env, out, pieces, i, NULL, NULL);
        if (error == MH_OK) error = mh__outq_borrow(env, out, &part, 1, done, user);
    }
    if (error < 0) return fail(req, error);
    given(req, take);
    error = close_chunk(req);
    if (error < 0)
        return MH_OK; /* doomed; but done will be called, so this is no failure of the call */
    int result = queued(req);
    return over < 0 ? over : result;
}

/* The number of bytes that a file piece has, or an error. */
static int64_t file_length(int fd, int64_t offset, int64_t len) {
    struct stat st;
    if (offset < 0 || len < -1) return MH_EINVAL;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || offset > st.st_size) return MH_EINVAL;
    return len < 0 ? st.st_size - offset : len;
}

static int queue_file(mh_req *req, int fd, int64_t offset, int64_t len, int own) {
    int error = check(req, MH__RES_OPEN), over;
    if (error < 0) return error;
    int64_t all = file_length(fd, offset, len);
    if (all < 0) return (int)all;
    uint64_t take = admit(req, (uint64_t)all, &over);
    if (take == 0) {
        if (own) close(fd);
        return over;
    }
    error = open_chunk(req, take);
    if (error < 0) return error;
    if (mh__outq_file(&req->srv->out, &req->conn->out, fd, offset, take, own != 0) < 0)
        return fail(req, MH_ENOMEM);
    given(req, take);
    if (close_chunk(req) < 0) return MH_OK; /* doomed, and the queue has taken the file */
    int result = queued(req);
    return over < 0 ? over : result;
}

int mh_res_file(mh_req *req, int fd, int64_t offset, int64_t len, int own) {
    int result = queue_file(req, fd, offset, len, own);
    if (result < 0 && result != MH_ERANGE && own) close(fd);
    return result;
}

/* ---- the end --------------------------------------------------------------------------------- */

int mh_res_end(mh_req *req) {
    int error = check(req, MH__RES_OPEN);
    if (error < 0) return error;
    if (req->res_counted && req->res_left > 0) return fail(req, MH_ERANGE);
    if (req->res_chunked) {
        error = mh__outq_copy(&req->srv->out, &req->conn->out, last_chunk, sizeof last_chunk - 1);
        if (error < 0) return fail(req, error);
    }
    req->res = MH__RES_ENDED;
    mh__conn_answered(req->conn);
    return MH_OK;
}

int mh_res_simple(mh_req *req, int status, mh_str reason, const mh_str *fields, size_t n,
                  mh_str body) {
    char *p;
    int error = start(req, status, reason, fields, n, (int64_t)body.n, body.n, &p);
    if (error < 0) return error;
    if (req->res_counted && body.n > 0) {
        memcpy(p, body.p, body.n);
        mh__outq_commit(&req->conn->out, body.n);
    }
    req->res = MH__RES_ENDED;
    mh__conn_answered(req->conn);
    return MH_OK;
}

size_t mh_res_pending(const mh_req *req) {
    return req->conn ? (size_t)mh__outq_pending(&req->conn->out) : 0;
}

uint64_t mh_res_sent(const mh_req *req) {
    if (!req->conn || req->conn->state == MH__CONN_CLOSED) return req->sent;
    if (req->res == MH__RES_NONE) return 0;
    uint64_t sent = req->conn->out.sent;
    if (req->res == MH__RES_ENDED && sent > req->end_at) sent = req->end_at;
    return sent > req->body_at ? sent - req->body_at : 0;
}

int mh_res_started(const mh_req *req) { return req->res != MH__RES_NONE; }

int mh_res_status(const mh_req *req) { return req->status; }

/* ---- refusing -------------------------------------------------------------------------------- */

void mh__res_refuse(mh__conn *c, int status, bool is_head) {
    mh_server *srv = c->srv;
    mh_str reason = mh__reason(status);
    static const char name[] = "Content-Type", type[] = "text/plain";
    const mh_str fields[] = {{name, sizeof name - 1}, {type, sizeof type - 1}};
    mh__head_plan plan = {.status = status, .reason = reason, .fields = fields, .n = 1};
    mh__head_extra extra = {.date = mh__server_date(srv),
                            .server = srv->server_field,
                            .frame = MH__FRAME_LENGTH,
                            .length = reason.n + 1,
                            .connection = MH__CONNECTION_CLOSE};
    if (mh__head_check(&plan, srv->server_field.n) < 0) return;
    char *p = mh__outq_reserve(&srv->out, &c->out, plan.size + reason.n + 1);
    if (!p) return;
    size_t n = mh__head_write(p, &plan, &extra);
    c->refused = (uint16_t)status;
    c->refused_at = c->out.queued + n;
    if (!is_head) {
        memcpy(p + n, reason.p, reason.n);
        n += reason.n;
        p[n++] = '\n';
    }
    mh__outq_commit(&c->out, n);
}
