/* From exchanges that end on a connection to lines of the access log. */
#include <stddef.h>
#include <string.h>

#include "access.h"
#include "conn.h"

/* Whether the library is to write a line now. */
static bool is_on(const mh_server *srv) {
    return srv->log && srv->log_format != MH_ACCESS_LINES && mh__loop_is_ours(srv->loop);
}

/* nginx's numbers for two ends without an answer: the client closed first, the server did. */
enum { CLIENT_CLOSED = 499, NO_RESPONSE = 444 };

enum { PEER_MAX = 64 /* mh__addr_text wants 46 */ };

/* What is logged for the status of an exchange that ended before its head. */
static uint16_t stand_in(const mh__conn *c, const mh_req *req, int why) {
    switch (why) {
    case MH_FINISH_UPGRADED:
        return 101; /* what the host writes itself is not known, but it is hardly anything else */
    case MH_FINISH_TIMEOUT:
        return 408;
    case MH_FINISH_PEER_CLOSED:
        return CLIENT_CLOSED;
    default:
        return c->eof || req->body_error == MH_ECLOSED ? CLIENT_CLOSED : NO_RESPONSE;
    }
}

static mh_str view(const mh_req *req, mh__span span) { return (mh_str){req->p + span.off, span.n}; }

/* The two fields that a line tells, in one pass; of several lines the first. */
static void find_fields(const mh_req *req, mh__access *access) {
    const mh__field *field = req->fields, *end = field + req->head.n_fields;
    for (; field < end; field++) {
        const char *name = req->p + field->name.off;
        if (field->name.n == 7 && !access->referer.p && mh__fold_eq(name, "referer", 7))
            access->referer = view(req, field->value);
        else if (field->name.n == 10 && !access->agent.p && mh__fold_eq(name, "user-agent", 10))
            access->agent = view(req, field->value);
    }
}

/* Writes a line, with what the connection knows besides. now: mh__loop_clock_ns. */
static void write_line(mh__conn *c, mh__access *access, uint64_t now) {
    mh_server *srv = c->srv;
    char peer[PEER_MAX + MH__SCAN_PAD];
    char *room = mh__log_room(srv->log);
    if (!room) return;
    int n = mh__addr_text(&c->peer, peer, PEER_MAX);
    access->peer = (mh_str){peer, n > 0 ? (size_t)n : 0};
    access->stamp = mh__server_stamp(srv, now);
    mh__log_commit(srv->log, mh__access_write(room, access, srv->log_format));
}

void mh__conn_log_exchange(mh__conn *c, mh_req *req, int why) {
    if (req->res == MH__RES_NONE) {
        req->status = stand_in(c, req, why);
        if (req->status == CLIENT_CLOSED) why = MH_FINISH_PEER_CLOSED;
    }
    req->peer = c->peer;
    if (!is_on(c->srv)) return;
    mh__access access = {.method = view(req, req->head.method),
                         .target = view(req, req->head.target),
                         .status = req->status,
                         .why = why,
                         .sent = req->sent};
    find_fields(req, &access);
    if (req->framing.host.n > 0) access.host = view(req, req->framing.host);
    /* One space between its parts, of which the last is HTTP/d.d: parser.c takes nothing else. */
    access.protocol = (mh_str){access.target.p + access.target.n + 1, 8};
    access.line.p = access.method.p;
    access.line.n = (size_t)(access.protocol.p + access.protocol.n - access.line.p);
    uint64_t now = mh__loop_clock_ns();
    access.taken_us = (now - req->begun) / 1000;
    write_line(c, &access, now);
}

/* What came of the request line of a head that was refused. */
static mh_str refused_line(const mh__conn *c) {
    uint32_t start = c->search.start, n = mh__input_n(&c->in);
    if (n <= start) return (mh_str){NULL, 0};
    const char *p = mh__input_at(&c->in) + start, *end = memchr(p, '\n', n - start);
    size_t size = end ? (size_t)(end - p) : n - start;
    if (size > 0 && p[size - 1] == '\r') size--;
    return (mh_str){p, size};
}

/* Tells the host. */
static void tell_refused(mh__conn *c, const mh__access *access) {
    mh_server *srv = c->srv;
    char peer[PEER_MAX];
    int n = mh__addr_text(&c->peer, peer, sizeof peer);
    const mh_refused what = {.line = access->line,
                             .peer = {peer, n > 0 ? (size_t)n : 0},
                             .port = c->peer.port,
                             .status = access->status,
                             .why = access->why,
                             .sent = access->sent,
                             .taken_us = access->taken_us};
    srv->on.on_refused(srv, &what, srv->on.user);
}

void mh__conn_log_refused(mh__conn *c, int why) {
    mh_server *srv = c->srv;
    uint16_t status = c->refused;
    c->refused = 0;
    if (!status || !(is_on(srv) || srv->on.on_refused)) return;
    uint64_t now = mh__loop_clock_ns(), sent = c->out.sent, body_at = c->refused_at;
    mh__access access = {
        .line = refused_line(c),
        .status = status,
        .why = why,
        .sent = sent > body_at ? sent - body_at : 0,
        .taken_us = (now - c->head_at) / 1000,
    };
    if (is_on(srv)) write_line(c, &access, now);
    if (srv->on.on_refused) tell_refused(c, &access);
}
