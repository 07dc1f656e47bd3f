/* What other threads send, on its way to the thread of the hub.
 *
 * A letter is one operation on one request, with a copy of its bytes. Letters lie in a list that is
 * only ever taken as a whole, inside a step; whoever puts the first into it wakes the loop. A mutex
 * guards the list and what its threads are told by streams. It is never held while anything is
 * waited for, least of all Python's lock: the senders hold that one while they send, so that beside
 * a thread that computes they need not ask for it again (_native.csrc.c). */
#include "mhpy.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    RETRY_MS = 10, /* what found no memory is tried again after so long */
    CHUNK = 20     /* at the most, what chunked coding adds to a piece */
};

typedef enum letter_op {
    OP_ANSWER,
    OP_FILE,
    OP_ABORT,
    OP_OPEN,
    OP_HEAD,
    OP_WRITE,
    OP_END
} letter_op;

typedef struct letter letter;
struct letter {
    letter *next;
    mhpy_stream *stream; /* who hears of the result, counted; NULL: nobody */
    mhpy_made *made;     /* counted; NULL: none */
    const char *body;    /* own bytes, or lent */
    size_t n;
    int64_t offset, rest; /* of a file: where it begins, and how long that is */
    int64_t name;
    letter_op op;
    int fd;    /* of a file: its own; < 0: none */
    bool lent; /* until MHPY_FINISH */
    char own[];
};

struct mhpy_mail {
    atomic_uint users;
    pthread_mutex_t lock;
    /* By lock: */
    mhpy *hub; /* NULL: closed */
    letter *first, **last;
    /* The hub's thread alone: */
    letter *rest; /* taken, but without memory for what may have to be told of it */
};

struct mhpy_stream {
    atomic_uint users;
    mhpy_mail *mail; /* counted */
    int64_t name;
    /* Its thread alone: */
    int64_t left; /* of the length that the head announces; < 0 beyond it */
    bool counted; /* the head announces one */
    /* By the mail's lock: */
    size_t pending; /* letters that have not been carried out */
    size_t ahead;   /* bytes in them */
    size_t queued;  /* bytes in the connection's output, when the last was carried out */
    bool full;      /* the client has to catch up */
    bool hung_up;   /* it sends no more */
    int code;       /* the first error, 0: none */
    pthread_cond_t moved;
};

/* ---- counting -------------------------------------------------------------------------------- */

void mhpy_mail_drop(mhpy_mail *mail) {
    if (!mail || atomic_fetch_sub_explicit(&mail->users, 1, memory_order_acq_rel) != 1) return;
    pthread_mutex_destroy(&mail->lock);
    free(mail);
}

void mhpy_stream_drop(mhpy_stream *stream) {
    if (!stream || atomic_fetch_sub_explicit(&stream->users, 1, memory_order_acq_rel) != 1) return;
    pthread_cond_destroy(&stream->moved);
    mhpy_mail_drop(stream->mail);
    free(stream);
}

static mhpy_stream *share_stream(mhpy_stream *stream) {
    if (stream) atomic_fetch_add_explicit(&stream->users, 1, memory_order_relaxed);
    return stream;
}

static mhpy_made *share_made(mhpy_made *made) {
    if (made) atomic_fetch_add_explicit(&made->users, 1, memory_order_relaxed);
    return made;
}

static void free_letter(letter *l) {
    if (l->fd >= 0) close(l->fd);
    mhpy_unmake(l->made);
    mhpy_stream_drop(l->stream);
    free(l);
}

mhpy_mail *mhpy_mail_open(mhpy *hub) {
    if (!hub) return NULL;
    if (!hub->mail) {
        mhpy_mail *mail = calloc(1, sizeof *mail);
        if (!mail) return NULL;
        pthread_mutex_init(&mail->lock, NULL); /* can't fail: a default mutex of Linux */
        mail->users = 1;
        mail->hub = hub;
        mail->last = &mail->first;
        hub->mail = mail;
    }
    atomic_fetch_add_explicit(&hub->mail->users, 1, memory_order_relaxed);
    return hub->mail;
}

/* ---- sending --------------------------------------------------------------------------------- */

static letter *write_letter(letter_op op, int64_t name, const char *body, size_t n, bool copy) {
    size_t size = sizeof(letter), bytes = copy ? n : 0;
    if (__builtin_add_overflow(size, bytes, &size)) return NULL;
    letter *l = malloc(size);
    if (!l) return NULL;
    *l = (letter){.op = op, .name = name, .body = copy ? l->own : body, .n = n, .fd = -1};
    if (bytes) memcpy(l->own, body, bytes);
    return l;
}

/* Puts l, which may be NULL for lack of memory, into the list, and frees it if that can't be. The
 * lock is held. */
static int put(mhpy_mail *mail, letter *l) {
    if (!l) return MH_ENOMEM;
    if (!mail->hub) {
        free_letter(l);
        return MH_ESTATE;
    }
    if (!mail->first) mh_loop_wakeup(mail->hub->loop);
    *mail->last = l;
    mail->last = &l->next;
    return MH_OK;
}

static int post(mhpy_mail *mail, letter *l) {
    pthread_mutex_lock(&mail->lock);
    int rc = put(mail, l);
    pthread_mutex_unlock(&mail->lock);
    return rc;
}

int mhpy_mail_answer(mhpy_mail *mail, uint32_t slot, uint32_t gen, mhpy_made *made,
                     const char *body, size_t body_n, int lend) {
    if (!mail) return MH_ESTATE;
    if (made->length >= 0 && (size_t)made->length != body_n) return MH_ERANGE;
    int64_t name = (int64_t)((uint64_t)gen << 32 | slot);
    letter *l = write_letter(OP_ANSWER, name, body, body_n, !lend);
    if (l) {
        l->made = share_made(made);
        l->lent = lend != 0;
    }
    return post(mail, l);
}

int mhpy_mail_file(mhpy_mail *mail, uint32_t slot, uint32_t gen, mhpy_made *made, int fd,
                   int64_t offset) {
    if (!mail) return MH_ESTATE;
    int64_t rest = mhpy__file_rest(fd, offset);
    if (rest == 0 || made->length > rest) return MHPY_NO_FILE;
    letter *l = write_letter(OP_FILE, (int64_t)((uint64_t)gen << 32 | slot), NULL, 0, false);
    if (l && (l->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0)) < 0) {
        free_letter(l);
        return MHPY_NO_FILE;
    }
    if (l) {
        l->made = share_made(made);
        l->offset = offset;
        l->rest = rest;
        l->lent = true;
    }
    return post(mail, l);
}

int mhpy_mail_abort(mhpy_mail *mail, int64_t name) {
    return mail ? post(mail, write_letter(OP_ABORT, name, NULL, 0, false)) : MH_ESTATE;
}

/* ---- streams: the sending thread's side ------------------------------------------------------ */

/* Sends l as a part of stream, unless that has failed. wait: its thread is to learn the result. */
static int stream_post(mhpy_stream *stream, letter *l, bool wait) {
    mhpy_mail *mail = stream->mail;
    if (l) l->stream = share_stream(stream);
    size_t n = l ? l->n + CHUNK : 0;
    pthread_mutex_lock(&mail->lock);
    int rc = stream->code;
    if (rc < 0) {
        if (l) free_letter(l);
    } else if ((rc = put(mail, l)) == MH_OK) {
        stream->pending++;
        stream->ahead += n;
        size_t made = stream->ahead + stream->queued;
        if (wait || stream->full || made > mail->hub->high_water) rc = MH_FULL;
    }
    pthread_mutex_unlock(&mail->lock);
    return rc;
}

mhpy_stream *mhpy_stream_new(mhpy_mail *mail, int64_t name) {
    if (!mail) return NULL;
    mhpy_stream *stream = calloc(1, sizeof *stream);
    if (!stream) return NULL;
    pthread_cond_init(&stream->moved, NULL); /* can't fail, likewise */
    atomic_fetch_add_explicit(&mail->users, 1, memory_order_relaxed);
    stream->mail = mail;
    stream->name = name;
    stream->users = 1;
    letter *l = write_letter(OP_OPEN, name, NULL, 0, false);
    if (!l) {
        mhpy_stream_drop(stream);
        return NULL;
    }
    stream_post(stream, l, false); /* a hub that has been closed is told by the next call */
    return stream;
}

int mhpy_stream_head(mhpy_stream *stream, mhpy_made *made) {
    letter *l = write_letter(OP_HEAD, stream->name, NULL, 0, false);
    if (l) l->made = share_made(made);
    stream->counted = made->length >= 0;
    stream->left = made->length;
    return stream_post(stream, l, false);
}

int mhpy_stream_write(mhpy_stream *stream, const char *body, size_t body_n, int lend) {
    letter *l = write_letter(OP_WRITE, stream->name, body, body_n, !lend);
    /* No object of Python's is larger than half of what a size_t holds. */
    bool over = stream->counted && (stream->left -= (int64_t)body_n) < 0;
    return stream_post(stream, l, lend || over);
}

int mhpy_stream_end(mhpy_stream *stream) {
    letter *l = write_letter(OP_END, stream->name, NULL, 0, false);
    return stream_post(stream, l, stream->counted && stream->left != 0);
}

int mhpy_stream_answer(mhpy_stream *stream, mhpy_made *made, const char *body, size_t body_n) {
    letter *l = write_letter(OP_ANSWER, stream->name, body, body_n, false);
    if (l) l->made = share_made(made);
    return stream_post(stream, l, true);
}

int mhpy_stream_idle(mhpy_stream *stream) {
    pthread_mutex_lock(&stream->mail->lock);
    int code = stream->code ? stream->code : stream->hung_up ? MH_ECLOSED : MH_OK;
    pthread_mutex_unlock(&stream->mail->lock);
    return code;
}

int mhpy_stream_wait(mhpy_stream *stream) {
    mhpy_mail *mail = stream->mail;
    pthread_mutex_lock(&mail->lock);
    /* Also after an error: until then the loop may be at work on bytes that were lent. */
    while (stream->pending || (stream->full && !stream->code))
        pthread_cond_wait(&stream->moved, &mail->lock);
    int code = stream->code;
    pthread_mutex_unlock(&mail->lock);
    return code;
}

/* ---- streams: the hub's side ----------------------------------------------------------------- */

static void tell(mhpy_stream *stream, int code) {
    if (!stream->code && code < 0) stream->code = code;
    pthread_cond_signal(&stream->moved);
}

/* What has come of a letter that is not done with. */
static void note(mhpy_stream *stream, int rc) {
    pthread_mutex_lock(&stream->mail->lock);
    if (rc == MH_FULL) stream->full = true;
    tell(stream, rc);
    pthread_mutex_unlock(&stream->mail->lock);
}

/* A letter has been carried out, or never will be. req: NULL if it has ended. */
static void carried_out(mhpy_stream *stream, const letter *l, const mh_req *req, int rc) {
    pthread_mutex_lock(&stream->mail->lock);
    stream->pending--;
    stream->ahead -= l->n + CHUNK;
    stream->queued = req ? mh_res_pending(req) : 0;
    if (rc == MH_FULL) stream->full = true;
    tell(stream, rc);
    pthread_mutex_unlock(&stream->mail->lock);
}

void mhpy__stream_drained(mhpy_stream *stream) {
    pthread_mutex_lock(&stream->mail->lock);
    stream->full = false;
    tell(stream, MH_OK);
    pthread_mutex_unlock(&stream->mail->lock);
}

void mhpy__stream_hung_up(mhpy_stream *stream) {
    pthread_mutex_lock(&stream->mail->lock);
    stream->hung_up = true;
    pthread_mutex_unlock(&stream->mail->lock);
}

void mhpy__stream_finished(mhpy_stream *stream) {
    pthread_mutex_lock(&stream->mail->lock);
    tell(stream, stream->mail->hub ? MH_ECLOSED : MH_ESTATE);
    pthread_mutex_unlock(&stream->mail->lock);
    mhpy_stream_drop(stream);
}

/* ---- delivering ------------------------------------------------------------------------------ */

static int answer(mhpy *hub, mhpy__slot *slot, const letter *l) {
    if (l->lent) slot->want |= MHPY__WANT_KEPT;
    /* A result that is waited for comes before the bytes have gone, so they have to be copied. */
    int rc = mhpy__answer(hub, slot->thing, &l->made->head, (mh_str){l->body, l->n},
                          l->lent ? MHPY_BORROW : 0);
    if (rc >= 0 || rc == MH_ECLOSED || rc == MH_ERANGE || l->stream) return rc;
    /* It has been flushed as well, by which the request may have ended. */
    if ((slot = mhpy__name_find(&hub->requests, l->name))) mh_req_abort(slot->thing);
    return rc;
}

static int answer_file(mhpy *hub, mhpy__slot *slot, letter *l) {
    int fd = l->fd;
    l->fd = -1;
    slot->want |= MHPY__WANT_KEPT;
    int rc = mhpy__send_file(slot->thing, &l->made->head, fd, l->offset, l->rest);
    if (rc < 0 && rc != MH_ECLOSED) mh_req_abort(slot->thing);
    mh_loop_flush_due(hub->loop);
    return rc;
}

/* Its thread may have sent all the rest, and ask for nothing. */
static int start(mh_req *req, const mhpy__head *h) {
    int rc = mh_res_head(req, h->status, h->reason, h->fields, h->n, MH_LENGTH_UNKNOWN);
    if (rc < 0 && rc != MH_ECLOSED) mh_req_abort(req);
    return rc;
}

/* A piece that was lent has left, or is dropped. */
static void on_left(void *user) {
    letter *l = user;
    carried_out(l->stream, l, NULL, MH_OK);
    free_letter(l);
}

/* *l is NULL afterwards if it is still needed. */
static int write_piece(mh_req *req, letter **l) {
    const mh_str piece = {(*l)->body, (*l)->n};
    bool copy = piece.p == (*l)->own;
    int rc =
        copy ? mh_res_write(req, piece.p, piece.n) : mh_res_writev(req, &piece, 1, on_left, *l);
    if (!copy && (rc >= 0 || rc == MH_ERANGE)) {
        note((*l)->stream, rc);
        *l = NULL;
    }
    if (rc == MH_ENOMEM) mh_req_abort(req);
    if (rc == MH_ERANGE) mh_res_end(req);
    return rc;
}

/* What has been sent before leaves first, as far as it can. */
static int abort_it(mhpy *hub, int64_t name) {
    mh_loop_flush(hub->loop);
    mhpy__slot *slot = mhpy__name_find(&hub->requests, name);
    return slot ? mh_req_abort(slot->thing) : MH_ECLOSED;
}

static int open_stream(mhpy__slot *slot, mhpy_stream *stream) {
    if (slot->stream) mhpy_stream_drop(slot->stream);
    slot->stream = share_stream(stream);
    if (slot->hung_up) mhpy__stream_hung_up(stream);
    return MH_OK;
}

/* *kept is NULL afterwards if it is still needed. */
static int carry_out(mhpy *hub, mhpy__slot *slot, letter **kept) {
    letter *l = *kept;
    switch (l->op) {
    case OP_ANSWER:
        return answer(hub, slot, l);
    case OP_FILE:
        return answer_file(hub, slot, l);
    case OP_ABORT:
        return abort_it(hub, l->name);
    case OP_OPEN:
        return open_stream(slot, l->stream);
    case OP_HEAD:
        return start(slot->thing, &l->made->head);
    case OP_WRITE:
        return write_piece(slot->thing, kept);
    default:
        return mh_res_end(slot->thing);
    }
}

/* Carries l out and tells of it, for which there is room. */
static void deliver(mhpy *hub, letter *l) {
    mhpy__slot *slot = mhpy__name_find(&hub->requests, l->name);
    mh_req *req = slot ? slot->thing : NULL;
    int rc = req ? carry_out(hub, slot, &l) : MH_ECLOSED;
    if (!l) return;
    if (l->stream) {
        /* An answer has been flushed, by which its request may have ended. */
        carried_out(l->stream, l, l->op == OP_ANSWER ? NULL : req, rc);
    } else if (!req && l->lent) {
        mhpy__event(&hub->ev, MHPY_FINISH, l->name, MH_FINISH_PEER_CLOSED, 0);
    } else if (rc < 0 && rc != MH_ECLOSED) {
        mhpy__event(&hub->ev, MHPY_UNSENT, l->name, rc, 0);
    }
    free_letter(l);
}

static letter *take(mhpy_mail *mail) {
    pthread_mutex_lock(&mail->lock);
    letter *l = mail->first;
    mail->first = NULL;
    mail->last = &mail->first;
    pthread_mutex_unlock(&mail->lock);
    return l;
}

static letter *join(letter *first, letter *then) {
    letter *l = first;
    while (l->next)
        l = l->next;
    l->next = then;
    return first;
}

void mhpy_mail_deliver(mhpy *hub) {
    mhpy_mail *mail = hub ? hub->mail : NULL;
    if (!mail) return;
    letter *l = take(mail);
    if (mail->rest) l = join(mail->rest, l);
    if (!l) return;
    while (l && mhpy__reserve(hub, 1, 0)) {
        letter *next = l->next;
        deliver(hub, l);
        l = next;
    }
    mail->rest = l;
    mh_loop_flush(hub->loop);
}

int mhpy__mail_timeout(const mhpy *hub, int timeout_ms) {
    bool retry = hub->mail && hub->mail->rest;
    return retry && (timeout_ms < 0 || timeout_ms > RETRY_MS) ? RETRY_MS : timeout_ms;
}

/* Nobody will carry these out. */
static void give_back(letter *l) {
    while (l) {
        letter *next = l->next;
        if (l->stream) carried_out(l->stream, l, NULL, MH_ESTATE);
        free_letter(l);
        l = next;
    }
}

void mhpy__mail_close(mhpy_mail *mail) {
    if (!mail) return;
    pthread_mutex_lock(&mail->lock);
    mail->hub = NULL;
    pthread_mutex_unlock(&mail->lock);
    give_back(mail->rest);
    mail->rest = NULL;
    give_back(take(mail));
}
