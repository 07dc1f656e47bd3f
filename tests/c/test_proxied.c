/* Connections that begin with a PROXY header: whose requests they are then, who may send one, how
 * long it may take, and what is refused. What a header may say is test_proxy.c's, and tests/wire's
 * proxy_*.txt. */
#include "accesslog.h"

#include "failing.h"
#include "proxyheader.h"

#define LINE "PROXY TCP4 192.0.2.1 198.51.100.2 5000 443\r\n"

/* ---- a host that keeps what it was told ------------------------------------------------------ */

static char told[1000]; /* of each request, ended by ';' */

static void tell(const char *name, int n, const char *host, uint16_t port) {
    size_t at = strlen(told);
    if (n < 0)
        snprintf(told + at, sizeof told - at, " %s %s", name, mh_strerror(n));
    else
        snprintf(told + at, sizeof told - at, " %s %s:%d", name, host, port);
}

static void tell_all(mh_req *req) {
    char host[64];
    uint16_t port = 0;
    const char *protocol = mh_req_proxy_protocol(req);
    snprintf(told + strlen(told), sizeof told - strlen(told), "%s", protocol ? protocol : "none");
    int n = mh_req_peer(req, host, sizeof host, &port);
    tell("peer", n, host, port);
    n = mh_req_proxy_to(req, host, sizeof host, &port);
    tell("to", n, host, port);
    n = mh_req_proxy_sender(req, host, sizeof host, &port);
    tell("sender", n, host, n > 0 ? 1 : port); /* TCP's differs from run to run */
    strcat(told, ";");
}

static void tell_and_answer(fix *f, mh_req *req) {
    (void)f;
    tell_all(req);
    CHECK_INT(say(req, "hello"), MH_OK);
}

#define CHECK_TOLD(want) CHECK_MEM(told, strlen(told), want)

static void open_proxied(fix *f, peer *p, int mode) {
    begin(f, p);
    told[0] = '\0';
    f->on_request = tell_and_answer;
    f->cfg.proxy_protocol = mode;
}

/* ---- whose requests they are ----------------------------------------------------------------- */

static void the_peer_is_whom_the_header_names_for_all_requests(void) {
    fix f;
    peer p;
    open_proxied(&f, &p, MH_PROXY_V1);
    open_pair(&f, &p);
    peer_send(&f, &p, LINE GET GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    CHECK_ANSWER(&f, &p, 200, "hello");
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
#define SAID "TCP4 peer 192.0.2.1:5000 to 198.51.100.2:443 sender :0;"
    CHECK_TOLD(SAID SAID SAID);
    finish(&f, &p);
}

static void ask_with_little_room(fix *f, mh_req *req) {
    char host[64];
    uint16_t port = 7;
    CHECK_INT(mh_req_peer(req, host, 45, &port), MH_EINVAL);
    CHECK_INT(mh_req_proxy_to(req, host, 45, &port), MH_EINVAL);
    CHECK_INT(mh_req_proxy_sender(req, host, 45, &port), MH_EINVAL);
    CHECK_INT(port, 7);
    tell_and_answer(f, req);
}

static void an_address_is_not_told_where_there_is_no_room(void) {
    fix f;
    peer p;
    open_proxied(&f, &p, MH_PROXY_V1);
    f.on_request = ask_with_little_room;
    open_pair(&f, &p);
    peer_send(&f, &p, LINE GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    CHECK_TOLD(SAID);
    finish(&f, &p);
}

static void a_header_comes_once(void) {
    fix f;
    peer p;
    open_proxied(&f, &p, MH_PROXY_AUTO);
    open_pair(&f, &p);
    peer_send(&f, &p, LINE GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    peer_send(&f, &p, LINE GET);
    CHECK_ANSWER(&f, &p, 400, "Bad Request\n");
    CHECK_CLOSED(&f, &p);
    finish(&f, &p);
}

static void of_tcp_the_sender_is_told_too(void) {
    fix f;
    peer p, q;
    proxyheader h;
    open_proxied(&f, &p, MH_PROXY_V2);
    if (fix_open(&f) < 0) abort();
    peer_tcp(&p, &f, 0);
    proxyheader_begin(&h, 0x21, 0x21);
    proxyheader_ipv6(&h);
    peer_send_n(&f, &p, h.p, h.n);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    CHECK_TOLD("TCP6 peer 2001:db8::1:5000 to 2001:db8::2:443 sender 127.0.0.1:1;");
    peer_tcp(&q, &f, 0); /* each connection has its own */
    told[0] = '\0';
    h.p[16 + 15] = 7;
    peer_send_n(&f, &q, h.p, h.n);
    peer_send(&f, &q, GET);
    CHECK_ANSWER(&f, &q, 200, "hello");
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    CHECK_TOLD("TCP6 peer 2001:db8::7:5000 to 2001:db8::2:443 sender 127.0.0.1:1;"
               "TCP6 peer 2001:db8::1:5000 to 2001:db8::2:443 sender 127.0.0.1:1;");
    peer_close(&q);
    finish(&f, &p);
}

/* A header that names nobody leaves the peer as the socket has it. */
static void the_peer_is_the_proxy_where_the_header_has_no_address(void) {
    static const char paths[216];
    static const struct {
        int command, family;
        const char *want;
    } rows[] = {
        {0x20, 0x11, "LOCAL"}, {0x21, 0x00, "UNSPEC"}, {0x21, 0x31, "UNIX"}, {0, 0, "UNKNOWN"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        fix f;
        peer p;
        proxyheader h;
        char want[200], host[64];
        struct sockaddr_in sa;
        socklen_t n = sizeof sa;
        open_proxied(&f, &p, MH_PROXY_AUTO);
        if (fix_open(&f) < 0) abort();
        peer_tcp(&p, &f, 0);
        getsockname(p.fd, (struct sockaddr *)&sa, &n);
        inet_ntop(AF_INET, &sa.sin_addr, host, sizeof host);
        proxyheader_begin(&h, rows[i].command, rows[i].family);
        proxyheader_add(&h, paths, sizeof paths);
        if (rows[i].command)
            peer_send_n(&f, &p, h.p, h.n);
        else
            peer_send(&f, &p, "PROXY UNKNOWN 192.0.2.1 192.0.2.2 1 2\r\n");
        peer_send(&f, &p, GET);
        CHECK_ANSWER(&f, &p, 200, "hello");
        snprintf(want, sizeof want, "%s peer %s:%d to :0 sender %s:1;", rows[i].want, host,
                 ntohs(sa.sin_port), host);
        CHECK_TOLD(want);
        finish(&f, &p);
    }
}

static void without_one_there_is_nothing_to_be_told(void) {
    fix f;
    peer p;
    open_proxied(&f, &p, MH_PROXY_OFF);
    open_pair(&f, &p);
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    char want[200];
    snprintf(want, sizeof want, "none peer :0 to %s sender %s;", mh_strerror(MH_ENOENT),
             mh_strerror(MH_ENOENT));
    CHECK_TOLD(want);
    peer_send(&f, &p, LINE GET); /* and one that comes is a bad request */
    CHECK_ANSWER(&f, &p, 400, "Bad Request\n");
    finish(&f, &p);
}

static void tell_at_the_end(fix *f, mh_req *req, int why) {
    (void)f;
    (void)why;
    tell_all(req);
}

static void at_the_end_the_peer_is_still_known_and_the_rest_is_not(void) {
    fix f;
    peer p;
    char want[200];
    open_proxied(&f, &p, MH_PROXY_V1);
    f.on_request = say_hello;
    f.on_finish = tell_at_the_end;
    open_pair(&f, &p);
    peer_send(&f, &p, LINE GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    snprintf(want, sizeof want, "none peer 192.0.2.1:5000 to %s sender %s;",
             mh_strerror(MH_ECLOSED), mh_strerror(MH_ECLOSED));
    CHECK_TOLD(want);
    finish(&f, &p);
}

/* Its output is a unix socket's, whatever the peer's address is of. */
static void a_large_answer_reaches_a_client_of_another_family(void) {
    fix f;
    peer p;
    answer a;
    open_proxied(&f, &p, MH_PROXY_V1);
    f.on_request = serve;
    open_pair(&f, &p);
    peer_send(&f, &p, LINE "GET /big HTTP/1.1\r\n" HOST "\r\n");
    ANSWER(&f, &p, &a);
    CHECK_INT(a.status, 200);
    CHECK_INT(a.n, BIG);
    answer_free(&a);
    finish(&f, &p);
}

/* ---- who may send one ------------------------------------------------------------------------ */

static int status_over_tcp(const char *from, const char *bytes) {
    fix f;
    peer p;
    answer a;
    open_proxied(&f, &p, MH_PROXY_AUTO);
    f.cfg.proxy_from = from;
    if (fix_open(&f) < 0) abort();
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, bytes);
    ANSWER(&f, &p, &a);
    int status = a.status;
    answer_free(&a);
    if (status != 200) CHECK_CLOSED(&f, &p);
    finish(&f, &p);
    return status;
}

static void a_header_is_taken_from_who_may_send_one(void) {
    CHECK_INT(status_over_tcp("127.0.0.1", LINE GET), 200);
    CHECK_INT(status_over_tcp("::1, 127.0.0.0/8", LINE GET), 200);
    CHECK_INT(status_over_tcp("*", LINE GET), 200);
    CHECK_INT(status_over_tcp("::1, 127.0.0.2, 10.0.0.0/8", LINE GET), 403);
    CHECK_INT(status_over_tcp("", LINE GET), 403);
    CHECK_INT(status_over_tcp("", "P"), 403); /* by the first byte, whatever it is */
    CHECK_INT(status_over_tcp("", GET), 403);
    CHECK_INT(status_over_tcp("127.0.0.1", GET), 400);
}

static void the_default_is_this_machine(void) {
    mh_config cfg;
    mh_config_init(&cfg);
    CHECK_INT(cfg.proxy_protocol, MH_PROXY_OFF);
    CHECK_INT(status_over_tcp(cfg.proxy_from, LINE GET), 200);
}

static void a_client_of_a_unix_socket_always_may(void) {
    fix f;
    peer p;
    open_proxied(&f, &p, MH_PROXY_V1);
    f.cfg.proxy_from = "";
    open_pair(&f, &p);
    peer_send(&f, &p, LINE GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    finish(&f, &p);
}

static mh_refused last;

static void keep_refused(fix *f, const mh_refused *what) {
    (void)f;
    last = *what;
    snprintf(told, sizeof told, "%.*s %.*s", (int)what->peer.n, what->peer.p, (int)what->line.n,
             what->line.p);
}

static void a_refusal_is_told_with_the_address_of_its_sender(void) {
    fix f;
    peer p;
    open_proxied(&f, &p, MH_PROXY_V1);
    f.on_refused = keep_refused;
    f.cfg.proxy_from = "10.0.0.0/8";
    if (fix_open(&f) < 0) abort();
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, "HEAD / HTTP/1.1\r\n" HOST "\r\n");
    CHECK_ANSWER(&f, &p, 403, "Forbidden\n"); /* no request has been seen, so not one to HEAD */
    CHECK_CLOSED(&f, &p);
    settle(&f);
    CHECK_TOLD("127.0.0.1 HEAD / HTTP/1.1");
    CHECK_INT(last.status, 403);
    CHECK_INT(f.begun, 0);
    finish(&f, &p);
}

static void who_may_not_and_leaves_without_a_byte_is_not_refused(void) {
    fix f;
    peer p;
    open_proxied(&f, &p, MH_PROXY_V1);
    f.cfg.proxy_from = "";
    if (fix_open(&f) < 0) abort();
    peer_tcp(&p, &f, 0);
    shutdown(p.fd, SHUT_WR);
    CHECK_CLOSED(&f, &p);
    CHECK_INT(f.refused, 0);
    finish(&f, &p);
}

/* ---- the access log -------------------------------------------------------------------------- */

static void the_log_has_the_address_of_the_client(void) {
    fix f;
    peer p;
    begin(&f, &p);
    f.on_request = serve;
    f.cfg.proxy_protocol = MH_PROXY_V1;
    open_pair(&f, &p);
    log_fd = memfd_create("log", MFD_CLOEXEC);
    CHECK_INT(mh_server_access_log(f.srv, log_fd, MH_ACCESS_COMBINED), MH_OK);
    peer_send(&f, &p, LINE GET "GET / HTTP/9.9\r\n\r\n");
    CHECK_ANSWER(&f, &p, 200, "hello");
    CHECK_ANSWER(&f, &p, 505, "HTTP Version Not Supported\n");
    peer_close(&p);
    peer_unix(&p, &f);
    peer_send(&f, &p, "PROXY nonsense\r\n");
    CHECK_ANSWER(&f, &p, 400, "Bad Request\n");
    peer_close(&p);
    pass(&f, 200);
#define AT "192.0.2.1 - - [14/Nov/2023:22:13:20 +0000] "
    CHECK_LOGGED(AT "\"GET / HTTP/1.1\" 200 5" NOBODY AT "\"GET / HTTP/9.9\" 505 27" NOBODY UNIX_AT
                    "\"PROXY nonsense\" 400 12" NOBODY);
    end_log(&f, &p);
}

/* ---- time, and what is not whole ------------------------------------------------------------- */

static void who_sends_nothing_is_closed_without_an_answer(void) {
    fix f;
    peer p;
    open_proxied(&f, &p, MH_PROXY_AUTO);
    f.cfg.head_timeout = 1000;
    open_pair(&f, &p);
    pass(&f, 999);
    CHECK(is_open(&p));
    pass(&f, 1);
    CHECK_CLOSED(&f, &p);
    finish(&f, &p);
}

/* From when it was accepted: a trickle doesn't prolong it. */
static void a_header_has_one_deadline_however_it_trickles(void) {
    fix f;
    peer p;
    open_proxied(&f, &p, MH_PROXY_V1);
    f.cfg.head_timeout = 1000;
    f.on_refused = keep_refused;
    open_pair(&f, &p);
    for (size_t i = 0; i < 9; i++) {
        pass(&f, 100);
        peer_send_n(&f, &p, &LINE[i], 1);
        settle(&f);
    }
    pass(&f, 99);
    CHECK(is_open(&p));
    pass(&f, 1);
    CHECK_ANSWER(&f, &p, 408, "Request Timeout\n");
    CHECK_CLOSED(&f, &p);
    peer_close(&p);
    settle(&f);
    CHECK_INT(last.status, 408);
    CHECK_INT(last.taken_us, 1000000);
    finish(&f, &p);
}

/* What comes after the header has its own time, as on a connection without. */
static void a_head_has_its_own_deadline_behind_the_header(void) {
    fix f;
    peer p;
    open_proxied(&f, &p, MH_PROXY_V1);
    f.cfg.head_timeout = 1000;
    open_pair(&f, &p);
    pass(&f, 900);
    peer_send(&f, &p, LINE);
    settle(&f);
    pass(&f, 900);
    peer_send_n(&f, &p, GET, 9);
    settle(&f);
    pass(&f, 900);
    peer_send(&f, &p, &GET[9]);
    CHECK_ANSWER(&f, &p, 200, "hello");
    finish(&f, &p);
    open_proxied(&f, &p, MH_PROXY_V1);
    f.cfg.head_timeout = 1000;
    open_pair(&f, &p);
    peer_send(&f, &p, LINE);
    settle(&f);
    pass(&f, 999);
    CHECK(is_open(&p));
    pass(&f, 1);
    CHECK_CLOSED(&f, &p);
    finish(&f, &p);
}

/* The bytes of one that is late, but there, are looked at first. */
static void a_header_that_waits_in_the_socket_is_not_late(void) {
    static const char *const rests[] = {GET, ""};
    for (size_t i = 0; i < 2; i++) {
        fix f;
        peer p;
        open_proxied(&f, &p, MH_PROXY_V1);
        f.cfg.head_timeout = 1000;
        open_pair(&f, &p);
        if (i == 0) peer_send_n(&f, &p, LINE, 10);
        settle(&f);
        clock_pass_ms(1000);
        size_t from = i == 0 ? 10 : 0;
        REQUIRE(send(p.fd, &LINE[from], strlen(LINE) - from - i, 0) > 0);
        REQUIRE(send(p.fd, rests[i], strlen(rests[i]), 0) >= 0);
        settle(&f);
        if (i == 0)
            CHECK_ANSWER(&f, &p, 200, "hello");
        else /* it had a part of it alone */
            CHECK_ANSWER(&f, &p, 408, "Request Timeout\n");
        finish(&f, &p);
    }
}

static void a_header_that_ends_early_is_closed_without_an_answer(void) {
    for (size_t n = 1; n < strlen(LINE); n++) {
        fix f;
        peer p;
        open_proxied(&f, &p, MH_PROXY_V1);
        open_pair(&f, &p);
        peer_send_n(&f, &p, LINE, n);
        shutdown(p.fd, SHUT_WR);
        CHECK_CLOSED(&f, &p);
        CHECK_INT(f.begun, 0);
        finish(&f, &p);
    }
}

static void a_header_larger_than_a_buffer_is_taken(void) {
    static const char value[4000];
    fix f;
    peer p;
    proxyheader h;
    open_proxied(&f, &p, MH_PROXY_V2);
    open_pair(&f, &p);
    proxyheader_begin(&h, 0x21, 0x11);
    proxyheader_ipv4(&h);
    proxyheader_tlv(&h, 4, value, sizeof value);
    for (size_t at = 0; at < h.n; at += 101) {
        peer_send_n(&f, &p, h.p + at, h.n - at < 101 ? h.n - at : 101);
        settle(&f);
    }
    peer_send(&f, &p, GET);
    CHECK_ANSWER(&f, &p, 200, "hello");
    CHECK_TOLD("TCP4 peer 192.0.2.1:5000 to 192.0.2.2:443 sender :0;");
    finish(&f, &p);
}

/* ---- draining, memory ------------------------------------------------------------------------ */

static void a_drain_waits_for_a_header_that_has_begun_and_its_request(void) {
    fix f;
    peer silent, begun, whole;
    open_proxied(&f, &silent, MH_PROXY_V1);
    f.cfg.drain_idle = 0;
    open_pair(&f, &silent);
    peer_unix(&begun, &f);
    peer_unix(&whole, &f);
    peer_send_n(&f, &begun, LINE, 10);
    peer_send(&f, &whole, LINE);
    settle(&f);
    CHECK_INT(mh_server_drain(f.srv, 0, NULL, NULL), MH_OK);
    CHECK_CLOSED(&f, &silent);
    CHECK_CLOSED(&f, &whole);
    peer_send(&f, &begun, &LINE[10]);
    peer_send(&f, &begun, GET);
    CHECK_ANSWER(&f, &begun, 200, "hello");
    peer_close(&begun);
    peer_close(&whole);
    settle(&f);
    CHECK_INT(mh_server_connections(f.srv), 0);
    finish(&f, &silent);
}

static void answer_or_abort(fix *f, mh_req *req) {
    (void)f;
    if (say(req, "hello") < 0) mh_req_abort(req);
}

/* Each allocation fails in turn: the server is not made, or a connection is lost; nothing stays. */
static void no_memory_costs_a_server_or_a_connection(void) {
    failing mem;
    bool pending = false;
    for (size_t k = 1; !pending; k++) {
        fix f;
        peer p;
        REQUIRE(k < 1000);
        open_proxied(&f, &p, MH_PROXY_V1);
        f.on_request = answer_or_abort;
        failing_config(&mem, &f.loop_cfg);
        failing_at(&mem, k);
        if (fix_open(&f) == MH_OK) {
            peer_tcp(&p, &f, 0);
            peer_send(&f, &p, LINE GET);
            settle(&f);
            pass(&f, 100); /* a listener that found no memory rests */
            UNTIL(&f, (peer_pull(&p), p.n > 0) || peer_over(&p));
            CHECK(p.n == 0 || strncmp(p.in, "HTTP/1.1 200", 12) == 0);
            peer_close(&p);
        }
        pending = failing_pending(&mem);
        failing_at(&mem, 0);
        if (f.loop) mh_loop_free(f.loop);
        CHECK_INT(f.finished, f.begun);
        CHECK_INT(mem.blocks, 0);
        clock_go();
    }
}

int main(void) {
    prepare();
    RUN(the_peer_is_whom_the_header_names_for_all_requests);
    RUN(an_address_is_not_told_where_there_is_no_room);
    RUN(a_header_comes_once);
    RUN(of_tcp_the_sender_is_told_too);
    RUN(the_peer_is_the_proxy_where_the_header_has_no_address);
    RUN(without_one_there_is_nothing_to_be_told);
    RUN(at_the_end_the_peer_is_still_known_and_the_rest_is_not);
    RUN(a_large_answer_reaches_a_client_of_another_family);
    RUN(a_header_is_taken_from_who_may_send_one);
    RUN(the_default_is_this_machine);
    RUN(a_client_of_a_unix_socket_always_may);
    RUN(a_refusal_is_told_with_the_address_of_its_sender);
    RUN(who_may_not_and_leaves_without_a_byte_is_not_refused);
    RUN(the_log_has_the_address_of_the_client);
    RUN(who_sends_nothing_is_closed_without_an_answer);
    RUN(a_header_has_one_deadline_however_it_trickles);
    RUN(a_head_has_its_own_deadline_behind_the_header);
    RUN(a_header_that_waits_in_the_socket_is_not_late);
    RUN(a_header_that_ends_early_is_closed_without_an_answer);
    RUN(a_header_larger_than_a_buffer_is_taken);
    RUN(a_drain_waits_for_a_header_that_has_begun_and_its_request);
    RUN(no_memory_costs_a_server_or_a_connection);
    return check_end();
}
