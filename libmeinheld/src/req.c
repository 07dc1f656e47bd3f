/* The request's side of an exchange: its making and end, what the head said, and the body that the host pulls. */
#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

#include "conn.h"

/* ---- making and end ---------------------------------------------------------------------------- */

static bool keep_fields(mh_req *req, const mh__field *fields, uint32_t n) {
    req->fields = req->few;
    if (n > MH__FIELDS_INLINE) {
        req->fields = mh__mem_alloc(req->srv->bufs.mem, n * sizeof *fields);
        if (!req->fields) return false;
    }
    memcpy(req->fields, fields, n * sizeof *fields);
    return true;
}

mh_req *mh__req_new(mh__conn *c, const mh__head *head, const mh__framing *framing) {
    mh_server *srv = c->srv;
    mh_req *req = mh__pool_get(&srv->req_pool);
    if (!req) return NULL;
    memset(req, 0, offsetof(mh_req, few));
    req->conn = c;
    req->srv = srv;
    req->listener = c->listener;
    req->head = *head;
    req->framing = *framing;
    if (!keep_fields(req, srv->fields, head->n_fields)) {
        mh__pool_put(&srv->req_pool, req);
        return NULL;
    }
    req->p = mh__input_at(&c->in);
    req->buf = mh__input_keep(&c->in, head->size);
    req->is_head = head->method.n == 4 && memcmp(req->p + head->method.off, "HEAD", 4) == 0;
    req->body_left = framing->length;
    req->body_done = framing->body == MH__BODY_NONE ||
                     (framing->body == MH__BODY_LENGTH && framing->length == 0);
    req->continued = !framing->expect;
    mh__chunked_init(&req->chunked);
    return req;
}

void mh__req_finish(mh_req *req, int why) {
    mh_server *srv = req->srv;
    if (srv->on.on_finish) srv->on.on_finish(req, why, srv->on.user);
    if (req->fields != req->few) mh__mem_free(srv->bufs.mem, req->fields);
    mh__buf_unref(&srv->bufs, req->buf);
    mh__pool_put(&srv->req_pool, req);
}

/* ---- what the head said ------------------------------------------------------------------------ */

static mh_str view(const mh_req *req, mh__span span) { return (mh_str){req->p + span.off, span.n}; }

mh_str mh_req_method(const mh_req *req) { return view(req, req->head.method); }
mh_str mh_req_target(const mh_req *req) { return view(req, req->head.target); }

mh_str mh_req_path(const mh_req *req) {
    static const char root[] = "/";
    /* http://host and http://host?query mean the path "/" (RFC 9110 4.2.3) */
    if (req->framing.path.n == 0 && req->framing.absolute) return (mh_str){root, 1};
    return view(req, req->framing.path);
}

mh_str mh_req_query(const mh_req *req) {
    return req->framing.has_query ? view(req, req->framing.query) : (mh_str){NULL, 0};
}

mh_str mh_req_host(const mh_req *req) { return view(req, req->framing.host); }
int mh_req_host_from_target(const mh_req *req) { return req->framing.absolute; }
int mh_req_version(const mh_req *req) { return 10 + req->head.minor; }
size_t mh_req_fields(const mh_req *req) { return req->head.n_fields; }
mh_str mh_req_field_block(const mh_req *req) { return view(req, req->head.block); }

int mh_req_field(const mh_req *req, size_t i, mh_str *name, mh_str *value) {
    if (i >= req->head.n_fields) return MH_EINVAL;
    *name = view(req, req->fields[i].name);
    *value = view(req, req->fields[i].value);
    return MH_OK;
}

static bool same_name(const char *a, const char *b, size_t n) {
    for (size_t i = 0; i < n; i++) {
        char x = a[i], y = b[i];
        if (x >= 'A' && x <= 'Z') x = (char)(x + 32);
        if (y >= 'A' && y <= 'Z') y = (char)(y + 32);
        if (x != y) return false;
    }
    return true;
}

int mh_req_find(const mh_req *req, const char *name, size_t n, mh_str *value) {
    for (uint32_t i = 0; i < req->head.n_fields; i++) {
        mh__span span = req->fields[i].name;
        if (span.n != n || !same_name(req->p + span.off, name, n)) continue;
        *value = view(req, req->fields[i].value);
        return MH_OK;
    }
    return MH_ENOENT;
}

int64_t mh_req_length(const mh_req *req) {
    if (req->framing.body == MH__BODY_CHUNKED) return -1;
    /* framing.c takes at most 19 digits, and max_body was checked */
    return req->framing.length > INT64_MAX ? INT64_MAX : (int64_t)req->framing.length;
}

int mh_req_expects_continue(const mh_req *req) { return req->framing.expect; }

static int ipv4_text(const uint8_t *addr, char *host) {
    char *p = host;
    for (int i = 0; i < 4; i++) {
        unsigned byte = addr[i];
        if (byte >= 100) *p++ = (char)('0' + byte / 100);
        if (byte >= 10) *p++ = (char)('0' + byte / 10 % 10);
        *p++ = (char)('0' + byte % 10);
        *p++ = i < 3 ? '.' : '\0';
    }
    return (int)(p - host) - 1;
}

static int address_text(uint16_t family, const uint8_t *addr, char *host, size_t cap) {
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    if (cap < INET6_ADDRSTRLEN) return MH_EINVAL;
    host[0] = '\0';
    if (family == AF_INET) return ipv4_text(addr, host);
    if (family != AF_INET6) return 0;
    /* a client of IPv4 on an IPv6 listener keeps its own name (RFC 4291 2.5.5.2) */
    if (memcmp(addr, mapped, sizeof mapped) == 0) return ipv4_text(addr + 12, host);
    if (!inet_ntop(AF_INET6, addr, host, (socklen_t)cap)) return MH_EINVAL;
    return (int)strnlen(host, cap);
}

int mh_req_peer(const mh_req *req, char *host, size_t cap, uint16_t *port) {
    if (!req->conn) return MH_ECLOSED;
    *port = ntohs(req->conn->peer.port);
    return address_text(req->conn->peer.family, req->conn->peer.addr, host, cap);
}

int mh_req_local(const mh_req *req, char *host, size_t cap, uint16_t *port) {
    if (!req->conn) return MH_ECLOSED;
    mh__peer *local = &req->conn->local;
    if (local->family == AF_UNSPEC) {
        struct sockaddr_storage sa;
        socklen_t n = sizeof sa;
        if (getsockname(req->conn->fd, (struct sockaddr *)&sa, &n) < 0) return MH_ECLOSED;
        *local = mh__peer_of(&sa);
    }
    *port = ntohs(local->port);
    return address_text(local->family, local->addr, host, cap);
}

unsigned mh_req_listener(const mh_req *req) { return req->listener; }
void mh_req_set_user(mh_req *req, void *user) { req->user = user; }
void *mh_req_user(const mh_req *req) { return req->user; }
mh_loop *mh_req_loop(const mh_req *req) { return req->srv->loop; }

/* ---- the body ---------------------------------------------------------------------------------- */

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

/* One run of decoded bytes. */
static int read_chunked(mh_req *req, char *buf, size_t cap) {
    mh__conn *c = req->conn;
    for (;;) {
        if (mh__input_n(&c->in) == 0) {
            int error = refill(req);
            if (error < 0) return error;
        }
        const char *p = mh__input_at(&c->in), *at = p, *data;
        uint64_t room = req->srv->cfg.max_body - req->body_taken;
        size_t n;
        int result = mh__chunked_next(&req->chunked, &at, p + mh__input_n(&c->in), cap, &data, &n,
                                      &req->srv->chunk_limits);
        c->in.pos += (uint32_t)(at - p);
        switch (result) {
        case MH__CHUNKED_MORE: break;
        case MH__CHUNKED_END: req->body_done = true; return MH_EOS;
        case MH__CHUNKED_DATA:
            /* A chunk that announces too much is refused by its announcement. */
            if (n > room || req->chunked.left > room - n) return body_fails(req, MH_ETOOBIG);
            if (buf) memcpy(buf, data, n);
            return (int)n;
        default: return body_fails(req, MH_EBODY);
        }
    }
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
    if (cap == 0 || !buf) return MH_EINVAL;
    if (!req->conn || req->conn->doomed) return MH_ECLOSED;
    if (req->res == MH__RES_ENDED) return MH_ESTATE;
    int error = tell_continue(req);
    if (error < 0) return error;
    int got = read_body(req, buf, cap > INT_MAX ? INT_MAX : cap);
    if (got == MH_EAGAIN) {
        req->waiting = true;
        mh__conn_await_body(req->conn);
        if (req->conn->doomed) return MH_ECLOSED;
    } else if (req->waiting) { /* the host did not wait for on_readable */
        req->waiting = false;
        mh__conn_body_came(req->conn);
    }
    if (req->body_done) mh__conn_body_complete(req->conn);
    return got;
}

int mh__req_drop_body(mh_req *req) {
    char scrap[8192];
    mh__conn *c = req->conn;
    for (;;) {
        int got = read_body(req, scrap, sizeof scrap);
        if (got < 0) return got;
        c->dropped += (uint32_t)got;
        if (c->dropped > req->srv->cfg.linger_max) return MH_ETOOBIG;
    }
}

bool mh__req_body_reusable(const mh_req *req) {
    if (req->body_done) return true;
    if (req->body_error) return false;
    /* It was not told to continue: its next bytes may be the body or the next request. */
    if (!req->continued) return false;
    return req->framing.body == MH__BODY_CHUNKED || req->body_left <= req->srv->cfg.linger_max;
}

/* ---- leaving HTTP ------------------------------------------------------------------------------ */

int mh_req_abort(mh_req *req) {
    if (!req->conn || req->conn->doomed) return MH_ECLOSED;
    mh__conn_doom(req->conn, MH_FINISH_ABORTED, true);
    return MH_OK;
}

int mh_req_upgrade(mh_req *req, void *buf, size_t *n) {
    mh__conn *c = req->conn;
    if (!c || c->doomed) return MH_ECLOSED;
    if (req->res != MH__RES_NONE || !req->body_done) return MH_ESTATE;
    if (c->out.head || c->first != req) return MH_EAGAIN;
    uint32_t there = mh__input_n(&c->in);
    size_t room = *n;
    *n = there;
    if (room < there || (there > 0 && !buf)) return MH_EINVAL;
    if (there > 0) memcpy(buf, mh__input_at(&c->in), there);
    return mh__conn_detach(c);
}
