/* Lines on their way to a descriptor: gathered in memory, written by the block or at the latest
 * after a while. Knows the loop, not what the lines say.
 *
 * Nothing here waits for a reader, and a failure costs lines, nothing else. What can't be written
 * stays and is tried again with the timer; when the buffer is full, further lines are lost and
 * counted. Lines are written whole: a call that took part of one is followed by the rest before
 * anything else. */
#ifndef MH_LOG_H
#define MH_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "loop.h"

enum {
    MH__LOG_GATHER = 65536, /* bytes after which they are written at once */
    MH__LOG_DELAY = 200,    /* ms after which they are in any case */
    MH__LOG_PIECE = 4096    /* most bytes of a write to a pipe: PIPE_BUF of Linux, pipe(7) */
};

typedef struct mh__log mh__log;

/* How the bout of trouble in hand looks; told from the timer, with nothing of the log in use, so
 * that it may be closed meanwhile. error: errno, or 0: it is over and lost lines were lost. */
typedef void (*mh__log_cb)(void *user, int error, uint64_t lost);

/* A log to fd, whose lines have at most `most` bytes; tell(user) as above. fd stays the caller's.
 * Errors: MH_EINVAL (not open for writing, or a socket that is no stream), MH_ENOMEM. */
int mh__log_open(mh__log **out, mh_loop *loop, int fd, size_t most, mh__log_cb tell, void *user);
/* Goes on with another descriptor, after an attempt to write to the old one what is there; what
 * that does not take goes to the new one, but for the rest of a line that was begun. Errors: as
 * mh__log_open, with nothing changed. */
int mh__log_move(mh__log *log, int fd);
/* Frees it; flush: after an attempt to write what is there. Returns how many lines have been lost
 * that nobody was told of, those in it included. NULL is ignored. */
uint64_t mh__log_close(mh__log *log, bool flush);

/* Room for a line, to be filled and committed with its length, LF included. NULL: there is none,
 * and the line counts as lost. */
char *mh__log_room(mh__log *log);
void mh__log_commit(mh__log *log, size_t n);
/* Writes what is there, as far as it goes. */
void mh__log_flush(mh__log *log);

#endif
