/* The cases of tests/wire on the pure layers alone: proxy.h, parser.h, framing.h and chunked.h, put
 * together by a small reader as conn_in.c and body.c do it, without sockets and in memory that is
 * exactly as large as what has come, so that AddressSanitizer sees the first byte that is read
 * outside. It works out what the connection would answer and the body that the host of the README
 * would report; what only a connection can show (interim responses, fields, exact bytes) it leaves
 * to test_wire_server.c. Built twice, with vectors and with MH_SCAN_PLAIN. */
#include "chunked.h"
#include "framing.h"
#include "proxy.h"

#include "wire.h"
#include "wirecuts.h"

enum { EXTENSIONS_MOST = 4096 }; /* row 17 */

/* ---- a reader of requests -------------------------------------------------------------------- */

typedef struct reader {
    const mh_config *cfg;
    mh__limits limits;
    mh__chunk_limits chunk_limits;
    mh__field *fields; /* limits.fields of them */

    wire_bytes in; /* what has come, of which */
    size_t pos;    /* so much has been used */
    mh__search search;
    enum { READER_PROXY, READER_HEAD, READER_BODY, READER_OVER } state;
    bool keep_alive, is_head, chunked; /* of the request in hand */
    uint64_t left;                     /* bytes of a body of known length */
    mh__chunked decoder;
    wire_bytes report; /* what the host says of the request in hand, or said of the last */
    size_t head_n;     /* how much of that is not the body */

    int statuses[WIRE_MOST];
    size_t n; /* may be more than WIRE_MOST, which none expects */
} reader;

static void reader_init(reader *r, const mh_config *cfg) {
    *r = (reader){.cfg = cfg};
    r->limits = (mh__limits){cfg->max_request_line, cfg->max_head, cfg->max_fields, cfg->max_field};
    r->chunk_limits = (mh__chunk_limits){EXTENSIONS_MOST, cfg->max_head, cfg->max_fields};
    r->fields = wire_alloc(NULL, cfg->max_fields * sizeof *r->fields);
    r->state = cfg->proxy_protocol ? READER_PROXY : READER_HEAD;
}

static void reader_free(reader *r) {
    free(r->fields);
    free(r->in.p);
    free(r->report.p);
}

/* The request in hand is answered; only one that was accepted keeps the connection. */
static void answered(reader *r, int status) {
    if (r->n < WIRE_MOST) r->statuses[r->n] = status;
    r->n++;
    r->state = status == 200 && r->keep_alive ? READER_HEAD : READER_OVER;
}

static void report(reader *r, const char *p, mh__span span) {
    wire_append(&r->report, p + span.off, span.n);
    wire_append(&r->report, " ", 1);
}

static void begin(reader *r, const char *p, const mh__head *head, const mh__framing *framing) {
    r->pos += head->size;
    r->search = (mh__search){0};
    r->keep_alive = framing->keep_alive;
    r->is_head = wire_same(p + head->method.off, head->method.n, "HEAD");
    r->report.n = 0;
    report(r, p, head->method);
    report(r, p, head->target);
    report(r, p, framing->host);
    r->head_n = r->report.n;
    r->chunked = framing->body == MH__BODY_CHUNKED;
    r->left = framing->length;
    mh__chunked_init(&r->decoder);
    r->state = READER_BODY;
}

/* Looks at what has come for a PROXY header. False if more is needed. */
static bool read_proxy(reader *r) {
    size_t n = r->in.n - r->pos;
    char *p = wire_copy(r->in.p + r->pos, n);
    mh__proxy header;
    int size = mh__proxy_read(&header, r->cfg->proxy_protocol, p, n);
    free(p);
    if (size < 0) answered(r, 400);
    if (size <= 0) return size < 0;
    r->pos += (size_t)size;
    r->state = READER_HEAD;
    return true;
}

/* Looks at what has come for a head. False if more is needed. */
static bool read_head(reader *r) {
    size_t n = r->in.n - r->pos;
    if (n == 0) return false;
    char *p = wire_copy_head(r->in.p + r->pos, n);
    mh__head head;
    mh__framing framing;
    int status = mh__take_head(&head, r->fields, &r->search, p, n, &r->limits);
    bool part = status == MH__HEAD_PART, whole = status == MH__HEAD_WHOLE;
    if (whole) {
        status = mh__frame(&framing, p, &head, r->fields, r->cfg->accept_connect != 0);
        if (status == 0 && framing.length > r->cfg->max_body) status = 413;
    }
    if (whole && status == 0) {
        begin(r, p, &head, &framing);
    } else if (!part) {
        answered(r, status);
    }
    free(p);
    return !part;
}

static bool read_length(reader *r) {
    size_t n = r->in.n - r->pos;
    if (n > r->left) n = (size_t)r->left;
    wire_append(&r->report, r->in.p + r->pos, n);
    r->pos += n;
    r->left -= n;
    if (r->left > 0) return false;
    answered(r, 200);
    return true;
}

/* The decoder sees each byte once: all that is there, each time in a copy of its own. */
static bool read_chunked(reader *r) {
    size_t there = r->in.n - r->pos, n;
    char *copy = wire_copy(r->in.p + r->pos, there);
    const char *p = copy, *data;
    int result;
    while ((result = mh__chunked_next(&r->decoder, &p, copy + there, SIZE_MAX, &data, &n,
                                      &r->chunk_limits)) == MH__CHUNKED_DATA) {
        uint64_t room = r->cfg->max_body - (r->report.n - r->head_n);
        if (n > room || r->decoder.left > room - n) break;
        wire_append(&r->report, data, n);
    }
    r->pos += (size_t)(p - copy);
    free(copy);
    if (result == MH__CHUNKED_MORE) return false;
    answered(r, result == MH__CHUNKED_END ? 200 : result == MH__CHUNKED_DATA ? 413 : 400);
    return true;
}

/* More has come: reads it as far as it goes. */
static void feed(reader *r, const char *p, size_t n) {
    bool more = true;
    wire_append(&r->in, p, n);
    while (more) {
        switch (r->state) {
        case READER_PROXY:
            more = read_proxy(r);
            break;
        case READER_HEAD:
            more = read_head(r);
            break;
        case READER_BODY:
            more = r->chunked ? read_chunked(r) : read_length(r);
            break;
        case READER_OVER:
            more = false;
            break;
        }
    }
}

/* ---- files of the runner http ---------------------------------------------------------------- */

static bool same(wire_bytes got, wire_bytes want) {
    return got.n == want.n && (want.n == 0 || memcmp(got.p, want.p, want.n) == 0);
}

static void check_statuses(const wire_case *c, const char *how, const reader *r) {
    if (r->n != c->n_statuses) {
        WIRE_FAIL(c, how, "%zu responses, not %zu", r->n, c->n_statuses);
        return;
    }
    for (size_t i = 0; i < r->n; i++)
        if (r->statuses[i] != c->statuses[i])
            WIRE_FAIL(c, how, "response %zu is %d, not %d", i + 1, r->statuses[i], c->statuses[i]);
}

/* What the last response is, if it is the host's; the body of a refusal is the connection's. */
static void check_body(const wire_case *c, const char *how, const reader *r) {
    if (!c->has_body || r->n == 0 || c->statuses[c->n_statuses - 1] != 200) return;
    wire_bytes got = {r->report.p, r->is_head ? 0 : r->report.n};
    if (!same(got, c->body))
        WIRE_FAIL(c, how, "\"%s\", not \"%s\"", wire_quote(got.p, got.n),
                  wire_quote(c->body.p, c->body.n));
}

/* An open connection is between two requests, and takes another; none other does. */
static void check_rest(const wire_case *c, const char *how, reader *r) {
    static const char probe[] = "GET /probe HTTP/1.1\r\nHost: probe\r\n\r\n";
    static char answer[] = "GET /probe probe ";
    bool open = r->state == READER_HEAD && r->pos == r->in.n;
    size_t before = r->n;
    if (c->end) { /* closes what is between requests, too; but half a body is no request */
        if ((r->state == READER_BODY) != (c->outcome == WIRE_ABORT))
            WIRE_FAIL(c, how, "it is%s in a body", r->state == READER_BODY ? "" : " not");
        return;
    }
    if (open != (c->outcome == WIRE_OPEN)) {
        WIRE_FAIL(c, how, "it is %s", open ? "open" : "not open");
        return;
    }
    if (!open && r->state != READER_OVER) WIRE_FAIL(c, how, "it waits for more");
    if (!open) return;
    feed(r, probe, sizeof probe - 1);
    if (r->n != before + 1 || r->state != READER_HEAD || r->pos != r->in.n ||
        !same(r->report, (wire_bytes){answer, sizeof answer - 1}))
        WIRE_FAIL(c, how, "the next request is not understood");
}

static bool deliver(const wire_case *c, const char *how, const size_t *ends, size_t n, void *user) {
    const wire_file *f = user;
    reader r;
    reader_init(&r, &f->cfg);
    for (size_t i = 0, from = 0; i < n; from = ends[i++])
        feed(&r, c->data.p + from, ends[i] - from);
    check_statuses(c, how, &r);
    if (!check_failed) check_body(c, how, &r);
    if (!check_failed) check_rest(c, how, &r);
    reader_free(&r);
    return !check_failed;
}

static void run_http(wire_file *f) {
    if (!f->layers) {
        printf("# %s: the layers can't show what it is about\n", f->name);
        return;
    }
    for (size_t i = 0; i < f->n; i++)
        RUN_AS(wire_deliver_all(&f->cases[i], deliver, f), "%s: %s", f->name, f->cases[i].name);
}

static const wire_runner runners[] = {
    {"http", run_http},
};

int main(int argc, char **argv) {
    return wire_main(argc, argv, runners, sizeof runners / sizeof *runners);
}
