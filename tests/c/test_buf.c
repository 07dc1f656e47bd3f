/* Read buffers: views into a head stay put while their request lives, whatever the connection does
 * next. */
#include "buf.h"

#include "check.h"
#include "failing.h"

typedef struct {
    failing f;
    mh__mem mem;
    mh__bufs bufs;
    mh__input in;
} room;

static void room_open(room *r) {
    memset(r, 0, sizeof *r);
    failing_init(&r->f);
    mh__mem_init(&r->mem, failing_alloc, &r->f);
    mh__bufs_init(&r->bufs, &r->mem);
}

static void room_close(room *r) {
    mh__input_clear(&r->bufs, &r->in);
    mh__bufs_clear(&r->bufs);
    CHECK_INT(r->f.blocks, 0);
}

/* Appends s as a read would, in pieces of what fits. */
static void feed(room *r, const char *s, size_t n) {
    while (n > 0) {
        REQUIRE(mh__input_reserve(&r->bufs, &r->in, 1));
        size_t take = mh__input_room(&r->in) < n ? mh__input_room(&r->in) : n;
        memcpy(r->in.buf->data + r->in.end, s, take);
        r->in.end += (uint32_t)take;
        s += take;
        n -= take;
    }
}

static void a_buffer_has_the_room_that_was_asked_for(void) {
    static const uint32_t sizes[] = {0, 1, 2104, 2105, 2112, 16440, 16441, 16448, 100000};
    room r;
    room_open(&r);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        mh__buf *buf = mh__buf_new(&r.bufs, sizes[i]);
        REQUIRE(buf);
        CHECK(buf->cap >= sizes[i]);
        memset(buf->data, 'x', buf->cap);
        mh__buf_unref(&r.bufs, buf);
    }
    room_close(&r);
}

static void a_growing_head_stays_in_one_piece(void) {
    enum { MOST = 70000 };
    static char sent[MOST];
    for (size_t i = 0; i < MOST; i++)
        sent[i] = (char)('a' + i % 23);
    room r;
    room_open(&r);
    for (size_t n = 0; n < MOST; n += 1000) {
        feed(&r, sent + n, 1000);
        REQUIRE(mh__input_n(&r.in) == n + 1000);
        CHECK(memcmp(mh__input_at(&r.in), sent, n + 1000) == 0);
    }
    room_close(&r);
}

static void a_kept_head_does_not_move_when_more_is_read(void) {
    room r;
    room_open(&r);
    feed(&r, "first head|", 11);
    const char *view = mh__input_at(&r.in);
    mh__buf *kept = mh__input_keep(&r.in, 11);
    static const char more[5000] = {1};
    feed(&r, more, sizeof more); /* over the buffer's end */
    CHECK_MEM(view, 11, "first head|");
    CHECK_INT(mh__input_n(&r.in), sizeof more);
    CHECK(r.in.buf != kept);
    mh__buf_unref(&r.bufs, kept);
    room_close(&r);
}

static void reading_a_body_does_not_write_over_the_head_before_it(void) {
    room r;
    room_open(&r);
    feed(&r, "HEADbody", 8);
    const char *view = mh__input_at(&r.in);
    mh__buf *kept = mh__input_keep(&r.in, 4);
    r.in.pos += 4; /* the body was taken */
    for (int i = 0; i < 3000; i++) {
        feed(&r, "more", 4);
        CHECK_MEM(mh__input_at(&r.in), mh__input_n(&r.in), "more");
        r.in.pos += 4;
    }
    CHECK_MEM(view, 4, "HEAD");
    mh__buf_unref(&r.bufs, kept);
    room_close(&r);
}

static void all_heads_of_a_pipeline_stay_in_a_shared_buffer(void) {
    room r;
    room_open(&r);
    const char *views[50];
    mh__buf *kept[50];
    for (int i = 0; i < 50; i++) {
        char head[101];
        snprintf(head, sizeof head, "%0100d", i);
        feed(&r, head, 100);
        views[i] = mh__input_at(&r.in);
        kept[i] = mh__input_keep(&r.in, 100);
    }
    for (int i = 0; i < 50; i++) {
        char head[101];
        snprintf(head, sizeof head, "%0100d", i);
        CHECK_MEM(views[i], 100, head);
        mh__buf_unref(&r.bufs, kept[i]);
    }
    room_close(&r);
}

static void room_before_the_unread_is_used_again_once_nobody_refers_to_it(void) {
    room r;
    room_open(&r);
    feed(&r, "0123456789", 10);
    mh__buf *kept = mh__input_keep(&r.in, 8);
    mh__buf_unref(&r.bufs, kept);
    mh__buf *before = r.in.buf;
    REQUIRE(mh__input_reserve(&r.bufs, &r.in, before->cap - 2));
    CHECK(r.in.buf == before);
    CHECK_MEM(mh__input_at(&r.in), mh__input_n(&r.in), "89");
    room_close(&r);
}

static void release_keeps_what_is_unread_and_lets_an_empty_buffer_go(void) {
    room r;
    room_open(&r);
    feed(&r, "ab", 2);
    r.in.pos++;
    mh__input_release(&r.bufs, &r.in);
    CHECK_MEM(mh__input_at(&r.in), mh__input_n(&r.in), "b");
    r.in.pos++;
    mh__input_release(&r.bufs, &r.in);
    CHECK(r.in.buf == NULL);
    CHECK(mh__input_at(&r.in) == NULL);
    CHECK_INT(mh__input_room(&r.in), 0);
    room_close(&r);
}

static void without_memory_nothing_changes(void) {
    room r;
    room_open(&r);
    failing_at(&r.f, 1);
    CHECK(!mh__input_reserve(&r.bufs, &r.in, 1));
    CHECK(r.in.buf == NULL);
    feed(&r, "abc", 3);
    failing_at(&r.f, 1);
    CHECK(!mh__input_reserve(&r.bufs, &r.in, 50000));
    CHECK_MEM(mh__input_at(&r.in), mh__input_n(&r.in), "abc");
    CHECK(!mh__input_reserve(&r.bufs, &r.in, UINT32_MAX)); /* no size at all */
    room_close(&r);
}

int main(void) {
    RUN(a_buffer_has_the_room_that_was_asked_for);
    RUN(a_growing_head_stays_in_one_piece);
    RUN(a_kept_head_does_not_move_when_more_is_read);
    RUN(reading_a_body_does_not_write_over_the_head_before_it);
    RUN(all_heads_of_a_pipeline_stay_in_a_shared_buffer);
    RUN(room_before_the_unread_is_used_again_once_nobody_refers_to_it);
    RUN(release_keeps_what_is_unread_and_lets_an_empty_buffer_go);
    RUN(without_memory_nothing_changes);
    return check_end();
}
