/* Files that are not in memory: when they are looked at and asked for, and that nobody waits for
 * the disk. preadv2 and posix_fadvise below stand for the kernel's. */
#include "readahead.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/uio.h>

#include "client.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: a\r\n\r\n"

enum { WINDOW = 262144, MANY = 1000000 };

/* ---- the kernel ------------------------------------------------------------------------------ */

static struct {
    int error;    /* of a look that finds nothing */
    off_t there;  /* the file is in memory up to here */
    int patience; /* > 0: after so many looks in vain all of it is */
    unsigned looks;
    off_t looked_at[8]; /* the last, in turn */
    unsigned advices;
    int advice;
    off_t from, n; /* of the last advice */
} disk;

ssize_t preadv2(int fd, const struct iovec *iov, int n, off_t offset, int flags) {
    (void)fd;
    (void)iov;
    CHECK_INT(n, 1);
    CHECK_INT(flags, RWF_NOWAIT);
    disk.looked_at[disk.looks++ % 8] = offset;
    if (offset < disk.there) return 1;
    if (disk.patience > 0 && --disk.patience == 0) disk.there = INT64_MAX;
    errno = disk.error;
    return -1;
}

int posix_fadvise(int fd, off_t offset, off_t n, int advice) {
    (void)fd;
    disk.advices++;
    disk.advice = advice;
    disk.from = offset;
    disk.n = n;
    return EINVAL; /* whatever it says */
}

static void disk_init(off_t there) {
    memset(&disk, 0, sizeof disk);
    disk.there = there;
    disk.error = EAGAIN;
}

#define CHECK_ADVICE(count, what, offset, size) \
    do {                                        \
        CHECK_INT(disk.advices, count);         \
        CHECK_INT(disk.advice, what);           \
        CHECK_INT(disk.from, offset);           \
        CHECK_INT(disk.n, size);                \
    } while (0)

/* ---- looking --------------------------------------------------------------------------------- */

static void what_is_in_memory_is_looked_at_once_a_window_and_needs_no_advice(void) {
    mh__readahead ra = {0};
    disk_init(INT64_MAX);
    CHECK_INT(mh__readahead_look(&ra, 3, 100, 1000, MANY), 1000);
    CHECK_INT(disk.looks, 2);
    CHECK_INT(disk.looked_at[0], 100);
    CHECK_INT(disk.looked_at[1], 1099);
    CHECK_INT(mh__readahead_look(&ra, 3, 1100, WINDOW, MANY), WINDOW);
    CHECK_INT(disk.looks, 3);
    CHECK_INT(disk.looked_at[2], 1099 + WINDOW);
    CHECK_INT(disk.advices, 0);
}

static void no_more_than_a_window_is_looked_at_however_much_is_wanted(void) {
    mh__readahead ra = {0};
    disk_init(INT64_MAX);
    CHECK_INT(mh__readahead_look(&ra, 3, 0, UINT64_C(1) << 40, UINT64_C(1) << 40), WINDOW);
    CHECK_INT(disk.looked_at[1], WINDOW - 1);
}

static void a_slow_socket_s_parts_of_a_window_are_not_looked_at_again(void) {
    mh__readahead ra = {0};
    disk_init(INT64_MAX);
    CHECK_INT(mh__readahead_look(&ra, 3, 0, WINDOW, MANY), WINDOW);
    CHECK_INT(mh__readahead_look(&ra, 3, 10, WINDOW, MANY), WINDOW - 10);
    CHECK_INT(mh__readahead_look(&ra, 3, 100, 7, MANY), 7);
    CHECK_INT(mh__readahead_look(&ra, 3, WINDOW / 2, WINDOW, MANY), WINDOW / 2);
    CHECK_INT(mh__readahead_look(&ra, 3, WINDOW - 5, 5, 5), 5); /* the file's last */
    CHECK_INT(disk.looks, 2);
    CHECK_INT(mh__readahead_look(&ra, 3, WINDOW - 5, WINDOW, MANY), WINDOW);
    CHECK_INT(disk.looks, 3);
}

static void what_is_on_disk_is_read_by_the_kernel_or_asked_for(void) {
    mh__readahead ra = {0};
    disk_init(0);
    CHECK_INT(mh__readahead_look(&ra, 3, 5, WINDOW, MANY), 0);
    CHECK_INT(disk.looked_at[0], 5); /* which has begun the reading */
    CHECK_ADVICE(1, POSIX_FADV_SEQUENTIAL, 0, 0);
    CHECK_INT(mh__readahead_look(&ra, 3, 5, WINDOW, MANY), 0);
    CHECK_ADVICE(2, POSIX_FADV_WILLNEED, 5, 2 * WINDOW);
    CHECK_INT(mh__readahead_look(&ra, 3, 5, WINDOW, MANY), 0);
    CHECK_INT(disk.advices, 2);
    disk.there = INT64_MAX;
    CHECK_INT(mh__readahead_look(&ra, 3, 5, WINDOW, MANY), WINDOW);
    CHECK_INT(disk.advices, 2);
}

static void what_the_kernel_reads_by_itself_is_not_asked_for(void) {
    mh__readahead ra = {0};
    disk_init(0);
    CHECK_INT(mh__readahead_look(&ra, 3, 0, WINDOW, MANY), 0);
    disk.there = WINDOW;
    CHECK_INT(mh__readahead_look(&ra, 3, 0, WINDOW, MANY), WINDOW);
    disk.looks = 0;
    CHECK_INT(mh__readahead_look(&ra, 3, WINDOW, WINDOW, MANY), 0);
    CHECK_INT(disk.looked_at[0], 2 * WINDOW - 1);
    CHECK_INT(disk.looked_at[1], WINDOW); /* it may not have been read ahead: begin here */
    disk.there = 2 * WINDOW;
    CHECK_INT(mh__readahead_look(&ra, 3, WINDOW, WINDOW, MANY), WINDOW);
    CHECK_ADVICE(1, POSIX_FADV_SEQUENTIAL, 0, 0);
}

static void where_nothing_can_be_seen_the_next_window_is_asked_for(void) {
    mh__readahead ra = {0};
    disk_init(0);
    disk.error = EOPNOTSUPP;
    CHECK_INT(mh__readahead_look(&ra, 3, 0, 1000, 1001), 1000);
    CHECK_ADVICE(1, POSIX_FADV_WILLNEED, 1000, WINDOW);
    CHECK_INT(mh__readahead_look(&ra, 3, 1000, 1, 1), 1);
    CHECK_INT(disk.advices, 1);
}

static void a_disk_that_never_answers_is_waited_for_in_the_end(void) {
    mh__readahead ra = {0};
    unsigned n = 0;
    disk_init(0);
    while (n < 10000 && mh__readahead_look(&ra, 3, 0, WINDOW, MANY) == 0)
        n++;
    CHECK_INT(n, 500);
}

/* ---- connections ----------------------------------------------------------------------------- */

static void send_file_or_hello(fix *f, mh_req *req) {
    static char content[3 * WINDOW];
    if (!req_is(req, "/file")) {
        say_hello(f, req);
        return;
    }
    int fd = memfd_create("test", MFD_CLOEXEC);
    if (fd < 0 || write(fd, content, sizeof content) != sizeof content) abort();
    CHECK_INT(mh_res_head(req, 200, text("OK"), NULL, 0, sizeof content + 3), MH_OK);
    CHECK_INT(mh_res_file(req, fd, 0, -1, 1), MH_FULL);
    CHECK_INT(mh_res_write(req, "end", 3), MH_FULL); /* this does not hurry the disk */
    CHECK_INT(mh_res_end(req), MH_OK);
}

static void nobody_waits_for_another_s_disk_and_the_loop_does_not_spin(void) {
    fix f;
    peer cold, quick;
    answer a;
    disk_init(0);
    fix_init(&f);
    f.on_request = send_file_or_hello;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&cold, &f, 0);
    peer_tcp(&quick, &f, 0);
    peer_send(&f, &cold, GET("/file") GET("/"));
    UNTIL(&f, disk.looks == 1);
    for (int i = 0; i < 3; i++) {
        peer_send(&f, &quick, GET("/"));
        CHECK_ANSWER(&f, &quick, 200, "hello");
    }
    /* a look takes a step that waits a millisecond */
    unsigned looks = disk.looks, steps = 0;
    uint64_t begun = real_ms();
    for (; disk.looks < looks + 20; steps++)
        mh_loop_step(f.loop, -1);
    CHECK(real_ms() - begun >= 20);
    CHECK(steps <= 60);
    disk.patience = 5;
    ANSWER(&f, &cold, &a);
    CHECK_INT(a.n, 3 * WINDOW + 3);
    CHECK_MEM(a.body + 3 * WINDOW, 3, "end");
    answer_free(&a);
    CHECK_ANSWER(&f, &cold, 200, "hello");
    peer_close(&cold);
    peer_close(&quick);
    fix_close(&f);
}

static void a_client_that_leaves_while_the_disk_is_read_leaves_nothing_behind(void) {
    fix f;
    peer p;
    disk_init(0);
    fix_init(&f);
    f.on_request = send_file_or_hello;
    REQUIRE(fix_open(&f) == MH_OK);
    peer_tcp(&p, &f, 0);
    peer_send(&f, &p, GET("/file"));
    UNTIL(&f, disk.looks == 3);
    peer_reset(&p);
    UNTIL(&f, f.finished == 1);
    CHECK_INT(f.why, MH_FINISH_PEER_CLOSED);
    fix_close(&f);
}

int main(void) {
    RUN(what_is_in_memory_is_looked_at_once_a_window_and_needs_no_advice);
    RUN(no_more_than_a_window_is_looked_at_however_much_is_wanted);
    RUN(a_slow_socket_s_parts_of_a_window_are_not_looked_at_again);
    RUN(what_is_on_disk_is_read_by_the_kernel_or_asked_for);
    RUN(what_the_kernel_reads_by_itself_is_not_asked_for);
    RUN(where_nothing_can_be_seen_the_next_window_is_asked_for);
    RUN(a_disk_that_never_answers_is_waited_for_in_the_end);
    RUN(nobody_waits_for_another_s_disk_and_the_loop_does_not_spin);
    RUN(a_client_that_leaves_while_the_disk_is_read_leaves_nothing_behind);
    return check_end();
}
