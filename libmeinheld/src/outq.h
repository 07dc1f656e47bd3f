/* The queue of what a connection has still to send: runs of memory and of files -> sendmsg(2),
 * sendfile(2). Knows sockets, but neither HTTP nor the loop. Small copies are gathered into chunks
 * of one size that come from a pool, so that many little pieces leave in one call; large ones get
 * memory of their own; borrowed ones and files carry the caller's done callback, called exactly
 * once when the piece has left or been dropped. */
#ifndef MH_OUTQ_H
#define MH_OUTQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "meinheld.h"
#include "mem.h"

typedef struct mh__seg mh__seg;

/* What all queues of a server share. */
typedef struct mh__outq_env {
    mh__mem *mem;
    mh__pool chunks;      /* segments with room for small copies */
    mh__pool segs;        /* segments without room */
    bool sigpipe_ignored; /* the host does; else SIGPIPE is blocked around sendfile */
} mh__outq_env;

void mh__outq_env_init(mh__outq_env *env, mh__mem *mem, bool sigpipe_ignored);
void mh__outq_env_clear(mh__outq_env *env);

typedef struct mh__outq {
    mh__seg *head, *tail;
    uint64_t queued; /* bytes ever queued on this connection; an exchange ends where this stood */
    uint64_t sent;   /* bytes the kernel has ever taken; queued - sent are pending */
    bool last; /* the socket is shut or closed as soon as the queue is empty: FIN leaves with the
                  last bytes */
    bool cut;  /* nothing more is sent, also by a send that is under way: done callbacks set it */
} mh__outq;

void mh__outq_init(mh__outq *q);
/* Drops all that is pending, calling the done callbacks. */
void mh__outq_clear(mh__outq_env *env, mh__outq *q);

static inline uint64_t mh__outq_pending(const mh__outq *q) { return q->queued - q->sent; }

/* Room for n contiguous bytes at the queue's end, to be filled and then committed (at most n of
 * them). NULL: no memory. Nothing else may be done to q in between. */
char *mh__outq_reserve(mh__outq_env *env, mh__outq *q, size_t n);
void mh__outq_commit(mh__outq *q, size_t n);

/* Copies n bytes. Errors: MH_ENOMEM, with nothing queued. */
int mh__outq_copy(mh__outq_env *env, mh__outq *q, const void *p, size_t n);

/* Borrows pieces until done(user) (may be NULL). Errors: MH_ENOMEM, with nothing queued and done
 * not called. */
int mh__outq_borrow(mh__outq_env *env, mh__outq *q, const mh_str *pieces, size_t n, mh_done_cb done,
                    void *user);

/* len > 0 bytes of fd from offset; own: fd is closed when done. Errors: MH_ENOMEM, with nothing
 * queued, fd not closed. */
int mh__outq_file(mh__outq_env *env, mh__outq *q, int fd, off_t offset, uint64_t len, bool own);

enum mh__outq_result {
    MH__OUTQ_EMPTY,  /* all has been taken */
    MH__OUTQ_AGAIN,  /* the socket is full: wait for EPOLLOUT */
    MH__OUTQ_BUDGET, /* enough for one turn, and more is pending */
    MH__OUTQ_DISK,   /* a file's next bytes are not in memory yet: try again in a while */
    MH__OUTQ_GONE,   /* the peer has gone: EPIPE, ECONNRESET and their like */
    MH__OUTQ_FILE /* a file ended before its length or could not be read: nothing right can follow
                   */
};

/* Sends to sock what is pending, at most budget (> 0) bytes. Survives partial sends and short
 * files; never raises SIGPIPE. A queue that was cut is not sent, whatever the result says. */
enum mh__outq_result mh__outq_send(mh__outq_env *env, mh__outq *q, int sock, uint64_t budget);

#endif
