/* Connections that are idle when a server drains: kept for a while, since a request may be under
 * way to them (RFC 9112 9.5), and no longer. */
#include "timed.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static void on_drained(mh_server *srv, void *user) {
    CHECK_INT(mh_server_connections(srv), 0);
    ++*(int *)user;
}

static void drain(fix *f, uint32_t timeout_ms, int *drained) {
    *drained = 0;
    CHECK_INT(mh_server_drain(f->srv, timeout_ms, on_drained, drained), MH_OK);
    settle(f);
}

static void check_answer_closes(fix *f, peer *p) {
    answer a;
    ANSWER(f, p, &a);
    CHECK_INT(a.status, 200);
    const char *connection = answer_field(&a, "Connection");
    CHECK(connection && strcmp(connection, "close") == 0);
    answer_free(&a);
}

static void an_idle_connection_is_closed_two_seconds_into_a_drain(void) {
    fix f;
    peer p, fresh;
    int drained;
    begin(&f, &p);
    f.on_request = say_hello;
    f.cfg.keepalive_timeout = 60000;
    open_pair(&f, &p);
    peer_unix(&fresh, &f);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    drain(&f, 0, &drained);
    pass(&f, 1999);
    CHECK(is_open(&p) && is_open(&fresh));
    CHECK_INT(drained, 0);
    pass(&f, 1);
    CHECK_CLOSED(&f, &p);
    CHECK_CLOSED(&f, &fresh);
    settle(&f);
    CHECK_INT(drained, 1);
    peer_close(&fresh);
    finish(&f, &p);
}

static void a_request_under_way_when_a_drain_begins_is_answered_with_close(void) {
    fix f;
    peer p, fresh;
    int drained;
    begin(&f, &p);
    f.on_request = say_hello;
    open_pair(&f, &p);
    peer_unix(&fresh, &f);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    drain(&f, 0, &drained);
    pass(&f, 1000);
    peer_send(&f, &p, GET);
    check_answer_closes(&f, &p);
    peer_send(&f, &fresh, GET);
    check_answer_closes(&f, &fresh);
    peer_close(&fresh);
    peer_close(&p);
    settle(&f);
    CHECK_INT(drained, 1); /* it waits for nobody else */
    finish(&f, &p);
}

/* Its answer has not said close, so its client may send the next request. */
static void a_connection_that_was_promised_to_be_kept_is_kept_as_long(void) {
    for (int again = 0; again <= 1; again++) {
        fix f;
        peer p;
        int drained;
        begin(&f, &p);
        open_pair(&f, &p);
        peer_send(&f, &p, GET);
        UNTIL(&f, f.req);
        CHECK_INT(mh_res_head(f.req, 200, (mh_str){0}, NULL, 0, 0), MH_OK);
        settle(&f);
        drain(&f, 0, &drained);
        CHECK_INT(mh_res_end(f.req), MH_OK);
        CHECK_ANSWER(&f, &p, 200, "");
        f.on_request = say_hello;
        pass(&f, 1999);
        CHECK(is_open(&p));
        if (again) {
            peer_send(&f, &p, GET);
            check_answer_closes(&f, &p);
        } else {
            pass(&f, 1);
        }
        CHECK_CLOSED(&f, &p);
        peer_close(&p);
        settle(&f);
        CHECK_INT(drained, 1);
        finish(&f, &p);
    }
}

static void a_connection_that_is_to_be_idle_after_that_time_is_closed(void) {
    fix f;
    peer p;
    int drained;
    begin(&f, &p);
    open_pair(&f, &p);
    peer_send(&f, &p, GET);
    UNTIL(&f, f.req);
    CHECK_INT(mh_res_head(f.req, 200, (mh_str){0}, NULL, 0, 0), MH_OK);
    settle(&f);
    drain(&f, 0, &drained);
    pass(&f, 2000);
    CHECK(is_open(&p));
    CHECK_INT(mh_res_end(f.req), MH_OK);
    CHECK_ANSWER(&f, &p, 200, "");
    CHECK_CLOSED(&f, &p);
    peer_close(&p);
    settle(&f);
    CHECK_INT(drained, 1);
    finish(&f, &p);
}

/* A reset would be an error to its owner, who has done nothing and waits for nothing. */
static void the_end_of_a_drain_closes_the_idle_in_order(void) {
    fix f;
    peer p;
    int drained;
    begin(&f, &p);
    f.on_request = say_hello;
    open_pair(&f, &p);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    drain(&f, 1000, &drained);
    pass(&f, 999);
    CHECK(is_open(&p));
    pass(&f, 1);
    CHECK_CLOSED(&f, &p);
    CHECK_INT(drained, 1);
    finish(&f, &p);
}

static void the_keepalive_timeout_goes_on_in_a_drain(void) {
    fix f;
    peer p;
    int drained;
    begin(&f, &p);
    f.on_request = say_hello;
    f.cfg.keepalive_timeout = 500;
    open_pair(&f, &p);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    drain(&f, 0, &drained);
    pass(&f, 500);
    CHECK_CLOSED(&f, &p);
    CHECK_INT(drained, 1);
    finish(&f, &p);
}

int main(void) {
    RUN(an_idle_connection_is_closed_two_seconds_into_a_drain);
    RUN(a_request_under_way_when_a_drain_begins_is_answered_with_close);
    RUN(a_connection_that_was_promised_to_be_kept_is_kept_as_long);
    RUN(a_connection_that_is_to_be_idle_after_that_time_is_closed);
    RUN(the_end_of_a_drain_closes_the_idle_in_order);
    RUN(the_keepalive_timeout_goes_on_in_a_drain);
    return check_end();
}
