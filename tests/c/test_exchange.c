/* Exchanges over real sockets: what a client sends, what the host is told, what comes back. Each
 * table case also arrives split at every byte, one part read before the next is sent: the answers
 * must not change. */
#include "client.h"

/* ---- a host that serves by path -------------------------------------------------------------- */

typedef struct upload {
    char body[4096];
    size_t n;
} upload;

/* Reads what there is; at the end answers with the body as it came. */
static void echo_on(mh_req *req) {
    upload *up = mh_req_user(req);
    int got;
    while ((got = mh_req_read(req, up->body + up->n, sizeof up->body - up->n)) > 0)
        up->n += (size_t)got;
    if (got == MH_EAGAIN) return;
    if (got == MH_EOS) {
        CHECK_INT(mh_res_simple(req, 200, text("OK"), NULL, 0, (mh_str){up->body, up->n}), MH_OK);
    } else {
        int status = got == MH_ETOOBIG ? 413 : 400;
        CHECK_INT(mh_req_read(req, up->body, 1), got); /* an error stays */
        CHECK_INT(mh_res_simple(req, status, text("Bad"), NULL, 0, text("bad")), MH_OK);
    }
}

static void in_pieces(mh_req *req, int64_t length) {
    const mh_str pieces[] = {{"two ", 4}, {"", 0}, {"three", 5}};
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, length), MH_OK);
    CHECK_INT(mh_res_write(req, "one ", 4), MH_OK);
    CHECK_INT(mh_res_write(req, "", 0), MH_OK); /* never ends a chunked body */
    CHECK_INT(mh_res_writev(req, pieces, 3, NULL, NULL), MH_OK);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static void serve(fix *f, mh_req *req) {
    (void)f;
    if (req_is(req, "/chunked")) {
        in_pieces(req, MH_LENGTH_UNKNOWN);
    } else if (req_is(req, "/counted")) {
        in_pieces(req, 13);
    } else if (req_is(req, "/204")) {
        CHECK_INT(mh_res_head(req, 204, text(""), NULL, 0, MH_LENGTH_UNKNOWN), MH_OK);
        CHECK_INT(mh_res_write(req, "no", 2), MH_OK);
        CHECK_INT(mh_res_end(req), MH_OK);
    } else if (req_is(req, "/304")) {
        CHECK_INT(mh_res_simple(req, 304, text(""), NULL, 0, text("no")), MH_OK);
    } else if (req_is(req, "/echo")) {
        mh_req_set_user(req, calloc(1, sizeof(upload)));
        echo_on(req);
    } else if (req_is(req, "/early")) {
        CHECK_INT(mh_res_inform(req, 103, NULL, 0), MH_OK);
        say_hello(f, req);
    } else {
        say_hello(f, req);
    }
}

static void read_on(fix *f, mh_req *req) {
    (void)f;
    echo_on(req);
}

static void forget(fix *f, mh_req *req, int why) {
    (void)f;
    (void)why;
    free(mh_req_user(req));
}

static void open_host(fix *f) {
    f->on_request = serve;
    f->on_readable = read_on;
    f->on_finish = forget;
    f->cfg.max_body = 32;
    if (fix_open(f) < 0) abort();
}

/* ---- the table ------------------------------------------------------------------------------- */

typedef struct wire_case {
    const char *name, *request,
        *answers; /* as "status body|status body|", chunks decoded, then what follows */
} wire_case;

#define HOST "Host: a\r\n"

/* "closed" at the end: the connection is closed in good order. */
static const wire_case cases[] = {
    {"keep-alive is 1.1's default", "GET / HTTP/1.1\r\n" HOST "\r\n", "200 hello|open"},
    {"close is honoured", "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
     "200 hello|closed"},
    {"1.0 closes", "GET / HTTP/1.0\r\n\r\n", "200 hello|closed"},
    {"1.0 with keep-alive", "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200 hello|open"},
    {"1.0 of unknown length closes", "GET /chunked HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
     "200 one two three|closed"},
    {"chunked", "GET /chunked HTTP/1.1\r\n" HOST "\r\n", "200 one two three|open"},
    {"counted", "GET /counted HTTP/1.1\r\n" HOST "\r\n", "200 one two three|open"},
    {"204 has no body", "GET /204 HTTP/1.1\r\n" HOST "\r\n", "204 |open"},
    {"304 has no body", "GET /304 HTTP/1.1\r\n" HOST "\r\n", "304 |open"},
    {"pipelined",
     "GET / HTTP/1.1\r\n" HOST "\r\nGET /counted HTTP/1.1\r\n" HOST "\r\nGET /204 HTTP/1.1\r\n" HOST
     "\r\nGET /chunked HTTP/1.1\r\n" HOST "\r\n",
     "200 hello|200 one two three|204 |200 one two three|open"},
    {"nothing is served after close",
     "GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     "200 hello|closed"},
    {"a body of known length",
     "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabcdeGET / HTTP/1.1\r\n" HOST "\r\n",
     "200 abcde|200 hello|open"},
    {"a chunked body",
     "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n02\r\nde\r\n"
     "0\r\nX: trailer\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n",
     "200 abcde|200 hello|open"},
    {"an empty chunked body",
     "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "200 |open"},
    {"an unread body is dropped",
     "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabcdeGET /counted HTTP/1.1\r\n" HOST
     "\r\n",
     "200 hello|200 one two three|open"},
    {"an unread chunked body is dropped",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"
     "0\r\n\r\nGET /204 HTTP/1.1\r\n" HOST "\r\n",
     "200 hello|204 |open"},
    {"an unread bad body ends the connection",
     "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "200 hello|closed"},
    {"a bad chunk reaches the host",
     "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabcX\r\n",
     "400 bad|closed"},
    {"a chunked body over max_body reaches the host",
     "POST /echo HTTP/1.1\r\n" HOST
     "Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n20\r\n0123456789abcdef0123456789abcdef",
     "413 bad|closed"},
    {"100-continue is sent when the host asks",
     "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
     "100 |open"},
    {"a refused expectation closes",
     "POST / HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n",
     "200 hello|closed"},
    {"no 100-continue to 1.0",
     "POST /echo HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nab", "200 ab|closed"},
    {"another expectation is 417", "GET / HTTP/1.1\r\n" HOST "Expect: more\r\n\r\n",
     "417 Expectation Failed\n|closed"},
    {"an interim answer", "GET /early HTTP/1.1\r\n" HOST "\r\n", "103 |200 hello|open"},
    {"no interim answer to 1.0", "GET /early HTTP/1.0\r\n\r\n", "200 hello|closed"},
    {"a bad head", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "400 Bad Request\n|closed"},
    {"a body that is too large", "POST / HTTP/1.1\r\n" HOST "Content-Length: 33\r\n\r\nabc",
     "413 Content Too Large\n|closed"},
    {"an answer before a refusal", "GET / HTTP/1.1\r\n" HOST "\r\nGET / HTTP/3.0\r\n" HOST "\r\n",
     "200 hello|505 HTTP Version Not Supported\n|closed"},
    {"two empty lines first", "\r\n\r\nGET / HTTP/1.1\r\n" HOST "\r\n", "200 hello|open"},
    {"an upgrade nobody takes",
     "GET / HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\nGET / HTTP/1.1\r\n" HOST
     "\r\n",
     "200 hello|200 hello|open"},
};

/* All that p is answered, in the table's words. */
static void hear(fix *f, peer *p, size_t want, char *out, size_t cap) {
    size_t n = 0;
    answer a;
    out[0] = '\0';
    for (;;) {
        bool open = want > 0 && n + 4 >= want;
        if (open) break; /* all but "open" has come */
        ANSWER(f, p, &a);
        if (a.status == 0) break;
        n += (size_t)snprintf(out + n, cap - n, "%d %.*s%s|", a.status, (int)a.n, a.body,
                              a.whole ? "" : " (cut)");
        answer_free(&a);
        if (n + 200 > cap) break;
    }
    settle(f);
    peer_pull(p);
    snprintf(out + n, cap - n, "%s%.*s",
             p->eof     ? "closed"
             : p->reset ? "reset"
                        : "open",
             (int)p->n, p->in);
}

/* The request in two parts, cut at `cut`; the first is read before the second is sent. */
static void run_case(const wire_case *c, bool tcp, size_t cut) {
    fix f;
    peer p;
    char out[4096];
    size_t n = strlen(c->request), m = strlen(c->answers);
    fix_init(&f);
    open_host(&f);
    if (tcp)
        peer_tcp(&p, &f, 0);
    else
        peer_unix(&p, &f);
    if (cut > 0) {
        peer_send_n(&f, &p, c->request, cut);
        if (!tcp) UNTIL(&f, peer_taken(&p) || peer_over(&p));
        settle(&f);
    }
    peer_send_n(&f, &p, c->request + cut, n - cut);
    bool open = m >= 4 && strcmp(c->answers + m - 4, "open") == 0;
    hear(&f, &p, open ? m : 0, out, sizeof out);
    if (strcmp(out, c->answers) != 0)
        CHECK_FAIL_("%s, cut at %zu: \"%s\", not \"%s\"", c->name, cut, out, c->answers);
    peer_close(&p);
    fix_close(&f);
}

static void every_case_is_answered_as_the_table_says(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_case(&cases[i], true, 0);
}

static void a_split_at_any_byte_changes_no_answer(void) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (size_t cut = 0; cut < strlen(cases[i].request); cut++)
            run_case(&cases[i], false, cut);
}

/* ---- single subjects ------------------------------------------------------------------------- */

static void a_request_in_single_bytes_is_one_request(void) {
    fix f;
    peer p;
    fix_init(&f);
    open_host(&f);
    peer_tcp(&p, &f, 0);
    const char *s =
        "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
    for (; *s; s++) {
        peer_send_n(&f, &p, s, 1);
        settle(&f);
    }
    CHECK_ANSWER(&f, &p, 200, "abc");
    CHECK_INT(f.begun, 1);
    peer_close(&p);
    fix_close(&f);
}

static void head_has_the_length_but_no_body(void) {
    static const char *const paths[] = {"/", "/counted"};
    static const char *const lengths[] = {"5", "13"};
    for (int i = 0; i < 2; i++) {
        fix f;
        peer p;
        answer a;
        fix_init(&f);
        open_host(&f);
        peer_tcp(&p, &f, 0);
        char request[100];
        snprintf(request, sizeof request, "HEAD %s HTTP/1.1\r\nHost: a\r\n\r\n", paths[i]);
        peer_send(&f, &p, request);
        UNTIL(&f, answer_take(&p, &a, true));
        CHECK_INT(a.status, 200);
        CHECK(strcmp(answer_field(&a, "Content-Length"), lengths[i]) == 0);
        settle(&f);
        peer_pull(&p);
        CHECK_MEM(p.in, p.n, "");
        answer_free(&a);
        peer_send(&f, &p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK_ANSWER(&f, &p, 200, "hello");
        peer_close(&p);
        fix_close(&f);
    }
}

static void the_head_says_what_follows(void) {
    static const struct {
        const char *request, *connection, *coding;
    } rows[] = {
        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "", ""},
        {"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "close", ""},
        {"GET / HTTP/1.0\r\n\r\n", "close", ""},
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "keep-alive", ""},
        {"GET /chunked HTTP/1.1\r\nHost: a\r\n\r\n", "", "chunked"},
        {"GET /chunked HTTP/1.0\r\n\r\n", "close", ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fix f;
        peer p;
        answer a;
        fix_init(&f);
        open_host(&f);
        peer_tcp(&p, &f, 0);
        peer_send(&f, &p, rows[i].request);
        ANSWER(&f, &p, &a);
        CHECK(strcmp(answer_field(&a, "Connection"), rows[i].connection) == 0);
        CHECK(strcmp(answer_field(&a, "Transfer-Encoding"), rows[i].coding) == 0);
        CHECK(strlen(answer_field(&a, "Date")) == 29);
        CHECK(strncmp(answer_field(&a, "Server"), "meinheld/", 9) == 0);
        answer_free(&a);
        peer_close(&p);
        fix_close(&f);
    }
}

static void the_body_follows_100_continue(void) {
    fix f;
    peer p;
    fix_init(&f);
    open_host(&f);
    peer_tcp(&p, &f, 0);
    peer_send(
        &f, &p,
        "POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    CHECK_ANSWER(&f, &p, 100, "");
    peer_send(&f, &p, "ab");
    CHECK_ANSWER(&f, &p, 200, "ab");
    peer_send(&f, &p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_ANSWER(&f, &p, 200, "hello");
    peer_close(&p);
    fix_close(&f);
}

static void a_body_that_ends_early_is_an_error_never_an_end(void) {
    static const char *const framings[] = {"Content-Length: 10\r\n\r\nabc",
                                           "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"};
    for (int i = 0; i < 2; i++) {
        fix f;
        peer p;
        char request[200];
        fix_init(&f);
        open_host(&f);
        peer_tcp(&p, &f, 0);
        snprintf(request, sizeof request, "POST /echo HTTP/1.1\r\nHost: a\r\n%s", framings[i]);
        peer_send(&f, &p, request);
        settle(&f);
        shutdown(p.fd, SHUT_WR);
        CHECK_ANSWER(&f, &p, 400, "bad");
        CHECK_CLOSED(&f, &p);
        peer_close(&p);
        fix_close(&f);
    }
}

static void a_half_close_after_the_request_is_answered(void) {
    fix f;
    peer p;
    fix_init(&f);
    open_host(&f);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, "GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /counted HTTP/1.1\r\nHost: a\r\n\r\n");
    shutdown(p.fd, SHUT_WR);
    CHECK_ANSWER(&f, &p, 200, "hello");
    CHECK_ANSWER(&f, &p, 200, "one two three");
    CHECK_CLOSED(&f, &p);
    peer_close(&p);
    fix_close(&f);
}

static void half_a_head_and_a_fin_is_closed_silently(void) {
    fix f;
    peer p;
    fix_init(&f);
    open_host(&f);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, "GET / HT");
    shutdown(p.fd, SHUT_WR);
    CHECK_CLOSED(&f, &p);
    CHECK_INT(f.begun, 0);
    peer_close(&p);
    fix_close(&f);
}

static void abort_it(fix *f, mh_req *req) {
    (void)f;
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, 100), MH_OK);
    CHECK_INT(mh_req_abort(req), MH_OK);
    CHECK_INT(mh_req_abort(req), MH_ECLOSED);
    CHECK_INT(mh_res_write(req, "x", 1), MH_ECLOSED);
    char c;
    CHECK_INT(mh_req_read(req, &c, 1), MH_ECLOSED);
}

static void an_abort_resets_and_finishes_once(void) {
    fix f;
    peer p;
    fix_init(&f);
    f.on_request = abort_it;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&f, peer_over(&p));
    CHECK(p.reset);
    CHECK_MEM(p.in, p.n, "");
    CHECK_INT(f.whys[MH_FINISH_ABORTED], 1);
    peer_close(&p);
    fix_close(&f);
}

static void too_little(fix *f, mh_req *req) {
    (void)f;
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, 10), MH_OK);
    CHECK_INT(mh_res_write(req, "short", 5), MH_OK);
    CHECK_INT(mh_res_end(req), MH_ERANGE);
}

static void a_response_short_of_its_length_aborts_the_connection(void) {
    fix f;
    peer p;
    fix_init(&f);
    f.on_request = too_little;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    UNTIL(&f, peer_over(&p));
    CHECK(p.reset);
    CHECK_INT(f.whys[MH_FINISH_ABORTED], 1);
    peer_close(&p);
    fix_close(&f);
}

static void count(void *user) { ++*(int *)user; }

static void too_much(fix *f, mh_req *req) {
    const mh_str pieces[] = {{"ab", 2}, {"cdef", 4}, {"gh", 2}};
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, 8), MH_OK);
    CHECK_INT(mh_res_write(req, "xyz", 3), MH_OK);
    CHECK_INT(mh_res_writev(req, pieces, 3, count, &f->n), MH_ERANGE);
    CHECK_INT(mh_res_write(req, "more", 4), MH_ERANGE);
    CHECK_INT(mh_res_writev(req, pieces, 3, count, &f->n), MH_ERANGE);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static void a_surplus_is_cut_and_reported_and_its_pieces_given_back(void) {
    fix f;
    peer p;
    fix_init(&f);
    f.on_request = too_much;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    for (int i = 1; i <= 2; i++) {
        peer_send(&f, &p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        CHECK_ANSWER(&f, &p, 200, "xyzabcde");
        CHECK_INT(f.n, 2 * i);
    }
    peer_close(&p);
    fix_close(&f);
}

static void wrong_order(fix *f, mh_req *req) {
    (void)f;
    const mh_str bad[] = {{"Bad name", 8}, {"x", 1}}, split[] = {{"X", 1}, {"a\r\nb", 4}};
    const mh_str hop[] = {{"Connection", 10}, {"close", 5}},
                 len[] = {{"Content-Length", 14}, {"3", 1}};
    char c;
    CHECK_INT(mh_res_write(req, "x", 1), MH_ESTATE);
    CHECK_INT(mh_res_end(req), MH_ESTATE);
    CHECK_INT(mh_res_file(req, 0, 0, 1, 0), MH_ESTATE);
    CHECK_INT(mh_res_head(req, 199, text(""), NULL, 0, 0), MH_EINVAL);
    CHECK_INT(mh_res_head(req, 1000, text(""), NULL, 0, 0), MH_EINVAL);
    CHECK_INT(mh_res_head(req, 200, text("a\nb"), NULL, 0, 0), MH_EINVAL);
    CHECK_INT(mh_res_head(req, 200, text(""), NULL, 0, -2), MH_EINVAL);
    CHECK_INT(mh_res_head(req, 200, text(""), bad, 1, 0), MH_EINVAL);
    CHECK_INT(mh_res_head(req, 200, text(""), split, 1, 0), MH_EINVAL);
    CHECK_INT(mh_res_head(req, 200, text(""), hop, 1, 0), MH_EINVAL);
    CHECK_INT(mh_res_head(req, 200, text(""), len, 1, 4), MH_EINVAL);
    CHECK_INT(mh_res_inform(req, 101, NULL, 0), MH_EINVAL);
    CHECK_INT(mh_res_inform(req, 200, NULL, 0), MH_EINVAL);
    CHECK_INT(mh_res_inform(req, 103, len, 1), MH_EINVAL);
    CHECK_INT(mh_req_read(req, &c, 0), MH_EINVAL);
    CHECK_INT(mh_req_read(req, NULL, 1), MH_EINVAL);
    CHECK_INT(mh_req_read(req, &c, 1), MH_EOS);
    CHECK_INT(mh_res_started(req), 0);
    CHECK_INT(mh_res_head(req, 200, text("OK"), len, 1, MH_LENGTH_UNKNOWN), MH_OK);
    CHECK_INT(mh_res_started(req), 1);
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, 0), MH_ESTATE);
    CHECK_INT(mh_res_inform(req, 103, NULL, 0), MH_ESTATE);
    CHECK_INT(say(req, "x"), MH_ESTATE);
    CHECK_INT(mh_res_write(req, "abc", 3), MH_OK);
    CHECK_INT(mh_res_end(req), MH_OK);
    CHECK_INT(mh_res_end(req), MH_ESTATE);
    CHECK_INT(mh_res_write(req, "x", 1), MH_ESTATE);
    CHECK_INT(mh_req_read(req, &c, 1), MH_ESTATE);
}

static void calls_in_the_wrong_order_are_refused_and_change_nothing(void) {
    fix f;
    peer p;
    fix_init(&f);
    f.on_request = wrong_order;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_ANSWER(&f, &p, 200, "abc");
    UNTIL(&f, f.finished == 1);
    CHECK_INT(f.why, MH_FINISH_DONE);
    CHECK_INT(f.sent, 3);
    peer_close(&p);
    fix_close(&f);
}

static void ask_all(fix *f, mh_req *req) {
    char host[64];
    uint16_t port = 1;
    mh_str name, value;
    CHECK_MEM(mh_req_method(req).p, mh_req_method(req).n, "PUT");
    CHECK_MEM(mh_req_target(req).p, mh_req_target(req).n, "/a%20b?c=d?e");
    CHECK_MEM(mh_req_path(req).p, mh_req_path(req).n, "/a%20b");
    CHECK_MEM(mh_req_query(req).p, mh_req_query(req).n, "c=d?e");
    CHECK_MEM(mh_req_host(req).p, mh_req_host(req).n, "h:81");
    CHECK_INT(mh_req_host_from_target(req), 0);
    CHECK_INT(mh_req_version(req), 11);
    CHECK_INT(mh_req_fields(req), 3);
    CHECK_INT(mh_req_field(req, 1, &name, &value), MH_OK);
    CHECK_MEM(name.p, name.n, "X-Y");
    CHECK_MEM(value.p, value.n, "z");
    CHECK_INT(mh_req_field(req, 3, &name, &value), MH_EINVAL);
    CHECK_INT(mh_req_find(req, "x-y", 3, &value), MH_OK);
    CHECK_INT(mh_req_find(req, "x-", 2, &value), MH_ENOENT);
    CHECK_MEM(mh_req_field_block(req).p, mh_req_field_block(req).n,
              "Host: h:81\r\nX-Y:  z \r\nContent-Length: 0\r\n");
    CHECK_INT(mh_req_length(req), 0);
    CHECK_INT(mh_req_expects_continue(req), 0);
    CHECK_INT(mh_req_peer(req, host, sizeof host, &port), (int)strlen(f->n ? "" : "127.0.0.1"));
    CHECK_INT(mh_req_local(req, host, sizeof host, &port), (int)strlen(f->n ? "" : "127.0.0.1"));
    CHECK_INT(port, f->n ? 0 : f->port);
    CHECK_INT(mh_req_peer(req, host, 10, &port), MH_EINVAL);
    CHECK_INT(mh_req_listener(req), f->n);
    CHECK(mh_req_loop(req) == f->loop);
    say(req, "ok");
}

static void the_request_is_told_as_it_was_sent(void) {
    fix f;
    peer p;
    fix_init(&f);
    f.on_request = ask_all;
    REQUIRE(fix_open(&f) == MH_OK);
    for (f.n = 0; f.n < 2; f.n++) {
        if (f.n == 0)
            peer_tcp(&p, &f, 0);
        else
            peer_unix(&p, &f);
        peer_send(
            &f, &p,
            "PUT /a%20b?c=d?e HTTP/1.1\r\nHost: h:81\r\nX-Y:  z \r\nContent-Length: 0\r\n\r\n");
        CHECK_ANSWER(&f, &p, 200, "ok");
        peer_close(&p);
    }
    fix_close(&f);
}

/* More fields than a request keeps in itself. */
static void fields_beyond_the_inline_ones_are_kept(void) {
    fix f;
    peer p;
    char request[4096];
    size_t n = (size_t)snprintf(request, sizeof request, "GET /echo HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 98; i++)
        n += (size_t)snprintf(request + n, sizeof request - n, "X-%d: %d\r\n", i, i);
    snprintf(request + n, sizeof request - n, "\r\n");
    fix_init(&f);
    open_host(&f);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, request);
    CHECK_ANSWER(&f, &p, 200, "");
    peer_close(&p);
    fix_close(&f);
}

int main(void) {
    RUN(every_case_is_answered_as_the_table_says);
    RUN(a_split_at_any_byte_changes_no_answer);
    RUN(a_request_in_single_bytes_is_one_request);
    RUN(head_has_the_length_but_no_body);
    RUN(the_head_says_what_follows);
    RUN(the_body_follows_100_continue);
    RUN(a_body_that_ends_early_is_an_error_never_an_end);
    RUN(a_half_close_after_the_request_is_answered);
    RUN(half_a_head_and_a_fin_is_closed_silently);
    RUN(an_abort_resets_and_finishes_once);
    RUN(a_response_short_of_its_length_aborts_the_connection);
    RUN(a_surplus_is_cut_and_reported_and_its_pieces_given_back);
    RUN(calls_in_the_wrong_order_are_refused_and_change_nothing);
    RUN(the_request_is_told_as_it_was_sent);
    RUN(fields_beyond_the_inline_ones_are_kept);
    return check_end();
}
