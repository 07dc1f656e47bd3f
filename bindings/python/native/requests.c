/* The server's handlers: each appends an event and returns. A request's head is copied into the
 * text of the batch in one go, for which its size is known beforehand, so nothing can fail
 * half-way. */
#include "mhpy.h"

#include <string.h>

enum {
    ADDRESS_MAX = 64,
    PORT_MAX = 5
}; /* mh_req_peer wants 46 for an address; a port has up to 5 digits */

static char *put(char *p, const char *bytes, size_t n) {
    if (n) memcpy(p, bytes, n);
    p[n] = 0;
    return p + n + 1;
}

static char *put_str(char *p, mh_str s) { return put(p, s.p, s.n); }

/* Of no address the port is empty, not 0. */
static char *put_port(char *p, uint16_t port, bool of_address) {
    char digits[PORT_MAX], *end = digits + PORT_MAX, *first = end;
    for (unsigned left = port; left; left /= 10)
        *--first = (char)('0' + left % 10);
    if (first == end && of_address) *--first = '0';
    return put(p, first, (size_t)(end - first));
}

/* Puts what environ says of the connection at p, which has MHPY__PEER_MAX bytes: the peer's address
 * and port, and at a wildcard our own address. For a unix socket, and a peer that has gone, they
 * are empty. Returns its size. */
static size_t put_peer(char *p, const mh_req *req, bool wildcard) {
    char *first = p;
    uint16_t port = 0;
    int n = mh_req_peer(req, p, ADDRESS_MAX, &port);
    if (n < 0) n = 0;
    p[n] = 0;
    p = put_port(p + n + 1, port, n > 0);
    if (wildcard) {
        n = mh_req_local(req, p, (size_t)(first + MHPY__PEER_MAX - p), &port);
        if (n < 0) n = 0;
        p[n] = 0;
        p += n + 1;
    }
    return (size_t)(p - first);
}

/* Puts what the PROXY header says besides at p: the protocol, and the address and port to which the
 * client connected, or two empty pieces. Behind put_peer there is room for it. Returns its size. */
static size_t put_proxy(char *p, const mh_req *req) {
    char *first = p;
    uint16_t port = 0;
    const char *protocol = mh_req_proxy_protocol(req);
    p = put(p, protocol, strlen(protocol));
    int n = mh_req_proxy_to(req, p, ADDRESS_MAX, &port);
    if (n < 0) n = 0;
    p[n] = 0;
    p = put_port(p + n + 1, port, n > 0);
    return (size_t)(p - first);
}

/* The number that Python knows the peer by; tells it if need be. There is room. */
static int64_t find_peer(mhpy *hub, const mh_req *req, bool wildcard) {
    char text[MHPY__PEER_MAX];
    size_t n = put_peer(text, req, wildcard);
    if (hub->proxied) n += put_proxy(text + n, req);
    size_t set = mhpy__hash(hub->hash_key, text, n) % MHPY__PEER_SETS, way;
    mhpy__peer *peers = hub->peers.at[set];
    for (way = 0; way < MHPY__PEER_WAYS; way++) {
        if (peers[way].n == n && memcmp(peers[way].text, text, n) == 0) break;
    }
    if (way == MHPY__PEER_WAYS) {
        way = hub->peers.oldest[set]++ % MHPY__PEER_WAYS;
        peers[way].n = (uint16_t)n;
        memcpy(peers[way].text, text, n);
        mhpy__events *ev = &hub->ev;
        int pieces = (wildcard ? 3 : 2) + (hub->proxied ? 3 : 0);
        mhpy__event_put(ev, MHPY_PEER, (int64_t)(set * MHPY__PEER_WAYS + way), pieces, 0);
        memcpy(ev->text + ev->text_n, text, n);
        ev->text_n += n;
        ev->pieces += pieces;
    }
    return (int64_t)(set * MHPY__PEER_WAYS + way);
}

static bool str_is(mh_str s, const char *want, size_t n) {
    return s.n == n && memcmp(s.p, want, n) == 0;
}

/* Puts the field names into the hub's scratch; returns their size in bytes. */
static size_t gather_names(mhpy *hub, const mh_req *req, size_t fields) {
    char *p = hub->names;
    mh_str name, value;
    for (size_t i = 0; i < fields; i++) {
        mh_req_field(req, i, &name, &value);
        p = put_str(p, name);
    }
    return (size_t)(p - hub->names);
}

/* Looks bytes with that hash up in one of the tables; their number, 0 if the table does not take
 * them. There is room for an event. */
static uint32_t look_up(mhpy *hub, int table, uint64_t hash, uint32_t tag, mh_str bytes,
                        bool *is_new) {
    mhpy__seen *seen = &hub->seen[table];
    uint32_t id = 0;
    if (mhpy__seen_stale(seen)) {
        mhpy__seen_clear(seen);
        mhpy__event_put(&hub->ev, MHPY_FORGET, table, 0, 0);
    }
    *is_new = mhpy__seen_find(seen, hash, tag, bytes.p, bytes.n, &id) == MHPY__SEEN_NEW;
    return id;
}

/* The number of the shape of the names gathered, 0 if the table does not take it; tells Python of
 * a new one. There is room for two events and for the names. */
static uint32_t find_shape(mhpy *hub, size_t size, size_t fields) {
    mhpy__events *ev = &hub->ev;
    bool is_new;
    uint64_t hash = mhpy__hash(hub->hash_key, hub->names, size);
    uint32_t id = look_up(hub, MHPY_SHAPES, hash, 0, (mh_str){hub->names, size}, &is_new);
    if (is_new) {
        mhpy__event_put(ev, MHPY_SHAPE, id, (int64_t)fields, 0);
        if (size) memcpy(ev->text + ev->text_n, hub->names, size);
        ev->text_n += size;
        ev->pieces += (int)fields;
    }
    return id;
}

static int64_t flags_of(const mh_req *req, mh_str target, mh_str path) {
    int64_t flags = 0, length = mh_req_length(req);
    if (length != 0) flags |= MHPY_HAS_BODY;
    if (length < 0) flags |= MHPY_CHUNKED;
    if (mh_req_expects_continue(req)) flags |= MHPY_EXPECTS;
    /* origin-form begins with '/', asterisk-form is '*' (RFC 9112 3.2); CONNECT is not taken. */
    if (target.p[0] != '/' && target.p[0] != '*') flags |= MHPY_ABSOLUTE;
    if (path.n && memchr(path.p, '%', path.n)) flags |= MHPY_ESCAPED;
    if (str_is(mh_req_method(req), "HEAD", 4)) flags |= MHPY_HEAD;
    return flags;
}

/* What the tables say of a request that is no known head. */
typedef struct found {
    uint32_t number;        /* of the block or shape */
    uint32_t block, head;   /* to be learned */
    int64_t flags;          /* MHPY_BLOCKED, MHPY_NAMED, or none */
    size_t fields, names_n; /* how many; bytes of their names, if gathered */
} found;

/* Looks for the request's block, which has that hash, then for its shape. There is room for three
 * events and the names. */
static found find_fields(mhpy *hub, const mh_req *req, uint64_t hash, uint32_t head) {
    found f = {.head = head, .fields = mh_req_fields(req)};
    bool is_new;
    uint32_t block = look_up(hub, MHPY_BLOCKS, hash, 0, mh_req_field_block(req), &is_new);
    if (block && !is_new) {
        f.number = block;
        f.flags = MHPY_BLOCKED;
        return f;
    }
    f.block = block;
    f.names_n = gather_names(hub, req, f.fields);
    f.number = find_shape(hub, f.names_n, f.fields);
    if (f.number == 0) f.flags = MHPY_NAMED;
    return f;
}

/* Copies the request's pieces to the text and appends its event; there is room for both. */
static void put_request(mhpy *hub, mh_req *req, int64_t name, int64_t peer, const found *f) {
    mhpy__events *ev = &hub->ev;
    mh_str target = mh_req_target(req), path = mh_req_path(req), field, value;
    int64_t flags = f->flags | flags_of(req, target, path);
    size_t pieces = 4;
    char *p = ev->text + ev->text_n;

    if (flags & MHPY_NAMED) {
        if (f->names_n) memcpy(p, hub->names, f->names_n);
        p += f->names_n;
        pieces += f->fields;
    }
    p = put_str(p, mh_req_method(req));
    p = put_str(p, target);
    /* "*" is no path: the target URI's is empty (RFC 9112 3.3, RFC 3875 4.1.5) */
    p = put(p, path.p, *target.p == '*' ? 0 : path.n);
    p = put_str(p, mh_req_query(req));
    if (!(flags & MHPY_BLOCKED)) {
        for (size_t i = 0; i < f->fields; i++) {
            mh_req_field(req, i, &field, &value);
            p = put_str(p, value);
        }
        pieces += f->fields;
    }
    if (flags & MHPY_ABSOLUTE) {
        p = put_str(p, mh_req_host(req));
        pieces++;
    }
    ev->text_n = (size_t)(p - ev->text);
    ev->pieces += (int)pieces;
    int64_t plan =
        (int64_t)f->number << 16 | (int64_t)mh_req_listener(req) << 1 | (mh_req_version(req) == 10);
    mhpy__event_put(ev, MHPY_REQUEST, name, plan, flags);
    mhpy__event_put(ev, (int64_t)pieces, peer, f->block, f->head);
}

/* The whole head, from the method to the end of the fields: one piece of the input. */
static mh_str head_of(const mh_req *req, mh_str block) {
    mh_str method = mh_req_method(req);
    return (mh_str){method.p, (size_t)(block.p + block.n - method.p)};
}

/* The most events that one request brings: of each table that it is forgotten, a shape, a peer, and
 * the request's own, which is of double size. */
enum { MOST_EVENTS = 7 };

static void on_request(mh_req *req, void *user) {
    mhpy *hub = user;
    if (hub->n_statics > 0 && mhpy__static_answer(hub, req)) return;
    mh_str block = mh_req_field_block(req), head = head_of(req, block);
    /* Path, query and authority are parts of the head; a name and its value, each with a NUL, are
     * shorter than their line. A shape's names may travel besides. */
    size_t text = 3 * head.n + block.n + MHPY__PEER_MAX + 16;
    int64_t name = -1;
    if ((block.n > hub->names_cap &&
         !mhpy__grow((void **)&hub->names, &hub->names_cap, block.n, 1)) ||
        !mhpy__reserve(hub, MOST_EVENTS, text) ||
        (name = mhpy__name_new(&hub->requests, req)) < 0) {
        mh_req_abort(req); /* no memory: this one is lost, the others are not */
        return;
    }
    /* The slot's number, not its address, for the array moves as it grows; plus 1, for NULL
     * means none. */
    mh_req_set_user(req, (void *)((uintptr_t)(uint32_t)name + 1));

    unsigned listener = mh_req_listener(req);
    int64_t peer = find_peer(hub, req, hub->wildcard[listener]);
    uint32_t number = 0;
    bool is_new = false;
    /* The block is hashed once: its hash is the key of the line before it. */
    uint64_t hash = mhpy__hash(hub->hash_key, block.p, block.n);
    uint64_t head_hash = mhpy__hash(hash, head.p, (size_t)(block.p - head.p));
    /* A request with a body takes a longer way in Python anyway. */
    if (mh_req_length(req) == 0)
        number = look_up(hub, MHPY_HEADS, head_hash, listener, head, &is_new);
    if (number && !is_new) {
        mhpy__event_put(&hub->ev, number, name & UINT32_MAX, name >> 32, peer);
        return;
    }
    found f = find_fields(hub, req, hash, number);
    put_request(hub, req, name, peer, &f);
}

/* -1 for a request that got no name: on_request found no memory, or answered it with a file. */
static int64_t name_of(const mhpy *hub, const mh_req *req) {
    uintptr_t user = (uintptr_t)mh_req_user(req);
    return user ? mhpy__name_at(&hub->requests, (uint32_t)(user - 1)) : -1;
}

static void on_readable(mh_req *req, void *user) {
    mhpy *hub = user;
    mhpy__event(&hub->ev, MHPY_READABLE, name_of(hub, req), 0, 0);
}

static void on_writable(mh_req *req, void *user) {
    mhpy *hub = user;
    int64_t name = name_of(hub, req);
    mhpy__slot *slot = mhpy__name_find(&hub->requests, name);
    if (slot && slot->stream)
        mhpy__stream_drained(slot->stream);
    else
        mhpy__event(&hub->ev, MHPY_WRITABLE, name, 0, 0);
}

static void on_hangup(mh_req *req, void *user) {
    mhpy *hub = user;
    int64_t name = name_of(hub, req);
    mhpy__slot *slot = mhpy__name_find(&hub->requests, name);
    if (!slot) return;
    slot->hung_up = true;
    if (slot->stream) mhpy__stream_hung_up(slot->stream);
    if (slot->want & MHPY__WANT_HANGUP) mhpy__event(&hub->ev, MHPY_HANGUP, name, 0, 0);
}

/* An event of double size that ends a request without a name, with pieces at its place in the text,
 * which end at p. */
static void put_end(mhpy *hub, int kind, char *p, int pieces, const mh_refused *end) {
    mhpy__events *ev = &hub->ev;
    ev->text_n = (size_t)(p - ev->text);
    ev->pieces += pieces;
    mhpy__event_put(ev, kind, pieces, end->status, (int64_t)end->sent);
    mhpy__event_put(ev, end->why, (int64_t)end->taken_us, 0, 0);
}

/* Tells of a request that has got no name; if there is no memory, nobody hears of it. */
static void tell_served(mhpy *hub, const mh_req *req, int why) {
    mh_str block = mh_req_field_block(req), head = head_of(req, block), name, value;
    size_t fields = mh_req_fields(req);
    if (!mhpy__reserve(hub, 2, 3 * head.n + block.n + MHPY__PEER_MAX + 16)) return;
    char *p = hub->ev.text + hub->ev.text_n;
    p += put_peer(p, req, false);
    p = put_str(p, mh_req_method(req));
    p = put_str(p, mh_req_target(req));
    p = put_str(p, mh_req_path(req));
    p = put_str(p, mh_req_query(req));
    p = put(p, mh_req_version(req) == 10 ? "HTTP/1.0" : "HTTP/1.1", 8);
    for (size_t i = 0; i < fields; i++) {
        mh_req_field(req, i, &name, &value);
        p = put_str(p, name);
        p = put_str(p, value);
    }
    const mh_refused end = {.status = mh_res_status(req),
                            .why = why,
                            .sent = mh_res_sent(req),
                            .taken_us = mh_req_taken_us(req)};
    put_end(hub, MHPY_SERVED, p, 7 + 2 * (int)fields, &end);
}

static void on_finish(mh_req *req, int why, void *user) {
    mhpy *hub = user;
    int64_t name = name_of(hub, req);
    mhpy__slot *slot = mhpy__name_find(&hub->requests, name);
    if (hub->uncounted && --hub->uncounted == 0) mhpy__event(&hub->ev, MHPY_COUNTED, 0, 0, 0);
    if (!slot) {
        if (hub->tells_ends) tell_served(hub, req, why);
        return;
    }
    int64_t sent = (int64_t)mh_res_sent(req);
    if (slot->stream) mhpy__stream_finished(slot->stream);
    slot->stream = NULL;
    if (slot->want || why != MH_FINISH_DONE) mhpy__event(&hub->ev, MHPY_FINISH, name, why, sent);
    if (hub->tells_ends) {
        mhpy__event(&hub->ev, MHPY_ENDED, name, mh_res_status(req), sent);
        mhpy__event(&hub->ev, why, (int64_t)mh_req_taken_us(req), 0, 0);
    }
    mhpy__name_free(&hub->requests, slot);
}

static void on_log(mh_server *srv, int what, int64_t detail, void *user) {
    mhpy *hub = user;
    (void)srv;
    mhpy__event(&hub->ev, MHPY_LOG, what, detail, 0);
}

static int count_nuls(mh_str s) {
    int count = 0;
    for (size_t i = 0; i < s.n; i++)
        count += s.p[i] == '\0';
    return count;
}

static void on_refused(mh_server *srv, const mh_refused *what, void *user) {
    mhpy *hub = user;
    (void)srv;
    if (!hub->tells_ends) return;
    if (!mhpy__reserve(hub, 2, what->peer.n + PORT_MAX + what->line.n + 3)) return;
    char *p = put_str(hub->ev.text + hub->ev.text_n, what->peer);
    p = put_port(p, what->port, what->peer.n > 0);
    p = put_str(p, what->line);
    put_end(hub, MHPY_REFUSED, p, 3 + count_nuls(what->line), what);
}

void mhpy__handlers(mh_handlers *on, mhpy *hub) {
    mh_handlers_init(on);
    on->on_request = on_request;
    on->on_readable = on_readable;
    on->on_writable = on_writable;
    on->on_hangup = on_hangup;
    on->on_finish = on_finish;
    on->on_log = on_log;
    on->on_refused = on_refused;
    on->user = hub;
}
