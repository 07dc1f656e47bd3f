/* Answers: which heads may be sent, files, and pieces that are lent. */
#include "hub.h"

#include <sys/mman.h>

/* ---- heads ----------------------------------------------------------------------------------- */

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

/* ---- files ----------------------------------------------------------------------------------- */

/* What a test asks of mhpy_file in its request's place. */
typedef struct file_case {
    const char *head;
    size_t pieces;
    int64_t offset;
    int rc;
    const char *body; /* NULL: the connection is cut */
} file_case;

static void play_file_case(const file_case *c, int fd) {
    host h;
    open_host(&h);
    h.step_ms = 0;
    int64_t name = ask(&h);
    CHECK_INT(mhpy_file(h.hub, name, c->head, strlen(c->head), c->pieces, fd, c->offset), c->rc);
    if (c->rc == MHPY_NO_FILE || c->rc == MH_EINVAL) /* nothing had gone */
        CHECK_INT(say_hello_to(&h, name), MH_OK);
    for (int i = 0; i < 20; i++)
        turn(&h);
    const peer *p = &h.client;
    const char *body = memmem(p->in, p->n, "\r\n\r\n", 4);
    if (c->body) {
        REQUIRE(body);
        body += 4;
        CHECK_MEM(body, (size_t)(p->in + p->n - body), c->body);
    } else {
        CHECK(!body && (p->eof || p->reset));
    }
    CHECK_INT(mhpy_file(h.hub, name, c->head, strlen(c->head), c->pieces, fd, 0), MH_ECLOSED);
    close_host(&h);
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

/* ---- what is lent ---------------------------------------------------------------------------- */

/* How many MHPY_RETURNED come in n steps. The client does not read meanwhile. */
static int count_returned(host *h, int n) {
    int count = 0;
    for (int i = 0; i < n; i++) {
        mhpy_batch batch;
        int got = mhpy_step(h->hub, 0, &batch);
        CHECK(got >= 0);
        for (int j = 0; j + MHPY_EVENT_INTS <= got; j += MHPY_EVENT_INTS)
            count += batch.ints[j] == MHPY_RETURNED;
    }
    return count;
}

/* Has the client read n bytes while the hub works; returns how many MHPY_RETURNED came. */
static int read_along(host *h, size_t n) {
    static char buf[65536];
    int returned = 0;
    while (n > 0 && !check_failed) {
        ssize_t got = recv(h->client.fd, buf, n < sizeof buf ? n : sizeof buf, 0);
        if (got > 0) n -= (size_t)got;
        returned += count_returned(h, 1);
    }
    return returned;
}

/* Of a large piece it is told that it has left if it had to be waited for, and else not: what is
 * told too much would end another wait. */
static void a_lent_piece_is_told_of_if_it_was_waited_for(void) {
    static char large[4 << 20];
    static const char head[] = "200 OK\nContent-Length\n8388712";
    host h;
    open_host(&h);
    int64_t name = ask(&h);
    CHECK_INT(mhpy_head(h.hub, name, head, sizeof head - 1, 3), MH_OK);
    for (int i = 0; i < 4; i++)
        CHECK_INT(mhpy_lend(h.hub, name, large, 1), MH_OK);
    CHECK_INT(count_returned(&h, 10), 0);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(mhpy_lend(h.hub, name, large, sizeof large), MH_FULL);
        CHECK_INT(mhpy_lend(h.hub, name, large, 1), MH_ESTATE);
        CHECK_INT(count_returned(&h, 10), 0);
        CHECK_INT(read_along(&h, sizeof large), 1);
    }
    CHECK_INT(mhpy_lend(h.hub, name, large, sizeof large), MH_ERANGE);
    CHECK_INT(mhpy_end(h.hub, name, 1), MH_OK);
    read_along(&h, 100);
    peer_close(&h.client);
    CHECK_INT(count_returned(&h, 10), 0);
    CHECK_INT(mhpy_lend(h.hub, name, large, 1), MH_ECLOSED);
    close_host(&h);
}

/* Answers the client's request by more than its socket takes. */
static void lend_large(host *h) {
    static char large[4 << 20];
    int64_t name = ask(h);
    CHECK_INT(mhpy_head(h->hub, name, "200", 3, 1), MH_OK);
    CHECK_INT(mhpy_lend(h->hub, name, large, sizeof large), MH_FULL);
}

/* It stays lent for as long as the library may look at it: until the client has gone, or the run
 * is over. */
static void a_lent_piece_is_told_of_when_its_client_leaves(void) {
    host h;
    open_host(&h);
    lend_large(&h);
    peer_close(&h.client);
    CHECK_INT(count_returned(&h, 10), 1);
    connect_client(&h);
    lend_large(&h);
    mhpy_free(h.hub);
    h.hub = NULL;
    close_host(&h);
}

int main(void) {
    RUN(a_head_that_may_be_sent_is_told_from_one_that_may_not);
    RUN(a_file_is_sent_as_far_as_its_head_says_or_refused_whole);
    RUN(what_sendfile_can_t_take_as_it_is_is_no_file);
    RUN(a_lent_piece_is_told_of_if_it_was_waited_for);
    RUN(a_lent_piece_is_told_of_when_its_client_leaves);
    return check_end();
}
