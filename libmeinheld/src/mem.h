/* The allocator hook and free lists. Everything the library allocates comes from one mh__mem,
 * the loop's, so that a host can count it and a test can make any single allocation fail. */
#ifndef MH_MEM_H
#define MH_MEM_H

#include <stddef.h>
#include <stdint.h>

typedef struct mh__mem {
    void *(*alloc)(void *p, size_t n, void *user); /* realloc's contract; n == 0 frees */
    void *user;
} mh__mem;

/* alloc NULL means the C library's. */
void mh__mem_init(mh__mem *mem, void *(*alloc)(void *p, size_t n, void *user), void *user);

/* n > 0 uninitialised bytes, or NULL. */
void *mh__mem_alloc(mh__mem *mem, size_t n);
/* The same, zeroed. */
void *mh__mem_zalloc(mh__mem *mem, size_t n);
/* Grows or shrinks p (may be NULL) to n > 0 bytes; NULL leaves p as it was. */
void *mh__mem_realloc(mh__mem *mem, void *p, size_t n);
/* NULL is ignored. */
void mh__mem_free(mh__mem *mem, void *p);

/* Blocks of one size, kept for reuse. Blocks are not cleared. */
typedef struct mh__pool {
    mh__mem *mem;
    void *free;     /* singly linked through each block's first word */
    size_t item;    /* bytes of a block, >= sizeof(void *) */
    uint32_t kept;  /* blocks on the list */
    uint32_t limit; /* most to keep; more go back to the allocator */
} mh__pool;

void mh__pool_init(mh__pool *pool, mh__mem *mem, size_t item, uint32_t limit);
/* A block, or NULL. */
void *mh__pool_get(mh__pool *pool);
/* NULL is ignored. */
void mh__pool_put(mh__pool *pool, void *p);
/* Gives every kept block back to the allocator. */
void mh__pool_clear(mh__pool *pool);

#endif
