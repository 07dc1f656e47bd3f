/* Memory: whichever single allocation fails, nothing crashes or leaks, each exchange is finished
 * exactly once, and the server goes on serving; and an idle connection holds next to none. */
#include "client.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include "conn.h"
#include "failing.h"

#define GET "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

static unsigned lent, returned; /* borrowed pieces */

static void count_returned(void *user) {
    (void)user;
    returned++;
}

/* ---- a host that allocates in every way there is, and takes every error as it comes ---------- */

static void by_pieces(mh_req *req) {
    static char big[20000];
    const mh_str pieces[] = {{big, 10000}, {big, 3}, {big, 0}, {big, 500}};
    if (mh_res_inform(req, 103, NULL, 0) < 0) mh_req_abort(req);
    if (mh_res_head(req, 200, text("OK"), NULL, 0, MH_LENGTH_UNKNOWN) < 0) {
        mh_req_abort(req);
        return;
    }
    mh_res_write(req, big, 5);
    mh_res_write(req, big, sizeof big);
    for (size_t n = 1; n <= 4; n++) {
        int r = mh_res_writev(req, pieces, n, count_returned, NULL);
        CHECK(r == MH_OK || r == MH_FULL || r == MH_ENOMEM || r == MH_ECLOSED);
        lent += r >= 0;
    }
    int fd = memfd_create("test", MFD_CLOEXEC);
    if (ftruncate(fd, 50000) < 0) abort();
    mh_res_file(req, fd, 0, -1, 1);
    if (mh_res_end(req) < 0) mh_req_abort(req);
}

static void cut(mh_req *req) {
    const mh_str pieces[] = {{"abc", 3}, {"def", 3}, {"ghi", 3}};
    if (mh_res_head(req, 200, text("OK"), NULL, 0, 5) == MH_OK) {
        int r = mh_res_writev(req, pieces, 3, count_returned, NULL);
        CHECK(r == MH_ERANGE || r == MH_ENOMEM);
        lent += r == MH_ERANGE;
    }
    if (mh_res_end(req) < 0) mh_req_abort(req);
}

static void echo_on(fix *f, mh_req *req) {
    char buf[300];
    int got;
    (void)f;
    while ((got = mh_req_read(req, buf, sizeof buf)) > 0) {}
    if (got == MH_EAGAIN || got == MH_ECLOSED) return;
    if (got == MH_ENOMEM && (got = mh_req_read(req, buf, sizeof buf)) == MH_EAGAIN)
        return; /* may go better */
    if (say(req, "read") < 0) mh_req_abort(req);
}

static void serve(fix *f, mh_req *req) {
    if (req_is(req, "/pieces"))
        by_pieces(req);
    else if (req_is(req, "/cut"))
        cut(req);
    else if (req_is(req, "/read"))
        echo_on(f, req);
    else if (say(req, "hello") < 0)
        mh_req_abort(req);
}

/* ---- the script ------------------------------------------------------------------------------ */

static const char *const script[] = {
    GET GET,
    "GET /pieces HTTP/1.1\r\nHost: a\r\n\r\n" GET,
    "GET /pieces HTTP/1.0\r\n\r\n",
    "HEAD /pieces HTTP/1.1\r\nHost: a\r\n\r\n" GET,
    "GET /cut HTTP/1.1\r\nHost: a\r\n\r\n",
    "POST /read HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n|abc",
    "POST /read HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: "
    "chunked\r\n\r\n|3\r\nabc\r\n|0\r\n\r\n" GET,
    "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n|3\r\nabc\r\n|0\r\n\r\n" GET,
    "NONSENSE\n",
};

static void hear(fix *f, peer *p) {
    for (int i = 0; i < 3; i++) {
        settle(f);
        peer_pull(p);
    }
}

/* Sends s, its parts ("|") one after the other. */
static void play(fix *f, const char *s) {
    peer p;
    peer_unix(&p, f);
    while (*s) {
        size_t n = strcspn(s, "|");
        peer_send_n(f, &p, s, n);
        hear(f, &p);
        s += n + (s[n] == '|');
    }
    peer_close(&p);
    settle(f);
}

/* A head that outgrows the small buffers, and more fields than a request keeps in itself. */
static void play_long_head(fix *f) {
    static char head[8000];
    size_t n = (size_t)snprintf(head, sizeof head, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 90; i++)
        n += (size_t)snprintf(head + n, sizeof head - n, "X-%d: %050d\r\n", i, i);
    snprintf(head + n, sizeof head - n, "\r\n");
    play(f, head);
}

static void play_all(fix *f) {
    for (size_t i = 0; i < sizeof script / sizeof *script; i++)
        play(f, script[i]);
    play_long_head(f);
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
    f->loop_cfg.initial_fds = 8; /* so that the table has to grow */
    f->on_request = serve;
    f->on_readable = echo_on;
    lent = returned = 0;
}

static void any_single_failure_is_survived(void) {
    bool more = true;
    size_t k;
    for (k = 1; more && k < 10000 && !check_failed; k++) {
        fix f;
        failing mem;
        begin(&f, &mem);
        REQUIRE(fix_open(&f) == MH_OK);
        failing_at(&mem, k);
        play_all(&f);
        more = !failing_pending(&mem);
        failing_at(&mem, 0);
        check_served(&f);
        fix_close(&f);
        CHECK_INT(returned, lent);
        CHECK_INT(mem.blocks, 0);
        if (check_failed) CHECK_FAIL_("when allocation %zu failed", k);
    }
    CHECK(k > 20);
}

/* Not one failure but all from one on, as on a machine that is out of memory for a while. */
static void memory_that_stays_out_is_survived(void) {
    for (size_t k = 1; k < 60 && !check_failed; k++) {
        fix f;
        failing mem;
        begin(&f, &mem);
        REQUIRE(fix_open(&f) == MH_OK);
        failing_from(&mem, k);
        play_all(&f);
        failing_at(&mem, 0);
        check_served(&f);
        fix_close(&f);
        CHECK_INT(returned, lent);
        CHECK_INT(mem.blocks, 0);
        if (check_failed) CHECK_FAIL_("from allocation %zu on", k);
    }
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

int main(void) {
    RUN(any_single_failure_is_survived);
    RUN(memory_that_stays_out_is_survived);
    RUN(making_loop_server_and_listeners_fails_cleanly);
    RUN(continue_is_sent_once_there_is_memory);
    RUN(an_idle_connection_holds_at_most_512_bytes);
    RUN(a_client_that_pipelines_and_does_not_read_is_bounded);
    RUN(what_a_burst_took_goes_back_but_for_the_pools);
    return check_end();
}
