/* The access log of a server: one line for each exchange that has ended, whatever its end, with the
 * bytes that went and the time that it took, and one for each request that was refused. And what a
 * server tells by on_log. */
#include "timed.h"

#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "loop_state.h"

#define HOST "Host: a\r\n"
#define GET  "GET / HTTP/1.1\r\n" HOST "\r\n"
#define POST "POST /read HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n"
/* What a line begins with, on the clock of clock.h. */
#define UNIX_AT "- - - [14/Nov/2023:22:13:20 +0000] "
#define TCP_AT  "127.0.0.1 - - [14/Nov/2023:22:13:20 +0000] "
#define NOBODY  " \"-\" \"-\"\n"

/* ---- a host ---------------------------------------------------------------------------------- */

enum { BIG = 4 << 20 };

static char big[BIG]; /* filled with a letter */

static void read_on(fix *f, mh_req *req) {
    char buf[64];
    int got;
    (void)f;
    while ((got = mh_req_read(req, buf, sizeof buf)) > 0) {}
    if (got == MH_EOS)
        say(req, "read");
    else if (got == MH_ECLOSED)
        mh_req_abort(req);
}

static void in_chunks(mh_req *req) {
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, MH_LENGTH_UNKNOWN), MH_OK);
    CHECK_INT(mh_res_write(req, "hello", 5), MH_OK);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static void send_big(mh_req *req) {
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, BIG), MH_OK);
    mh_str piece = {big, BIG};
    CHECK(mh_res_writev(req, &piece, 1, NULL, NULL) >= 0);
    CHECK_INT(mh_res_end(req), MH_OK);
}

static void upgrade(mh_req *req) {
    char rest[16];
    size_t n = sizeof rest;
    int fd = mh_req_upgrade(req, rest, &n);
    CHECK(fd >= 0);
    close(fd);
}

static void serve(fix *f, mh_req *req) {
    if (req_is(req, "/park")) return;
    if (req_is(req, "/read"))
        read_on(f, req);
    else if (req_is(req, "/204"))
        CHECK_INT(mh_res_simple(req, 204, text(""), NULL, 0, text("")), MH_OK);
    else if (req_is(req, "/304"))
        CHECK_INT(mh_res_simple(req, 304, text(""), NULL, 0, text("hello")), MH_OK);
    else if (req_is(req, "/chunks"))
        in_chunks(req);
    else if (req_is(req, "/big"))
        send_big(req);
    else if (req_is(req, "/abort"))
        mh_req_abort(req);
    else if (req_is(req, "/upgrade"))
        upgrade(req);
    else
        say(req, "hello");
}

/* ---- the fixture ----------------------------------------------------------------------------- */

static int log_fd;

static void open_log(fix *f, peer *p, int format) {
    begin(f, p);
    f->on_request = serve;
    f->on_readable = read_on;
    open_pair(f, p);
    log_fd = memfd_create("log", MFD_CLOEXEC);
    if (log_fd < 0) abort();
    CHECK_INT(mh_server_access_log(f->srv, log_fd, format), MH_OK);
}

/* All that has been written, terminated; good until the next call. */
static const char *logged(void) {
    static char got[1 << 16];
    ssize_t n = pread(log_fd, got, sizeof got - 1, 0);
    if (n < 0) abort();
    got[n] = '\0';
    return got;
}

static unsigned count_lines(const char *got) {
    unsigned lines = 0;
    for (; *got; got++)
        lines += *got == '\n';
    return lines;
}

#define CHECK_LOGGED(want) CHECK_MEM(logged(), strlen(logged()), want)

/* Ends all; what has not been written before is then. */
static void end_log(fix *f, peer *p) {
    if (p->fd >= 0) peer_close(p);
    fix_close(f);
    clock_go();
    close(log_fd);
}

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

/* Of a member of the one JSON line that was written, what follows its name. */
static const char *member(const char *name) {
    const char *at = strstr(logged(), name);
    return at ? at + strlen(name) : "";
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

/* ---- the log itself -------------------------------------------------------------------------- */

static void without_a_log_nothing_is_kept_waiting(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    CHECK_INT(mh_server_access_log(f.srv, -1, 0), MH_OK);
    CHECK_INT(mh_server_access_log(f.srv, -1, 0), MH_OK);
    CHECK_INT(mh_server_log_line(f.srv, "a", 1), MH_ESTATE);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    pass(&f, 200);
    CHECK_LOGGED("");
    end_log(&f, &p);
}

static void it_can_be_turned_on_off_and_over_while_exchanges_are_open(void) {
    fix f;
    peer p, q;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    peer_send(&f, &p, "GET /park HTTP/1.1\r\n" HOST "\r\n");
    settle(&f);
    mh_req *first = f.req;
    CHECK_INT(mh_server_access_log(f.srv, -1, 0), MH_OK);
    pass(&f, 1500);
    CHECK_INT(mh_server_access_log(f.srv, log_fd, MH_ACCESS_COMBINED), MH_OK);
    peer_unix(&q, &f);
    peer_send(&f, &q, GET);
    CHECK_ANSWER(&f, &q, 200, "hello");
    peer_close(&q);
    settle(&f);
    CHECK_INT(mh_server_access_log(f.srv, log_fd, MH_ACCESS_JSON), MH_OK);
    say(first, "hello");
    settle(&f);
    pass(&f, 200);
    CHECK(strncmp(member("\"duration\":"), "1.500000,", 9) == 0);
    CHECK(strncmp(member("\"time\":"), "\"2023-11-14T22:13:20+00:00\"", 27) == 0);
    CHECK_INT(count_lines(logged()), 2);
    end_log(&f, &p);
}

static void lines_of_the_hosts_own_stand_alone_or_among_ours(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_LINES);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    CHECK_INT(mh_server_log_line(f.srv, "first", 5), MH_OK);
    CHECK_INT(mh_server_access_log(f.srv, log_fd, MH_ACCESS_COMBINED), MH_OK);
    CHECK_INT(mh_server_log_line(f.srv, "second", 6), MH_OK);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    pass(&f, 200);
    CHECK_LOGGED("first\nsecond\n" UNIX_AT "\"GET / HTTP/1.1\" 200 5" NOBODY);
    end_log(&f, &p);
}

static void a_line_that_is_none_is_refused(void) {
    static char longest[32768];
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_LINES);
    memset(longest, 'x', sizeof longest);
    CHECK_INT(mh_server_log_line(f.srv, "a\nb", 3), MH_EINVAL);
    CHECK_INT(mh_server_log_line(f.srv, longest, sizeof longest), MH_EINVAL);
    CHECK_INT(mh_server_log_line(f.srv, longest, sizeof longest - 1), MH_OK);
    CHECK_INT(mh_server_log_line(f.srv, "", 0), MH_OK);
    pass(&f, 200);
    CHECK_INT(count_lines(logged()), 2);
    end_log(&f, &p);
}

static void what_is_no_log_is_refused_and_changes_nothing(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    CHECK_INT(mh_server_access_log(f.srv, log_fd, -1), MH_EINVAL);
    CHECK_INT(mh_server_access_log(f.srv, log_fd, MH_ACCESS_LINES + 1), MH_EINVAL);
    CHECK_INT(mh_server_access_log(f.srv, -2, 0), MH_EINVAL);
    CHECK_INT(mh_server_access_log(f.srv, 1000000, MH_ACCESS_JSON), MH_EINVAL);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    pass(&f, 200);
    CHECK_LOGGED(UNIX_AT "\"GET / HTTP/1.1\" 200 5" NOBODY);
    end_log(&f, &p);
}

static unsigned lines_at_the_end;

static void drained(mh_server *srv, void *user) {
    (void)srv;
    (void)user;
    lines_at_the_end = count_lines(logged());
}

static void at_the_end_of_a_drain_all_is_written(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    peer_send(&f, &p, "GET /park HTTP/1.1\r\n" HOST "\r\n");
    settle(&f);
    CHECK_INT(mh_server_drain(f.srv, 0, drained, NULL), MH_OK);
    say(f.req, "hello");
    lines_at_the_end = 0;
    CHECK_ANSWER(&f, &p, 200, "hello");
    peer_close(&p);
    UNTIL(&f, lines_at_the_end == 1);
    end_log(&f, &p);
}

/* The lines that wait are the parent's. */
static void a_child_that_frees_its_copy_writes_nothing(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    peer_send(&f, &p, GET "GET /park HTTP/1.1\r\n" HOST "\r\n");
    settle(&f);
    for (int i = 0; i < 2; i++) /* with one line more the buffer would be written */
        CHECK_INT(mh_server_log_line(f.srv, big, 32700), MH_OK);
    fflush(stdout);
    pid_t pid = fork();
    REQUIRE(pid >= 0);
    if (pid == 0) {
        mh_loop_free(f.loop);
        _exit(0);
    }
    int status = -1;
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
    CHECK_LOGGED("");
    pass(&f, 200);
    const char first[] = UNIX_AT "\"GET / HTTP/1.1\" 200 5" NOBODY;
    CHECK(memcmp(logged(), first, sizeof first - 1) == 0);
    end_log(&f, &p);
}

static void log_again(fix *f, int what) {
    if (what == MH_LOG_LINES_GO_ON) f->n = mh_server_access_log(f->srv, log_fd, MH_ACCESS_COMBINED);
}

static void lines_that_are_lost_at_the_end_are_told(void) {
    fix f;
    peer p;
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    REQUIRE(full >= 0);
    open_log(&f, &p, MH_ACCESS_COMBINED);
    CHECK_INT(mh_server_access_log(f.srv, full, MH_ACCESS_COMBINED), MH_OK);
    f.on_log = log_again;
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    pass(&f, 200);
    CHECK_INT(f.told[MH_LOG_LINES_STUCK], 1);
    CHECK_INT(f.detail, ENOSPC);
    fix_close(&f);
    CHECK_INT(f.told[MH_LOG_LINES_GO_ON], 1);
    CHECK_INT(f.detail, 1);
    CHECK_INT(f.n, MH_ESTATE); /* too late for another log */
    peer_close(&p);
    clock_go();
    close(log_fd);
    close(full);
}

static void an_idle_server_with_a_log_waits_for_nothing_more(void) {
    fix f;
    peer p;
    open_log(&f, &p, MH_ACCESS_COMBINED);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    peer_close(&p);
    settle(&f);
    pass(&f, 200);
    CHECK(mh__timer_next(f.loop) == MH__NEVER);
    end_log(&f, &p);
}

/* ---- accepting ------------------------------------------------------------------------------- */

static void refuse_descriptors(bool refuse) {
    static struct rlimit before;
    struct rlimit none;
    if (refuse) {
        if (getrlimit(RLIMIT_NOFILE, &before) < 0) abort();
        none = before;
        none.rlim_cur = 3; /* what is open stays so */
        if (setrlimit(RLIMIT_NOFILE, &none) < 0) abort();
    } else if (setrlimit(RLIMIT_NOFILE, &before) < 0) {
        abort();
    }
}

static void a_bout_in_which_accepting_fails_is_told_once_and_so_is_its_end(void) {
    fix f;
    peer p, q;
    begin(&f, &p);
    f.on_request = say_hello;
    REQUIRE(fix_open(&f) == MH_OK);
    for (unsigned bout = 1; bout <= 2; bout++) {
        peer_unix(&p, &f);
        peer_tcp(&q, &f, 0);
        refuse_descriptors(true);
        settle(&f);
        for (int i = 0; i < 30; i++)
            pass(&f, 100);
        refuse_descriptors(false);
        CHECK_INT(f.told[MH_LOG_ACCEPT_FAILS], bout);
        CHECK_INT(f.detail, EMFILE);
        pass(&f, 4999); /* they are accepted now, but it may begin again */
        CHECK_INT(mh_server_connections(f.srv), 2);
        CHECK_INT(f.told[MH_LOG_ACCEPT_GOES_ON], bout - 1);
        pass(&f, 1);
        CHECK_INT(f.told[MH_LOG_ACCEPT_GOES_ON], bout);
        CHECK(f.detail >= 60 && f.detail <= 64); /* two listeners, each ten times a second */
        peer_close(&p);
        peer_close(&q);
        settle(&f);
    }
    finish(&f, &p);
}

static void drain_at_once(fix *f, int what) {
    if (what == MH_LOG_ACCEPT_FAILS) CHECK_INT(mh_server_drain(f->srv, 0, NULL, NULL), MH_OK);
}

static void the_server_may_be_drained_when_it_is_told(void) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_log = drain_at_once;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_unix(&p, &f);
    refuse_descriptors(true);
    settle(&f);
    for (int i = 0; i < 100; i++)
        pass(&f, 100);
    refuse_descriptors(false);
    CHECK_INT(f.told[MH_LOG_ACCEPT_FAILS], 1);
    CHECK_INT(f.told[MH_LOG_ACCEPT_GOES_ON], 0);
    CHECK_INT(mh_server_port(f.srv, 0), MH_EINVAL);
    finish(&f, &p);
}

int main(void) {
    setenv("TZ", "UTC0", 1);
    memset(big, 'b', sizeof big);
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
    RUN(without_a_log_nothing_is_kept_waiting);
    RUN(it_can_be_turned_on_off_and_over_while_exchanges_are_open);
    RUN(lines_of_the_hosts_own_stand_alone_or_among_ours);
    RUN(a_line_that_is_none_is_refused);
    RUN(what_is_no_log_is_refused_and_changes_nothing);
    RUN(at_the_end_of_a_drain_all_is_written);
    RUN(a_child_that_frees_its_copy_writes_nothing);
    RUN(lines_that_are_lost_at_the_end_are_told);
    RUN(an_idle_server_with_a_log_waits_for_nothing_more);
    RUN(a_bout_in_which_accepting_fails_is_told_once_and_so_is_its_end);
    RUN(the_server_may_be_drained_when_it_is_told);
    return check_end();
}
