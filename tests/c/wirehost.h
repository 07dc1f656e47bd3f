/* The host that tests/wire/README.md defines, in C: it reports what reached it, and at /answer
 * answers as the query says. */
#ifndef WIREHOST_H
#define WIREHOST_H

#include "client.h"
#include "tree.h"

enum { WIREHOST_FIELDS = 32, WIREHOST_METHODS = 128 };

/* What the host keeps of a connection, for its client: the requests that it was shown. */
typedef struct wirehost {
    size_t n;
    bool to_head[WIREHOST_METHODS];
    tree files; /* what is served at /static */
    mh_static *dir;
} wirehost;

/* What it keeps of a request: the body, as far as it came. */
typedef struct wirehost_body {
    char *p;
    size_t n, cap;
} wirehost_body;

/* ---- /answer --------------------------------------------------------------------------------- */

typedef struct wirehost_answer {
    mh_req *req;
    int status;
    mh_str reason;
    mh_str fields[2 * WIREHOST_FIELDS];
    size_t n;
    char *at; /* room for decoded values, which are shorter than the query */
} wirehost_answer;

static inline void wirehost_refuse(mh_req *req, int status, const char *reason) {
    const mh_str type[] = {text("Content-Type"), text("text/plain")};
    char body[64];
    snprintf(body, sizeof body, "%s\n", reason);
    CHECK_INT(mh_res_simple(req, status, text(reason), type, 1, text(body)), MH_OK);
}

/* It fails in the midst of its work. */
static inline void wirehost_fail(mh_req *req) {
    if (mh_res_started(req))
        CHECK_INT(mh_req_abort(req), MH_OK);
    else
        wirehost_refuse(req, 500, "Internal Server Error");
}

/* The bytes that s stands for: percent-decoded, and with blanks for plus signs if plus says so. */
static inline mh_str wirehost_decode(wirehost_answer *a, mh_str s, bool plus) {
    mh_str value = {a->at, 0};
    for (size_t i = 0; i < s.n; i++) {
        unsigned byte = (unsigned char)s.p[i];
        if (byte == '+' && plus) byte = ' ';
        if (byte == '%' && s.n - i > 2) {
            const char hex[] = {s.p[i + 1], s.p[i + 2], '\0'}; /* s has no end for sscanf to find */
            if (sscanf(hex, "%2x", &byte) == 1) i += 2;
        }
        a->at[value.n++] = (char)byte;
    }
    a->at += value.n;
    return value;
}

/* "200", or "200 Fine". A status that is no number becomes one that the library refuses. */
static inline void wirehost_status(wirehost_answer *a, mh_str value) {
    size_t n = 0;
    a->status = 0;
    for (; n < value.n && n < 4 && value.p[n] >= '0' && value.p[n] <= '9'; n++)
        a->status = a->status * 10 + (value.p[n] - '0');
    if (n < value.n && value.p[n] == ' ')
        a->reason = (mh_str){value.p + n + 1, value.n - n - 1};
    else if (n < value.n)
        a->status = 0;
}

static inline void wirehost_field(wirehost_answer *a, mh_str name, mh_str value) {
    if (a->n == WIREHOST_FIELDS) abort();
    a->fields[2 * a->n] = name;
    a->fields[2 * a->n++ + 1] = value;
}

static inline int wirehost_head(wirehost_answer *a) {
    if (mh_res_started(a->req)) return MH_OK;
    return mh_res_head(a->req, a->status, a->reason, a->fields, a->n, MH_LENGTH_UNKNOWN);
}

static inline bool wirehost_is(mh_str name, const char *item) {
    return name.n == strlen(item) && memcmp(name.p, item, name.n) == 0;
}

/* The peer's address and port, with a blank between them; returns its length. */
static inline size_t wirehost_peer(mh_req *req, char text[80]) {
    uint16_t port = 0;
    int n = mh_req_peer(req, text, 64, &port);
    if (n < 0) abort();
    return (size_t)n + (size_t)snprintf(text + n, 16, " %u", port);
}

/* Does what one item of the query says; true if that was the end of the response. */
static inline bool wirehost_item(wirehost_answer *a, mh_str name, mh_str raw) {
    mh_str value = wirehost_decode(a, raw, wirehost_is(name, "status"));
    bool failed = false, whole = wirehost_is(name, "whole");
    if (wirehost_is(name, "status")) {
        wirehost_status(a, value);
    } else if (wirehost_is(name, "field")) {
        const char *colon = memchr(value.p, ':', value.n);
        size_t n = colon ? (size_t)(colon - value.p) : value.n;
        mh_str none = {"", 0}, after = {value.p + n + 1, value.n - n - 1};
        wirehost_field(a, (mh_str){value.p, n}, colon ? after : none);
    } else if (wirehost_is(name, "length")) {
        wirehost_field(a, text("Content-Length"), value);
    } else if (wirehost_is(name, "piece")) {
        failed = wirehost_head(a) < 0;
        if (!failed) mh_res_write(a->req, value.p, value.n); /* a surplus is cut */
    } else if (whole) {
        failed = mh_res_simple(a->req, a->status, a->reason, a->fields, a->n, value) < 0;
    } else if (wirehost_is(name, "peer")) {
        char who[80];
        size_t n = wirehost_peer(a->req, who);
        failed = wirehost_head(a) < 0;
        if (!failed) mh_res_write(a->req, who, n);
    } else if (wirehost_is(name, "fail")) {
        failed = true;
    } else if (!wirehost_is(name, "unread")) {
        CHECK_FAIL_("no such item of /answer: %.*s", (int)name.n, name.p);
    }
    if (failed) wirehost_fail(a->req);
    return failed || whole;
}

static inline void wirehost_answer_query(mh_req *req, mh_str query) {
    char *room = malloc(query.n + 1);
    wirehost_answer a = {.req = req, .status = 200, .at = room};
    const char *p = query.p, *end = p + query.n;
    bool ended = false;
    while (p < end && !ended) {
        const char *next = memchr(p, '&', (size_t)(end - p));
        if (!next) next = end;
        const char *equals = memchr(p, '=', (size_t)(next - p));
        mh_str name = {p, (size_t)((equals ? equals : next) - p)};
        mh_str value = equals ? (mh_str){equals + 1, (size_t)(next - equals - 1)} : text("");
        ended = wirehost_item(&a, name, value);
        p = next + 1;
    }
    if (!ended && wirehost_head(&a) < 0) {
        wirehost_fail(req);
    } else if (!ended) {
        mh_res_end(req); /* one that is short of its length is aborted */
    }
    free(room);
}

/* Whether the query has this item, which takes no value. */
static inline bool wirehost_says(mh_str query, const char *item) {
    size_t n = strlen(item);
    for (size_t i = 0; i + n <= query.n; i++) {
        bool begins = i == 0 || query.p[i - 1] == '&';
        bool ends = i + n == query.n || query.p[i + n] == '&';
        if (begins && ends && memcmp(query.p + i, item, n) == 0) return true;
    }
    return false;
}

/* ---- static files ---------------------------------------------------------------------------- */

/* The files of the README. */
static inline void wirehost_plant(tree *t) {
    static const char *const files[][2] = {
        {"a.txt", "0123456789"}, {"empty.txt", ""},       {"timeless.txt", "timeless"},
        {"p.css", "plain"},      {"p.css.br", "brotli"},  {"p.css.gz", "gzipped"},
        {"old.css", "plain"},    {"old.css.gz", "older"}, {".env", "secret"},
    };
    tree_make(t);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++)
        tree_say(t, files[i][0], files[i][1]);
    tree_set_time(t, "timeless.txt", 0, 0);
    tree_set_time(t, "old.css.gz", TREE_TIME - 1, 0);
    tree_mkdir(t, "dir");
    tree_say(t, "dir/index.html", "index");
    tree_mkdir(t, "dir/.well-known");
    tree_say(t, "dir/.well-known/x", "secret");
    tree_mkdir(t, ".well-known");
    tree_say(t, ".well-known/x", "known");
    tree_mkdir(t, "bare");
    tree_say(t, "bare/a.txt", "bare");
    tree_link(t, "in", "a.txt");
    tree_link(t, "out", "../../etc/passwd");
    tree_link(t, "absolute", "/etc/passwd");
}

/* ---- requests -------------------------------------------------------------------------------- */

static inline void wirehost_put(wirehost_body *b, const char *p, size_t n) {
    if (n == 0) return;
    if (b->cap - b->n < n) b->p = realloc(b->p, b->cap = 2 * (b->n + n));
    if (!b->p) abort();
    memcpy(b->p + b->n, p, n);
    b->n += n;
}

/* Method, target and authority, then the body. */
static inline void wirehost_report(mh_req *req, const wirehost_body *body) {
    const mh_str head[] = {mh_req_method(req), mh_req_target(req), mh_req_host(req)};
    wirehost_body all = {0};
    for (size_t i = 0; i < 3; i++) {
        wirehost_put(&all, head[i].p, head[i].n);
        wirehost_put(&all, " ", 1);
    }
    wirehost_put(&all, body->p, body->n);
    CHECK_INT(mh_res_simple(req, 200, text("OK"), NULL, 0, (mh_str){all.p, all.n}), MH_OK);
    free(all.p);
}

/* Reads what there is of the body, and answers when that is all. */
static inline void wirehost_go_on(fix *f, mh_req *req) {
    wirehost_body *body = mh_req_user(req);
    char part[4096];
    int got;
    (void)f;
    while ((got = mh_req_read(req, part, sizeof part)) > 0)
        wirehost_put(body, part, (size_t)got);
    if (got == MH_EAGAIN) return;
    if (got == MH_EBODY) {
        wirehost_refuse(req, 400, "Bad Request");
    } else if (got == MH_ETOOBIG) {
        wirehost_refuse(req, 413, "Content Too Large");
    } else if (got != MH_EOS) { /* its client has left: nobody to answer */
        mh_req_abort(req);
    } else if (req_is(req, "/answer")) {
        wirehost_answer_query(req, mh_req_query(req));
    } else {
        wirehost_report(req, body);
    }
}

static inline void wirehost_request(fix *f, mh_req *req) {
    wirehost *host = f->user;
    mh_str method = mh_req_method(req), query = mh_req_query(req);
    if (host->n < WIREHOST_METHODS) host->to_head[host->n++] = wirehost_is(method, "HEAD");
    mh_req_set_user(req, calloc(1, sizeof(wirehost_body)));
    if (!mh_req_user(req)) abort();
    mh_str below;
    if (mh_req_below(req, "/static", 7, &below) == MH_OK)
        CHECK_INT(mh_res_static(req, host->dir, below), MH_OK);
    else if (req_is(req, "/answer") && wirehost_says(query, "unread"))
        wirehost_answer_query(req, query);
    else
        wirehost_go_on(f, req);
}

static inline void wirehost_finish(fix *f, mh_req *req, int why) {
    wirehost_body *body = mh_req_user(req);
    (void)f;
    (void)why;
    free(body->p);
    free(body);
}

/* Sets it up as f's, before fix_open. */
static inline void wirehost_init(wirehost *host, fix *f) {
    *host = (wirehost){0};
    f->user = host;
    f->on_request = wirehost_request;
    f->on_readable = wirehost_go_on;
    f->on_finish = wirehost_finish;
}

/* Opens its files, after fix_open. */
static inline int wirehost_open(wirehost *host, fix *f) {
    wirehost_plant(&host->files);
    return mh_static_new(&host->dir, f->loop, host->files.root, NULL);
}

/* Removes them, at the end. */
static inline void wirehost_close(wirehost *host) { tree_remove(&host->files); }

#endif
