/* drain_idle: what a drain leaves to connections that are kept, on a clock of the test's own. */
#include "timed.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

enum { LEFT = 2000 };

/* A server whose first connection is open, and keeps its connections that long once it drains. */
static void begin_with(fix *f, peer *p, void (*on_request)(fix *f, mh_req *req)) {
    begin(f, p);
    f->cfg.drain_idle = LEFT;
    f->on_request = on_request;
    open_pair(f, p);
}

static void drain(fix *f) {
    CHECK_INT(mh_server_drain(f->srv, 0, NULL, NULL), MH_OK);
    settle(f);
}

static void check_answered_with_close(fix *f, peer *p) {
    answer a;
    ANSWER(f, p, &a);
    CHECK_INT(a.status, 200);
    CHECK(strcmp(answer_field(&a, "Connection"), "close") == 0);
    answer_free(&a);
}

static void an_idle_connection_is_closed_when_its_time_is_over(void) {
    fix f;
    peer p;
    begin_with(&f, &p, say_hello);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    drain(&f);
    pass(&f, LEFT - 1);
    CHECK(is_open(&p));
    pass(&f, 1);
    CHECK_CLOSED(&f, &p);
    finish(&f, &p);
}

static void a_new_connection_has_the_same_time(void) {
    fix f;
    peer p;
    begin_with(&f, &p, say_hello);
    drain(&f);
    pass(&f, LEFT - 1);
    CHECK(is_open(&p));
    pass(&f, 1);
    CHECK_CLOSED(&f, &p);
    finish(&f, &p);
}

static void a_request_that_was_on_its_way_is_answered_with_close(void) {
    fix f;
    peer p;
    begin_with(&f, &p, say_hello);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    drain(&f);
    pass(&f, LEFT - 1);
    peer_send(&f, &p, GET);
    check_answered_with_close(&f, &p);
    peer_close(&p);
    UNTIL(&f, mh_server_connections(f.srv) == 0);
    finish(&f, &p);
}

static void an_open_request_is_answered_with_close(void) {
    fix f;
    peer p;
    begin_with(&f, &p, NULL);
    peer_send(&f, &p, GET);
    UNTIL(&f, f.req);
    drain(&f);
    pass(&f, 10 * LEFT);
    CHECK_INT(say(f.req, "late"), MH_OK);
    check_answered_with_close(&f, &p);
    finish(&f, &p);
}

static void begin_to_answer(fix *f, mh_req *req) {
    (void)f;
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, MH_LENGTH_UNKNOWN), MH_OK);
}

/* Its client may have sent another request as soon as it had the end of this one. */
static void a_response_that_did_not_say_close_is_followed_by_another(void) {
    fix f;
    peer p;
    begin_with(&f, &p, begin_to_answer);
    peer_send(&f, &p, GET);
    UNTIL(&f, f.req);
    settle(&f);
    drain(&f);
    f.on_request = say_hello;
    CHECK_INT(mh_res_end(f.req), MH_OK);
    CHECK_ANSWER(&f, &p, 200, "");
    pass(&f, LEFT - 1);
    CHECK(is_open(&p));
    peer_send(&f, &p, GET);
    check_answered_with_close(&f, &p);
    finish(&f, &p);
}

static void without_it_nothing_is_kept(void) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_request = say_hello;
    open_pair(&f, &p);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    drain(&f);
    CHECK_CLOSED(&f, &p);
    finish(&f, &p);
}

int main(void) {
    RUN(an_idle_connection_is_closed_when_its_time_is_over);
    RUN(a_new_connection_has_the_same_time);
    RUN(a_request_that_was_on_its_way_is_answered_with_close);
    RUN(an_open_request_is_answered_with_close);
    RUN(a_response_that_did_not_say_close_is_followed_by_another);
    RUN(without_it_nothing_is_kept);
    return check_end();
}
