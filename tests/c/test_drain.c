/* mh_server_drain in every state of a connection, and freeing a server where that is refused. */
#include "client.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static void on_drained(mh_server *srv, void *user) {
    CHECK_INT(mh_server_connections(srv), 0);
    ++*(int *)user;
}

static void a_drain_closes_the_idle_and_waits_for_the_busy(void) {
    fix f;
    peer idle, fresh, busy, head;
    answer a;
    int drained = 0;
    fix_init(&f);
    f.cfg.drain_idle = 0;
    f.on_request = say_hello;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&idle, &f, 0);
    peer_send(&f, &idle, GET);
    CHECK_ANSWER(&f, &idle, 200, "hello");
    f.on_request = NULL;
    peer_tcp(&fresh, &f, 0);
    peer_unix(&busy, &f);
    peer_unix(&head, &f);
    peer_send(&f, &busy, GET GET);
    peer_send_n(&f, &head, GET, 9);
    UNTIL(&f, f.req && mh_server_connections(f.srv) == 4);
    settle(&f);
    CHECK_INT(mh_server_drain(f.srv, 0, on_drained, &drained), MH_OK);
    CHECK_INT(unix_connect(f.path), -1);
    CHECK_CLOSED(&f, &idle);
    CHECK_CLOSED(&f, &fresh);
    CHECK_INT(drained, 0);
    CHECK_INT(say(f.req, "busy"), MH_OK);
    ANSWER(&f, &busy, &a);
    CHECK(strcmp(answer_field(&a, "Connection"), "close") == 0);
    answer_free(&a);
    peer_send(&f, &head, &GET[9]); /* its head had begun: it is served */
    UNTIL(&f, f.req);
    CHECK_INT(say(f.req, "head"), MH_OK);
    CHECK_ANSWER(&f, &head, 200, "head");
    peer_close(&busy);
    peer_close(&head);
    UNTIL(&f, drained);
    settle(&f);
    CHECK_INT(drained, 1);
    CHECK_INT(f.begun, 3);
    CHECK_INT(f.whys[MH_FINISH_DONE], 3);
    peer_close(&idle);
    peer_close(&fresh);
    fix_close(&f);
}

/* More than one step reads. */
static void a_request_that_waits_in_its_socket_at_a_drain_is_answered(void) {
    enum { PEERS = 8 };
    fix f;
    peer p[PEERS];
    int drained = 0;
    fix_init(&f);
    f.loop_cfg.max_events = 1;
    f.on_request = say_hello;
    REQUIRE(fix_open(&f) == MH_OK);
    for (int i = 0; i < PEERS; i++) {
        peer_unix(&p[i], &f);
        peer_send(&f, &p[i], GET);
        CHECK_ANSWER(&f, &p[i], 200, "hello");
    }
    for (int i = 0; i < PEERS; i++) /* without a step */
        REQUIRE(send(p[i].fd, GET, strlen(GET), 0) > 0);
    CHECK_INT(mh_server_drain(f.srv, 0, on_drained, &drained), MH_OK);
    for (int i = 0; i < PEERS; i++) {
        CHECK_ANSWER(&f, &p[i], 200, "hello");
        peer_close(&p[i]); /* as the answer told it to */
    }
    UNTIL(&f, drained == 1);
    fix_close(&f);
}

/* They are connected, as far as they know; closing the listener would reset them. */
static void connections_that_wait_to_be_accepted_at_a_drain_are_served(void) {
    enum { PEERS = 8 };
    for (uint32_t idle = 0; idle <= 60000; idle += 60000) {
        fix f;
        peer tcp[PEERS], local[PEERS];
        int drained = 0;
        fix_init(&f);
        f.cfg.drain_idle = idle;
        f.cfg.accept_batch = 1;
        f.on_request = say_hello;
        REQUIRE(fix_open(&f) == MH_OK);
        for (int i = 0; i < PEERS; i++) { /* without a step */
            peer_tcp(&tcp[i], &f, 0);
            peer_unix(&local[i], &f);
            REQUIRE(send(tcp[i].fd, GET, strlen(GET), 0) > 0);
            REQUIRE(send(local[i].fd, GET, strlen(GET), 0) > 0);
        }
        CHECK_INT(mh_server_drain(f.srv, 0, on_drained, &drained), MH_OK);
        CHECK_INT(mh_server_connections(f.srv), 2 * PEERS);
        for (int i = 0; i < PEERS; i++) {
            CHECK_ANSWER(&f, &tcp[i], 200, "hello");
            CHECK_ANSWER(&f, &local[i], 200, "hello");
            peer_close(&tcp[i]);
            peer_close(&local[i]);
        }
        UNTIL(&f, drained == 1);
        fix_close(&f);
    }
}

static void no_more_are_accepted_at_a_drain_than_may_be_open(void) {
    enum { PEERS = 5, MOST = 3 };
    fix f;
    peer p[PEERS];
    int drained = 0;
    fix_init(&f);
    f.cfg.max_connections = MOST;
    f.on_request = say_hello;
    REQUIRE(fix_open(&f) == MH_OK);
    for (int i = 0; i < PEERS; i++)
        peer_unix(&p[i], &f);
    CHECK_INT(mh_server_drain(f.srv, 0, on_drained, &drained), MH_OK);
    CHECK_INT(mh_server_connections(f.srv), MOST);
    for (int i = 0; i < PEERS; i++)
        peer_close(&p[i]);
    UNTIL(&f, drained == 1);
    fix_close(&f);
}

static void drain_within(fix *f, mh_req *req) {
    CHECK_INT(mh_server_drain(f->srv, 0, on_drained, &f->n), MH_OK);
    CHECK_INT(mh_server_free(f->srv), MH_ESTATE);
    CHECK_INT(say(req, "last"), MH_OK);
}

static void a_drain_inside_a_callback_serves_that_request(void) {
    fix f;
    peer p;
    fix_init(&f);
    f.on_request = drain_within;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "last");
    peer_close(&p);
    UNTIL(&f, f.n == 1);
    fix_close(&f);
}

static void free_again(fix *f, mh_req *req, int why) {
    (void)req;
    CHECK_INT(why, MH_FINISH_ABORTED);
    CHECK_INT(mh_server_free(f->srv), MH_ESTATE);
    CHECK_INT(mh_loop_step(f->loop, 0), MH_ESTATE);
}

static void a_server_that_is_being_freed_is_not_freed_again(void) {
    fix f;
    peer p;
    fix_init(&f);
    f.on_finish = free_again;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, GET);
    UNTIL(&f, f.req);
    CHECK_INT(mh_server_free(f.srv), MH_OK);
    CHECK_INT(f.finished, 1);
    peer_close(&p);
    fix_close(&f);
}

static void a_drain_ends_the_rest_at_its_time(void) {
    fix f;
    peer p;
    int drained = 0;
    fix_init(&f);
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, GET);
    UNTIL(&f, f.req);
    CHECK_INT(mh_server_drain(f.srv, 20, on_drained, &drained), MH_OK);
    UNTIL(&f, drained);
    CHECK_INT(f.whys[MH_FINISH_ABORTED], 1);
    UNTIL(&f, peer_over(&p));
    CHECK(p.reset);
    peer_close(&p);
    fix_close(&f);
}

static void a_drain_without_connections_is_done_in_a_step(void) {
    fix f;
    int drained = 0;
    fix_init(&f);
    REQUIRE(fix_open(&f) == MH_OK);
    CHECK_INT(mh_server_drain(f.srv, 1000, on_drained, &drained), MH_OK);
    CHECK_INT(drained, 0); /* never inside the call */
    UNTIL(&f, drained == 1);
    fix_close(&f);
}

/* Output is pending, more than one step sends, to a peer that reads: such a connection is idle once
 * it has left. */
static void a_drain_closes_what_is_idle_but_for_its_output(void) {
    for (uint32_t budget = 1; budget < 300; budget = budget * 2 + 1) {
        fix f;
        peer p;
        int drained = 0;
        fix_init(&f);
        f.on_request = say_hello;
        f.cfg.step_write = budget;
        f.cfg.drain_idle = 0;
        f.cfg.keepalive_timeout = 600000;
        REQUIRE(fix_open(&f) == MH_OK);
        peer_unix(&p, &f);
        peer_send(&f, &p, GET);
        UNTIL(&f, f.begun == 1);
        CHECK_INT(mh_server_drain(f.srv, 0, on_drained, &drained), MH_OK);
        CHECK_ANSWER(&f, &p, 200, "hello");
        CHECK_CLOSED(&f, &p);
        peer_close(&p);
        UNTIL(&f, drained);
        fix_close(&f);
    }
}

int main(void) {
    RUN(a_drain_closes_the_idle_and_waits_for_the_busy);
    RUN(a_request_that_waits_in_its_socket_at_a_drain_is_answered);
    RUN(connections_that_wait_to_be_accepted_at_a_drain_are_served);
    RUN(no_more_are_accepted_at_a_drain_than_may_be_open);
    RUN(a_drain_inside_a_callback_serves_that_request);
    RUN(a_server_that_is_being_freed_is_not_freed_again);
    RUN(a_drain_ends_the_rest_at_its_time);
    RUN(a_drain_without_connections_is_done_in_a_step);
    RUN(a_drain_closes_what_is_idle_but_for_its_output);
    return check_end();
}
