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

static char *put_port(char *p, uint16_t port) {
    char digits[PORT_MAX], *first = digits + PORT_MAX;
    for (unsigned left = port; left; left /= 10)
        *--first = (char)('0' + left % 10);
    return put(p, first, (size_t)(digits + PORT_MAX - first));
}

/* The peer's address and port; for a unix socket, and a peer that has gone, both are empty. */
static char *put_peer(char *p, const mh_req *req) {
    uint16_t port = 0;
    int n = mh_req_peer(req, p, ADDRESS_MAX, &port);
    if (n < 0) n = 0;
    p[n] = 0;
    return put_port(p + n + 1, port);
}

static char *put_local(char *p, const mh_req *req) {
    uint16_t port;
    int n = mh_req_local(req, p, ADDRESS_MAX, &port);
    if (n < 0) n = 0;
    p[n] = 0;
    return p + n + 1;
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

/* The number of the fields' shape, 0 if the table does not take it; tells Python of a new one.
 * There is room for two events and for the names. */
static uint32_t find_shape(mhpy *hub, size_t size, size_t fields) {
    mhpy__events *ev = &hub->ev;
    uint32_t id = 0;
    if (mhpy__shapes_stale(&hub->shapes)) {
        mhpy__shapes_clear(&hub->shapes);
        mhpy__event_put(ev, MHPY_FORGET, 0, 0, 0, 0, 0);
    }
    if (mhpy__shape_find(&hub->shapes, hub->names, (uint32_t)size, &id) == MHPY__SHAPE_NEW) {
        mhpy__event_put(ev, MHPY_SHAPE, 0, id, 0, 0, (int64_t)fields);
        memcpy(ev->text + ev->text_n, hub->names, size);
        ev->text_n += size;
        ev->pieces += (int)fields;
    }
    return id;
}

static int64_t flags_of(const mh_req *req, mh_str target, mh_str path, int64_t length, bool named) {
    int64_t flags = 0;
    if (length != 0) flags |= MHPY_HAS_BODY;
    if (length < 0) flags |= MHPY_CHUNKED;
    if (mh_req_expects_continue(req)) flags |= MHPY_EXPECTS;
    /* origin-form begins with '/', asterisk-form is '*' (RFC 9112 3.2); CONNECT is not taken. */
    if (target.p[0] != '/' && target.p[0] != '*') flags |= MHPY_ABSOLUTE;
    if (path.n && memchr(path.p, '%', path.n)) flags |= MHPY_ESCAPED;
    if (str_is(mh_req_method(req), "HEAD", 4)) flags |= MHPY_HEAD;
    return named ? flags | MHPY_NAMED : flags;
}

/* Copies the request's pieces to the text and appends its event; there is room for both. */
static void put_request(mhpy *hub, mh_req *req, int64_t name, size_t fields, size_t names_size) {
    mhpy__events *ev = &hub->ev;
    uint32_t shape = find_shape(hub, names_size, fields);
    mh_str target = mh_req_target(req), path = mh_req_path(req), field, value;
    int64_t length = mh_req_length(req);
    int64_t flags = flags_of(req, target, path, length, shape == 0);
    unsigned listener = mh_req_listener(req);
    size_t pieces = 6 + fields;
    char *p = ev->text + ev->text_n;

    if (shape == 0) {
        if (names_size) memcpy(p, hub->names, names_size);
        p += names_size;
        pieces += fields;
    }
    p = put_str(p, mh_req_method(req));
    p = put_str(p, target);
    p = path.n ? put_str(p, path)
               : put(p, "/", 1); /* an absolute-form without a path (RFC 9110 4.2.3) */
    p = put_str(p, mh_req_query(req));
    p = put_peer(p, req);
    if (hub->wildcard[listener]) {
        p = put_local(p, req);
        pieces++;
    }
    for (size_t i = 0; i < fields; i++) {
        mh_req_field(req, i, &field, &value);
        p = put_str(p, value);
    }
    if (flags & MHPY_ABSOLUTE) {
        p = put_str(p, mh_req_host(req));
        pieces++;
    }
    ev->text_n = (size_t)(p - ev->text);
    ev->pieces += (int)pieces;
    int64_t plan = (int64_t)shape << 16 | (int64_t)listener << 1 | (mh_req_version(req) == 10);
    mhpy__event_put(ev, MHPY_REQUEST, name, plan, flags, length, (int64_t)pieces);
}

static void on_request(mh_req *req, void *user) {
    mhpy *hub = user;
    size_t fields = mh_req_fields(req), block = mh_req_field_block(req).n;
    /* Path and query are parts of the target; a name and its value, each with a NUL, are shorter
     * than their line. */
    size_t text = mh_req_method(req).n + 2 * mh_req_target(req).n + mh_req_host(req).n + block +
                  2 * (ADDRESS_MAX + 1) + PORT_MAX + 16;
    int64_t name = -1;
    if ((block > hub->names_cap && !mhpy__grow((void **)&hub->names, &hub->names_cap, block, 1)) ||
        !mhpy__events_reserve(&hub->ev, 3, text) ||
        (name = mhpy__name_new(&hub->requests, req)) < 0) {
        mh_req_abort(req); /* no memory: this one is lost, the others are not */
        return;
    }
    /* The slot's number, not its address, for the array moves as it grows; plus 1, for NULL
     * means none. */
    mh_req_set_user(req, (void *)((uintptr_t)(uint32_t)name + 1));
    put_request(hub, req, name, fields, gather_names(hub, req, fields));
}

/* -1 for a request that got no name: on_request found no memory. */
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
    mhpy__event(&hub->ev, MHPY_WRITABLE, name_of(hub, req), 0, 0);
}

static void on_finish(mh_req *req, int why, void *user) {
    mhpy *hub = user;
    int64_t name = name_of(hub, req);
    mhpy__slot *slot = mhpy__name_find(&hub->requests, name);
    if (!slot) return;
    if (slot->want) mhpy__event(&hub->ev, MHPY_FINISH, name, why, (int64_t)mh_res_sent(req));
    mhpy__name_free(&hub->requests, slot);
}

void mhpy__handlers(mh_handlers *on, mhpy *hub) {
    mh_handlers_init(on);
    on->on_request = on_request;
    on->on_readable = on_readable;
    on->on_writable = on_writable;
    on->on_finish = on_finish;
    on->user = hub;
}
