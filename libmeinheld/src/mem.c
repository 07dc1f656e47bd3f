/* The allocator hook and free lists. A pool is a stack threaded through the blocks themselves,
 * so that keeping a block costs nothing and the one handed out is the one most likely still in
 * the cache. Under AddressSanitizer a kept block is poisoned but for that link: a use after
 * mh__pool_put is found as a use after free would be. */
#include "mem.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#if defined(__SANITIZE_ADDRESS__)
#define POISONING 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POISONING 1
#endif
#endif

#ifdef POISONING
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(p, n)   ((void)(p), (void)(n))
#define ASAN_UNPOISON_MEMORY_REGION(p, n) ((void)(p), (void)(n))
#endif

static void *libc_alloc(void *p, size_t n, void *user) {
    (void)user;
    if (n == 0) { /* realloc(p, 0) is left open by C11 7.22.3.5 */
        free(p);
        return NULL;
    }
    return realloc(p, n);
}

void mh__mem_init(mh__mem *mem, void *(*alloc)(void *p, size_t n, void *user), void *user) {
    mem->alloc = alloc ? alloc : libc_alloc;
    mem->user = alloc ? user : NULL;
}

void *mh__mem_alloc(mh__mem *mem, size_t n) {
    assert(n > 0);
    return mem->alloc(NULL, n, mem->user);
}

void *mh__mem_zalloc(mh__mem *mem, size_t n) {
    void *p = mh__mem_alloc(mem, n);
    if (p) memset(p, 0, n);
    return p;
}

void *mh__mem_realloc(mh__mem *mem, void *p, size_t n) {
    assert(n > 0);
    return mem->alloc(p, n, mem->user);
}

void mh__mem_free(mh__mem *mem, void *p) {
    if (p) mem->alloc(p, 0, mem->user);
}

void mh__pool_init(mh__pool *pool, mh__mem *mem, size_t item, uint32_t limit) {
    assert(item >= sizeof(void *));
    *pool = (mh__pool){.mem = mem, .item = item, .limit = limit};
}

/* memcpy, because the block's owner may have kept any type in it. */
static void *pop(mh__pool *pool) {
    void *p = pool->free;
    memcpy(&pool->free, p, sizeof pool->free);
    pool->kept--;
    ASAN_UNPOISON_MEMORY_REGION(p, pool->item);
    return p;
}

void *mh__pool_get(mh__pool *pool) {
    return pool->free ? pop(pool) : mh__mem_alloc(pool->mem, pool->item);
}

void mh__pool_put(mh__pool *pool, void *p) {
    if (!p) return;
    if (pool->kept >= pool->limit) {
        mh__mem_free(pool->mem, p);
        return;
    }
    memcpy(p, &pool->free, sizeof pool->free);
    pool->free = p;
    pool->kept++;
    ASAN_POISON_MEMORY_REGION((char *)p + sizeof(void *), pool->item - sizeof(void *));
}

void mh__pool_clear(mh__pool *pool) {
    while (pool->free)
        mh__mem_free(pool->mem, pop(pool));
}
