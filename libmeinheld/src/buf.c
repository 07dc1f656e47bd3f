/* Read buffers and a connection's window on them: see buf.h for who holds what. */
#include "buf.h"

#include <stddef.h>
#include <string.h>

#include "scan.h"

enum {
    /* Most heads fit the small size; the odd 64s keep a batch of buffers from sharing the same
       cache sets. */
    SMALL = 2048 + 64,
    LARGE = 16384 + 64,
    SMALL_KEPT = 256,
    LARGE_KEPT = 32
};

/* Bytes of an allocation that are no room for data. */
enum { OVERHEAD = sizeof(mh__buf) + MH__SCAN_PAD };

void mh__bufs_init(mh__bufs *bufs, mh__mem *mem) {
    bufs->mem = mem;
    mh__pool_init(&bufs->small, mem, SMALL, SMALL_KEPT);
    mh__pool_init(&bufs->large, mem, LARGE, LARGE_KEPT);
}

void mh__bufs_clear(mh__bufs *bufs) {
    mh__pool_clear(&bufs->small);
    mh__pool_clear(&bufs->large);
}

mh__buf *mh__buf_new(mh__bufs *bufs, uint32_t n) {
    mh__buf *buf;
    uint32_t cap;
    if (n <= SMALL - OVERHEAD) {
        cap = SMALL - OVERHEAD;
        buf = mh__pool_get(&bufs->small);
    } else if (n <= LARGE - OVERHEAD) {
        cap = LARGE - OVERHEAD;
        buf = mh__pool_get(&bufs->large);
    } else {
        cap = n;
        buf = mh__mem_alloc(bufs->mem, OVERHEAD + n);
    }
    if (!buf) return NULL;
    buf->refs = 1;
    buf->cap = cap;
    return buf;
}

mh__buf *mh__buf_copy(mh__bufs *bufs, const char *p, uint32_t n) {
    mh__buf *buf = mh__mem_alloc(bufs->mem, OVERHEAD + (size_t)n);
    if (!buf) return NULL;
    buf->refs = 1;
    buf->cap = n; /* if that of a pool, the block has the pool's size too */
    memcpy(buf->data, p, n);
    return buf;
}

void mh__buf_unref(mh__bufs *bufs, mh__buf *buf) {
    if (!buf || --buf->refs > 0) return;
    if (buf->cap == SMALL - OVERHEAD) {
        mh__pool_put(&bufs->small, buf);
    } else if (buf->cap == LARGE - OVERHEAD) {
        mh__pool_put(&bufs->large, buf);
    } else {
        mh__mem_free(bufs->mem, buf);
    }
}

bool mh__input_reserve(mh__bufs *bufs, mh__input *in, uint32_t n) {
    uint32_t unread = mh__input_n(in);
    if (in->buf) {
        if (in->buf->refs == 1) in->base = 0;
        if (unread == 0) in->pos = in->end = in->base;
        if (in->buf->cap - in->end >= n) return true;
        if (in->buf->refs == 1 && in->buf->cap - unread >= n) {
            memmove(in->buf->data, in->buf->data + in->pos, unread);
            in->pos = 0;
            in->end = unread;
            return true;
        }
    }
    if (n > UINT32_MAX / 4 || unread > UINT32_MAX / 4) return false;
    /* Doubling keeps the copies of a growing head linear. */
    uint32_t want = unread ? unread * 2 : n;
    mh__buf *buf = mh__buf_new(bufs, want > unread + n ? want : unread + n);
    if (!buf) return false;
    if (unread > 0) memcpy(buf->data, in->buf->data + in->pos, unread);
    mh__buf_unref(bufs, in->buf);
    *in = (mh__input){.buf = buf, .end = unread};
    return true;
}

mh__buf *mh__input_keep(mh__input *in, uint32_t n) {
    in->pos += n;
    in->base = in->pos;
    in->buf->refs++;
    return in->buf;
}

void mh__input_release(mh__bufs *bufs, mh__input *in) {
    if (mh__input_n(in) == 0) mh__input_clear(bufs, in);
}

void mh__input_clear(mh__bufs *bufs, mh__input *in) {
    mh__buf_unref(bufs, in->buf);
    *in = (mh__input){0};
}
