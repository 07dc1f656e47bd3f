/* The request's body, as the host pulls it: of known length, straight from the socket into the
 * host's memory where nothing has been read ahead; chunked, decoded on the way. A body that ends
 * early or breaks the rules is an error that stays, never a short end (docs/http.md, row 32). */
#include <limits.h>
#include <string.h>

#include "conn.h"

static int body_fails(mh_req *req, int error) {
    req->body_error = error;
    if (req->conn) req->conn->last = req->conn->linger = true;
    return error;
}

/* Body bytes of known length: from what was read with the head, then straight from the socket. */
static int read_length(mh_req *req, char *buf, size_t cap) {
    mh__conn *c = req->conn;
    uint32_t there = mh__input_n(&c->in);
    if (cap > req->body_left) cap = (size_t)req->body_left;
    if (there > 0) {
        if (cap > there) cap = there;
        memcpy(buf, mh__input_at(&c->in), cap);
        c->in.pos += (uint32_t)cap;
    } else {
        ssize_t got = mh__conn_recv(c, buf, cap);
        if (got == MH_ECLOSED) return body_fails(req, MH_ECLOSED);
        if (got < 0) return (int)got;
        cap = (size_t)got;
    }
    req->body_left -= cap;
    req->body_done = req->body_left == 0;
    return (int)cap;
}

/* Reads more of a chunked body into c->in, whose bytes have all been decoded. */
static int refill(mh_req *req) {
    mh__conn *c = req->conn;
    if (!mh__input_reserve(&req->srv->bufs, &c->in, 4096)) return body_fails(req, MH_ENOMEM);
    ssize_t got = mh__conn_recv(c, c->in.buf->data + c->in.end, mh__input_room(&c->in));
    if (got == MH_ECLOSED) return body_fails(req, MH_ECLOSED);
    if (got < 0) return (int)got;
    c->in.end += (uint32_t)got;
    return MH_OK;
}

/* Decoded bytes: of the next chunks, as far as they have come, and only then from the socket. What
 * follows them, the end or an error, is told by the next call. */
static int read_chunked(mh_req *req, char *buf, size_t cap) {
    mh__conn *c = req->conn;
    size_t done = 0;
    while (done < cap) {
        if (mh__input_n(&c->in) == 0) {
            if (done > 0) break;
            int error = refill(req);
            if (error < 0) return error;
        }
        const char *p = mh__input_at(&c->in), *at = p, *data;
        uint64_t room = req->srv->cfg.max_body - req->body_taken - done;
        size_t n;
        int result = mh__chunked_next(&req->chunked, &at, p + mh__input_n(&c->in), cap - done,
                                      &data, &n, &req->srv->chunk_limits);
        c->in.pos += (uint32_t)(at - p);
        int error = MH_OK;
        switch (result) {
        case MH__CHUNKED_MORE:
            break;
        case MH__CHUNKED_END:
            req->body_done = true;
            error = MH_EOS;
            break;
        case MH__CHUNKED_DATA:
            /* A chunk that announces too much is refused by its announcement. */
            if (n > room || req->chunked.left > room - n) {
                error = body_fails(req, MH_ETOOBIG);
                break;
            }
            if (buf) memcpy(buf + done, data, n);
            done += n;
            break;
        default:
            error = body_fails(req, MH_EBODY);
        }
        if (error < 0) return done > 0 ? (int)done : error;
    }
    return (int)done;
}

/* buf NULL is for dropping a chunked body; one of known length needs scratch. */
static int read_body(mh_req *req, char *buf, size_t cap) {
    if (req->body_done) return MH_EOS;
    if (req->body_error) return req->body_error;
    bool chunked = req->framing.body == MH__BODY_CHUNKED;
    int got = chunked ? read_chunked(req, buf, cap) : read_length(req, buf, cap);
    if (got > 0) {
        req->body_taken += (uint64_t)got;
        req->continued = true; /* it has begun without being told to */
    }
    return got;
}

/* "100 Continue", if the client waits for it (RFC 9110 10.1.1). */
static int tell_continue(mh_req *req) {
    if (req->continued) return MH_OK;
    if (req->res == MH__RES_NONE && mh__input_n(&req->conn->in) == 0) {
        static const char line[] = "HTTP/1.1 100 Continue\r\n\r\n";
        int error = mh__outq_copy(&req->srv->out, &req->conn->out, line, sizeof line - 1);
        if (error < 0) return error;
        mh__conn_written(req->conn);
    }
    req->continued = true;
    return MH_OK;
}

int mh_req_read(mh_req *req, void *buf, size_t cap) {
    if (!req->conn || req->conn->doomed) return MH_ECLOSED;
    if (req->res == MH__RES_ENDED) return MH_ESTATE;
    if (cap == 0 || !buf) return MH_EINVAL;
    int error = tell_continue(req);
    if (error < 0) return error;
    int got = read_body(req, buf, cap > INT_MAX ? INT_MAX : cap);
    if (got == MH_EAGAIN) {
        req->waiting = true;
        if (!mh__conn_await_body(req->conn)) {
            mh__conn_doom(req->conn, MH_FINISH_TIMEOUT, true);
            return MH_ECLOSED;
        }
    } else if (req->waiting) { /* the host did not wait for on_readable */
        req->waiting = false;
        mh__conn_body_came(req->conn);
    }
    if (req->body_done) mh__conn_body_complete(req->conn);
    return got;
}

int mh_req_complete(const mh_req *req) { return req->body_done; }

int mh__req_drop_body(mh_req *req) {
    char scrap[8192];
    mh__conn *c = req->conn;
    for (;;) {
        int got = read_body(req, scrap, sizeof scrap);
        if (got < 0) return got;
        c->dropped += (uint32_t)got;
        if (c->dropped > req->srv->cfg.unread_max) return MH_ETOOBIG;
    }
}

bool mh__req_body_reusable(const mh_req *req) {
    if (req->body_done) return true;
    if (req->body_error) return false;
    /* It was not told to continue: its next bytes may be the body or the next request. */
    if (!req->continued) return false;
    return req->framing.body == MH__BODY_CHUNKED || req->body_left <= req->srv->cfg.unread_max;
}
