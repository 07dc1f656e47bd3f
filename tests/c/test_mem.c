/* The allocator hook and the pools. */
#include "mem.h"

#include <stdint.h>

#include "check.h"
#include "failing.h"

static void the_libc_allocator_grows_keeps_and_frees(void) {
    mh__mem mem;
    mh__mem_init(&mem, NULL, NULL);
    char *p = mh__mem_alloc(&mem, 3);
    REQUIRE(p);
    memcpy(p, "abc", 3);
    p = mh__mem_realloc(&mem, p, 100000);
    REQUIRE(p);
    CHECK_MEM(p, 3, "abc");
    mh__mem_free(&mem, p);
    mh__mem_free(&mem, NULL);
}

static void zalloc_gives_zeroes(void) {
    failing f;
    failing_init(&f); /* fills what it gives with 0xaa */
    mh__mem mem;
    mh__mem_init(&mem, failing_alloc, &f);
    unsigned char *p = mh__mem_zalloc(&mem, 1000);
    REQUIRE(p);
    unsigned sum = 0;
    for (size_t i = 0; i < 1000; i++)
        sum += p[i];
    CHECK_INT(sum, 0);
    mh__mem_free(&mem, p);
    CHECK_INT(f.blocks, 0);
}

static void a_failed_allocation_is_null_and_a_failed_realloc_keeps_the_block(void) {
    failing f;
    failing_init(&f);
    mh__mem mem;
    mh__mem_init(&mem, failing_alloc, &f);
    failing_from(&f, 1);
    CHECK(mh__mem_alloc(&mem, 1) == NULL);
    CHECK(mh__mem_zalloc(&mem, 1) == NULL);
    failing_at(&f, 0);
    char *p = mh__mem_alloc(&mem, 4);
    REQUIRE(p);
    memcpy(p, "kept", 4);
    failing_at(&f, 1);
    CHECK(mh__mem_realloc(&mem, p, 8) == NULL);
    CHECK_MEM(p, 4, "kept");
    CHECK_INT(f.blocks, 1);
    CHECK_INT(f.bytes, 4);
    mh__mem_free(&mem, p);
    CHECK_INT(f.blocks, 0);
    CHECK_INT(f.bytes, 0);
    CHECK_INT(f.failed, 3);
}

static void failing_counts_down_to_the_call_it_was_told(void) {
    failing f;
    failing_init(&f);
    failing_at(&f, 3);
    void *a = failing_alloc(NULL, 1, &f), *b = failing_alloc(NULL, 1, &f);
    CHECK(a && b);
    CHECK(failing_pending(&f));
    CHECK(failing_alloc(NULL, 1, &f) == NULL);
    CHECK(!failing_pending(&f));
    void *c = failing_alloc(NULL, 1, &f);
    CHECK(c != NULL);
    failing_alloc(a, 0, &f);
    failing_alloc(b, 0, &f);
    failing_alloc(c, 0, &f);
    CHECK_INT(f.blocks, 0);
    CHECK_INT(f.calls, 4);
}

static void a_pool_gives_back_the_block_put_last(void) {
    failing f;
    failing_init(&f);
    mh__mem mem;
    mh__mem_init(&mem, failing_alloc, &f);
    mh__pool pool;
    mh__pool_init(&pool, &mem, 64, 8);
    char *a = mh__pool_get(&pool), *b = mh__pool_get(&pool);
    REQUIRE(a && b);
    memset(a, 'a', 64);
    memset(b, 'b', 64);
    mh__pool_put(&pool, a);
    mh__pool_put(&pool, b);
    CHECK_INT(pool.kept, 2);
    CHECK_INT(f.calls, 2);
    CHECK(mh__pool_get(&pool) == b);
    CHECK(mh__pool_get(&pool) == a);
    CHECK_INT(pool.kept, 0);
    CHECK_INT(f.calls, 2);
    memset(a, 'c', 64); /* all of it is ours again */
    mh__pool_put(&pool, a);
    mh__pool_put(&pool, b);
    mh__pool_clear(&pool);
    CHECK_INT(f.blocks, 0);
}

static void a_pool_keeps_no_more_than_its_limit(void) {
    failing f;
    failing_init(&f);
    mh__mem mem;
    mh__mem_init(&mem, failing_alloc, &f);
    mh__pool pool;
    mh__pool_init(&pool, &mem, sizeof(void *), 2); /* the smallest block */
    void *p[4];
    for (int i = 0; i < 4; i++)
        p[i] = mh__pool_get(&pool);
    for (int i = 0; i < 4; i++)
        mh__pool_put(&pool, p[i]);
    mh__pool_put(&pool, NULL);
    CHECK_INT(pool.kept, 2);
    CHECK_INT(f.blocks, 2);
    mh__pool_clear(&pool);
    CHECK_INT(pool.kept, 0);
    CHECK_INT(f.blocks, 0);
}

static void a_pool_without_memory_gives_null_but_still_what_it_keeps(void) {
    failing f;
    failing_init(&f);
    mh__mem mem;
    mh__mem_init(&mem, failing_alloc, &f);
    mh__pool pool;
    mh__pool_init(&pool, &mem, 32, 4);
    void *p = mh__pool_get(&pool);
    mh__pool_put(&pool, p);
    failing_from(&f, 1);
    CHECK(mh__pool_get(&pool) == p);
    CHECK(mh__pool_get(&pool) == NULL);
    mh__pool_put(&pool, p);
    mh__pool_clear(&pool);
    CHECK_INT(f.blocks, 0);
}

int main(void) {
    RUN(the_libc_allocator_grows_keeps_and_frees);
    RUN(zalloc_gives_zeroes);
    RUN(a_failed_allocation_is_null_and_a_failed_realloc_keeps_the_block);
    RUN(failing_counts_down_to_the_call_it_was_told);
    RUN(a_pool_gives_back_the_block_put_last);
    RUN(a_pool_keeps_no_more_than_its_limit);
    RUN(a_pool_without_memory_gives_null_but_still_what_it_keeps);
    return check_end();
}
