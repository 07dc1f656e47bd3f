/* Any single failure, of a system call or of an allocation, at any point of a script of exchanges:
 * what a program has to get over costs nobody a byte; anything else costs one client its connection
 * and no more. Nothing is answered twice, nothing leaks, the server goes on. The kernel is that of
 * kernel.h, so that the same failure always meets the same step. */
#include "client.h"

#include <sys/mman.h>

#include "failing.h"
#include "kernel.h"

#define HOST "Host: a\r\n"
#define GET  "GET / HTTP/1.1\r\n" HOST "\r\n"

/* More fields than a request keeps in itself, in a head that outgrows the small buffers. */
#define FIELD \
    "X-Long: 0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcd\r\n"
#define FIVE   FIELD FIELD FIELD FIELD FIELD
#define THIRTY FIVE FIVE FIVE FIVE FIVE FIVE

/* ---- a host that answers in every way there is, and gives up at the first error -------------- */

static unsigned lent, returned; /* borrowed pieces */
static char big[20000];

static void count_returned(void *user) {
    (void)user;
    returned++;
}

/* Whether r is a success; else the exchange is given up. */
static bool well(mh_req *req, int r) {
    if (r >= 0) return true;
    mh_req_abort(req);
    return false;
}

static void by_pieces(mh_req *req) {
    const mh_str pieces[] = {{big, 10000}, {big, 3}, {big, 0}, {big, 500}};
    if (!well(req, mh_res_inform(req, 103, NULL, 0))) return;
    if (!well(req, mh_res_head(req, 200, text("OK"), NULL, 0, MH_LENGTH_UNKNOWN))) return;
    if (!well(req, mh_res_write(req, "first", 5))) return;
    if (!well(req, mh_res_write(req, big, sizeof big))) return;
    for (size_t n = 1; n <= 4; n++) {
        int r = mh_res_writev(req, pieces, n, count_returned, NULL);
        lent += r >= 0;
        if (!well(req, r)) return;
    }
    well(req, mh_res_end(req));
}

static void by_file(mh_req *req) {
    int fd = memfd_create("test", MFD_CLOEXEC);
    if (fd < 0 || write(fd, big, sizeof big) != sizeof big) abort();
    if (!well(req, mh_res_head(req, 200, text("OK"), NULL, 0, sizeof big - 10))) {
        close(fd);
        return;
    }
    if (well(req, mh_res_file(req, fd, 10, -1, 1))) well(req, mh_res_end(req));
}

static void surplus(mh_req *req) {
    const mh_str pieces[] = {{"abc", 3}, {"def", 3}, {"ghi", 3}};
    if (!well(req, mh_res_head(req, 200, text("OK"), NULL, 0, 5))) return;
    int r = mh_res_writev(req, pieces, 3, count_returned, NULL);
    lent += r == MH_ERANGE;
    if (r != MH_ERANGE) mh_req_abort(req);
    if (r == MH_ERANGE) well(req, mh_res_end(req));
}

static void echo_on(fix *f, mh_req *req) {
    char buf[300];
    int got;
    while ((got = mh_req_read(req, buf, sizeof buf)) > 0)
        f->n += got;
    if (got == MH_EAGAIN) return;
    if (got == MH_EOS)
        well(req, say(req, "read"));
    else if (got == MH_EBODY)
        well(req, mh_res_simple(req, 400, text(""), NULL, 0, text("bad")));
    else
        mh_req_abort(req);
}

static void serve(fix *f, mh_req *req) {
    if (req_is(req, "/pieces"))
        by_pieces(req);
    else if (req_is(req, "/file"))
        by_file(req);
    else if (req_is(req, "/surplus"))
        surplus(req);
    else if (req_is(req, "/read"))
        echo_on(f, req);
    else
        well(req, say(req, "hello"));
}

/* ---- the script ------------------------------------------------------------------------------ */

typedef struct part {
    const char *sends; /* its parts ("|") go out one after the other, in turn with the others' */
    const char *first; /* how its answers begin */
    size_t window;     /* 0: as large as it comes */
} part;

static const part script[] = {
    {GET "|" GET GET "|" GET, "HTTP/1.1 200", 0},
    {"GET /pieces HTTP/1.1\r\n" HOST "\r\n" GET, "HTTP/1.1 103", 0},
    {"GET /pieces HTTP/1.1\r\n" HOST "\r\n|" GET, "HTTP/1.1 103", 1500},
    {"GET /pieces HTTP/1.0\r\n\r\n", "HTTP/1.1 200", 0},
    {"HEAD /pieces HTTP/1.1\r\n" HOST "\r\n" GET, "HTTP/1.1 103", 0},
    {"GET /file HTTP/1.1\r\n" HOST "\r\n|" GET, "HTTP/1.1 200", 3000},
    {"GET /surplus HTTP/1.1\r\n" HOST "\r\n", "HTTP/1.1 200", 0},
    {"POST /read HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n|ab|c" GET,
     "HTTP/1.1 100", 0},
    {"POST /read HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n|3\r\nabc\r\n|0\r\n\r\n" GET,
     "HTTP/1.1 200", 0},
    {"POST /read HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n|3\r\nabcX", "HTTP/1.1 400",
     0},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\n|unr|eadxx" GET, "HTTP/1.1 200", 0},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n|some", "HTTP/1.1 413", 0},
    {"GET / HT|TP/1.1\r\nHo|st: a\r\n\r|\n", "HTTP/1.1 200", 0},
    {"GET / HTTP/1.1\r\n" HOST "|" THIRTY "|\r\n" GET, "HTTP/1.1 200", 0},
    {"NONSENSE\n|more of it", "HTTP/1.1 400", 0},
    {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", "HTTP/1.1 200", 0},
};

enum { PARTS = sizeof script / sizeof *script, REFUSED = 2, MOST_STEPS = 5000 };

/* What each client has got. */
typedef struct story {
    char *got[PARTS];
    size_t n[PARTS];
    bool ended[PARTS];
} story;

static void story_free(story *s) {
    for (int i = 0; i < PARTS; i++)
        free(s->got[i]);
}

/* Steps until nothing happens any more, the clients taking what comes. */
static void quiet(fix *f, kernel_client *const *clients) {
    for (int idle = 0, steps = 0; idle < 3; steps++) {
        int r = mh_loop_step(f->loop, 0);
        bool moved = r != 0;
        for (int i = 0; i < PARTS; i++)
            moved |= kernel_take(clients[i], 1000) > 0;
        idle = moved ? 0 : idle + 1;
        if (steps > MOST_STEPS) {
            CHECK_FAIL_("the loop spins");
            return;
        }
    }
}

/* Plays all of the script, its clients at the same time. */
static void play(fix *f, story *s) {
    kernel_client *clients[PARTS];
    const char *rest[PARTS];
    for (int i = 0; i < PARTS; i++) {
        clients[i] = kernel_connect();
        rest[i] = script[i].sends;
        if (script[i].window) kernel_window(clients[i], script[i].window);
    }
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < PARTS; i++) {
            size_t n = strcspn(rest[i], "|");
            kernel_send(clients[i], rest[i], n);
            rest[i] += n + (rest[i][n] == '|');
            more |= *rest[i] != '\0';
        }
        quiet(f, clients);
        kernel_pass_ms(150); /* a listener that rests goes on after 100 */
        quiet(f, clients);
    }
    for (int i = 0; i < PARTS; i++) {
        const char *got = kernel_taken(clients[i], &s->n[i]);
        s->got[i] = malloc(s->n[i] + 1);
        if (s->n[i] > 0) memcpy(s->got[i], got, s->n[i]);
        s->ended[i] = kernel_ended(clients[i]);
        kernel_leave(clients[i]);
    }
    quiet(f, clients);
}

static void check_served(fix *f) {
    kernel_client *c = kernel_connect();
    size_t n;
    kernel_send(c, GET, strlen(GET));
    for (int i = 0; i < 10; i++)
        mh_loop_step(f->loop, 0);
    kernel_take(c, SIZE_MAX);
    const char *got = kernel_taken(c, &n);
    CHECK(n > 12 && memcmp(got, "HTTP/1.1 200", 12) == 0);
    kernel_leave(c);
    for (int i = 0; i < 10; i++)
        mh_loop_step(f->loop, 0);
    CHECK_INT(mh_server_connections(f->srv), 0);
}

static int log_fd;

static int open_log(fix *f) {
    log_fd = kernel_file();
    return mh_server_access_log(f->srv, log_fd, MH_ACCESS_COMBINED);
}

/* Each exchange has a line, and each refusal; nothing but whole lines has been written. */
static void check_log(const fix *f) {
    size_t n;
    unsigned lines = 0;
    const char *text = kernel_written(&n), *end = text + n;
    while (text < end) {
        const char *lf = memchr(text, '\n', (size_t)(end - text));
        if (!lf || strncmp(text, "127.0.0.1 - - [", 15) != 0 ||
            strncmp(lf - 8, " \"-\" \"-\"", 8) != 0) {
            CHECK_FAIL_("a line is torn: %.*s", (int)(end - text), text);
            return;
        }
        lines++;
        text = lf + 1;
    }
    if (lines < f->finished || lines > f->finished + REFUSED)
        CHECK_FAIL_("%u lines of %u exchanges", lines, f->finished);
}

static int open_all(fix *f, bool shared) {
    int error = mh_loop_new(&f->loop, &f->loop_cfg);
    if (error == MH_OK) error = fix_server(f);
    if (error == MH_OK && shared) error = mh_loop_fd(f->loop) < 0 ? MH_ESYS : MH_OK;
    if (error < 0) return error;
    int fd = kernel_listen();
    error = mh_server_listen_fd(f->srv, fd, 1);
    if (error < 0) close(fd);
    return error;
}

/* What is to fail in a run; 0: nothing of that kind. */
typedef struct failure {
    size_t call, way; /* a system call, from the making of the loop on (kernel.h) */
    size_t alloc;     /* an allocation, from the first client on */
    bool for_good;    /* and all that follow */
    bool shared;      /* the loop has been asked for its descriptor */
    bool logs;        /* there is an access log */
} failure;

typedef struct outcome {
    bool opened; /* loop, server and listener were made; else nothing else is set */
    bool alloc_reached;
    kernel_fault fault;
    story story;
} outcome;

/* One run of the script. Whatever fails, nothing is left behind and the next client is served. */
static outcome run(const failure *what) {
    outcome out = {0};
    fix f;
    failing mem;
    fix_init(&f);
    failing_config(&mem, &f.loop_cfg);
    f.loop_cfg.initial_fds = 8; /* so that the table has to grow */
    f.cfg.max_body = 1000;
    f.on_request = serve;
    f.on_readable = echo_on;
    lent = returned = 0;
    kernel_start();
    kernel_plan_fault(what->call, what->way);
    out.opened = open_all(&f, what->shared) == MH_OK;
    if (out.opened && what->logs) CHECK_INT(open_log(&f), MH_OK);
    if (out.opened) {
        (what->for_good ? failing_from : failing_at)(&mem, what->alloc);
        play(&f, &out.story);
        out.alloc_reached = mem.failed > 0;
        failing_at(&mem, 0);
    }
    out.fault = kernel_fault_made();
    kernel_plan_fault(0, 0);
    if (out.opened) check_served(&f);
    fix_close(&f);
    if (out.opened && what->logs) {
        check_log(&f);
        close(log_fd);
    }
    CHECK_INT(returned, lent);
    CHECK_INT(mem.blocks, 0);
    CHECK_INT(kernel_stop(), 0);
    return out;
}

/* ---- what may come of it --------------------------------------------------------------------- */

/* How many clients got something else than want says. Each of them must have got the beginning of
 * it, and the end of its connection: nothing wrong, nothing twice, nobody left waiting. */
static unsigned compare(const story *got, const story *want) {
    unsigned cut = 0;
    for (int i = 0; i < PARTS; i++) {
        size_t n = got->n[i];
        if (n == want->n[i] && memcmp(got->got[i], want->got[i], n) == 0) continue;
        cut++;
        if (n > want->n[i] || (n > 0 && memcmp(got->got[i], want->got[i], n) != 0))
            CHECK_FAIL_("client %d got \"%.*s\"", i, (int)(n < 300 ? n : 300), got->got[i]);
        if (!got->ended[i]) CHECK_FAIL_("client %d was left waiting after %zu bytes", i, n);
    }
    return cut;
}

/* The run without a failure. */
static bool play_well(story *want, failure what) {
    outcome out = run(&what);
    CHECK(out.opened);
    for (int i = 0; i < PARTS; i++) {
        size_t n = strlen(script[i].first);
        if (out.story.n[i] < n || memcmp(out.story.got[i], script[i].first, n) != 0)
            CHECK_FAIL_("client %d got %zu bytes: \"%.*s\"", i, out.story.n[i], (int)out.story.n[i],
                        out.story.got[i]);
    }
    *want = out.story;
    return !check_failed;
}

/* Fails the at-th call in each of its ways. False when there is no such call. */
static bool fail_call(size_t at, failure what, const story *want, size_t *made) {
    for (size_t way = 0;; way++) {
        what.call = at;
        what.way = way;
        outcome out = run(&what);
        if (out.opened) {
            unsigned cut = compare(&out.story, want);
            if (cut > (out.fault.passing ? 0 : 1)) CHECK_FAIL_("%u clients were cut off", cut);
            story_free(&out.story);
        }
        if (check_failed) CHECK_FAIL_("when call %zu failed with %s", at, out.fault.name);
        if (!out.fault.made || check_failed) return out.fault.reached && !check_failed;
        ++*made;
    }
}

static void fail_each_call(failure what) {
    story want;
    size_t calls = 0, made = 0;
    REQUIRE(play_well(&want, what));
    while (fail_call(calls + 1, what, &want, &made))
        calls++;
    printf("# %zu failures of %zu system calls\n", made, calls);
    CHECK(calls > 100);
    story_free(&want);
}

static void any_failure_of_a_system_call_costs_at_most_one_client_its_connection(void) {
    fail_each_call((failure){0});
}

static void so_does_any_in_a_loop_that_a_host_polls(void) {
    fail_each_call((failure){.shared = true});
}

static void so_does_any_where_there_is_an_access_log_and_its_lines_stay_whole(void) {
    fail_each_call((failure){.logs = true});
}

static void any_failing_allocation_costs_at_most_one_client_its_connection(void) {
    story want;
    size_t k;
    bool reached = true;
    REQUIRE(play_well(&want, (failure){0}));
    for (k = 1; reached && !check_failed; k++) {
        outcome out = run(&(failure){.alloc = k});
        unsigned cut = compare(&out.story, &want);
        if (cut > 1) CHECK_FAIL_("%u clients were cut off", cut);
        if (check_failed) CHECK_FAIL_("when allocation %zu failed", k);
        reached = out.alloc_reached;
        story_free(&out.story);
    }
    printf("# %zu allocations\n", k - 2);
    CHECK(k > 30);
    story_free(&want);
}

/* Not one failure but all from one on, as on a machine that is out of memory for a while. */
static void memory_that_stays_out_costs_connections_and_nothing_else(void) {
    story want;
    bool reached = true;
    REQUIRE(play_well(&want, (failure){0}));
    for (size_t k = 1; reached && !check_failed; k++) {
        outcome out = run(&(failure){.alloc = k, .for_good = true});
        compare(&out.story, &want);
        if (check_failed) CHECK_FAIL_("from allocation %zu on", k);
        reached = out.alloc_reached;
        story_free(&out.story);
    }
    story_free(&want);
}

int main(void) {
    RUN(any_failure_of_a_system_call_costs_at_most_one_client_its_connection);
    RUN(so_does_any_in_a_loop_that_a_host_polls);
    RUN(so_does_any_where_there_is_an_access_log_and_its_lines_stay_whole);
    RUN(any_failing_allocation_costs_at_most_one_client_its_connection);
    RUN(memory_that_stays_out_costs_connections_and_nothing_else);
    return check_end();
}
