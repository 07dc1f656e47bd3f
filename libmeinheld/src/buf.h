/* Read buffers. A buffer is shared by the connection that reads into it and by the requests whose
 * heads lie in it: views into a head stay where they are for as long as its request lives, while
 * the connection moves on to another buffer when it needs room. Two sizes are pooled; anything
 * larger is allocated for itself. */
#ifndef MH_BUF_H
#define MH_BUF_H

#include <stdbool.h>
#include <stdint.h>

#include "mem.h"

typedef struct mh__buf {
    uint32_t refs;
    uint32_t cap; /* bytes of data; MH__SCAN_PAD more can be read */
    char data[];
} mh__buf;

typedef struct mh__bufs {
    mh__mem *mem;
    mh__pool small, large;
} mh__bufs;

void mh__bufs_init(mh__bufs *bufs, mh__mem *mem);
void mh__bufs_clear(mh__bufs *bufs);

/* A buffer with room for at least n bytes and one reference, or NULL. */
mh__buf *mh__buf_new(mh__bufs *bufs, uint32_t n);
/* A copy of n bytes in a block of no more than they take, or NULL. */
mh__buf *mh__buf_copy(mh__bufs *bufs, const char *p, uint32_t n);
void mh__buf_unref(mh__bufs *bufs, mh__buf *buf);

/* What a connection has read and not yet consumed: buf->data[pos..end). Bytes below base belong to
 * requests. Holds no buffer while empty and released. */
typedef struct mh__input {
    mh__buf *buf; /* or NULL */
    uint32_t pos, end;
    uint32_t base; /* the lowest offset that may be written while others refer to buf */
} mh__input;

static inline uint32_t mh__input_n(const mh__input *in) { return in->end - in->pos; }
static inline char *mh__input_at(const mh__input *in) {
    return in->buf ? in->buf->data + in->pos : NULL;
}
static inline uint32_t mh__input_room(const mh__input *in) {
    return in->buf ? in->buf->cap - in->end : 0;
}

/* Makes room for at least n more bytes behind end. False if there is no memory; nothing has changed
 * then. */
bool mh__input_reserve(mh__bufs *bufs, mh__input *in, uint32_t n);
/* Marks n bytes at pos as consumed and kept for a request, which takes a reference to the buffer.
 */
mh__buf *mh__input_keep(mh__input *in, uint32_t n);
/* Lets the buffer go if nothing is unread. */
void mh__input_release(mh__bufs *bufs, mh__input *in);
/* Drops all. */
void mh__input_clear(mh__bufs *bufs, mh__input *in);

#endif
