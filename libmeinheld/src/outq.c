/* The queue of outgoing bytes: a list of segments, each a run of memory or of a file, sent in
 * order.
 *
 * Invariants: queued - sent is the sum of the segments' left; only the tail segment may have room
 * for more copies; a segment leaves the list before its done callback runs, so the callback may
 * queue again. A segment with nothing left only waits to be popped (an empty borrowed piece still
 * owes its callback). */
#include "outq.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "readahead.h"
#include "sigpipe.h"

enum {
    CHUNK_SIZE = 4096, /* of a pooled segment with its header: a head and a small body fit */
    CHUNKS_KEPT = 256, /* as many as a busy step has answers */
    SEGS_KEPT = 64,
    IOV_MOST = 64 /* segments per sendmsg */
};

enum seg_kind { SEG_CHUNK, SEG_OWN, SEG_BORROWED, SEG_FILE };

struct mh__seg {
    mh__seg *next;
    uint64_t left; /* bytes still to send */
    union {
        const char *p; /* memory: the next byte to send */
        off_t offset;  /* file: its position */
    } at;
    mh_done_cb done; /* borrowed: called when popped; else NULL */
    void *user;
    uint32_t room;       /* bytes free behind the data; only copies have room */
    int fd;              /* file */
    mh__readahead ahead; /* file */
    uint8_t kind;        /* enum seg_kind */
    bool own;            /* file: close it when popped */
    char data[];         /* of SEG_CHUNK and SEG_OWN */
};

#define CHUNK_ROOM ((uint32_t)(CHUNK_SIZE - sizeof(mh__seg)))

void mh__outq_env_init(mh__outq_env *env, mh__mem *mem, bool sigpipe_ignored) {
    env->mem = mem;
    env->sigpipe_ignored = sigpipe_ignored;
    mh__pool_init(&env->chunks, mem, CHUNK_SIZE, CHUNKS_KEPT);
    mh__pool_init(&env->segs, mem, sizeof(mh__seg), SEGS_KEPT);
}

void mh__outq_env_clear(mh__outq_env *env) {
    mh__pool_clear(&env->chunks);
    mh__pool_clear(&env->segs);
}

/* ---- segments -------------------------------------------------------------------------------- */

static void seg_release(mh__outq_env *env, mh__seg *seg) {
    switch ((enum seg_kind)seg->kind) {
    case SEG_CHUNK:
        mh__pool_put(&env->chunks, seg);
        break;
    case SEG_OWN:
        mh__mem_free(env->mem, seg);
        break;
    case SEG_BORROWED:
    case SEG_FILE:
        mh__pool_put(&env->segs, seg);
        break;
    }
}

/* A segment without room, not yet in the queue. */
static mh__seg *seg_plain(mh__outq_env *env, enum seg_kind kind) {
    mh__seg *seg = mh__pool_get(&env->segs);
    if (seg) *seg = (mh__seg){.kind = (uint8_t)kind, .fd = -1};
    return seg;
}

static void append(mh__outq *q, mh__seg *seg) {
    seg->next = NULL;
    if (q->tail) {
        q->tail->room = 0; /* only the tail takes more copies */
        q->tail->next = seg;
    } else {
        q->head = seg;
    }
    q->tail = seg;
    q->queued += seg->left;
}

static void pop(mh__outq_env *env, mh__outq *q) {
    mh__seg *seg = q->head;
    q->head = seg->next;
    if (!q->head) q->tail = NULL;
    mh_done_cb done = seg->done;
    void *user = seg->user;
    if (seg->own) close(seg->fd);
    seg_release(env, seg);
    if (done) done(user);
}

/* ---- queueing -------------------------------------------------------------------------------- */

void mh__outq_init(mh__outq *q) { *q = (mh__outq){0}; }

void mh__outq_clear(mh__outq_env *env, mh__outq *q) {
    while (q->head) {
        q->queued -= q->head->left;
        pop(env, q);
    }
}

char *mh__outq_reserve(mh__outq_env *env, mh__outq *q, size_t n) {
    mh__seg *seg = q->tail;
    if (seg && seg->room >= n) return (char *)seg->at.p + seg->left;
    enum seg_kind kind = n <= CHUNK_ROOM ? SEG_CHUNK : SEG_OWN;
    if (kind == SEG_CHUNK) {
        seg = mh__pool_get(&env->chunks);
    } else {
        if (n > UINT32_MAX - sizeof *seg) return NULL;
        seg = mh__mem_alloc(env->mem, sizeof *seg + n);
    }
    if (!seg) return NULL;
    *seg = (mh__seg){.kind = (uint8_t)kind, .fd = -1, .at.p = seg->data};
    append(q, seg);
    seg->room = kind == SEG_CHUNK ? CHUNK_ROOM : (uint32_t)n;
    return seg->data;
}

void mh__outq_commit(mh__outq *q, size_t n) {
    q->tail->left += n;
    q->tail->room -= (uint32_t)n;
    q->queued += n;
}

int mh__outq_copy(mh__outq_env *env, mh__outq *q, const void *p, size_t n) {
    char *to = mh__outq_reserve(env, q, n);
    if (!to) return MH_ENOMEM;
    memcpy(to, p, n);
    mh__outq_commit(q, n);
    return MH_OK;
}

int mh__outq_borrow(mh__outq_env *env, mh__outq *q, const mh_str *pieces, size_t n, mh_done_cb done,
                    void *user) {
    mh__seg *list = NULL, *last = NULL;
    for (size_t i = 0; i < n; i++) {
        if (pieces[i].n == 0 && i + 1 < n) continue; /* the last one carries done, also if empty */
        mh__seg *seg = seg_plain(env, SEG_BORROWED);
        if (!seg) goto fail;
        seg->at.p = pieces[i].p;
        seg->left = pieces[i].n;
        *(last ? &last->next : &list) = seg;
        last = seg;
    }
    if (last) {
        last->done = done;
        last->user = user;
    }
    while (list) {
        mh__seg *seg = list;
        list = seg->next;
        append(q, seg);
    }
    return MH_OK;
fail:
    while (list) {
        mh__seg *seg = list;
        list = seg->next;
        mh__pool_put(&env->segs, seg);
    }
    return MH_ENOMEM;
}

int mh__outq_file(mh__outq_env *env, mh__outq *q, int fd, off_t offset, uint64_t len, bool own) {
    mh__seg *seg = seg_plain(env, SEG_FILE);
    if (!seg) return MH_ENOMEM;
    seg->fd = fd;
    seg->at.offset = offset;
    seg->left = len;
    seg->own = own;
    append(q, seg);
    return MH_OK;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Takes n sent bytes off the front, popping what they complete and the empty pieces behind it; but
 * not those that done callbacks queue meanwhile, of which there may be no end. */
static void consume(mh__outq_env *env, mh__outq *q, uint64_t n) {
    const mh__seg *last = q->tail;
    bool more = last != NULL;
    q->sent += n;
    while (more && (n > 0 || q->head->left == 0)) {
        mh__seg *seg = q->head;
        if (n < seg->left) {
            seg->left -= n;
            seg->at.p += n;
            return;
        }
        n -= seg->left;
        seg->left = 0;
        more = seg != last;
        pop(env, q);
    }
}

/* A run of memory segments at the front, at most most bytes of them. */
struct run {
    struct iovec iov[IOV_MOST];
    size_t n;
    uint64_t bytes;
    bool file_follows;
};

static void gather(const mh__outq *q, uint64_t most, struct run *run) {
    const mh__seg *seg = q->head;
    run->n = 0;
    run->bytes = 0;
    for (; seg && seg->kind != SEG_FILE && run->n < IOV_MOST && run->bytes < most;
         seg = seg->next) {
        uint64_t take = seg->left < most - run->bytes ? seg->left : most - run->bytes;
        if (take == 0) continue;
        run->iov[run->n++] = (struct iovec){(void *)(uintptr_t)seg->at.p, (size_t)take};
        run->bytes += take;
    }
    run->file_follows = seg && seg->kind == SEG_FILE;
}

static enum mh__outq_result gone_or_again(void) {
    return errno == EAGAIN || errno == EWOULDBLOCK ? MH__OUTQ_AGAIN : MH__OUTQ_GONE;
}

/* EMPTY here means: all that was tried went out, go on. */
static enum mh__outq_result send_memory(mh__outq_env *env, mh__outq *q, int sock, uint64_t most) {
    struct run run;
    gather(q, most, &run);
    if (run.n == 0) { /* only empty pieces */
        consume(env, q, 0);
        return q->head && q->head->left == 0 ? MH__OUTQ_BUDGET : MH__OUTQ_EMPTY;
    }
    /* A head leaves in one packet with the beginning of the file behind it, and the last bytes with
     * FIN. */
    int flags = MSG_NOSIGNAL | MSG_DONTWAIT | (run.file_follows || q->last ? MSG_MORE : 0);
    ssize_t sent;
    do {
        if (run.n == 1) {
            sent = send(sock, run.iov[0].iov_base, run.iov[0].iov_len, flags);
        } else {
            struct msghdr msg = {.msg_iov = run.iov, .msg_iovlen = run.n};
            sent = sendmsg(sock, &msg, flags);
        }
    } while (sent < 0 && errno == EINTR);
    if (sent < 0) return gone_or_again();
    consume(env, q, (uint64_t)sent);
    /* A short count means a full socket: asking again would only cost a call. */
    return (uint64_t)sent < run.bytes ? MH__OUTQ_AGAIN : MH__OUTQ_EMPTY;
}

/* sendfile(2) with SIGPIPE kept from the host. */
static ssize_t sendfile_quietly(const mh__outq_env *env, int sock, int fd, off_t *offset,
                                size_t n) {
    if (env->sigpipe_ignored) return sendfile(sock, fd, offset, n);
    mh__sigpipe held;
    mh__sigpipe_hold(&held);
    ssize_t sent = sendfile(sock, fd, offset, n);
    /* A peer that goes in the middle of a call gives a short count, and the signal as well. */
    mh__sigpipe_release(&held, sent < 0 ? errno == EPIPE : (size_t)sent < n);
    return sent;
}

static enum mh__outq_result send_file(mh__outq_env *env, mh__outq *q, int sock, uint64_t most) {
    mh__seg *seg = q->head;
    uint64_t n = seg->left < most ? seg->left : most;
    n = mh__readahead_look(&seg->ahead, seg->fd, seg->at.offset, n, seg->left);
    if (n == 0) return MH__OUTQ_DISK;
    ssize_t sent;
    do {
        off_t offset = seg->at.offset;
        sent = sendfile_quietly(env, sock, seg->fd, &offset, (size_t)n);
    } while (sent < 0 && errno == EINTR);
    if (sent == 0) return MH__OUTQ_FILE; /* it has become shorter */
    if (sent < 0) {
        switch (errno) {
        case EBADF:
        case EINVAL:
        case EIO:
        case ENOMEM:
        case EOVERFLOW:
            return MH__OUTQ_FILE;
        default:
            return gone_or_again();
        }
    }
    q->sent += (uint64_t)sent;
    seg->at.offset += sent;
    seg->left -= (uint64_t)sent;
    if (seg->left == 0) pop(env, q);
    return MH__OUTQ_EMPTY; /* a short count may be the socket's or the file's: the next call tells
                            */
}

enum mh__outq_result mh__outq_send(mh__outq_env *env, mh__outq *q, int sock, uint64_t budget) {
    uint64_t end = q->sent + budget;
    while (q->head && !q->cut) {
        if (q->sent >= end && q->head->left > 0) return MH__OUTQ_BUDGET;
        uint64_t most = end - q->sent;
        enum mh__outq_result result = q->head->kind == SEG_FILE && q->head->left > 0
                                          ? send_file(env, q, sock, most)
                                          : send_memory(env, q, sock, most);
        if (result != MH__OUTQ_EMPTY) return result;
    }
    return MH__OUTQ_EMPTY;
}
