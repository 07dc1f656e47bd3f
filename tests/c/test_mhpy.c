/* The C half of the Python binding without Python: whichever single allocation fails, in it or in
 * the library, costs at most one client its connection, and the batches go on. The allocator is
 * libc's, wrapped by the linker. */
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

#include "clock.h"

#include "client.h"
#include "mhpy.h"

#include <sys/mman.h>

#define HOST "Host: a\r\n"
#define GET  "GET /path%20 HTTP/1.1\r\n" HOST "\r\n"

/* ---- the allocator --------------------------------------------------------------------------- */

static bool counting;    /* the binding is at work, not the test */
static size_t countdown; /* 1: the next allocation fails; 0: none does */
static ptrdiff_t blocks; /* alive, of those that were made while counting */

void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
void __wrap_free(void *p);

static bool none_left; /* every allocation fails */

static bool fails(void) { return counting && (none_left || (countdown > 0 && --countdown == 0)); }

static void *made(void *p) {
    blocks += counting && p;
    return p;
}

void *__wrap_malloc(size_t n) { return fails() ? NULL : made(__real_malloc(n)); }
void *__wrap_calloc(size_t count, size_t n) {
    return fails() ? NULL : made(__real_calloc(count, n));
}

void *__wrap_realloc(void *p, size_t n) {
    if (fails()) return NULL;
    void *moved = __real_realloc(p, n);
    if (!p) made(moved);
    return moved;
}

void __wrap_free(void *p) {
    blocks -= counting && p;
    __real_free(p);
}

/* ---- a host as Python is one ----------------------------------------------------------------- */

enum { NAMES = 128 };

typedef struct host {
    mhpy *hub;
    char path[64];
    int listener;
    int64_t uploads[NAMES]; /* names of requests whose body is awaited; 0: none */
    unsigned requests, finished, ended, refused, served;
    int log;         /* where the access log goes */
    mhpy_mail *mail; /* if answers go by mail */
} host;

static void mail_abort(host *h, int64_t name) {
    while (mhpy_mail_abort(h->mail, name) == MH_ENOMEM)
        ;
}

static void mail_answer(host *h, int64_t name, const char *head, size_t n) {
    mhpy_made *made = mhpy_make(head, n, 3);
    if (!made || mhpy_mail_answer(h->mail, (uint32_t)name, (uint32_t)(name >> 32), made, "hello", 5,
                                  (int)(h->requests & 1)) < 0) {
        mail_abort(h, name);
    }
    mhpy_unmake(made);
}

/* The stream below, by mail. Its results are not waited for: this is the thread that makes them. */
static void mail_stream(host *h, int64_t name, const char *piece, size_t n) {
    mhpy_made *made = mhpy_make("200 OK", 6, 1);
    mhpy_stream *stream = mhpy_stream_new(h->mail, name);
    int rc = made && stream ? mhpy_stream_head(stream, made) : MH_ENOMEM;
    for (int i = 0; i < 4 && rc >= 0; i++)
        rc = mhpy_stream_write(stream, piece, n, i & 1);
    if (rc >= 0) rc = mhpy_stream_end(stream);
    if (rc < 0) mail_abort(h, name);
    mhpy_unmake(made);
    mhpy_stream_drop(stream);
}

static void answer_it(host *h, int64_t name) {
    static const char head[] = "200 OK\nX-Name\nvalue";
    if (h->mail)
        mail_answer(h, name, head, sizeof head - 1);
    else if (mhpy_answer(h->hub, name, head, sizeof head - 1, 3, "hello", 5, 0) < 0)
        mhpy_abort(h->hub, name);
}

static void read_on(host *h, int64_t name) {
    char buf[300];
    int64_t got;
    do
        got = mhpy_read(h->hub, name, buf, sizeof buf, 1);
    while (got >= 0 && (got & 3) == MHPY_READ_FULL);
    int64_t *place = NULL;
    for (int i = 0; i < NAMES && !place; i++)
        if (h->uploads[i] == name || h->uploads[i] == 0) place = &h->uploads[i];
    if (!place) abort();
    *place = 0;
    if (got >= 0 && (got & 3) == MHPY_READ_WAIT)
        *place = name;
    else if (got >= 0)
        answer_it(h, name);
    else
        mhpy_abort(h->hub, name);
}

/* A stream over the high-water mark, ended without waiting. */
static void stream(host *h, int64_t name) {
    static char piece[40000];
    static const char head[] = "200 OK";
    if (h->mail) {
        mail_stream(h, name, piece, sizeof piece);
        return;
    }
    int rc = mhpy_head(h->hub, name, head, sizeof head - 1, 1);
    for (int i = 0; i < 4 && rc >= 0; i++)
        rc = mhpy_write(h->hub, name, piece, sizeof piece, 1);
    if (rc >= 0) rc = mhpy_lend(h->hub, name, piece, sizeof piece);
    if (rc >= 0) rc = mhpy_end(h->hub, name, 0);
    if (rc < 0) mhpy_abort(h->hub, name);
}

/* A file over the high-water mark, from a descriptor that is closed at once. */
static void send_file(host *h, int64_t name) {
    static const char head[] = "206 Partial Content\nContent-Length\n70000";
    static char content[90000];
    int fd = memfd_create("test", MFD_CLOEXEC);
    if (write(fd, content, sizeof content) != sizeof content) abort();
    int rc = mhpy_file(h->hub, name, head, sizeof head - 1, 3, fd, 100);
    close(fd);
    if (rc != MH_OK) mhpy_abort(h->hub, name);
}

/* One turn: takes a batch, without waiting, and deals with each event. */
static void turn(host *h) {
    static int64_t ints[100000]; /* answering brings events, which take the place of these */
    mhpy_batch batch;
    int n = mhpy_step(h->hub, 0, &batch);
    CHECK(n >= 0);
    if (n > (int)(sizeof ints / sizeof *ints)) abort();
    if (n > 0) memcpy(ints, batch.ints, (size_t)n * sizeof *ints);
    for (int i = 0; i + MHPY_EVENT_INTS <= n; i += MHPY_EVENT_INTS) {
        const int64_t *event = ints + i;
        if (event[0] > 0) { /* a known head: nobody here has learned it, but it has a name */
            h->requests++;
            answer_it(h, event[2] << 32 | event[1]);
        } else if (event[0] == MHPY_REQUEST) {
            h->requests++;
            i += MHPY_EVENT_INTS;
            if (event[3] & MHPY_HAS_BODY)
                read_on(h, event[1]);
            else if (event[3] & MHPY_ESCAPED)
                answer_it(h, event[1]);
            else if (event[3] & MHPY_ABSOLUTE)
                send_file(h, event[1]);
            else
                stream(h, event[1]);
        } else if (event[0] == MHPY_READABLE) {
            read_on(h, event[1]);
        } else if (event[0] == MHPY_FINISH) {
            h->finished++;
        } else if (event[0] == MHPY_REFUSED) {
            h->refused++;
            CHECK(event[1] >= 3 && event[2] == 400 && event[3] == 12);
            i += MHPY_EVENT_INTS;
        } else if (event[0] == MHPY_SERVED) { /* it found no memory when it came */
            h->served++;
            CHECK_INT(event[2], 444);
            i += MHPY_EVENT_INTS;
        } else if (event[0] == MHPY_ENDED) {
            h->ended++;
            CHECK(event[2] >= 200 && event[3] >= 0);
            i += MHPY_EVENT_INTS;
            CHECK(event[4] >= MH_FINISH_DONE && event[4] <= MH_FINISH_FILE && event[5] >= 0);
        }
    }
}

/* ---- the script ------------------------------------------------------------------------------ */

static const char *const script[] = {
    GET "|" GET "|" GET GET,
    "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhe|llo" GET,
    "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n|0\r\n\r\n|" GET,
    "GET / HTTP/1.1\r\n" HOST "\r\n|" GET,
    "GET http://b/%41 HTTP/1.1\r\n" HOST "A: 1\r\nB: 2\r\nC: 3\r\nCookie: d\r\n\r\n",
    "GET http://b/ HTTP/1.1\r\n" HOST "\r\n|" GET,
};

enum { PARTS = sizeof script / sizeof *script };

typedef struct story {
    size_t n[PARTS];
    bool cut[PARTS];
} story;

static void quiet(host *h, peer *peers) {
    for (int i = 0; i < 40; i++) {
        counting = true;
        turn(h);
        counting = false;
        for (int p = 0; p < PARTS; p++)
            if (peers[p].fd >= 0) peer_pull(&peers[p]);
    }
}

static void play(host *h, story *s) {
    peer peers[PARTS];
    const char *rest[PARTS];
    for (int i = 0; i < PARTS; i++) {
        peer_open_(&peers[i], unix_connect(h->path));
        rest[i] = script[i];
    }
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < PARTS; i++) {
            size_t n = strcspn(rest[i], "|");
            if (n > 0 && send(peers[i].fd, rest[i], n, MSG_NOSIGNAL) < 0) peers[i].reset = true;
            rest[i] += n + (rest[i][n] == '|');
            more |= *rest[i] != '\0';
        }
        quiet(h, peers);
    }
    for (int i = 0; i < PARTS; i++) {
        s->n[i] = peers[i].n;
        s->cut[i] = peers[i].eof || peers[i].reset;
        peer_close(&peers[i]);
    }
    quiet(h, peers);
}

static int listen_at(host *h) {
    struct sockaddr_un sa = {.sun_family = AF_UNIX};
    snprintf(h->path, sizeof h->path, "/tmp/mhpy-test-%d.sock", (int)getpid());
    snprintf(sa.sun_path, sizeof sa.sun_path, "%s", h->path);
    unlink(h->path);
    h->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(h->listener, (struct sockaddr *)&sa, sizeof sa) < 0) return -1;
    return listen(h->listener, 64);
}

/* A hub whose requests' ends are told and logged. */
static void log_all(host *h) {
    h->log = memfd_create("log", MFD_CLOEXEC);
    CHECK_INT(mhpy_access_log(h->hub, h->log, MH_ACCESS_JSON), MH_OK);
    CHECK_INT(mhpy_log_line(h->hub, "a line", 6), MH_OK);
    CHECK_INT(mhpy_tell_ends(h->hub), MH_OK);
}

static bool by_mail; /* all answers go by mail */

/* Runs the script with the k-th allocation failing. Returns whether there was one. When it is over,
 * the hub counts the blocks that it had before. */
static bool run(size_t k, story *s) {
    host h = {0};
    mhpy_options options;
    mhpy_counts before = {0}, after = {0};
    CHECK_INT(listen_at(&h), 0);
    blocks = 0;
    counting = true;
    mhpy_options_init(&options);
    int rc = mhpy_new(&h.hub, &options);
    if (rc == MH_OK) rc = mhpy_listen(h.hub, h.listener, 0);
    log_all(&h);
    if (by_mail) h.mail = mhpy_mail_open(h.hub);
    counting = false;
    CHECK_INT(rc, MH_OK);
    CHECK_INT(h.mail != NULL, by_mail);
    CHECK_INT(mhpy_count(h.hub, &before), MH_OK);
    countdown = k;
    play(&h, s);
    bool reached = countdown == 0;
    countdown = 0;
    story again;
    play(&h, &again);
    for (int i = 0; i < PARTS; i++)
        if (again.cut[i]) CHECK_FAIL_("client %d was cut off afterwards", i);
    counting = true;
    CHECK_INT(mhpy_trim(h.hub), MH_OK);
    CHECK_INT(mhpy_count(h.hub, &after), MH_OK);
    CHECK_INT(after.blocks, before.blocks);
    CHECK_INT(after.connections, 0);
    CHECK_INT(after.requests, 0);
    CHECK(h.ended >= h.requests); /* those that found no memory are not told, but end */
    mhpy_free(h.hub);
    CHECK(lseek(h.log, 0, SEEK_END) > 0);
    close(h.log);
    mhpy_mail_drop(h.mail);
    counting = false;
    CHECK_INT(blocks, 0);
    close(h.listener);
    unlink(h.path);
    return reached;
}

static void any_failing_allocation_costs_at_most_one_client_its_connection(void) {
    story want, got;
    run(0, &want);
    REQUIRE(!check_failed);
    size_t k = 1;
    for (; run(k, &got) && !check_failed; k++) {
        unsigned cut = 0;
        for (int i = 0; i < PARTS; i++) {
            if (got.n[i] == want.n[i] && !got.cut[i]) continue;
            cut++;
            if (!got.cut[i] || got.n[i] > want.n[i])
                CHECK_FAIL_("client %d: %zu bytes", i, got.n[i]);
        }
        if (cut > 1) CHECK_FAIL_("%u clients were cut off", cut);
        if (check_failed) CHECK_FAIL_("when allocation %zu failed", k);
    }
    printf("# %zu allocations\n", k - 1);
    CHECK(k > 20);
}

static void nor_does_one_when_answers_go_by_mail(void) {
    by_mail = true;
    any_failing_allocation_costs_at_most_one_client_its_connection();
    by_mail = false;
}

/* Their bodies are awaited, and none comes: as many events in one step as there never were. */
static void the_ends_of_many_requests_are_told_without_memory(void) {
    static const char upload[] = "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\n";
    enum { MANY = 100 };
    int fds[MANY];
    host h = {0};
    mhpy_options options;
    clock_stop(); /* so that none ends before all are there */
    mhpy_options_init(&options);
    options.config.min_rate = 0;
    CHECK_INT(listen_at(&h), 0);
    CHECK_INT(mhpy_new(&h.hub, &options), MH_OK);
    CHECK_INT(mhpy_listen(h.hub, h.listener, 0), MH_OK);
    CHECK_INT(mhpy_tell_ends(h.hub), MH_OK);
    counting = true;
    for (int i = 0; i < MANY; i++) { /* one by one, so that no step has many of them */
        fds[i] = unix_connect(h.path);
        REQUIRE(send(fds[i], upload, sizeof upload - 1, 0) == sizeof upload - 1);
        while (h.requests <= (unsigned)i)
            turn(&h);
    }
    CHECK_INT(h.finished, 0);
    clock_pass_ms(options.config.body_timeout);
    none_left = true;
    for (int i = 0; i < 1000 && h.finished < MANY && !check_failed; i++)
        turn(&h);
    none_left = false;
    CHECK_INT(h.finished, MANY);
    CHECK_INT(h.ended, MANY);
    counting = false;
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    mhpy_free(h.hub);
    close(h.listener);
    unlink(h.path);
    clock_go();
}

/* What a test asks of mhpy_file in its request's place. */
typedef struct file_case {
    const char *head;
    size_t pieces;
    int64_t offset;
    int rc;
    const char *body; /* NULL: the connection is cut */
} file_case;

static void play_file_case(const file_case *c, int fd) {
    host h = {0};
    mhpy_options options;
    mhpy_batch batch;
    peer p;
    mhpy_options_init(&options);
    CHECK_INT(listen_at(&h), 0);
    CHECK_INT(mhpy_new(&h.hub, &options), MH_OK);
    CHECK_INT(mhpy_listen(h.hub, h.listener, 0), MH_OK);
    peer_open_(&p, unix_connect(h.path));
    REQUIRE(send(p.fd, GET, sizeof GET - 1, 0) == sizeof GET - 1);
    int n;
    do
        n = mhpy_step(h.hub, 1000, &batch);
    while (n > 0 && batch.ints[n - 2 * MHPY_EVENT_INTS] != MHPY_REQUEST);
    REQUIRE(n > 0);
    int64_t name = batch.ints[n - 2 * MHPY_EVENT_INTS + 1];
    CHECK_INT(mhpy_file(h.hub, name, c->head, strlen(c->head), c->pieces, fd, c->offset), c->rc);
    if (c->rc == MHPY_NO_FILE || c->rc == MH_EINVAL) answer_it(&h, name); /* nothing had gone */
    for (int i = 0; i < 20; i++) {
        turn(&h);
        peer_pull(&p);
    }
    const char *body = memmem(p.in, p.n, "\r\n\r\n", 4);
    if (c->body) {
        REQUIRE(body);
        body += 4;
        CHECK_MEM(body, (size_t)(p.in + p.n - body), c->body);
    } else {
        CHECK(!body && (p.eof || p.reset));
    }
    CHECK_INT(mhpy_file(h.hub, name, c->head, strlen(c->head), c->pieces, fd, 0), MH_ECLOSED);
    peer_close(&p);
    mhpy_free(h.hub);
    close(h.listener);
    unlink(h.path);
}

static void a_file_is_sent_as_far_as_its_head_says_or_refused_whole(void) {
    static const file_case cases[] = {
        {"200 OK", 1, 0, MH_OK, "0123456789"},
        {"200 OK", 1, 9, MH_OK, "9"},
        {"200 OK\nContent-Length\n4", 3, 2, MH_OK, "2345"},
        {"200 OK\nContent-Length\n8", 3, 2, MH_OK, "23456789"},
        {"200 OK\nContent-Length\n0", 3, 2, MH_OK, ""},
        {"204 No Content", 1, 0, MH_OK, ""},
        {"304 Not Modified", 1, 0, MH_OK, ""},
        {"200 OK\nContent-Length\n9", 3, 2, MH_ERANGE, NULL},
        {"200 OK", 1, 10, MHPY_NO_FILE, "hello"},
        {"200 OK", 1, 11, MHPY_NO_FILE, "hello"},
        {"200 OK", 1, -1, MHPY_NO_FILE, "hello"},
        {"200 OK\nConnection\nclose", 3, 0, MH_EINVAL, "hello"},
        {"200 OK\nContent-Length\n-1", 3, 0, MH_EINVAL, "hello"},
        {"2", 1, 0, MH_EINVAL, "hello"},
    };
    int fd = memfd_create("test", MFD_CLOEXEC);
    REQUIRE(write(fd, "0123456789", 10) == 10);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        play_file_case(&cases[i], fd);
        if (check_failed) CHECK_FAIL_("case %zu", i);
    }
    close(fd);
}

static void what_sendfile_can_t_take_as_it_is_is_no_file(void) {
    static const file_case none = {"200 OK", 1, 0, MHPY_NO_FILE, "hello"};
    char path[] = "/tmp/mhpy-test-XXXXXX";
    int fds[2], whole = mkstemp(path);
    REQUIRE(whole >= 0 && write(whole, "0123456789", 10) == 10 && pipe2(fds, O_CLOEXEC) == 0);
    const int wrong[] = {
        -1,
        fds[0],
        open("/", O_RDONLY | O_CLOEXEC),
        open("/dev/zero", O_RDONLY | O_CLOEXEC),
        open("/proc/version", O_RDONLY | O_CLOEXEC),
        open(path, O_PATH | O_CLOEXEC),
        open(path, O_WRONLY | O_CLOEXEC),
        memfd_create("hole", MFD_CLOEXEC),
    };
    enum { WRONG = sizeof wrong / sizeof *wrong };
    REQUIRE(ftruncate(wrong[WRONG - 1], 4096) == 0);
    for (size_t i = 0; i < WRONG; i++) {
        play_file_case(&none, wrong[i]);
        if (check_failed) CHECK_FAIL_("descriptor %zu", i);
        if (i > 0) close(wrong[i]);
    }
    close(fds[1]);
    close(whole);
    unlink(path);
}

/* Takes batches until a request has come, and returns its name. */
static int64_t await_request(mhpy *hub) {
    mhpy_batch batch;
    for (;;) {
        int n = mhpy_step(hub, 0, &batch);
        for (int i = 0; i < n; i += MHPY_EVENT_INTS)
            if (batch.ints[i] == MHPY_REQUEST) return batch.ints[i + 1];
    }
}

/* Who takes what has come, and is busy with it, does not wait for more. */
static void a_part_of_a_body_is_read_without_waiting_for_the_rest(void) {
    static const char begun[] = "POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nabc";
    char buf[100];
    host h = {0};
    mhpy_options options;
    clock_stop();
    mhpy_options_init(&options);
    CHECK_INT(listen_at(&h), 0);
    CHECK_INT(mhpy_new(&h.hub, &options), MH_OK);
    CHECK_INT(mhpy_listen(h.hub, h.listener, 0), MH_OK);
    int fd = unix_connect(h.path);
    REQUIRE(send(fd, begun, sizeof begun - 1, 0) == sizeof begun - 1);
    int64_t name = await_request(h.hub);
    CHECK_INT(mhpy_keep(h.hub, name), MH_OK);
    CHECK_INT(mhpy_read(h.hub, name, buf, 2, 0), 2 << 2 | MHPY_READ_FULL);
    CHECK_INT(mhpy_read(h.hub, name, buf, sizeof buf, 0), 1 << 2 | MHPY_READ_FULL);
    clock_pass_ms(10 * options.config.body_timeout);
    turn(&h);
    turn(&h);
    CHECK_INT(h.finished, 0);
    REQUIRE(send(fd, "d", 1, 0) == 1);
    CHECK_INT(mhpy_read(h.hub, name, buf, sizeof buf, 0), 1 << 2 | MHPY_READ_FULL);
    CHECK_INT(mhpy_read(h.hub, name, buf, sizeof buf, 0), MHPY_READ_WAIT);
    REQUIRE(send(fd, "e", 1, 0) == 1);
    mhpy_batch batch;
    CHECK_INT(mhpy_step(h.hub, -1, &batch), MHPY_EVENT_INTS);
    CHECK_INT(batch.ints[0], MHPY_READABLE);
    CHECK_INT(mhpy_read(h.hub, name, buf, sizeof buf, 0), 1 << 2 | MHPY_READ_END);
    CHECK_INT(mhpy_read(h.hub, name, buf, sizeof buf, 0), MHPY_READ_END);
    close(fd);
    mhpy_free(h.hub);
    close(h.listener);
    unlink(h.path);
    clock_go();
}

/* Room for an event is kept for each. */
static void a_watch_that_takes_anothers_place_is_counted_once(void) {
    int fds[2];
    mhpy *hub;
    mhpy_options options;
    mhpy_options_init(&options);
    REQUIRE(pipe2(fds, O_CLOEXEC) == 0);
    REQUIRE(mhpy_new(&hub, &options) == MH_OK);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(mhpy_watch(hub, fds[0], MH_READ), MH_OK);
        CHECK_INT(hub->watches, 1);
    }
    CHECK_INT(mhpy_watch(hub, fds[0], 8), MH_EINVAL);
    CHECK_INT(hub->watches, 0);
    CHECK_INT(mhpy_unwatch(hub, fds[0]), MH_ENOENT);
    CHECK_INT(hub->watches, 0);
    mhpy_free(hub);
    close(fds[0]);
    close(fds[1]);
}

static int check_text(const char *text, size_t pieces) {
    return mhpy_check(text, strlen(text), pieces);
}

static void a_head_that_may_be_sent_is_told_from_one_that_may_not(void) {
    CHECK_INT(check_text("200 OK", 1), MH_OK);
    CHECK_INT(check_text("200\nX\nx", 3), MH_OK);
    CHECK_INT(check_text("200\nX\nx\ny", 3), MH_EINVAL);
    CHECK_INT(check_text("200\nX", 2), MH_EINVAL);
    CHECK_INT(check_text("200", 3), MH_EINVAL);
    CHECK_INT(check_text("", 0), MH_EINVAL);
    CHECK_INT(check_text("", 1), MH_EINVAL);
    CHECK_INT(check_text("", SIZE_MAX), MH_EINVAL);
    CHECK_INT(check_text("199", 1), MH_EINVAL);
    CHECK_INT(check_text("200\nX\nx\r", 3), MH_EINVAL);
    CHECK_INT(check_text("200\nUpgrade\nx", 3), MH_EINVAL);
    CHECK_INT(check_text("200\nTRAILERS\nx", 3), MH_EINVAL);
    CHECK_INT(check_text("200\nX\nx\nProxy-Authenticate\nx", 5), MH_EINVAL);
    CHECK_INT(check_text("200\nProxy-Authorization\nx", 3), MH_EINVAL);
    CHECK_INT(check_text("200\nProxy-Authorizatio\nx", 3), MH_OK);
}

static void many_headers_are_checked_as_memory_allows(void) {
    enum { PAIRS = 200 };
    char text[4 + 4 * PAIRS] = "200";
    for (int i = 0; i < PAIRS; i++)
        memcpy(text + 3 + 4 * i, "\nX\nx", 4);
    counting = true;
    blocks = 0;
    CHECK_INT(mhpy_check(text, 3 + 4 * PAIRS, 1 + 2 * PAIRS), MH_OK);
    none_left = true;
    CHECK_INT(mhpy_check(text, 3 + 4 * PAIRS, 1 + 2 * PAIRS), MH_ENOMEM);
    CHECK_INT(mhpy_check(text, 3, 1), MH_OK);
    none_left = false;
    CHECK_INT(blocks, 0);
    counting = false;
}

/* ---- what is lent ---------------------------------------------------------------------------- */

/* Counts the events of a kind that come in n turns; the name of a request is put in *name. */
static int count_events(host *h, int n, int64_t kind, int64_t *name) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        mhpy_batch batch;
        int got = mhpy_step(h->hub, 0, &batch);
        CHECK(got >= 0);
        for (int j = 0; j + MHPY_EVENT_INTS <= got; j += MHPY_EVENT_INTS) {
            count += batch.ints[j] == kind;
            if (batch.ints[j] == MHPY_REQUEST) {
                *name = batch.ints[j + 1];
                j += MHPY_EVENT_INTS;
            }
        }
    }
    return count;
}

/* Reads n bytes and lets the hub work meanwhile; returns how many MHPY_RETURNED came. */
static int read_along(host *h, int fd, size_t n) {
    static char buf[65536];
    int returned = 0;
    while (n > 0 && !check_failed) {
        ssize_t got = recv(fd, buf, n < sizeof buf ? n : sizeof buf, MSG_DONTWAIT);
        if (got > 0) n -= (size_t)got;
        returned += count_events(h, 1, MHPY_RETURNED, &(int64_t){0});
    }
    return returned;
}

/* Of a large piece it is told that it has left if it had to be waited for, and else not: what is
 * told too much would end another wait. */
static void a_lent_piece_is_told_of_if_it_was_waited_for(void) {
    static char large[4 << 20];
    static const char head[] = "200 OK\nContent-Length\n8388712";
    host h = {0};
    mhpy_options options;
    mhpy_options_init(&options);
    REQUIRE(listen_at(&h) == 0);
    REQUIRE(mhpy_new(&h.hub, &options) == MH_OK);
    REQUIRE(mhpy_listen(h.hub, h.listener, 0) == MH_OK);
    int fd = unix_connect(h.path);
    REQUIRE(send(fd, GET, sizeof GET - 1, 0) == sizeof GET - 1);
    int64_t name = -1;
    while (name < 0)
        count_events(&h, 1, 0, &name);
    CHECK_INT(mhpy_head(h.hub, name, head, sizeof head - 1, 3), MH_OK);
    for (int i = 0; i < 4; i++)
        CHECK_INT(mhpy_lend(h.hub, name, large, 1), MH_OK);
    CHECK_INT(count_events(&h, 10, MHPY_RETURNED, &name), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(mhpy_lend(h.hub, name, large, sizeof large), MH_FULL);
        CHECK_INT(mhpy_lend(h.hub, name, large, 1), MH_ESTATE);
        CHECK_INT(count_events(&h, 10, MHPY_RETURNED, &name), 0);
        CHECK_INT(read_along(&h, fd, sizeof large), 1);
    }
    CHECK_INT(mhpy_lend(h.hub, name, large, sizeof large), MH_ERANGE);
    CHECK_INT(mhpy_end(h.hub, name, 1), MH_OK);
    read_along(&h, fd, 100);
    close(fd);
    CHECK_INT(count_events(&h, 10, MHPY_RETURNED, &name), 0);
    CHECK_INT(mhpy_lend(h.hub, name, large, 1), MH_ECLOSED);
    mhpy_free(h.hub);
    close(h.listener);
    unlink(h.path);
}

/* It stays lent for as long as the library may look at it: until the client has gone, or the run
 * is over. */
static void a_lent_piece_is_told_of_when_its_client_leaves(void) {
    static char large[4 << 20];
    host h = {0};
    mhpy_options options;
    mhpy_options_init(&options);
    REQUIRE(listen_at(&h) == 0);
    REQUIRE(mhpy_new(&h.hub, &options) == MH_OK);
    REQUIRE(mhpy_listen(h.hub, h.listener, 0) == MH_OK);
    for (int i = 0; i < 2; i++) {
        int fd = unix_connect(h.path);
        REQUIRE(send(fd, GET, sizeof GET - 1, 0) == sizeof GET - 1);
        int64_t name = -1;
        while (name < 0)
            count_events(&h, 1, 0, &name);
        CHECK_INT(mhpy_head(h.hub, name, "200", 3, 1), MH_OK);
        CHECK_INT(mhpy_lend(h.hub, name, large, sizeof large), MH_FULL);
        if (i == 0) {
            close(fd);
            CHECK_INT(count_events(&h, 10, MHPY_RETURNED, &name), 1);
        } else {
            mhpy_free(h.hub);
            close(fd);
        }
    }
    close(h.listener);
    unlink(h.path);
}

static void making_a_hub_fails_cleanly(void) {
    mhpy_options options;
    mhpy_options_init(&options);
    bool reached = true;
    for (size_t k = 1; reached && k < 1000; k++) {
        mhpy *hub;
        blocks = 0;
        counting = true;
        countdown = k;
        int rc = mhpy_new(&hub, &options);
        reached = countdown == 0;
        countdown = 0;
        mhpy_free(hub);
        counting = false;
        CHECK_INT(rc, reached ? MH_ENOMEM : MH_OK);
        CHECK_INT(blocks, 0);
    }
}

/* ---- logs -------------------------------------------------------------------------------------- */

/* Which a step takes as it is: nobody reads the log. */
static void trouble_is_told(void) {
    int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    mhpy *hub;
    mhpy_options options;
    mhpy_batch batch;
    clock_stop();
    mhpy_options_init(&options);
    REQUIRE(full >= 0 && mhpy_new(&hub, &options) == MH_OK);
    CHECK_INT(mhpy_log_line(hub, "a", 1), MH_ESTATE);
    CHECK_INT(mhpy_access_log(hub, full, MH_ACCESS_LINES), MH_OK);
    CHECK_INT(mhpy_log_line(hub, "a", 1), MH_OK);
    clock_pass_ms(200);
    int n = mhpy_step(hub, 0, &batch);
    REQUIRE(n == MHPY_EVENT_INTS);
    CHECK_INT(batch.ints[0], MHPY_LOG);
    CHECK_INT(batch.ints[1], MH_LOG_LINES_STUCK);
    CHECK_INT(batch.ints[2], ENOSPC);
    mhpy_free(hub);
    close(full);
    clock_go();
}

/* What was written between two steps is sent by the next before it waits; its end must not wait
 * until something else happens. */
static void an_end_is_told_without_waiting_for_more(void) {
    host h = {0};
    mhpy_options options;
    mhpy_batch batch;
    peer p;
    mhpy_options_init(&options);
    CHECK_INT(listen_at(&h), 0);
    REQUIRE(mhpy_new(&h.hub, &options) == MH_OK);
    CHECK_INT(mhpy_listen(h.hub, h.listener, 0), MH_OK);
    CHECK_INT(mhpy_tell_ends(h.hub), MH_OK);
    peer_open_(&p, unix_connect(h.path));
    REQUIRE(send(p.fd, GET, sizeof GET - 1, 0) == sizeof GET - 1);
    while (h.requests == 0)
        turn(&h);
    while (h.ended == 0) { /* without it this step waits until the idle connection is closed */
        uint64_t begun = real_ms();
        int n = mhpy_step(h.hub, -1, &batch);
        CHECK(n > 0 && batch.ints[0] == MHPY_ENDED);
        CHECK(real_ms() - begun < options.config.keepalive_timeout / 2);
        h.ended++;
    }
    peer_close(&p);
    mhpy_free(h.hub);
    close(h.listener);
    unlink(h.path);
}

/* Its line is cut where a NUL would end a piece. */
static void a_refusal_is_told_with_its_line(void) {
    static const char bad[] = "A\0\0B\r\n\r\n", pieces[] = "\0\0A\0\0B";
    host h = {0};
    mhpy_options options;
    mhpy_batch batch = {0};
    peer p;
    mhpy_options_init(&options);
    CHECK_INT(listen_at(&h), 0);
    REQUIRE(mhpy_new(&h.hub, &options) == MH_OK);
    CHECK_INT(mhpy_listen(h.hub, h.listener, 0), MH_OK);
    CHECK_INT(mhpy_tell_ends(h.hub), MH_OK);
    peer_open_(&p, unix_connect(h.path));
    REQUIRE(send(p.fd, bad, sizeof bad - 1, 0) == sizeof bad - 1);
    REQUIRE(mhpy_step(h.hub, -1, &batch) == 2 * MHPY_EVENT_INTS);
    CHECK_INT(batch.ints[0], MHPY_REFUSED);
    CHECK_INT(batch.ints[1], 5);
    CHECK_INT(batch.ints[2], 400);
    CHECK_INT(batch.ints[3], 12);
    CHECK_INT(batch.pieces, 5);
    CHECK(batch.text_n == sizeof pieces && memcmp(batch.text, pieces, sizeof pieces) == 0);
    peer_close(&p);
    mhpy_free(h.hub);
    close(h.listener);
    unlink(h.path);
}

static void a_closed_hub_logs_nothing(void) {
    CHECK_INT(mhpy_access_log(NULL, 1, MH_ACCESS_JSON), MH_ECLOSED);
    CHECK_INT(mhpy_log_line(NULL, "a", 1), MH_ECLOSED);
    CHECK_INT(mhpy_tell_ends(NULL), MH_ECLOSED);
}

/* ---- static files ---------------------------------------------------------------------------- */

static const mhpy_static_options etc = {
    .directory = "/etc", .index = "index.html", .fields = "A\nb\nC\nd", .fields_n = 7, .pieces = 4};

/* The hub is as good as before, and has the prefixes that it had. */
static void adding_a_directory_fails_cleanly(void) {
    bool reached = true;
    size_t k = 1;
    for (; reached && k < 1000; k++) {
        mhpy_options options;
        mhpy *hub;
        mhpy_options_init(&options);
        blocks = 0;
        counting = true;
        REQUIRE(mhpy_new(&hub, &options) == MH_OK);
        CHECK_INT(mhpy_static(hub, "/a", 2, &etc), MH_OK);
        countdown = k;
        int rc = mhpy_static(hub, "/a/b", 4, &etc);
        reached = countdown == 0;
        countdown = 0;
        CHECK_INT(rc, reached ? MH_ENOMEM : MH_OK);
        CHECK_INT(hub->n_statics, reached ? 1 : 2);
        mhpy_free(hub);
        counting = false;
        CHECK_INT(blocks, 0);
    }
    CHECK(k > 4);
}

static void what_cant_be_served_is_refused(void) {
    mhpy_static_options options = etc;
    mhpy_options hub_options;
    mhpy *hub;
    mhpy_options_init(&hub_options);
    REQUIRE(mhpy_new(&hub, &hub_options) == MH_OK);
    options.directory = "/nowhere";
    CHECK_INT(mhpy_static(hub, "/a", 2, &options), MH_ESYS);
    CHECK_INT(mhpy_errno(hub), ENOENT);
    options = etc;
    options.pieces = 3; /* a newline too many */
    CHECK_INT(mhpy_static(hub, "/a", 2, &options), MH_EINVAL);
    options.pieces = 6; /* one too few */
    CHECK_INT(mhpy_static(hub, "/a", 2, &options), MH_EINVAL);
    options.fields_n = 5, options.pieces = 3; /* no pairs */
    CHECK_INT(mhpy_static(hub, "/a", 2, &options), MH_EINVAL);
    CHECK_INT(hub->n_statics, 0);
    CHECK_INT(mhpy_static(NULL, "/a", 2, &etc), MH_ECLOSED);
    mhpy_free(hub);
}

/* The end of one that Python has never heard of. */
static void the_end_of_a_request_for_a_file_is_told_with_its_head(void) {
    static const char ask[] = "GET /etc/%70asswd?q HTTP/1.1\r\n" HOST "A: b\r\n\r\n";
    static const char pieces[] = "\0\0GET\0/etc/%70asswd?q\0/etc/%70asswd\0q\0HTTP/1.1\0"
                                 "Host\0a\0A\0b";
    host h = {0};
    mhpy_options options;
    mhpy_batch batch = {0};
    peer p;
    mhpy_options_init(&options);
    CHECK_INT(listen_at(&h), 0);
    REQUIRE(mhpy_new(&h.hub, &options) == MH_OK);
    CHECK_INT(mhpy_listen(h.hub, h.listener, 0), MH_OK);
    CHECK_INT(mhpy_static(h.hub, "/etc", 4, &etc), MH_OK);
    CHECK_INT(mhpy_tell_ends(h.hub), MH_OK);
    peer_open_(&p, unix_connect(h.path));
    REQUIRE(send(p.fd, ask, sizeof ask - 1, MSG_NOSIGNAL) == sizeof ask - 1);
    REQUIRE(mhpy_step(h.hub, -1, &batch) == 2 * MHPY_EVENT_INTS);
    CHECK_INT(batch.ints[0], MHPY_SERVED);
    CHECK_INT(batch.ints[1], 11);
    CHECK_INT(batch.ints[2], 200);
    CHECK(batch.ints[3] > 0);
    CHECK_INT(batch.ints[4], MH_FINISH_DONE);
    CHECK_INT(batch.pieces, 11);
    CHECK(batch.text_n == sizeof pieces && memcmp(batch.text, pieces, sizeof pieces) == 0);
    peer_close(&p);
    mhpy_free(h.hub);
    close(h.listener);
    unlink(h.path);
}

/* None of them has a name, and no event is told of it, of its end neither. */
static void a_request_for_a_file_becomes_no_event(void) {
    host h = {0};
    mhpy_options options;
    answer a;
    peer p;
    mhpy_options_init(&options);
    CHECK_INT(listen_at(&h), 0);
    REQUIRE(mhpy_new(&h.hub, &options) == MH_OK);
    CHECK_INT(mhpy_listen(h.hub, h.listener, 0), MH_OK);
    CHECK_INT(mhpy_static(h.hub, "/etc", 4, &etc), MH_OK);
    peer_open_(&p, unix_connect(h.path));
    for (int i = 0; i < 3; i++) {
        static const char ask[] = "GET /etc/passwd HTTP/1.1\r\n" HOST "\r\n";
        REQUIRE(send(p.fd, ask, sizeof ask - 1, MSG_NOSIGNAL) > 0);
        for (int turns = 0; turns < 100 && !answer_take(&p, &a, false); turns++) {
            mhpy_batch batch;
            CHECK_INT(mhpy_step(h.hub, 0, &batch), 0);
        }
        CHECK_INT(a.status, 200);
        CHECK_MEM(answer_field(&a, "C"), 1, "d");
        answer_free(&a);
    }
    mhpy_counts counts;
    CHECK_INT(mhpy_count(h.hub, &counts), MH_OK);
    CHECK_INT(counts.requests, 0);
    peer_close(&p);
    mhpy_free(h.hub);
    close(h.listener);
    unlink(h.path);
}

/* ---- mail ------------------------------------------------------------------------------------ */

/* Takes one step with what the peer says, and returns the name of the request that this is. */
static int64_t ask(host *h, peer *p) {
    mhpy_batch batch;
    peer_open_(p, unix_connect(h->path));
    if (send(p->fd, GET, sizeof GET - 1, MSG_NOSIGNAL) != sizeof GET - 1) abort();
    int n = mhpy_step(h->hub, -1, &batch);
    for (int i = 0; i < n; i += MHPY_EVENT_INTS)
        if (batch.ints[i] == MHPY_REQUEST) return batch.ints[i + 1];
    abort();
}

/* Another's answer is due to be sent when the second one of its request is refused, and sending
 * finds that the client has gone. */
static void an_answer_too_many_of_a_client_that_has_gone_is_refused(void) {
    static char large[1 << 25]; /* copying it takes longer than an answer may wait */
    host h = {0};
    mhpy_options options;
    mhpy_batch batch;
    mhpy_counts counts;
    peer first, second;
    mhpy_options_init(&options);
    CHECK_INT(listen_at(&h), 0);
    REQUIRE(mhpy_new(&h.hub, &options) == MH_OK);
    CHECK_INT(mhpy_listen(h.hub, h.listener, 0), MH_OK);
    h.mail = mhpy_mail_open(h.hub);
    int64_t name = ask(&h, &first), other = ask(&h, &second);
    mhpy_made *made = mhpy_make("200 OK", 6, 1);
    mhpy_stream *stream = mhpy_stream_new(h.mail, name);
    REQUIRE(made && stream);
    mail_answer(&h, other, "200 OK\nA\nb", 10);
    CHECK_INT(mhpy_stream_head(stream, made), MH_OK);
    CHECK_INT(mhpy_stream_write(stream, large, sizeof large, 0), MH_FULL);
    CHECK_INT(mhpy_mail_answer(h.mail, (uint32_t)name, (uint32_t)(name >> 32), made, "", 0, 0),
              MH_OK);
    CHECK_INT(shutdown(first.fd, SHUT_RD), 0); /* of which sending alone is told */
    CHECK(mhpy_step(h.hub, 0, &batch) >= 0);
    CHECK(mhpy_step(h.hub, 0, &batch) >= 0);
    CHECK_INT(mhpy_count(h.hub, &counts), MH_OK);
    CHECK_INT(counts.requests, 0);
    mhpy_unmake(made);
    mhpy_stream_drop(stream);
    mhpy_mail_drop(h.mail);
    peer_close(&first);
    peer_close(&second);
    mhpy_free(h.hub);
    close(h.listener);
    unlink(h.path);
}

int main(void) {
    RUN(any_failing_allocation_costs_at_most_one_client_its_connection);
    RUN(nor_does_one_when_answers_go_by_mail);
    RUN(the_ends_of_many_requests_are_told_without_memory);
    RUN(a_file_is_sent_as_far_as_its_head_says_or_refused_whole);
    RUN(what_sendfile_can_t_take_as_it_is_is_no_file);
    RUN(trouble_is_told);
    RUN(an_end_is_told_without_waiting_for_more);
    RUN(a_refusal_is_told_with_its_line);
    RUN(a_closed_hub_logs_nothing);
    RUN(a_part_of_a_body_is_read_without_waiting_for_the_rest);
    RUN(a_watch_that_takes_anothers_place_is_counted_once);
    RUN(a_head_that_may_be_sent_is_told_from_one_that_may_not);
    RUN(many_headers_are_checked_as_memory_allows);
    RUN(a_lent_piece_is_told_of_if_it_was_waited_for);
    RUN(a_lent_piece_is_told_of_when_its_client_leaves);
    RUN(making_a_hub_fails_cleanly);
    RUN(adding_a_directory_fails_cleanly);
    RUN(what_cant_be_served_is_refused);
    RUN(a_request_for_a_file_becomes_no_event);
    RUN(the_end_of_a_request_for_a_file_is_told_with_its_head);
    RUN(an_answer_too_many_of_a_client_that_has_gone_is_refused);
    return check_end();
}
