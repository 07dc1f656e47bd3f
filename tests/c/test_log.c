/* Lines on their way to a file: when they leave, that they leave whole, and what comes of it if
 * they can't. Other descriptors are test_log_fds.c's. */
#include "lines.h"

/* ---- when they leave ------------------------------------------------------------------------- */

static void lines_leave_200_ms_after_the_first(void) {
    fixture f;
    open_file(&f);
    log_lines(&f, 1, 100);
    pass(&f, 150);
    log_lines(&f, 1, 100);
    pass(&f, 49);
    CHECK_INT(lines_of(f.fd, 100), 0);
    pass(&f, 1);
    CHECK_INT(lines_of(f.fd, 100), 2);
    CHECK_INT(writes, 1);
    finish(&f);
}

static void or_when_there_are_64_kib_of_them(void) {
    fixture f;
    open_file(&f);
    log_lines(&f, 655, 100);
    CHECK_INT(writes, 0);
    log_lines(&f, 1, 100);
    CHECK_INT(writes, 1);
    CHECK_INT(lines_of(f.fd, 100), 656);
    finish(&f);
}

static void once_all_is_written_nothing_is_waited_for(void) {
    fixture f;
    open_file(&f);
    CHECK(mh__timer_next(f.loop) == MH__NEVER);
    log_lines(&f, 1, 100);
    CHECK(mh__timer_next(f.loop) != MH__NEVER);
    pass(&f, 200);
    CHECK(mh__timer_next(f.loop) == MH__NEVER);
    finish(&f);
}

static void closing_writes_what_is_there(void) {
    fixture f;
    open_file(&f);
    log_lines(&f, 3, 100);
    CHECK_INT(mh__log_close(f.log, true), 0);
    f.log = NULL;
    CHECK_INT(lines_of(f.fd, 100), 3);
    finish(&f);
}

static void closing_without_writing_writes_nothing(void) {
    fixture f;
    open_file(&f);
    log_lines(&f, 3, 100);
    CHECK_INT(mh__log_close(f.log, false), 3);
    f.log = NULL;
    CHECK_INT(writes, 0);
    finish(&f);
}

/* ---- whole ----------------------------------------------------------------------------------- */

static void a_write_that_takes_a_part_is_gone_on_with(void) {
    fixture f;
    open_file(&f);
    write_most = 7;
    log_lines(&f, 2000, 100);
    pass(&f, 200);
    CHECK_INT(lines_of(f.fd, 100), 2000);
    CHECK_INT(f.stuck + f.on, 0);
    finish(&f);
}

static void a_write_that_is_interrupted_is_made_again(void) {
    fixture f;
    open_file(&f);
    interrupted = 3;
    log_lines(&f, 1, 100);
    pass(&f, 200);
    CHECK_INT(lines_of(f.fd, 100), 1);
    CHECK_INT(f.stuck, 0);
    finish(&f);
}

static void a_write_to_a_file_holds_whole_lines(void) {
    fixture f;
    open_file(&f);
    for (size_t n = 10; n < MOST; n += 333) {
        log_lines(&f, 40, n);
        pass(&f, 200);
    }
    CHECK_INT(ragged, 0);
    finish(&f);
}

static void the_longest_line_fits(void) {
    fixture f;
    open_file(&f);
    log_lines(&f, 655, 100);
    log_lines(&f, 1, MOST);
    size_t n;
    char *text = written(f.fd, &n);
    CHECK_INT(n, 65500 + MOST);
    free(text);
    finish(&f);
}

/* ---- trouble --------------------------------------------------------------------------------- */

/* As long as writes fail with error: 64 KiB are kept, the others lost, and both told once. */
static void check_trouble(int error) {
    fixture f;
    open_file(&f);
    write_error = error;
    log_lines(&f, 1000, 100);
    CHECK_INT(f.kept, 656);
    CHECK_INT(f.stuck, 0); /* told from the loop, where nothing is under way */
    for (int i = 0; i < 10; i++)
        pass(&f, 200);
    CHECK_INT(f.stuck, 1);
    CHECK_INT(f.error, error);
    CHECK_INT(f.on, 0);
    CHECK_INT(writes, 11); /* not one a line */
    write_error = 0;
    pass(&f, 200);
    CHECK_INT(f.on, 1);
    CHECK_INT(f.lost, 1000 - 656);
    CHECK_INT(lines_of(f.fd, 100), 656);
    log_lines(&f, 5, 100);
    pass(&f, 200);
    pass(&f, 200);
    CHECK_INT(lines_of(f.fd, 100), 661);
    CHECK_INT(f.stuck, 1);
    CHECK_INT(f.on, 1);
    CHECK(mh__timer_next(f.loop) == MH__NEVER);
    finish(&f);
}

static void what_cant_be_written_is_kept_or_lost_and_told_once(void) {
    static const int errors[] = {ENOSPC, EAGAIN, EIO, EPIPE, EDQUOT, EFBIG, EBADF};
    for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
        check_trouble(errors[i]);
}

static void each_bout_is_told(void) {
    fixture f;
    open_file(&f);
    for (unsigned i = 1; i <= 3; i++) {
        write_error = ENOSPC;
        log_lines(&f, 1, 100);
        pass(&f, 200);
        CHECK_INT(f.stuck, i);
        write_error = 0;
        pass(&f, 200);
        CHECK_INT(f.on, i);
        CHECK_INT(f.lost, 0);
    }
    finish(&f);
}

/* It is over before the loop has had a turn, but lines are missing. */
static void lines_lost_in_a_short_bout_are_told_too(void) {
    fixture f;
    open_file(&f);
    write_error = EAGAIN;
    log_lines(&f, 657, 100);
    CHECK_INT(f.kept, 656);
    write_error = 0;
    mh__log_flush(f.log);
    pass(&f, 200);
    CHECK_INT(f.stuck, 1);
    CHECK_INT(f.error, EAGAIN);
    pass(&f, 200);
    CHECK_INT(f.on, 1);
    CHECK_INT(f.lost, 1);
    finish(&f);
}

static void a_line_that_was_begun_is_ended_when_there_is_room_again(void) {
    fixture f;
    open_file(&f);
    write_most = 150;
    write_budget = 1;
    log_lines(&f, 3, 100);
    pass(&f, 200);
    size_t n;
    free(written(f.fd, &n));
    CHECK_INT(n, 150);
    CHECK_INT(f.error, ENOSPC);
    log_lines(&f, 1, 100);
    write_budget = UINT_MAX;
    pass(&f, 200);
    CHECK_INT(lines_of(f.fd, 100), 4);
    CHECK_INT(f.lost, 0);
    finish(&f);
}

static void closing_says_how_many_lines_nobody_will_see(void) {
    fixture f;
    open_file(&f);
    write_error = ENOSPC;
    log_lines(&f, 700, 100);
    CHECK_INT(mh__log_close(f.log, true), 700);
    f.log = NULL;
    finish(&f);
}

/* The log is closed by who hears of its trouble. */
static void close_at_once(void *user, int error, uint64_t lost) {
    fixture *f = user;
    tell(f, error, lost);
    mh__log_close(f->log, true);
    f->log = NULL;
}

static void it_may_be_closed_when_trouble_is_told(void) {
    fixture f;
    open_loop(&f);
    watched_fd = f.fd = new_file();
    REQUIRE(mh__log_open(&f.log, f.loop, f.fd, MOST, close_at_once, &f) == MH_OK);
    write_error = ENOSPC;
    log_lines(&f, 1, 100);
    pass(&f, 200);
    CHECK_INT(f.stuck, 1);
    CHECK(!f.log);
    finish(&f);
}

static void without_memory_there_is_no_log(void) {
    fixture f;
    bool more = true;
    for (size_t k = 1; more; k++) {
        open_loop(&f);
        f.fd = new_file();
        failing_at(&f.mem, k);
        int error = mh__log_open(&f.log, f.loop, f.fd, MOST, tell, &f);
        more = !failing_pending(&f.mem);
        failing_at(&f.mem, 0);
        CHECK_INT(error, more ? MH_ENOMEM : MH_OK);
        CHECK(!more == (f.log != NULL));
        finish(&f);
    }
}

int main(void) {
    RUN(lines_leave_200_ms_after_the_first);
    RUN(or_when_there_are_64_kib_of_them);
    RUN(once_all_is_written_nothing_is_waited_for);
    RUN(closing_writes_what_is_there);
    RUN(closing_without_writing_writes_nothing);
    RUN(a_write_that_takes_a_part_is_gone_on_with);
    RUN(a_write_that_is_interrupted_is_made_again);
    RUN(a_write_to_a_file_holds_whole_lines);
    RUN(the_longest_line_fits);
    RUN(what_cant_be_written_is_kept_or_lost_and_told_once);
    RUN(each_bout_is_told);
    RUN(lines_lost_in_a_short_bout_are_told_too);
    RUN(a_line_that_was_begun_is_ended_when_there_is_room_again);
    RUN(closing_says_how_many_lines_nobody_will_see);
    RUN(it_may_be_closed_when_trouble_is_told);
    RUN(without_memory_there_is_no_log);
    return check_end();
}
