/* Calls that are refused, and leave nothing behind. Include it in one file of a program. */
#ifndef REFUSED_H
#define REFUSED_H

#include "client.h"
#include "failing.h"
#include "fds.h"

/* A fixture with a counting allocator. */
typedef struct counted {
    fix f; /* first: the fixture's callbacks get it */
    failing mem;
} counted;

static inline void open_counted(counted *c) {
    fix_init(&c->f);
    failing_config(&c->mem, &c->f.loop_cfg);
    if (fix_open(&c->f) < 0) abort();
}

static inline void close_counted(counted *c) {
    fix_close(&c->f);
    CHECK_INT(c->mem.blocks, 0);
}

/* call must return want, and neither keep memory nor a descriptor. */
#define REFUSED(c, call, want)                                     \
    do {                                                           \
        size_t blocks_ = (c)->mem.blocks, bytes_ = (c)->mem.bytes; \
        int fds_ = count_fds();                                    \
        CHECK_INT(call, want);                                     \
        CHECK_INT((c)->mem.blocks, blocks_);                       \
        CHECK_INT((c)->mem.bytes, bytes_);                         \
        CHECK_INT(count_fds(), fds_);                              \
    } while (0)

#endif
