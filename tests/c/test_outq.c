/* The queue of outgoing bytes over a socketpair: order, partial sends, files, budgets, and each
 * done callback once. */
#include "outq.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "check.h"
#include "failing.h"

enum { PLENTY = 1 << 30 };

typedef struct {
    failing f;
    mh__mem mem;
    mh__outq_env env;
    mh__outq q;
    int ours, theirs;
    char *got; /* what came out at the other end */
    size_t n;
    unsigned done;
} wire;

static void wire_open(wire *w) {
    int fds[2];
    memset(w, 0, sizeof *w);
    failing_init(&w->f);
    mh__mem_init(&w->mem, failing_alloc, &w->f);
    mh__outq_env_init(&w->env, &w->mem, false);
    mh__outq_init(&w->q);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) < 0) abort();
    w->ours = fds[0];
    w->theirs = fds[1];
    w->got = calloc(1, 1 << 22);
}

static void wire_close(wire *w) {
    mh__outq_clear(&w->env, &w->q);
    CHECK_INT(mh__outq_pending(&w->q), 0);
    mh__outq_env_clear(&w->env);
    CHECK_INT(w->f.blocks, 0);
    close(w->ours);
    if (w->theirs >= 0) close(w->theirs);
    free(w->got);
}

static void pull(wire *w) {
    ssize_t n;
    while ((n = recv(w->theirs, w->got + w->n, (1 << 22) - w->n, 0)) > 0)
        w->n += (size_t)n;
}

/* Sends until it is all gone, reading at the other end. Returns the last result. */
static enum mh__outq_result pump(wire *w, uint64_t budget) {
    enum mh__outq_result result = MH__OUTQ_AGAIN;
    for (int i = 0; i < 100000 && (result == MH__OUTQ_AGAIN || result == MH__OUTQ_BUDGET); i++) {
        uint64_t before = w->q.sent;
        result = mh__outq_send(&w->env, &w->q, w->ours, budget);
        CHECK(w->q.sent - before <= budget);
        pull(w);
    }
    return result;
}

static void count_done(void *user) { ++*(unsigned *)user; }

static int file_of(const char *s, size_t n) {
    int fd = memfd_create("test", MFD_CLOEXEC);
    if (fd < 0 || write(fd, s, n) != (ssize_t)n) abort();
    return fd;
}

static int borrow(wire *w, const char *s) {
    const mh_str piece = {s, strlen(s)};
    return mh__outq_borrow(&w->env, &w->q, &piece, 1, count_done, &w->done);
}

static void an_empty_queue_is_empty(void) {
    wire w;
    wire_open(&w);
    CHECK_INT(mh__outq_send(&w.env, &w.q, w.ours, 1), MH__OUTQ_EMPTY);
    wire_close(&w);
}

static void pieces_of_all_kinds_leave_in_order(void) {
    wire w;
    wire_open(&w);
    int fd = file_of("0123456789", 10);
    static char big[9000];
    memset(big, 'B', sizeof big);
    CHECK_INT(mh__outq_copy(&w.env, &w.q, "copy,", 5), MH_OK);
    CHECK_INT(borrow(&w, "borrowed,"), MH_OK);
    CHECK_INT(mh__outq_file(&w.env, &w.q, fd, 2, 5, true), MH_OK);
    CHECK_INT(mh__outq_copy(&w.env, &w.q, ",tail", 5), MH_OK);
    CHECK_INT(mh__outq_copy(&w.env, &w.q, big, sizeof big), MH_OK);
    CHECK_INT(mh__outq_copy(&w.env, &w.q, "!", 1), MH_OK);
    CHECK_INT(mh__outq_pending(&w.q), 5 + 9 + 5 + 5 + 9000 + 1);
    CHECK_INT(pump(&w, PLENTY), MH__OUTQ_EMPTY);
    CHECK_MEM(w.got, 24, "copy,borrowed,23456,tail");
    CHECK_INT(w.n, 24 + 9000 + 1);
    CHECK(memcmp(w.got + 24, big, sizeof big) == 0 && w.got[w.n - 1] == '!');
    CHECK_INT(w.done, 1);
    CHECK_INT(fcntl(fd, F_GETFD), -1); /* it was given away */
    wire_close(&w);
}

static void a_budget_of_any_size_gives_the_same_bytes(void) {
    static char want[40000];
    for (size_t i = 0; i < sizeof want; i++)
        want[i] = (char)('a' + i * 7 % 26);
    for (uint64_t budget = 1; budget < 50000; budget = budget * 3 + 1) {
        wire w;
        wire_open(&w);
        int fd = file_of(want, sizeof want);
        const mh_str pieces[] = {{want, 1}, {want + 1, 0}, {want + 1, 9999}};
        CHECK_INT(mh__outq_borrow(&w.env, &w.q, pieces, 3, count_done, &w.done), MH_OK);
        CHECK_INT(mh__outq_file(&w.env, &w.q, fd, 10000, 10000, false), MH_OK);
        CHECK_INT(mh__outq_copy(&w.env, &w.q, want + 20000, 20000), MH_OK);
        CHECK_INT(pump(&w, budget), MH__OUTQ_EMPTY);
        CHECK_INT(w.n, sizeof want);
        CHECK(memcmp(w.got, want, sizeof want) == 0);
        CHECK_INT(w.done, 1);
        close(fd);
        wire_close(&w);
    }
}

static void a_used_up_budget_says_so_only_if_more_is_pending(void) {
    wire w;
    wire_open(&w);
    mh__outq_copy(&w.env, &w.q, "abcdef", 6);
    CHECK_INT(mh__outq_send(&w.env, &w.q, w.ours, 4), MH__OUTQ_BUDGET);
    CHECK_INT(mh__outq_pending(&w.q), 2);
    CHECK_INT(mh__outq_send(&w.env, &w.q, w.ours, 2), MH__OUTQ_EMPTY);
    /* an empty piece at the end of the budget still gets its callback */
    mh__outq_copy(&w.env, &w.q, "gh", 2);
    borrow(&w, "");
    CHECK_INT(mh__outq_send(&w.env, &w.q, w.ours, 2), MH__OUTQ_EMPTY);
    CHECK_INT(w.done, 1);
    wire_close(&w);
}

static void many_small_copies_share_memory_and_calls(void) {
    wire w;
    wire_open(&w);
    size_t before = w.f.calls;
    for (int i = 0; i < 1000; i++)
        mh__outq_copy(&w.env, &w.q, "abc", 3);
    CHECK(w.f.calls - before <= 1);
    CHECK_INT(pump(&w, PLENTY), MH__OUTQ_EMPTY);
    CHECK_INT(w.n, 3000);
    wire_close(&w);
}

static void more_pieces_than_one_sendmsg_takes_leave_all(void) {
    wire w;
    wire_open(&w);
    mh_str pieces[500];
    for (int i = 0; i < 500; i++)
        pieces[i] = (mh_str){&"0123456789"[i % 10], 1};
    CHECK_INT(mh__outq_borrow(&w.env, &w.q, pieces, 500, count_done, &w.done), MH_OK);
    CHECK_INT(pump(&w, PLENTY), MH__OUTQ_EMPTY);
    CHECK_INT(w.n, 500);
    for (size_t i = 0; i < 500; i++)
        CHECK_INT(w.got[i], '0' + (int)(i % 10));
    CHECK_INT(w.done, 1);
    wire_close(&w);
}

static void a_reserve_may_be_committed_in_part_or_not_at_all(void) {
    wire w;
    wire_open(&w);
    memcpy(mh__outq_reserve(&w.env, &w.q, 100), "abc", 3);
    mh__outq_commit(&w.q, 2);
    CHECK(mh__outq_reserve(&w.env, &w.q, 100000) != NULL);
    CHECK_INT(mh__outq_copy(&w.env, &w.q, "de", 2), MH_OK);
    CHECK(mh__outq_reserve(&w.env, &w.q, 10) != NULL);
    CHECK_INT(mh__outq_pending(&w.q), 4);
    CHECK_INT(pump(&w, PLENTY), MH__OUTQ_EMPTY);
    CHECK_MEM(w.got, w.n, "abde");
    CHECK(mh__outq_reserve(&w.env, &w.q, SIZE_MAX) == NULL);
    wire_close(&w);
}

static void a_full_socket_says_again_and_loses_nothing(void) {
    wire w;
    wire_open(&w);
    static char big[3 << 20];
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 31);
    const mh_str piece = {big, sizeof big};
    CHECK_INT(mh__outq_borrow(&w.env, &w.q, &piece, 1, count_done, &w.done), MH_OK);
    CHECK_INT(mh__outq_send(&w.env, &w.q, w.ours, PLENTY), MH__OUTQ_AGAIN);
    CHECK_INT(mh__outq_send(&w.env, &w.q, w.ours, PLENTY), MH__OUTQ_AGAIN);
    CHECK_INT(w.done, 0);
    CHECK_INT(pump(&w, PLENTY), MH__OUTQ_EMPTY);
    CHECK(w.n == sizeof big && memcmp(w.got, big, sizeof big) == 0);
    CHECK_INT(w.done, 1);
    wire_close(&w);
}

static void a_file_is_read_at_its_offset_whatever_its_position(void) {
    wire w;
    wire_open(&w);
    int fd = file_of("0123456789", 10);
    lseek(fd, 7, SEEK_SET);
    CHECK_INT(mh__outq_file(&w.env, &w.q, fd, 0, 4, false), MH_OK);
    CHECK_INT(pump(&w, PLENTY), MH__OUTQ_EMPTY);
    CHECK_MEM(w.got, w.n, "0123");
    CHECK_INT(lseek(fd, 0, SEEK_CUR), 7);
    close(fd);
    wire_close(&w);
}

static void a_file_that_ends_early_is_reported_after_what_it_had(void) {
    wire w;
    wire_open(&w);
    int fd = file_of("0123456789", 10);
    CHECK_INT(mh__outq_file(&w.env, &w.q, fd, 5, 6, true), MH_OK);
    CHECK_INT(pump(&w, PLENTY), MH__OUTQ_FILE);
    CHECK_MEM(w.got, w.n, "56789");
    wire_close(&w);
    CHECK_INT(fcntl(fd, F_GETFD), -1);
}

static void a_file_that_cannot_be_read_is_reported(void) {
    wire w;
    wire_open(&w);
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    CHECK_INT(mh__outq_file(&w.env, &w.q, fd, 0, 6, true), MH_OK);
    CHECK_INT(pump(&w, PLENTY), MH__OUTQ_FILE);
    wire_close(&w);
}

static void a_peer_that_has_gone_is_reported_for_memory_and_files(void) {
    wire w;
    wire_open(&w);
    close(w.theirs);
    w.theirs = -1;
    mh__outq_copy(&w.env, &w.q, "x", 1);
    CHECK_INT(mh__outq_send(&w.env, &w.q, w.ours, 1), MH__OUTQ_GONE);
    mh__outq_clear(&w.env, &w.q);
    int fd = file_of("abc", 3);
    CHECK_INT(mh__outq_file(&w.env, &w.q, fd, 0, 3, true), MH_OK);
    CHECK_INT(mh__outq_send(&w.env, &w.q, w.ours, 1), MH__OUTQ_GONE);
    wire_close(&w);
}

static void clearing_calls_done_once_and_closes_owned_files(void) {
    wire w;
    wire_open(&w);
    int ours = file_of("abc", 3), theirs = file_of("abc", 3);
    borrow(&w, "abc");
    mh__outq_file(&w.env, &w.q, ours, 0, 3, true);
    mh__outq_file(&w.env, &w.q, theirs, 0, 3, false);
    borrow(&w, "");
    mh__outq_clear(&w.env, &w.q);
    CHECK_INT(w.done, 2);
    CHECK_INT(mh__outq_pending(&w.q), 0);
    CHECK_INT(fcntl(ours, F_GETFD), -1);
    CHECK_INT(close(theirs), 0);
    wire_close(&w);
}

static wire *chain_wire;
static void chain(void *user) {
    int *left = user;
    if (--*left > 0) {
        const mh_str piece = {"x", 1};
        CHECK_INT(mh__outq_borrow(&chain_wire->env, &chain_wire->q, &piece, 1, chain, left), MH_OK);
    }
}

static void a_done_callback_may_queue_more(void) {
    wire w;
    wire_open(&w);
    chain_wire = &w;
    int left = 10;
    const mh_str piece = {"x", 1};
    mh__outq_borrow(&w.env, &w.q, &piece, 1, chain, &left);
    CHECK_INT(pump(&w, PLENTY), MH__OUTQ_EMPTY);
    CHECK_INT(left, 0);
    CHECK_MEM(w.got, w.n, "xxxxxxxxxx");
    wire_close(&w);
}

static void without_memory_nothing_is_queued(void) {
    wire w;
    wire_open(&w);
    static const char big[20000];
    const mh_str pieces[] = {{"a", 1}, {"b", 1}, {"c", 1}};
    failing_at(&w.f, 1);
    CHECK_INT(mh__outq_copy(&w.env, &w.q, "x", 1), MH_ENOMEM);
    failing_at(&w.f, 1);
    CHECK_INT(mh__outq_copy(&w.env, &w.q, big, sizeof big), MH_ENOMEM);
    for (size_t k = 1; k <= 3; k++) {
        mh__outq_env_clear(&w.env);
        failing_at(&w.f, k);
        CHECK_INT(mh__outq_borrow(&w.env, &w.q, pieces, 3, count_done, &w.done), MH_ENOMEM);
    }
    mh__outq_env_clear(&w.env);
    failing_at(&w.f, 1);
    CHECK_INT(mh__outq_file(&w.env, &w.q, 0, 0, 1, true), MH_ENOMEM);
    CHECK_INT(fcntl(0, F_GETFD) >= 0, 1); /* not closed */
    CHECK_INT(mh__outq_pending(&w.q), 0);
    CHECK(w.q.head == NULL);
    CHECK_INT(w.done, 0);
    wire_close(&w);
}

int main(void) {
    RUN(an_empty_queue_is_empty);
    RUN(pieces_of_all_kinds_leave_in_order);
    RUN(a_budget_of_any_size_gives_the_same_bytes);
    RUN(a_used_up_budget_says_so_only_if_more_is_pending);
    RUN(many_small_copies_share_memory_and_calls);
    RUN(more_pieces_than_one_sendmsg_takes_leave_all);
    RUN(a_reserve_may_be_committed_in_part_or_not_at_all);
    RUN(a_full_socket_says_again_and_loses_nothing);
    RUN(a_file_is_read_at_its_offset_whatever_its_position);
    RUN(a_file_that_ends_early_is_reported_after_what_it_had);
    RUN(a_file_that_cannot_be_read_is_reported);
    RUN(a_peer_that_has_gone_is_reported_for_memory_and_files);
    RUN(clearing_calls_done_once_and_closes_owned_files);
    RUN(a_done_callback_may_queue_more);
    RUN(without_memory_nothing_is_queued);
    return check_end();
}
