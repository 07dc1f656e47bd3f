/* Memory: what cannot be had is reported, what was taken is given back, an idle connection holds
 * next to none, and trimming gives back what is kept. What failing allocations do to exchanges is
 * in test_faults.c. */
#include "client.h"

#include <sys/resource.h>

#include "conn.h"
#include "failing.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static void echo_on(fix *f, mh_req *req) {
    char buf[300];
    int got;
    while ((got = mh_req_read(req, buf, sizeof buf)) > 0) {}
    if (got == MH_EOS) say_hello(f, req);
}

static void serve(fix *f, mh_req *req) {
    if (req_is(req, "/read"))
        echo_on(f, req);
    else
        say_hello(f, req);
}

static void check_served(fix *f) {
    peer p;
    peer_unix(&p, f);
    peer_send(f, &p, GET);
    CHECK_ANSWER(f, &p, 200, "hello");
    peer_close(&p);
}

static void begin(fix *f, failing *mem) {
    fix_init(f);
    failing_config(mem, &f->loop_cfg);
    f->loop_cfg.initial_fds = 1; /* so that the table has to grow for each descriptor */
    f->on_request = serve;
    f->on_readable = echo_on;
}

static void making_loop_server_and_listeners_fails_cleanly(void) {
    bool more = true;
    for (size_t k = 1; more && k < 1000; k++) {
        fix f;
        failing mem;
        begin(&f, &mem);
        failing_at(&mem, k);
        int error = fix_open(&f);
        more = !failing_pending(&mem);
        if (more && error == MH_OK) CHECK_FAIL_("allocation %zu failed unnoticed", k);
        if (error < 0) CHECK_INT(error, MH_ENOMEM);
        mh_loop_free(f.loop);
        CHECK_INT(mem.blocks, 0);
    }
}

/* 100 Continue must not be lost with the memory for it. */
static void continue_is_sent_once_there_is_memory(void) {
    fix f;
    failing mem;
    peer p;
    char c;
    begin(&f, &mem);
    f.on_request = f.on_readable = NULL;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_unix(&p, &f);
    peer_send(&f, &p,
              "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
    UNTIL(&f, f.req);
    failing_at(&mem, 1);
    CHECK_INT(mh_req_read(f.req, &c, 1), MH_ENOMEM);
    CHECK_INT(mh_req_read(f.req, &c, 1), MH_EAGAIN);
    CHECK_ANSWER(&f, &p, 100, "");
    peer_send(&f, &p, "x");
    UNTIL(&f, f.readable == 1);
    CHECK_INT(mh_req_read(f.req, &c, 1), 1);
    peer_close(&p);
    fix_close(&f);
}

/* ---- idle connections ------------------------------------------------------------------------ */

/* Room for n connections, both ends of each in this process; fewer where the hard limit says so. */
static int room_for(int n) {
    struct rlimit lim;
    rlim_t want = 2 * (rlim_t)n + 100;
    getrlimit(RLIMIT_NOFILE, &lim);
    if (lim.rlim_cur < want) {
        lim.rlim_cur = lim.rlim_max < want ? lim.rlim_max : want;
        setrlimit(RLIMIT_NOFILE, &lim);
    }
    return lim.rlim_cur < want ? (int)(lim.rlim_cur - 100) / 2 : n;
}

static void an_idle_connection_holds_at_most_512_bytes(void) {
    enum { MOST = 1000 };
    static peer peers[MOST];
    const int many = room_for(MOST);
    fix f;
    failing mem;
    begin(&f, &mem);
    f.loop_cfg.initial_fds = 8192;
    REQUIRE(fix_open(&f) == MH_OK);
    for (int i = 0; i < 600; i++)
        check_served(&f); /* fills what the pools keep */
    for (int i = 0; i < 300; i++)
        peer_unix(&peers[i], &f);
    UNTIL(&f, mh_server_connections(f.srv) == 300);
    for (int i = 0; i < 300; i++)
        peer_close(&peers[i]);
    UNTIL(&f, mh_server_connections(f.srv) == 0);
    uint32_t kept = f.srv->conn_pool.kept;
    CHECK(kept > 0);
    size_t pooled = mem.bytes;
    for (int i = 0; i < many; i++) {
        peer_unix(&peers[i], &f);
        if (peers[i].fd < 0) {
            CHECK_FAIL_("connection %d", i);
            break;
        }
        peer_send(&f, &peers[i], GET);
        CHECK_ANSWER(&f, &peers[i], 200, "hello");
    }
    settle(&f);
    CHECK_INT(mh_server_connections(f.srv), many);
    /* those that came out of the pool are counted by the struct's size */
    size_t from_pool = kept - f.srv->conn_pool.kept;
    size_t held = mem.bytes - pooled + from_pool * sizeof(mh__conn);
    if (held > (size_t)many * 512) CHECK_FAIL_("%zu bytes a connection", held / (size_t)many);
    CHECK(held >= (size_t)many * sizeof(mh__conn) / 2); /* the count is none of thin air */
    for (int i = 0; i < many; i++)
        peer_close(&peers[i]);
    fix_close(&f);
    CHECK_INT(mem.blocks, 0);
}

/* 400 requests with heads of 30 KB, 12 MB in all, from a client that reads nothing. */
static void a_client_that_pipelines_and_does_not_read_is_bounded(void) {
    static char request[30000];
    const char start[] = "GET / HTTP/1.1\r\nHost: a\r\nX: ", end[] = "\r\n\r\n";
    fix f;
    peer p;
    failing mem;
    size_t most = 0, sent = 0;
    memset(request, 'x', sizeof request);
    memcpy(request, start, sizeof start - 1);
    memcpy(request + sizeof request - (sizeof end - 1), end, sizeof end - 1);
    begin(&f, &mem);
    f.on_request = say_hello;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_unix(&p, &f);
    UNTIL(&f, mh_server_connections(f.srv) == 1);
    size_t before = mem.bytes;
    for (int idle = 0; idle < 3 && sent < 400 * sizeof request;) {
        size_t at = sent % sizeof request;
        ssize_t n = send(p.fd, request + at, sizeof request - at, MSG_DONTWAIT | MSG_NOSIGNAL);
        settle(&f);
        if (mem.bytes - before > most) most = mem.bytes - before;
        if (n > 0) sent += (size_t)n;
        idle = n > 0 ? 0 : idle + 1;
    }
    CHECK(sent > 10 * sizeof request);
    CHECK(most < 1 << 20);
    peer_close(&p);
    UNTIL(&f, mh_server_connections(f.srv) == 0);
    fix_close(&f);
    CHECK_INT(mem.blocks, 0);
}

static void what_a_burst_took_goes_back_but_for_the_pools(void) {
    static const char post[] = "POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabc";
    enum { MANY = 400 };
    static peer peers[MANY];
    const int many = room_for(MANY);
    fix f;
    failing mem;
    size_t after[2];
    begin(&f, &mem);
    f.loop_cfg.initial_fds = 8192;
    REQUIRE(fix_open(&f) == MH_OK);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < many; i++) {
            peer_unix(&peers[i], &f);
            peer_send(&f, &peers[i], post);
        }
        UNTIL(&f, f.begun == (unsigned)((round + 1) * many));
        for (int i = 0; i < many; i++)
            peer_close(&peers[i]);
        UNTIL(&f, mh_server_connections(f.srv) == 0);
        after[round] = mem.bytes;
    }
    CHECK_INT(after[1], after[0]);
    fix_close(&f);
    CHECK_INT(mem.blocks, 0);
}

/* ---- trimming -------------------------------------------------------------------------------- */

/* A small copy, the head, and two lent pieces. */
static void lend(mh_req *req, mh_done_cb done, void *user) {
    static const mh_str pieces[] = {{"ab", 2}, {"c", 1}};
    if (mh_res_head(req, 200, text("OK"), NULL, 0, 3) < 0 ||
        mh_res_writev(req, pieces, 2, done, user) < 0 || mh_res_end(req) < 0)
        mh_req_abort(req);
}

static void lend_quietly(fix *f, mh_req *req) {
    (void)f;
    lend(req, NULL, NULL);
}

static void trimming_gives_back_all_that_connections_left_behind(void) {
    enum { MANY = 50 };
    static peer peers[MANY];
    static char large[5000]; /* a head that outgrows the small buffers */
    fix f;
    failing mem;
    begin(&f, &mem);
    f.on_request = lend_quietly;
    f.loop_cfg.initial_fds = 8192;
    REQUIRE(fix_open(&f) == MH_OK);
    snprintf(large, sizeof large, "GET / HTTP/1.1\r\nHost: a\r\nX: %04000d\r\n\r\n", 0);
    size_t before = mem.blocks;
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < MANY; i++) {
            peer_unix(&peers[i], &f);
            peer_send(&f, &peers[i], GET GET);
            peer_send(&f, &peers[i], large);
        }
        for (int i = 0; i < MANY; i++) {
            for (int n = 0; n < 3; n++)
                CHECK_ANSWER(&f, &peers[i], 200, "abc");
            peer_close(&peers[i]);
        }
        UNTIL(&f, mh_server_connections(f.srv) == 0);
        CHECK(f.srv->conn_pool.kept > 0 && f.srv->req_pool.kept > 0);
        CHECK(f.srv->bufs.small.kept > 0 && f.srv->bufs.large.kept > 0);
        CHECK(f.srv->out.chunks.kept > 0 && f.srv->out.segs.kept > 0);
        CHECK(mem.blocks > before);
        mh_server_trim(f.srv);
        CHECK_INT(mem.blocks, before);
        mh_server_trim(f.srv); /* nothing is left to give back */
        CHECK_INT(mem.blocks, before);
    }
    fix_close(&f);
    CHECK_INT(mem.blocks, 0);
}

static unsigned returned; /* lent pieces */

static void trim_on_return(void *user) {
    mh_server_trim(user);
    returned++;
}

static void lend_between_trims(fix *f, mh_req *req) {
    mh_server_trim(f->srv);
    lend(req, trim_on_return, f->srv);
    mh_server_trim(f->srv);
}

static void trim_at_the_end(fix *f, mh_req *req, int why) {
    (void)req;
    (void)why;
    mh_server_trim(f->srv);
}

static void trimming_in_a_callback_leaves_what_is_in_use(void) {
    fix f;
    peer p;
    failing mem;
    begin(&f, &mem);
    f.on_request = lend_between_trims;
    f.on_finish = trim_at_the_end;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_unix(&p, &f);
    peer_send(&f, &p, GET GET GET);
    for (int i = 0; i < 3; i++)
        CHECK_ANSWER(&f, &p, 200, "abc");
    peer_close(&p);
    UNTIL(&f, mh_server_connections(f.srv) == 0);
    CHECK_INT(returned, 3);
    fix_close(&f);
    CHECK_INT(mem.blocks, 0);
}

#define HEAD "GET /path?query HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n"

static void check_head(mh_req *req) {
    mh_str name, value;
    CHECK_MEM(mh_req_method(req).p, mh_req_method(req).n, "GET");
    CHECK_MEM(mh_req_target(req).p, mh_req_target(req).n, "/path?query");
    CHECK_MEM(mh_req_path(req).p, mh_req_path(req).n, "/path");
    CHECK_MEM(mh_req_query(req).p, mh_req_query(req).n, "query");
    CHECK_MEM(mh_req_host(req).p, mh_req_host(req).n, "a");
    CHECK_INT(mh_req_field(req, 1, &name, &value), MH_OK);
    CHECK_MEM(name.p, name.n, "X");
    CHECK_MEM(value.p, value.n, "y");
}

static void a_trimmed_request_keeps_its_head_and_little_else(void) {
    fix f;
    peer p;
    failing mem;
    begin(&f, &mem);
    f.on_request = NULL; /* they are parked */
    REQUIRE(fix_open(&f) == MH_OK);
    peer_unix(&p, &f);
    for (int round = 0; round < 3; round++) {
        /* In the last round the next request is there, in the same buffer, and stays. */
        peer_send(&f, &p, round < 2 ? HEAD : HEAD GET);
        UNTIL(&f, f.req);
        settle(&f);
        mh_server_trim(f.srv);
        size_t before = mem.bytes;
        if (round == 0) { /* without memory all stays */
            failing_at(&mem, 1);
            mh_req_trim(f.req);
            CHECK(!failing_pending(&mem));
            CHECK_INT(mem.bytes, before);
            check_head(f.req);
        }
        mh_req_trim(f.req);
        mh_server_trim(f.srv);
        if (round < 2) CHECK(mem.bytes + 1500 < before);
        check_head(f.req);
        before = mem.bytes;
        mh_req_trim(f.req); /* has no effect */
        CHECK_INT(mem.bytes, before);
        check_head(f.req);
        CHECK_INT(say(f.req, "abc"), MH_OK);
        CHECK_ANSWER(&f, &p, 200, "abc");
    }
    UNTIL(&f, f.req);
    CHECK_INT(say(f.req, "next"), MH_OK);
    CHECK_ANSWER(&f, &p, 200, "next");
    peer_close(&p);
    fix_close(&f);
    CHECK_INT(mem.blocks, 0);
}

static void trim_and_say(fix *f, mh_req *req) {
    (void)f;
    mh_req_trim(req);
    check_head(req);
    CHECK_INT(say(req, "abc"), MH_OK);
}

static void a_request_may_be_trimmed_in_its_callbacks(void) {
    fix f;
    peer p;
    failing mem;
    begin(&f, &mem);
    f.on_request = trim_and_say;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_unix(&p, &f);
    for (int round = 0; round < 2; round++) {
        peer_send(&f, &p, HEAD HEAD);
        CHECK_ANSWER(&f, &p, 200, "abc");
        CHECK_ANSWER(&f, &p, 200, "abc");
    }
    peer_close(&p);
    fix_close(&f);
    CHECK_INT(mem.blocks, 0);
}

int main(void) {
    RUN(making_loop_server_and_listeners_fails_cleanly);
    RUN(continue_is_sent_once_there_is_memory);
    RUN(an_idle_connection_holds_at_most_512_bytes);
    RUN(a_client_that_pipelines_and_does_not_read_is_bounded);
    RUN(what_a_burst_took_goes_back_but_for_the_pools);
    RUN(trimming_gives_back_all_that_connections_left_behind);
    RUN(trimming_in_a_callback_leaves_what_is_in_use);
    RUN(a_trimmed_request_keeps_its_head_and_little_else);
    RUN(a_request_may_be_trimmed_in_its_callbacks);
    return check_end();
}
