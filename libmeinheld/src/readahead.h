/* Reading a file ahead of sendfile(2), which would wait for the disk, and its loop with it. Knows
 * descriptors of files, and nothing of who sends them. */
#ifndef MH_READAHEAD_H
#define MH_READAHEAD_H

#include <stdint.h>
#include <sys/types.h>

/* Of a run of a file's bytes that is read from its front; all 0 at first. */
typedef struct mh__readahead {
    off_t known;     /* up to here it has been found in memory; 0: it has not been looked at */
    uint32_t misses; /* looks in vain since then */
} mh__readahead;

/* How many bytes from offset on can be read without waiting: at most want (> 0) of the left (>=
 * want) that are to be read, and 0 while the disk is reading them; then a later call says more.
 * That ends, at the latest after some 500 calls: a disk that fails must be read from to know. */
uint64_t mh__readahead_look(mh__readahead *ra, int fd, off_t offset, uint64_t want, uint64_t left);

#endif
