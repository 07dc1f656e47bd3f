/* Opening a file below a directory, and never another. Knows the file system, and nothing of
 * HTTP. */
#ifndef MH_BELOW_H
#define MH_BELOW_H

#include <stdbool.h>

typedef struct mh__below {
    int fd;    /* of the directory, O_PATH; -1: none */
    bool walk; /* openat2(2) is not to be had: go step by step */
} mh__below;

/* Opens the directory at path, whose own symbolic links are followed. Returns 0, or -1 with
 * errno. */
int mh__below_init(mh__below *b, const char *path);
void mh__below_clear(mh__below *b);

/* Opens path, relative and without "..", below the directory for reading. Symbolic links are
 * followed as long as they lead to what is below it, too: one that is absolute, or leads above it
 * on its way, does not. Whoever changes the directory meanwhile can't make it open anything else.
 * It does not wait for a writer of a FIFO, and what kind of file it has opened is the caller's to
 * ask. Returns the descriptor, close-on-exec, or -1 with errno; EXDEV says that the path led out.
 */
int mh__below_open(mh__below *b, const char *path);

#endif
