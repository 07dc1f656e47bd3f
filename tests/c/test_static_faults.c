/* Static files when calls fail: whichever one it is, of those that open and read files or of the
 * allocations, one client at the most gets another answer than it should, or none; what it gets is
 * right or an error, no descriptor and no memory is left behind, and the next is served. */
#include "statics.h"

#include "failing.h"

/* ---- a script -------------------------------------------------------------------------------- */

/* What is asked for, and what may come of it besides an error or the end of the connection. */
static const struct part {
    const char *target, *lines;
    int status, other; /* other: what is right too, when a call fails */
    const char *body;  /* NULL: another way to tell */
} script[] = {
    {"/s/a.txt", "", 200, 200, "0123456789"},
    {"/s/mid.bin", "", 200, 200, NULL},
    {"/s/a.txt", "If-None-Match: *\r\n", 304, 304, NULL},
    {"/s/a.txt", "Range: bytes=1-2\r\n", 206, 206, "12"},
    {"/s/mid.bin", "Range: bytes=0-17000,20000-37500,1-5\r\n", 206, 200, NULL}, /* no boundary */
    {"/s/a.txt", "Range: bytes=10-\r\n", 416, 416, NULL},
    {"/s/p.css", "Accept-Encoding: br, gzip\r\n", 200, 200, NULL}, /* perhaps without coding */
    {"/s/dir/", "", 200, 200, "<p>index"},
    {"/s/dir", "", 301, 301, NULL},
    {"/s/links/in", "", 200, 200, "0123456789"},
    {"/s/out", "", 404, 404, NULL},
};

enum { PARTS = sizeof script / sizeof *script, MIDDLE = 40000 };

static tree ground; /* of all runs */

static void plant_ground(void) {
    plant(&ground);
    tree_put(&ground, "www/mid.bin", big, MIDDLE); /* too large to be copied */
    tree_say(&ground, "www/p.css", "plain");
    tree_say(&ground, "www/p.css.br", "brotli");
    tree_say(&ground, "www/p.css.gz", "gzipped");
    tree_mkdir(&ground, "www/links");
    tree_link(&ground, "www/links/in", "../in");
}

typedef struct outcome {
    unsigned others; /* clients that did not get what they should */
    bool reached;
} outcome;

static bool is_error(int status) { return status == 404 || status == 500 || status == 503; }

/* What the i-th client got. */
static void judge(int i, const answer *a, bool ended, outcome *out) {
    if (a->status == script[i].status && a->whole) {
        if (script[i].body) CHECK_MEM(a->body, a->n, script[i].body);
        return;
    }
    out->others++;
    bool cut = ended && !a->whole, other = a->whole && a->status == script[i].other;
    if (!cut && !other && !(a->whole && is_error(a->status)))
        CHECK_FAIL_("%s: %d, %zu bytes%s", script[i].target, a->status, a->n,
                    ended ? ", and the end" : "");
}

static void play(stage *s, outcome *out) {
    for (int i = 0; i < PARTS; i++) {
        peer p;
        answer a;
        char text[300];
        peer_unix(&p, &s->f);
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", script[i].target,
                 script[i].lines);
        peer_send(&s->f, &p, text);
        UNTIL(&s->f, answer_take(&p, &a, false));
        if (a.status == 200 && a.whole && a.n == MIDDLE) CHECK(memcmp(a.body, big, a.n) == 0);
        judge(i, &a, p.eof || p.reset, out);
        answer_free(&a);
        peer_close(&p);
        UNTIL(&s->f, s->f.begun == s->f.finished);
    }
}

/* One run with the call-th call failing with error, or the alloc-th allocation; 0: none. */
static outcome run(int way, size_t call, int error, size_t alloc) {
    outcome out = {0}, again = {0};
    stage s;
    failing mem;
    choose_way(way);
    stage_set(&s);
    s.t = ground;
    s.f.step_ms = 0; /* on a unix socket there is nothing to wait for */
    failing_config(&mem, &s.f.loop_cfg);
    int fds = count_fds(), error_of_open = stage_open(&s);
    CHECK_INT(error_of_open, MH_OK);
    filecalls_made = 0;
    filecalls_at = call;
    filecalls_error = error;
    failing_at(&mem, alloc);
    if (error_of_open == MH_OK) play(&s, &out);
    out.reached = alloc > 0 ? mem.failed > 0 : filecalls_made >= call;
    filecalls_at = 0;
    failing_at(&mem, 0);
    if (error_of_open == MH_OK) play(&s, &again);
    CHECK_INT(again.others, 0);
    peer_close(&s.p);
    fix_close(&s.f);
    CHECK_INT(mem.blocks, 0);
    CHECK_INT(count_fds(), fds);
    choose_way(0);
    return out;
}

/* ---- failures -------------------------------------------------------------------------------- */

static void any_failing_call_costs_one_client_its_file_at_the_most(void) {
    static const int errors[] = {EMFILE, ENFILE, ENOMEM, EIO, EACCES, EPERM, EAGAIN, ENOENT};
    for (int way = 0; way < 2; way++) {
        CHECK_INT(run(way, 0, 0, 0).others, 0);
        size_t call = 1;
        for (bool reached = true; reached && !check_failed; call++) {
            for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
                outcome out = run(way, call, errors[i], 0);
                reached = out.reached;
                if (out.others > 1) CHECK_FAIL_("%u clients", out.others);
                if (strcmp(filecalls_failed, "getrandom") == 0) CHECK_INT(out.others, 1);
                if (check_failed) CHECK_FAIL_("%s: %s", filecalls_failed, strerror(errors[i]));
                if (!reached || check_failed) break;
            }
        }
        printf("# %zu calls %s\n", call - 2, ways[way]);
        CHECK(call > 20);
    }
}

/* The first call opens the first file. */
static void the_answer_says_whose_fault_it_is(void) {
    static const struct {
        int error, status;
    } cases[] = {{EMFILE, 503}, {ENFILE, 503}, {ENOMEM, 503}, {ENOBUFS, 503}, {EIO, 500},
                 {EACCES, 404}, {ENOENT, 404}, {ELOOP, 404},  {ENXIO, 404}};
    for (int i = 0; i < 2 * (int)(sizeof cases / sizeof *cases); i++) {
        stage s;
        answer a;
        choose_way(i % 2);
        stage_set(&s);
        s.t = ground;
        REQUIRE(stage_open(&s) == MH_OK);
        filecalls_made = 0;
        filecalls_at = 1;
        filecalls_error = cases[i / 2].error;
        ask(&s, &a, "GET", "/s/a.txt", "");
        if (a.status != cases[i / 2].status)
            CHECK_FAIL_("%s: %d", strerror(cases[i / 2].error), a.status);
        answer_free(&a);
        filecalls_at = 0;
        peer_close(&s.p);
        fix_close(&s.f);
        choose_way(0);
    }
}

/* A signal is no reason to fail. */
static void a_call_that_is_interrupted_is_made_again(void) {
    for (int way = 0; way < 2; way++) {
        bool reached = true;
        for (size_t call = 1; reached && !check_failed; call++) {
            filecalls_failed = "";
            outcome out = run(way, call, EINTR, 0);
            reached = out.reached;
            /* fstat, readlinkat and getrandom of a few bytes are never interrupted */
            bool interrupted = strcmp(filecalls_failed, "openat2") == 0 ||
                               strcmp(filecalls_failed, "openat") == 0 ||
                               strcmp(filecalls_failed, "pread") == 0 ||
                               strcmp(filecalls_failed, "preadv2") == 0;
            if (interrupted) CHECK_INT(out.others, 0);
            if (check_failed) CHECK_FAIL_("call %zu, %s", call, filecalls_failed);
        }
    }
}

/* What is not in memory, or not all of it, is sent another way. */
static void a_read_that_would_wait_is_made_up_for(void) {
    static const int errors[] = {SHORT_READ, EAGAIN, EINTR, EOPNOTSUPP, EINVAL, ENOSYS};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
        bool reached = true;
        unsigned made_up = 0;
        for (size_t call = 1; reached && !check_failed; call++) {
            filecalls_failed = "";
            outcome out = run(0, call, errors[i], 0);
            reached = out.reached;
            if (strcmp(filecalls_failed, "preadv2") != 0) continue;
            CHECK_INT(out.others, 0);
            made_up++;
        }
        CHECK(made_up >= 3);
    }
}

/* The file has become shorter since it was looked at. */
static void a_short_read_is_told(void) {
    bool reached = true;
    unsigned told = 0;
    for (size_t call = 1; reached && !check_failed; call++) {
        filecalls_failed = "";
        outcome out = run(1, call, SHORT_READ, 0);
        reached = out.reached;
        if (strcmp(filecalls_failed, "pread") != 0) continue;
        CHECK_INT(out.others, 1);
        told++;
    }
    CHECK(told >= 3);
}

static void any_failing_allocation_costs_one_client_its_file_at_the_most(void) {
    size_t k = 1;
    for (bool reached = true; reached && !check_failed; k++) {
        outcome out = run(0, 0, 0, k);
        reached = out.reached;
        if (out.others > 1) CHECK_FAIL_("%u clients", out.others);
        if (check_failed) CHECK_FAIL_("allocation %zu", k);
    }
    printf("# %zu allocations\n", k - 2);
    CHECK(k > 5);
}

int main(void) {
    fill_big();
    plant_ground();
    RUN(any_failing_call_costs_one_client_its_file_at_the_most);
    RUN(the_answer_says_whose_fault_it_is);
    RUN(a_call_that_is_interrupted_is_made_again);
    RUN(a_read_that_would_wait_is_made_up_for);
    RUN(a_short_read_is_told);
    RUN(any_failing_allocation_costs_one_client_its_file_at_the_most);
    tree_remove(&ground);
    return check_end();
}
