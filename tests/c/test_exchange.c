/* Exchanges over real sockets, as far as the cases of tests/wire can't say what must hold
 * (test_wire_server.c runs those): the calls of a host and their results, in order and out of it.
 */
#include "child.h"
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

static void serve(fix *f, mh_req *req) {
    if (req_is(req, "/echo")) {
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

/* ---- bodies and interim answers -------------------------------------------------------------- */

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

static void an_error_of_the_body_is_told_to_the_host_and_stays(void) {
    static const struct {
        const char *chunks;
        int status;
    } rows[] = {
        {"3\r\nabcX\r\n", 400},
        {"1\r\na\r\n20\r\n0123456789abcdef0123456789abcdef", 413},
    };
    for (int i = 0; i < 2; i++) {
        fix f;
        peer p;
        fix_init(&f);
        open_host(&f);
        peer_tcp(&p, &f, 0);
        peer_send(&f, &p, "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
        peer_send(&f, &p, rows[i].chunks);
        CHECK_ANSWER(&f, &p, rows[i].status, "bad");
        CHECK_CLOSED(&f, &p);
        peer_close(&p);
        fix_close(&f);
    }
}

static void keep_it(fix *f, mh_req *req) { f->req = req; }

static void one_read_takes_all_chunks_that_have_come(void) {
    fix f;
    peer p;
    char body[100];
    fix_init(&f);
    f.on_request = keep_it;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p,
              "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
              "1\r\na\r\n2\r\nbc\r\n3\r\nde");
    UNTIL(&f, f.begun == 1);
    settle(&f);
    CHECK_INT(mh_req_read(f.req, body, 2), 2);
    CHECK_INT(mh_req_read(f.req, body + 2, sizeof body - 2), 3);
    CHECK_MEM(body, 5, "abcde");
    CHECK_INT(mh_req_complete(f.req), 0);
    CHECK_INT(mh_req_read(f.req, body, sizeof body), MH_EAGAIN);
    peer_send(&f, &p, "f\r\n1\r\ng\r\n0\r\n\r\n");
    UNTIL(&f, f.readable == 1);
    CHECK_INT(mh_req_read(f.req, body, sizeof body), 2);
    CHECK_MEM(body, 2, "fg");
    CHECK_INT(mh_req_complete(f.req), 1);
    CHECK_INT(mh_req_read(f.req, body, sizeof body), MH_EOS);
    say_hello(&f, f.req);
    CHECK_ANSWER(&f, &p, 200, "hello");
    peer_close(&p);
    fix_close(&f);
}

static void what_is_wrong_behind_good_chunks_is_told_by_the_next_read(void) {
    fix f;
    peer p;
    char body[100];
    fix_init(&f);
    f.on_request = keep_it;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p,
              "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
              "1\r\na\r\n2\r\nbc\r\nX\r\n");
    UNTIL(&f, f.begun == 1);
    CHECK_INT(mh_req_read(f.req, body, sizeof body), 3);
    CHECK_MEM(body, 3, "abc");
    CHECK_INT(mh_req_complete(f.req), 0);
    CHECK_INT(mh_req_read(f.req, body, sizeof body), MH_EBODY);
    CHECK_INT(mh_req_complete(f.req), 0);
    say_hello(&f, f.req);
    CHECK_ANSWER(&f, &p, 200, "hello");
    CHECK_CLOSED(&f, &p);
    peer_close(&p);
    fix_close(&f);
}

/* The head of the answer had gone before the body was looked at, and could not say so. */
static void a_bad_body_that_the_host_left_unread_ends_the_connection(void) {
    fix f;
    peer p;
    fix_init(&f);
    open_host(&f);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p,
              "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
              "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK_ANSWER(&f, &p, 200, "hello");
    CHECK_CLOSED(&f, &p);
    CHECK_INT(f.begun, 1);
    peer_close(&p);
    fix_close(&f);
}

/* Its next bytes may be the body or a request: it was not told to send the body. */
static void an_answer_without_100_continue_ends_the_connection(void) {
    fix f;
    peer p;
    answer a;
    fix_init(&f);
    open_host(&f);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p,
              "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    ANSWER(&f, &p, &a);
    CHECK_INT(a.status, 200);
    CHECK(strcmp(answer_field(&a, "Connection"), "close") == 0);
    answer_free(&a);
    CHECK_CLOSED(&f, &p);
    peer_close(&p);
    fix_close(&f);
}

static void an_interim_answer_comes_first_and_not_to_1_0(void) {
    fix f;
    peer p;
    fix_init(&f);
    open_host(&f);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, "GET /early HTTP/1.1\r\nHost: a\r\n\r\nGET /early HTTP/1.0\r\n\r\n");
    CHECK_ANSWER(&f, &p, 103, "");
    CHECK_ANSWER(&f, &p, 200, "hello");
    CHECK_ANSWER(&f, &p, 200, "hello");
    CHECK_CLOSED(&f, &p);
    peer_close(&p);
    fix_close(&f);
}

/* ---- responses ------------------------------------------------------------------------------- */

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

static fix *forked;

static void abort_and_free(mh_loop *loop) {
    CHECK_INT(mh_req_abort(forked->req), MH_OK);
    mh_loop_free(loop);
}

static void an_abort_in_a_child_does_not_reset_the_parents_connection(void) {
    fix f;
    peer p;
    fix_init(&f);
    REQUIRE(fix_open(&f) == MH_OK);
    forked = &f;
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    UNTIL(&f, f.req);
    REQUIRE(f.req);
    CHECK(in_child(f.loop, abort_and_free));
    say_hello(&f, f.req);
    CHECK_ANSWER(&f, &p, 200, "hello");
    CHECK_CLOSED(&f, &p);
    peer_close(&p);
    fix_close(&f);
}

static void begin_an_answer(fix *f, mh_req *req) {
    (void)f;
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, 1000), MH_OK);
    CHECK_INT(mh_res_write(req, "begun", 5), MH_OK);
}

static void on_finish_tells_what_was_sent_of_an_answer_that_was_cut(void) {
    static const int whys[] = {MH_FINISH_ABORTED, MH_FINISH_PEER_CLOSED};
    for (int i = 0; i < 2; i++) {
        fix f;
        peer p;
        fix_init(&f);
        f.on_request = begin_an_answer;
        REQUIRE(fix_open(&f) == MH_OK);
        peer_tcp(&p, &f, 0);
        peer_send(&f, &p, "GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        UNTIL(&f, peer_pull(&p) && p.n > 5 && memcmp(p.in + p.n - 5, "begun", 5) == 0);
        REQUIRE(f.req);
        CHECK_INT(mh_res_sent(f.req), 5);
        if (whys[i] == MH_FINISH_ABORTED)
            CHECK_INT(mh_req_abort(f.req), MH_OK);
        else
            peer_reset(&p);
        UNTIL(&f, f.finished == 1);
        CHECK_INT(f.why, whys[i]);
        CHECK_INT(f.sent, 5);
        peer_close(&p);
        fix_close(&f);
    }
}

/* The head of a response that nobody has asked for. */
static void whether_a_head_may_be_sent_can_be_asked_without_an_exchange(void) {
    const mh_str good[] = {text("X"), text("x"), text("Content-Length"), text("5")};
    const mh_str twice[] = {text("Content-Length"), text("5"), text("content-length"), text("5")};
    const mh_str hop[] = {text("Connection"), text("close")}, bad[] = {text("X"), text("a\r")};
    CHECK_INT(mh_res_check(200, text("OK"), NULL, 0), MH_OK);
    CHECK_INT(mh_res_check(999, text(""), good, 2), MH_OK);
    CHECK_INT(mh_res_check(199, text("OK"), good, 2), MH_EINVAL);
    CHECK_INT(mh_res_check(1000, text("OK"), good, 2), MH_EINVAL);
    CHECK_INT(mh_res_check(200, text("O\nK"), good, 2), MH_EINVAL);
    CHECK_INT(mh_res_check(200, text("OK"), twice, 2), MH_EINVAL);
    CHECK_INT(mh_res_check(200, text("OK"), hop, 1), MH_EINVAL);
    CHECK_INT(mh_res_check(200, text("OK"), bad, 1), MH_EINVAL);
}

int main(void) {
    RUN(whether_a_head_may_be_sent_can_be_asked_without_an_exchange);
    RUN(a_body_that_ends_early_is_an_error_never_an_end);
    RUN(an_error_of_the_body_is_told_to_the_host_and_stays);
    RUN(one_read_takes_all_chunks_that_have_come);
    RUN(what_is_wrong_behind_good_chunks_is_told_by_the_next_read);
    RUN(a_bad_body_that_the_host_left_unread_ends_the_connection);
    RUN(an_answer_without_100_continue_ends_the_connection);
    RUN(an_interim_answer_comes_first_and_not_to_1_0);
    RUN(an_abort_resets_and_finishes_once);
    RUN(a_response_short_of_its_length_aborts_the_connection);
    RUN(a_surplus_is_cut_and_reported_and_its_pieces_given_back);
    RUN(the_request_is_told_as_it_was_sent);
    RUN(on_finish_tells_what_was_sent_of_an_answer_that_was_cut);
    RUN(an_abort_in_a_child_does_not_reset_the_parents_connection);
    return check_end();
}
