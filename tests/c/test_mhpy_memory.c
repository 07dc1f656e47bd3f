/* The C half of the Python binding without Python: whichever single allocation fails, in it or in
 * the library, costs at most one client its connection, and the batches go on. The allocator is
 * libc's, wrapped by the linker. */
#include "clock.h"

#include "hub.h"

#include <stddef.h>
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

static int64_t uploads[NAMES]; /* names of requests whose body is awaited; 0: none */

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
        if (uploads[i] == name || uploads[i] == 0) place = &uploads[i];
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

/* Takes a batch, without waiting, and deals with each event. */
static void serve(host *h) {
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
            h->finishes++;
        } else if (event[0] == MHPY_REFUSED) {
            CHECK(event[1] >= 3 && event[2] == 400 && event[3] == 12);
            i += MHPY_EVENT_INTS;
        } else if (event[0] == MHPY_SERVED) { /* it found no memory when it came */
            CHECK_INT(event[2], 444);
            i += MHPY_EVENT_INTS;
        } else if (event[0] == MHPY_ENDED) {
            h->ends++;
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
        serve(h);
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

/* A hub whose requests' ends are told and logged. */
static void log_all(host *h, int fd) {
    CHECK_INT(mhpy_access_log(h->hub, fd, MH_ACCESS_JSON), MH_OK);
    CHECK_INT(mhpy_log_line(h->hub, "a line", 6), MH_OK);
    CHECK_INT(mhpy_tell_ends(h->hub), MH_OK);
}

static bool by_mail; /* all answers go by mail */

/* Runs the script with the k-th allocation failing. Returns whether there was one. When it is over,
 * the hub counts the blocks that it had before. */
static bool run(size_t k, story *s) {
    host h;
    mhpy_counts before = {0}, after = {0};
    int log_fd = memfd_create("log", MFD_CLOEXEC);
    memset(uploads, 0, sizeof uploads);
    blocks = 0;
    counting = true;
    init_host(&h);
    open_hub(&h);
    log_all(&h, log_fd);
    if (by_mail) h.mail = mhpy_mail_open(h.hub);
    counting = false;
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
    CHECK(h.ends >= h.requests); /* those that found no memory are not told, but end */
    close_host(&h);
    counting = false;
    CHECK_INT(blocks, 0);
    CHECK(lseek(log_fd, 0, SEEK_END) > 0);
    close(log_fd);
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
    host h;
    clock_stop(); /* so that none ends before all are there */
    memset(uploads, 0, sizeof uploads);
    init_host(&h);
    h.options.config.min_rate = 0;
    open_hub(&h);
    CHECK_INT(mhpy_tell_ends(h.hub), MH_OK);
    counting = true;
    for (int i = 0; i < MANY; i++) { /* one by one, so that no step has many of them */
        fds[i] = unix_connect(h.path);
        REQUIRE(send(fds[i], upload, sizeof upload - 1, 0) == sizeof upload - 1);
        while (h.requests <= (unsigned)i)
            serve(&h);
    }
    CHECK_INT(h.finishes, 0);
    clock_pass_ms(h.options.config.body_timeout);
    none_left = true;
    for (int i = 0; i < 1000 && h.finishes < MANY && !check_failed; i++)
        serve(&h);
    none_left = false;
    CHECK_INT(h.finishes, MANY);
    CHECK_INT(h.ends, MANY);
    counting = false;
    for (int i = 0; i < MANY; i++)
        close(fds[i]);
    close_host(&h);
    clock_go();
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

int main(void) {
    RUN(any_failing_allocation_costs_at_most_one_client_its_connection);
    RUN(nor_does_one_when_answers_go_by_mail);
    RUN(the_ends_of_many_requests_are_told_without_memory);
    RUN(many_headers_are_checked_as_memory_allows);
    RUN(making_a_hub_fails_cleanly);
    RUN(adding_a_directory_fails_cleanly);
    return check_end();
}
