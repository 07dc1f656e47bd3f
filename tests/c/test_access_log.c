/* The access log of a server: one line for each exchange that has ended, whatever its end, with the
 * bytes that went and the time that it took, and one for each request that was refused. The log
 * itself is test_access_log_life.c's. */
#include "accesslog.h"

#define POST   "POST /read HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n"
#define TCP_AT "127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] "

/* The requests, then want after the end. */
static void check_case(const char *sends, const char *want) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    peer_send(&f, &p, sends);
    settle(&f);
    peer_close(&p);
    settle(&f);
    pass(&f, 200);
    CHECK_LOGGED(want);
    if (check_failed) CHECK_FAIL_("after %s", sends);
    end_log(&f, &p);
}

/* ---- ends ------------------------------------------------------------------------------------ */

static void each_exchange_has_one_line_with_the_bytes_of_its_body(void) {
    check_case(GET, UNIX_AT "\"GET / HTTP/1.1\" 200 5" NOBODY);
    check_case("GET /?q=%20 HTTP/1.0\r\nReferer: r\r\nUser-Agent: u\r\n\r\n",
               UNIX_AT "\"GET /?q=%20 HTTP/1.0\" 200 5 \"r\" \"u\"\n");
    check_case("HEAD / HTTP/1.1\r\n" HOST "\r\n", UNIX_AT "\"HEAD / HTTP/1.1\" 200 -" NOBODY);
    check_case("GET /204 HTTP/1.1\r\n" HOST "\r\n", UNIX_AT "\"GET /204 HTTP/1.1\" 204 -" NOBODY);
    check_case("GET /304 HTTP/1.1\r\n" HOST "\r\n", UNIX_AT "\"GET /304 HTTP/1.1\" 304 -" NOBODY);
    check_case("GET /chunks HTTP/1.1\r\n" HOST "\r\n",
               UNIX_AT "\"GET /chunks HTTP/1.1\" 200 15" NOBODY);
    check_case("GET http://b/c HTTP/1.1\r\n" HOST "\r\n",
               UNIX_AT "\"GET http://b/c HTTP/1.1\" 200 5" NOBODY);
    check_case(POST "12345", UNIX_AT "\"POST /read HTTP/1.1\" 200 4" NOBODY);
    check_case("POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n12345",
               UNIX_AT "\"POST / HTTP/1.1\" 200 5" NOBODY);
}

static void of_several_fields_the_first_counts_and_names_have_any_case(void) {
    check_case("GET / HTTP/1.1\r\n" HOST
               "referrr: x\r\nREFERER: r\r\nuser-agent: u\r\nReferer: s\r\nUser-Agent: v\r\n\r\n",
               UNIX_AT "\"GET / HTTP/1.1\" 200 5 \"r\" \"u\"\n");
}

static void pipelined_requests_are_told_in_order(void) {
    check_case(GET "GET /204 HTTP/1.1\r\n" HOST "\r\n" GET, UNIX_AT
               "\"GET / HTTP/1.1\" 200 5" NOBODY UNIX_AT
               "\"GET /204 HTTP/1.1\" 204 -" NOBODY UNIX_AT "\"GET / HTTP/1.1\" 200 5" NOBODY);
}

static void a_tcp_peer_has_an_address(void) {
    fix f;
    peer p, q;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    peer_tcp(&q, &f, 0);
    peer_send(&f, &q, GET);
    CHECK_ANSWER(&f, &q, 200, "hello");
    peer_close(&q);
    settle(&f);
    pass(&f, 200);
    CHECK_LOGGED(TCP_AT "\"GET / HTTP/1.1\" 200 5" NOBODY);
    end_log(&f, &p);
}

static void what_the_host_gives_up_is_444_and_499_if_the_client_left_first(void) {
    check_case("GET /abort HTTP/1.1\r\n" HOST "\r\n",
               UNIX_AT "\"GET /abort HTTP/1.1\" 444 -" NOBODY);
    check_case(POST "123", UNIX_AT "\"POST /read HTTP/1.1\" 499 -" NOBODY);
    check_case("GET /park HTTP/1.1\r\n" HOST "\r\n", UNIX_AT "\"GET /park HTTP/1.1\" 499 -" NOBODY);
}

/* A half-close, by which a host that waits takes its client for gone. */
static void so_is_what_it_gives_up_after_the_client_has_shut_its_side(void) {
    fix f;
    peer p, q;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    peer_tcp(&q, &f, 0);
    peer_send(&f, &q, "GET /park HTTP/1.1\r\n" HOST "\r\n");
    settle(&f);
    shutdown(q.fd, SHUT_WR);
    UNTIL(&f, f.hangups == 1);
    CHECK_INT(mh_req_abort(f.req), MH_OK);
    settle(&f);
    pass(&f, 200);
    CHECK_LOGGED(TCP_AT "\"GET /park HTTP/1.1\" 499 -" NOBODY);
    peer_close(&q);
    end_log(&f, &p);
}

static void an_upgrade_is_101(void) {
    check_case("GET /upgrade HTTP/1.1\r\n" HOST "\r\n",
               UNIX_AT "\"GET /upgrade HTTP/1.1\" 101 -" NOBODY);
}

static void a_connection_without_a_request_has_no_line(void) {
    check_case("", "");
    check_case("\r\n", "");
    check_case("GET / HT", "");
    check_case(GET "GET / HT", UNIX_AT "\"GET / HTTP/1.1\" 200 5" NOBODY);
}

static void a_response_that_is_cut_tells_what_went(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_JSON);
    peer_send(&f, &p, "GET /big HTTP/1.1\r\n" HOST "\r\n");
    settle(&f);
    CHECK_INT(f.finished, 0);
    peer_close(&p);
    UNTIL(&f, f.finished == 1);
    pass(&f, 200);
    CHECK_INT(count_lines(logged()), 1);
    CHECK(strncmp(member("\"status\":"), "200,", 4) == 0);
    CHECK(strncmp(member("\"end\":"), "\"peer_closed\"", 13) == 0);
    uint64_t bytes = strtoull(member("\"bytes\":"), NULL, 10);
    CHECK(bytes > 0 && bytes < BIG);
    CHECK_INT(bytes, f.sent);
    end_log(&f, &p);
}

static void a_reader_that_is_too_slow_is_a_timeout(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_JSON);
    peer_send(&f, &p, "GET /big HTTP/1.1\r\n" HOST "\r\n");
    settle(&f);
    for (int i = 0; i < 70; i++)
        pass(&f, 1000);
    CHECK_INT(f.finished, 1);
    CHECK_INT(count_lines(logged()), 1);
    CHECK(strncmp(member("\"status\":"), "200,", 4) == 0);
    CHECK(strncmp(member("\"end\":"), "\"timeout\"", 9) == 0);
    end_log(&f, &p);
}

static void a_body_that_is_too_slow_is_408(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_JSON);
    peer_send(&f, &p, POST);
    settle(&f);
    for (int i = 0; i < 40; i++)
        pass(&f, 1000);
    CHECK_INT(f.finished, 1);
    CHECK_INT(count_lines(logged()), 1);
    CHECK(strncmp(member("\"status\":"), "408,", 4) == 0);
    CHECK(strncmp(member("\"end\":"), "\"timeout\"", 9) == 0);
    end_log(&f, &p);
}

static void what_is_open_when_the_server_is_freed_is_told(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    peer_send(&f, &p, "GET /park HTTP/1.1\r\n" HOST "\r\n");
    settle(&f);
    fix_close(&f);
    CHECK_LOGGED(UNIX_AT "\"GET /park HTTP/1.1\" 444 -" NOBODY);
    peer_close(&p);
    clock_go();
    close(log_fd);
}

static int seen_status;

static void see_status(fix *f, mh_req *req, int why) {
    (void)f;
    (void)why;
    uint16_t port;
    char host[46];
    CHECK_INT(mh_req_peer(req, host, sizeof host, &port), 9); /* it is kept */
    CHECK_MEM(host, strlen(host), "127.0.0.1");
    seen_status = mh_res_status(req);
}

static void on_finish_is_told_the_status_of_the_line(void) {
    static const struct {
        const char *sends;
        int status;
    } rows[] = {{GET, 200},
                {"GET /204 HTTP/1.1\r\n" HOST "\r\n", 204},
                {"GET /abort HTTP/1.1\r\n" HOST "\r\n", 444},
                {"GET /park HTTP/1.1\r\n" HOST "\r\n", 499},
                {"GET /upgrade HTTP/1.1\r\n" HOST "\r\n", 101}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fix f;
        peer p;
        begin(&f, &p); /* without a log */
        f.on_request = serve;
        f.on_finish = see_status;
        REQUIRE(fix_open(&f) == MH_OK);
        peer_tcp(&p, &f, 0);
        peer_send(&f, &p, rows[i].sends);
        UNTIL(&f, f.begun == 1);
        settle(&f);
        peer_reset(&p);
        UNTIL(&f, f.finished == 1);
        CHECK_INT(seen_status, rows[i].status);
        finish(&f, &p);
    }
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void a_request_that_is_refused_is_told_as_it_came(void) {
    check_case("NONSENSE\r\n\r\n", UNIX_AT "\"NONSENSE\" 400 12" NOBODY);
    check_case("\r\nGET  / HTTP/1.1\r\n\r\n", UNIX_AT "\"GET  / HTTP/1.1\" 400 12" NOBODY);
    check_case("\r\nGET / HTTP/1.1\r\n\r\n", UNIX_AT "\"GET / HTTP/1.1\" 400 12" NOBODY);
    check_case("GET / HTTP/1.1\n\n", UNIX_AT "\"GET / HTTP/1.1\" 400 12" NOBODY);
    check_case("GET /\x01\"\\\xff HTTP/1.1\r\n" HOST "\r\n",
               UNIX_AT "\"GET /\\x01\\x22\\x5c\\xff HTTP/1.1\" 400 12" NOBODY);
    check_case("GET / HTTP/1.1\r\n\r\n", UNIX_AT "\"GET / HTTP/1.1\" 400 12" NOBODY);
    check_case("HEAD / HTTP/1.1\r\n\r\n", UNIX_AT "\"HEAD / HTTP/1.1\" 400 -" NOBODY);
    check_case("GET / HTTP/3.0\r\n" HOST "\r\n", UNIX_AT "\"GET / HTTP/3.0\" 505 27" NOBODY);
    check_case("POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n",
               UNIX_AT "\"POST / HTTP/1.1\" 413 18" NOBODY);
    check_case(GET "NONSENSE\r\n\r\n",
               UNIX_AT "\"GET / HTTP/1.1\" 200 5" NOBODY UNIX_AT "\"NONSENSE\" 400 12" NOBODY);
}

static void a_refused_line_of_any_length_has_a_line(void) {
    static char longest[40000];
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    memset(longest, '"', sizeof longest - 1);
    peer_send(&f, &p, longest);
    settle(&f);
    pass(&f, 200);
    CHECK_INT(count_lines(logged()), 1);
    CHECK(strstr(logged(), "\" 414 ") || strstr(logged(), "\" 400 "));
    CHECK(strstr(logged(), "...\" ") != NULL);
    end_log(&f, &p);
}

static void a_head_that_is_late_is_told_with_what_came(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_JSON);
    pass(&f, 3000);
    peer_send(&f, &p, "GET /x HT");
    settle(&f);
    pass(&f, 10000);
    CHECK_ANSWER(&f, &p, 408, "Request Timeout\n");
    pass(&f, 200);
    CHECK_LOGGED("{\"time\":\"2023-11-14T22:13:20+00:00\",\"remote_addr\":null,\"method\":null,"
                 "\"target\":null,\"protocol\":null,\"line\":\"GET /x HT\",\"host\":null,"
                 "\"status\":408,\"bytes\":16,\"duration\":10.000000,\"end\":\"done\","
                 "\"referer\":null,\"user_agent\":null}\n");
    end_log(&f, &p);
}

/* It waits behind an answer that nobody reads. */
static void a_refusal_that_never_leaves_is_told(void) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_request = serve;
    f.cfg.high_water = 4 * BIG; /* so that the next request is looked at */
    open_pair(&f, &p);
    log_fd = memfd_create("log", MFD_CLOEXEC);
    REQUIRE(mh_server_access_log(f.srv, log_fd, MH_ACCESS_COMBINED) == MH_OK);
    peer_send(&f, &p, "GET /big HTTP/1.1\r\n" HOST "\r\nNONSENSE\r\n\r\n");
    settle(&f);
    peer_close(&p);
    UNTIL(&f, mh_server_connections(f.srv) == 0);
    pass(&f, 200);
    CHECK_INT(count_lines(logged()), 2);
    CHECK(strstr(logged(), "\n" UNIX_AT "\"NONSENSE\" 400 -" NOBODY) != NULL);
    CHECK_INT(f.refused, 1);
    end_log(&f, &p);
}

static void drain_too(fix *f, const mh_refused *what) {
    CHECK_MEM(what->line.p, what->line.n, "NONSENSE");
    CHECK_MEM(what->peer.p, what->peer.n, "127.0.0.1");
    CHECK(what->port != 0);
    CHECK_INT(what->status, 400);
    CHECK_INT(what->sent, 12);
    CHECK_INT(what->why, MH_FINISH_DONE);
    CHECK_INT(what->taken_us, 0);
    CHECK_INT(mh_server_drain(f->srv, 0, NULL, NULL), MH_OK);
}

/* Whether the connection lingers then, or is closed at once since the client has shut its side. */
static void a_host_is_told_of_a_refusal_and_may_do_anything_then(void) {
    for (int shuts = 0; shuts < 2; shuts++) {
        fix f;
        peer p;
        begin(&f, &p); /* without a log */
        f.on_refused = drain_too;
        REQUIRE(fix_open(&f) == MH_OK);
        peer_tcp(&p, &f, 0);
        REQUIRE(send(p.fd, "NONSENSE\r\n\r\n", 12, 0) == 12);
        if (shuts) shutdown(p.fd, SHUT_WR);
        CHECK_ANSWER(&f, &p, 400, "Bad Request\n");
        CHECK_CLOSED(&f, &p);
        CHECK_INT(f.refused, 1);
        CHECK_INT(f.begun, 0);
        peer_close(&p);
        settle(&f);
        CHECK_INT(mh_server_connections(f.srv), 0);
        finish(&f, &p);
    }
}

/* ---- times ----------------------------------------------------------------------------------- */

static void the_time_is_from_the_first_byte_of_the_head_to_the_end(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_JSON);
    pass(&f, 1000);
    peer_send(&f, &p, "GET /park");
    settle(&f);
    clock_pass_us(2000500);
    peer_send(&f, &p, " HTTP/1.1\r\n" HOST "\r\n");
    settle(&f);
    clock_pass_us(3000007);
    CHECK(mh_req_taken_us(f.req) == 5000507);
    say(f.req, "hello");
    settle(&f);
    pass(&f, 200);
    CHECK(strncmp(member("\"duration\":"), "5.000507,", 9) == 0);
    end_log(&f, &p);
}

static void idle_time_between_requests_is_none_of_it(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_JSON);
    for (int i = 0; i < 3; i++) {
        peer_send(&f, &p, GET);
        CHECK_ANSWER(&f, &p, 200, "hello");
        pass(&f, 1000);
    }
    CHECK_INT(count_lines(logged()), 3);
    for (const char *at = logged(); (at = strstr(at, "\"duration\":")); at++)
        CHECK(strncmp(at, "\"duration\":0.000000", 19) == 0);
    end_log(&f, &p);
}

static void the_stamp_is_of_the_second_in_which_it_ended(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    for (int i = 0; i < 3; i++) {
        peer_send(&f, &p, GET);
        CHECK_ANSWER(&f, &p, 200, "hello");
        clock_wall_s++;
        pass(&f, 1000);
    }
    CHECK(strstr(logged(), "22:13:20 +0000]") && strstr(logged(), "22:13:21 +0000]") &&
          strstr(logged(), "22:13:22 +0000]"));
    end_log(&f, &p);
}

int main(void) {
    prepare();
    RUN(each_exchange_has_one_line_with_the_bytes_of_its_body);
    RUN(of_several_fields_the_first_counts_and_names_have_any_case);
    RUN(pipelined_requests_are_told_in_order);
    RUN(a_tcp_peer_has_an_address);
    RUN(what_the_host_gives_up_is_444_and_499_if_the_client_left_first);
    RUN(so_is_what_it_gives_up_after_the_client_has_shut_its_side);
    RUN(an_upgrade_is_101);
    RUN(a_connection_without_a_request_has_no_line);
    RUN(a_response_that_is_cut_tells_what_went);
    RUN(a_reader_that_is_too_slow_is_a_timeout);
    RUN(a_body_that_is_too_slow_is_408);
    RUN(what_is_open_when_the_server_is_freed_is_told);
    RUN(on_finish_is_told_the_status_of_the_line);
    RUN(a_request_that_is_refused_is_told_as_it_came);
    RUN(a_refused_line_of_any_length_has_a_line);
    RUN(a_head_that_is_late_is_told_with_what_came);
    RUN(a_refusal_that_never_leaves_is_told);
    RUN(a_host_is_told_of_a_refusal_and_may_do_anything_then);
    RUN(the_time_is_from_the_first_byte_of_the_head_to_the_end);
    RUN(idle_time_between_requests_is_none_of_it);
    RUN(the_stamp_is_of_the_second_in_which_it_ended);
    return check_end();
}
