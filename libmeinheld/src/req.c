/* The request's side of an exchange: its making and end, and what the head said. Its body is
 * body.c's. */
#include <stddef.h>
#include <string.h>

#include "conn.h"
#include "path.h"

/* ---- making and end -------------------------------------------------------------------------- */

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

void mh_req_trim(mh_req *req) {
    mh__bufs *bufs = &req->srv->bufs;
    mh__conn *c = req->conn;
    if (c && c->in.buf == req->buf) mh__input_release(bufs, &c->in);
    if (req->buf->cap == req->head.size) return;
    mh__buf *buf = mh__buf_copy(bufs, req->p, req->head.size);
    if (!buf) return;
    mh__buf_unref(bufs, req->buf);
    req->buf = buf;
    req->p = buf->data;
}

void mh__req_finish(mh_req *req, int why) {
    mh_server *srv = req->srv;
    if (srv->on.on_finish) srv->on.on_finish(req, why, srv->on.user);
    if (req->fields != req->few) mh__mem_free(srv->bufs.mem, req->fields);
    mh__buf_unref(&srv->bufs, req->buf);
    mh__pool_put(&srv->req_pool, req);
}

/* ---- what the head said ---------------------------------------------------------------------- */

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

int mh_req_below(const mh_req *req, const char *prefix, size_t n, mh_str *below) {
    return mh__path_below(mh_req_path(req), (mh_str){prefix, n}, below) ? MH_OK : MH_ENOENT;
}

int64_t mh_req_length(const mh_req *req) {
    if (req->framing.body == MH__BODY_CHUNKED) return -1;
    /* framing.c takes at most 19 digits, and max_body was checked */
    return req->framing.length > INT64_MAX ? INT64_MAX : (int64_t)req->framing.length;
}

int mh_req_expects_continue(const mh_req *req) { return req->framing.expect; }

/* It is closed, or was given away by mh_req_upgrade. */
static bool socket_is_gone(const mh_req *req) { return !req->conn || req->conn->fd < 0; }

static int tell_address(const mh__addr *addr, char *host, size_t cap, uint16_t *port) {
    int n = mh__addr_text(addr, host, cap);
    if (n >= 0) *port = addr->port;
    return n;
}

int mh_req_peer(const mh_req *req, char *host, size_t cap, uint16_t *port) {
    return tell_address(req->conn ? &req->conn->peer : &req->peer, host, cap, port);
}

int mh_req_local(const mh_req *req, char *host, size_t cap, uint16_t *port) {
    if (socket_is_gone(req)) return MH_ECLOSED;
    mh__addr *local = &req->conn->local;
    if (local->family == AF_UNSPEC) {
        struct sockaddr_storage sa;
        socklen_t n = sizeof sa;
        if (getsockname(req->conn->fd, (struct sockaddr *)&sa, &n) < 0) return MH_ECLOSED;
        *local = mh__addr_of(&sa);
    }
    return tell_address(local, host, cap, port);
}

const char *mh_req_proxy_protocol(const mh_req *req) {
    return req->conn ? req->conn->proxied : NULL;
}

/* Whether the PROXY header can be asked for more: MH_OK, or why not. */
static int find_proxy(const mh_req *req) {
    if (!req->conn) return MH_ECLOSED;
    return req->conn->proxied ? MH_OK : MH_ENOENT;
}

int mh_req_proxy_to(const mh_req *req, char *host, size_t cap, uint16_t *port) {
    int error = find_proxy(req);
    return error < 0 ? error : tell_address(&req->conn->proxied_to, host, cap, port);
}

int mh_req_proxy_sender(const mh_req *req, char *host, size_t cap, uint16_t *port) {
    int error = find_proxy(req);
    return error < 0 ? error : tell_address(&req->conn->sender, host, cap, port);
}

int mh_req_fd(const mh_req *req) { return socket_is_gone(req) ? MH_ECLOSED : req->conn->fd; }

void mh_req_close(mh_req *req) {
    mh__conn *c = req->conn;
    if (c && c->current == req) c->last = c->linger = true;
}

unsigned mh_req_listener(const mh_req *req) { return req->listener; }
uint64_t mh_req_taken_us(const mh_req *req) { return (mh__loop_clock_ns() - req->begun) / 1000; }

void mh_req_set_user(mh_req *req, void *user) { req->user = user; }
void *mh_req_user(const mh_req *req) { return req->user; }
mh_loop *mh_req_loop(const mh_req *req) { return req->srv->loop; }

/* ---- leaving HTTP ---------------------------------------------------------------------------- */

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
